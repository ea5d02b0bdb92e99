/* The model zoo: networks by name. The names of their parts are torchvision's, or, where
 * torchvision has no such network, those of bench/torch_models/. */
#ifndef WEFT_MODELS_H
#define WEFT_MODELS_H

#include "weft/module.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One of a model's own options: {"aux_logits", "true"}. */
typedef struct weft_model_arg {
    const char *key, *value; /* torchvision's name, and the value as text */
} weft_model_arg;

/* How a network is made. A number that is 0 stands for the model's default. */
typedef struct weft_model_opts {
    int num_classes;            /* outputs */
    int in_channels;            /* of the images */
    int height, width;          /* of the images; models that pool adaptively take any */
    const weft_model_arg *args; /* the model's own options: n_args of them, or NULL */
    int n_args;                 /* how many */
} weft_model_opts;
#define WEFT_MODEL_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* What is known of a network before one is made. */
typedef struct weft_model_info {
    const char *name;         /* for weft_model_create */
    const char *about;        /* one line */
    const char *args;         /* the keys of its own options, with spaces between; "" for none */
    weft_model_opts defaults; /* what zeros in the options stand for */
    int smallest;             /* height and width of images must be at least this */
    /* Beginnings of tensor names, with spaces between: other versions of this network have such
     * tensors, and this one works without them. A file that holds "AuxLogits.fc.weight", for
     * example, loads, and that tensor is left out. "": none. */
    const char *optional_state;
} weft_model_info;

/* All models: a static array. *n becomes its length. */
const weft_model_info *weft_models(int *n);
const weft_model_info *weft_model_find(const char *name); /* NULL: there is no such model */
/* A new network with one reference, owned by the caller. NULL on failure; the context then has the
 * error: an unknown name (the message lists the known ones), a size that the network cannot take,
 * an option that it does not have. opts may be NULL. */
weft_module *weft_model_create(weft_context *ctx, const char *name, const weft_model_opts *opts);

/* Appends the layers whose outputs stand for the classes, under their paths: first the last Linear
 * or Conv2d of the network, then that of each auxiliary head. Fine-tuning for other classes
 * replaces them. `name` is the model's name, as weft_model_create was given it. */
weft_status weft_model_heads(weft_module *m, const char *name, weft_named_modules *heads);

#ifdef __cplusplus
}
#endif
#endif
