/* Fine-tuning: all but a new last layer is frozen: fine_tuning.py in C. */
#include <stdio.h>
#include <string.h>

#include <weft/weft.h>

static bool equal(weft_tensor *a, weft_tensor *b)
{
    size_t bytes = sizeof(float) * (size_t)weft_shape_count(weft_tensor_shape(a));
    return memcmp(weft_tensor_const_data(a), weft_tensor_const_data(b), bytes) == 0;
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *net = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 4, 8, NULL),
                                       weft_relu_create(ctx), weft_linear_create(ctx, 8, 10, NULL));
    weft_module_requires_grad(net, false);
    weft_register_module(net, "2", NULL, weft_linear_create(ctx, 8, 3, NULL));
    /* Frozen parameters get no gradient, so the optimizer leaves them alone. */
    weft_optimizer *sgd = weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.1});

    weft_module *before = weft_module_clone(net);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(5, 4));
    weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(5), (int64_t[]){0, 1, 2, 0, 1});
    weft_backward(weft_cross_entropy(weft_call(net, x), y, NULL));
    weft_optimizer_step(sgd);
    weft_tensor_list state = WEFT_TENSOR_LIST_INIT;
    weft_state_dict(net, &state);
    for (int i = 0; i < state.n; i++) {
        weft_tensor *t = state.item[i].tensor;
        char shape[64];
        printf("%s %s %s\n", state.item[i].name,
               weft_shape_format(weft_tensor_shape(t), shape, sizeof(shape)),
               equal(t, weft_get_parameter(before, state.item[i].name)) ? "frozen" : "trained");
    }
    weft_status failed = weft_print_error(ctx, stderr);
    weft_tensor_list_done(&state);
    weft_tensor_unref(x);
    weft_tensor_unref(y);
    weft_optimizer_destroy(sgd);
    weft_module_unref(before);
    weft_module_unref(net);
    weft_context_destroy(ctx);
    return failed;
}
