/* A layer with a parameter and an option of its own, inside a Sequential: custom_layer.py in C. */
#include <stdio.h>

#include <weft/weft.h>

typedef struct layer_scale {
    weft_module base;
    int channels;
    weft_tensor *gain;
} layer_scale;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    return weft_mul(x, ((layer_scale *)m)->gain);
}

static void extra_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "%d", ((const layer_scale *)m)->channels);
}

static const weft_module_class layer_scale_class = {.name = "LayerScale",
                                                    .size = sizeof(layer_scale),
                                                    .forward = forward,
                                                    .extra_repr = extra_repr};

static weft_module *layer_scale_create(weft_context *ctx, int channels, double init)
{
    layer_scale *self = weft_module_create(ctx, &layer_scale_class);
    if (self == NULL)
        return NULL;
    self->channels = channels;
    weft_register_parameter(&self->base, "gain", &self->gain,
                            weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(channels, 1, 1), init));
    return weft_module_ok(self);
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_conv2d_layer_opts same = {.padding = {1, 1}};
    weft_module *net = WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 3, 8, 3, &same),
                                       layer_scale_create(ctx, 8, 0.1));
    weft_module_print(net, stdout);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4, 4), 1);
    weft_backward(weft_sum(weft_call(net, x), WEFT_ALL_DIMS, false));
    weft_tensor_list parameters = WEFT_TENSOR_LIST_INIT;
    weft_parameters(net, 0, &parameters);
    for (int i = 0; i < parameters.n; i++) {
        weft_tensor *grad = weft_grad(parameters.item[i].tensor);
        char shape[64];
        printf("\n%s %s", parameters.item[i].name,
               weft_shape_format(weft_tensor_shape(grad), shape, sizeof(shape)));
    }
    puts("");
    weft_status failed = weft_print_error(ctx, stderr);
    weft_tensor_list_done(&parameters);
    weft_tensor_unref(x);
    weft_module_unref(net);
    weft_context_destroy(ctx);
    return failed;
}
