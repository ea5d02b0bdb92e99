/* cast (internal): conversion between f32, f64 and bf16. Recorded for assignments to tensors of
 * another type. The precision pass adds casts between values that are stored as f32 and as bf16. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/internal.h"
#include "kernels/eltwise/eltwise.h"

static weft_status infer(wf_infer *f)
{
    const wf_cast_attrs *a = f->attrs;
    if (!wf_cast_get(f->in[0].dtype, (weft_dtype)a->dtype))
        return wf_infer_fail(f, WEFT_ERR_DTYPE, "no conversion from %s to %s",
                             weft_dtype_name(f->in[0].dtype),
                             weft_dtype_name((weft_dtype)a->dtype));
    f->out[0] = (wf_type){(weft_dtype)a->dtype, f->in[0].shape};
    return WEFT_OK;
}

typedef struct cast_args {
    wf_cut cut;
    wf_buf x, y;
    size_t from, to; /* bytes */
    wf_cast_fn cast;
} cast_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const cast_args *g = vargs;
    g->cast(wf_cut_count(&g->cut, tile), wf_cut_ptr(&g->cut, t, g->x, g->from, tile),
            wf_cut_ptr(&g->cut, t, g->y, g->to, tile));
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    const wf_cast_attrs *a = l->attrs;
    cast_args g = {
        /* input and output have the same images */
        .cut = a->dense ? wf_cut_elements(&x) : wf_cut_images(&x),
        .x = x.buf,
        .y = y.buf,
        .from = weft_dtype_size(x.dtype),
        .to = weft_dtype_size(y.dtype),
        .cast = wf_cast_get(x.dtype, y.dtype),
    };
    return wf_lowered(l, wf_lower_cut(l, "cast:ref", run, &g, sizeof(g), &g.cut, 0.0));
}

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record_cast(g->dout[0], wf_operand_dtype(g->in[0]));
    return WEFT_OK;
}

/* Without f32 in between, which would lose the digits that finite differences need. */
static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return wf_record_cast(in[0], WEFT_F64);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {{"f64 to f64", 1, {{2, {3, 5}}}, apply, NULL}};
    return wf_sample_from(ctx, cases, 1, index, s);
}

const wf_op wf_op_cast = {
    .name = "cast",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_cast_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *wf_record_cast(weft_tensor *x, weft_dtype dtype)
{
    wf_cast_attrs a = {.dtype = dtype};
    return wf_record(&wf_op_cast, &a, NULL, 1, &x, NULL);
}
