/* weft_tune: measures the distinct problems of the recorded work, and keeps the best kernel of
 * each. */
#include "engine/base/clock.h"
#include "engine/graph/lint.h"
#include "engine/step/execute.h"
#include "engine/step/plan_cache.h"
#include "engine/step/wisdom.h"
#include "weft/tune.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/plan/plan.h"
#include "engine/run/run.h"
#include "engine/tune/measure.h"
#include "engine/tune/trial.h"

#define SECONDS 0.5
#define ROUNDS 15
/* A kernel whose expected cost is this many times the lowest one is not tried: the reference kernel
 * would take minutes. */
#define FAR_BEHIND 6.0
/* A kernel whose first run takes this many times the best first run is not tried again. */
#define HOPELESS 1.5
/* The fastest kernel must be faster by this fraction than the kernel chosen without wisdom. Smaller
 * differences are noise, and choices that change with each tuning help nobody. */
#define MARGIN 0.02
#define COLD_MOST ((size_t)512 << 20)
/* Before a problem is measured, memory is filled at about this rate. A problem that needs longer
 * for this than for its measurement is left out. */
#define COLD_BYTES_A_SECOND 4e9

/* ---- one problem ---- */

typedef struct contest {
    wf_trial trial[WF_MEASURE_MAX];
    wf_entrant entrant[WF_MEASURE_MAX];
    int n;
} contest;

static void run_trial(void *user, int set)
{
    wf_trial *t = user;
    t->failed |= !wf_trial_run(t, set);
}

/* Enters the implementations that are worth a trial, in the list's order. */
static void enter_all(contest *c, const wf_trial_data *d)
{
    const int impls = wf_problem_n_impls(&d->problem);
    double least = 0;
    char why[WEFT_ERROR_TEXT];
    for (int i = 0; i < impls; i++) {
        double cycles = wf_problem_expects(&d->problem, i, d->place.isa, why, sizeof why);
        if (cycles > 0 && (least == 0 || cycles < least))
            least = cycles;
    }
    for (int i = 0; i < impls && c->n < WF_MEASURE_MAX; i++) {
        double cycles = wf_problem_expects(&d->problem, i, d->place.isa, why, sizeof why);
        wf_trial *t = &c->trial[c->n];
        if (cycles <= 0 || cycles > FAR_BEHIND * least || !wf_trial_init(t, d, i, why, sizeof why))
            continue;
        c->entrant[c->n++] = (wf_entrant){.run = run_trial, .user = t, .sets = d->sets};
    }
}

typedef struct verdict {
    const char *best, *untuned; /* names of implementations; NULL: there is no choice */
    double seconds, untuned_seconds;
} verdict;

/* A kernel that failed does not win. */
static verdict judge(contest *c)
{
    int untuned = 0;
    for (int i = 0; i < c->n; i++)
        if (c->trial[i].failed)
            c->entrant[i].seconds = (double)INFINITY;
    for (int i = 1; i < c->n; i++)
        if (c->trial[i].cycles < c->trial[untuned].cycles)
            untuned = i;
    const int best = wf_measure_winner(c->entrant, c->n, untuned, MARGIN);
    if (c->trial[best].failed)
        return (verdict){0};
    untuned = c->trial[untuned].failed ? best : untuned;
    return (verdict){c->trial[best].impl, c->trial[untuned].impl, c->entrant[best].seconds,
                     c->entrant[untuned].seconds};
}

/* v->best stays NULL where there is no choice, or no memory for trials. */
static weft_status measure(weft_context *ctx, const wf_problem *p, double seconds, verdict *v)
{
    size_t cold = wf_trial_cache_bytes(ctx->topology);
    if ((double)cold > seconds * COLD_BYTES_A_SECOND)
        cold = (size_t)(seconds * COLD_BYTES_A_SECOND);
    wf_trial_place place = {.topology = ctx->topology,
                            .memory = ctx->memory,
                            .isa = ctx->isa,
                            .threads = ctx->threads,
                            .cold_bytes = cold < COLD_MOST ? cold : COLD_MOST};
    wf_trial_data data;
    contest *c = wf_zalloc(sizeof *c);
    if (!c)
        return wf_nomem(&ctx->error, sizeof *c, "tuning");
    weft_error err = WEFT_ERROR_INIT;
    *v = (verdict){0};
    if (wf_trial_data_init(&data, &place, p, &err) == WEFT_OK) {
        enter_all(c, &data);
        const wf_measure_opts opts = {ROUNDS, seconds, 1e-3, HOPELESS};
        if (c->n > 0) { /* also where only one is left: then it need not be measured again */
            wf_measure(c->entrant, c->n, &opts);
            *v = judge(c);
        }
        for (int i = 0; i < c->n; i++)
            wf_trial_done(&c->trial[i]);
        wf_trial_data_done(&data);
    } else {
        char text[WF_PROBLEM_TEXT];
        wf_tell(ctx, "not tuned: %s: %s", wf_problem_text(p, text, sizeof text), err.text);
    }
    wf_free(c);
    return WEFT_OK;
}

/* ---- all problems ---- */

typedef struct tuning {
    weft_context *ctx;
    weft_tune_opts opts;
    weft_tune_result result;
    wf_problem *problems; /* the distinct problems that more than one kernel can run */
    int *times;           /* how often each is in the plan */
    int n;
} tuning;

/* Whether more than one implementation could run it, the reference not counted. */
static bool has_choice(const tuning *t, const wf_problem *p)
{
    int fit = 0;
    char why[160];
    for (int i = 0; i < wf_problem_n_impls(p) - 1; i++)
        fit += wf_problem_expects(p, i, t->ctx->isa, why, sizeof why) > 0;
    return fit > 1;
}

static weft_status collect(tuning *t)
{
    wf_plan *plan = NULL;
    WF_TRY(wf_plan_of_recorded(t->ctx, &plan));
    size_t n = (size_t)plan->n_problems + 1;
    t->problems = wf_alloc_array(n, sizeof *t->problems);
    t->times = wf_zalloc_array(n, sizeof *t->times);
    bool ok = t->problems && t->times;
    for (int i = 0; ok && i < plan->n_problems; i++) {
        char text[WF_PROBLEM_TEXT], other[WF_PROBLEM_TEXT];
        const wf_problem *p = &plan->problems[i];
        int same = 0;
        wf_problem_text(p, text, sizeof text);
        while (same < t->n &&
               strcmp(text, wf_problem_text(&t->problems[same], other, sizeof other)) != 0)
            same++;
        if (same == t->n && !has_choice(t, p))
            continue;
        if (same == t->n)
            t->problems[t->n++] = *p;
        t->times[same]++;
    }
    wf_plan_destroy(plan);
    return ok ? WEFT_OK : wf_nomem(&t->ctx->error, n * sizeof *t->problems, "tuning");
}

static weft_status tell(const tuning *t, int i, const char *text, const verdict *v)
{
    weft_tune_progress p = {i + 1, t->n, text, v->best, v->untuned, v->seconds, v->untuned_seconds};
    if (!t->opts.progress)
        return WEFT_OK;
    t->ctx->callbacks++;
    bool go_on = t->opts.progress(t->opts.user, &p);
    t->ctx->callbacks--;
    return go_on ? WEFT_OK : wf_fail(t->ctx, WEFT_ERR_INTERRUPTED, "tuning was stopped");
}

static weft_status tune_one(tuning *t, int i)
{
    verdict v = {0};
    weft_tune_result *r = &t->result;
    char text[WF_PROBLEM_TEXT];
    wf_problem_text(&t->problems[i], text, sizeof text);
    if (!t->opts.again && wf_wisdom_find(t->ctx->wisdom, text)) {
        r->known++;
        return WEFT_OK;
    }
    WF_TRY(tell(t, i, text, &v));
    WF_TRY(measure(t->ctx, &t->problems[i], t->opts.seconds, &v));
    if (!v.best)
        return WEFT_OK;
    if (!wf_wisdom_put(t->ctx->wisdom, text, v.best, v.seconds))
        return wf_nomem(&t->ctx->error, strlen(text), "wisdom");
    r->measured++;
    r->better += strcmp(v.best, v.untuned) != 0;
    r->step_seconds += t->times[i] * v.seconds;
    r->untuned_step_seconds += t->times[i] * v.untuned_seconds;
    return tell(t, i, text, &v);
}

weft_status weft_tune(weft_context *ctx, const weft_tune_opts *opts, weft_tune_result *result)
{
    if (!ctx)
        return wf_no_context("tune");
    WF_TRY(wf_may_end_step(ctx, "tune"));
    double start = wf_seconds();
    tuning t = {.ctx = ctx, .opts = opts ? *opts : (weft_tune_opts){0}};
    if (t.opts.seconds == 0)
        t.opts.seconds = SECONDS;
    if (!(t.opts.seconds > 0 && isfinite(t.opts.seconds)))
        return wf_fail(ctx, WEFT_ERR_INVALID,
                       "tuning: %g seconds for a problem, must be finite and not negative",
                       t.opts.seconds);
    weft_status status = wf_wisdom_load_or_begin(ctx);
    if (status == WEFT_OK)
        status = wf_workers_check_stacks(ctx->threads, &ctx->error);
    if (status == WEFT_OK)
        status = collect(&t);
    t.result.problems = t.n;
    for (int i = 0; i < t.n && status == WEFT_OK; i++)
        status = tune_one(&t, i);
    if (t.result.measured)
        wf_plan_cache_clear(ctx->plans);
    t.result.seconds = wf_seconds() - start;
    wf_free(t.problems);
    wf_free(t.times);
    if (result && (status == WEFT_OK || status == WEFT_ERR_INTERRUPTED))
        *result = t.result;
    return status;
}
