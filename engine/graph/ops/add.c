/* add: y = a + b, element by element. Broadcasting is done by recorded expands. */
#include "engine/graph/ops/common.h"
#include "kernels/eltwise/eltwise.h"

typedef struct add_args {
    wf_cut cut;
    wf_buf a, b, y;
    size_t size;
    const wf_eltwise *kernels;
} add_args;

static void run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const add_args *g = vargs;
    g->kernels->add(wf_cut_count(&g->cut, tile), wf_cut_ptr(&g->cut, t, g->a, g->size, tile),
                    wf_cut_ptr(&g->cut, t, g->b, g->size, tile),
                    wf_cut_ptr(&g->cut, t, g->y, g->size, tile));
}

static weft_status lower(wf_lower *l)
{
    wf_operand y = wf_lower_out(l, 0);
    add_args g = {
        .cut = wf_cut_images(&y),
        .a = wf_lower_in(l, 0).buf,
        .b = wf_lower_in(l, 1).buf,
        .y = y.buf,
        .size = weft_dtype_size(y.dtype),
        .kernels = wf_eltwise_get(y.dtype, l->isa),
    };
    return wf_lowered(l, wf_lower_cut(l, g.kernels->name, run, &g, sizeof(g), &g.cut, 1.0));
}

static weft_status grad(wf_grad *g)
{
    for (int i = 0; i < 2; i++)
        if (g->needs[i])
            g->din[i] = g->dout[0];
    return WEFT_OK;
}

weft_tensor *weft_add(weft_tensor *a, weft_tensor *b)
{
    weft_tensor *in[2] = {a, b};
    if (!wf_record_broadcast("add", in))
        return NULL;
    return wf_record(&wf_op_add, NULL, NULL, 2, in, NULL);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_add(in[0], in[n - 1]); /* n == 1: the same tensor twice */
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"same shape", 2, {{2, {2, 3}}, {2, {2, 3}}}, apply, NULL},
        {"with itself", 1, {{4, {2, 3, 2, 2}}}, apply, NULL},
        {"broadcast both ways", 2, {{3, {2, 1, 3}}, {2, {4, 1}}}, apply, NULL},
        {"scalar", 2, {{0, {0}}, {2, {2, 3}}}, apply, NULL},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}

const wf_op wf_op_add = {
    .name = "add",
    .n_out = 1,
    .flags = WF_OP_KEEPS_ZERO,
    .layout_rule = WF_LAYOUT_SAME,
    .inplace = {1},
    .infer = wf_infer_same,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};
