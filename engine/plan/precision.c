/* Plan pass precision: chooses the storage type of each value, and inserts casts.
 *
 * With weft_options.amp, a *feature map* (an f32 value of rank 4 with more than one pixel an image)
 * is stored as bf16 where the op that makes it allows this: wf_op.precision, which follows the
 * lists of PyTorch's autocast. Everything else stays as recorded: parameters, their gradients,
 * optimizer state, statistics, losses, and values of one pixel, which are small. Every kernel
 * computes in f32: an op rounds once, as it stores.
 *
 * The choice is local: it depends on the op that makes a value and on this op's inputs, never on
 * later readers. So a step gives the same numbers when it runs piece by piece. See
 * Note [Reading mid-step] in execute.c. The pass comes before fuse, so that fuse does not join ops
 * with a cast between them.
 *
 * Stored tensors of bf16 (Note [Stored bf16] in engine/tensor/tensor.h) are read through casts, too,
 * but for feature maps under weft_options.amp.
 *
 * An op without a bf16 kernel (WF_OP_BF16) reads its inputs through casts and gives its outputs to
 * casts. Each reader gets casts of its own. So an f32 copy lives for a short time: one image at a
 * time, in the op's own task group. See chain.c. */
#include "engine/base/alloc.h"
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/internal.h"
#include "engine/plan/plan.h"

static bool is_feature_map(const wf_ir_value *v)
{
    const weft_shape *s = &v->type.shape;
    return v->type.dtype == WEFT_F32 && s->rank == 4 && s->dim[2] * s->dim[3] > 1;
}

/* Appends a cast from value `from` to value `to`, for node `for_node`. dense: `from` is a stored tensor
 * that nobody reads image by image. */
static weft_status cast(wf_plan *p, int from, int to, const wf_ir_node *for_node, bool dense)
{
    const wf_cast_attrs attrs = {.dtype = p->values[to].storage, .dense = dense};
    const int node = wf_ir_new_node(p, &wf_op_cast, &attrs, 1, &from);
    if (node < 0)
        return WEFT_ERR_NOMEM;
    p->values[to].kind = WF_IR_NODE;
    p->values[to].node = node;
    p->values[to].out = 0;
    p->nodes[node].out[0] = to;
    p->nodes[node].n_out = 1;
    p->nodes[node].path = for_node ? for_node->path : "";
    p->nodes[node].backward = for_node && for_node->backward;
    p->nodes[node].segment = for_node ? for_node->segment : 0;
    return WEFT_OK;
}

/* Appends a cast to the type with which the value was recorded. Returns the copy; -1: out of
 * memory. */
static int widen(wf_plan *p, int value, const wf_ir_node *for_node, bool dense)
{
    const int copy = wf_ir_new_value(p, p->values[value].type);
    return copy >= 0 && cast(p, value, copy, for_node, dense) == WEFT_OK ? copy : -1;
}

/* Whether an input feature map of the node is stored in type t. */
static bool reads(const wf_plan *p, const wf_ir_node *n, weft_dtype t)
{
    for (int i = 0; i < n->n_in; i++)
        if (is_feature_map(&p->values[n->in[i]]) && p->values[n->in[i]].storage == t)
            return true;
    return false;
}

/* Whether the node's output feature maps are stored as bf16. */
static bool stores_bf16(const wf_plan *p, const wf_ir_node *n)
{
    if (p->ctx->options.amp != WEFT_AMP_BF16)
        return false;
    switch (n->op->precision) {
    case WF_PRECISION_BF16: return true;
    case WF_PRECISION_FOLLOW: return !reads(p, n, WEFT_F32);
    default: return false;
    }
}

/* Whether the node's lowering reads input i as it is stored, in bf16. */
static bool takes_stored(const wf_plan *p, const wf_ir_node *n, int i)
{
    weft_shape shapes[WF_MAX_IN];
    if (!n->op->takes_stored || p->values[n->in[i]].kind != WF_IR_LEAF || n->n_in > WF_MAX_IN)
        return false;
    for (int k = 0; k < n->n_in; k++)
        shapes[k] = p->values[n->in[k]].type.shape;
    return n->op->takes_stored(n->attrs, shapes, i);
}

/* Makes the node read f32 copies of its bf16 inputs; if it takes bf16 (`takes`), only of those that
 * are no feature maps: weights, and parameters that are stored so. */
static weft_status widen_inputs(wf_plan *p, wf_ir_node *n, bool takes)
{
    for (int i = 0; i < n->n_in; i++) {
        const int value = n->in[i];
        if (p->values[value].storage == p->values[value].type.dtype ||
            (takes && n->op->weights != i + 1 && is_feature_map(&p->values[value])) ||
            takes_stored(p, n, i))
            continue;
        const bool dense = n->op->weights == i + 1 && p->values[value].kind == WF_IR_LEAF;
        const int copy = widen(p, value, n, dense);
        if (copy < 0)
            return WEFT_ERR_NOMEM;
        for (int j = i; j < n->n_in; j++)
            if (n->in[j] == value && !takes)
                n->in[j] = copy;
        n->in[i] = copy;
    }
    return WEFT_OK;
}

static bool all_feature_maps(const wf_plan *p, const int *value, int n)
{
    for (int i = 0; i < n; i++)
        if (p->values[value[i]].type.dtype == WEFT_F32 && !is_feature_map(&p->values[value[i]]))
            return false;
    return true;
}

/* Whether the op has kernels for the node's operands as they are stored. */
static bool takes_bf16(const wf_plan *p, const wf_ir_node *n)
{
    const wf_op *op = n->op;
    if (p->ctx->options.amp != WEFT_AMP_BF16)
        return false;
    if (op->precision == WF_PRECISION_BF16 || op->precision == WF_PRECISION_F32_OUT)
        return op->flags & WF_OP_BF16;
    if (reads(p, n, WEFT_F32))
        return false;
    if (op->flags & WF_OP_ALL_BF16)
        return all_feature_maps(p, n->in, n->n_in) && all_feature_maps(p, n->out, n->n_out);
    return op->flags & WF_OP_BF16;
}

static weft_status place(wf_plan *p, wf_ir_node node)
{
    const bool low = stores_bf16(p, &node), takes = takes_bf16(p, &node);
    int narrow[WF_MAX_OUT]; /* the output's value where a cast makes it; -1: no cast */
    WF_TRY(widen_inputs(p, &node, takes));
    for (int o = 0; o < node.n_out; o++) {
        narrow[o] = -1;
        if (!low || !is_feature_map(&p->values[node.out[o]]))
            continue;
        p->values[node.out[o]].storage = WEFT_BF16;
        if (takes)
            continue;
        narrow[o] = node.out[o];
        node.out[o] = wf_ir_new_value(p, p->values[narrow[o]].type);
        if (node.out[o] < 0)
            return WEFT_ERR_NOMEM;
    }
    if (!wf_grow(&p->nodes, &p->cap_nodes, p->n_nodes, 1, sizeof *p->nodes))
        return wf_plan_nomem(p);
    for (int o = 0; o < node.n_out; o++) {
        p->values[node.out[o]].node = p->n_nodes;
        p->values[node.out[o]].out = o;
    }
    p->nodes[p->n_nodes++] = node;
    for (int o = 0; o < node.n_out; o++)
        if (narrow[o] >= 0)
            WF_TRY(cast(p, node.out[o], narrow[o], &node, false));
    return WEFT_OK;
}

/* A value that is assigned to a stored tensor must have the tensor's type. */
static weft_status widen_assigned(wf_plan *p)
{
    for (int i = 0; i < p->n_assigns; i++) {
        const int value = p->assigns[i].value;
        if (p->values[value].storage == p->values[value].type.dtype)
            continue;
        const int copy = widen(p, value, NULL, false);
        if (copy < 0)
            return WEFT_ERR_NOMEM;
        p->assigns[i].value = copy;
    }
    return WEFT_OK;
}

const wf_ir_node *wf_ir_maker(const wf_plan *p, const wf_ir_node *node)
{
    if (node->source >= 0)
        return node;
    if (node->op != &wf_op_cast || p->values[node->out[0]].storage != WEFT_BF16)
        return NULL;
    const wf_ir_value *v = &p->values[node->in[0]];
    return v->kind == WF_IR_NODE && v->node >= 0 ? &p->nodes[v->node] : NULL;
}

/* Whether a value that the plan reads is stored in another type than ops see. */
static bool reads_bf16(const wf_plan *p)
{
    for (int v = 0; v < p->n_values; v++)
        if (p->values[v].storage != p->values[v].type.dtype)
            return true;
    return false;
}

weft_status wf_pass_precision(wf_plan *p)
{
    if (p->ctx->options.amp != WEFT_AMP_BF16 && !reads_bf16(p))
        return WEFT_OK;
    const int n_old = p->n_nodes;
    wf_ir_node *old = wf_bump_alloc(&p->bump, (size_t)(n_old + 1) * sizeof *old);
    if (!old)
        return wf_plan_nomem(p);
    for (int n = 0; n < n_old; n++)
        old[n] = p->nodes[n];
    for (int v = 0; v < p->n_values; v++)
        p->values[v].node = -1; /* dead values keep -1 */
    p->n_nodes = 0;             /* the list is rewritten, with the casts in place */
    for (int n = 0; n < n_old; n++)
        if (!old[n].dead)
            WF_TRY(place(p, old[n]));
    return widen_assigned(p);
}
