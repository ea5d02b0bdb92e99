/* What GoogLeNet and Inception v3 share: BasicConv2d, initial values, and the conversion of inputs
 * with another normalisation. Threading rule: the context's. */
#include "engine/step/execute.h"
#include "modules/internal.h"
#include "modules/models/models.h"
#include "weft/init.h"
#include "weft/layers.h"

/* ---- BasicConv2d: convolution, BatchNorm, ReLU ---- */

typedef struct basic_conv2d {
    weft_module base;
    weft_module *conv, *bn;
} basic_conv2d;

static weft_tensor *basic_conv2d_forward(weft_module *m, weft_tensor *x)
{
    basic_conv2d *self = (basic_conv2d *)m;
    return weft_relu(weft_call(self->bn, weft_call(self->conv, x)));
}

static const weft_module_class basic_conv2d_class = {.name = "BasicConv2d",
                                                     .size = sizeof(basic_conv2d),
                                                     .version = 1,
                                                     .forward = basic_conv2d_forward};

weft_module *wf_basic_conv2d_create(weft_context *ctx, int in, int out, int kernel,
                                    const weft_conv2d_layer_opts *opts)
{
    basic_conv2d *self = weft_module_create(ctx, &basic_conv2d_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    weft_conv2d_layer_opts o = opts != NULL ? *opts : (weft_conv2d_layer_opts){0};
    o.no_bias = true;
    bool was = weft_init_skip_begin(ctx); /* wf_init_trunc_normal draws the weight */
    weft_register_module(m, "conv", &self->conv, weft_conv2d_create(ctx, in, out, kernel, &o));
    weft_init_skip_end(ctx, was);
    weft_register_module(m, "bn", &self->bn,
                         weft_batch_norm2d_create(
                             ctx, out, &(weft_batch_norm2d_opts){.eps = 1e-3, .momentum = 0.1}));
    return weft_module_ok(m);
}

weft_status wf_init_trunc_normal(weft_module *m, double std)
{
    if (!wf_is_layer(m, "Conv2d") && !wf_is_layer(m, "Linear"))
        return WEFT_OK;
    return weft_init_trunc_normal(weft_get_parameter(m, "weight"), 0, std, -2, 2);
}

/* ---- transform_input ---- */

/* Images come normalised by ImageNet's mean and deviation, but the networks were trained on pixels
 * with mean 0.5 and deviation 0.5. Writes the factors in the buffers' type, so that f64 has all
 * digits. */
static weft_status write_numbers(wf_input_transform *t)
{
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    void *scale = wf_tensor_writable(t->scale), *shift = wf_tensor_writable(t->shift);
    if (scale == NULL || shift == NULL)
        return WEFT_ERR_STATE;
    t->dtype = weft_tensor_dtype(t->scale);
    for (int c = 0; c < 3; c++) {
        double by = std[c] / 0.5, add = (mean[c] - 0.5) / 0.5;
        if (t->dtype == WEFT_F64) {
            ((double *)scale)[c] = by;
            ((double *)shift)[c] = add;
        } else {
            ((float *)scale)[c] = (float)by;
            ((float *)shift)[c] = (float)add;
        }
    }
    return WEFT_OK;
}

weft_status wf_register_input_transform(weft_module *m, wf_input_transform *t, int channels)
{
    if (channels != 3)
        return wf_fail(m->ctx, WEFT_ERR_INVALID, "transform_input: images have %d channels, not 3",
                       channels);
    weft_shape shape = WEFT_SHAPE(3, 1, 1);
    WF_TRY(weft_register_buffer(m, "input_scale", &t->scale,
                                weft_tensor_create(m->ctx, WEFT_F32, shape), false));
    WF_TRY(weft_register_buffer(m, "input_shift", &t->shift,
                                weft_tensor_create(m->ctx, WEFT_F32, shape), false));
    return write_numbers(t);
}

weft_tensor *wf_transform_input(wf_input_transform *t, weft_tensor *x)
{
    if (t->scale == NULL)
        return x;
    if (weft_tensor_dtype(t->scale) != t->dtype && write_numbers(t) != WEFT_OK)
        return NULL;
    return weft_add(weft_mul(x, t->scale), t->shift);
}
