/* A module with two linear layers and a parameter of its own, used in a matrix product between them:
 * custom.py in C.
 *
 * In the program that this one follows, weight_custom is 20 x 5, and Linear(20, 5) comes behind it:
 * PyTorch refuses that. Here it is 20 x 20. */
#include <weft/weft.h>

WEFT_MODULE(custom_module, "CustomModule", weft_module *linear1, *linear2;
            weft_tensor * weight_custom;)

static void custom_module_init(custom_module *self, const void *args)
{
    weft_context *ctx = self->base.ctx;
    const int *n = args; /* inputs, hidden, outputs */
    WEFT_REGISTER_MODULE(self, linear1, weft_linear_create(ctx, n[0], n[1], NULL));
    WEFT_REGISTER_MODULE(self, linear2, weft_linear_create(ctx, n[1], n[2], NULL));
    WEFT_REGISTER_PARAMETER(self, weight_custom, weft_randn(ctx, WEFT_SHAPE(n[1], n[1])));
}

static weft_tensor *custom_module_forward(custom_module *self, weft_tensor *x)
{
    x = weft_relu(weft_call(self->linear1, x));
    x = weft_matmul(x, self->weight_custom, false, false);
    return weft_call(self->linear2, x);
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *model = weft_module_create(ctx, &custom_module_class, (int[]){10, 20, 5});
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(1, 10));
    weft_print_shape(weft_call(model, x), stdout);
    weft_tensor_unref(x);
    weft_module_unref(model);
    return weft_context_finish(ctx, stderr);
}
