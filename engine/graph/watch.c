/* Finds writes that Weft was not told of. weft_tensor_data gives out a pointer. The program may
 * write through it after an op that reads the tensor was recorded and before this op runs. So, with
 * lints or in anomaly mode, Weft hashes the bytes of tensors that gave out such a pointer: when an
 * op that reads them is recorded, and again before the op runs. Threading rule: the context's. */
#include <stdio.h>
#include <xxhash.h>

#include "engine/graph/graph.h"
#include "engine/graph/lint.h"

static uint64_t sum_of(const weft_tensor *t)
{
    return XXH3_64bits(t->block.data, wf_type_bytes(t->type));
}

void wf_watch(weft_context *ctx, wf_value *leaf)
{
    if (!leaf->stored->exposed || !(ctx->graph->anomaly || wf_lint_on(ctx)))
        return;
    ctx->graph->watching = leaf->watched = true;
    leaf->sum = sum_of(leaf->stored);
}

/* The first node with nodes[n] set that reads the value; NULL: none. */
static const wf_node *reader(const wf_graph *g, const char *nodes, int value)
{
    for (int n = 0; n < g->n_nodes; n++)
        for (int i = 0; nodes[n] && i < g->nodes[n].n_in; i++)
            if (wf_node_in(g, &g->nodes[n])[i] == value)
                return &g->nodes[n];
    return NULL;
}

static weft_status tell(weft_context *ctx, const wf_value *leaf, const wf_node *by)
{
    char shape[128], text[WEFT_ERROR_TEXT];
    snprintf(text, sizeof text,
             "%s%s%s: its input of shape %s was written through an old pointer of "
             "weft_tensor_data after it was recorded; ask for the pointer again, or use weft_write",
             by->path, *by->path ? ": " : "", by->title,
             weft_shape_format(leaf->type.shape, shape, sizeof shape));
    return by->check ? wf_fail(ctx, WEFT_ERR_STATE, "%s", text) : wf_lint(ctx, "%s", text);
}

weft_status wf_watch_check(weft_context *ctx, const char *nodes)
{
    wf_graph *g = ctx->graph;
    weft_status status = WEFT_OK;
    for (int v = 0; g->watching && v < g->n_values && status == WEFT_OK; v++) {
        wf_value *leaf = &g->values[v];
        /* Weft was told of a newer version; where this matters, there is another error for it. */
        if (!leaf->watched || leaf->version != leaf->stored->version)
            continue;
        const wf_node *by = reader(g, nodes, v);
        if (!by || sum_of(leaf->stored) == leaf->sum)
            continue;
        leaf->watched = false; /* report it once a step */
        status = tell(ctx, leaf, by);
    }
    return status;
}
