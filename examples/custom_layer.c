/* A layer with a parameter and an option of its own, inside a Sequential: custom_layer.py in C. */
#include <weft/weft.h>

typedef struct layer_scale {
    weft_module base;
    int channels;
    weft_tensor *gain;
} layer_scale;

static void extra_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "%d", ((const layer_scale *)m)->channels);
}

WEFT_MODULE_CLASS(layer_scale, "LayerScale", .extra_repr = extra_repr)

static void layer_scale_init(layer_scale *self, const void *args)
{
    self->channels = *(const int *)args;
    weft_shape shape = WEFT_SHAPE(self->channels, 1, 1);
    WEFT_REGISTER_PARAMETER(self, gain, weft_tensor_full(self->base.ctx, WEFT_F32, shape, 0.1));
}

static weft_tensor *layer_scale_forward(layer_scale *self, weft_tensor *x)
{
    return weft_mul(x, self->gain);
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *net = WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 3, 8, 3, NULL),
                                       weft_module_create(ctx, &layer_scale_class, &(int){8}));
    weft_module_print(net, stdout);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4, 4), 1);
    weft_backward(weft_sum(weft_call(net, x), WEFT_ALL_DIMS, false));
    puts("");
    weft_print_shape(weft_grad(weft_get_parameter(net, "1.gain")), stdout);
    weft_tensor_unref(x);
    weft_module_unref(net);
    return weft_context_finish(ctx, stderr);
}
