/* Inference, lowering and recording of the ops that update stored tensors: update.h. */
#include "engine/graph/ops/update.h"

weft_status wf_update_infer(wf_infer *f)
{
    const wf_update_attrs *a = f->attrs;
    const int tensors = f->n_in - (int)a->norms;
    WF_TRY(wf_infer_float(f, 0));
    for (int i = 1; i < tensors; i++)
        WF_TRY(wf_infer_like_first(f, i));
    f->n_out = tensors - 1;
    for (int o = 0; o < f->n_out; o++)
        f->out[o] = f->in[0];
    return WEFT_OK;
}

void wf_update_tile(const wf_update_args *a, const wf_tile *t, int64_t tile, const void *settings)
{
    const void *in[2 + WF_UPDATE_STATES];
    void *out[1 + WF_UPDATE_STATES];
    for (int i = 0; i < 2 + WF_UPDATE_STATES; i++)
        in[i] = a->in[i] >= 0 ? wf_cut_ptr(&a->cut, t, a->in[i], a->size, tile) : NULL;
    for (int o = 0; o < 1 + WF_UPDATE_STATES; o++)
        out[o] = a->out[o] >= 0 ? wf_cut_ptr(&a->cut, t, a->out[o], a->size, tile) : NULL;
    a->update(wf_cut_count(&a->cut, tile), settings, in, out);
}

weft_status wf_update_run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const wf_update_args *a = vargs;
    wf_update_tile(a, t, tile, t->scalars + a->scalar);
    return WEFT_OK;
}

weft_status wf_update_lower(wf_lower *l, wf_update kernel, wf_tile_fn fn, double flops)
{
    const wf_update_attrs *attrs = l->attrs;
    const wf_operand p = wf_lower_in(l, 0);
    const wf_optim *kernels = wf_optim_get(p.dtype, l->isa);
    wf_update_args a = {
        .cut = wf_cut_elements(&p),
        .in = {p.buf, wf_lower_in(l, 1).buf},
        .out = {wf_lower_out(l, 0).buf},
        .norm = {-1, -1},
        .size = weft_dtype_size(p.dtype),
        .scalar = l->scalar,
        .update = kernels->update[kernel],
    };
    int used = 0;
    for (int s = 0; s < WF_UPDATE_STATES; s++) {
        const bool here = attrs->slots >> s & 1;
        a.in[2 + s] = here ? wf_lower_in(l, 2 + used).buf : -1;
        a.out[1 + s] = here ? wf_lower_out(l, 1 + used).buf : -1;
        used += here;
    }
    for (int i = 0; i < (int)attrs->norms; i++)
        a.norm[i] = wf_lower_in(l, 2 + used + i).buf;
    return wf_lowered(l, wf_lower_cut(l, kernels->name, fn, &a, sizeof(a), &a.cut, flops));
}

weft_status wf_update_record(const wf_op *op, const void *scalars, weft_tensor *param,
                             weft_tensor *grad, weft_tensor *const *state, int n_norms,
                             weft_tensor *const *norms)
{
    wf_update_attrs attrs = {.norms = n_norms};
    weft_tensor *in[2 + WF_UPDATE_STATES + 2] = {param, grad};
    weft_tensor *stored[1 + WF_UPDATE_STATES] = {param}, *out[WF_MAX_OUT];
    int n_in = 2, n_out = 1;
    if (!param || !grad)
        return WEFT_ERR_INVALID;
    for (int s = 0; s < WF_UPDATE_STATES; s++) {
        if (!state[s])
            continue;
        attrs.slots |= (int64_t)1 << s;
        in[n_in++] = stored[n_out++] = state[s];
    }
    for (int i = 0; i < n_norms; i++)
        in[n_in++] = norms[i];
    if (!wf_record(op, &attrs, scalars, n_in, in, out))
        return wf_step_status(weft_tensor_context(param));
    return wf_assign_all(n_out, stored, out);
}
