/* detach: the same value, through which no gradient passes. copy and border: the same value
 * (internal). The plan removes detach and border where their readers may read the value itself:
 * simplify.c. */
#include <string.h>

#include "engine/graph/ops/common.h"
#include "engine/graph/ops/internal.h"

typedef struct copy_args {
    wf_cut cut;
    wf_buf x, y;
    size_t size;
} copy_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const copy_args *g = vargs;
    memmove(wf_cut_ptr(&g->cut, t, g->y, g->size, tile),
            wf_cut_ptr(&g->cut, t, g->x, g->size, tile), wf_cut_count(&g->cut, tile) * g->size);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand y = wf_lower_out(l, 0);
    copy_args g = {
        .cut = wf_cut_images(&y),
        .x = wf_lower_in(l, 0).buf,
        .y = y.buf,
        .size = weft_dtype_size(y.dtype),
    };
    return wf_lowered(l, wf_lower_cut(l, "copy", run, &g, sizeof(g), &g.cut, 0.0));
}

static weft_status infer(wf_infer *f)
{
    f->out[0] = f->in[0];
    return WEFT_OK;
}

const wf_op wf_op_detach = {
    .name = "detach",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = infer,
    .no_grad_reason = "detach cuts the gradient: that is what it is for",
    .lower = lower,
    .no_sample_reason = "it has no gradient; the value tests run it",
};

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = g->dout[0];
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return wf_record(&wf_op_copy, NULL, NULL, 1, in, NULL);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {{"rank 4", 1, {{4, {2, 3, 2, 2}}}, apply, NULL}};
    return wf_sample_from(ctx, cases, 1, index, s);
}

const wf_op wf_op_copy = {
    .name = "copy",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

const wf_op wf_op_border = {
    .name = "border",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .no_sample_reason = "it is copy under a name of its own; the tests of backward hooks run it",
};

weft_tensor *weft_detach(weft_tensor *x)
{
    return wf_record(&wf_op_detach, NULL, NULL, 1, &x, NULL);
}
