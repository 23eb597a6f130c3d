/* The shortcut probe: logistic regression (concept/probe.h) on grey levels, borders, size, sharpness and colour
 * (image/appearance.h), which know nothing of what a picture shows. What it reaches on val and test is the floor that a
 * network has to beat; one family of features alone tells where it comes from. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "concept/probe.h"
#include "concept/score.h"
#include "stage/corpus/audit.h"

enum {
    MOST_ROWS = 20000, /* of a split, drawn: 44 features need no more */
    F = APPEARANCE_FEATURES,
};

struct shortcut {
    struct audit *audit;
    struct arena *arena;
    int64_t *row[SPLITS];           /* [part[s].rows] of the corpus, rising */
    struct probe_rows part[SPLITS]; /* fitted to train */
    struct probe probe;
};

/* ---- rows ---- */

/* At most MOST_ROWS of a split, the same whatever the ranks. */
static void take_rows(struct shortcut *s, enum split split)
{
    const struct corpus *c = s->audit->corpus;
    int64_t *all = arena_array(s->arena, int64_t, c->rows + 1), n = corpus_rows_of(c, split, all), kept = 0;
    s->row[split] = all;
    s->part[split].rows = n;
    if (n <= MOST_ROWS)
        return;
    int64_t *order = arena_array(s->arena, int64_t, n);
    bool *taken = arena_array(s->arena, bool, n);
    struct rng rng = { .purpose = RNG_AUDIT, .epoch = (uint32_t)split };
    rng_permutation(&rng, 0, order, n);
    for (int64_t i = 0; i < MOST_ROWS; i++)
        taken[order[i]] = true;
    for (int64_t i = 0; i < n; i++)
        if (taken[i])
            all[kept++] = all[i];
    s->part[split].rows = kept;
}

/* Features and labels of the rows of a part, on every rank. Collective. */
static void fill_part(struct shortcut *s, enum split split)
{
    struct audit *audit = s->audit;
    struct probe_rows *part = &s->part[split];
    const struct corpus *c = audit->corpus;
    float *local = arena_array(s->arena, float, (audit->mine.count + 1) * F);
    int64_t mine = 0, C = c->classes;
    int32_t *label = c->multi_label ? NULL : arena_array(s->arena, int32_t, part->rows + 1);
    part->x = arena_array(s->arena, float, (part->rows + 1) * F);
    part->label = label;
    part->labels = c->multi_label ? arena_array(s->arena, int8_t, part->rows * C + 1) : NULL;
    for (int64_t i = 0; i < part->rows; i++) {
        int64_t row = s->row[split][i], at = row - audit->mine.first;
        if (at >= 0 && at < audit->mine.count)
            memcpy(local + mine++ * F, audit->appearance[at].feature, sizeof audit->appearance->feature);
        if (label)
            label[i] = c->label[row];
        else
            memcpy(part->labels + i * C, c->labels + row * C, (size_t)C);
    }
    world_allgather_rows(audit->job->world, part->x, local, mine, F * sizeof(float));
}

/* Numbers of the groups that occur; without groups every row is one. */
static void number_groups(struct shortcut *s, enum split split)
{
    const int64_t *group = s->audit->group, *row = s->row[split];
    struct probe_rows *part = &s->part[split];
    int64_t highest = 0, *member = arena_array(s->arena, int64_t, part->rows + 1);
    for (int64_t i = 0; group && i < part->rows; i++)
        highest = group[row[i]] > highest ? group[row[i]] : highest;
    int64_t *number = arena_array(s->arena, int64_t, highest + 1);
    for (int64_t i = 0; i < part->rows; i++) {
        int64_t *of = group ? &number[group[row[i]]] : NULL;
        if (of && *of == 0)
            *of = ++part->groups;
        member[i] = of ? *of - 1 : part->groups++;
    }
    part->member = member;
}

/* ---- what it says ---- */

static void write_auroc(struct shortcut *s, const struct probe_measured *m, int metric)
{
    struct json_writer *w = &s->audit->json;
    double low, high;
    probe_interval(&low, &high, &s->probe, m, metric);
    json_number(w, "auroc", m->value[metric]);
    json_array(w, "auroc_interval");
    json_number(w, NULL, low);
    json_number(w, NULL, high);
    json_end_array(w);
    if (m->permuted) {
        json_number(w, "permuted_highest", m->permuted[metric]);
        json_bool(w, "found", probe_found(&s->probe, m, metric));
    }
}

static void write_split(struct shortcut *s, enum split split, const struct probe_measured *all,
                        struct probe_measured (*alone)[SPLITS])
{
    struct json_writer *w = &s->audit->json;
    json_object(w, split_name(split));
    json_integer(w, "images", s->part[split].rows);
    json_integer(w, "resampled_units", s->part[split].groups);
    write_auroc(s, all, SCORE_AUROC);
    json_object(w, "per_class");
    for (int c = 0; c < s->probe.classes; c++) {
        json_object(w, s->audit->corpus->class_names[c]);
        write_auroc(s, all, SCORE_SCALARS + c);
        json_end_object(w);
    }
    json_end_object(w);
    json_object(w, "alone");
    for (int f = 0; f < APPEARANCE_FAMILIES; f++) {
        json_object(w, appearance_names[f]);
        write_auroc(s, &alone[f][split], SCORE_AUROC);
        json_end_object(w);
    }
    json_end_object(w);
    json_end_object(w);
}

/* The bars of the page, of one split. */
static void keep_bars(struct shortcut *s, enum split split, const struct probe_measured *all,
                      struct probe_measured (*alone)[SPLITS])
{
    struct audit *audit = s->audit;
    for (int b = 0; b <= APPEARANCE_FAMILIES; b++) {
        const struct probe_measured *m = b == 0 ? all : &alone[b - 1][split];
        struct audit_bar *bar = &audit->bars[b];
        bar->name = b == 0 ? "all together" : appearance_names[b - 1];
        bar->auroc = m->value[SCORE_AUROC];
        probe_interval(&bar->low, &bar->high, &s->probe, m, SCORE_AUROC);
    }
    audit->bar_count = APPEARANCE_FAMILIES + 1;
    audit->permuted = all->permuted[SCORE_AUROC];
    audit->measured_on = split_name(split);
}

/* "melanoma, nevus": the classes that the probe tells from the others, five at most. */
static const char *found_classes(struct shortcut *s, const struct probe_measured *m)
{
    struct text names = text_new(s->arena);
    int count = 0;
    for (int c = 0; c < s->probe.classes; c++)
        if (probe_found(&s->probe, m, SCORE_SCALARS + c)) {
            if (count < 5)
                text_add(&names, "%s%s", count ? ", " : "", s->audit->corpus->class_names[c]);
            count++;
        }
    if (count > 5)
        text_add(&names, " and %d more", count - 5);
    return names.data;
}

static void conclude(struct shortcut *s, const struct probe_measured *all)
{
    struct audit *audit = s->audit;
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
    const char *classes = found_classes(s, all);
    if (probe_found(&s->probe, all, SCORE_AUROC))
        NOTE(audit,
             "shortcut: grey levels, borders, size, sharpness and colour alone reach AUROC %.3f (%.3f to %.3f) on %s: "
             "the floor that a network has to beat; %s alone %.3f",
             bar->auroc, bar->low, bar->high, audit->measured_on, bar[best].name, bar[best].auroc);
    else if (*classes)
        NOTE(audit, "shortcut: grey levels, borders, size, sharpness and colour alone tell some classes on %s: %s",
             audit->measured_on, classes);
}

/* All features, beside permuted labels; and each family alone. */
static void measure(struct shortcut *s, struct probe_measured *all, struct probe_measured (*alone)[SPLITS])
{
    probe_measure(all, &s->probe, 0, F);
    for (int k = 0; k < PROBE_PERMUTATIONS; k++) {
        probe_permute(all, &s->probe, k);
        progress("audit", "shortcut probe", k + 1, PROBE_PERMUTATIONS, "fit");
    }
    progress_end();
    for (int f = 0; f < APPEARANCE_FAMILIES; f++)
        probe_measure(alone[f], &s->probe, appearance_first[f], appearance_first[f + 1] - appearance_first[f]);
}

static void write_all(struct shortcut *s)
{
    struct audit *audit = s->audit;
    struct probe_measured all[SPLITS] = { 0 }, alone[APPEARANCE_FAMILIES][SPLITS] = { 0 };
    measure(s, all, alone);
    json_integer(&audit->json, "features", F);
    json_number(&audit->json, "c", PROBE_C);
    json_integer(&audit->json, "permutations", PROBE_PERMUTATIONS);
    json_integer(&audit->json, "replicates", PROBE_REPLICATES);
    json_bool(&audit->json, "by_group", audit->group != NULL);
    json_integer(&audit->json, "train_images", s->part[SPLIT_TRAIN].rows);
    for (int k = SPLIT_VAL; k <= SPLIT_TEST; k++)
        if (s->part[k].rows > 0)
            write_split(s, (enum split)k, &all[k], alone);
    const bool test = s->part[SPLIT_TEST].rows > 0, val = s->part[SPLIT_VAL].rows > 0;
    enum split split = test && !(val && isnan(all[SPLIT_TEST].value[SCORE_AUROC])) ? SPLIT_TEST : SPLIT_VAL;
    keep_bars(s, split, &all[split], alone);
    conclude(s, &all[split]);
}

void audit_shortcut(struct audit *audit)
{
    enum phase before = phase_enter(PHASE_COMPUTE);
    struct shortcut s = { .audit = audit, .arena = audit->job->run };
    s.probe = (struct probe){ .world = audit->job->world,
                              .arena = audit->job->run,
                              .scratch = audit->job->scratch,
                              .classes = audit->corpus->classes,
                              .dim = F,
                              .multi_label = audit->corpus->multi_label,
                              .part = s.part,
                              .parts = SPLITS };
    for (int k = 0; k < SPLITS; k++) {
        take_rows(&s, (enum split)k);
        fill_part(&s, (enum split)k);
        number_groups(&s, (enum split)k);
    }
    const char *why = probe_prepare(&s.probe) == 0                            ? "train has no two classes to tell apart"
                      : s.part[SPLIT_VAL].rows + s.part[SPLIT_TEST].rows == 0 ? "no image in val or test"
                                                                              : NULL;
    json_object(&audit->json, "shortcut");
    json_bool(&audit->json, "known", !why);
    if (why) {
        json_text(&audit->json, "why", why);
        text_add(&audit->out, "  shortcut probe: none, %s\n", why);
    } else {
        write_all(&s);
    }
    json_end_object(&audit->json);
    phase_enter(before);
}
