/* Measures layers; see layers.h. */
#include "bench/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/networks.h"
#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "engine/tune/measure.h"
#include "engine/tune/trial.h"
#include "kernels/onednn/best.h"
#include "kernels/select.h"

enum { ROUNDS = 21 };
/* An implementation that expects so many times the least is left out: the reference would take
 * minutes. */
#define FAR_BEHIND 20.0
#define SAMPLE 2e-3 /* seconds; short runs are repeated */

/* ---- one pass of one layer ---- */

/* oneDNN's best with its memory. */
typedef struct yardstick {
    wf_dnnl_best *best;
    wf_block block;
    char *shared;
    size_t set_bytes;
    int sets;
} yardstick;

static void run_yardstick(void *user, int set)
{
    yardstick *y = user;
    wf_dnnl_best_run(y->best, (char *)y->block.data + (size_t)set * y->set_bytes, y->shared);
}

static weft_status yardstick_init(yardstick *y, const wf_trial_place *place, const wf_problem *p,
                                  bool no_winograd, weft_error *err)
{
    char why[160];
    *y = (yardstick){.best = wf_dnnl_best_create(&p->conv2d, p->pass, place->threads, no_winograd,
                                                 why, sizeof why)};
    if (!y->best)
        return WEFT_OK; /* it has none */
    y->set_bytes = wf_dnnl_best_set_bytes(y->best);
    y->sets = 1 + (int)(place->cold_bytes / y->set_bytes);
    size_t shared = wf_dnnl_best_shared_bytes(y->best), sets = (size_t)y->sets * y->set_bytes;
    wf_block_request request = {.size = sets + shared, .kind = WF_MEM_WORKSPACE, .zero = true};
    WF_TRY(wf_memory_alloc(place->memory, &request, &y->block, err));
    y->shared = (char *)y->block.data + sets;
    wf_trial_fill(y->block.data, (sets + shared) / sizeof(float), 1);
    return WEFT_OK;
}

static void yardstick_done(yardstick *y)
{
    wf_dnnl_best_destroy(y->best);
    wf_memory_free(&y->block);
}

static void run_trial(void *user, int set)
{
    wf_trial_run(user, set);
}

typedef struct contest {
    wf_trial_data data, data_one; /* the latter: the same on one thread */
    wf_trial trial[WF_MEASURE_MAX];
    wf_entrant entrant[WF_MEASURE_MAX];
    int index[WF_MEASURE_MAX]; /* of the implementation */
    int n, chosen;
    bool has_one;
    wf_trial one;
    yardstick yardstick;
} contest;

/* The implementations worth running, the one that is chosen among them. */
static bool enter(contest *c, char *why, size_t size)
{
    const wf_problem *p = &c->data.problem;
    const wf_trial_place *place = &c->data.place;
    wf_conv2d *k = wf_conv2d_create(&p->conv2d, p->pass, place->isa, 1, NULL);
    const wf_conv2d_impl *chosen = k ? k->impl : NULL;
    double least = k ? k->cycles : 0;
    wf_conv2d_destroy(k);
    c->chosen = -1;
    for (int i = 0; i < wf_conv2d_n_impls && c->n < WF_MEASURE_MAX - 2; i++) {
        char reason[160];
        double cycles = wf_problem_expects(p, i, place->isa, reason, sizeof reason);
        wf_trial *t = &c->trial[c->n];
        if (cycles <= 0 || (cycles > FAR_BEHIND * least && wf_conv2d_impls[i] != chosen))
            continue;
        if (!wf_trial_init(t, &c->data, i, reason, sizeof reason)) {
            if (wf_conv2d_impls[i] == chosen)
                snprintf(why, size, "%s: %s", chosen->name, reason);
            continue;
        }
        if (wf_conv2d_impls[i] == chosen)
            c->chosen = c->n;
        c->index[c->n] = i;
        c->entrant[c->n++] = (wf_entrant){.run = run_trial, .user = t, .sets = c->data.sets};
    }
    return c->chosen >= 0;
}

static void fill_rows(const contest *c, bench_row *rows, const bench_layers_spec *spec,
                      const bench_peaks *peaks)
{
    const double peak_gflops =
        spec->images == WEFT_BF16 && peaks->bf16_gflops > 0 ? peaks->bf16_gflops : peaks->gflops;
    const double flops = wf_problem_flops(&c->data.problem);
    double best = c->entrant[0].seconds;
    for (int i = 1; i < c->n; i++)
        best = c->entrant[i].seconds < best ? c->entrant[i].seconds : best;
    const bool compared = c->yardstick.best != NULL;
    for (int i = 0; i < c->n + compared; i++) {
        bench_row *r = &rows[i];
        const wf_trial *t = i < c->n ? &c->trial[i] : NULL;
        r->pass = c->data.problem.pass;
        r->flops = flops;
        r->seconds = c->entrant[i].seconds;
        r->share = flops / r->seconds * 1e-9 / peak_gflops;
        r->ratio = compared ? c->entrant[c->n].seconds / r->seconds : 0;
        r->yardstick = !t;
        snprintf(r->impl, sizeof r->impl, "%s",
                 t                   ? t->impl
                 : spec->no_winograd ? "onednn-without-winograd"
                                     : "onednn-best");
        snprintf(r->kernel, sizeof r->kernel, "%s",
                 t ? t->name : wf_dnnl_best_name(c->yardstick.best));
        if (t)
            r->expected_share = flops / 2 / (t->cycles * wf_peak_fmas(c->data.place.isa)) *
                                peaks->gflops / peak_gflops;
        r->chosen = i == c->chosen;
        r->behind = r->chosen ? r->seconds / best : 0;
        if (r->chosen && c->has_one)
            r->one_thread = c->entrant[c->n + compared].seconds;
    }
}

/* Returns how many rows were filled; -1 with the error set. */
static int measure(const wf_trial_place *place, const wf_problem *p, const bench_layers_spec *spec,
                   const bench_peaks *peaks, bench_row *rows, weft_error *err)
{
    const wf_measure_opts opts = {
        .rounds = ROUNDS, .seconds = spec->seconds, .patient = true, .sample = SAMPLE};
    char why[WEFT_ERROR_TEXT] = "no implementation";
    contest *c = wf_zalloc(sizeof *c);
    int n = -1;
    if (!c) {
        wf_nomem(err, sizeof *c, "a contest");
        return -1;
    }
    if (wf_trial_data_init(&c->data, place, p, err))
        goto done;
    if (!enter(c, why, sizeof why)) {
        wf_error_set(err, WEFT_ERR_INTERNAL, "%s", why);
        goto done;
    }
    if (yardstick_init(&c->yardstick, place, p, spec->no_winograd, err))
        goto done;
    int all = c->n;
    if (c->yardstick.best)
        c->entrant[all++] =
            (wf_entrant){.run = run_yardstick, .user = &c->yardstick, .sets = c->yardstick.sets};
    if (spec->scaling) {
        c->data_one = c->data;
        c->data_one.place.threads = 1;
        c->has_one = wf_trial_init(&c->one, &c->data_one, c->index[c->chosen], why, sizeof why);
        if (c->has_one)
            c->entrant[all++] =
                (wf_entrant){.run = run_trial, .user = &c->one, .sets = c->data.sets};
    }
    wf_measure(c->entrant, all, &opts);
    fill_rows(c, rows, spec, peaks);
    n = c->n + (c->yardstick.best != NULL);
done:
    yardstick_done(&c->yardstick);
    for (int i = 0; i < c->n; i++)
        wf_trial_done(&c->trial[i]);
    if (c->has_one)
        wf_trial_done(&c->one);
    wf_trial_data_done(&c->data);
    wf_free(c);
    return n;
}

/* ---- all of them ---- */

typedef struct state {
    const bench_layers_spec *spec;
    const bench_machine *machine;
    const bench_peaks *peaks;
    bench_layers *out;
    void (*told)(const bench_row *rows, int n);
} state;

static weft_status layer(void *user, const bench_layer *at, weft_error *err)
{
    const state *s = user;
    const bench_machine *m = s->machine;
    const wf_trial_place place = {m->topology, m->memory, m->isa, m->threads,
                                  s->spec->cold ? 2 * m->last_level_bytes : 0};
    bench_layers *l = s->out;
    if (l->n + WF_MEASURE_MAX > l->capacity) {
        int capacity = 2 * l->capacity + WF_MEASURE_MAX;
        bench_row *more = wf_realloc_array(l->row, (size_t)capacity, sizeof *more);
        if (!more)
            return wf_nomem(err, (size_t)capacity * sizeof *more, "results");
        l->row = more;
        l->capacity = capacity;
    }
    bench_row *rows = &l->row[l->n];
    memset(rows, 0, WF_MEASURE_MAX * sizeof *rows);
    wf_problem problem = wf_problem_conv2d(&at->desc, at->pass);
    int n = measure(&place, &problem, s->spec, s->peaks, rows, err);
    if (n < 0)
        return err->status;
    for (int i = 0; i < n; i++) {
        snprintf(rows[i].network, sizeof rows[i].network, "%.63s", at->network);
        snprintf(rows[i].layer, sizeof rows[i].layer, "%s", at->name);
        rows[i].count = at->count;
    }
    l->n += n;
    if (s->told)
        s->told(rows, n);
    return WEFT_OK;
}

weft_status bench_layers_measure(const bench_layers_spec *spec, const bench_machine *m,
                                 const bench_peaks *peaks, bench_layers *out,
                                 void (*told)(const bench_row *rows, int n), weft_error *err)
{
    state s = {spec, m, peaks, out, told};
    *out = (bench_layers){0};
    return bench_networks_visit(spec->networks, spec->only, spec->batch, spec->images, m->isa,
                                layer, &s, err);
}

void bench_layers_done(bench_layers *l)
{
    wf_free(l->row);
    *l = (bench_layers){0};
}
