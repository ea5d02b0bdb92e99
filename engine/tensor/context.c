/* The part of the context that tensors need: references, and streams of random numbers. engine/step
 * creates and destroys contexts. */
#include "engine/tensor/context.h"

void wf_context_ref(weft_context *ctx)
{
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
}

void wf_context_unref(weft_context *ctx)
{
    if (atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) == 1)
        ctx->release(ctx);
}

uint64_t wf_context_seed(const weft_context *ctx)
{
    return ctx->options.seed;
}

uint64_t wf_context_next_stream(weft_context *ctx)
{
    return ctx->next_stream++;
}

uint64_t wf_context_step(const weft_context *ctx)
{
    return ctx->step;
}
