/* Losses that record other ops: mean squared and absolute error, binary cross-entropy of logits,
 * and cross-entropy with probabilities as labels. They have no op of their own, so targets and
 * weights get gradients too. */
#include "engine/graph/ops/losses.h"

#include <math.h>

#include "engine/graph/ops/internal.h"

bool wf_reduction_known(weft_context *ctx, const char *op, weft_reduction reduction)
{
    if (reduction >= WEFT_MEAN && reduction <= WEFT_NONE)
        return true;
    wf_fail_step(ctx, WEFT_ERR_INVALID, "%s: no reduction has the number %d", op, (int)reduction);
    return false;
}

weft_tensor *wf_reduce_losses(const char *op, weft_tensor *losses, weft_reduction reduction)
{
    if (!losses || !wf_reduction_known(weft_tensor_context(losses), op, reduction))
        return NULL;
    if (reduction == WEFT_NONE)
        return losses;
    return reduction == WEFT_SUM ? weft_sum(losses, WEFT_ALL_DIMS, false)
                                 : weft_mean(losses, WEFT_ALL_DIMS, false);
}

/* x - y. The shapes must be equal, because broadcasting the target of a loss is mostly a
 * mistake. */
static weft_tensor *difference(const char *op, weft_tensor *x, weft_tensor *y)
{
    return wf_same_shapes(op, x, y) ? weft_add(x, weft_scale(y, -1)) : NULL;
}

bool wf_same_shapes(const char *op, weft_tensor *x, weft_tensor *y)
{
    char a[WF_SHAPE_TEXT], b[WF_SHAPE_TEXT];
    if (!wf_record_context(op, 2, 2, (weft_tensor *[]){x, y}))
        return false;
    weft_shape xs = weft_tensor_shape(x), ys = weft_tensor_shape(y);
    if (weft_shape_equal(xs, ys))
        return true;
    wf_fail_step(weft_tensor_context(x), WEFT_ERR_SHAPE, "%s: input is %s, target is %s", op,
                 weft_shape_format(xs, a, sizeof(a)), weft_shape_format(ys, b, sizeof(b)));
    return false;
}

weft_tensor *weft_mse_loss(weft_tensor *x, weft_tensor *target, weft_reduction reduction)
{
    WF_SAY("mse_loss", 2, x, target);
    weft_tensor *d = difference("mse_loss", x, target);
    return wf_reduce_losses("mse_loss", weft_mul(d, d), reduction);
}

weft_tensor *weft_l1_loss(weft_tensor *x, weft_tensor *target, weft_reduction reduction)
{
    WF_SAY("l1_loss", 2, x, target);
    return wf_reduce_losses("l1_loss", weft_abs(difference("l1_loss", x, target)), reduction);
}

/* 1 - x, in x's type and shape. */
static weft_tensor *one_minus(weft_tensor *x)
{
    if (!x)
        return NULL;
    return weft_add(weft_scale(x, -1), wf_record_fill(weft_tensor_context(x), wf_operand_dtype(x),
                                                      weft_tensor_shape(x), 1.0));
}

/* The loss is (1 - t) softplus(x) + pos_weight t softplus(-x). With p = sigmoid(x) this equals
 * -(1-t) log(1-p) - pos_weight t log p, but it does not overflow. Neither the loss nor its
 * gradient, (1 - t) sigmoid(x) - pos_weight t sigmoid(-x), subtracts large numbers, so both keep
 * their digits for large x of either sign. */
weft_tensor *weft_bce_with_logits(weft_tensor *x, weft_tensor *target, const weft_bce_opts *opts)
{
    WF_SAY("bce_with_logits", 2, x, target);
    static const char *const op = "bce_with_logits";
    weft_bce_opts o = {0};
    if (opts)
        o = *opts;
    if (!wf_same_shapes(op, x, target))
        return NULL;
    weft_tensor *negative = weft_mul(one_minus(target), weft_softplus(x, 1, INFINITY));
    weft_tensor *positive = weft_mul(target, weft_softplus(weft_scale(x, -1), 1, INFINITY));
    if (o.pos_weight)
        positive = weft_mul(positive, o.pos_weight);
    weft_tensor *losses = weft_add(negative, positive);
    if (o.weight)
        losses = weft_mul(losses, o.weight);
    return wf_reduce_losses(op, losses, o.reduction);
}

/* With probabilities as labels: -sum over k of target[k] weight[k] log p[k]. */
weft_tensor *wf_cross_entropy_of_probabilities(weft_tensor *x, weft_tensor *target,
                                               const weft_cross_entropy_opts *o)
{
    static const char *const op = "cross_entropy";
    weft_context *ctx = weft_tensor_context(x);
    weft_shape shape = weft_tensor_shape(x);
    if (!wf_same_shapes(op, x, target))
        return NULL;
    if (shape.rank != 2 || o->ignore_index) {
        wf_fail_step(ctx, WEFT_ERR_INVALID,
                     "%s: labels that are probabilities need logits (N, K) and no ignore_index",
                     op);
        return NULL;
    }
    if (shape.dim[0] > 0 && shape.dim[1] == 0) {
        char text[WF_SHAPE_TEXT];
        wf_fail_step(ctx, WEFT_ERR_SHAPE, "%s: logits are %s: there are labels but no classes", op,
                     weft_shape_format(shape, text, sizeof(text)));
        return NULL;
    }
    if (o->label_smoothing > 0) {
        weft_tensor *even = wf_record_fill(ctx, wf_operand_dtype(x), shape,
                                           o->label_smoothing / (double)shape.dim[1]);
        target = weft_add(weft_scale(target, 1 - o->label_smoothing), even);
    }
    if (o->weight)
        target = weft_mul(target, o->weight);
    weft_tensor *rows =
        weft_sum(weft_mul(weft_log_softmax(x, WEFT_DIMS(1)), target), WEFT_DIMS(1), false);
    return wf_reduce_losses(op, weft_scale(rows, -1), o->reduction);
}
