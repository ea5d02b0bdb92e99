/* See affine.h. */
#include "engine/graph/ops/affine.h"

#include "engine/graph/ops/internal.h"

weft_status wf_infer_affine(const wf_infer *f, weft_shape shape)
{
    char a[WF_SHAPE_TEXT], b[WF_SHAPE_TEXT];
    for (int i = 1; i < 3; i++)
        if (f->in[i].dtype != f->in[0].dtype || !weft_shape_equal(f->in[i].shape, shape))
            return wf_infer_fail(
                f, WEFT_ERR_SHAPE, "the %s is %s %s, expected %s %s", i == 1 ? "weight" : "bias",
                weft_dtype_name(f->in[i].dtype), weft_shape_format(f->in[i].shape, a, sizeof(a)),
                weft_dtype_name(f->in[0].dtype), weft_shape_format(shape, b, sizeof(b)));
    return WEFT_OK;
}

weft_status wf_infer_affine_backward(wf_infer *f)
{
    f->out[0] = f->in[0];
    f->out[1] = f->out[2] = f->in[f->n_in - 1];
    return WEFT_OK;
}

weft_status wf_grad_affine(wf_grad *g, const wf_op *backward, int n, weft_tensor *const *in)
{
    weft_tensor *out[WF_MAX_OUT];
    if (!g->dout[0])
        return WEFT_OK;
    if (!wf_record(backward, g->attrs, NULL, n, in, out))
        return wf_step_status(g->ctx);
    for (int i = 0; i < 3; i++)
        g->din[i] = g->needs[i] ? out[i] : NULL;
    return WEFT_OK;
}

void wf_record_affine(weft_context *ctx, weft_tensor *x, weft_shape shape, weft_tensor **gamma,
                      weft_tensor **beta)
{
    /* Any other type of x is refused later. */
    const weft_dtype like = wf_operand_dtype(x) == WEFT_F64 ? WEFT_F64 : WEFT_F32;
    if (!*gamma)
        *gamma = wf_record_fill(ctx, like, shape, 1.0);
    if (!*beta)
        *beta = wf_record_fill(ctx, like, shape, 0.0);
}
