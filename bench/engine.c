/* What the engine itself costs; see engine.h. */
#include "bench/engine.h"

#include <stdlib.h>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/run/run.h"
#include "engine/step/plan_cache.h"
#include "engine/tune/measure.h"

enum { GROUPS = 1000, SAMPLES = 101 };

/* ---- a plan of empty task groups ------------------------------------------------------------- */

static weft_status nothing(const wf_tile *t, const void *args, int64_t tile)
{
    (void)t, (void)args, (void)tile;
    return WEFT_OK;
}

typedef struct empty_plan {
    wf_task tasks[GROUPS], *list[GROUPS];
    wf_task_group groups[GROUPS];
    int order[GROUPS], next[GROUPS];
    wf_plan plan;
} empty_plan;

/* A chain, each group of which waits for the one before it. */
static void make_chain(empty_plan *e, int tiles)
{
    *e = (empty_plan){0};
    for (int u = 0; u < GROUPS; u++) {
        e->tasks[u] = (wf_task){.fn = nothing, .path = "", .kernel = "", .group = u};
        e->list[u] = &e->tasks[u];
        e->order[u] = u;
        e->next[u] = u + 1;
        e->groups[u] = (wf_task_group){.tasks = &e->order[u],
                                       .n_tasks = 1,
                                       .tiles = tiles,
                                       .succ = &e->next[u],
                                       .n_succ = u + 1 < GROUPS,
                                       .n_preds = u > 0};
    }
    e->plan = (wf_plan){.tasks = e->list,
                        .n_tasks = GROUPS,
                        .groups = e->groups,
                        .n_groups = GROUPS,
                        .order = e->order,
                        .barrier = -1};
}

/* Seconds of a task group, the median of SAMPLES replays. */
static weft_status time_groups(empty_plan *e, int threads, int tiles, double *seconds,
                               weft_error *err)
{
    static const wf_run_source no_step;
    weft_context *ctx;
    const weft_options options = {.threads = threads};
    double times[SAMPLES];
    WF_TRY(weft_context_create(&ctx, &options, err));
    make_chain(e, tiles);
    weft_status status = WEFT_OK;
    for (int i = -5; i < SAMPLES && status == WEFT_OK; i++) {
        wf_run run = {.ctx = ctx, .plan = &e->plan, .source = &no_step};
        const double start = wf_seconds();
        status = wf_scheduler_run(wf_replay_scheduler(ctx->replay), &run);
        times[i < 0 ? 0 : i] = wf_seconds() - start;
    }
    if (status != WEFT_OK)
        wf_error_set(err, status, "%s", weft_error_text(ctx));
    weft_context_destroy(ctx);
    *seconds = wf_median(times, SAMPLES) / GROUPS;
    return status;
}

static weft_status measure_groups(int threads, FILE *out, weft_error *err)
{
    static const int tiles[] = {1, 16};
    weft_status status = WEFT_OK;
    empty_plan *e = malloc(sizeof *e);
    if (!e)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory");
    for (int t = 0; t < 2 && (t == 0 || threads > 1); t++)
        for (int i = 0; i < 2 && status == WEFT_OK; i++) {
            double seconds = 0;
            status = time_groups(e, t ? threads : 1, tiles[i], &seconds, err);
            if (status == WEFT_OK)
                fprintf(out, "a task group of %d empty tile%s, %d thread%s: %.3f us\n", tiles[i],
                        tiles[i] > 1 ? "s" : "", t ? threads : 1, t ? "s" : "", 1e6 * seconds);
        }
    free(e);
    return status;
}

/* ---- recording ------------------------------------------------------------------------------- */

static weft_status failure(const bench_step *s, weft_error *err)
{
    const weft_status status = weft_error_status(s->ctx);
    return wf_error_set(err, status ? status : WEFT_ERR_NOMEM, "%s", weft_error_text(s->ctx));
}

/* The edge of the images: what is measured does not depend on it. */
static int small(const char *model)
{
    const weft_model_info *info = weft_model_find(model);
    return info && info->defaults.height > 64 ? 64 : 0;
}

static weft_status measure_recording(const char *model, FILE *out, weft_error *err)
{
    const bench_step_spec spec = {.model = model, .batch = 1, .size = small(model), .threads = 1};
    bench_step s;
    double times[SAMPLES], record[SAMPLES];
    WF_TRY(bench_step_init(&s, &spec, err));
    weft_status status = WEFT_OK;
    for (int i = -5; i < SAMPLES && status == WEFT_OK; i++) {
        const int at = i < 0 ? 0 : i;
        const double start = wf_seconds();
        weft_optimizer_zero_grad(s.optimizer);
        weft_tensor *loss = bench_step_loss(&s);
        if (!loss || weft_backward(loss))
            status = failure(&s, err);
        record[at] = wf_seconds() - start;
        if (status == WEFT_OK && weft_optimizer_step(s.optimizer))
            status = failure(&s, err);
        times[at] = wf_replay_started(s.ctx->replay) - start;
    }
    if (status == WEFT_OK)
        fprintf(out,
                "%s recorded and found again: %.1f us, of which forward and backward %.1f us; "
                "%d plans compiled\n",
                model, 1e6 * wf_median(times, SAMPLES), 1e6 * wf_median(record, SAMPLES),
                wf_plan_cache_compiled(s.ctx->plans));
    bench_step_done(&s);
    return status;
}

/* One optimizer step of k micro-batches. */
static bool accumulate(bench_step *s, int k)
{
    weft_optimizer_zero_grad(s->optimizer);
    for (int i = 0; i < k; i++) {
        weft_tensor *loss = bench_step_loss(s);
        if (!loss || weft_backward(loss))
            return false;
    }
    return weft_optimizer_step(s->optimizer) == WEFT_OK;
}

static weft_status measure_micro_batches(const char *model, int threads, FILE *out, weft_error *err)
{
    static const int ks[] = {8, 64};
    enum { ROUNDS = 5 };
    const bench_step_spec spec = {
        .model = model, .batch = 1, .size = small(model), .threads = threads};
    double times[2][ROUNDS];
    int first = 0;
    bench_step s;
    WF_TRY(bench_step_init(&s, &spec, err));
    weft_status status = WEFT_OK;
    for (int round = -1; round < ROUNDS; round++)
        for (int i = 0; i < 2 && status == WEFT_OK; i++) {
            const double start = wf_seconds();
            if (!accumulate(&s, ks[i]))
                status = failure(&s, err);
            times[i][round < 0 ? 0 : round] = (wf_seconds() - start) / ks[i];
            if (round < 0 && i == 0)
                first = wf_plan_cache_compiled(s.ctx->plans);
        }
    if (status == WEFT_OK)
        fprintf(
            out,
            "%s, micro-batches of 1 before an optimizer step: %.3f ms each of %d, %.3f ms each of "
            "%d; %d plans compiled in the first step, %d later\n",
            model, 1e3 * wf_median(times[0], ROUNDS), ks[0], 1e3 * wf_median(times[1], ROUNDS),
            ks[1], first, wf_plan_cache_compiled(s.ctx->plans) - first);
    bench_step_done(&s);
    return status;
}

weft_status bench_engine_measure(const char *model, int threads, FILE *out, weft_error *err)
{
    WF_TRY(measure_groups(threads, out, err));
    WF_TRY(measure_recording(model, out, err));
    return measure_micro_batches(model, threads, out, err);
}
