/* ConvTranspose2d. Threading rule: the context's. */
#include <stdio.h>

#include "modules/internal.h"
#include "modules/layers/layers.h"

typedef struct conv_transpose2d {
    weft_module base;
    weft_tensor *weight; /* (in, out/groups, R, S) */
    weft_tensor *bias;   /* (out) or NULL */
    int in, out, kernel[2];
    weft_conv_transpose2d_opts opts; /* with 1 where the caller left 0 */
} conv_transpose2d;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    conv_transpose2d *self = (conv_transpose2d *)m;
    return weft_conv_transpose2d(x, self->weight, self->bias, &self->opts);
}

static void extra_repr(const weft_module *m, char *text, size_t size)
{
    const conv_transpose2d *self = (const conv_transpose2d *)m;
    const weft_conv_transpose2d_opts *o = &self->opts;
    char padding[48] = "", dilation[48] = "", output[64] = "", groups[32] = "";
    if (o->padding[0] != 0 || o->padding[1] != 0)
        snprintf(padding, sizeof(padding), ", padding=%s", wf_tuple(o->padding).text);
    if (o->dilation[0] != 1 || o->dilation[1] != 1)
        snprintf(dilation, sizeof(dilation), ", dilation=%s", wf_tuple(o->dilation).text);
    if (o->output_padding[0] != 0 || o->output_padding[1] != 0)
        snprintf(output, sizeof(output), ", output_padding=%s", wf_tuple(o->output_padding).text);
    if (o->groups != 1)
        snprintf(groups, sizeof(groups), ", groups=%d", o->groups);
    snprintf(text, size, "%d, %d, kernel_size=%s, stride=%s%s%s%s%s%s", self->in, self->out,
             wf_tuple(self->kernel).text, wf_tuple(o->stride).text, padding, dilation, output,
             groups, self->bias != NULL ? "" : ", bias=False");
}

static int64_t macs(const weft_module *m, weft_shape in, weft_shape out)
{
    const conv_transpose2d *self = (const conv_transpose2d *)m;
    return weft_shape_count(in) * (self->out / self->opts.groups) * self->kernel[0] *
           self->kernel[1];
}

static const weft_module_class conv_transpose2d_class = {
    .name = "ConvTranspose2d",
    .size = sizeof(conv_transpose2d),
    .version = 1,
    .forward = forward,
    .extra_repr = extra_repr,
    .macs = macs,
};

static weft_status check(weft_context *ctx, int in, int out, const int kernel[2],
                         const weft_conv_transpose2d_opts *o)
{
    if (in < 1 || out < 1 || kernel[0] < 1 || kernel[1] < 1)
        return wf_fail(ctx, WEFT_ERR_INVALID,
                       "ConvTranspose2d(%d, %d, %dx%d): channels and kernel must be at least 1", in,
                       out, kernel[0], kernel[1]);
    if (o->groups < 1 || in % o->groups != 0 || out % o->groups != 0)
        return wf_fail(ctx, WEFT_ERR_INVALID,
                       "ConvTranspose2d(%d, %d): channels do not divide by %d groups", in, out,
                       o->groups);
    for (int i = 0; i < 2; i++) {
        const int more = o->output_padding[i];
        if (o->stride[i] < 1 || o->padding[i] < 0 || o->dilation[i] < 1 || more < 0 ||
            (more >= o->stride[i] && more >= o->dilation[i]))
            return wf_fail(ctx, WEFT_ERR_INVALID,
                           "ConvTranspose2d: stride %d, padding %d, output padding %d, dilation "
                           "%d: out of range",
                           o->stride[i], o->padding[i], more, o->dilation[i]);
    }
    return WEFT_OK;
}

weft_module *weft_conv_transpose2d_create(weft_context *ctx, int in, int out, int kernel,
                                          const weft_conv_transpose2d_layer_opts *opts)
{
    if (ctx == NULL)
        return NULL;
    weft_conv_transpose2d_layer_opts none = {0};
    opts = opts != NULL ? opts : &none;
    int size[2] = {kernel, opts->kernel_w != 0 ? opts->kernel_w : kernel};
    weft_conv_transpose2d_opts o = {.groups = opts->groups != 0 ? opts->groups : 1};
    for (int i = 0; i < 2; i++) {
        o.stride[i] = opts->stride[i] != 0 ? opts->stride[i] : 1;
        o.padding[i] = opts->padding[i];
        o.output_padding[i] = opts->output_padding[i];
        o.dilation[i] = opts->dilation[i] != 0 ? opts->dilation[i] : 1;
    }
    if (check(ctx, in, out, size, &o) != WEFT_OK)
        return NULL;
    conv_transpose2d *self = weft_module_create(ctx, &conv_transpose2d_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    self->in = in;
    self->out = out;
    self->kernel[0] = size[0];
    self->kernel[1] = size[1];
    self->opts = o;
    weft_register_parameter(
        m, "weight", &self->weight,
        weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(in, out / o.groups, size[0], size[1])));
    wf_register_optional(m, "bias", &self->bias, !opts->no_bias, WEFT_SHAPE(out), 0.0);
    if (weft_module_ok(m) == NULL)
        return NULL;
    /* As in torch, dimension 1 of this weight counts as the fan in. */
    if (wf_init_weight_and_bias(self->weight, self->bias) != WEFT_OK) {
        weft_module_unref(m);
        return NULL;
    }
    return m;
}
