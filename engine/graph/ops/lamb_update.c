/* lamb_update (internal): LAMB's new parameter and moments, in the commit phase. Behind the state
 * tensors it reads the sums of squares of the parameter and of the direction. lamb_direction makes
 * the latter before the commit phase without keeping the direction: computing it twice reads the
 * same bytes as storing it would, and needs no memory. */
#include <math.h>

#include "engine/graph/ops/update.h"
#include "kernels/reduce/reduce.h"

/* ---- lamb_direction: the sum of squares of the direction, an f64 scalar ---- */

static weft_status infer_direction(wf_infer *f)
{
    WF_TRY(wf_infer_float(f, 0));
    for (int i = 1; i < f->n_in; i++)
        WF_TRY(wf_infer_like_first(f, i));
    f->out[0] = (wf_type){WEFT_F64, {0, {0}}};
    return WEFT_OK;
}

typedef struct direction_args {
    wf_update_args u; /* of its outputs the first is the scalar */
    wf_buf sums;      /* one double for each tile */
} direction_args;

static weft_status run_direction(const wf_tile *t, const void *vargs, int64_t tile)
{
    const direction_args *a = vargs;
    const void *in[2 + WF_UPDATE_STATES];
    void *const out[1 + WF_UPDATE_STATES] = {t->scratch};
    const size_t n = wf_cut_count(&a->u.cut, tile);
    for (int i = 0; i < 4; i++)
        in[i] = wf_cut_ptr(&a->u.cut, t, a->u.in[i], a->u.size, tile);
    a->u.update(n, t->scalars + a->u.scalar, in, out);
    *(double *)wf_image(t, a->sums, tile) =
        a->u.size == sizeof(float) ? wf_sum_squares_f32(n, out[0]) : wf_sum_squares_f64(n, out[0]);
    return WEFT_OK;
}

static weft_status run_sum(const wf_tile *t, const void *vargs, int64_t tile)
{
    const direction_args *a = vargs;
    wf_tree tree;
    wf_tree_init(&tree);
    for (int64_t i = 0; i < a->u.cut.tiles; i++)
        wf_tree_push(&tree, *(const double *)wf_image(t, a->sums, i));
    *(double *)wf_data(t, a->u.out[0]) = wf_tree_sum(&tree);
    return WEFT_OK;
}

static weft_status lower_direction(wf_lower *l)
{
    const wf_operand p = wf_lower_in(l, 0);
    const wf_optim *kernels = wf_optim_get(p.dtype, l->isa);
    direction_args a = {.u = {.cut = wf_cut_elements(&p),
                              .out = {wf_lower_out(l, 0).buf},
                              .size = weft_dtype_size(p.dtype),
                              .scalar = l->scalar,
                              .update = kernels->update[WF_UPDATE_lamb_direction]}};
    const double total = (double)a.u.cut.total, tiles = (double)a.u.cut.tiles;
    a.sums = wf_lower_temp(l, a.u.cut.tiles, sizeof(double));
    if (a.sums < 0)
        return WEFT_ERR_NOMEM;
    for (int i = 0; i < 4; i++)
        a.u.in[i] = wf_lower_in(l, i).buf;
    wf_task *sums = wf_lower_task(l, kernels->name, run_direction, &a, sizeof(a), a.u.cut.tiles);
    for (int i = 0; i < 4; i++)
        wf_reads(sums, a.u.in[i], WF_WHOLE);
    wf_writes(sums, a.sums, WF_WHOLE);
    wf_scratch(sums, (size_t)a.u.cut.chunk * a.u.size);
    wf_cost(sums, 20.0 * total, 4.0 * total * (double)a.u.size);
    wf_task *sum = wf_lower_task(l, "ref", run_sum, &a, sizeof(a), 1);
    wf_reads(sum, a.sums, WF_WHOLE);
    wf_writes(sum, a.u.out[0], WF_WHOLE);
    wf_cost(sum, tiles, 8.0 * tiles);
    return sums ? wf_lowered(l, sum) : WEFT_ERR_NOMEM;
}

const wf_op wf_op_lamb_direction = {
    .name = "lamb_direction",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .n_scalars = WF_UPDATE_SCALARS(wf_lamb),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer_direction,
    .no_grad_reason = "an update is not differentiated",
    .lower = lower_direction,
    .no_sample_reason = "it has no gradient; the value tests run it",
};

/* ---- lamb_update ---- */

/* As timm's Lamb: 1 where there is no decay, and where a norm is 0. */
static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const wf_update_args *a = vargs;
    wf_lamb s = *(const wf_lamb *)(const void *)(t->scalars + a->scalar);
    const double p = sqrt(*(const double *)wf_data(t, a->norm[0]));
    const double u = sqrt(*(const double *)wf_data(t, a->norm[1]));
    if (s.weight_decay != 0 && p > 0 && u > 0)
        s.rate *= p / u;
    wf_update_tile(a, t, tile, &s);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    return wf_update_lower(l, WF_UPDATE_lamb, run, 20.0);
}

const wf_op wf_op_lamb_update = {
    .name = "lamb_update",
    .n_scalars = WF_UPDATE_SCALARS(wf_lamb),
    .lower = lower,
    WF_UPDATE_OP,
};

weft_status wf_record_lamb_update(weft_tensor *param, weft_tensor *grad, weft_tensor *const *state,
                                  const wf_lamb *settings)
{
    weft_tensor *const in[4] = {param, grad, state[0], state[1]};
    weft_tensor *norms[2] = {
        wf_record(&wf_op_sum_squares, NULL, NULL, 1, &param, NULL),
        wf_record(&wf_op_lamb_direction, NULL, (const double *)settings, 4, in, NULL)};
    if (!norms[0] || !norms[1])
        return wf_step_status(weft_tensor_context(param));
    return wf_update_record(&wf_op_lamb_update, settings, param, grad, state, 2, norms);
}
