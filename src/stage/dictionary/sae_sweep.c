/* The trainings of one pass over the data: what `sae.sweep` asks for, their rows
 * in the log, the choice among them (concept/sae_choose.h), and what sae.h5
 * keeps of all of them. A single training is a sweep of one. */
#include <string.h>

#include "base/text.h"
#include "math/half_product.h"
#include "stage/dictionary/sae.h"

enum { SAID_EPOCHS = 20 };

static int name_width(const struct sae_stage *s)
{
    int width = 1;
    for (int p = 0; p < s->points; p++)
        width = (int)strlen(s->point[p].name) > width ? (int)strlen(s->point[p].name) : width;
    return width;
}

int64_t sae_sweep_width(const struct sae_stage *s)
{
    return name_width(s);
}

void sae_sweep_points(struct sae_stage *s)
{
    struct job *job = s->job;
    struct sweep_point *asked = arena_array(job->run, struct sweep_point, SWEEP_POINTS);
    const char *error;
    s->points = sweep_points(asked, job->run, job->config, &error);
    require(s->points > 0, EXIT_BAD_CONFIG, "sae.sweep: %s", error);
    s->point = arena_array(job->run, struct sae_point, s->points);
    s->trainers = arena_array(job->run, struct sae_trainer *, s->points);
    bool asks = false;
    for (int p = 0; p < s->points; p++)
        asks = asks || asked[p].sae.precision == PRECISION_BF16;
    const bool half = half_everywhere(job->world, asks);
    for (int p = 0; p < s->points; p++) {
        struct sae_point *point = &s->point[p], *first = &s->point[0];
        *point = sae_point(&asked[p].sae, asked[p].text, s->features->dim, s->train.rows, job_seed(job));
        point->options.may_be_lost = s->points > 1;
        point->options.half = half && point->config->precision == PRECISION_BF16;
        agree(job->world, point->config->k <= point->neurons || !sae_by_count(&point->options.rule), EXIT_BAD_CONFIG,
              "sae.k: expected at most the %d neurons there are, found %d%s%s\nLower sae.k, or raise sae.expansion.",
              point->neurons, point->config->k, s->points > 1 ? " in the training " : "", point->name);
        agree(job->world, point->options.batch == first->options.batch, EXIT_BAD_CONFIG,
              "sae.sweep: the training \"%s\" takes batches of %d rows, \"%s\" of %d\nSet sae.batch.", first->name,
              first->options.batch, point->name, point->options.batch);
    }
    s->config = s->point[0].config;
    s->neurons = s->point[0].neurons;
}

void sae_sweep_say(const struct sae_stage *s, const struct sae_metrics *metrics)
{
    const int epoch = metrics[0].epoch, epochs = s->config->epochs, every = epochs / SAID_EPOCHS;
    bool said = epoch == epochs || every == 0 || epoch % every == 0;
    for (int p = 0; p < s->points; p++)
        said = said || metrics[p].resampled > 0;
    if (!said)
        return;
    progress_end();
    for (int p = 0; p < s->points; p++) {
        const struct sae_metrics *m = &metrics[p];
        struct arena_mark mark = arena_mark(s->job->scratch);
        struct text line = text_new(s->job->scratch);
        text_add(&line, "sae epoch %d/%d", epoch, epochs);
        if (s->points > 1)
            text_add(&line, " %-*s", name_width(s), s->point[p].name);
        if (sae_lost(s->trainers[p]))
            text_add(&line, " given up");
        else
            text_add(&line, " loss %.5f fvu %.4f l0 %.1f dead %.1f %% dense %.1f %%", m->train_loss, m->fvu, m->l0,
                     100 * m->dead, 100 * m->dense);
        if (m->resampled > 0)
            text_add(&line, " resampled %d", m->resampled);
        log_info("%s", line.data);
        arena_release(s->job->scratch, mark);
    }
}

/* Column `c` of the history of training p after the last epoch. */
static double last(const struct sae_stage *s, int p, int c)
{
    return sae_history(s->trainers[p])[(s->config->epochs - 1) * SAE_HISTORY + c];
}

static const char *const goal_names[] = { [SAE_GOAL_KNEE] = "at the knee of FVU against L0",
                                          [SAE_GOAL_FVU] = "of smallest FVU",
                                          [SAE_GOAL_L0] = "of smallest L0" };

static struct sae_criterion criterion_of(const struct sae_config *c)
{
    static const enum sae_goal goals[] = {
        [SWEEP_KNEE] = SAE_GOAL_KNEE, [SWEEP_FVU] = SAE_GOAL_FVU, [SWEEP_L0] = SAE_GOAL_L0
    };
    return (struct sae_criterion){ goals[c->sweep_rule], c->sweep_max_dead, c->sweep_max_l0, c->sweep_max_fvu };
}

static const char *limits_text(struct arena *arena, const struct sae_criterion *c)
{
    struct text out = text_new(arena);
    text_add(&out, "dead <= %.3g %%, FVU <= %.3g", 100 * c->max_dead, c->max_fvu);
    if (c->max_l0 > 0)
        text_add(&out, ", L0 <= %.4g", c->max_l0);
    return out.data;
}

static void print_table(const struct sae_stage *s)
{
    const int width = name_width(s) > 8 ? name_width(s) : 8;
    log_info("sae: %d trainings; FVU and L0 on the %s split, dead and dense in the last epoch; * is kept", s->points,
             s->eval.x == s->train.x ? "training" : "validation");
    log_info("       %-*s  neurons      FVU       L0     dead    dense", width, "settings");
    for (int p = 0; p < s->points; p++)
        if (sae_lost(s->trainers[p]))
            log_info("  %2d   %-*s  %7d  given up: loss or gradient not finite", p + 1, width, s->point[p].name,
                     s->point[p].neurons);
        else
            log_info("%c %2d   %-*s  %7d  %7.4f  %7.1f  %5.1f %%  %5.1f %%%s", p == s->chosen ? '*' : ' ', p + 1, width,
                     s->point[p].name, s->point[p].neurons, s->score[p].fvu, s->score[p].l0, 100 * s->score[p].dead,
                     100 * last(s, p, SAE_HISTORY_DENSE), s->within[p] ? "" : "  outside the limits");
}

void sae_sweep_choose(struct sae_stage *s)
{
    struct job *job = s->job;
    const struct sae_criterion criterion = criterion_of(s->config);
    const char *limits = limits_text(job->run, &criterion);
    int within = 0;
    s->score = arena_array(job->run, struct sae_score, s->points);
    s->within = arena_array(job->run, bool, s->points);
    for (int p = 0; p < s->points; p++)
        s->score[p] =
            (struct sae_score){ last(s, p, SAE_HISTORY_FVU), last(s, p, SAE_HISTORY_L0), last(s, p, SAE_HISTORY_DEAD) };
    struct sae_choice choice = { 0, false };
    if (s->points > 1)
        choice = sae_choose(s->within, s->score, s->points, &criterion);
    s->chosen = choice.kept;
    s->why = criterion.goal == SAE_GOAL_KNEE && !choice.knee ? "of smallest FVU, as there is no knee"
                                                             : goal_names[criterion.goal];
    agree(job->world, s->chosen >= 0, EXIT_INTERNAL,
          "sae.sweep: loss or gradient became not finite in every training\nLower sae.lr.");
    s->config = s->point[s->chosen].config;
    s->neurons = s->point[s->chosen].neurons;
    s->trainer = s->trainers[s->chosen];
    if (s->points == 1)
        return;
    print_table(s);
    for (int p = 0; p < s->points; p++)
        within += s->within[p];
    if (within == 0 && job->world->rank == 0)
        log_warn("sae: no training is within the limits (%s): chosen among all", limits);
    log_info("sae: kept training %d (%s) of %d with %s: the one %s (sae.sweep_rule: %s)", s->chosen + 1,
             s->point[s->chosen].name, within > 0 ? within : s->points, within > 0 ? limits : "any figures", s->why,
             config_choice("sae.sweep_rule", (int)s->config->sweep_rule));
}

/* ---- the file ---- */

static void write_names(const struct sae_stage *s, struct store *store)
{
    const int64_t width = name_width(s);
    char *names = arena_array(s->job->run, char, s->points *width);
    for (int p = 0; p < s->points; p++)
        memcpy(names + p * width, s->point[p].name, strlen(s->point[p].name));
    store_write_all(store, "/sweep/settings", names);
}

void sae_sweep_write(struct sae_stage *s, struct store *store)
{
    static const char *const columns[SAE_HISTORY] = { "loss", "fvu", "l0", "dead", "dense" };
    struct arena *run = s->job->run;
    const int epochs = s->config->epochs;
    if (s->points == 1)
        return;
    int64_t *neurons = arena_array(run, int64_t, s->points);
    uint8_t *within = arena_array(run, uint8_t, s->points);
    double *end = arena_array(run, double, s->points), *curve = arena_array(run, double, (int64_t)s->points *epochs);
    for (int p = 0; p < s->points; p++) {
        neurons[p] = s->point[p].neurons;
        within[p] = s->within[p];
    }
    write_names(s, store);
    store_write_all(store, "/sweep/neurons", neurons);
    store_write_all(store, "/sweep/within", within);
    for (int c = 0; c < SAE_HISTORY; c++) {
        for (int p = 0; p < s->points; p++) {
            end[p] = last(s, p, c);
            for (int e = 0; e < epochs; e++)
                curve[(int64_t)p * epochs + e] = sae_history(s->trainers[p])[e * SAE_HISTORY + c];
        }
        store_write_all(store, arena_printf(run, "/sweep/%s", columns[c]), end);
        store_write_all(store, arena_printf(run, "/sweep/history/%s", columns[c]), curve);
    }
    store_set_i64(store, "/", "sweep_chosen", s->chosen);
    store_set_text(store, "/", "sweep_rule", config_choice("sae.sweep_rule", (int)s->config->sweep_rule));
    store_set_text(store, "/", "sweep_why", s->why);
}
