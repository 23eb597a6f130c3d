/* cfn select: which vectors become the concepts, by greedy maximisation of set
 * functions over all of them. Candidates and their scores come from
 * select_candidates.c, the method from src/concept. Docs: docs/methods/select.md. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "concept/greedy.h"
#include "stage/concepts/select_memory.h"

/* No more picks than candidates. */
static int64_t picks_of(const struct job *job, const struct candidates *c)
{
    int64_t wanted = job->config->select.count;
    if (wanted > c->count)
        log_warn("select.count = %lld, but there are %lld candidates: all of them are taken", (long long)wanted,
                 (long long)c->count);
    return wanted < c->count ? wanted : c->count;
}

static const struct layout LAYOUT[] = {
    { "/index", STORE_I64, "M", "index", "row of cav.h5:/cav, in pick order", NULL, false },
    { "/gain", STORE_F64, "M", "1", "marginal gain of the objective at the pick", NULL, false },
};

static void write_selection(struct job *job, const int64_t *index, const double *gain, int64_t count,
                            const struct candidates *c)
{
    const struct select_config *config = &job->config->select;
    const struct extent sizes[] = { { "M", count } };
    enum phase before = phase_enter(PHASE_WRITE);
    struct store *out = job_create(job, "selection.h5", LAYOUT, sizeof LAYOUT / sizeof *LAYOUT, sizes, 1);
    store_write_all(out, "/index", index);
    store_write_all(out, "/gain", gain);
    store_set_text(out, "/", "objective", config->objective);
    store_set_text(out, "/", "similarity", config->similarity);
    store_set_text(out, "/", "optimizer", config->optimizer);
    store_set_i64(out, "/", "candidates", c->count);
    job_publish(job, out);
    phase_enter(before);
}

static void add_term(struct select_plan *plan, const struct select_config *k, const struct objective *objective,
                     double weight)
{
    const char *similarity = objective->rows == ROWS_ENTRIES ? "features" : k->similarity;
    const bool set = objective->takes_parameter && k->parameter > 0;
    plan->term[plan->terms++] =
        (struct term_spec){ .objective = objective,
                            .similarity = objective->rows == ROWS_NONE ? NULL : similarity_find(similarity),
                            .weight = weight,
                            .parameter = set ? k->parameter : objective->parameter };
    plan->matrix = plan->matrix || (objective->rows != ROWS_NONE && plan->term[plan->terms - 1].similarity->is_matrix);
    plan->scores = plan->scores || objective->needs_scores;
    plan->moment = plan->moment || objective->needs_moment;
    plan->shareable = plan->shareable && objective->rows != ROWS_ENTRIES && !plan->scores && !plan->moment;
}

/* "NAME=WEIGHT", or NAME with weight 1. */
static void add_member(struct job *job, struct select_plan *plan, char *word)
{
    const struct select_config *k = &job->config->select;
    const char *text = arena_strdup(job->run, word), *words[OBJECTIVE_WORDS];
    char *equals = strchr(word, '='), *end = word;
    const double weight = equals ? strtod(equals + 1, &end) : 1;
    if (equals)
        *equals = '\0';
    const struct objective *objective = objective_of(word, k->concave);
    const char *near = objective ? NULL : text_suggest(word, words, (size_t)objective_words(words));
    agree(job->world, objective, EXIT_BAD_CONFIG,
          "select.mixture: \"%s\" is not one objective%s\nuse words of select.objective, but not labo or mixture", text,
          near ? arena_printf(job->run, " (did you mean \"%s\"?)", near) : "");
    agree(job->world, weight > 0 && isfinite(weight) && (!equals || (end > equals + 1 && *end == '\0')),
          EXIT_BAD_CONFIG, "select.mixture: \"%s\": expected a number > 0 as weight\nwrite \"%s=0.5\"", text, word);
    agree(job->world, plan->terms < GOAL_TERMS, EXIT_BAD_CONFIG,
          "select.mixture: \"%s\" is one too many, expected at most %d objectives", text, GOAL_TERMS);
    add_term(plan, k, objective, weight);
}

static void add_mixture(struct job *job, struct select_plan *plan)
{
    char *copy = arena_strdup(job->run, job->config->select.mixture);
    for (char *word = strtok(copy, " ,"); word; word = strtok(NULL, " ,"))
        add_member(job, plan, word);
    agree(job->world, plan->terms > 0, EXIT_BAD_CONFIG,
          "select.mixture: empty, expected objectives with weights\nas in \"facility_location=1 "
          "mutual_information=0.5\"");
}

static void add_labo(struct job *job, struct select_plan *plan)
{
    const struct select_config *k = &job->config->select;
    add_term(plan, k, objective_find("modular"), k->labo_alpha);
    add_term(plan, k, objective_find("facility_location"), k->labo_beta);
}

/* Words of select.objective that stand for several objectives; each of the others is one (concept/objective.h). */
static const struct {
    const char *word;
    void (*add)(struct job *job, struct select_plan *plan);
} SUMS[] = { { "mixture", add_mixture }, { "labo", add_labo } };
enum { SUMS_COUNT = sizeof SUMS / sizeof *SUMS };

/* Members look at one thing, the vectors or the matrix. Scores of candidates are formed before. */
static void check_matrix(const struct job *job, const struct select_plan *plan)
{
    for (int t = 0; t < plan->terms && plan->matrix; t++) {
        const struct objective *objective = plan->term[t].objective;
        agree(job->world, objective->rows != ROWS_ENTRIES && !objective->needs_moment, EXIT_BAD_CONFIG,
              "select.mixture: %s looks at the vectors, other members at a matrix (select.similarity: %s)\nset "
              "select.similarity: cosine",
              objective->name, plan->similarity->name);
    }
}

static struct select_plan make_plan(struct job *job)
{
    const struct select_config *k = &job->config->select;
    const struct similarity *similarity = similarity_find(k->similarity);
    struct select_plan plan = { .similarity = similarity,
                                .optimiser = optimiser_find(k->optimizer),
                                .shareable =
                                    similarity->is_square && !similarity->is_matrix && k->pools == POOLS_NONE };
    for (int i = 0; i < SUMS_COUNT; i++)
        if (strcmp(k->objective, SUMS[i].word) == 0)
            SUMS[i].add(job, &plan);
    if (plan.terms == 0)
        add_term(&plan, k, objective_of(k->objective, k->concave), 1);
    check_matrix(job, &plan);
    return plan;
}

/* Costs and initial rows of cav.h5 as those of the candidates. */
static void read_lists(struct job *job, const struct candidates *c, struct greedy_spec *spec)
{
    const struct select_config *k = &job->config->select;
    int64_t count = 0;
    if (*k->costs) {
        const double *all = select_numbers(job, "costs", k->costs, &count);
        double *cost = arena_array(job->run, double, c->count);
        agree(job->world, count == c->total, EXIT_BAD_DATA,
              "select.costs: %s: %lld numbers, expected %lld\none per row "
              "of cav.h5",
              k->costs, (long long)count, (long long)c->total);
        int64_t bad = -1;
        for (int64_t i = 0; i < c->count; i++) {
            cost[i] = all[c->row[i]];
            bad = cost[i] > 0 ? bad : c->row[i];
        }
        agree(job->world, bad < 0, EXIT_BAD_DATA, "select.costs: %s: value %lld is not > 0", k->costs, (long long)bad);
        spec->cost = cost;
    }
    if (*k->initial) {
        const double *all = select_numbers(job, "initial", k->initial, &count);
        int64_t *initial = arena_array(job->run, int64_t, count + 1);
        for (int64_t i = 0; i < count; i++) {
            initial[i] = -1;
            for (int64_t at = 0; at < c->count && initial[i] < 0; at++)
                initial[i] = (double)c->row[at] == all[i] ? at : -1;
            agree(job->world, initial[i] >= 0, EXIT_BAD_DATA,
                  "select.initial: %s: row %g is not among the %lld candidates of cav.h5", k->initial, all[i],
                  (long long)c->count);
        }
        agree(job->world, !spec->optimiser->tree, EXIT_BAD_CONFIG,
              "select.initial: not with optimizer: %s\nuse lazy, stochastic or greedi", k->optimizer);
        spec->initial = initial;
        spec->initial_count = count;
    }
}

/* `sum`: what the selections of a run cost together. */
static int64_t select_once(struct job *job, int64_t *picks, double *gains, const struct greedy_problem *problem,
                           const struct greedy_spec *spec, struct greedy_cost *sum)
{
    const char *why = NULL;
    struct greedy_cost cost;
    int64_t taken = greedy_select(picks, gains, problem, spec, &cost, job->scratch, &why);
    agree(job->world, taken >= 0, EXIT_BAD_DATA, "select: %s\nsee docs/methods/select.md", why ? why : "");
    if (cost.naive_instead)
        log_warn("select: gains of %s can grow, so the naive optimiser runs instead of %s",
                 job->config->select.objective, job->config->select.optimizer);
    sum->evaluations += cost.evaluations;
    sum->rounds += cost.rounds;
    sum->bytes += cost.bytes;
    sum->start.calls += cost.start.calls;
    sum->picks.calls += cost.picks.calls;
    sum->picks.bytes += cost.picks.bytes;
    return taken;
}

/* Counts of perf.json are added up over the ranks: what is alike on all comes from the first. A collective is a message
 * to every other rank. */
static void count_costs(const struct world *world, const struct greedy_cost *cost, int64_t taken)
{
    double others = world->size - 1, picks = taken > 0 ? (double)taken : 1;
    phase_count("similarity_bytes", cost->bytes);
    if (world->rank > 0)
        return;
    phase_count("gain_evaluations", (double)cost->evaluations);
    phase_count("gain_rounds", (double)cost->rounds);
    phase_count("messages_before_first_pick", others * (double)cost->start.calls);
    phase_count("messages_per_pick", others * (double)cost->picks.calls / picks);
    phase_count("bytes_per_pick", (double)cost->picks.bytes / picks);
}

/* An equal number, at an equal share of the budget, from the vectors that respond most to each class; what a pool
 * leaves of either goes to the next. */
static int64_t select_pools(struct job *job, int64_t *picks, double *gains, const struct greedy_problem *problem,
                            struct greedy_spec spec, const double *response, int classes, struct greedy_cost *cost)
{
    int64_t n = problem->ground->n, taken = 0, wanted = spec.count;
    double budget = spec.budget, spent = 0;
    bool *barred = arena_array(job->run, bool, n);
    for (int y = 0; y < classes; y++) {
        int64_t members = 0, due = wanted * (y + 1) / classes - taken;
        for (int64_t i = 0; i < n; i++) {
            int strongest = 0;
            for (int z = 1; z < classes; z++)
                if (response[i * classes + z] > response[i * classes + strongest])
                    strongest = z;
            barred[i] = strongest != y;
            members += strongest == y;
        }
        spec.barred = barred;
        spec.count = due < members ? due : members;
        spec.budget = budget * (y + 1) / classes - spent; /* 0 would mean none at all */
        if (spec.count <= 0 || (budget > 0 && !(spec.budget > 0)))
            continue;
        int64_t before = taken;
        taken += select_once(job, picks + taken, gains + taken, problem, &spec, cost);
        for (int64_t m = before; m < taken && budget > 0; m++)
            spent += spec.cost ? spec.cost[picks[m]] : 1;
    }
    return taken;
}

static bool keeps_matrix(const struct job *job, const struct candidates *c, const struct select_plan *plan)
{
    double bytes = 4.0 * (double)c->count * (double)c->count;
    return !plan->shareable || bytes <= (double)job->config->select.similarity_memory * 1048576;
}

/* Storing similarities takes all vectors on every rank; a tree does not store those of all candidates. */
static bool shares_vectors(const struct select_plan *plan, bool store)
{
    return plan->shareable && (!store || plan->optimiser->tree);
}

static int dry_run(struct job *job, const struct candidates *c, int64_t count)
{
    const struct select_plan plan = make_plan(job);
    const bool store = keeps_matrix(job, c, &plan);
    const double bytes = select_memory(job, c, &plan, store, shares_vectors(&plan, store));
    log_info("select: %lld of %lld candidates, %lld vectors in the file%s", (long long)count, (long long)c->count,
             (long long)c->total, store ? "" : ", similarities in tiles");
    log_info("select: %s per rank", text_bytes(job->run, job_memory(job, bytes)));
    log_info("select: would write %s", job_path(job, "selection.h5"));
    return EXIT_DONE;
}

/* The picks as rows of /cav; returns how many. */
static int64_t run_selection(struct job *job, struct candidates *c, int64_t *index, double *gain, int64_t count)
{
    const struct select_config *k = &job->config->select;
    struct select_plan plan = make_plan(job);
    struct greedy_spec spec;
    greedy_defaults(&spec);
    spec.optimiser = plan.optimiser;
    spec.count = count;
    spec.seed = job_seed(job);
    spec.epsilon = k->epsilon;
    spec.fraction = k->fraction;
    spec.beta = k->beta;
    spec.parts = k->parts;
    spec.arity = k->arity;
    spec.budget = k->budget;
    read_lists(job, c, &spec);

    bool store = keeps_matrix(job, c, &plan);
    const double *response = NULL, *moment = NULL;
    int classes = 0;
    bool pools = k->pools == POOLS_CLASS;
    if (!plan.matrix || plan.scores || pools)
        select_vectors(job, c, shares_vectors(&plan, store));
    if (plan.scores || plan.moment || pools)
        select_statistics(job, c, plan.scores || pools ? &response : NULL, &classes, plan.moment ? &moment : NULL);
    if (plan.matrix)
        select_matrix(job, c);
    const double *score = plan.scores ? select_information(job, response, c->count, classes) : NULL;
    for (int t = 0; t < plan.terms; t++) {
        plan.term[t].score = score;
        plan.term[t].moment = moment;
    }
    struct greedy_problem problem = { job->world, &c->ground, plan.term, plan.terms, store };
    int64_t sent = world_bytes_sent(), calls = world_calls();
    struct greedy_cost cost = { 0 };
    int64_t taken = pools ? select_pools(job, index, gain, &problem, spec, response, classes, &cost)
                          : select_once(job, index, gain, &problem, &spec, &cost);
    count_costs(job->world, &cost, taken);
    phase_count("selection_bytes_sent", (double)(world_bytes_sent() - sent));
    phase_count("selection_messages", (double)(world_calls() - calls));
    double value = 0;
    for (int64_t m = 0; m < taken; m++) {
        index[m] = c->row[index[m]];
        value += gain[m];
    }
    log_info("select: %lld of %lld candidates by %s (%s, %s%s): sum of gains %.6g, last gain %.3g", (long long)taken,
             (long long)c->count, k->objective, k->similarity, k->optimizer, store ? "" : ", in tiles", value,
             taken > 0 ? gain[taken - 1] : NAN);
    return taken;
}

int stage_select(struct job *job)
{
    if (job->argc == 3)
        return select_compare(job, job->argv[1], job->argv[2]);
    agree(job->world, job->argc == 0, EXIT_USAGE, "select --compare: expected two selections after it");
    if (!job->dry_run && !job_may_write(job, "selection.h5"))
        return EXIT_DONE;
    job_start(job);
    phase_enter(PHASE_READ);
    struct candidates *candidates = select_candidates(job);
    phase_enter(PHASE_COMPUTE);
    int64_t count = picks_of(job, candidates);
    if (job->dry_run)
        return dry_run(job, candidates, count);
    int64_t *index = arena_array(job->run, int64_t, count);
    double *gain = arena_array(job->run, double, count);
    int64_t taken = run_selection(job, candidates, index, gain, count);
    agree(job->world, taken > 0, EXIT_BAD_DATA,
          "select: nothing could be taken\nraise select.budget, or see the filters");
    if (taken < count)
        log_warn("select: %lld taken, %lld asked for: nothing more fits", (long long)taken, (long long)count);
    write_selection(job, index, gain, taken, candidates);
    return job_done(job);
}
