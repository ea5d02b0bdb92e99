/* Plan pass bytes: lets convolutions read images as bytes (u8) instead of as normalised floats.
 *
 * A convolution or weight gradient that reads normalised images gets two inputs instead: the bytes,
 * and a table. The table has the normalised value of each of the 256 bytes, for each channel; the
 * kernel looks values up as it loads. If no other node reads the normalised images, they are never
 * computed. The bits are the same: the table has the values that normalising gives, and the kernel
 * is the one that would have read the normalised images. */
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/conv2d_lower.h"
#include "engine/plan/plan.h"

/* Whether the node, which reads `image`, could read its bytes instead. */
static weft_status can_read(wf_plan *p, const wf_ir_node *node, int image, bool *can)
{
    wf_lower l = {.ctx = p->ctx,
                  .op = node->op,
                  .attrs = node->attrs,
                  .n_in = node->n_in,
                  .n_out = node->n_out,
                  .isa = p->ctx->isa,
                  .workers = p->ctx->threads,
                  .plan = p,
                  .view = node};
    *can = (node->op == &wf_op_conv2d || node->op == &wf_op_conv2d_backward_weights) &&
           node->in[0] == image;
    for (int i = 1; i < node->n_in; i++)
        *can &= node->in[i] != image;
    if (!*can)
        return WEFT_OK;
    const int problems = p->n_problems;
    WF_TRY(wf_conv2d_can_read_bytes(&l, can));
    /* keeps the problem of the floats too: tuning may find a better kernel */
    p->n_problems = problems + *can;
    return WEFT_OK;
}

/* Makes room for one node before node `at`. */
static bool insert(wf_plan *p, int at)
{
    if (!wf_grow(&p->nodes, &p->cap_nodes, p->n_nodes, 1, sizeof *p->nodes))
        return false;
    memmove(&p->nodes[at + 1], &p->nodes[at], (size_t)(p->n_nodes++ - at) * sizeof *p->nodes);
    for (int v = 0; v < p->n_values; v++)
        p->values[v].node += p->values[v].node >= at;
    return true;
}

static void remove_node(wf_plan *p, int at)
{
    p->values[p->nodes[at].out[0]].node = -1;
    memmove(&p->nodes[at], &p->nodes[at + 1], (size_t)(--p->n_nodes - at) * sizeof *p->nodes);
    for (int v = 0; v < p->n_values; v++)
        p->values[v].node -= p->values[v].node > at;
}

/* Adds the node that makes the table, before the node that makes the images. Returns the table's
 * value, or -1. */
static int add_table(wf_plan *p, int normalize)
{
    const wf_ir_node *images = &p->nodes[normalize];
    const wf_type type = p->values[images->out[0]].type;
    const int table =
        wf_ir_new_value(p, (wf_type){type.dtype, WEFT_SHAPE(type.shape.dim[1], WF_BYTE_VALUES)});
    if (table < 0 || !insert(p, normalize))
        return -1;
    wf_ir_node *node = &p->nodes[normalize]; /* so far a copy of the next node */
    node->op = &wf_op_byte_table;
    node->source = -1;
    node->in++; /* mean, std */
    node->n_in--;
    node->out[0] = table;
    p->values[table].node = normalize;
    return table;
}

static bool give_bytes(wf_plan *p, wf_ir_node *reader, int bytes, int table)
{
    int *in = wf_bump_alloc(&p->bump, (size_t)(reader->n_in + 1) * sizeof *in);
    if (!in)
        return false;
    in[0] = bytes;
    for (int i = 1; i < reader->n_in; i++)
        in[i] = reader->in[i];
    in[reader->n_in++] = table;
    reader->in = in;
    return true;
}

/* Rewrites the readers of one normalize_images node. *n is its index; afterwards, where the
 * caller's loop goes on. */
static weft_status rewrite(wf_plan *p, int *n)
{
    const int bytes = p->nodes[*n].in[0], images = p->nodes[*n].out[0];
    bool needed = p->values[images].keep;
    for (int i = 0; i < p->n_assigns; i++)
        needed |= p->assigns[i].value == images;
    int table = -1;
    for (int r = *n + 1; r < p->n_nodes; r++) {
        bool can;
        WF_TRY(can_read(p, &p->nodes[r], images, &can));
        for (int i = 0; i < p->nodes[r].n_in && !can; i++)
            needed |= p->nodes[r].in[i] == images;
        if (!can)
            continue;
        if (table < 0) {
            table = add_table(p, (*n)++);
            r++;
        }
        if (table < 0 || !give_bytes(p, &p->nodes[r], bytes, table))
            return wf_plan_nomem(p);
    }
    if (table >= 0 && !needed)
        remove_node(p, (*n)--);
    return WEFT_OK;
}

weft_status wf_pass_bytes(wf_plan *p)
{
    if ((p->passes_off & WEFT_PASS_BYTES) || p->keep_all)
        return WEFT_OK;
    for (int n = 0; n < p->n_nodes; n++)
        if (p->nodes[n].op == &wf_op_normalize_images)
            WF_TRY(rewrite(p, &n));
    return WEFT_OK;
}
