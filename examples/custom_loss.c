/* A loss of one's own: cross entropy and a penalty on large logits: custom_loss.py in C. A loss is
 * a function of ops; its gradient follows from theirs. */
#include <stdio.h>

#include <weft/weft.h>

static weft_tensor *loss_fn(weft_tensor *logits, weft_tensor *labels, double penalty)
{
    weft_tensor *square = weft_mean(weft_mul(logits, logits), WEFT_ALL_DIMS, false);
    return weft_add(weft_cross_entropy(logits, labels, NULL), weft_scale(square, penalty));
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_tensor *logits =
        weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(2, 3), (float[]){1, 2, 3, 0.5f, 0, -0.5f});
    weft_tensor *labels = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(2), (int64_t[]){2, 0});
    weft_set_requires_grad(logits, true);
    weft_tensor *loss = loss_fn(logits, labels, 0.1);
    weft_backward(loss);
    printf("loss %.4f\n", weft_item(loss));
    float g[2][3] = {{0}};
    weft_read(weft_grad(logits), g, sizeof(g));
    for (int i = 0; i < 2; i++)
        printf("%.4f %.4f %.4f\n", g[i][0], g[i][1], g[i][2]);
    weft_status failed = weft_print_error(ctx, stderr);
    weft_tensor_unref(logits);
    weft_tensor_unref(labels);
    weft_context_destroy(ctx);
    return failed;
}
