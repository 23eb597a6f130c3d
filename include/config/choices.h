/* The values of keys that name one of a few: the words are in the table of keys (src/config/keys.c), the rest of the
 * program sees these. What each means is in docs/reference/configuration.md. */
#ifndef CONFIG_CHOICES_H
#define CONFIG_CHOICES_H

enum label_kind { LABELS_AUTO, LABELS_ONE, LABELS_SEVERAL };
enum corpus_split { SPLIT_BY_AUTO, SPLIT_BY_SOURCE, SPLIT_BY_LESION, SPLIT_BY_PATIENT, SPLIT_BY_HASH };
enum labeler { LABELER_CHEXPERT, LABELER_NEGBIO, LABELER_RADIOLOGIST };
enum views { VIEWS_ALL, VIEWS_FRONTAL, VIEWS_LATERAL };
enum blank_views { BLANK_VIEWS_AUTO, BLANK_VIEWS_KEEP, BLANK_VIEWS_DROP };
enum chexpert_valid { CHEXPERT_VALID_VAL, CHEXPERT_VALID_TEST };
enum on_bad { ON_BAD_FAIL, ON_BAD_SKIP };
enum image_store { IMAGE_STORE_AUTO, IMAGE_STORE_PIXELS, IMAGE_STORE_ENCODED };
enum decode_size { DECODE_EXACT, DECODE_SCALED };
enum interpolation { INTERPOLATION_BICUBIC, INTERPOLATION_BILINEAR, INTERPOLATION_NEAREST };
enum schedule { SCHEDULE_CONSTANT, SCHEDULE_COSINE };
enum precision { PRECISION_FP32, PRECISION_BF16 };
enum reduction { REDUCTION_EXACT, REDUCTION_FAST };
enum batchnorm { BATCHNORM_GLOBAL, BATCHNORM_SHARD };
enum augmentation { AUGMENTATION_PUBLISHED, AUGMENTATION_NONE };
enum validation { VALIDATION_WARN, VALIDATION_REQUIRE };
enum label_policy { POLICY_NEGATIVE, POLICY_POSITIVE, POLICY_IGNORE };
enum dictionary_variant { VARIANT_RELU, VARIANT_TOPK, VARIANT_BATCHTOPK, VARIANT_JUMPRELU, VARIANT_MATRYOSHKA };
enum dictionary_init { INIT_AUTO, INIT_PUBLISHED, INIT_TIED, INIT_DATA };
enum dictionary_bias { BIAS_AUTO, BIAS_ZERO, BIAS_MEDIAN };
enum dictionary_parallel { PARALLEL_AUTO, PARALLEL_DATA, PARALLEL_FEATURE };
enum sweep_rule { SWEEP_KNEE, SWEEP_FVU, SWEEP_L0 };
enum vector_source { VECTORS_FITTED, VECTORS_DECODER };
enum separator { SEPARATOR_SVM, SEPARATOR_LOGISTIC, SEPARATOR_MEAN, SEPARATOR_PATTERN };
enum concave { CONCAVE_SQRT, CONCAVE_LOG1P, CONCAVE_SIGMOID };
enum signs { SIGNS_KEEP, SIGNS_CLIP, SIGNS_ABSOLUTE };
enum pools { POOLS_NONE, POOLS_CLASS };
enum decompose_method { DECOMPOSE_OMP, DECOMPOSE_LASSO };
enum decompose_precision { DECOMPOSE_SINGLE, DECOMPOSE_DOUBLE };
enum decompose_search { DECOMPOSE_FIXED, DECOMPOSE_VALIDATION };
enum classify_input { INPUT_RECONSTRUCTION, INPUT_CODES };
enum classify_search { SEARCH_PUBLISHED, SEARCH_FIXED };
enum class_weight { CLASS_WEIGHT_NONE, CLASS_WEIGHT_BALANCED };
enum classify_head { HEAD_DENSE, HEAD_SPARSE };
enum explain_split { EXPLAIN_TEST, EXPLAIN_VAL, EXPLAIN_TRAIN };

#endif
