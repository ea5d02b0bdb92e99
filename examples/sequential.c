/* Linear, ReLU, linear in a row: sequential.py in C. */
#include <weft/weft.h>

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *model =
        WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 10, 20, NULL), weft_relu_create(ctx),
                        weft_linear_create(ctx, 20, 5, NULL));
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(1, 10));
    weft_print_shape(weft_call(model, x), stdout);
    weft_tensor_unref(x);
    weft_module_unref(model);
    return weft_context_finish(ctx, stderr);
}
