/* MaxPool2d, AvgPool2d, AdaptiveAvgPool2d. Threading rule: the context's. */
#include <stdio.h>

#include "modules/internal.h"
#include "modules/layers/layers.h"

typedef struct pool2d {
    weft_module base;
    weft_pool2d_opts opts; /* complete: zeros are replaced by defaults */
} pool2d;

static weft_tensor *max_forward(weft_module *m, weft_tensor *x)
{
    return weft_max_pool2d(x, &((pool2d *)m)->opts);
}

static weft_tensor *avg_forward(weft_module *m, weft_tensor *x)
{
    return weft_avg_pool2d(x, &((pool2d *)m)->opts);
}

static void max_repr(const weft_module *m, char *text, size_t size)
{
    const weft_pool2d_opts *o = &((const pool2d *)m)->opts;
    snprintf(text, size, "kernel_size=%s, stride=%s, padding=%s, dilation=%s, ceil_mode=%s",
             wf_pair(o->kernel).text, wf_pair(o->stride).text, wf_pair(o->padding).text,
             wf_pair(o->dilation).text, o->ceil_mode ? "True" : "False");
}

static void avg_repr(const weft_module *m, char *text, size_t size)
{
    const weft_pool2d_opts *o = &((const pool2d *)m)->opts;
    snprintf(text, size, "kernel_size=%s, stride=%s, padding=%s", wf_pair(o->kernel).text,
             wf_pair(o->stride).text, wf_pair(o->padding).text);
}

static const weft_module_class max_class = {.name = "MaxPool2d",
                                            .size = sizeof(pool2d),
                                            .version = 1,
                                            .forward = max_forward,
                                            .extra_repr = max_repr};
static const weft_module_class avg_class = {.name = "AvgPool2d",
                                            .size = sizeof(pool2d),
                                            .version = 1,
                                            .forward = avg_forward,
                                            .extra_repr = avg_repr};

static weft_module *pool_create(weft_context *ctx, const weft_module_class *cls, int kernel,
                                const weft_pool2d_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context(cls->name);
        return NULL;
    }
    weft_pool2d_opts o = {0};
    if (opts != NULL)
        o = *opts;
    for (int i = 0; i < 2; i++) {
        o.kernel[i] = kernel > 0 ? kernel : o.kernel[i];
        o.stride[i] = o.stride[i] != 0 ? o.stride[i] : o.kernel[i];
        o.dilation[i] = o.dilation[i] != 0 ? o.dilation[i] : 1;
        if (o.kernel[i] < 1 || o.stride[i] < 1 || o.dilation[i] < 1 || o.padding[i] < 0 ||
            o.padding[i] > o.kernel[i] / 2) {
            wf_fail(ctx, WEFT_ERR_INVALID,
                    "%s: kernel %d, stride %d, padding %d, dilation %d: expected at least 1, and a "
                    "padding of at least 0 and at most half the kernel",
                    cls->name, o.kernel[i], o.stride[i], o.padding[i], o.dilation[i]);
            return NULL;
        }
    }
    pool2d *self = weft_module_create(ctx, cls, NULL);
    if (self == NULL)
        return NULL;
    self->opts = o;
    return &self->base;
}

weft_module *weft_max_pool2d_create(weft_context *ctx, int kernel, const weft_pool2d_opts *opts)
{
    return pool_create(ctx, &max_class, kernel, opts);
}

weft_module *weft_avg_pool2d_create(weft_context *ctx, int kernel, const weft_pool2d_opts *opts)
{
    return pool_create(ctx, &avg_class, kernel, opts);
}

/* ---- adaptive ---- */

typedef struct adaptive {
    weft_module base;
    int out[2];
} adaptive;

static weft_tensor *adaptive_forward(weft_module *m, weft_tensor *x)
{
    const adaptive *self = (adaptive *)m;
    return weft_adaptive_avg_pool2d(x, self->out[0], self->out[1]);
}

static void adaptive_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "output_size=%s", wf_tuple(((const adaptive *)m)->out).text);
}

static const weft_module_class adaptive_class = {.name = "AdaptiveAvgPool2d",
                                                 .size = sizeof(adaptive),
                                                 .version = 1,
                                                 .forward = adaptive_forward,
                                                 .extra_repr = adaptive_repr};

weft_module *weft_adaptive_avg_pool2d_create(weft_context *ctx, int out_h, int out_w)
{
    if (ctx != NULL && (out_h < 1 || out_w < 1)) {
        wf_fail(ctx, WEFT_ERR_INVALID, "AdaptiveAvgPool2d(%d, %d): sizes must be at least 1", out_h,
                out_w);
        return NULL;
    }
    adaptive *self = weft_module_create(ctx, &adaptive_class, NULL);
    if (self == NULL)
        return NULL;
    self->out[0] = out_h;
    self->out[1] = out_w;
    return &self->base;
}
