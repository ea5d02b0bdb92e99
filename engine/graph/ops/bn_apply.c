/* bn_apply: y = x*scale + shift with scale = gamma*invstd and shift = beta - mean*scale.
 *
 * bn_act: the same, then an optional residual addition and an activation. For ReLU and ReLU6 it
 * also writes the mask of where the derivative is 1. The inputs of both are x, mean, invstd, gamma
 * and beta; bn_act may have a sixth, the residual. See batch_norm.h. */
#include "engine/graph/ops/batch_norm.h"

typedef struct apply_args {
    wf_bn_splits splits;
    wf_buf in[6], y, mask; /* in[5] and mask: -1 when there is none */
    wf_norm_f f;
    const wf_norm_fns *fns;
} apply_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t i)
{
    const apply_args *a = vargs;
    const wf_bn_tile b = wf_bn_tile_of(&a->splits, t, i);
    wf_norm_apply p = {.act = b.act,
                       .f = a->f,
                       .mean = wf_bn_channels(&b, a->in[1]),
                       .invstd = wf_bn_channels(&b, a->in[2]),
                       .gamma = wf_bn_channels(&b, a->in[3]),
                       .beta = wf_bn_channels(&b, a->in[4]),
                       .x = wf_bn_image(&b, a->in[0]),
                       .residual = wf_bn_image(&b, a->in[5]),
                       .y = wf_bn_image(&b, a->y),
                       .mask = wf_bn_mask(&b, a->mask)};
    a->fns->apply(&p);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0);
    const bool act = l->op == &wf_op_bn_act;
    apply_args a = {.splits = wf_bn_splits_of(&x),
                    .in = {-1, -1, -1, -1, -1, -1},
                    .y = wf_lower_out(l, 0).buf,
                    .mask = l->n_out == 2 ? wf_lower_out(l, 1).buf : -1,
                    .f = (wf_norm_f)((const wf_bn_apply_attrs *)l->attrs)->f,
                    .fns = wf_bn_kernels(l, &x)};
    if (!a.fns)
        return WEFT_ERR_UNSUPPORTED;
    wf_task *task;
    for (int i = 0; i < l->n_in; i++)
        a.in[i] = wf_lower_in(l, i).buf;
    task = wf_lower_task(l, a.fns->name, run, &a, sizeof a, wf_bn_tiles(&a.splits));
    for (int i = 0; i < l->n_in; i++)
        wf_reads(task, a.in[i], i == 0 || i == 5 ? a.splits.access : WF_WHOLE);
    wf_writes(task, a.y, a.splits.access);
    if (a.mask >= 0)
        wf_writes(task, a.mask, wf_bn_mask_access(&a.splits));
    const double n = (double)wf_operand_count(&x), size = (double)weft_dtype_size(x.dtype);
    wf_cost(task, (act ? 4 : 2) * n, (a.in[5] >= 0 ? 3 : 2) * n * size);
    return wf_lowered(l, task);
}

static weft_status infer(wf_infer *f)
{
    const wf_bn_apply_attrs *a = f->attrs;
    char text[WF_SHAPE_TEXT];
    if (f->n_in != (a->residual ? 6 : 5))
        return wf_infer_fail(f, WEFT_ERR_INVALID, "has %d inputs", f->n_in);
    WF_TRY(wf_bn_infer_x(f));
    WF_TRY(wf_bn_infer_channels(f, 1, 5));
    const wf_type *x = &f->in[0];
    if (a->residual && (f->in[5].dtype != x->dtype || !weft_shape_equal(f->in[5].shape, x->shape)))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "the residual is %s %s, unlike the input",
                             weft_dtype_name(f->in[5].dtype),
                             weft_shape_format(f->in[5].shape, text, sizeof text));
    if (wf_norm_recomputes((wf_norm_f)a->f)) {
        if (a->residual)
            return wf_infer_fail(f, WEFT_ERR_INVALID,
                                 "this activation cannot follow a residual addition");
        f->n_out = 1;
    }
    f->out[0] = *x;
    if (f->n_out == 2)
        f->out[1] = (wf_type){
            WEFT_U8, WEFT_SHAPE(wf_bn_split_count(&x->shape), wf_bn_mask_bytes(&x->shape))};
    return WEFT_OK;
}

/* In training, dx also contains the gradient through the batch statistics. dgamma and dbeta are the
 * sums that it needs. */
static weft_status grad(wf_grad *g)
{
    const wf_bn_apply_attrs *attrs = g->attrs;
    weft_tensor *mask = g->n_out == 2 ? g->out[1] : NULL;
    weft_tensor *x = g->in[0], *mean = g->in[1], *invstd = g->in[2], *gamma = g->in[3];
    weft_tensor *dy = g->dout[0], *sums[WF_MAX_OUT] = {0}, *out[WF_MAX_OUT] = {0};
    const bool residual = attrs->residual && g->needs[5], dx = g->needs[0] || residual;
    const bool again = wf_norm_recomputes((wf_norm_f)attrs->f);
    const bool training = attrs->training && g->needs[0];
    if (g->needs[3] || g->needs[4] || (g->needs[0] && attrs->training) || again) {
        const wf_bn_apply_attrs reduce = {.f = again ? attrs->f : WF_NORM_LINEAR};
        weft_tensor *in[] = {x, dy, mean, invstd, again ? gamma : mask, g->in[4]};
        if (!wf_record(&wf_op_bn_backward_reduce, &reduce, NULL,
                       again  ? 6
                       : mask ? 5
                              : 4,
                       in, sums))
            return wf_step_status(g->ctx);
        g->din[3] = sums[0];
        g->din[4] = sums[1];
        dy = again ? sums[2] : dy;
    }
    if (!dx)
        return WEFT_OK;
    wf_bn_apply_attrs back = {.training = training, .residual = residual};
    weft_tensor *train[] = {dy, invstd, gamma, x, mean, sums[0], sums[1], mask};
    weft_tensor *eval[] = {dy, invstd, gamma, mask};
    if (!wf_record(&wf_op_bn_backward_apply, &back, NULL, (training ? 7 : 3) + (mask != NULL),
                   training ? train : eval, out))
        return wf_step_status(g->ctx);
    g->din[0] = out[0];
    if (residual)
        g->din[5] = out[1];
    return WEFT_OK;
}

/* ---- sample inputs: x, gamma, beta(, residual), and the running statistics for evaluation ---- */

typedef struct sample_user {
    wf_norm_f f;
    bool residual, training;
} sample_user;

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const sample_user *u = user;
    const weft_batch_norm_opts opts = {.training = u->training, .eps = 1e-3, .momentum = 0.1};
    weft_tensor *mean = u->training ? NULL : in[n - 2], *var = u->training ? NULL : in[n - 1];
    if (u->f == WF_NORM_LINEAR)
        return weft_batch_norm(in[0], in[1], in[2], mean, var, NULL, &opts);
    return wf_record_batch_norm_act(in[0], in[1], in[2], mean, var, NULL,
                                    u->residual ? in[3] : NULL, u->f, &opts);
}

static bool sample_from(weft_context *ctx, const wf_sample_case *cases, int n, int index,
                        wf_sample *s)
{
    if (!wf_sample_from(ctx, cases, n, index, s))
        return false;
    const sample_user *u = cases[index].user;
    if (!u->training) {
        const weft_shape channels = cases[index].shape[1];
        s->in[s->n_in++] = weft_tensor_full(ctx, WEFT_F64, channels, 0.2);
        s->in[s->n_in++] = weft_tensor_full(ctx, WEFT_F64, channels, 1.7);
    }
    return true;
}

#define IMAGES                                                                                     \
    {                                                                                              \
        {4, {3, 5, 2, 3}}, {1, {5}}, {1, {5}},                                                     \
        {                                                                                          \
            4,                                                                                     \
            {                                                                                      \
                3, 5, 2, 3                                                                         \
            }                                                                                      \
        }                                                                                          \
    }
#define ROWS                                                                                       \
    {                                                                                              \
        {2, {7, 4}}, {1, {4}}, {1, {4}},                                                           \
        {                                                                                          \
            2,                                                                                     \
            {                                                                                      \
                7, 4                                                                               \
            }                                                                                      \
        }                                                                                          \
    }
#define MANY_ROWS                                                                                  \
    {                                                                                              \
        {2, {70, 2}}, {1, {2}}, {1, {2}},                                                          \
        {                                                                                          \
            2,                                                                                     \
            {                                                                                      \
                70, 2                                                                              \
            }                                                                                      \
        }                                                                                          \
    }

static bool sample_apply(weft_context *ctx, int index, wf_sample *s)
{
    static const sample_user train = {.training = true}, eval = {.training = false};
    static const wf_sample_case cases[] = {
        {"training", 3, IMAGES, apply, &train},
        {"training, rows", 3, ROWS, apply, &train},
        {"training, two splits of rows", 3, MANY_ROWS, apply, &train},
        {"evaluation", 3, IMAGES, apply, &eval},
        {"evaluation, rows", 3, ROWS, apply, &eval},
    };
    return sample_from(ctx, cases, sizeof cases / sizeof *cases, index, s);
}

static bool sample_act(weft_context *ctx, int index, wf_sample *s)
{
    static const sample_user train = {WF_NORM_RELU, .training = true}, eval = {WF_NORM_RELU};
    static const sample_user train_res = {WF_NORM_RELU, .training = true, .residual = true};
    static const sample_user eval_res = {WF_NORM_RELU, .residual = true};
    static const sample_user relu6 = {WF_NORM_RELU6, .training = true};
    static const sample_user silu = {WF_NORM_SILU, .training = true}, silu_eval = {WF_NORM_SILU};
    static const sample_user hardswish = {WF_NORM_HARDSWISH, .training = true};
    static const wf_sample_case cases[] = {
        {"training", 3, IMAGES, apply, &train},
        {"training, residual", 4, IMAGES, apply, &train_res},
        {"training, two splits of rows", 4, MANY_ROWS, apply, &train_res},
        {"evaluation", 3, IMAGES, apply, &eval},
        {"evaluation, residual, rows", 4, ROWS, apply, &eval_res},
        {"ReLU6", 3, IMAGES, apply, &relu6},
        {"SiLU", 3, IMAGES, apply, &silu},
        {"SiLU, evaluation", 3, IMAGES, apply, &silu_eval},
        {"Hardswish, rows", 3, ROWS, apply, &hardswish},
    };
    return sample_from(ctx, cases, sizeof cases / sizeof *cases, index, s);
}

const wf_op wf_op_bn_apply = {
    .name = "bn_apply",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_bn_apply_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample_apply,
};

const wf_op wf_op_bn_act = {
    .name = "bn_act",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 2, /* y, mask; the plan drops the mask where no node reads it */
    .attr_size = sizeof(wf_bn_apply_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_BF16 | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .inplace = {1},
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample_act,
};
