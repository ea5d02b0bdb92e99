/* The graph's storage: growing arrays, leaves, assignments, module paths, and the end of a step. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/graph/lint.h"
#include "engine/graph/graph.h"

weft_status wf_graph_create(weft_context *ctx, const wf_graph_runner *runner)
{
    ctx->graph = wf_zalloc(sizeof *ctx->graph);
    if (!ctx->graph)
        return wf_nomem(&ctx->error, sizeof *ctx->graph, "the graph");
    *ctx->graph = (wf_graph){.runner = runner, .anomaly = ctx->options.anomaly};
    return WEFT_OK;
}

/* Frees all borders and the hooks of recorded handles, because the step ends. */
static void drop_hooks(wf_graph *g)
{
    for (int i = 0; i < g->n_borders; i++) {
        g->borders[i]->drop(g->borders[i]->user);
        wf_free(g->borders[i]);
    }
    g->n_borders = 0;
    for (int v = 0; v < g->n_values && g->hooked; v++) {
        if (!g->values[v].handle)
            continue;
        wf_grad_hooks_free(g->values[v].handle->hooks);
        g->values[v].handle->hooks = NULL;
    }
    g->hooked = false;
}

/* Removes everything recorded. The arrays keep their memory for the next step. */
static void clear(wf_graph *g)
{
    drop_hooks(g);
    for (int i = 0; i < g->n_values; i++) {
        wf_memory_free(&g->values[i].store);
        weft_tensor_unref(g->values[i].stored);
    }
    for (int i = 0; i < g->n_assigned; i++)
        weft_tensor_unref(g->assigned[i].stored);
    g->n_waiting = g->n_listed = 0;
    g->ran_part = false;
    /* What ends a step in which nothing was recorded leaves the arrays as they are. */
    if (g->n_nodes > 0 || g->n_values > 0 || g->n_assigned > 0) {
        g->log = wf_graph_log(g);
        g->known = (wf_graph_known){g->n_nodes, g->n_values, g->n_assigned};
    }
    g->n_values = g->n_nodes = g->n_operands = g->n_scalars = g->n_assigned = 0;
    g->n_bytes = 0;
    g->watching = false;
    g->backwards = 0;
    for (int i = 0; i < g->n_kept[1]; i++)
        weft_tensor_unref(g->kept[1][i]);
    g->n_kept[1] = 0;
}

void wf_graph_reset(weft_context *ctx)
{
    wf_graph *g = ctx->graph;
    clear(g);
    ctx->step_failed = WEFT_OK;
    weft_tensor **kept = g->kept[1];
    int cap = g->cap_kept[1];
    g->kept[1] = g->kept[0];
    g->cap_kept[1] = g->cap_kept[0];
    g->n_kept[1] = g->n_kept[0];
    g->kept[0] = kept;
    g->cap_kept[0] = cap;
    g->n_kept[0] = 0;
    g->segments = g->segment = g->segment > 0; /* a scope may span steps */
    ctx->gen++;
    wf_ring_next_step(&ctx->ring);
}

void wf_graph_done(weft_context *ctx)
{
    wf_graph *g = ctx->graph;
    if (!g)
        return;
    clear(g);
    for (int i = 0; i < g->n_kept[0]; i++)
        weft_tensor_unref(g->kept[0][i]);
    for (int i = 0; i < g->n_paths; i++)
        wf_free(g->paths[i]);
    wf_free(g->values);
    wf_free(g->nodes);
    wf_free(g->operands);
    wf_free(g->bytes);
    wf_free(g->scalars);
    wf_free(g->assigned);
    wf_free(g->waiting);
    wf_free(g->kept[0]);
    wf_free(g->kept[1]);
    wf_free(g->paths);
    wf_free(g->path_table);
    wf_free(g->borders);
    wf_free(g->walk_mem);
    *g = (wf_graph){.runner = g->runner};
}

/* Resets a stored tensor's graph fields, which belong to an earlier step until the present step
 * first uses the tensor. */
static void enter(const weft_context *ctx, weft_tensor *t)
{
    if (t->gen != ctx->gen) {
        t->gen = ctx->gen;
        t->leaf = t->leaves = t->pending = -1;
    }
}

int wf_graph_value(weft_context *ctx, weft_tensor *t)
{
    wf_graph *g = ctx->graph;
    if (t->magic == WF_MAGIC_RECORDED)
        return t->value;
    enter(ctx, t);
    if (t->pending >= 0)
        return t->pending;
    if (t->leaf >= 0)
        return t->leaf;
    if (wf_tensor_check_given(ctx, t, "a recorded op's input") != WEFT_OK)
        return -1;
    if (!wf_grow(&g->values, &g->cap_values, g->n_values, 1, sizeof *g->values)) {
        wf_nomem(&ctx->error, sizeof *g->values, "the graph");
        return -1;
    }
    if (!wf_graph_leaf_is_known(g, t))
        wf_graph_differs(g);
    g->values[g->n_values] = (wf_value){.type = {wf_read_as(t->type.dtype), t->type.shape},
                                        .storage = t->type.dtype,
                                        .node = -1,
                                        .stored = weft_tensor_ref(t),
                                        .version = t->version,
                                        .older = t->leaves,
                                        .requires_grad = t->requires_grad,
                                        .block = 1};
    wf_watch(ctx, &g->values[g->n_values]);
    return t->leaf = t->leaves = g->n_values++;
}

/* Whether `value` may become the content of `stored`; *v: its number in the graph. */
static weft_status check_assignment(weft_context *ctx, weft_tensor *stored, weft_tensor *value,
                                    int *v)
{
    if (!wf_tensor_check(stored, "assign", false) || !wf_tensor_check(value, "assign", false))
        return WEFT_ERR_STATE;
    char a[128], b[128];
    const weft_dtype from = wf_read_as(value->type.dtype);
    if (stored->type.dtype != from || !weft_shape_equal(stored->type.shape, value->type.shape))
        return wf_fail(ctx, WEFT_ERR_SHAPE, "assign: %s %s to %s %s", weft_dtype_name(from),
                       weft_shape_format(value->type.shape, a, sizeof a),
                       weft_dtype_name(stored->type.dtype),
                       weft_shape_format(stored->type.shape, b, sizeof b));
    *v = wf_graph_value(ctx, value);
    return *v < 0 ? WEFT_ERR_NOMEM : WEFT_OK;
}

static weft_status assign(weft_context *ctx, int n, weft_tensor *const *stored,
                          weft_tensor *const *value, bool state)
{
    wf_graph *g = ctx->graph;
    int v[WF_MAX_OUT];
    for (int i = 0; i < n; i++)
        WF_TRY(check_assignment(ctx, stored[i], value[i], &v[i]));
    if (!wf_grow(&g->assigned, &g->cap_assigned, g->n_assigned, n, sizeof *g->assigned))
        return wf_nomem(&ctx->error, (size_t)n * sizeof *g->assigned, "the graph");
    for (int i = 0; i < n; i++) { /* nothing can fail from here on */
        wf_graph_unassign(ctx, stored[i]);
        stored[i]->assignment = g->n_assigned;
        if (!wf_graph_assignment_is_known(g, v[i], state))
            wf_graph_differs(g);
        g->assigned[g->n_assigned++] =
            (wf_assignment){weft_tensor_ref(stored[i]), v[i], v[i], state};
        stored[i]->pending = v[i];
    }
    return WEFT_OK;
}

static weft_status assign_in_step(int n, weft_tensor *const *stored, weft_tensor *const *value,
                                  bool state)
{
    weft_context *ctx = wf_tensor_owner(stored[0]);
    if (!ctx)
        return WEFT_ERR_INVALID;
    WF_TRY(wf_step_status(ctx));
    weft_status status = assign(ctx, n, stored, value, state);
    return status == WEFT_OK ? WEFT_OK : wf_step_fail(ctx, status);
}

weft_status wf_graph_assign(weft_tensor *stored, weft_tensor *value, bool state)
{
    return assign_in_step(1, &stored, &value, state);
}

weft_status wf_assign_all(int n, weft_tensor *const *stored, weft_tensor *const *values)
{
    return assign_in_step(n, stored, values, true);
}

void wf_graph_unassign(weft_context *ctx, weft_tensor *t)
{
    wf_graph *g = ctx->graph;
    enter(ctx, t);
    if (t->pending >= 0)
        g->assigned[t->assignment].value = -1;
    t->pending = -1;
}

weft_tensor *weft_keep(weft_tensor *t)
{
    weft_context *ctx = wf_record_context("keep", 1, 1, &t);
    if (!ctx)
        return NULL;
    weft_tensor *kept = weft_tensor_create(ctx, wf_read_as(t->type.dtype), t->type.shape);
    if (!kept) {
        wf_step_fail(ctx, WEFT_ERR_NOMEM);
    } else if (wf_graph_assign(kept, t, false) != WEFT_OK) {
        weft_tensor_unref(kept);
        return NULL;
    }
    if (kept)
        kept->awaited = true;
    return kept;
}

weft_status wf_graph_keep(weft_context *ctx, weft_tensor *t)
{
    wf_graph *g = ctx->graph;
    if (t->kept)
        return WEFT_OK;
    if (!wf_grow(&g->kept[0], &g->cap_kept[0], g->n_kept[0], 1, sizeof *g->kept[0]))
        return wf_nomem(&ctx->error, sizeof *g->kept[0], "a kept value");
    weft_tensor *kept = weft_keep(t);
    if (!kept)
        return wf_step_status(ctx);
    t->kept = g->kept[0][g->n_kept[0]++] = kept;
    return WEFT_OK;
}

/* FNV-1a. */
static uint32_t hash_path(const char *path)
{
    uint32_t h = 0x811c9dc5;
    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * 0x01000193;
    return h;
}

/* The place of the path in the table, or where it would go. The table has room. */
static int *path_place(const wf_graph *g, const char *path)
{
    const uint32_t mask = (uint32_t)g->cap_path_table - 1;
    uint32_t i = hash_path(path) & mask;
    while (g->path_table[i] && strcmp(g->paths[g->path_table[i] - 1], path) != 0)
        i = (i + 1) & mask;
    return &g->path_table[i];
}

/* The table is at most half full. */
static bool grow_path_table(wf_graph *g)
{
    if (2 * (g->n_paths + 1) <= g->cap_path_table)
        return true;
    const int cap = g->cap_path_table ? 2 * g->cap_path_table : 64;
    int *table = wf_zalloc_array((size_t)cap, sizeof *table);
    if (!table)
        return false;
    wf_free(g->path_table);
    g->path_table = table;
    g->cap_path_table = cap;
    for (int i = 0; i < g->n_paths; i++)
        *path_place(g, g->paths[i]) = i + 1;
    return true;
}

/* Each path is stored once, so that nodes have one pointer and memory does not grow with the
 * steps. */
const char *wf_path_intern(weft_context *ctx)
{
    wf_graph *g = ctx->graph;
    if (ctx->where.interned)
        return ctx->where.interned;
    /* The last step's node at this place has most likely the same path. */
    if (g->n_nodes < g->known.nodes && strcmp(g->nodes[g->n_nodes].path, ctx->where.path) == 0)
        return ctx->where.interned = g->nodes[g->n_nodes].path;
    if (!grow_path_table(g))
        return "";
    int *place = path_place(g, ctx->where.path);
    if (*place)
        return ctx->where.interned = g->paths[*place - 1];
    char *copy = wf_strdup(ctx->where.path);
    if (!copy || !wf_grow(&g->paths, &g->cap_paths, g->n_paths, 1, sizeof *g->paths)) {
        wf_free(copy);
        return "";
    }
    *place = g->n_paths + 1;
    return ctx->where.interned = g->paths[g->n_paths++] = copy;
}

weft_status wf_may_end_step(weft_context *ctx, const char *what)
{
    if (ctx->closed)
        return wf_fail(ctx, WEFT_ERR_STATE, "%s: the context was destroyed", what);
    if (ctx->graph->in_backward)
        return wf_fail(ctx, WEFT_ERR_STATE, "%s: a hook cannot end the step", what);
    if (ctx->callbacks > 0)
        return wf_fail(ctx, WEFT_ERR_STATE, "%s: not possible inside a callback", what);
    return WEFT_OK;
}
