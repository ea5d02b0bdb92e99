/* WEFT_AMP_AUTO: whether feature maps are stored as bf16, by the expected cost of the first work that has
 * products.
 *
 * Note [Automatic bf16]. The context decides once, when it first compiles a plan with a convolution or a
 * matrix product, which is where the two ways differ. It compiles the plan both ways and adds up what
 * the tasks are expected to take on one core (Note [Forecast] in engine/run/forecast.c): the kernels'
 * costs on the machine's class, which know its bf16 arithmetic, conversions, and the bytes to and from
 * memory. The figures depend on shapes, machine class and wisdom alone, never on threads, so a
 * run that is repeated decides alike. Where f32 does not fit the memory limit, it is bf16. */
#include "engine/base/alloc.h"
#include "engine/graph/ops/common.h"
#include "engine/run/run.h"
#include "engine/step/amp.h"

/* bf16 loses digits, so it must be expected to gain more than the forecasts are off by. */
#define GAIN 0.95

static bool has_products(const wf_graph *g, const wf_request *r)
{
    for (int i = 0; i < r->n_nodes; i++) {
        const wf_op *op = g->nodes[r->node[i]].op;
        if (op->precision == WF_PRECISION_BF16 || op == &wf_op_matmul)
            return true;
    }
    return false;
}

/* The time that the work is expected to take. */
static weft_status expected(weft_context *ctx, const wf_request *r, unsigned passes_off,
                            weft_amp amp, double *seconds)
{
    const int threads = ctx->threads;
    wf_plan *plan;
    ctx->options.amp = amp;
    ctx->threads = 1; /* grouping depends on their number, and so do the bytes that are moved */
    weft_status status = wf_plan_compile(ctx, r, passes_off, &plan);
    ctx->threads = threads;
    ctx->options.amp = WEFT_AMP_AUTO;
    if (status != WEFT_OK)
        return status;
    wf_forecast *f = wf_zalloc_array((size_t)plan->n_tasks + 1, sizeof *f);
    *seconds = 0;
    if (!f || !wf_forecast_plan(plan, f))
        status = wf_nomem(&ctx->error, sizeof *f, "the choice of --amp auto");
    for (int i = 0; i < plan->n_tasks && status == WEFT_OK; i++)
        *seconds += f[i].seconds;
    wf_free(f);
    wf_plan_destroy(plan);
    return status;
}

weft_status wf_amp_settle(weft_context *ctx, const wf_request *r, unsigned passes_off)
{
    if (ctx->options.amp != WEFT_AMP_AUTO || !has_products(ctx->graph, r))
        return WEFT_OK;
    const weft_error before = ctx->error;
    double f32 = 0, bf16 = 0;
    WF_TRY(expected(ctx, r, passes_off, WEFT_AMP_BF16, &bf16));
    const weft_status status = expected(ctx, r, passes_off, WEFT_AMP_OFF, &f32);
    if (status == WEFT_ERR_NOMEM && ctx->options.memory_limit > 0)
        ctx->error = before;
    else
        WF_TRY(status);
    ctx->options.amp = status != WEFT_OK || bf16 < GAIN * f32 ? WEFT_AMP_BF16 : WEFT_AMP_OFF;
    return WEFT_OK;
}
