/* MedMNIST: one .npz with the arrays {train,val,test}_{images,labels}. Names of classes are those of its publishers
 * (medmnist.com), told by the name of the file. */
#include <string.h>

#include "base/arena.h"
#include "image/reader/sets/arrays.h"
#include "image/reader/sets/collection.h"

enum { NAMES = 14, LOOKED_AT = 16 };

static const struct set {
    const char *name;
    int classes;
    const char *classes_names[NAMES];
} sets[] = {
    { "pathmnist",
      9,
      { "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
        "cancer-associated stroma", "colorectal adenocarcinoma epithelium" } },
    { "chestmnist",
      14,
      { "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
        "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia" } },
    { "dermamnist",
      7,
      { "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
        "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions" } },
    { "octmnist", 4, { "choroidal neovascularization", "diabetic macular edema", "drusen", "normal" } },
    { "pneumoniamnist", 2, { "normal", "pneumonia" } },
    { "retinamnist", 5, { "0", "1", "2", "3", "4" } },
    { "breastmnist", 2, { "malignant", "normal, benign" } },
    { "bloodmnist",
      8,
      { "basophil", "eosinophil", "erythroblast", "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
        "lymphocyte", "monocyte", "neutrophil", "platelet" } },
    { "tissuemnist",
      8,
      { "Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
        "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
        "Thick Ascending Limb" } },
#define ORGANS                                                                                                         \
    {                                                                                                                  \
        "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",          \
            "lung-right", "pancreas", "spleen"                                                                         \
    }
    { "organamnist", 11, ORGANS },
    { "organcmnist", 11, ORGANS },
    { "organsmnist", 11, ORGANS },
#undef ORGANS
};

/* The files of the folder: how many, the first in *path. */
static int find_files(const struct reading *reading, const char **path, struct text *all)
{
    int looked = 0, found = 0;
    for (int64_t i = 0; i < reading->tree->others && looked < LOOKED_AT; i++) {
        const char *one = reading->tree->other[i];
        if (!text_ends(one, ".npz"))
            continue;
        looked++;
        if (!collection_holds_array(reading, one, "train_images"))
            continue;
        if (found++ == 0)
            *path = one;
        text_add(all, "%s%s", found > 1 ? ", " : "", one);
    }
    return found;
}

static const char *recognise(struct reading *reading)
{
    const char *path = NULL;
    struct text all = text_new(reading->arena);
    return find_files(reading, &path, &all) ? all.data : NULL;
}

static const char *choose_file(struct reading *reading)
{
    const char *stated = collection_stated(reading), *path = NULL;
    struct text all = text_new(reading->arena);
    if (stated)
        return stated;
    int found = find_files(reading, &path, &all);
    if (found == 0)
        reading_fail(reading, EXIT_NO_INPUT, "%s: no .npz with an array train_images", reading->request->root);
    if (found > 1)
        reading_fail(reading, EXIT_BAD_DATA,
                     "%s: several collections: %s\nset pack.reader: medmnist and pack.labels: to one of these files",
                     reading->request->root, all.data);
    return found == 1 ? path : NULL;
}

/* "a/dermamnist_224.npz" is dermamnist; NULL when it is none of those known. */
static const struct set *known_set(const char *path)
{
    const char *name = collection_name(path);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        size_t length = strlen(sets[i].name);
        if (strncmp(name, sets[i].name, length) == 0 && (name[length] == '.' || name[length] == '_'))
            return &sets[i];
    }
    return NULL;
}

static bool read_medmnist(struct reading *reading, struct manifest *out)
{
    const char *path = choose_file(reading);
    struct array_split splits[SPLITS];
    if (!path)
        return false;
    for (int k = 0; k < SPLITS; k++) {
        const char *word = split_name((enum split)k);
        splits[k] = (struct array_split){ .file = path,
                                          .labels_file = path,
                                          .images = arena_printf(reading->arena, "%s_images", word),
                                          .labels = arena_printf(reading->arena, "%s_labels", word),
                                          .split = (enum split)k,
                                          .word = word };
        bool there = k == SPLIT_TRAIN || collection_holds_array(reading, path, splits[k].images);
        if (!there)
            reading_note(reading, "%s: no array %s", path, splits[k].images);
        else if (!array_split_read(reading, &splits[k]))
            return false;
    }
    const struct set *set = known_set(path);
    bool fits = set && (splits[0].columns == 1 || splits[0].columns == set->classes);
    if (!fits)
        reading_note(reading, "%s: the names of its classes are not known: they are numbers", path);
    return arrays_fill(reading, out, splits, SPLITS, fits ? set->classes_names : NULL, fits ? set->classes : 0);
}

const struct manifest_reader reader_medmnist = {
    .name = "medmnist",
    .help = "MedMNIST: one .npz with the arrays {train,val,test}_{images,labels}",
    .recognise = recognise,
    .tables = (const char *const[]){ "*mnist*.npz", NULL },
    .takes_table = true,
    .read = read_medmnist,
};
