/* Warnings about likely mistakes that are no errors: who gets them, tensors that no optimizer has,
 * and the order of calls. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/graph/graph.h"
#include "engine/graph/lint.h"
#include "engine/base/alloc.h"

enum { LOOSE_MAX = 64 }; /* different texts; enough to show the mistake */

static weft_lint mode_of_environment(void)
{
    const char *text = getenv("WEFT_LINT");
    if (text && strcasecmp(text, "error") == 0)
        return WEFT_LINT_ERROR;
    return text && strcasecmp(text, "off") == 0 ? WEFT_LINT_OFF : WEFT_LINT_WARN;
}

weft_status wf_lint_create(weft_context *ctx, weft_lint mode)
{
    ctx->lint = wf_zalloc(sizeof *ctx->lint);
    if (!ctx->lint)
        return wf_nomem(&ctx->error, sizeof *ctx->lint, "the context");
    ctx->lint->mode = mode == WEFT_LINT_DEFAULT ? mode_of_environment() : mode;
    return WEFT_OK;
}

void wf_lint_destroy(wf_lint_state *lint)
{
    for (int i = 0; lint && i < lint->n_loose; i++)
        wf_free(lint->loose[i].text);
    if (lint)
        wf_free(lint->loose);
    wf_free(lint);
}

void weft_set_message_handler(weft_context *ctx, weft_message_fn fn, void *user)
{
    if (!ctx)
        return;
    ctx->lint->fn = fn;
    ctx->lint->user = user;
}

bool wf_lint_on(const weft_context *ctx)
{
    return ctx->lint->mode == WEFT_LINT_ERROR ||
           (ctx->lint->mode == WEFT_LINT_WARN && ctx->lint->fn);
}

static void call_handler(weft_context *ctx, const char *text)
{
    ctx->callbacks++;
    ctx->lint->fn(ctx->lint->user, text);
    ctx->callbacks--;
}

weft_status wf_lint(weft_context *ctx, const char *format, ...)
{
    char text[WEFT_ERROR_TEXT];
    int n = ctx->where.path_len ? snprintf(text, sizeof text, "%s: ", ctx->where.path) : 0;
    va_list args;
    va_start(args, format);
    wf_vsnprintf(text + n, sizeof text - (size_t)n, format, args);
    va_end(args);
    if (ctx->lint->mode == WEFT_LINT_ERROR)
        return wf_error_set(&ctx->error, WEFT_ERR_STATE, "%s (WEFT_LINT makes this an error)",
                            text);
    if (wf_lint_on(ctx))
        call_handler(ctx, text);
    return WEFT_OK;
}

void wf_tell(weft_context *ctx, const char *format, ...)
{
    char text[WEFT_ERROR_TEXT];
    va_list args;
    if (!ctx->lint->fn)
        return;
    va_start(args, format);
    wf_vsnprintf(text, sizeof text, format, args);
    va_end(args);
    call_handler(ctx, text);
}

/* ---- tensors that no optimizer has ---- */

/* The first node that reads the leaf; NULL where none does, because the leaf is the loss itself. */
static const wf_node *first_user(const wf_graph *g, int value)
{
    for (int n = 0; n < g->n_nodes; n++)
        for (int i = 0; i < g->nodes[n].n_in; i++)
            if (wf_node_in(g, &g->nodes[n])[i] == value)
                return &g->nodes[n];
    return NULL;
}

void wf_lint_loose(weft_context *ctx, int value)
{
    wf_lint_state *lint = ctx->lint;
    const wf_graph *g = ctx->graph;
    const weft_tensor *t = g->values[value].stored;
    const wf_node *by = first_user(g, value);
    char shape[128], text[512];
    bool in_module = by && *by->path;
    snprintf(text, sizeof text,
             "a tensor of shape %s (%s) that requires a gradient reaches the loss through %s%s%s, "
             "but no optimizer has it",
             weft_shape_format(t->type.shape, shape, sizeof shape), weft_dtype_name(t->type.dtype),
             by ? by->title : "nothing", in_module ? " in module " : "", in_module ? by->path : "");
    for (int i = 0; i < lint->n_loose; i++)
        if (strcmp(lint->loose[i].text, text) == 0)
            return;
    if (lint->n_loose == LOOSE_MAX ||
        !wf_grow(&lint->loose, &lint->cap_loose, lint->n_loose, 1, sizeof *lint->loose))
        return; /* out of memory: one message less */
    char *copy = wf_strdup(text);
    if (copy)
        lint->loose[lint->n_loose++] = (wf_loose){t, copy, false};
}

static void drop_loose(wf_lint_state *lint, int i)
{
    wf_free(lint->loose[i].text);
    lint->n_loose--;
    memmove(&lint->loose[i], &lint->loose[i + 1],
            (size_t)(lint->n_loose - i) * sizeof *lint->loose);
}

void wf_lint_wanted(weft_context *ctx, const weft_tensor *t)
{
    for (int i = ctx->lint->n_loose - 1; i >= 0; i--)
        if (ctx->lint->loose[i].tensor == t && !ctx->lint->loose[i].told)
            drop_loose(ctx->lint, i);
}

weft_status wf_lint_tell_loose(weft_context *ctx)
{
    wf_lint_state *lint = ctx->lint;
    weft_status status = WEFT_OK;
    for (int i = lint->n_loose - 1; i >= 0; i--) {
        /* The handler may ask for gradients, which removes warnings that were not given yet. */
        if (i >= lint->n_loose || lint->loose[i].told)
            continue;
        lint->loose[i].told = true;
        weft_status s = wf_lint(ctx, "%s", lint->loose[i].text);
        if (s != WEFT_OK) { /* the mistake is still there, so each step fails */
            status = s;
            drop_loose(lint, i);
        }
    }
    return status;
}

/* ---- the order of calls ---- */

wf_call_mark wf_lint_call_begins(const weft_context *ctx)
{
    return (wf_call_mark){ctx->graph->n_nodes, ctx->graph->n_assigned};
}

void wf_lint_call_ends(weft_context *ctx, wf_call_mark begin, const void *module,
                       const weft_tensor *out)
{
    const wf_graph *g = ctx->graph;
    wf_lint_state *lint = ctx->lint;
    bool counts = g->n_assigned > begin.assigned;
    for (int i = begin.nodes; i < g->n_nodes && !counts; i++)
        counts = g->nodes[i].op->flags & WF_OP_DRAWS;
    if (counts)
        lint->called[lint->n_called++ % 8] = (wf_called){module, out, ctx->gen};
}

/* How many noted calls ago a module gave `t`; -1: no noted call did. */
static int calls_ago(const weft_context *ctx, const weft_tensor *t, const void **module)
{
    const wf_lint_state *lint = ctx->lint;
    for (unsigned i = 0; i < 8 && i < lint->n_called; i++) {
        const wf_called *c = &lint->called[(lint->n_called - 1 - i) % 8];
        if (c->out == t && c->gen == ctx->gen) {
            *module = c->module;
            return (int)i;
        }
    }
    return -1;
}

weft_status wf_lint_order(weft_context *ctx, const char *op, int n_in, weft_tensor *const *in)
{
    const void *module = NULL, *before = NULL;
    for (int i = 1, last = calls_ago(ctx, in[0], &before); i < n_in; i++) {
        const int ago = calls_ago(ctx, in[i], &module);
        if (last >= 0 && ago > last && module == before)
            return wf_lint(ctx,
                           "%s: a module was called for operand %d before operand %d; C does not "
                           "order arguments: give each call a statement of its own",
                           op, i, i - 1);
        last = ago;
        before = module;
    }
    return WEFT_OK;
}
