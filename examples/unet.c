/* A small U-Net (Ronneberger et al. 2015): down, up by a transposed convolution, and a skip connection
 * between; two steps of SGD on a segmentation of two classes. unet.py in C. */
#include <weft/weft.h>

WEFT_MODULE(unet, "UNet", weft_module *down, *bottom, *up, *join, *head;)

static void unet_init(unet *self, const void *args)
{
    weft_context *ctx = self->base.ctx;
    const int n = *(const int *)args; /* channels at full size */
    weft_conv2d_layer_opts same = {.padding = {1, 1}};
    weft_conv_transpose2d_layer_opts twice = {.stride = {2, 2}};
    WEFT_REGISTER_MODULE(self, down, weft_conv2d_create(ctx, 1, n, 3, &same));
    WEFT_REGISTER_MODULE(self, bottom, weft_conv2d_create(ctx, n, 2 * n, 3, &same));
    WEFT_REGISTER_MODULE(self, up, weft_conv_transpose2d_create(ctx, 2 * n, n, 2, &twice));
    WEFT_REGISTER_MODULE(self, join, weft_conv2d_create(ctx, 2 * n, n, 3, &same));
    WEFT_REGISTER_MODULE(self, head, weft_conv2d_create(ctx, n, 2, 1, NULL));
}

static weft_tensor *unet_forward(unet *self, weft_tensor *x)
{
    const weft_pool2d_opts half = {.kernel = {2, 2}};
    weft_tensor *skip = weft_relu(weft_call(self->down, x));
    x = weft_relu(weft_call(self->bottom, weft_max_pool2d(skip, &half)));
    x = weft_concat((weft_tensor *[]){weft_call(self->up, x), skip}, 2, 1);
    return weft_call(self->head, weft_relu(weft_call(self->join, x)));
}

/* Values that the twin has, too: no random numbers. */
static void fill(weft_tensor *t)
{
    float *value = weft_tensor_data(t);
    for (int64_t i = 0; value != NULL && i < weft_shape_count(weft_tensor_shape(t)); i++)
        value[i] = (float)(i * 7 % 11 - 5) / 20;
}

int main(void)
{
    weft_context *ctx = weft_context_default();
    weft_module *net = weft_module_create(ctx, &unet_class, &(int){8});
    weft_tensor_list parameters = WEFT_TENSOR_LIST_INIT;
    weft_parameters(net, 0, &parameters);
    for (int i = 0; i < parameters.n; i++)
        fill(parameters.item[i].tensor);
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 1, 8, 8));
    weft_tensor *labels = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(2 * 8 * 8));
    fill(x);
    weft_optimizer *sgd = weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.1});
    for (int step = 0; step < 2; step++) {
        weft_optimizer_zero_grad(sgd);
        weft_tensor *y = weft_call(net, x);
        weft_tensor *rows = weft_reshape(weft_permute(y, WEFT_DIMS(0, 2, 3, 1)), WEFT_SHAPE(-1, 2));
        weft_tensor *loss = weft_cross_entropy(rows, labels, NULL);
        if (step == 0)
            weft_print_shape(y, stdout);
        weft_backward(loss);
        weft_optimizer_step(sgd);
        printf("loss %.4f\n", weft_item(loss));
    }
    weft_tensor_list_done(&parameters);
    weft_optimizer_destroy(sgd);
    weft_tensor_unref(x);
    weft_tensor_unref(labels);
    weft_module_unref(net);
    return weft_context_finish(ctx, stderr);
}
