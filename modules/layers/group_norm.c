/* GroupNorm. Threading rule: the context's. */
#include <math.h>
#include <stdio.h>

#include "modules/internal.h"
#include "modules/layers/layers.h"

typedef struct group_norm {
    weft_module base;
    weft_tensor *weight, *bias; /* (C) or NULL */
    int groups, channels;
    double eps;
} group_norm;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    group_norm *self = (group_norm *)m;
    return weft_group_norm(x, self->groups, self->weight, self->bias, self->eps);
}

static void extra_repr(const weft_module *m, char *text, size_t size)
{
    const group_norm *self = (const group_norm *)m;
    const char *affine = self->weight != NULL ? "True" : "False";
    snprintf(text, size, "%d, %d, eps=%.12g, affine=%s, bias=%s", self->groups, self->channels,
             self->eps, affine, self->bias != NULL ? "True" : "False");
}

static const weft_module_class group_norm_class = {.name = "GroupNorm",
                                                   .size = sizeof(group_norm),
                                                   .version = 1,
                                                   .forward = forward,
                                                   .extra_repr = extra_repr};

weft_module *weft_group_norm_create(weft_context *ctx, int groups, int channels,
                                    const weft_group_norm_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_group_norm_create");
        return NULL;
    }
    const weft_group_norm_opts usual = WEFT_GROUP_NORM_OPTS_INIT;
    opts = opts != NULL ? opts : &usual;
    const char *wrong =
        groups < 1 || channels < 1 ? "groups and channels must be at least 1"
        : channels % groups != 0   ? "the channels must divide by the groups"
        : !(opts->eps > 0 && isfinite(opts->eps))
            ? "eps must be finite and above 0 (WEFT_GROUP_NORM_OPTS_INIT has the default)"
            : NULL;
    if (wrong) {
        wf_fail(ctx, WEFT_ERR_INVALID, "GroupNorm(%d, %d, eps=%g): %s", groups, channels, opts->eps,
                wrong);
        return NULL;
    }
    group_norm *self = weft_module_create(ctx, &group_norm_class, NULL);
    if (self == NULL)
        return NULL;
    self->groups = groups;
    self->channels = channels;
    self->eps = opts->eps;
    weft_shape shape = WEFT_SHAPE(channels);
    wf_register_optional(&self->base, "weight", &self->weight, !opts->no_affine, shape, 1.0);
    wf_register_optional(&self->base, "bias", &self->bias, !opts->no_affine, shape, 0.0);
    return weft_module_ok(&self->base);
}
