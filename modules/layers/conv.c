/* Conv2d and ConvTranspose2d. Threading rule: the context's. */
#include <stdio.h>

#include "modules/internal.h"
#include "modules/layers/layers.h"

typedef struct conv {
    weft_module base;
    weft_tensor
        *weight;       /* Conv2d: (out, in/groups, R, S), ConvTranspose2d: (in, out/groups, R, S) */
    weft_tensor *bias; /* (out) or NULL */
    int in, out, kernel[2];
    weft_conv_transpose2d_opts opts; /* with 1 where the caller left 0; Conv2d pads no output */
} conv;

static weft_tensor *conv2d_forward(weft_module *m, weft_tensor *x)
{
    const conv *self = (const conv *)m;
    const weft_conv_transpose2d_opts *o = &self->opts;
    return weft_conv2d(x, self->weight, self->bias,
                       &(weft_conv2d_opts){.stride = {o->stride[0], o->stride[1]},
                                           .padding = {o->padding[0], o->padding[1]},
                                           .dilation = {o->dilation[0], o->dilation[1]},
                                           .groups = o->groups});
}

static weft_tensor *transposed_forward(weft_module *m, weft_tensor *x)
{
    const conv *self = (const conv *)m;
    return weft_conv_transpose2d(x, self->weight, self->bias, &self->opts);
}

typedef struct option_text {
    char text[64];
} option_text;

/* ", padding=(1, 2)"; nothing where both are `usual`. */
static option_text option(const char *name, const int pair[2], int usual)
{
    option_text t = {""};
    if (pair[0] != usual || pair[1] != usual)
        snprintf(t.text, sizeof(t.text), ", %s=(%d, %d)", name, pair[0], pair[1]);
    return t;
}

static void extra_repr(const weft_module *m, char *text, size_t size)
{
    const conv *self = (const conv *)m;
    const weft_conv_transpose2d_opts *o = &self->opts;
    char groups[32] = "";
    if (o->groups != 1)
        snprintf(groups, sizeof(groups), ", groups=%d", o->groups);
    snprintf(text, size, "%d, %d, kernel_size=%s, stride=%s%s%s%s%s%s", self->in, self->out,
             wf_tuple(self->kernel).text, wf_tuple(o->stride).text,
             option("padding", o->padding, 0).text, option("dilation", o->dilation, 1).text,
             option("output_padding", o->output_padding, 0).text, groups,
             self->bias != NULL ? "" : ", bias=False");
}

static int64_t conv2d_macs(const weft_module *m, weft_shape in, weft_shape out)
{
    const conv *self = (const conv *)m;
    return weft_shape_count(out) * (self->in / self->opts.groups) * self->kernel[0] *
           self->kernel[1];
}

static int64_t transposed_macs(const weft_module *m, weft_shape in, weft_shape out)
{
    const conv *self = (const conv *)m;
    return weft_shape_count(in) * (self->out / self->opts.groups) * self->kernel[0] *
           self->kernel[1];
}

static const weft_module_class conv2d_class = {
    .name = "Conv2d",
    .size = sizeof(conv),
    .version = 1,
    .forward = conv2d_forward,
    .extra_repr = extra_repr,
    .macs = conv2d_macs,
};

static const weft_module_class transposed_class = {
    .name = "ConvTranspose2d",
    .size = sizeof(conv),
    .version = 1,
    .forward = transposed_forward,
    .extra_repr = extra_repr,
    .macs = transposed_macs,
};

/* ---- creation -------------------------------------------------------------------------------- */

static weft_status check(weft_context *ctx, const char *name, int in, int out, const int kernel[2],
                         const weft_conv_transpose2d_opts *o)
{
    if (in < 1 || out < 1 || kernel[0] < 1 || kernel[1] < 1)
        return wf_fail(ctx, WEFT_ERR_INVALID,
                       "%s(%d, %d, %dx%d): channels and kernel must be at least 1", name, in, out,
                       kernel[0], kernel[1]);
    if (o->groups < 1 || in % o->groups != 0 || out % o->groups != 0)
        return wf_fail(ctx, WEFT_ERR_INVALID, "%s(%d, %d): channels do not divide by %d groups",
                       name, in, out, o->groups);
    for (int i = 0; i < 2; i++) {
        const int more = o->output_padding[i];
        if (o->stride[i] < 1 || o->dilation[i] < 1 || o->padding[i] < 0)
            return wf_fail(ctx, WEFT_ERR_INVALID,
                           "%s: stride %d, dilation %d, padding %d: stride and dilation must be at "
                           "least 1, padding at least 0",
                           name, o->stride[i], o->dilation[i], o->padding[i]);
        if (more < 0 || (more >= o->stride[i] && more >= o->dilation[i]))
            return wf_fail(ctx, WEFT_ERR_INVALID,
                           "%s: output padding %d, stride %d, dilation %d: output padding must be "
                           "at least 0 and below stride or dilation",
                           name, more, o->stride[i], o->dilation[i]);
    }
    return WEFT_OK;
}

/* Creates the layer; zeros in the options become 1. Its weight is (rows, columns/groups, R, S). */
static weft_module *create(weft_context *ctx, const weft_module_class *cls, int in, int out,
                           int kernel, int kernel_w, weft_conv_transpose2d_opts o, bool no_bias)
{
    const int size[2] = {kernel, kernel_w != 0 ? kernel_w : kernel};
    o.groups = o.groups != 0 ? o.groups : 1;
    for (int i = 0; i < 2; i++) {
        o.stride[i] = o.stride[i] != 0 ? o.stride[i] : 1;
        o.dilation[i] = o.dilation[i] != 0 ? o.dilation[i] : 1;
    }
    if (check(ctx, cls->name, in, out, size, &o) != WEFT_OK)
        return NULL;
    conv *self = weft_module_create(ctx, cls, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    self->in = in;
    self->out = out;
    self->kernel[0] = size[0];
    self->kernel[1] = size[1];
    self->opts = o;
    const bool transposed = cls == &transposed_class;
    const int rows = transposed ? in : out, columns = transposed ? out : in;
    weft_register_parameter(
        m, "weight", &self->weight,
        weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(rows, columns / o.groups, size[0], size[1])));
    wf_register_optional(m, "bias", &self->bias, !no_bias, WEFT_SHAPE(out), 0.0);
    /* As in torch, dimension 1 counts as the fan in of a transposed weight too. */
    return wf_init_weight_and_bias(m, self->weight, self->bias);
}

weft_module *weft_conv2d_create(weft_context *ctx, int in, int out, int kernel,
                                const weft_conv2d_layer_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_conv2d_create");
        return NULL;
    }
    const weft_conv2d_layer_opts none = {0}, *o = opts != NULL ? opts : &none;
    return create(ctx, &conv2d_class, in, out, kernel, o->kernel_w,
                  (weft_conv_transpose2d_opts){.stride = {o->stride[0], o->stride[1]},
                                               .padding = {o->padding[0], o->padding[1]},
                                               .dilation = {o->dilation[0], o->dilation[1]},
                                               .groups = o->groups},
                  o->no_bias);
}

weft_module *weft_conv_transpose2d_create(weft_context *ctx, int in, int out, int kernel,
                                          const weft_conv_transpose2d_layer_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_conv_transpose2d_create");
        return NULL;
    }
    const weft_conv_transpose2d_layer_opts none = {0}, *o = opts != NULL ? opts : &none;
    return create(
        ctx, &transposed_class, in, out, kernel, o->kernel_w,
        (weft_conv_transpose2d_opts){.stride = {o->stride[0], o->stride[1]},
                                     .padding = {o->padding[0], o->padding[1]},
                                     .output_padding = {o->output_padding[0], o->output_padding[1]},
                                     .dilation = {o->dilation[0], o->dilation[1]},
                                     .groups = o->groups},
        o->no_bias);
}
