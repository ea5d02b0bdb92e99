/* The constructors of models.def, and what they share. A constructor gets complete, checked
 * options: nothing is 0, no side of an image is less than `smallest`, and every key is one that it
 * takes. */
#ifndef WF_MODELS_MODELS_H
#define WF_MODELS_MODELS_H

#include "weft/layers.h"
#include "weft/models.h"

#define WF_MODEL(name, args, optional, classes, channels, size, smallest, about)                   \
    weft_module *wf_model_##name(weft_context *ctx, const weft_model_opts *opts);
#include "modules/models/models.def"
#undef WF_MODEL

/* The value of a key; `missing` where it is not given. A value of the wrong kind is an error: then
 * this returns `missing`, and wf_model_ok() fails. */
bool wf_model_bool(weft_context *ctx, const weft_model_opts *opts, const char *key, bool missing);
double wf_model_number(weft_context *ctx, const weft_model_opts *opts, const char *key,
                       double missing); /* 0 <= value < 1: a probability */
double wf_model_positive(weft_context *ctx, const weft_model_opts *opts, const char *key,
                         double missing); /* a factor */

/* Sets initial values below m, for weft_module_apply: torchvision's loop over self.modules(). */
weft_status wf_init_conv_fan_out(weft_module *m, void *user); /* Conv2d: normal, He, by fan out */
/* Also Linear: normal with standard deviation 0.01. Biases become zero in both. */
weft_status wf_init_conv_and_linear(weft_module *m, void *user);
bool wf_is_layer(const weft_module *m, const char *name); /* compares the name of its class */

/* What GoogLeNet and Inception v3 share. BasicConv2d: "conv", "bn" (eps 0.001)
 * and ReLU; opts may be NULL. */
weft_module *wf_basic_conv2d_create(weft_context *ctx, int in, int out, int kernel,
                                    const weft_conv2d_layer_opts *opts);
weft_status wf_init_trunc_normal(weft_module *m, double std); /* weights of Conv2d and Linear */
/* transform_input: converts images from ImageNet's normalisation to the one of these networks. Its
 * numbers are buffers of m that are not saved. */
typedef struct wf_input_transform {
    weft_tensor *scale, *shift; /* (3, 1, 1); both NULL: no conversion */
    weft_dtype dtype;           /* the type for which the numbers were written */
} wf_input_transform;
weft_status wf_register_input_transform(weft_module *m, wf_input_transform *t, int channels);
weft_tensor *wf_transform_input(wf_input_transform *t, weft_tensor *x);

/* Returns m if the whole constructor succeeded and `init` could set the initial values. Else frees
 * m and returns NULL. */
weft_module *wf_model_ok(void *m, weft_status (*init)(weft_module *m, void *user));

#endif
