/* LayerNorm. Threading rule: the context's. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "modules/internal.h"
#include "modules/layers/layers.h"

typedef struct layer_norm {
    weft_module base;
    weft_tensor *weight, *bias; /* of the shape, or NULL */
    weft_shape shape;
    double eps;
} layer_norm;

static weft_tensor *forward(weft_module *m, weft_tensor *x)
{
    layer_norm *self = (layer_norm *)m;
    const weft_shape in = x ? weft_tensor_shape(x) : self->shape;
    const int first = in.rank - self->shape.rank;
    bool fits = first >= 0;
    for (int i = 0; i < self->shape.rank && fits; i++)
        fits = in.dim[first + i] == self->shape.dim[i];
    if (!fits) {
        char a[160], b[160];
        wf_fail_step(
            m->ctx, WEFT_ERR_SHAPE, "layer_norm: input is %s, whose last dimensions are not %s",
            weft_shape_format(in, a, sizeof(a)), weft_shape_format(self->shape, b, sizeof(b)));
        return NULL;
    }
    return weft_layer_norm(x, self->shape.rank, self->weight, self->bias, self->eps);
}

/* The shape as Python's tuple: "(5,)", "(4, 5)". */
static void extra_repr(const weft_module *m, char *text, size_t size)
{
    const layer_norm *self = (const layer_norm *)m;
    char shape[160] = "";
    weft_shape_format(self->shape, shape, sizeof(shape));
    const int inside = (int)strlen(shape) - 2; /* without the brackets */
    snprintf(text, size, "(%.*s%s), eps=%.12g, elementwise_affine=%s, bias=%s", inside, shape + 1,
             self->shape.rank == 1 ? "," : "", self->eps, self->weight != NULL ? "True" : "False",
             self->bias != NULL ? "True" : "False");
}

static const weft_module_class layer_norm_class = {.name = "LayerNorm",
                                                   .size = sizeof(layer_norm),
                                                   .version = 1,
                                                   .forward = forward,
                                                   .extra_repr = extra_repr};

weft_module *weft_layer_norm_create(weft_context *ctx, weft_shape shape,
                                    const weft_layer_norm_opts *opts)
{
    char text[160];
    if (ctx == NULL) {
        wf_no_context("weft_layer_norm_create");
        return NULL;
    }
    const weft_layer_norm_opts usual = WEFT_LAYER_NORM_OPTS_INIT;
    opts = opts != NULL ? opts : &usual;
    if (shape.rank < 1 || shape.rank > WEFT_MAX_RANK || weft_shape_count(shape) < 1 ||
        !(opts->eps > 0 && isfinite(opts->eps))) {
        wf_fail(ctx, WEFT_ERR_INVALID,
                "LayerNorm(%s, eps=%g): the shape must hold something, eps be above 0 "
                "(WEFT_LAYER_NORM_OPTS_INIT has the default)",
                shape.rank < 0 || shape.rank > WEFT_MAX_RANK
                    ? "?"
                    : weft_shape_format(shape, text, sizeof(text)),
                opts->eps);
        return NULL;
    }
    layer_norm *self = weft_module_create(ctx, &layer_norm_class, NULL);
    if (self == NULL)
        return NULL;
    self->shape = shape;
    self->eps = opts->eps;
    const bool affine = !opts->no_affine;
    wf_register_optional(&self->base, "weight", &self->weight, affine, shape, 1.0);
    wf_register_optional(&self->base, "bias", &self->bias, affine && !opts->no_bias, shape, 0.0);
    return weft_module_ok(&self->base);
}
