/* sgd_update (internal): new parameter and momentum buffer, in the commit phase. Inputs: parameter,
 * gradient, and with momentum the buffer. See Note [Commit phase]. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/internal.h"
#include "kernels/optim/optim.h"

typedef struct sgd_attrs {
    int64_t nesterov;
} sgd_attrs;

enum { LR, MOMENTUM, DAMPENING, WEIGHT_DECAY, FIRST, N_SCALARS };

static weft_status infer(wf_infer *f)
{
    f->n_out = f->n_in == 3 ? 2 : 1;
    return wf_infer_same(f);
}

typedef struct sgd_args {
    wf_cut cut;
    wf_buf p, g, buf, p_out, buf_out; /* buf: -1 without momentum */
    size_t size;
    int scalar;
    bool nesterov;
    const wf_optim *kernels;
} sgd_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const sgd_args *a = vargs;
    const double *s = t->scalars + a->scalar;
    wf_sgd sgd = {
        .lr = s[LR],
        .momentum = s[MOMENTUM],
        .dampening = s[DAMPENING],
        .weight_decay = s[WEIGHT_DECAY],
        .nesterov = a->nesterov,
        .first = s[FIRST] != 0.0,
    };
    bool buffer = a->buf >= 0;
    a->kernels->sgd(wf_cut_count(&a->cut, tile), &sgd, wf_cut_ptr(&a->cut, t, a->p, a->size, tile),
                    wf_cut_ptr(&a->cut, t, a->g, a->size, tile),
                    buffer ? wf_cut_ptr(&a->cut, t, a->buf, a->size, tile) : NULL,
                    wf_cut_ptr(&a->cut, t, a->p_out, a->size, tile),
                    buffer ? wf_cut_ptr(&a->cut, t, a->buf_out, a->size, tile) : NULL);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand p = wf_lower_in(l, 0);
    bool buffer = l->n_in == 3;
    sgd_args a = {
        .cut = wf_cut_elements(&p),
        .p = p.buf,
        .g = wf_lower_in(l, 1).buf,
        .buf = buffer ? wf_lower_in(l, 2).buf : -1,
        .p_out = wf_lower_out(l, 0).buf,
        .buf_out = buffer ? wf_lower_out(l, 1).buf : -1,
        .size = weft_dtype_size(p.dtype),
        .scalar = l->scalar,
        .nesterov = ((const sgd_attrs *)l->attrs)->nesterov != 0,
        .kernels = wf_optim_get(p.dtype, l->isa),
    };
    return wf_lowered(l, wf_lower_cut(l, a.kernels->name, run, &a, sizeof(a), &a.cut, 6.0));
}

const wf_op wf_op_sgd_update = {
    .name = "sgd_update",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 2,
    .attr_size = sizeof(sgd_attrs),
    .n_scalars = N_SCALARS,
    .flags = WF_OP_COMMIT,
    .layout_rule = WF_LAYOUT_PLAIN,
    .inplace = {1, 3},
    .infer = infer,
    .no_grad_reason = "an update is not differentiated",
    .lower = lower,
    .no_sample_reason = "it has no gradient; the value tests run it",
};

weft_status wf_record_sgd_update(weft_tensor *param, weft_tensor *grad, weft_tensor *buffer,
                                 const wf_sgd_update_opts *opts)
{
    const sgd_attrs attrs = {opts->nesterov};
    const double scalars[N_SCALARS] = {
        [LR] = opts->lr,
        [MOMENTUM] = opts->momentum,
        [DAMPENING] = opts->dampening,
        [WEIGHT_DECAY] = opts->weight_decay,
        [FIRST] = opts->first ? 1.0 : 0.0,
    };
    weft_tensor *out[WF_MAX_OUT];
    if (!param || !grad)
        return WEFT_ERR_INVALID;
    if (!wf_record(&wf_op_sgd_update, &attrs, scalars, buffer ? 3 : 2,
                   (weft_tensor *[]){param, grad, buffer}, out))
        return wf_step_status(weft_tensor_context(param));
    return wf_assign_all(buffer ? 2 : 1, (weft_tensor *[]){param, buffer}, out);
}
