/* scale: y = factor x. add_scalar: y = x + value. The number is a scalar of the node, so changing
 * it never compiles a new plan. */
#include "engine/graph/ops/common.h"
#include "kernels/eltwise/eltwise.h"

typedef struct scale_args {
    wf_cut cut;
    wf_buf x, y;
    size_t size;
    int scalar;
    void (*kernel)(size_t n, const void *x, double number, void *y);
} scale_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const scale_args *g = vargs;
    g->kernel(wf_cut_count(&g->cut, tile), wf_cut_ptr(&g->cut, t, g->x, g->size, tile),
              t->scalars[g->scalar], wf_cut_ptr(&g->cut, t, g->y, g->size, tile));
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand y = wf_lower_out(l, 0);
    const wf_eltwise *k = wf_eltwise_get(y.dtype, l->isa);
    scale_args g = {
        .cut = wf_cut_images(&y),
        .x = wf_lower_in(l, 0).buf,
        .y = y.buf,
        .size = weft_dtype_size(y.dtype),
        .scalar = l->scalar,
        .kernel = l->op == &wf_op_scale ? k->scale : k->add_scalar,
    };
    return wf_lowered(l, wf_lower_cut(l, k->name, run, &g, sizeof(g), &g.cut, 1.0));
}

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_scale, NULL, g->scalars, 1, g->dout, NULL);
    return WEFT_OK;
}

weft_tensor *weft_scale(weft_tensor *x, double factor)
{
    return wf_record(&wf_op_scale, NULL, &factor, 1, &x, NULL);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_scale(in[0], *(const double *)user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const double factor = -1.75;
    static const wf_sample_case cases[] = {
        {"by -1.75", 1, {{4, {2, 3, 2, 2}}}, apply, &factor},
    };
    return wf_sample_from(ctx, cases, 1, index, s);
}

const wf_op wf_op_scale = {
    .name = "scale",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .n_scalars = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

/* ---- add_scalar ---- */

static weft_status grad_add_scalar(wf_grad *g)
{
    g->din[0] = g->needs[0] ? g->dout[0] : NULL;
    return WEFT_OK;
}

weft_tensor *weft_add_scalar(weft_tensor *x, double value)
{
    return wf_record(&wf_op_add_scalar, NULL, &value, 1, &x, NULL);
}

static weft_tensor *apply_add_scalar(void *user, weft_tensor *const *in, int n)
{
    return weft_add_scalar(in[0], *(const double *)user);
}

static bool sample_add_scalar(weft_context *ctx, int index, wf_sample *s)
{
    static const double value = 1.25;
    static const wf_sample_case cases[] = {
        {"and 1.25", 1, {{4, {2, 3, 2, 2}}}, apply_add_scalar, &value},
    };
    return wf_sample_from(ctx, cases, 1, index, s);
}

const wf_op wf_op_add_scalar = {
    .name = "add_scalar",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .n_scalars = 1,
    .flags = WF_OP_BY_IMAGE | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad_add_scalar,
    .lower = lower,
    .sample = sample_add_scalar,
};
