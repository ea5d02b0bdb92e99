/* BatchNorm2d. Threading rule: the context's. */
#include <math.h>
#include <stdio.h>

#include "engine/graph/lint.h"
#include "modules/internal.h"
#include "modules/layers/layers.h"

typedef struct batch_norm {
    weft_module base;
    weft_tensor *weight, *bias;                                    /* (C) or NULL */
    weft_tensor *running_mean, *running_var, *num_batches_tracked; /* (C), (C), scalar, or NULL */
    int channels;
    double eps, momentum; /* momentum < 0: cumulative average */
} batch_norm;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    batch_norm *self = (batch_norm *)m;
    weft_context *ctx = m->ctx;
    if (m->training && m->state->loaded && !weft_grad_enabled(ctx) && !ctx->lint->batch_norm_told &&
        wf_lint_on(ctx)) {
        ctx->lint->batch_norm_told = ctx->lint->mode != WEFT_LINT_ERROR;
        if (wf_lint(ctx,
                    "%s is in training mode under no_grad, after its state was loaded: it uses "
                    "the batch's statistics and changes the running ones; call weft_module_eval",
                    m->cls->name) != WEFT_OK)
            return NULL;
    }
    weft_batch_norm_opts opts = {
        .training = m->training, .eps = self->eps, .momentum = self->momentum};
    return weft_batch_norm(x, self->weight, self->bias, self->running_mean, self->running_var,
                           self->num_batches_tracked, &opts);
}

static void extra_repr(const weft_module *m, char *text, size_t size)
{
    const batch_norm *self = (const batch_norm *)m;
    char momentum[32] = "None";
    if (self->momentum >= 0)
        snprintf(momentum, sizeof(momentum), "%.12g", self->momentum);
    snprintf(text, size, "%d, eps=%.12g, momentum=%s, affine=%s, bias=%s, track_running_stats=%s",
             self->channels, self->eps, momentum, self->weight != NULL ? "True" : "False",
             self->bias != NULL ? "True" : "False", self->running_mean != NULL ? "True" : "False");
}

static const weft_module_class batch_norm_class = {
    .name = "BatchNorm2d",
    .size = sizeof(batch_norm),
    .version = 2, /* torch's version: 2 has num_batches_tracked */
    .forward = forward,
    .extra_repr = extra_repr,
};

weft_module *weft_batch_norm2d_create(weft_context *ctx, int channels,
                                      const weft_batch_norm2d_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_batch_norm2d_create");
        return NULL;
    }
    const weft_batch_norm2d_opts usual = WEFT_BATCH_NORM2D_OPTS_INIT;
    opts = opts != NULL ? opts : &usual;
    if (opts->eps == 0 && opts->momentum == 0) {
        wf_fail(ctx, WEFT_ERR_INVALID,
                "BatchNorm2d(%d, eps=0, momentum=0): begin options with "
                "WEFT_BATCH_NORM2D_OPTS_INIT",
                channels);
        return NULL;
    }
    const char *wrong = channels < 1 ? "there must be a channel"
                        : !(opts->eps >= 0 && isfinite(opts->eps))
                            ? "eps must be finite and at least 0"
                        : !(opts->momentum <= 1) ? "momentum must be at most 1"
                                                 : NULL;
    if (wrong) {
        wf_fail(ctx, WEFT_ERR_INVALID, "BatchNorm2d(%d, eps=%g, momentum=%g): %s", channels,
                opts->eps, opts->momentum, wrong);
        return NULL;
    }
    batch_norm *self = weft_module_create(ctx, &batch_norm_class, NULL);
    if (self == NULL)
        return NULL;
    weft_module *m = &self->base;
    self->channels = channels;
    self->eps = opts->eps;
    self->momentum = opts->momentum;
    weft_shape shape = WEFT_SHAPE(channels);
    wf_register_optional(m, "weight", &self->weight, !opts->no_affine, shape, 1.0);
    wf_register_optional(m, "bias", &self->bias, !opts->no_affine, shape, 0.0);
    if (!opts->no_running) {
        weft_register_buffer(m, "running_mean", &self->running_mean,
                             weft_tensor_create(ctx, WEFT_F32, shape), true);
        weft_register_buffer(m, "running_var", &self->running_var,
                             weft_tensor_full(ctx, WEFT_F32, shape, 1.0), true);
        weft_register_buffer(m, "num_batches_tracked", &self->num_batches_tracked,
                             weft_tensor_create(ctx, WEFT_I64, WEFT_SCALAR), true);
    }
    return weft_module_ok(m);
}
