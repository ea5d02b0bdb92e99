/* A context's wisdom: when its file is read, and where the file is. */
#include "engine/step/wisdom.h"

#include <stdio.h>

#include "engine/base/alloc.h"
#include "engine/graph/lint.h"
#include "engine/tensor/context.h"
#include "kernels/onednn/version.h"
#include "weft/tune.h"

weft_status wf_wisdom_create(weft_context *ctx)
{
    ctx->wisdom = wf_zalloc(sizeof *ctx->wisdom);
    return ctx->wisdom ? WEFT_OK : wf_nomem(&ctx->error, sizeof *ctx->wisdom, "the context");
}

void wf_wisdom_destroy(wf_wisdom *w)
{
    if (w)
        wf_wisdom_done(w);
    wf_free(w);
}

wf_wisdom_key wf_wisdom_key_of(const weft_context *ctx)
{
    int v[3];
    wf_wisdom_key key = {.lanes = ctx->isa == WEFT_ISA_AVX512 ? 16
                                  : ctx->isa == WEFT_ISA_AVX2 ? 8
                                                              : 1};
    wf_onednn_version(&v[0], &v[1], &v[2]);
    snprintf(key.cpu, sizeof key.cpu, "%s", wf_topology_machine(ctx->topology)->cpu_model);
    snprintf(key.isa, sizeof key.isa, "%s", weft_isa_name(ctx->isa));
    snprintf(key.weft, sizeof key.weft, "%s", weft_version());
    snprintf(key.onednn, sizeof key.onednn, "%d.%d.%d", v[0], v[1], v[2]);
    return key;
}

static weft_status load(weft_context *ctx, wf_wisdom *w, bool begins)
{
    bool asked_for;
    json_t *root = NULL;
    weft_error err = WEFT_ERROR_INIT;
    wf_wisdom_key key = wf_wisdom_key_of(ctx);
    WF_TRY(wf_wisdom_path(ctx->options.wisdom, &w->path, &asked_for, &ctx->error));
    if (!w->path)
        return WEFT_OK;
    weft_status status = wf_wisdom_read_for(w->path, &key, w, &root, &err);
    const bool missing = status == WEFT_ERR_NOT_FOUND && !root;
    json_decref(root);
    if (missing && (!asked_for || begins))
        return WEFT_OK;
    if (status == WEFT_ERR_NOMEM)
        return wf_error_set(&ctx->error, status, "%s", err.text);
    w->found = status == WEFT_OK;
    if (status != WEFT_OK)
        wf_tell(ctx, "%s; going on without it", err.text);
    return WEFT_OK;
}

static weft_status load_once(weft_context *ctx, bool begins)
{
    wf_wisdom *w = ctx->wisdom;
    if (w->loaded)
        return WEFT_OK;
    weft_status status = load(ctx, w, begins);
    if (status != WEFT_OK)
        wf_wisdom_done(w); /* so that the next call tries again */
    else
        w->loaded = true;
    return status;
}

weft_status wf_wisdom_load(weft_context *ctx)
{
    return load_once(ctx, false);
}

weft_status wf_wisdom_load_or_begin(weft_context *ctx)
{
    return load_once(ctx, true);
}

weft_status weft_wisdom_get_info(weft_context *ctx, weft_wisdom_info *info)
{
    if (!ctx)
        return wf_no_context("wisdom_get_info");
    if (!info)
        return wf_fail(ctx, WEFT_ERR_INVALID, "wisdom: there is no place for the result");
    WF_TRY(wf_wisdom_load(ctx));
    wf_wisdom *w = ctx->wisdom;
    *info = (weft_wisdom_info){
        .path = w->found ? w->path : NULL, .choices = w->n, .hash = wf_wisdom_hash(w)};
    return WEFT_OK;
}

/* Sets *to to `path`, or to the context's own path where it is NULL. Wisdom is loaded. */
static weft_status place_of(weft_context *ctx, const char *path, const char **to)
{
    if (!ctx)
        return WEFT_ERR_INVALID;
    WF_TRY(wf_wisdom_load_or_begin(ctx));
    *to = path ? path : ctx->wisdom->path;
    return *to ? WEFT_OK : wf_fail(ctx, WEFT_ERR_STATE, "wisdom is off, and no file was named");
}

weft_status weft_wisdom_can_save(weft_context *ctx, const char *path)
{
    const char *to;
    WF_TRY(place_of(ctx, path, &to));
    return wf_wisdom_probe(to, &ctx->error);
}

weft_status weft_wisdom_save(weft_context *ctx, const char *path)
{
    const char *to;
    WF_TRY(place_of(ctx, path, &to));
    wf_wisdom *w = ctx->wisdom;
    bool moved = false;
    wf_wisdom_key key = wf_wisdom_key_of(ctx);
    WF_TRY(wf_wisdom_write(to, w, &key, &moved, &ctx->error));
    if (moved)
        wf_tell(ctx, "%s was not a wisdom file and was renamed to %s.damaged", to, to);
    w->found |= !path;
    return WEFT_OK;
}
