/* The errors of a context, the module path in front of them, and whether the step has failed. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/tensor/context.h"

/* ---- the module path ---- */

/* Appends as much of the text as there is room for. */
static void append_path(wf_where *w, const char *text)
{
    const size_t room = sizeof w->path - 1 - (size_t)w->path_len, n = strnlen(text, room);
    memcpy(w->path + w->path_len, text, n);
    w->path_len += (int)n;
    w->path[w->path_len] = 0;
    w->interned = NULL;
}

void wf_path_push(weft_context *ctx, const char *name)
{
    wf_where *w = &ctx->where;
    int limit = (int)(sizeof w->path_lens / sizeof w->path_lens[0]);
    if (w->path_depth < limit) {
        w->path_lens[w->path_depth] = w->path_len;
        if (name && *name) {
            if (w->path_len > 0)
                append_path(w, ".");
            append_path(w, name);
        }
    }
    w->path_depth++;
}

void wf_path_pop(weft_context *ctx)
{
    wf_where *w = &ctx->where;
    int limit = (int)(sizeof w->path_lens / sizeof w->path_lens[0]);
    if (w->path_depth > 0 && --w->path_depth < limit &&
        w->path_len != w->path_lens[w->path_depth]) {
        w->path_len = w->path_lens[w->path_depth];
        w->path[w->path_len] = 0;
        w->interned = NULL;
    }
}

void wf_path_set(weft_context *ctx, const char *path)
{
    wf_where *w = &ctx->where;
    if (path == w->interned)
        return;
    w->path_len = 0;
    append_path(w, path);
}

/* ---- failing ---- */

/* The text after "<op>: ", or all of it where it does not begin like this. */
static const char *behind_name(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789");
    return n > 0 && text[n] == ':' && text[n + 1] == ' ' ? text + n + 2 : text;
}

static weft_status vfail(weft_context *ctx, weft_status status, const char *format, va_list args)
{
    char text[WEFT_ERROR_TEXT];
    const wf_where *w = &ctx->where;
    wf_vsnprintf(text, sizeof text, format, args);
    return wf_error_set(&ctx->error, status, "%s%s%s%s%s", w->path, w->path_len ? ": " : "",
                        w->said ? w->said : "", w->said ? ": " : "",
                        w->said ? behind_name(text) : text);
}

weft_status wf_fail(weft_context *ctx, weft_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    status = vfail(ctx, status, format, args);
    va_end(args);
    return status;
}

weft_status wf_fail_step(weft_context *ctx, weft_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    status = vfail(ctx, status, format, args);
    va_end(args);
    return wf_step_fail(ctx, status);
}

weft_status wf_step_fail(weft_context *ctx, weft_status status)
{
    if (ctx->step_failed == WEFT_OK)
        ctx->step_failed = status;
    return ctx->step_failed;
}

weft_status wf_step_status(const weft_context *ctx)
{
    return ctx->step_failed;
}

weft_status weft_error_status(const weft_context *ctx)
{
    return ctx ? ctx->error.status : WEFT_ERR_INVALID;
}

/* This thread's last error that belongs to no context. */
static _Thread_local char stray[WEFT_ERROR_TEXT] = "there is no context";

weft_status wf_fail_stray(weft_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(stray, sizeof stray, format, args);
    va_end(args);
    return status;
}

weft_status wf_no_context(const char *what)
{
    return wf_fail_stray(WEFT_ERR_INVALID, "%s: the context is NULL", what);
}

const char *weft_error_text(const weft_context *ctx)
{
    if (!ctx)
        return stray;
    /* Error records are copied, so long_error may belong to another error. */
    bool whole = ctx->long_error && wf_error_is_of(&ctx->error, ctx->long_error);
    return whole ? ctx->long_error : ctx->error.text;
}

weft_status wf_fail_long(weft_context *ctx, weft_status status, char *text)
{
    if (ctx->error.status != WEFT_OK) {
        wf_free(text);
        return status;
    }
    wf_free(ctx->long_error);
    ctx->long_error = text;
    return wf_error_set(&ctx->error, status, "%s", text);
}

void wf_error_set_aside(weft_context *ctx, weft_error *older)
{
    *older = ctx->error;
    ctx->error = (weft_error)WEFT_ERROR_INIT;
}

void wf_error_put_back(weft_context *ctx, const weft_error *older)
{
    if (older->status != WEFT_OK)
        ctx->error = *older;
}

void weft_error_clear(weft_context *ctx)
{
    if (!ctx)
        return;
    ctx->error = (weft_error)WEFT_ERROR_INIT;
    ctx->step_failed = WEFT_OK;
}
