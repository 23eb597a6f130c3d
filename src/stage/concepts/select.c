/* cfn select: which vectors become the concepts, by greedy maximisation of set
 * functions over all of them. Candidates and their scores come from
 * select_candidates.c, the method from src/concept. Docs: docs/methods/select.md. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static const struct objective *method_of(const struct select_config *k, const char *name)
{
    if (strcmp(name, "mutual_information") == 0)
        return objective_find("modular");
    if (strcmp(name, "feature_based") != 0)
        return objective_find(name);
    static const char *const functions[] = {
        [CONCAVE_SQRT] = "feature_sqrt", [CONCAVE_LOG1P] = "feature_log1p", [CONCAVE_SIGMOID] = "feature_sigmoid"
    };
    return objective_find(functions[k->concave]);
}

static void add_term(struct job *job, struct select_plan *plan, const char *name, double weight)
{
    const struct select_config *k = &job->config->select;
    const struct objective *objective = method_of(k, name);
    agree(job->world, objective && plan->terms < GOAL_TERMS && weight > 0, EXIT_BAD_CONFIG,
          "select.mixture: \"%s=%g\": expected at most %d objectives with weights > 0\nas in \"facility_location=1 "
          "mutual_information=0.5\"",
          name, weight, GOAL_TERMS);
    bool entries = strcmp(name, "feature_based") == 0 || strcmp(name, "max_coverage") == 0;
    bool threshold =
        strcmp(name, "max_coverage") == 0 || strcmp(name, "saturated_coverage") == 0 || strcmp(name, "graph_cut") == 0;
    plan->term[plan->terms++] =
        (struct term_spec){ .objective = objective,
                            .similarity = similarity_find(entries ? "features" : k->similarity),
                            .weight = weight,
                            .parameter =
                                threshold && k->parameter > 0 ? k->parameter : objective_parameter(objective) };
    plan->scores = plan->scores || strcmp(name, "mutual_information") == 0;
    plan->moment = plan->moment || strcmp(name, "reconstruction") == 0;
    plan->shareable = plan->shareable && !entries && !plan->scores && !plan->moment;
}

static void add_mixture(struct job *job, struct select_plan *plan, const char *text)
{
    char *copy = arena_strdup(job->run, text);
    for (char *word = strtok(copy, " ,"); word; word = strtok(NULL, " ,")) {
        char *equals = strchr(word, '=');
        double weight = equals ? strtod(equals + 1, NULL) : 1;
        if (equals)
            *equals = '\0';
        add_term(job, plan, word, weight);
    }
    agree(job->world, plan->terms > 0, EXIT_BAD_CONFIG,
          "select.mixture: empty, expected objectives with weights\nas in \"facility_location=1 "
          "mutual_information=0.5\"");
}

static struct select_plan make_plan(struct job *job)
{
    const struct select_config *k = &job->config->select;
    struct select_plan plan = { .shareable = strcmp(k->similarity, "precomputed") != 0 &&
                                             strcmp(k->similarity, "features") != 0 && k->pools == POOLS_NONE };
    if (strcmp(k->objective, "mixture") == 0) {
        add_mixture(job, &plan, k->mixture);
    } else if (strcmp(k->objective, "labo") == 0) {
        add_term(job, &plan, "mutual_information", k->labo_alpha);
        add_term(job, &plan, "facility_location", k->labo_beta);
    } else {
        add_term(job, &plan, k->objective, 1);
    }
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
        agree(job->world, strcmp(k->optimizer, "greedyml") != 0, EXIT_BAD_CONFIG,
              "select.initial: not with optimizer: greedyml\nuse lazy, stochastic or greedi");
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

static bool shares_vectors(const struct job *job, const struct select_plan *plan, bool store)
{
    return plan->shareable && (!store || strcmp(job->config->select.optimizer, "greedyml") == 0);
}

static int dry_run(struct job *job, const struct candidates *c, int64_t count)
{
    const struct select_plan plan = make_plan(job);
    const bool store = keeps_matrix(job, c, &plan);
    const double bytes = select_memory(job, c, &plan, store, shares_vectors(job, &plan, store));
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
    spec.optimiser = optimiser_find(k->optimizer);
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
    select_vectors(job, c, shares_vectors(job, &plan, store));
    const double *response = NULL, *moment = NULL;
    int classes = 0;
    bool pools = k->pools == POOLS_CLASS;
    if (plan.scores || plan.moment || pools)
        select_statistics(job, c, plan.scores || pools ? &response : NULL, &classes, plan.moment ? &moment : NULL);
    const double *score = plan.scores ? select_information(job, response, c->count, classes) : NULL;
    for (int t = 0; t < plan.terms; t++) {
        bool none = plan.term[t].objective == objective_find("reconstruction");
        plan.term[t].score = score;
        plan.term[t].moment = none ? moment : NULL;
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
