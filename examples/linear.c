/* A module with one linear layer: linear.py in C. */
#include <weft/weft.h>

WEFT_MODULE(net, "Net", weft_module *linear;)

static void net_init(net *self, const void *args)
{
    WEFT_REGISTER_MODULE(self, linear, weft_linear_create(self->base.ctx, 10, 5, NULL));
}

static weft_tensor *net_forward(net *self, weft_tensor *x)
{
    return weft_call(self->linear, x);
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *model = weft_module_create(ctx, &net_class, NULL);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(1, 10));
    weft_print_shape(weft_call(model, x), stdout);
    weft_tensor_unref(x);
    weft_module_unref(model);
    return weft_context_finish(ctx, stderr);
}
