/* What replays share: the arena, per-worker scratch, buffer tables, the executors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xmmintrin.h>

#include "engine/memory/alloc.h"
#include "engine/run/run.h"

struct wf_pool {
    wf_block arena, scratch;
    wf_bufptr *bufs;
    int cap_bufs;
    wf_scheduler *scheduler;
    wf_trace *trace;
    uint64_t random;
};

weft_status wf_pool_create(weft_context *ctx)
{
    wf_pool *pool = wf_zalloc(sizeof *pool);
    if (!pool)
        return wf_nomem(&ctx->error, sizeof *pool, "the workers");
    ctx->pool = pool;
    pool->random = ctx->options.schedule_seed * 2 + 1;
    if (ctx->trace_path && !(pool->trace = wf_trace_create(ctx->threads)))
        return wf_nomem(&ctx->error, 0, "the trace");
    return wf_scheduler_create(ctx, &pool->scheduler);
}

void wf_pool_destroy(wf_pool *pool)
{
    if (!pool)
        return;
    wf_scheduler_destroy(pool->scheduler);
    wf_trace_destroy(pool->trace);
    wf_memory_free(&pool->arena);
    wf_memory_free(&pool->scratch);
    wf_free(pool->bufs);
    wf_free(pool);
}

wf_trace *wf_pool_trace(const wf_pool *pool)
{
    return pool->trace;
}

size_t wf_pool_arena_bytes(const wf_pool *pool)
{
    return pool->arena.size;
}

unsigned wf_denormals_off(void)
{
    unsigned state = _mm_getcsr();
    /* FTZ and DAZ, and for the rest what a new thread has: the caller's rounding mode must not
     * reach the tiles that happen to run on its thread. */
    _mm_setcsr(0x1f80 | 0x8040);
    return state;
}

void wf_denormals_restore(unsigned state)
{
    _mm_setcsr(state);
}

void wf_tile_fail(const wf_tile *t, weft_status status, const char *format, ...)
{
    wf_run *run = t->run;
    int none = 0;
    if (!atomic_compare_exchange_strong(&run->failed, &none, 1))
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(run->text, sizeof run->text, format, args);
    va_end(args);
    run->status = status;
    atomic_store(&run->failed, 2);
}

void wf_run_tile(wf_run *run, const wf_unit *unit, int64_t tile, int worker)
{
    wf_tile t = {.bufs = run->bufs,
                 .scalars = run->scalars,
                 .scratch = run->scratch + (size_t)worker * run->scratch_stride,
                 .worker = worker,
                 .run = run};
    wf_trace *trace = wf_pool_trace(run->ctx->pool);
    for (int i = 0; i < unit->n_tasks; i++) {
        const wf_task *task = run->plan->tasks[unit->tasks[i]];
        double start = trace ? wf_trace_now() : 0;
        task->fn(&t, task->args, tile);
        if (trace)
            wf_trace_slice(trace, worker, task, tile, start, wf_trace_now());
    }
}

/* Blocks only grow; the content need not survive. */
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

static void *bound_pointer(const weft_context *ctx, const wf_binding *b)
{
    const wf_graph *g = &ctx->graph;
    switch (b->kind) {
    case WF_BIND_LEAF: return g->values[b->index].stored->block.data;
    case WF_BIND_TARGET: return g->assigned[b->index].stored->block.data;
    case WF_BIND_DATA:
    case WF_BIND_KEEP: return g->values[b->index].store.data;
    }
    return NULL;
}

static weft_status bind_buffers(weft_context *ctx, const wf_plan *plan)
{
    wf_pool *pool = ctx->pool;
    if (!wf_grow(&pool->bufs, &pool->cap_bufs, 0, plan->n_buffers + 1, sizeof *pool->bufs))
        return wf_nomem(&ctx->error, (size_t)plan->n_buffers * sizeof *pool->bufs, "buffers");
    for (int i = 0; i < plan->n_buffers; i++) {
        const wf_buffer *b = &plan->buffers[i];
        pool->bufs[i] = (wf_bufptr){(char *)pool->arena.data + b->offset, b->local ? 0 : b->stride,
                                    b->local ? b->stride : 0};
    }
    for (int i = 0; i < plan->n_bindings; i++)
        pool->bufs[plan->bindings[i].buf].base = bound_pointer(ctx, &plan->bindings[i]);
    for (int i = 0; i < plan->n_buffers; i++) {
        const wf_buffer *b = &plan->buffers[i];
        if (b->whole >= 0) {
            pool->bufs[i] = pool->bufs[b->whole];
            pool->bufs[i].base += b->at;
        }
    }
    return WEFT_OK;
}

weft_status wf_pool_run(weft_context *ctx, const wf_plan *plan, bool check)
{
    wf_pool *pool = ctx->pool;
    size_t stride = (plan->scratch_bytes + 4095) / 4096 * 4096;
    WF_TRY(reserve(ctx, &pool->arena, plan->arena_bytes, WF_MEM_ARENA, "the activation arena"));
    WF_TRY(reserve(ctx, &pool->scratch, stride * (size_t)ctx->threads, WF_MEM_WORKSPACE,
                   "kernels' workspace"));
    WF_TRY(bind_buffers(ctx, plan));
    wf_run run = {.ctx = ctx,
                  .plan = plan,
                  .bufs = pool->bufs,
                  .scalars = ctx->graph.scalars,
                  .scratch = pool->scratch.data,
                  .scratch_stride = stride,
                  .check = check};
    weft_status status = WEFT_OK;
    switch (check ? WEFT_EXECUTOR_INTERPRETER : ctx->options.executor) {
    case WEFT_EXECUTOR_PARALLEL: status = wf_scheduler_run(pool->scheduler, &run); break;
    case WEFT_EXECUTOR_INTERPRETER: wf_interpreter_run(&run); break;
    case WEFT_EXECUTOR_RANDOM:
        if (pool->arena.data)
            memset(pool->arena.data, 0xff, pool->arena.size); /* every float a NaN */
        status = wf_random_run(&run, &pool->random);
        break;
    }
    if (status == WEFT_OK && atomic_load(&run.failed))
        status = wf_fail(ctx, run.status, "%s", run.text);
    return status;
}
