/* Figures of the autoencoder and of its sweep: read from sae.h5, written into
 * metrics.json; the report page draws them (page_sweep.c). */
#include "stage/sae_summary.h"

#include <math.h>

#include "job/home.h"
#include "report/json.h"

static const double *column(struct store *store, struct arena *arena, const char *name, int64_t points)
{
    double *values = arena_array(arena, double, points);
    store_expect(store, name, STORE_F64, 1, &points);
    store_read_all(store, name, values);
    return values;
}

static void read_sweep(struct sae_summary *s, struct store *store, struct arena *arena)
{
    s->points = store_has(store, "/sweep/settings") ? store_rows(store, "/sweep/settings") : 0;
    if (s->points == 0)
        return;
    int64_t *neurons = arena_array(arena, int64_t, s->points);
    uint8_t *within = arena_array(arena, uint8_t, s->points);
    store_expect(store, "/sweep/settings", STORE_TEXT, 1, &s->points);
    store_expect(store, "/sweep/neurons", STORE_I64, 1, &s->points);
    store_expect(store, "/sweep/within", STORE_U8, 1, &s->points);
    store_read_all(store, "/sweep/neurons", neurons);
    store_read_all(store, "/sweep/within", within);
    s->settings = store_read_texts(store, arena, "/sweep/settings");
    s->all_neurons = neurons;
    s->within = within;
    s->all_fvu = column(store, arena, "/sweep/fvu", s->points);
    s->all_l0 = column(store, arena, "/sweep/l0", s->points);
    s->all_dead = column(store, arena, "/sweep/dead", s->points);
    s->all_dense = column(store, arena, "/sweep/dense", s->points);
    store_get_text(store, "/", "sweep_why", &s->why);
    store_get_text(store, "/", "sweep_rule", &s->rule);
    if (!store_get_i64(store, "/", "sweep_chosen", &s->chosen) || s->chosen < 0 || s->chosen >= s->points)
        s->points = 0;
}

const char *sae_warning(struct arena *arena, double fvu, double dead)
{
    if (isnan(fvu))
        return "the representations do not vary: FVU is undefined and neurons mean nothing; the backbone has "
               "collapsed, "
               "or this is not its output";
    if (fvu >= 1)
        return arena_printf(arena,
                            "FVU %.3g: the mean alone tells more of a representation than the autoencoder, which has "
                            "diverged or was trained too little; neurons mean little",
                            fvu);
    if (dead > 0.9)
        return arena_printf(arena, "%.1f %% of the neurons never fire: the others carry everything", 100 * dead);
    return "";
}

const struct sae_summary *sae_summary_load(struct job *job)
{
    if (!job_has_input(job, "sae.h5"))
        return NULL;
    struct store *store = job_open(job, "sae.h5", "sae");
    struct sae_summary *s = arena_array(job->run, struct sae_summary, 1);
    *s = (struct sae_summary){ .variant = "",
                               .evaluated_on = "",
                               .rule = "",
                               .why = "",
                               .warning = "",
                               .fvu = NAN,
                               .l0 = NAN,
                               .dead = NAN,
                               .dense = NAN };
    s->neurons = store_has(store, "/decoder") ? store_rows(store, "/decoder") : 0;
    store_get_text(store, "/", "variant", &s->variant);
    store_get_text(store, "/", "evaluated_on", &s->evaluated_on);
    bool known = store_get_f64(store, "/", "fvu_val", &s->fvu);
    store_get_f64(store, "/", "l0_val", &s->l0);
    store_get_f64(store, "/", "dead", &s->dead);
    if (known)
        s->warning = sae_warning(job->run, s->fvu, s->dead);
    store_get_f64(store, "/", "dense", &s->dense);
    read_sweep(s, store, job->run);
    s->variant = arena_strdup(job->run, s->variant);
    s->evaluated_on = arena_strdup(job->run, s->evaluated_on);
    s->rule = arena_strdup(job->run, s->rule);
    s->why = arena_strdup(job->run, s->why);
    store_close(store);
    return s;
}

static void write_figures(struct json_writer *w, int64_t neurons, double fvu, double l0, double dead, double dense)
{
    json_integer(w, "neurons", neurons);
    json_number(w, "fvu", fvu);
    json_number(w, "l0", l0);
    json_number(w, "dead", dead);
    json_number(w, "dense", dense);
}

void sae_summary_write(struct json_writer *w, const void *data)
{
    const struct sae_summary *s = data;
    json_object(w, "sae");
    json_text(w, "variant", s->variant);
    json_text(w, "evaluated_on", s->evaluated_on);
    write_figures(w, s->neurons, s->fvu, s->l0, s->dead, s->dense);
    if (*s->warning)
        json_text(w, "warning", s->warning);
    if (s->points > 0) {
        json_object(w, "sweep");
        json_text(w, "rule", s->rule);
        json_text(w, "why", s->why);
        json_integer(w, "chosen", s->chosen);
        json_array(w, "trainings");
        for (int64_t p = 0; p < s->points; p++) {
            json_object(w, NULL);
            json_text(w, "settings", s->settings[p]);
            write_figures(w, s->all_neurons[p], s->all_fvu[p], s->all_l0[p], s->all_dead[p], s->all_dense[p]);
            json_bool(w, "within", s->within[p] != 0);
            json_end_object(w);
        }
        json_end_array(w);
        json_end_object(w);
    }
    json_end_object(w);
}
