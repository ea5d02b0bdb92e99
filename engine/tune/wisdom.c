/* The table of wisdom, and a context's. See wisdom.h. */
#include "engine/tune/wisdom.h"

#include <stdio.h>
#include <string.h>

#include "engine/tensor/context.h"
#include "engine/base/alloc.h"
#include "kernels/onednn/version.h"
#include "weft/tune.h"

static void choice_free(wf_choice *c)
{
    wf_free(c->problem);
    wf_free(c->kernel);
}

void wf_wisdom_done(wf_wisdom *w)
{
    for (int i = 0; i < w->n; i++)
        choice_free(&w->choices[i]);
    wf_free(w->choices);
    wf_free(w->path);
    *w = (wf_wisdom){0};
}

/* The first choice that is not before `problem`. */
static int lower_bound(const wf_wisdom *w, const char *problem)
{
    int low = 0, high = w->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(w->choices[middle].problem, problem) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const wf_wisdom *w, int i, const char *problem)
{
    return i < w->n && strcmp(w->choices[i].problem, problem) == 0;
}

const char *wf_wisdom_find(const wf_wisdom *w, const char *problem)
{
    int i = lower_bound(w, problem);
    return is_at(w, i, problem) ? w->choices[i].kernel : NULL;
}

bool wf_wisdom_put(wf_wisdom *w, const char *problem, const char *kernel, double seconds)
{
    int i = lower_bound(w, problem);
    bool there = is_at(w, i, problem);
    wf_choice c = {wf_strdup(problem), wf_strdup(kernel), seconds};
    if (!c.problem || !c.kernel ||
        (!there && !wf_grow(&w->choices, &w->cap, w->n, 1, sizeof *w->choices))) {
        choice_free(&c);
        return false;
    }
    if (there)
        choice_free(&w->choices[i]);
    else
        memmove(&w->choices[i + 1], &w->choices[i], (size_t)(w->n++ - i) * sizeof *w->choices);
    w->choices[i] = c;
    return true;
}

/* FNV-1a over problems and kernels, in order: what results depend on. */
const char *wf_wisdom_hash(wf_wisdom *w)
{
    uint64_t h = 0xcbf29ce484222325;
    for (int i = 0; i < w->n; i++) {
        const char *const texts[] = {w->choices[i].problem, w->choices[i].kernel};
        for (int t = 0; t < 2; t++)
            for (const char *p = texts[t];; p++) { /* its end, too */
                h = (h ^ (unsigned char)*p) * 0x100000001b3;
                if (!*p)
                    break;
            }
    }
    if (w->n)
        snprintf(w->hash, sizeof w->hash, "%016llx", (unsigned long long)h);
    else
        snprintf(w->hash, sizeof w->hash, "none");
    return w->hash;
}

/* ---- a context's ---- */

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
    wf_wisdom *w = &ctx->wisdom;
    if (w->loaded)
        return WEFT_OK;
    weft_status status = load(ctx, w, begins);
    if (status != WEFT_OK)
        wf_wisdom_done(w); /* the next call tries again */
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
        return WEFT_ERR_INVALID;
    if (!info)
        return wf_fail(ctx, WEFT_ERR_INVALID, "wisdom: there is no place for the result");
    WF_TRY(wf_wisdom_load(ctx));
    wf_wisdom *w = &ctx->wisdom;
    *info = (weft_wisdom_info){
        .path = w->found ? w->path : NULL, .choices = w->n, .hash = wf_wisdom_hash(w)};
    return WEFT_OK;
}

/* Where `path`, NULL: the context's own, is; the wisdom is loaded. */
static weft_status place_of(weft_context *ctx, const char *path, const char **to)
{
    if (!ctx)
        return WEFT_ERR_INVALID;
    WF_TRY(wf_wisdom_load_or_begin(ctx));
    *to = path ? path : ctx->wisdom.path;
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
    wf_wisdom *w = &ctx->wisdom;
    bool moved = false;
    wf_wisdom_key key = wf_wisdom_key_of(ctx);
    WF_TRY(wf_wisdom_write(to, w, &key, &moved, &ctx->error));
    if (moved)
        wf_tell(ctx, "%s was not wisdom: it is %s.damaged now", to, to);
    w->found |= !path;
    return WEFT_OK;
}
