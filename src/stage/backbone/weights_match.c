/* The parameters of a backbone among the tensors of a file. One rule: the naming and the prefix ("state_dict.model.")
 * under which most of them lie, wherever that is. Of several whole sets an average (EMA) is taken before the weights of
 * the last step, as timm does, and an optimiser's own values last. What else the file holds is told in a line; what
 * lies among the parameters and belongs to none is a sign of another network, and refused. */
#include "stage/backbone/weights_match.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"
#include "stage/backbone/weights.h"

enum { NAMED = 3, SETS = 4, PUBLISHED_CLASSES = 1000, LARGEST = 1 << 20 };

/* The file's tensors by name, and where the parameters are. */
struct match {
    struct arena *arena;
    struct weights *w;
    const struct tensors *tensors;
    const struct tensor **by_name;
    const char *backbone;
    const struct naming *naming;
    const char *prefix; /* in front of every name: "state_dict.module.", or "" */
    bool nested;        /* parameters lie in dictionaries below the prefix */
    struct text notes;
};

/* A name for a message: short, without control characters. */
static const char *shown(struct arena *arena, const char *name)
{
    return text_printable(arena_printf(arena, "%.120s", name), "");
}

static int compare(const void *a, const void *b)
{
    return strcmp((*(const struct tensor *const *)a)->name, (*(const struct tensor *const *)b)->name);
}

static const struct tensor *find_whole(const struct match *m, const char *name)
{
    struct tensor wanted = { .name = name }, *key = &wanted;
    const struct tensor **found = bsearch(&key, m->by_name, (size_t)m->tensors->count, sizeof *m->by_name, compare);
    return found ? *found : NULL;
}

static const struct tensor *find(const struct match *m, const char *name)
{
    return find_whole(m, arena_printf(m->arena, "%s%s", m->prefix, name));
}

/* The names behind one: itself, or those of "a.{q,k,v}.b". Returns how many. */
static int expand(struct arena *arena, const char *name, const char *out[WEIGHT_PARTS])
{
    const char *open = strchr(name, '{');
    int count = 0;
    if (!open) {
        out[0] = name;
        return 1;
    }
    const char *rest = strchr(open, '}') + 1;
    for (const char *at = open; *at != '}' && count < WEIGHT_PARTS; at += 1 + strcspn(at + 1, ",}")) {
        int length = (int)strcspn(at + 1, ",}");
        out[count++] = arena_printf(arena, "%.*s%.*s%s", (int)(open - name), name, length, at + 1, rest);
    }
    return count;
}

/* The tensors behind a name; none when any is missing. */
static bool find_all(const struct match *m, const char *name, struct weight_source *source)
{
    const char *names[WEIGHT_PARTS];
    int count = expand(m->arena, name, names);
    *source = (struct weight_source){ 0 };
    for (int i = 0; i < count; i++)
        if (!(source->parts[i] = find(m, names[i])))
            return false;
    source->count = count;
    return true;
}

static const char *name_of(const struct match *m, int parameter)
{
    return naming_apply(m->arena, m->naming, m->w->list[parameter].name);
}

/* ---- prefix and naming ---- */

/* A prefix under which parameters were found. */
struct place {
    const char *prefix;
    size_t length;
    const struct naming *naming;
    int found, rank;
    const struct tensor *first; /* of the file */
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_prefix(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->prefix, y->prefix, shorter);
    if (order == 0 && x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return order ? order : (x->first > y->first) - (x->first < y->first);
}

static int by_merit(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->found != y->found)
        return y->found - x->found;
    if (x->rank != y->rank)
        return y->rank - x->rank;
    return (x->first > y->first) - (x->first < y->first);
}

/* Does `text` have one of the words, between dots, underlines and ends? */
static bool has_word(const char *text, size_t length, const char *const *words)
{
    for (; *words; words++) {
        size_t n = strlen(*words);
        for (size_t at = 0; at + n <= length; at++)
            if (strncasecmp(text + at, *words, n) == 0 && (at == 0 || !isalnum((unsigned char)text[at - 1])) &&
                (at + n == length || !isalnum((unsigned char)text[at + n])))
                return true;
    }
    return false;
}

/* 2: an average over steps, 1: weights, 0: what an optimiser keeps of each of them. */
static int rank_of(const char *prefix, size_t length)
{
    static const char *const averages[] = { "ema", "averaged", "average", "swa", NULL };
    static const char *const optimisers[] = { "optimizer", "optimizers", "optim", "exp_avg", "grad", "momentum", NULL };
    return has_word(prefix, length, optimisers) ? 0 : has_word(prefix, length, averages) ? 2 : 1;
}

/* All names of the parameters under a naming, in order. */
static const char **wanted_names(const struct match *m, const struct naming *naming, size_t *count)
{
    const char **names = arena_array(m->arena, const char *, WEIGHT_PARTS * m->w->count + 1);
    *count = 0;
    for (int i = 0; i < m->w->count; i++)
        *count += (size_t)expand(m->arena, naming_apply(m->arena, naming, m->w->list[i].name), names + *count);
    qsort(names, *count, sizeof *names, by_text);
    return names;
}

/* Every tensor whose name ends with that of a parameter says a prefix. Their number; *places [that many] */
static size_t list_ends(const struct match *m, const struct naming *naming, struct place **places)
{
    size_t names_count, count = 0, ends = 0;
    const char **names = wanted_names(m, naming, &names_count);
    for (int i = 0; i < m->tensors->count; i++)
        for (const char *at = m->tensors->list[i].name; at; at = strchr(at, '.'), at = at ? at + 1 : NULL)
            ends++;
    *places = arena_array(m->arena, struct place, ends + 1);
    for (int i = 0; i < m->tensors->count; i++) {
        const struct tensor *t = &m->tensors->list[i];
        for (const char *at = t->name; at; at = strchr(at, '.'), at = at ? at + 1 : NULL)
            if (bsearch(&at, names, names_count, sizeof *names, by_text))
                (*places)[count++] = (struct place){ t->name, (size_t)(at - t->name), naming, 1, 0, t };
    }
    return count;
}

/* The prefixes under a naming, each once, with how many parameters lie there. */
static size_t list_places(const struct match *m, const struct naming *naming, struct place **places)
{
    size_t count = list_ends(m, naming, places), kept = 0;
    struct place *list = *places;
    qsort(list, count, sizeof *list, by_prefix);
    for (size_t i = 0; i < count; i++) {
        struct place *last = kept ? &list[kept - 1] : NULL;
        if (last && last->length == list[i].length && memcmp(last->prefix, list[i].prefix, last->length) == 0) {
            last->found++;
        } else {
            list[kept] = list[i];
            list[kept].rank = rank_of(list[kept].prefix, list[kept].length);
            kept++;
        }
    }
    qsort(list, kept, sizeof *list, by_merit);
    return kept;
}

static const char *quoted(struct arena *arena, const char *prefix, size_t length)
{
    return length ? arena_printf(arena, "\"%s\"", shown(arena, arena_printf(arena, "%.*s", (int)length, prefix)))
                  : "no prefix";
}

/* A line on what else could have been meant. */
static void note_sets(struct match *m, const struct place *list, size_t count)
{
    if (count < 2 || list[1].found < list[0].found)
        return;
    text_add(&m->notes, "sets of weights: %s is taken%s, not", quoted(m->arena, list[0].prefix, list[0].length),
             list[0].rank == 2              ? " (an average over steps)"
             : list[1].rank == list[0].rank ? " (the first)"
                                            : "");
    for (size_t i = 1; i < count && i <= SETS && list[i].found == list[0].found; i++)
        text_add(&m->notes, "%s %s", i > 1 ? "," : "", quoted(m->arena, list[i].prefix, list[i].length));
    text_add(&m->notes, " (cfn import --prefix takes another)\n");
}

/* Those of the places that the user's prefix names; it may be given without its last dot. */
static size_t only_prefix(struct place *list, size_t count, const char *prefix)
{
    size_t kept = 0, length = strlen(prefix);
    length -= length > 0 && prefix[length - 1] == '.';
    for (size_t i = 0; i < count; i++) {
        size_t own = list[i].length ? list[i].length - 1 : 0;
        if (own == length && memcmp(list[i].prefix, prefix, length) == 0)
            list[kept++] = list[i];
    }
    return kept;
}

/* The naming and prefix under which most is found, the first of equals; false, torchvision's and none, when nothing
 * is. */
static bool choose_place(struct match *m, const char *prefix)
{
    struct place best = { .prefix = "", .naming = naming_of(m->backbone, 0) }, *list, *best_list = NULL;
    size_t best_count = 0;
    const struct naming *naming;
    for (int i = 0; (naming = naming_of(m->backbone, i)); i++) {
        size_t count = list_places(m, naming, &list);
        count = prefix ? only_prefix(list, count, prefix) : count;
        if (count > 0 && list[0].found > best.found) {
            best = list[0];
            best_list = list;
            best_count = count;
        }
    }
    m->naming = best.naming;
    m->prefix = arena_printf(m->arena, "%.*s", (int)best.length, best.prefix);
    note_sets(m, best_list, best_count);
    return best.found > 0;
}

/* ---- the head ---- */

static bool is_head(const struct match *m, int i)
{
    return naming_is_head(m->w->list[i].name, m->w->list[m->w->count - 1].name);
}

static bool is_taken(const struct weights *w, const struct tensor *tensor)
{
    for (int i = 0; i < w->count; i++)
        for (int p = 0; p < w->sources[i].count; p++)
            if (w->sources[i].parts[p] == tensor)
                return true;
    return false;
}

/* Does the tensor belong to what lies under the prefix? Not those of dictionaries inside, unless parameters do. */
static bool is_inside(const struct match *m, const struct tensor *t)
{
    size_t length = strlen(m->prefix);
    return strncmp(t->name, m->prefix, length) == 0 && (m->nested || (size_t)t->stem <= length);
}

/* Is a name below the prefix one of a module that people call their head? */
static bool in_head_module(const struct match *m, const char *name)
{
    static const char *const words[] = { "fc",  "head",   "heads", "classifier", "linear", "last_linear",
                                         "out", "output", "cls",   "logits",     NULL };
    size_t first = strcspn(name, ".");
    const char *own = name_of(m, m->w->count - 1);
    if (strcspn(own, ".") == first && strncmp(own, name, first) == 0)
        return true;
    for (const char *const *word = words; *word; word++)
        if (strlen(*word) == first && strncmp(name, *word, first) == 0)
            return true;
    return false;
}

/* The one matrix of a renamed head: "fc.1.weight" of a head behind dropout. NULL when there is none, or several. */
static const struct tensor *renamed_head(const struct match *m, int64_t features)
{
    const struct tensor *found = NULL;
    for (int i = 0; i < m->tensors->count; i++) {
        const struct tensor *t = &m->tensors->list[i];
        if (t->rank < 2 || !is_inside(m, t) || !in_head_module(m, t->name + strlen(m->prefix)) || is_taken(m->w, t))
            continue;
        if (found || t->rank != 2 || t->dims[1] != features || !text_ends(t->name, ".weight"))
            return NULL;
        found = t;
    }
    return found;
}

/* Weight and bias of the head, the last two parameters: under their names, or others. */
static void find_head(struct match *m)
{
    struct weights *w = m->w;
    struct weight_source *weight = &w->sources[w->count - 2], *bias = &w->sources[w->count - 1];
    w->classes = 0;
    if (weight->count == 0 && bias->count == 0) {
        const struct tensor *other = renamed_head(m, w->list[w->count - 2].dims[1]);
        if (!other)
            return;
        const char *stem = arena_printf(m->arena, "%.*s", (int)(strlen(other->name) - strlen("weight")), other->name);
        *weight = (struct weight_source){ .parts = { other }, .count = 1 };
        bias->parts[0] = find_whole(m, arena_printf(m->arena, "%sbias", stem));
        bias->count = bias->parts[0] != NULL;
        text_add(&m->notes, "head: %s\n", shown(m->arena, other->name));
    }
    if (weight->count == 0)
        return;
    if (bias->count == 0) {
        bias->zero = true;
        text_add(&m->notes, "head: it has no bias: zeros\n");
    }
    const struct tensor *t = weight->parts[0];
    if (t->rank >= 1 && t->dims[0] >= 1 && t->dims[0] <= LARGEST)
        w->classes = (int)t->dims[0];
}

/* ---- what is missing, and what is left ---- */

/* Adds `name` to a list in a message that shows the first few. */
static void add_name(struct match *m, struct text *text, int *count, const char *name)
{
    if (*count < NAMED)
        text_add(text, "%s%s", *count ? ", " : "", shown(m->arena, name));
    *count += 1;
}

/* A missing parameter, with what stands in its place. */
static const char *missing_name(const struct match *m, int parameter)
{
    const char *name = name_of(m, parameter), *whole = arena_printf(m->arena, "%s%s", m->prefix, name);
    for (int i = 0; i < m->tensors->left_count; i++)
        if (strcmp(m->tensors->left[i].name, whole) == 0)
            return arena_printf(m->arena, "%s is of %s", name, m->tensors->left[i].what);
    return name;
}

/* Things that lie beside parameters and are no layers: counters, and what a loss or a measure keeps. */
static bool is_beside(const struct match *m, const struct tensor *t)
{
    static const char *const words[] = { "criterion", "loss",          "losses",       "metric",     "metrics",
                                         "loss_fn",   "class_weights", "class_weight", "pos_weight", NULL };
    const char *name = t->name + strlen(m->prefix);
    return t->rank == 0 || !tensor_is_real(t->type) || has_word(name, strcspn(name, "."), words) ||
           (m->w->classes == 0 && in_head_module(m, name));
}

/* The group of a tensor that is not taken: its name up to the first part in which it leaves the prefix. */
static const char *group_of(const struct match *m, const char *name)
{
    size_t same = 0, start = 0;
    for (; name[same] && name[same] == m->prefix[same]; same++)
        if (name[same] == '.')
            start = same + 1;
    return arena_printf(m->arena, "%.*s", (int)(start + strcspn(name + start, ".")), name);
}

/* "left: optimizer (62 tensors), args (argparse.Namespace)" */
static void note_left(struct match *m, const bool *left)
{
    struct text line = text_new(m->arena);
    int groups = 0, in_group = 0;
    const char *group = NULL;
    for (int i = 0; i <= m->tensors->count; i++) {
        const struct tensor *t = i < m->tensors->count ? &m->tensors->list[i] : NULL;
        if (t && !left[i])
            continue;
        const char *own = t ? group_of(m, t->name) : "";
        if (group && strcmp(own, group) != 0) {
            add_name(m, &line, &groups,
                     arena_printf(m->arena, "%s (%d tensor%s)", group, in_group, in_group > 1 ? "s" : ""));
            in_group = 0;
        }
        group = own;
        in_group++;
    }
    for (int i = 0; i < m->tensors->left_count; i++)
        add_name(m, &line, &groups,
                 arena_printf(m->arena, "%s (%s)", m->tensors->left[i].name, m->tensors->left[i].what));
    if (groups > 0)
        text_add(&m->notes, "left: %s%s\n", line.data,
                 groups > NAMED ? arena_printf(m->arena, " and %d more", groups - NAMED) : "");
}

/* What is missing in the file and what is too much, or NULL. */
static const char *difference(struct match *m)
{
    struct weights *w = m->w;
    struct text missing = text_new(m->arena), surplus = text_new(m->arena);
    bool *left = arena_array(m->arena, bool, m->tensors->count + 1);
    int lacks = 0, more = 0, taken = 0;
    for (int i = 0; i < w->count; i++)
        if (w->sources[i].count == 0 && !w->sources[i].zero && !(w->classes == 0 && is_head(m, i)))
            add_name(m, &missing, &lacks, missing_name(m, i));
    for (int i = 0; i < m->tensors->count; i++) {
        const struct tensor *t = &m->tensors->list[i];
        bool inside = is_inside(m, t), is_ours = inside && is_taken(w, t);
        taken += is_ours;
        if (is_ours || (inside && naming_ignores(m->naming, t->name + strlen(m->prefix))))
            continue;
        left[i] = !inside || is_beside(m, t);
        if (!left[i])
            add_name(m, &surplus, &more, t->name);
    }
    if (*m->prefix)
        text_add(&m->notes, "taken: %d tensors under \"%s\"\n", taken, shown(m->arena, m->prefix));
    note_left(m, left);
    if (lacks == 0 && more == 0)
        return NULL;
    return arena_printf(
        m->arena,
        "%s: not the weights of %s: %d of %d parameters are missing%s%s%s, %d tensors are too many%s%s%s"
        "\nCompared by the names of %s%s%s. `cfn model %s --json` lists the parameters.",
        w->path, m->backbone, lacks, w->count, lacks ? " (" : "", missing.data, lacks ? ")" : "", more,
        more ? " (" : "", surplus.data, more ? ")" : "", m->naming->name, *m->prefix ? " under " : "",
        shown(m->arena, m->prefix), m->backbone);
}

/* ---- shapes ---- */

static const char *shape_text(struct arena *arena, const int64_t *dims, int rank)
{
    struct text text = text_new(arena);
    for (int d = 0; d < rank; d++)
        text_add(&text, "%s%lld", d ? " x " : "[", (long long)dims[d]);
    text_add(&text, "%s", rank ? "]" : "[]");
    return text.data;
}

/* The same extents, apart from those of 1: a scale is (C) in one library and (C,1,1) in another. */
static bool same_shape(const int64_t *a, int a_rank, const int64_t *b, int b_rank)
{
    int i = 0, j = 0;
    for (;; i++, j++) {
        while (i < a_rank && a[i] == 1)
            i++;
        while (j < b_rank && b[j] == 1)
            j++;
        if (i == a_rank || j == b_rank)
            return i == a_rank && j == b_rank;
        if (a[i] != b[j])
            return false;
    }
}

int weights_grid_side(int64_t tokens)
{
    int side = (int)lround(sqrt((double)(tokens > 1 ? tokens - 1 : 0)));
    return (int64_t)side * side + 1 == tokens ? side : 0;
}

bool weights_other_grid(const struct parameter *p, const int64_t *dims, int rank)
{
    return rank == 3 && p->rank == 3 && strcmp(p->name, "encoder.pos_embedding") == 0 && dims[0] == 1 &&
           dims[2] == p->dims[2] && weights_grid_side(dims[1]) > 0;
}

/* The first layer of a network for grey images. */
static bool is_one_channel(const struct parameter *p, const int64_t *dims, int rank)
{
    return rank == 4 && p->rank == 4 && p->dims[1] == 3 && dims[1] == 1 && dims[0] == p->dims[0] &&
           dims[2] == p->dims[2] && dims[3] == p->dims[3];
}

/* Type and shape of one parameter; returns what is wrong, or NULL. */
static const char *check_shape(struct match *m, const struct parameter *p, struct weight_source *s)
{
    const char *path = m->w->path;
    int64_t dims[TENSOR_RANKS], joined = 0;
    int rank = s->parts[0]->rank;
    memcpy(dims, s->parts[0]->dims, sizeof dims);
    for (int i = 0; i < s->count; i++) {
        const struct tensor *t = s->parts[i];
        if (!tensor_is_real(t->type))
            return arena_printf(m->arena, "%s: %s: type %s, expected floating point", path, p->name,
                                tensor_type_name(t->type));
        bool fits = t->rank == rank && (rank == 0 || !memcmp(t->dims + 1, dims + 1, sizeof *dims * (size_t)(rank - 1)));
        if (!fits || (rank > 0 && __builtin_add_overflow(joined, t->dims[0], &joined)))
            return arena_printf(m->arena, "%s: %s: its parts do not fit together", path, p->name);
    }
    if (rank > 0)
        dims[0] = joined;
    s->spread = is_one_channel(p, dims, rank);
    if (s->spread)
        text_add(
            &m->notes,
            "%s: of one channel: spread over red, green and blue, a third each. Set image.mean and image.std to the "
            "one number it was trained with\n",
            p->name);
    if (s->spread || same_shape(dims, rank, p->dims, p->rank) || weights_other_grid(p, dims, rank))
        return NULL;
    return arena_printf(m->arena, "%s: %s: shape %s, expected %s", path, p->name, shape_text(m->arena, dims, rank),
                        shape_text(m->arena, p->dims, p->rank));
}

/* ---- all of it ---- */

const struct parameter *weights_parameters(struct arena *arena, const char *backbone, int image_size, int classes,
                                           int *count)
{
    struct graph *graph = graph_create(arena, backbone);
    zoo_find(backbone)->build(graph, image_size, classes ? classes : PUBLISHED_CLASSES);
    *count = graph->parameter_count;
    return graph->parameters;
}

static struct match start(struct weights *w, const struct tensors *tensors, const char *backbone)
{
    struct match m = { .arena = w->arena, .w = w, .tensors = tensors, .backbone = backbone };
    m.notes = text_new(w->arena);
    m.by_name = arena_array(w->arena, const struct tensor *, tensors->count + 1);
    for (int i = 0; i < tensors->count; i++)
        m.by_name[i] = &tensors->list[i];
    qsort(m.by_name, (size_t)tensors->count, sizeof *m.by_name, compare);
    return m;
}

const char *weights_match(struct weights *w, const struct tensors *tensors, const char *backbone, int image_size,
                          const char *prefix)
{
    struct match m = start(w, tensors, backbone);
    if (!choose_place(&m, prefix) && prefix)
        return arena_printf(m.arena, "%s: no parameter of %s under \"%s\"", w->path, backbone, shown(m.arena, prefix));
    w->naming = m.naming->name;
    for (int i = 0; i < w->count; i++)
        if (find_all(&m, name_of(&m, i), &w->sources[i]))
            m.nested = m.nested || (size_t)w->sources[i].parts[0]->stem > strlen(m.prefix);
    find_head(&m);
    w->list = weights_parameters(w->arena, backbone, image_size, w->classes, &w->count);
    const char *why = difference(&m);
    for (int i = 0; !why && i < w->count; i++)
        if (w->sources[i].count > 0)
            why = check_shape(&m, &w->list[i], &w->sources[i]);
    if (w->classes == 0)
        text_add(&m.notes, "head: none that is one linear layer: training starts one anew\n");
    w->notes = m.notes.data;
    return why;
}
