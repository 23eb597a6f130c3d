/* cfn train with `train.epochs: 0`: the model of train.weights becomes backbone.h5, untouched. Its accuracy on the
 * validation split is measured with this run's images: wrong statistics of the input or another order of the classes
 * are seen there. */
#include "stage/backbone/keep.h"

#include <string.h>

#include "image/corpus.h"
#include "image/loader.h"
#include "stage/backbone/backbone.h"
#include "stage/backbone/evaluate.h"
#include "stage/backbone/weights.h"
#include "stage/preprocess.h"

static void check_head(struct job *job, const char *weights, int64_t classes, const struct corpus *corpus)
{
    agree(job->world, classes > 0, EXIT_BAD_DATA,
          "%s: it has no head, which train.epochs: 0 would keep\nTrain it: set train.epochs.", weights);
    agree(job->world, classes == corpus->classes, EXIT_BAD_DATA,
          "%s: its head has %lld classes, the corpus has %d\nA model that is kept must know the classes of the corpus, "
          "in "
          "their order.",
          weights, (long long)classes, corpus->classes);
}

static void read_model(struct job *job, struct network *net, struct store *model, const struct corpus *corpus)
{
    const char *weights = job->config->train.weights;
    int64_t classes = 0, size = job->config->image.size;
    if (!model) {
        classes = backbone_import(job, net, weights, zoo_canonical(job->config->run.backbone, job->config->run.data),
                                  job->config->image.size);
        check_head(job, weights, classes, corpus);
        return;
    }
    bool known = store_get_i64(model, "/", "classes", &classes) && store_get_i64(model, "/", "image_size", &size);
    agree(job->world, known, EXIT_BAD_DATA, "%s: expected the weights of a backbone", weights);
    check_head(job, weights, classes, corpus);
    agree(job->world, size == job->config->image.size, EXIT_BAD_DATA, "%s: made for %lld pixels, image.size is %d",
          weights, (long long)size, job->config->image.size);
    backbone_read(net, model, false);
}

int train_keep(struct job *job)
{
    const char *weights = job->config->train.weights;
    agree(job->world, *weights, EXIT_BAD_CONFIG,
          "train.epochs: 0 keeps the model of train.weights, which is empty\nName its file, or give epochs.");
    struct store *store = job_open(job, "corpus.h5", "pack");
    struct store *model = NULL;
    if (!weights_is_foreign(weights))
        model = store_open(job->world, job->run, job_input_file(job, weights));
    struct corpus *corpus = corpus_load(store, job->run);
    struct preprocess view = model ? preprocess_of_model(job, model, true) : preprocess_configured(job);
    struct loader *loader = (job->dry_run ? loader_plan : loader_open)(store, job->run, &view, job_seed(job));
    struct evaluator *e = evaluator_create(job, corpus, loader);
    struct network *net = evaluator_network(e);
    if (!job->dry_run)
        read_model(job, net, model, corpus);
    if (model)
        store_close(model);
    if (job->dry_run) {
        log_info("train: 0 epochs: would keep the model of %s, write %s", weights, job_path(job, "backbone.h5"));
        store_close(store);
        return EXIT_DONE;
    }
    double accuracy = evaluate_accuracy(e, net, SPLIT_VAL), none[1] = { 0 };
    store_close(store);
    struct history history = { .epochs = 0, .loss = none, .train_accuracy = none, .val_accuracy = none };
    backbone_write(job, net, &view, &history, accuracy, 0, corpus->multi_label);
    log_info("train: 0 epochs: the model of %s is kept, validation accuracy %.4f", weights, accuracy);
    return job_done(job);
}
