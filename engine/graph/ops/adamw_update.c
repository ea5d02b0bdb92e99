/* adamw_update (internal): new parameter and moments, in the commit phase. Inputs: parameter,
 * gradient, first and second moment. See Note [Commit phase]. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/internal.h"
#include "kernels/optim/optim.h"

enum { LR, BETA1, BETA2, EPS, WEIGHT_DECAY, STEP, N_SCALARS };

typedef struct adamw_args {
    wf_cut cut;
    wf_buf in[4], out[3]; /* parameter, gradient, moments; parameter, moments */
    size_t size;
    int scalar;
    const wf_optim *kernels;
} adamw_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const adamw_args *a = vargs;
    const double *s = t->scalars + a->scalar;
    wf_adamw adamw = {
        .lr = s[LR],
        .beta1 = s[BETA1],
        .beta2 = s[BETA2],
        .eps = s[EPS],
        .weight_decay = s[WEIGHT_DECAY],
        .step = (int64_t)s[STEP],
    };
    const void *in[4];
    void *out[3];
    for (int i = 0; i < 4; i++)
        in[i] = wf_cut_ptr(&a->cut, t, a->in[i], a->size, tile);
    for (int o = 0; o < 3; o++)
        out[o] = wf_cut_ptr(&a->cut, t, a->out[o], a->size, tile);
    a->kernels->adamw(wf_cut_count(&a->cut, tile), &adamw, in[0], in[1], in[2], in[3], out[0],
                      out[1], out[2]);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand p = wf_lower_in(l, 0);
    adamw_args a = {
        .cut = wf_cut_elements(&p),
        .size = weft_dtype_size(p.dtype),
        .scalar = l->scalar,
        .kernels = wf_optim_get(p.dtype, l->isa),
    };
    for (int i = 0; i < 4; i++)
        a.in[i] = wf_lower_in(l, i).buf;
    for (int o = 0; o < 3; o++)
        a.out[o] = wf_lower_out(l, o).buf;
    return wf_lowered(l, wf_lower_cut(l, a.kernels->name, run, &a, sizeof(a), &a.cut, 16.0));
}

const wf_op wf_op_adamw_update = {
    .name = "adamw_update",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 3,
    .n_scalars = N_SCALARS,
    .flags = WF_OP_COMMIT,
    .layout_rule = WF_LAYOUT_PLAIN,
    .inplace = {1, 3, 4},
    .infer = wf_infer_same,
    .no_grad_reason = "an update is not differentiated",
    .lower = lower,
    .no_sample_reason = "it has no gradient; the value tests run it",
};

weft_status wf_record_adamw_update(weft_tensor *param, weft_tensor *grad, weft_tensor *m,
                                   weft_tensor *v, const wf_adamw_update_opts *opts)
{
    const double scalars[N_SCALARS] = {
        [LR] = opts->lr,
        [BETA1] = opts->beta1,
        [BETA2] = opts->beta2,
        [EPS] = opts->eps,
        [WEIGHT_DECAY] = opts->weight_decay,
        [STEP] = (double)opts->step,
    };
    weft_tensor *out[WF_MAX_OUT];
    if (!param || !grad)
        return WEFT_ERR_INVALID;
    if (!wf_record(&wf_op_adamw_update, NULL, scalars, 4, (weft_tensor *[]){param, grad, m, v},
                   out))
        return wf_step_status(weft_tensor_context(param));
    return wf_assign_all(3, (weft_tensor *[]){param, m, v}, out);
}
