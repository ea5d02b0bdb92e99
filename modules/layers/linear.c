/* Linear: y = x W^T + b. Threading rule: the context's. */
#include <math.h>

#include "modules/internal.h"
#include "modules/layers/layers.h"

typedef struct linear {
    weft_module base;
    weft_tensor *weight; /* (out, in) */
    weft_tensor *bias;   /* (out) or NULL */
    int in, out;
} linear;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    linear *self = (linear *)m;
    return weft_linear(x, self->weight, self->bias);
}

static void extra_repr(const weft_module *m, char *text, size_t size)
{
    const linear *self = (const linear *)m;
    snprintf(text, size, "in_features=%d, out_features=%d, bias=%s", self->in, self->out,
             self->bias != NULL ? "True" : "False");
}

static int64_t macs(const weft_module *m, weft_shape in, weft_shape out)
{
    const linear *self = (const linear *)m;
    return weft_shape_count(out) * self->in;
}

static const weft_module_class linear_class = {
    .name = "Linear",
    .size = sizeof(linear),
    .version = 1,
    .forward = forward,
    .extra_repr = extra_repr,
    .macs = macs,
};

static weft_status init_weight_and_bias(weft_tensor *weight, weft_tensor *bias)
{
    weft_shape shape = weft_tensor_shape(weight);
    WF_TRY(weft_init_kaiming_uniform(weight, sqrt(5.0), WEFT_FAN_IN, WEFT_GAIN_LEAKY_RELU));
    if (bias == NULL)
        return WEFT_OK;
    double fan_in = 1.0;
    for (int i = 1; i < shape.rank; i++)
        fan_in *= (double)shape.dim[i];
    const double bound = fan_in > 0 ? 1.0 / sqrt(fan_in) : 0.0;
    return weft_init_uniform(bias, -bound, bound);
}

weft_module *wf_init_weight_and_bias(weft_module *m, weft_tensor *weight, weft_tensor *bias)
{
    if (weft_module_ok(m) == NULL)
        return NULL;
    if (init_weight_and_bias(weight, bias) == WEFT_OK)
        return m;
    weft_module_unref(m);
    return NULL;
}

weft_module *weft_linear_create(weft_context *ctx, int in, int out, const weft_linear_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_linear_create");
        return NULL;
    }
    if (in < 0 || out < 0) {
        wf_fail(ctx, WEFT_ERR_INVALID, "Linear(%d, %d): sizes must not be negative", in, out);
        return NULL;
    }
    linear *self = weft_module_create(ctx, &linear_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    self->in = in;
    self->out = out;
    bool bias = opts == NULL || !opts->no_bias;
    weft_register_parameter(m, "weight", &self->weight,
                            weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(out, in)));
    wf_register_optional(m, "bias", &self->bias, bias, WEFT_SHAPE(out), 0.0);
    return wf_init_weight_and_bias(m, self->weight, self->bias);
}
