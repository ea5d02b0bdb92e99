/* A loss of one's own, the focal loss (Lin et al. 2017): custom_loss.py in C. A loss is a function of
 * ops; its gradient follows from theirs. */
#include <weft/weft.h>

static weft_tensor *focal_loss(weft_tensor *logits, weft_tensor *labels, double gamma)
{
    const weft_cross_entropy_opts each = {.reduction = WEFT_NONE};
    weft_tensor *ce = weft_cross_entropy(logits, labels, &each);
    weft_tensor *miss = weft_add_scalar(weft_neg(weft_exp(weft_neg(ce))), 1); /* 1 - p */
    return weft_mean(weft_mul(weft_pow(miss, gamma), ce), WEFT_ALL_DIMS, false);
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_tensor *logits = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(1, 3), (float[]){1, 3, 2});
    weft_tensor *labels = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(1), (int64_t[]){2});
    weft_set_requires_grad(logits, true);
    weft_tensor *loss = focal_loss(logits, labels, 2);
    weft_backward(loss);
    printf("loss %.4f, of the first logit %.4f\n", weft_item(loss),
           ((const float *)weft_tensor_const_data(weft_grad(logits)))[0]);
    weft_tensor_unref(logits);
    weft_tensor_unref(labels);
    return weft_context_finish(ctx, stderr);
}
