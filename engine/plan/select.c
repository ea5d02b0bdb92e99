/* Plan pass select: gives every value a plan buffer, and lowers every node to tasks. Each op asks
 * its kernel family for the best kernel that fits.
 *
 * Assignments end here too. Where that is safe, the op that computes the value writes straight into
 * the stored tensor; else a copy task does it in the end. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/plan/plan.h"
#include "engine/tune/wisdom.h"

/* ---- buffers ---- */

wf_buf wf_plan_buffer(wf_plan *p, int64_t images, size_t stride, int value)
{
    if (!wf_grow(&p->buffers, &p->cap_buffers, p->n_buffers, 1, sizeof *p->buffers)) {
        wf_plan_nomem(p);
        return -1;
    }
    p->buffers[p->n_buffers] = (wf_buffer){.images = images,
                                           .stride = stride,
                                           .bytes = (size_t)images * stride,
                                           .first = -1,
                                           .last = -1,
                                           .value = value,
                                           .over = -1,
                                           .whole = -1,
                                           .size = stride};
    return p->n_buffers++;
}

static weft_status bind(wf_plan *p, wf_buf buf, wf_binding_kind kind, int index)
{
    if (!wf_grow(&p->bindings, &p->cap_bindings, p->n_bindings, 1, sizeof *p->bindings))
        return wf_plan_nomem(p);
    p->bindings[p->n_bindings++] = (wf_binding){kind, index, buf};
    p->buffers[buf].bound = true;
    return WEFT_OK;
}

static size_t image_bytes(const wf_ir_value *v)
{
    return wf_act_count(wf_ir_act(v)) * weft_dtype_size(v->storage);
}

static int64_t images(const wf_ir_value *v)
{
    return v->type.shape.rank ? v->type.shape.dim[0] : 1;
}

/* Per value, the last node that reads it; -1: none. NULL: out of memory. */
static int *last_readers(wf_plan *p)
{
    int *last = wf_bump_alloc(&p->bump, (size_t)(p->n_values + 1) * sizeof *last);
    for (int v = 0; v < p->n_values && last; v++)
        last[v] = -1;
    for (int n = 0; n < p->n_nodes && last; n++)
        for (int i = 0; i < p->nodes[n].n_in; i++)
            last[p->nodes[n].in[i]] = n;
    return last;
}

/* Whether the op that computes the value may write straight into the stored tensor. An in-place
 * update may if it runs in the commit phase and no later node reads the old content. A gradient or
 * kept value may if the step does not read the tensor at all. */
static bool writes_target(const wf_plan *p, const int *last_reader, const wf_ir_assign *a)
{
    const wf_ir_value *v = &p->values[a->value];
    if (v->kind != WF_IR_NODE || v->target >= 0 || v->keep)
        return false;
    const wf_ir_node *n = &p->nodes[v->node];
    if (!a->state)
        return a->leaf < 0;
    int in = n->op->inplace[v->out] - 1;
    return a->leaf >= 0 && in >= 0 && (n->op->flags & WF_OP_COMMIT) && n->in[in] == a->leaf &&
           last_reader[a->leaf] <= v->node;
}

/* Places a value inside another value's buffer; for slices of slices, in the outermost one. */
static void make_slice(wf_plan *p, int value)
{
    wf_buffer *b = &p->buffers[p->values[value].buf];
    for (int v = value; p->values[v].slice_of >= 0; v = p->values[v].slice_of) {
        b->at += p->values[v].slice_at;
        b->whole = p->values[p->values[v].slice_of].buf;
    }
    b->bytes = 0;
}

static weft_status make_buffers(wf_plan *p)
{
    const int *last_reader = last_readers(p);
    if (!last_reader)
        return wf_plan_nomem(p);
    for (int i = 0; i < p->n_assigns; i++)
        if (writes_target(p, last_reader, &p->assigns[i]))
            p->values[p->assigns[i].value].target = i;
    for (int i = 0; i < p->n_values; i++) {
        wf_ir_value *v = &p->values[i];
        if (v->kind == WF_IR_NODE && v->node < 0)
            continue; /* dead */
        const wf_ir_assign *a = v->target >= 0 ? &p->assigns[v->target] : NULL;
        if (a && a->leaf >= 0 && a->state) {
            v->buf = -2 - a->leaf; /* -2 - leaf: it will share the leaf's buffer, see below */
            continue;
        }
        v->buf = wf_plan_buffer(p, images(v), image_bytes(v), i);
        if (v->buf < 0)
            return WEFT_ERR_NOMEM;
        if (v->kind == WF_IR_LEAF)
            WF_TRY(bind(p, v->buf, WF_BIND_LEAF, i));
        else if (v->kind == WF_IR_DATA)
            WF_TRY(bind(p, v->buf, WF_BIND_DATA, i));
        else if (a)
            WF_TRY(bind(p, v->buf, WF_BIND_TARGET, v->target));
        else if (v->keep)
            WF_TRY(bind(p, v->buf, WF_BIND_KEEP, i));
    }
    for (int i = 0; i < p->n_values; i++)
        if (p->values[i].buf <= -2)
            p->values[i].buf = p->values[-2 - p->values[i].buf].buf;
    for (int i = 0; i < p->n_values; i++)
        if (p->values[i].slice_of >= 0 && p->values[i].buf >= 0)
            make_slice(p, i);
    return WEFT_OK;
}

/* ---- functions that the lowerings of ops call ---- */

static wf_operand operand(const wf_plan *p, int value)
{
    const wf_ir_value *v = &p->values[value];
    return (wf_operand){.buf = v->buf,
                        .dtype = v->storage,
                        .shape = v->type.shape,
                        .N = images(v),
                        .act = wf_ir_act(v),
                        .image_bytes = image_bytes(v)};
}

wf_operand wf_lower_in(const wf_lower *l, int i)
{
    return operand(l->plan, ((const wf_ir_node *)l->view)->in[i]);
}

wf_operand wf_lower_out(const wf_lower *l, int i)
{
    return operand(l->plan, ((const wf_ir_node *)l->view)->out[i]);
}

bool wf_lower_in_place(const wf_lower *l, int i, size_t at)
{
    const wf_plan *p = l->plan;
    const wf_ir_node *n = l->view;
    const wf_ir_value *v = &p->values[n->in[i]];
    return v->slice_of == n->out[0] && v->slice_at == at;
}

bool wf_lower_out_in_place(const wf_lower *l)
{
    const wf_ir_node *n = l->view;
    return ((const wf_plan *)l->plan)->values[n->out[0]].slice_of == n->in[0];
}

wf_buf wf_lower_temp(wf_lower *l, int64_t n, size_t bytes)
{
    return wf_plan_buffer(l->plan, n, (bytes + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN, -1);
}

weft_status wf_lower_own(wf_lower *l, void *state, void (*destroy)(void *))
{
    wf_plan *p = l->plan;
    if (!wf_grow(&p->owned, &p->cap_owned, p->n_owned, 1, sizeof *p->owned)) {
        destroy(state);
        return wf_plan_nomem(p);
    }
    p->owned[p->n_owned].state = state;
    p->owned[p->n_owned++].destroy = destroy;
    return WEFT_OK;
}

weft_status wf_lower_fail(wf_lower *l, weft_status status, const char *format, ...)
{
    char text[WEFT_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *path = ((const wf_ir_node *)l->view)->path;
    return wf_fail(l->ctx, status, "%s%s%s: %s", path, *path ? ": " : "", l->op->name, text);
}

static wf_task *add_task(wf_plan *p, const wf_op *op, int node, const char *path,
                         const char *kernel, wf_tile_fn fn, const void *args, size_t args_size,
                         int64_t tiles)
{
    wf_task *t = wf_bump_alloc(&p->bump, sizeof *t);
    void *copy = wf_bump_alloc(&p->bump, args_size);
    if (!t || !copy || !wf_grow(&p->tasks, &p->cap_tasks, p->n_tasks, 1, sizeof *p->tasks)) {
        wf_plan_nomem(p);
        return NULL;
    }
    if (args_size)
        memcpy(copy, args, args_size);
    *t = (wf_task){.plan = p,
                   .op = op,
                   .node = node,
                   .path = path,
                   .kernel = kernel,
                   .fn = fn,
                   .args = copy,
                   .tiles = tiles,
                   .commit = op && (op->flags & WF_OP_COMMIT),
                   .group = -1};
    p->tasks[p->n_tasks++] = t;
    return t;
}

wf_task *wf_lower_task(wf_lower *l, const char *kernel, wf_tile_fn fn, const void *args,
                       size_t args_size, int64_t tiles)
{
    const wf_ir_node *node = l->view;
    int index = (int)(node - ((const wf_plan *)l->plan)->nodes);
    return add_task(l->plan, l->op, index, node->path, kernel, fn, args, args_size, tiles);
}

/* Whether the task only packs stored weights. */
static bool only_packs(const wf_plan *p, const wf_task *t)
{
    for (const wf_use *u = t->uses; u; u = u->next)
        if (u->write ? p->buffers[u->buf].value >= 0 : !p->buffers[u->buf].bound)
            return false;
    return true;
}

/* Makes the tasks from `first` on wait for a value that they do not read. A convolution that is run
 * again by itself (products.c) waits image by image, so that the pass chain may put it into the group that
 * makes the value: the readers of both are there. A segment's many ops would make this group hold too
 * much at one time. */
static void wait_for(wf_plan *p, int first, int value, bool product)
{
    const wf_buf buf = value >= 0 ? p->values[value].buf : -1;
    for (int t = first; t < p->n_tasks && buf >= 0; t++) {
        wf_task *task = p->tasks[t];
        const bool tiled = product && task->tiles == p->buffers[buf].images;
        if (!product || !only_packs(p, task))
            wf_reads(task, buf, tiled ? WF_TILED : WF_WHOLE);
    }
}

/* Moves tasks that pack weights for a node that is run again, the first of those from `first` on, before
 * the copies that were made for it. The pass chain wants these directly before their reader. */
static void pack_first(wf_plan *p, int first)
{
    for (int t = first; t < p->n_tasks && only_packs(p, p->tasks[t]); t++) {
        wf_task *pack = p->tasks[t];
        int at = t;
        while (at > 0 && p->tasks[at - 1]->node >= 0 && p->nodes[p->tasks[at - 1]->node].copy) {
            p->tasks[at] = p->tasks[at - 1];
            at--;
        }
        p->tasks[at] = pack;
    }
}

static void use(wf_task *task, wf_buf buf, wf_access access, bool write)
{
    if (!task)
        return;
    wf_use *u = wf_bump_alloc(&task->plan->bump, sizeof *u);
    if (!u) {
        wf_plan_nomem(task->plan);
        return;
    }
    *u = (wf_use){buf, access, write, task->uses};
    task->uses = u;
}

void wf_reads(wf_task *task, wf_buf buf, wf_access access)
{
    use(task, buf, access, false);
}

void wf_writes(wf_task *task, wf_buf buf, wf_access access)
{
    use(task, buf, access, true);
}

void wf_scratch(wf_task *task, size_t bytes)
{
    if (task && bytes > task->scratch)
        task->scratch = bytes;
}

void wf_cost(wf_task *task, double flops, double bytes)
{
    if (task) {
        task->flops = flops;
        task->bytes = bytes;
    }
}

void wf_expect(wf_task *task, double cycles, bool by_wisdom)
{
    if (task) {
        task->cycles = cycles;
        task->by_wisdom = by_wisdom;
    }
}

void wf_expect_converting(wf_task *task, double cycles)
{
    if (task)
        task->converting = cycles;
}

weft_status wf_lower_prefer(wf_lower *l, const wf_problem *problem, const char **name)
{
    wf_plan *p = l->plan;
    char text[WF_PROBLEM_TEXT];
    if (!wf_grow(&p->problems, &p->cap_problems, p->n_problems, 1, sizeof *p->problems))
        return wf_plan_nomem(p);
    p->problems[p->n_problems++] = *problem;
    wf_problem_text(problem, text, sizeof text);
    *name = wf_wisdom_find(l->ctx->wisdom, text);
    return WEFT_OK;
}

/* ---- the pass ---- */

typedef struct copy_args {
    wf_buf from, to;
    size_t bytes;
} copy_args;
#define COPY_CHUNK ((size_t)1 << 18)

static weft_status copy_tile(const wf_tile *t, const void *args, int64_t tile)
{
    const copy_args *a = args;
    size_t start = (size_t)tile * COPY_CHUNK, n = a->bytes - start;
    memcpy((char *)wf_data(t, a->to) + start, (const char *)wf_data(t, a->from) + start,
           n < COPY_CHUNK ? n : COPY_CHUNK);
    return WEFT_OK;
}

static weft_status copy_assignment(wf_plan *p, const wf_ir_assign *a)
{
    const wf_ir_value *v = &p->values[a->value];
    if (weft_shape_count(v->type.shape) == 0)
        return WEFT_OK; /* nothing to copy */
    wf_buf to =
        a->leaf >= 0 ? p->values[a->leaf].buf : wf_plan_buffer(p, images(v), image_bytes(v), -1);
    if (to < 0)
        return WEFT_ERR_NOMEM;
    if (a->leaf < 0)
        WF_TRY(bind(p, to, WF_BIND_TARGET, (int)(a - p->assigns)));
    copy_args args = {v->buf, to, wf_type_bytes(v->type)};
    wf_task *t = add_task(p, NULL, -1, "", "copy", copy_tile, &args, sizeof args,
                          (int64_t)((args.bytes + COPY_CHUNK - 1) / COPY_CHUNK));
    if (!t)
        return WEFT_ERR_NOMEM;
    /* A value that an update gives, such as a parameter's after the step, is there only then. */
    t->commit = a->state || (v->kind == WF_IR_NODE && (p->nodes[v->node].op->flags & WF_OP_COMMIT));
    wf_reads(t, v->buf, WF_WHOLE);
    wf_writes(t, to, WF_WHOLE);
    wf_cost(t, 0, 2.0 * (double)args.bytes);
    return WEFT_OK;
}

/* Keeping a stored tensor copies its content of before the step, so these copies stand in front of
 * the updates that overwrite it. */
static bool is_early(const wf_plan *p, const wf_ir_assign *a)
{
    return !a->state && p->values[a->value].kind == WF_IR_LEAF;
}

static weft_status copy_assignments(wf_plan *p, bool early)
{
    for (int i = 0; i < p->n_assigns; i++)
        if (p->values[p->assigns[i].value].target != i && is_early(p, &p->assigns[i]) == early)
            WF_TRY(copy_assignment(p, &p->assigns[i]));
    return WEFT_OK;
}

weft_status wf_pass_select(wf_plan *p)
{
    WF_TRY(make_buffers(p));
    WF_TRY(copy_assignments(p, true));
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        wf_lower l = {.ctx = p->ctx,
                      .op = node->op,
                      .attrs = node->attrs,
                      .n_in = node->n_in,
                      .n_out = node->n_out,
                      .isa = p->ctx->isa,
                      .workers = p->ctx->threads,
                      .scalar = node->scalars,
                      .plan = p,
                      .view = node};
        if (!node->op->lower)
            return wf_lower_fail(&l, WEFT_ERR_INTERNAL, "has no lowering");
        const int first = p->n_tasks;
        WF_TRY(node->op->lower(&l));
        wait_for(p, first, node->after, node->product);
        if (node->again && node->product)
            pack_first(p, first);
        if (p->out_of_memory)
            return WEFT_ERR_NOMEM;
    }
    return copy_assignments(p, false);
}
