/* The shortcut probe: logistic regression on grey levels, borders, size, sharpness and colour (image/appearance.h),
 * which know nothing of what a picture shows. Fitted on train, measured on val and test by AUROC with a bootstrap over
 * groups, beside the same model fitted to permuted labels. What it reaches is the floor that a network has to beat; one
 * family of features alone tells where it comes from. Equals scikit-learn's LogisticRegression(C=1) on standardised
 * features. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "concept/head.h"
#include "concept/score.h"
#include "stage/corpus/audit.h"

enum {
    MOST_ROWS = 20000, /* of a split, drawn: 44 features need no more */
    REPLICATES = 400,
    PERMUTATIONS = 20, /* the highest of them: a level of 5 % by itself, far less beside an interval's lower end */
    MAX_ITER = 200,
    F = APPEARANCE_FEATURES
};
static const double PENALTY_C = 1, TOLERANCE = 1e-4;

/* Rows of one split. */
struct part {
    int64_t rows;
    int64_t *row;    /* [rows] of the corpus, rising */
    float *x;        /* [rows x F] standardised by train */
    int32_t *label;  /* [rows], or NULL */
    int8_t *labels;  /* [rows x C], or NULL */
    int64_t *member; /* [rows] group, numbered from 0 within the part */
    int64_t groups;
};

struct probe {
    struct audit *audit;
    struct arena *arena;
    int classes;
    bool multi_label;
    struct part part[SPLITS];
};

/* One model on one split: metrics as concept/score.h lays them out. */
struct measured {
    double *value;      /* [score_count] */
    double *replicates; /* [REPLICATES x score_count] */
    double *permuted;   /* [score_count] highest of the permutations */
};

/* ---- rows ---- */

/* At most MOST_ROWS of a split, the same whatever the ranks. */
static void take_rows(struct probe *probe, enum split split)
{
    struct part *part = &probe->part[split];
    const struct corpus *c = probe->audit->corpus;
    int64_t *all = arena_array(probe->arena, int64_t, c->rows + 1), n = corpus_rows_of(c, split, all);
    part->row = all;
    part->rows = n;
    if (n <= MOST_ROWS)
        return;
    int64_t *order = arena_array(probe->arena, int64_t, n);
    bool *taken = arena_array(probe->arena, bool, n);
    struct rng rng = { .purpose = RNG_AUDIT, .epoch = (uint32_t)split };
    rng_permutation(&rng, 0, order, n);
    part->rows = 0;
    for (int64_t i = 0; i < MOST_ROWS; i++)
        taken[order[i]] = true;
    for (int64_t i = 0; i < n; i++)
        if (taken[i])
            part->row[part->rows++] = all[i];
}

/* Features and labels of the rows of a part, on every rank. Collective. */
static void fill_part(struct probe *probe, struct part *part)
{
    struct audit *audit = probe->audit;
    const struct corpus *c = audit->corpus;
    float *local = arena_array(probe->arena, float, (audit->mine.count + 1) * F);
    int64_t mine = 0, C = c->classes;
    part->x = arena_array(probe->arena, float, (part->rows + 1) * F);
    part->label = c->multi_label ? NULL : arena_array(probe->arena, int32_t, part->rows + 1);
    part->labels = c->multi_label ? arena_array(probe->arena, int8_t, part->rows * C + 1) : NULL;
    for (int64_t i = 0; i < part->rows; i++) {
        int64_t row = part->row[i], at = row - audit->mine.first;
        if (at >= 0 && at < audit->mine.count)
            memcpy(local + mine++ * F, audit->appearance[at].feature, sizeof audit->appearance->feature);
        if (part->label)
            part->label[i] = c->label[row];
        else
            memcpy(part->labels + i * C, c->labels + row * C, (size_t)C);
    }
    world_allgather_rows(audit->job->world, part->x, local, mine, F * sizeof(float));
}

/* Numbers of the groups that occur; without groups every row is one. */
static void number_groups(struct probe *probe, struct part *part)
{
    const struct audit *audit = probe->audit;
    int64_t highest = 0;
    part->member = arena_array(probe->arena, int64_t, part->rows + 1);
    for (int64_t i = 0; audit->group && i < part->rows; i++)
        highest = audit->group[part->row[i]] > highest ? audit->group[part->row[i]] : highest;
    int64_t *number = arena_array(probe->arena, int64_t, highest + 1);
    for (int64_t i = 0; i < part->rows; i++) {
        if (!audit->group) {
            part->member[i] = part->groups++;
            continue;
        }
        int64_t *of = &number[audit->group[part->row[i]]];
        if (*of == 0)
            *of = ++part->groups;
        part->member[i] = *of - 1;
    }
}

/* Every feature to mean 0 and deviation 1 on train; one that does not vary there becomes 0. */
static void standardise(struct probe *probe)
{
    const struct part *train = &probe->part[SPLIT_TRAIN];
    for (int f = 0; f < F; f++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < train->rows; i++)
            mean += (double)train->x[i * F + f] / (double)train->rows;
        for (int64_t i = 0; i < train->rows; i++)
            variance += pow((double)train->x[i * F + f] - mean, 2) / (double)train->rows;
        double scale = variance > 1e-12 * (1 + mean * mean) ? 1 / sqrt(variance) : 0;
        for (int s = 0; s < SPLITS; s++)
            for (int64_t i = 0; i < probe->part[s].rows; i++)
                probe->part[s].x[i * F + f] = (float)(((double)probe->part[s].x[i * F + f] - mean) * scale);
    }
}

/* Labels that can be learnt: train knows both states, or of a class images and others. Of several labels the others are
 * taken as not known. */
static int learnable(struct probe *probe)
{
    struct part *train = &probe->part[SPLIT_TRAIN];
    int learnt = 0;
    for (int c = 0; c < probe->classes; c++) {
        int64_t states[2] = { 0 };
        for (int64_t i = 0; i < train->rows; i++) {
            int state = probe->multi_label ? train->labels[i * probe->classes + c] : train->label[i] == c;
            if (state == LABEL_POSITIVE || state == LABEL_NEGATIVE)
                states[state]++;
        }
        const bool both = states[0] > 0 && states[1] > 0;
        learnt += both;
        for (int64_t i = 0; probe->multi_label && !both && i < train->rows; i++)
            train->labels[i * probe->classes + c] = LABEL_BLANK;
    }
    return learnt;
}

/* ---- a model ---- */

/* Fits features first..first+dim-1 to the labels of train, row i to those of order[i] (NULL: its own). Collective. */
static struct head fit(struct probe *probe, int first, int dim, const int64_t *order, struct arena *scratch)
{
    const struct part *train = &probe->part[SPLIT_TRAIN];
    const int C = probe->classes;
    struct head_rows *rows =
        head_rows_create(scratch, probe->audit->job->world, train->rows, C, dim, probe->multi_label);
    float *x = arena_array(scratch, float, rows->mine.count *dim + 1);
    int32_t *label = arena_array(scratch, int32_t, rows->mine.count + 1);
    int8_t *labels = arena_array(scratch, int8_t, rows->mine.count * C + 1);
    for (int64_t i = 0; i < rows->mine.count; i++) {
        int64_t at = rows->mine.first + i, from = order ? order[at] : at;
        memcpy(x + i * dim, train->x + at * F + first, (size_t)dim * sizeof *x);
        if (probe->multi_label)
            memcpy(labels + i * C, train->labels + from * C, (size_t)C);
        else
            label[i] = train->label[from];
    }
    rows->x = x;
    rows->label = probe->multi_label ? NULL : label;
    rows->labels = probe->multi_label ? labels : NULL;
    head_rows_prepare(rows, scratch);
    struct head head = head_create(scratch, C, dim);
    head_fit(&head, rows, PENALTY_C, TOLERANCE, MAX_ITER, scratch);
    return head;
}

static struct score_plan *plan_of(struct probe *probe, const struct part *part, const struct head *head, int first,
                                  struct arena *scratch)
{
    const int C = probe->classes, dim = head->dim;
    int64_t n = part->rows;
    float *x = arena_array(scratch, float, n *dim + 1), *logits = arena_array(scratch, float, n *C + 1);
    for (int64_t i = 0; i < n; i++)
        memcpy(x + i * dim, part->x + i * F + first, (size_t)dim * sizeof *x);
    head_logits(logits, head, x, n, scratch);
    double *probability = arena_array(scratch, double, n *C + 1);
    int32_t *predicted = arena_array(scratch, int32_t, n * C + 1);
    score_probability(probability, logits, n, C, probe->multi_label);
    score_predict(predicted, logits, n, C, probe->multi_label);
    struct score_rows rows = { .rows = n,
                               .classes = C,
                               .multi_label = probe->multi_label,
                               .probability = probability,
                               .predicted = predicted,
                               .label = part->label,
                               .labels = part->labels };
    return score_plan_create(scratch, &rows);
}

/* Metrics of resamples of whole groups: rows of one patient are not independent. Ranks share the replicates. */
static void resample(double *out, struct probe *probe, const struct part *part, const struct score_plan *plan,
                     struct arena *scratch)
{
    struct world *world = probe->audit->job->world;
    const int metrics = score_count(probe->classes);
    struct span mine = shard_rows(REPLICATES, world->size, world->rank);
    double *local = arena_array(scratch, double, mine.count *metrics + 1);
    int32_t *drawn = arena_array(scratch, int32_t, part->groups + 1);
    int32_t *weight = arena_array(scratch, int32_t, part->rows + 1);
    struct rng rng = { .purpose = RNG_BOOTSTRAP };
    for (int64_t r = 0; r < mine.count; r++) {
        memset(drawn, 0, (size_t)part->groups * sizeof *drawn);
        for (int64_t g = 0; g < part->groups; g++)
            drawn[rng_below(&rng, (uint64_t)(mine.first + r), (uint64_t)g, (uint64_t)part->groups)]++;
        for (int64_t i = 0; i < part->rows; i++)
            weight[i] = drawn[part->member[i]];
        score_compute(local + r * metrics, plan, weight);
    }
    world_allgather_rows(world, out, local, mine.count, (size_t)metrics * sizeof *out);
}

/* One family of features, or all of them, on val and test. Collective. */
static void measure(struct measured out[SPLITS], struct probe *probe, int first, int dim)
{
    struct arena *scratch = probe->audit->job->scratch;
    const int metrics = score_count(probe->classes);
    struct arena_mark mark = arena_mark(scratch);
    struct head head = fit(probe, first, dim, NULL, scratch);
    for (int s = SPLIT_VAL; s <= SPLIT_TEST; s++) {
        const struct part *part = &probe->part[s];
        out[s].value = arena_array(probe->arena, double, metrics);
        out[s].replicates = arena_array(probe->arena, double, REPLICATES *metrics);
        if (part->rows == 0)
            continue;
        struct score_plan *plan = plan_of(probe, part, &head, first, scratch);
        score_compute(out[s].value, plan, NULL);
        resample(out[s].replicates, probe, part, plan, scratch);
    }
    arena_release(scratch, mark);
}

/* The highest of each metric over fits to permuted labels. Collective. */
static void permute(struct measured out[SPLITS], struct probe *probe)
{
    struct arena *scratch = probe->audit->job->scratch;
    const int metrics = score_count(probe->classes);
    int64_t *order = arena_array(probe->arena, int64_t, probe->part[SPLIT_TRAIN].rows + 1);
    for (int s = 0; s < SPLITS; s++) {
        out[s].permuted = arena_array(probe->arena, double, metrics);
        for (int m = 0; m < metrics; m++)
            out[s].permuted[m] = NAN;
    }
    for (int p = 0; p < PERMUTATIONS; p++) {
        struct arena_mark mark = arena_mark(scratch);
        struct rng rng = { .purpose = RNG_AUDIT, .epoch = SPLITS };
        double *value = arena_array(scratch, double, metrics);
        rng_permutation(&rng, (uint64_t)p, order, probe->part[SPLIT_TRAIN].rows);
        struct head head = fit(probe, 0, F, order, scratch);
        for (int s = SPLIT_VAL; s <= SPLIT_TEST; s++) {
            if (probe->part[s].rows == 0)
                continue;
            score_compute(value, plan_of(probe, &probe->part[s], &head, 0, scratch), NULL);
            for (int m = 0; m < metrics; m++)
                out[s].permuted[m] = fmax(out[s].permuted[m], value[m]); /* fmax takes the number before NaN */
        }
        arena_release(scratch, mark);
        progress("audit", "shortcut probe", p + 1, PERMUTATIONS, "fit");
    }
    progress_end();
}

/* ---- what it says ---- */

static void bounds_of(double *low, double *high, struct probe *probe, const struct measured *m, int metric)
{
    score_interval(low, high, probe->audit->job->scratch, m->replicates + metric, REPLICATES,
                   score_count(probe->classes));
}

/* Is metric m of the real labels above what permuted ones give, with its whole interval? */
static bool found(struct probe *probe, const struct measured *m, int metric)
{
    double low, high;
    bounds_of(&low, &high, probe, m, metric);
    return low > m->permuted[metric];
}

static void write_auroc(struct probe *probe, const struct measured *m, int metric)
{
    struct json_writer *w = &probe->audit->json;
    double low, high;
    bounds_of(&low, &high, probe, m, metric);
    json_number(w, "auroc", m->value[metric]);
    json_array(w, "auroc_interval");
    json_number(w, NULL, low);
    json_number(w, NULL, high);
    json_end_array(w);
    if (m->permuted) {
        json_number(w, "permuted_highest", m->permuted[metric]);
        json_bool(w, "found", found(probe, m, metric));
    }
}

static void write_split(struct probe *probe, enum split split, const struct measured *all,
                        struct measured (*alone)[SPLITS])
{
    struct json_writer *w = &probe->audit->json;
    json_object(w, split_name(split));
    json_integer(w, "images", probe->part[split].rows);
    json_integer(w, "resampled_units", probe->part[split].groups);
    write_auroc(probe, all, SCORE_AUROC);
    json_object(w, "per_class");
    for (int c = 0; c < probe->classes; c++) {
        json_object(w, probe->audit->corpus->class_names[c]);
        write_auroc(probe, all, SCORE_SCALARS + c);
        json_end_object(w);
    }
    json_end_object(w);
    json_object(w, "alone");
    for (int f = 0; f < APPEARANCE_FAMILIES; f++) {
        json_object(w, appearance_names[f]);
        write_auroc(probe, &alone[f][split], SCORE_AUROC);
        json_end_object(w);
    }
    json_end_object(w);
    json_end_object(w);
}

/* The bars of the page, of one split. */
static void keep_bars(struct probe *probe, enum split split, const struct measured *all,
                      struct measured (*alone)[SPLITS])
{
    struct audit *audit = probe->audit;
    for (int b = 0; b <= APPEARANCE_FAMILIES; b++) {
        const struct measured *m = b == 0 ? all : &alone[b - 1][split];
        struct audit_bar *bar = &audit->bars[b];
        bar->name = b == 0 ? "all together" : appearance_names[b - 1];
        bar->auroc = m->value[SCORE_AUROC];
        bounds_of(&bar->low, &bar->high, probe, m, SCORE_AUROC);
    }
    audit->bar_count = APPEARANCE_FAMILIES + 1;
    audit->permuted = all->permuted[SCORE_AUROC];
    audit->measured_on = split_name(split);
}

/* "melanoma, nevus": the classes that the probe tells from the others, five at most. */
static const char *found_classes(struct probe *probe, const struct measured *m)
{
    struct text names = text_new(probe->arena);
    int count = 0;
    for (int c = 0; c < probe->classes; c++)
        if (found(probe, m, SCORE_SCALARS + c)) {
            if (count < 5)
                text_add(&names, "%s%s", count ? ", " : "", probe->audit->corpus->class_names[c]);
            count++;
        }
    if (count > 5)
        text_add(&names, " and %d more", count - 5);
    return names.data;
}

static void conclude(struct probe *probe, const struct measured *all)
{
    struct audit *audit = probe->audit;
    const struct audit_bar *bar = audit->bars;
    int best = 1;
    if (isnan(bar->auroc)) {
        text_add(&audit->out, "  shortcut probe: AUROC is not defined on %s, where no class has images and others\n",
                 audit->measured_on);
        return;
    }
    for (int b = 2; b < audit->bar_count; b++)
        best = bar[b].auroc > bar[best].auroc ? b : best;
    text_add(&audit->out, "  shortcut probe on %s: AUROC %.3f (%.3f to %.3f), permuted labels at most %.3f; alone:",
             audit->measured_on, bar->auroc, bar->low, bar->high, audit->permuted);
    for (int b = 1; b < audit->bar_count; b++)
        text_add(&audit->out, "%s %s %.3f", b > 1 ? "," : "", bar[b].name, bar[b].auroc);
    text_add(&audit->out, "\n");
    const char *classes = found_classes(probe, all);
    if (found(probe, all, SCORE_AUROC))
        NOTE(audit,
             "shortcut: grey levels, borders, size, sharpness and colour alone reach AUROC %.3f (%.3f to %.3f) on %s: "
             "the floor that a network has to beat; %s alone %.3f",
             bar->auroc, bar->low, bar->high, audit->measured_on, bar[best].name, bar[best].auroc);
    else if (*classes)
        NOTE(audit, "shortcut: grey levels, borders, size, sharpness and colour alone tell some classes on %s: %s",
             audit->measured_on, classes);
}

static void probe_splits(struct probe *probe)
{
    struct audit *audit = probe->audit;
    struct measured all[SPLITS] = { 0 }, alone[APPEARANCE_FAMILIES][SPLITS] = { 0 };
    measure(all, probe, 0, F);
    permute(all, probe);
    for (int f = 0; f < APPEARANCE_FAMILIES; f++)
        measure(alone[f], probe, appearance_first[f], appearance_first[f + 1] - appearance_first[f]);
    json_integer(&audit->json, "features", F);
    json_number(&audit->json, "c", PENALTY_C);
    json_integer(&audit->json, "permutations", PERMUTATIONS);
    json_integer(&audit->json, "replicates", REPLICATES);
    json_bool(&audit->json, "by_group", audit->group != NULL);
    json_integer(&audit->json, "train_images", probe->part[SPLIT_TRAIN].rows);
    for (int s = SPLIT_VAL; s <= SPLIT_TEST; s++)
        if (probe->part[s].rows > 0)
            write_split(probe, (enum split)s, &all[s], alone);
    const bool test = probe->part[SPLIT_TEST].rows > 0, val = probe->part[SPLIT_VAL].rows > 0;
    enum split split = test && !(val && isnan(all[SPLIT_TEST].value[SCORE_AUROC])) ? SPLIT_TEST : SPLIT_VAL;
    keep_bars(probe, split, &all[split], alone);
    conclude(probe, &all[split]);
}

void audit_shortcut(struct audit *audit)
{
    enum phase before = phase_enter(PHASE_COMPUTE);
    struct probe probe = { .audit = audit,
                           .arena = audit->job->run,
                           .classes = audit->corpus->classes,
                           .multi_label = audit->corpus->multi_label };
    for (int s = 0; s < SPLITS; s++) {
        take_rows(&probe, (enum split)s);
        fill_part(&probe, &probe.part[s]);
        number_groups(&probe, &probe.part[s]);
    }
    const char *why = learnable(&probe) == 0 ? "train has no two classes to tell apart"
                      : probe.part[SPLIT_VAL].rows + probe.part[SPLIT_TEST].rows == 0 ? "no image in val or test"
                                                                                      : NULL;
    json_object(&audit->json, "shortcut");
    json_bool(&audit->json, "known", !why);
    if (why) {
        json_text(&audit->json, "why", why);
        text_add(&audit->out, "  shortcut probe: none, %s\n", why);
    } else {
        standardise(&probe);
        probe_splits(&probe);
    }
    json_end_object(&audit->json);
    phase_enter(before);
}
