/* What a plan stores as bf16, what converting between bf16 and f32 is expected to cost, and which ops
 * compute on f32 copies of bf16 values, and why. Stateless. */
#include <stdio.h>

#include "engine/base/alloc.h"
#include "engine/base/quote.h"
#include "engine/graph/ops/internal.h"
#include "engine/step/explain.h"

/* Why an op that has bf16 operands computes on f32 copies. */
static const char *reason(const wf_op *op)
{
    if (op->precision == WF_PRECISION_F32)
        return "by its rule";
    return op->flags & (WF_OP_BF16 | WF_OP_ALL_BF16) ? "beside an operand of f32"
                                                     : "without a bf16 kernel";
}

typedef struct op_count {
    const wf_op *op;
    int nodes;
} op_count;

static void count(op_count *ops, int *n, const wf_op *op)
{
    int i = 0;
    while (i < *n && ops[i].op != op)
        i++;
    if (i == *n)
        ops[(*n)++] = (op_count){.op = op};
    ops[i].nodes++;
}

/* Marks nodes whose values a cast converts on the way in or out. Stored parameters of bf16 do not
 * count: every op reads those as f32. */
static void mark(const wf_plan *p, char *converted)
{
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        for (int i = 0; i < node->n_in && !node->dead; i++) {
            const wf_ir_value *v = &p->values[node->in[i]];
            const bool by_cast = v->kind == WF_IR_NODE && v->node >= 0 &&
                                 p->nodes[v->node].op == &wf_op_cast &&
                                 p->nodes[v->node].source < 0;
            if (node->op == &wf_op_cast && node->source < 0 && v->kind == WF_IR_NODE &&
                v->storage == WEFT_F32 && v->node >= 0)
                converted[v->node] = 1; /* its output is rounded by a cast */
            else if (by_cast && node->op != &wf_op_cast &&
                     p->values[p->nodes[v->node].in[0]].kind != WF_IR_LEAF)
                converted[n] = 1;
        }
    }
}

static void print_ops(const wf_plan *p, const char *converted, op_count *ops, FILE *out)
{
    int n = 0;
    for (int i = 0; i < p->n_nodes; i++)
        if (converted[i] && p->nodes[i].op != &wf_op_cast)
            count(ops, &n, p->nodes[i].op);
    for (int i = 0; i < n; i++) {
        fputs(i == 0 ? "types: in f32 over bf16 values: " : ", ", out);
        wf_print_quoted(ops[i].op->name, out);
        fprintf(out, " %d (%s)", ops[i].nodes, reason(ops[i].op));
    }
    if (n > 0)
        fputc('\n', out);
}

weft_status wf_explain_types(const wf_plan *p, const wf_forecast *f, FILE *out)
{
    double bytes = 0, moved = 0, seconds = 0, inside = 0;
    int buffers = 0, casts = 0, passes = 0;
    for (int b = 0; b < p->n_buffers; b++) {
        const wf_buffer *buf = &p->buffers[b];
        if (buf->value < 0 || p->values[buf->value].storage != WEFT_BF16 || buf->whole >= 0 ||
            buf->first < 0)
            continue;
        buffers++;
        bytes += (double)buf->images * (double)buf->stride;
    }
    for (int t = 0; t < p->n_tasks; t++) {
        const wf_task *task = p->tasks[t];
        if (task->op == &wf_op_cast) {
            casts++;
            moved += task->bytes;
            seconds += f[t].seconds;
        }
        passes += f[t].converting > 0;
        inside += f[t].converting;
    }
    if (buffers == 0)
        return WEFT_OK;
    fprintf(
        out,
        "types: %d buffers of bf16, %.2f MiB; conversions: %d tasks, %.2f MB, %.3f ms; inside %d "
        "convolutions, %.3f ms\n",
        buffers, bytes / (1024 * 1024), casts, moved * 1e-6, seconds * 1e3, passes, inside * 1e3);
    char *converted = wf_zalloc_array((size_t)p->n_nodes + 1, 1);
    op_count *ops = wf_zalloc_array((size_t)p->n_nodes + 1, sizeof *ops);
    const bool ok = converted && ops;
    if (ok) {
        mark(p, converted);
        print_ops(p, converted, ops, out);
    }
    wf_free(converted);
    wf_free(ops);
    return ok ? WEFT_OK : wf_nomem(&p->ctx->error, 0, "the text of weft_explain");
}
