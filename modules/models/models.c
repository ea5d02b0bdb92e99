/* The model zoo: finds constructors by name. Threading rule: the context's. */
#include <string.h>

#include "modules/internal.h"
#include "modules/models/models.h"

static const weft_model_info infos[] = {
#define WF_MODEL(name, args, optional, classes, channels, size, smallest, about)                   \
    {#name, about, args, {classes, channels, size, size, NULL, 0}, smallest, optional},
#include "modules/models/models.def"
#undef WF_MODEL
};

typedef weft_module *(*constructor)(weft_context *ctx, const weft_model_opts *opts);
static const constructor constructors[] = {
#define WF_MODEL(name, args, optional, classes, channels, size, smallest, about) wf_model_##name,
#include "modules/models/models.def"
#undef WF_MODEL
};

enum { MODELS = sizeof(infos) / sizeof(infos[0]) };

const weft_model_info *weft_models(int *n)
{
    if (n != NULL)
        *n = MODELS;
    return infos;
}

static int find(const char *name)
{
    for (int i = 0; name != NULL && i < MODELS; i++) {
        if (strcmp(infos[i].name, name) == 0)
            return i;
    }
    return -1;
}

const weft_model_info *weft_model_find(const char *name)
{
    int i = find(name);
    return i >= 0 ? &infos[i] : NULL;
}

static weft_status fail_unknown(weft_context *ctx, const char *name)
{
    wf_text known = {0};
    for (int i = 0; i < MODELS; i++)
        wf_text_add(&known, "%s%s", i > 0 ? ", " : "", infos[i].name);
    weft_status status = wf_fail(ctx, WEFT_ERR_NOT_FOUND, "unknown model '%s'; the models are: %s",
                                 name != NULL ? name : "", known.failed ? "?" : known.text);
    wf_text_done(&known);
    return status;
}

/* Whether `key` is one of the words of `keys`. */
static bool takes(const char *keys, const char *key)
{
    size_t n = strlen(key);
    for (const char *at = keys; n > 0 && (at = strstr(at, key)) != NULL; at += n) {
        if ((at == keys || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    }
    return false;
}

static weft_status check_args(weft_context *ctx, const weft_model_info *info,
                              const weft_model_opts *opts)
{
    for (int i = 0; i < opts->n_args; i++) {
        const char *key = opts->args[i].key;
        if (key == NULL || opts->args[i].value == NULL)
            return wf_fail(ctx, WEFT_ERR_INVALID, "%s: an option without a key or a value",
                           info->name);
        if (!takes(info->args, key))
            return wf_fail(ctx, WEFT_ERR_INVALID, "%s: has no option '%s'; its options: %s",
                           info->name, key, info->args[0] != '\0' ? info->args : "none");
    }
    return WEFT_OK;
}

weft_module *weft_model_create(weft_context *ctx, const char *name, const weft_model_opts *opts)
{
    if (ctx == NULL) {
        wf_no_context("weft_model_create");
        return NULL;
    }
    int i = find(name);
    if (i < 0) {
        fail_unknown(ctx, name);
        return NULL;
    }
    weft_model_opts o = infos[i].defaults;
    if (opts != NULL) {
        o.num_classes = opts->num_classes != 0 ? opts->num_classes : o.num_classes;
        o.in_channels = opts->in_channels != 0 ? opts->in_channels : o.in_channels;
        o.height = opts->height != 0 ? opts->height : o.height;
        o.width = opts->width != 0 ? opts->width : o.width;
        o.args = opts->args;
        o.n_args = opts->args != NULL ? opts->n_args : 0;
    }
    if (o.num_classes < 1 || o.in_channels < 1 || o.height < 1 || o.width < 1) {
        wf_fail(ctx, WEFT_ERR_INVALID, "%s: %d classes, %d channels, %dx%d: must be at least 1",
                name, o.num_classes, o.in_channels, o.height, o.width);
        return NULL;
    }
    int smallest = infos[i].smallest;
    if (o.height < smallest || o.width < smallest) {
        wf_fail(ctx, WEFT_ERR_SHAPE, "%s: images of %dx%d are too small; it needs at least %dx%d",
                name, o.height, o.width, smallest, smallest);
        return NULL;
    }
    if (check_args(ctx, &infos[i], &o) != WEFT_OK)
        return NULL;
    weft_error older; /* wf_model_ok must see only this constructor's errors */
    wf_error_set_aside(ctx, &older);
    weft_module *m = constructors[i](ctx, &o);
    wf_error_put_back(ctx, &older);
    return m;
}
