/* What all replays of a context share: the arena, the workers' scratch, the buffer table, the
 * executors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/clock.h"
#include "engine/run/run.h"

struct wf_replay {
    wf_block arena, scratch;
    wf_bufptr *bufs;
    int cap_bufs;
    wf_scheduler *scheduler;
    wf_trace *trace;
    uint64_t random;
    double started;
};

weft_status wf_replay_create(weft_context *ctx)
{
    wf_replay *replay = wf_zalloc(sizeof *replay);
    if (!replay)
        return wf_nomem(&ctx->error, sizeof *replay, "the workers");
    ctx->replay = replay;
    replay->random = ctx->options.schedule_seed * 2 + 1;
    if (ctx->trace_path && !(replay->trace = wf_trace_create(ctx->threads)))
        return wf_nomem(&ctx->error, 0, "the trace");
    return wf_scheduler_create(ctx, &replay->scheduler);
}

void wf_replay_destroy(wf_replay *replay)
{
    if (!replay)
        return;
    wf_scheduler_destroy(replay->scheduler);
    wf_trace_destroy(replay->trace);
    wf_memory_free(&replay->arena);
    wf_memory_free(&replay->scratch);
    wf_free(replay->bufs);
    wf_free(replay);
}

wf_scheduler *wf_replay_scheduler(const wf_replay *replay)
{
    return replay->scheduler;
}

double wf_replay_started(const wf_replay *replay)
{
    return replay->started;
}

wf_trace *wf_replay_trace(const wf_replay *replay)
{
    return replay->trace;
}

/* Grows the block to at least `bytes`. Its content is lost. */
static weft_status reserve(weft_context *ctx, wf_block *block, size_t bytes, wf_mem_kind kind,
                           const char *what)
{
    if (bytes <= block->size)
        return WEFT_OK;
    WF_TRY(wf_memory_check(NULL, bytes - block->size, what, &ctx->error));
    wf_memory_free(block);
    wf_block_request request = {
        .size = bytes, .kind = kind, .placement = WF_PLACE_TOUCH, .what = what};
    return wf_memory_alloc(ctx->memory, &request, block, &ctx->error);
}

static weft_status bind_buffers(weft_context *ctx, const wf_plan *plan, const wf_run_source *source)
{
    wf_replay *replay = ctx->replay;
    if (!wf_grow(&replay->bufs, &replay->cap_bufs, 0, plan->n_buffers + 1, sizeof *replay->bufs))
        return wf_nomem(&ctx->error, (size_t)plan->n_buffers * sizeof *replay->bufs, "buffers");
    for (int i = 0; i < plan->n_buffers; i++) {
        const wf_buffer *b = &plan->buffers[i];
        char *arena = replay->arena.data; /* NULL if no buffer needs memory */
        replay->bufs[i] = (wf_bufptr){arena != NULL ? arena + b->offset : NULL,
                                      b->local ? 0 : b->stride, b->local ? b->stride : 0};
    }
    for (int i = 0; i < plan->n_bindings; i++)
        replay->bufs[plan->bindings[i].buf].base = source->bound(source->user, &plan->bindings[i]);
    for (int i = 0; i < plan->n_buffers; i++) {
        const wf_buffer *b = &plan->buffers[i];
        if (b->whole >= 0) {
            replay->bufs[i] = replay->bufs[b->whole];
            replay->bufs[i].base += b->at;
        }
    }
    return WEFT_OK;
}

size_t wf_replay_scratch(const wf_plan *plan)
{
    return (plan->scratch_bytes + 4095) / 4096 * 4096;
}

weft_status wf_replay_run(weft_context *ctx, const wf_plan *plan, const wf_run_source *source,
                          bool check)
{
    wf_replay *replay = ctx->replay;
    size_t stride = wf_replay_scratch(plan);
    WF_TRY(reserve(ctx, &replay->arena, plan->arena_bytes, WF_MEM_ARENA, "the activation arena"));
    WF_TRY(reserve(ctx, &replay->scratch, stride * (size_t)ctx->threads, WF_MEM_WORKSPACE,
                   "kernels' workspace"));
    WF_TRY(bind_buffers(ctx, plan, source));
    wf_run run = {.ctx = ctx,
                  .plan = plan,
                  .bufs = replay->bufs,
                  .source = source,
                  .scratch = replay->scratch.data,
                  .scratch_stride = stride,
                  .check = check,
                  .trace = replay->trace};
    replay->started = wf_seconds();
    if (replay->trace)
        WF_TRY(wf_trace_begin(replay->trace, plan, &ctx->error));
    weft_status status = WEFT_OK;
    switch (check ? WEFT_EXECUTOR_INTERPRETER : ctx->options.executor) {
    case WEFT_EXECUTOR_SEQUENCE:
    case WEFT_EXECUTOR_PARALLEL: status = wf_scheduler_run(replay->scheduler, &run); break;
    case WEFT_EXECUTOR_INTERPRETER: wf_interpreter_run(&run); break;
    case WEFT_EXECUTOR_RANDOM:
        if (replay->arena.data)
            memset(replay->arena.data, 0xff, replay->arena.size); /* every float becomes a NaN */
        status = wf_random_run(&run, &replay->random);
        break;
    }
    if (replay->trace)
        wf_trace_end(replay->trace);
    if (status == WEFT_OK && atomic_load(&run.failed))
        status = wf_error_set(&ctx->error, run.status, "%s", run.text);
    return status;
}
