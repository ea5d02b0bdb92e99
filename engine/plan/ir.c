/* The intermediate form: builds it from the recorded graph, runs the passes over it, and has the
 * functions that passes share. */
#include <string.h>

#include "engine/graph/ops/common.h"
#include "engine/graph/ops/of_nothing.h"
#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

/* ---- building blocks ---- */

weft_status wf_plan_nomem(wf_plan *p)
{
    p->out_of_memory = true;
    return wf_fail(p->ctx, WEFT_ERR_NOMEM, "out of memory while compiling the plan");
}

int wf_ir_new_value(wf_plan *p, wf_type type)
{
    if (!wf_grow(&p->values, &p->cap_values, p->n_values, 1, sizeof *p->values)) {
        wf_plan_nomem(p);
        return -1;
    }
    p->values[p->n_values] = (wf_ir_value){.type = type,
                                           .storage = type.dtype,
                                           .kind = WF_IR_NODE,
                                           .node = -1,
                                           .block = 1,
                                           .again = -1,
                                           .target = -1,
                                           .slice_of = -1,
                                           .buf = -1};
    return p->n_values++;
}

int wf_ir_new_node(wf_plan *p, const wf_op *op, const void *attrs, int n_in, const int *in)
{
    int *copy = wf_bump_alloc(&p->bump, (size_t)n_in * sizeof *in);
    void *bytes = wf_bump_alloc(&p->bump, op->attr_size);
    if (!copy || !bytes || !wf_grow(&p->nodes, &p->cap_nodes, p->n_nodes, 1, sizeof *p->nodes)) {
        wf_plan_nomem(p);
        return -1;
    }
    if (n_in)
        memcpy(copy, in, (size_t)n_in * sizeof *in);
    if (op->attr_size)
        memcpy(bytes, attrs, op->attr_size);
    p->nodes[p->n_nodes] = (wf_ir_node){
        .op = op, .n_in = n_in, .in = copy, .attrs = bytes, .path = "", .source = -1, .after = -1};
    return p->n_nodes++;
}

wf_act wf_ir_act(const wf_ir_value *v)
{
    const weft_shape *s = &v->type.shape;
    if (s->rank == 4)
        return (wf_act){(int)s->dim[1], (int)s->dim[2], (int)s->dim[3], v->block};
    int64_t count = weft_shape_count(*s), n = s->rank ? s->dim[0] : 1;
    return (wf_act){n ? (int)(count / n) : 0, 1, 1, 1};
}

/* ---- from the graph ---- */

static weft_status import_values(wf_plan *p, const wf_request *r)
{
    for (int i = 0; i < r->n_values; i++) {
        const wf_value *v = &p->ctx->graph->values[r->value[i]];
        if (wf_ir_new_value(p, v->type) != i)
            return WEFT_ERR_NOMEM;
        if (v->node < 0) {
            p->values[i].kind = WF_IR_LEAF;
            p->values[i].storage = v->storage;
        } else if (v->store.data) {
            p->values[i].kind = WF_IR_DATA;
            p->values[i].block = v->block;
            p->values[i].storage = v->storage;
        }
    }
    return WEFT_OK;
}

static bool is_empty(const wf_value *v)
{
    return weft_shape_count(v->type.shape) == 0;
}

/* The op, attributes and inputs of a node in the plan: those of the recorded node, unless a tensor
 * is empty. See Note [Empty tensors] in op.h. */
typedef struct node_form {
    const wf_op *op;
    const void *attrs;
    int n_in, *in;
} node_form;

static void without_empty(const wf_graph *g, const wf_node *node, node_form *form)
{
    static const wf_of_nothing_attrs zero = {0}, nan = {__builtin_nan("")};
    bool any = is_empty(&g->values[node->out]);
    const bool out = any;
    int n = 0;
    if (node->op->of_nothing == WF_EMPTY_RUN)
        return;
    for (int i = 0; i < node->n_in; i++) {
        const bool empty = is_empty(&g->values[wf_node_in(g, node)[i]]);
        any |= empty;
        if (!empty)
            form->in[n++] = form->in[i];
    }
    if (node->op == &wf_op_concat && !out) {
        form->n_in = n;
    } else if (any) {
        const bool is_nan = node->op->of_nothing == WF_EMPTY_NAN &&
                            (!node->op->nan_of_nothing || node->op->nan_of_nothing(form->attrs));
        form->op = &wf_op_of_nothing;
        form->attrs = is_nan ? &nan : &zero;
        form->n_in = 0;
    }
}

static weft_status import_node(wf_plan *p, const wf_request *r, int number, int *scalars)
{
    const wf_graph *g = p->ctx->graph;
    const wf_node *node = &g->nodes[r->node[number]];
    int *in = wf_bump_alloc(&p->bump, (size_t)node->n_in * sizeof *in);
    if (!in)
        return wf_plan_nomem(p);
    for (int i = 0; i < node->n_in; i++)
        in[i] = r->number[wf_node_in(g, node)[i]] - 1;
    node_form form = {node->op, g->bytes + node->attrs, node->n_in, in};
    without_empty(g, node, &form);
    int id = wf_ir_new_node(p, form.op, form.attrs, form.n_in, form.in);
    if (id < 0)
        return WEFT_ERR_NOMEM;
    wf_ir_node *n = &p->nodes[id];
    n->scalars = *scalars;
    *scalars += node->op->n_scalars;
    n->path = node->path;
    n->source = number;
    n->backward = node->recorded_grad;
    n->segment = node->recorded_grad ? 0 : node->segment;
    n->n_out = node->n_out;
    for (int o = 0; o < node->n_out; o++) {
        const int v = n->out[o] = r->number[node->out + o] - 1;
        p->values[v].node = id;
        p->values[v].out = o;
        p->values[v].keep = r->keep[node->out + o];
    }
    return WEFT_OK;
}

static weft_status import_assignments(wf_plan *p, const wf_request *r)
{
    const wf_graph *g = p->ctx->graph;
    p->assigns = wf_bump_alloc(&p->bump, (size_t)r->n_assigned * sizeof *p->assigns);
    if (!p->assigns)
        return wf_plan_nomem(p);
    for (int i = 0; i < r->n_assigned; i++) {
        const wf_assignment *a = &g->assigned[r->assignment[i]];
        p->assigns[p->n_assigns++] =
            (wf_ir_assign){r->number[a->value] - 1, wf_request_leaf(g, r, a->stored) - 1, a->state};
    }
    return WEFT_OK;
}

static weft_status import_all(wf_plan *p, const wf_request *r)
{
    WF_TRY(import_values(p, r));
    for (int i = 0, scalars = 0; i < r->n_nodes; i++)
        WF_TRY(import_node(p, r, i, &scalars));
    return import_assignments(p, r);
}

size_t wf_plan_bytes(const wf_plan *p)
{
    return p->arena_bytes + p->scratch_bytes * (size_t)p->ctx->threads;
}

static weft_status compile(weft_context *ctx, const wf_request *request, unsigned passes_off,
                           double budget, wf_plan **plan)
{
    static weft_status (*const passes[])(wf_plan *) = {
        wf_pass_simplify, wf_pass_precision, wf_pass_fuse,  wf_pass_recompute,
        wf_pass_layout,   wf_pass_slices,    wf_pass_bytes, wf_pass_spread,
        wf_pass_select,   wf_pass_chain,     wf_pass_order, wf_pass_memory};
    wf_plan *p = wf_zalloc(sizeof *p);
    if (!p)
        return wf_nomem(&ctx->error, sizeof *p, "a plan");
    p->ctx = ctx;
    p->passes_off = passes_off;
    p->keep_all = request->keep_all;
    p->budget = budget;
    p->barrier = -1;
    weft_status status = import_all(p, request);
    for (size_t i = 0; i < sizeof passes / sizeof passes[0] && status == WEFT_OK; i++)
        status = passes[i](p);
    if (status != WEFT_OK) {
        wf_plan_destroy(p);
        return status;
    }
    *plan = p;
    return WEFT_OK;
}

/* Note [Fitting a limit]. Plans are compiled with smaller and smaller budgets until one fits. The model
 * of choose_segments.c is about right, but a smaller budget may give a larger plan. So the budgets are
 * always the same: the powers of STEP, down to the least that the model knows. The search begins where
 * a plan is expected to fit, and comes back to the larger budgets where none does. So all of them have
 * been tried when it fails, and the least that the error names is one that can be met. */
#define STEP 0.9
enum { TRIES = 16 }; /* STEP to this power is 0.19 */
#define ABOVE 1.2    /* a plan takes about its budget; less than 1 / ABOVE of it only by chance */

typedef struct fitting {
    weft_context *ctx;
    const wf_request *request;
    unsigned passes_off;
    size_t limit, least;
    wf_plan *plan; /* that fits; NULL: not yet found */
} fitting;

/* Tries the budgets from `budget` down to more than `end`, or to the model's least. */
static weft_status try_budgets(fitting *f, double budget, double end)
{
    int tries = TRIES;
    for (bool more = true; more && budget > end && tries-- > 0; budget *= STEP) {
        wf_plan *p = NULL;
        WF_TRY(compile(f->ctx, f->request, f->passes_off, budget, &p));
        const size_t bytes = wf_plan_bytes(p);
        more = p->budget <= budget;
        f->least = bytes < f->least ? bytes : f->least;
        if (bytes <= f->limit) {
            f->plan = p;
            return WEFT_OK;
        }
        wf_plan_destroy(p);
    }
    return WEFT_OK;
}

/* *plan exceeds the limit, and becomes one that fits. */
static weft_status fit(weft_context *ctx, const wf_request *request, unsigned passes_off,
                       size_t limit, wf_plan **plan)
{
    const size_t all = wf_plan_bytes(*plan);
    fitting f = {ctx, request, passes_off, limit, all, NULL};
    if (!(passes_off & WEFT_PASS_RECOMPUTE)) {
        double begin = STEP;
        while (begin > 1e-3 && begin * (double)all > ABOVE * (double)limit)
            begin *= STEP;
        WF_TRY(try_budgets(&f, begin, 0));
        if (!f.plan)
            WF_TRY(try_budgets(&f, STEP, begin));
    }
    if (!f.plan) {
        ctx->least_bytes = f.least;
        return wf_fail(ctx, WEFT_ERR_NOMEM,
                       "the memory limit is %zu bytes for what a step computes; this step needs at "
                       "least %zu, with all that can be computed again",
                       limit, f.least);
    }
    wf_plan_destroy(*plan);
    *plan = f.plan;
    return WEFT_OK;
}

weft_status wf_plan_compile(weft_context *ctx, const wf_request *request, unsigned passes_off,
                            wf_plan **plan)
{
    const size_t limit = ctx->options.memory_limit;
    wf_plan *p = NULL;
    WF_TRY(compile(ctx, request, passes_off, 1, &p));
    weft_status status = WEFT_OK;
    if (limit > 0 && !request->keep_all && !(passes_off & WEFT_PASS_MEMORY) &&
        wf_plan_bytes(p) > limit)
        status = fit(ctx, request, passes_off, limit, &p);
    if (status != WEFT_OK) {
        wf_plan_destroy(p);
        return status;
    }
    *plan = p;
    return WEFT_OK;
}

void wf_plan_destroy(wf_plan *p)
{
    if (!p)
        return;
    for (int i = p->n_owned - 1; i >= 0; i--)
        p->owned[i].destroy(p->owned[i].state);
    for (int u = 0; u < p->n_groups; u++) {
        wf_free(p->groups[u].tasks);
        wf_free(p->groups[u].succ);
    }
    wf_free(p->values);
    wf_free(p->nodes);
    wf_free(p->problems);
    wf_free(p->buffers);
    wf_free(p->bindings);
    wf_free(p->tasks);
    wf_free(p->owned);
    wf_free(p->groups);
    wf_edges_done(&p->edges);
    wf_bump_done(&p->bump);
    wf_free(p);
}
