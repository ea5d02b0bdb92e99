/* Creates and destroys contexts. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/c_locale.h"
#include "engine/base/quote.h"
#include "engine/base/stack.h"
#include "engine/graph/lint.h"
#include "engine/run/run.h"
#include "engine/step/environment.h"
#include "engine/step/execute.h"
#include "engine/step/info.h"
#include "engine/step/plan_cache.h"
#include "engine/step/wisdom.h"
#include "kernels/machine.h"

static weft_status start(weft_context *ctx)
{
    static const wf_graph_runner runner = {wf_execute_assigned, wf_execute_pending,
                                           wf_execute_none};
    WF_TRY(wf_graph_create(ctx, &runner));
    WF_TRY(wf_lint_create(ctx, ctx->options.lint));
    WF_TRY(wf_wisdom_create(ctx));
    wf_topology_config config = {.threads = ctx->options.threads};
    WF_TRY(wf_topology_create(&ctx->topology, &config, &ctx->error));
    wf_topology_tell(ctx->topology);
    ctx->threads = wf_topology_threads(ctx->topology);
    WF_TRY(wf_memory_create(&ctx->memory, ctx->topology, NULL, &ctx->error));
    WF_TRY(wf_ring_init(&ctx->ring, ctx, &ctx->error));
    WF_TRY(wf_plan_cache_create(ctx));
    return wf_replay_create(ctx);
}

/* Frees what only a living context needs. The rest is freed with the last tensor, in release(). */
static void stop(weft_context *ctx)
{
    wf_replay_destroy(ctx->replay);
    wf_plan_cache_destroy(ctx->plans);
    ctx->replay = NULL;
    ctx->plans = NULL;
}

/* Called when the last reference is gone. */
static void release(weft_context *ctx)
{
    wf_ring_done(&ctx->ring);
    wf_free(ctx->graph);
    wf_customs_free(ctx->customs);
    wf_lint_destroy(ctx->lint);
    wf_free(ctx->modules);
    wf_free(ctx->backward_hooks);
    wf_handles_done(&ctx->handles);
    wf_memory_destroy(ctx->memory);
    wf_topology_unref(ctx->topology);
    wf_wisdom_destroy(ctx->wisdom);
    wf_free(ctx->wisdom_path);
    wf_free(ctx->trace_path);
    wf_free(ctx->long_error);
    wf_free(ctx);
}

weft_status weft_context_create(weft_context **out, const weft_options *options, weft_error *err)
{
    if (!out)
        return wf_error_set(err, WEFT_ERR_INVALID, "context: no place for the result");
    WF_TRY(wf_stack_check("context", err));
    weft_options o = options ? *options : (weft_options)WEFT_OPTIONS_INIT;
    if (o.threads < 0 || o.threads > 4096)
        return wf_error_set(err, WEFT_ERR_INVALID, "context: %d threads; 0 to 4096 are possible",
                            o.threads);
    if (o.amp < WEFT_AMP_OFF || o.amp > WEFT_AMP_AUTO)
        return wf_error_set(err, WEFT_ERR_INVALID, "context: %d is no value of weft_amp", o.amp);
    WF_TRY(wf_environment_check(err));
    weft_context *ctx = wf_zalloc(sizeof *ctx);
    if (!ctx)
        return wf_nomem(err, sizeof *ctx, "the context");
    atomic_init(&ctx->refs, 1);
    ctx->release = release;
    ctx->gen = 1;
    ctx->handles = (wf_handles)WF_HANDLES_INIT;
    ctx->options = o;
    ctx->isa = wf_cpu_isa();
    weft_status status = WEFT_OK;
    if (o.trace_path && !(ctx->trace_path = wf_strdup(o.trace_path)))
        status = wf_nomem(&ctx->error, strlen(o.trace_path), "the context");
    ctx->options.trace_path = ctx->trace_path;
    if (o.wisdom && !(ctx->wisdom_path = wf_strdup(o.wisdom)))
        status = wf_nomem(&ctx->error, strlen(o.wisdom), "the context");
    ctx->options.wisdom = ctx->wisdom_path;
    if (status == WEFT_OK)
        status = start(ctx);
    if (status != WEFT_OK) {
        if (err && err->status == WEFT_OK)
            *err = ctx->error;
        stop(ctx);
        wf_context_unref(ctx);
        return status;
    }
    *out = ctx;
    return WEFT_OK;
}

weft_context *weft_context_default(void)
{
    weft_context *ctx = NULL;
    return weft_context_create(&ctx, NULL, NULL) == WEFT_OK ? ctx : NULL;
}

weft_status weft_trace_write(weft_context *ctx)
{
    if (!ctx || ctx->closed)
        return WEFT_ERR_INVALID;
    wf_trace *trace = ctx->replay ? wf_replay_trace(ctx->replay) : NULL;
    return trace ? wf_trace_write(trace, ctx->trace_path, &ctx->error) : WEFT_OK;
}

void weft_context_destroy(weft_context *ctx)
{
    if (!ctx || ctx->closed || wf_may_end_step(ctx, "context_destroy") != WEFT_OK)
        return;
    weft_error_clear(ctx);
    if (weft_trace_write(ctx) != WEFT_OK)
        wf_tell(ctx, "%s", weft_error_text(ctx));
    wf_graph_done(ctx);
    stop(ctx);
    ctx->closed = true;
    wf_context_unref(ctx);
}

int weft_threads(const weft_context *ctx)
{
    return ctx ? ctx->threads : 0;
}

weft_isa weft_context_isa(const weft_context *ctx)
{
    return ctx ? ctx->isa : WEFT_ISA_SCALAR;
}

const char *weft_context_machine(const weft_context *ctx)
{
    return ctx ? wf_machine_class_now()->name : "";
}

weft_amp weft_context_amp(const weft_context *ctx)
{
    return ctx ? ctx->options.amp : WEFT_AMP_OFF;
}

weft_status weft_print_error(const weft_context *ctx, FILE *out)
{
    if (out && weft_error_status(ctx) != WEFT_OK)
        wf_print_quoted_lines(weft_error_text(ctx), out);
    return weft_error_status(ctx);
}

weft_status weft_context_finish(weft_context *ctx, FILE *out)
{
    const weft_status status = weft_print_error(ctx, out);
    weft_context_destroy(ctx);
    return status;
}

void weft_print_shape(const weft_tensor *t, FILE *out)
{
    char text[160];
    if (t && out && wf_tensor_check(t, "print_shape", true))
        fprintf(out, "%s\n", weft_shape_format(t->type.shape, text, sizeof text));
}

weft_status weft_sync(weft_context *ctx)
{
    if (!ctx)
        return wf_no_context("sync");
    WF_TRY(wf_may_end_step(ctx, "sync"));
    return wf_execute_all(ctx);
}

void weft_discard(weft_context *ctx)
{
    if (!ctx || ctx->closed)
        return;
    if (wf_may_end_step(ctx, "discard") == WEFT_OK)
        wf_execute_none(ctx);
    else
        ctx->graph->unwanted = true;
}

weft_status weft_info(weft_context *ctx, FILE *out)
{
    if (!ctx)
        return wf_no_context("info");
    if (!out)
        return wf_fail(ctx, WEFT_ERR_INVALID, "info: there is no file to write to");
    wf_c_locale locale;
    WF_TRY(wf_wisdom_load(ctx));
    if (!wf_c_locale_begin(&locale))
        return wf_nomem(&ctx->error, 0, "the text of weft_info");
    weft_status status =
        wf_info_write(ctx->topology, ctx->isa, ctx->threads, ctx->wisdom, out, &ctx->error);
    wf_c_locale_end(&locale);
    return status;
}

const char *weft_version(void)
{
    return "0.1.0";
}

weft_random_state weft_get_random_state(const weft_context *ctx)
{
    if (!ctx)
        return (weft_random_state){0};
    return (weft_random_state){ctx->options.seed, ctx->draws, ctx->next_stream};
}

weft_status weft_set_random_state(weft_context *ctx, weft_random_state state)
{
    if (!ctx)
        return wf_no_context("set_random_state");
    if (ctx->graph->n_nodes > 0)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "the random state is set between steps: run or discard what is recorded");
    ctx->options.seed = state.seed;
    ctx->draws = state.draws;
    ctx->next_stream = state.streams;
    return WEFT_OK;
}
