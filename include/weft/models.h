/* The model zoo: networks by name. Part names are torchvision's, or bench/torch_models/'s. */
#ifndef WEFT_MODELS_H
#define WEFT_MODELS_H

#include "weft/module.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One of a model's own options, torchvision's name for it: {"aux_logits", "true"}. */
typedef struct weft_model_arg {
    const char *key, *value;
} weft_model_arg;

typedef struct weft_model_opts {
    int num_classes; /* 0: the model's own default, as below */
    int in_channels;
    int height, width; /* of the images; models that pool adaptively take any */
    const weft_model_arg *args;
    int n_args;
} weft_model_opts;

typedef struct weft_model_info {
    const char *name;
    const char *about;        /* one line */
    const char *args;         /* keys that it takes, with spaces between; "" for none */
    weft_model_opts defaults; /* what zeros in the options stand for */
    int smallest;             /* height and width of images must be at least this */
    /* Prefixes, with spaces between, of state that other makes of this network have
     * and this one can do without: a file with "AuxLogits.fc.weight" loads all the
     * same, without it. "": none. */
    const char *optional_state;
} weft_model_info;

/* All models: a static array, its length in *n. */
const weft_model_info *weft_models(int *n);
const weft_model_info *weft_model_find(const char *name); /* NULL when unknown */
/* A new network. An unknown name is an error that lists the known ones; sizes that the network
 * cannot take, and keys or values that it does not know, are errors too. opts may be NULL. */
weft_module *weft_model_create(weft_context *ctx, const char *name, const weft_model_opts *opts);

/* Appends the layers whose outputs stand for the classes, under their paths: the last Linear or
 * Conv2d of the network, which comes first, and where it has auxiliary heads, of each of those.
 * They are what fine-tuning for other classes replaces. `name` is what m was made by. */
weft_status weft_model_heads(weft_module *m, const char *name, weft_named_modules *heads);

#ifdef __cplusplus
}
#endif
#endif
