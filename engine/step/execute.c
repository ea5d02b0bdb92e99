/* Running recorded work: decides what to run, gets the plan, runs it, and updates the graph
 * afterwards.
 *
 * Note [Reading mid-step]. A program may read a value before the step ends. Then the work that the
 * value depends on runs, and every number computed on the way is kept, because later recordings may
 * need any of them. Such a run replaces no nodes. Layouts and kernels follow from the shapes and
 * inputs of each node alone, so the bits are those of a run of the whole step. Afterwards the
 * values that were computed count as given. */
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/stack.h"
#include "engine/run/run.h"
#include "engine/step/amp.h"
#include "engine/step/execute.h"
#include "engine/step/plan_cache.h"
#include "engine/step/wisdom.h"

/* Brings the list of nodes that have not run up to date: in a step of many micro-batches it is short. */
static bool list_waiting(wf_graph *g)
{
    int n = 0;
    for (int i = 0; i < g->n_waiting; i++)
        if (!g->nodes[g->waiting[i]].executed)
            g->waiting[n++] = g->waiting[i];
    g->n_waiting = n;
    if (!wf_grow(&g->waiting, &g->cap_waiting, n, g->n_nodes - g->n_listed, sizeof *g->waiting))
        return false;
    while (g->n_listed < g->n_nodes)
        g->waiting[g->n_waiting++] = g->n_listed++;
    return true;
}

static weft_status request_init(weft_context *ctx, wf_request *r)
{
    wf_graph *g = ctx->graph;
    size_t n = (size_t)g->n_nodes + 1, v = (size_t)g->n_values + 1, a = (size_t)g->n_assigned + 1;
    char *mem = list_waiting(g) ? wf_zalloc(n + v + a) : NULL;
    if (!mem)
        return wf_nomem(&ctx->error, n + v + a, "a run");
    *r = (wf_request){.todo = g->waiting,
                      .n_todo = g->n_waiting,
                      .nodes = mem,
                      .keep = mem + n,
                      .assigned = mem + n + v};
    return WEFT_OK;
}

static void want_value(const wf_graph *g, wf_request *r, int value)
{
    int node = g->values[value].node;
    if (node >= 0 && !g->nodes[node].executed)
        r->nodes[node] = 1;
}

static void want_readers(const wf_graph *g, wf_request *r, const weft_tensor *stored)
{
    for (int k = 0; k < r->n_todo; k++) {
        const int n = r->todo[k];
        for (int i = 0; i < g->nodes[n].n_in; i++)
            if (g->values[wf_node_in(g, &g->nodes[n])[i]].stored == stored)
                r->nodes[n] = 1;
    }
}

static void want_assignment(const wf_graph *g, wf_request *r, int i)
{
    r->assigned[i] = 1;
    want_value(g, r, g->assigned[i].value);
}

/* Whether the value is a leaf and the request overwrites its tensor. */
static bool overwritten(const wf_graph *g, const wf_request *r, int value)
{
    const weft_tensor *t = g->values[value].stored;
    return t && t->pending >= 0 && r->assigned[t->assignment];
}

/* Adds everything that the wanted nodes depend on. */
static void want_inputs(const wf_graph *g, wf_request *r)
{
    for (int k = r->n_todo - 1; k >= 0; k--) {
        const wf_node *n = &g->nodes[r->todo[k]];
        for (int i = 0; i < n->n_in && r->nodes[r->todo[k]]; i++)
            want_value(g, r, wf_node_in(g, n)[i]);
    }
}

/* The same; where a stored tensor is overwritten, its readers
 * are added too: they must run before. */
static void close_over(const wf_graph *g, wf_request *r)
{
    for (int k = 0; k < r->n_todo; k++) {
        const int n = r->todo[k];
        for (int i = 0; i < g->nodes[n].n_in; i++)
            r->nodes[n] |= overwritten(g, r, wf_node_in(g, &g->nodes[n])[i]);
    }
    want_inputs(g, r);
}

static bool empty(const wf_graph *g, const wf_request *r)
{
    for (int k = 0; k < r->n_todo; k++)
        if (r->nodes[r->todo[k]])
            return false;
    for (int i = 0; i < g->n_assigned; i++)
        if (r->assigned[i])
            return false;
    return true;
}

static void keep_outputs(const wf_graph *g, wf_request *r)
{
    r->keep_all = true;
    for (int k = 0; k < r->n_todo; k++)
        if (r->nodes[r->todo[k]])
            memset(r->keep + g->nodes[r->todo[k]].out, 1, (size_t)g->nodes[r->todo[k]].n_out);
}

/* Keeps the values that later work may need: those that nodes outside this run read, and those
 * through which a backward pass may still go. */
static void keep_live(const wf_graph *g, wf_request *r)
{
    for (int k = 0; k < r->n_todo; k++) {
        const int n = r->todo[k];
        const wf_node *node = &g->nodes[n];
        bool open = false; /* a backward pass may still go through it */
        for (int o = 0; o < node->n_out && !node->consumed && !node->recorded_grad; o++)
            open |= g->values[node->out + o].requires_grad;
        /* All outputs: a gradient rule may read those that have no gradient themselves, such as the
         * places of max pooling's maxima. */
        for (int o = 0; o < node->n_out && r->nodes[n]; o++)
            r->keep[node->out + o] |= open;
        for (int i = 0; i < node->n_in; i++) {
            int v = wf_node_in(g, node)[i], by = g->values[v].node;
            bool later = !r->nodes[n];
            if (by >= 0 && r->nodes[by] && (later || (r->nodes[n] && open)))
                r->keep[v] = 1;
        }
    }
    for (int i = 0; i < g->n_assigned; i++)
        if (!r->assigned[i] && g->assigned[i].value >= 0 &&
            g->values[g->assigned[i].value].node >= 0 &&
            r->nodes[g->values[g->assigned[i].value].node])
            r->keep[g->assigned[i].value] = 1;
}

/* Allocates memory for the values that are kept, in the layout that the plan chose. */
static weft_status make_stores(weft_context *ctx, const wf_plan *plan, const wf_request *r)
{
    for (int i = 0; i < plan->n_bindings; i++) {
        const wf_binding *b = &plan->bindings[i];
        if (b->kind != WF_BIND_KEEP)
            continue;
        wf_value *v = &ctx->graph->values[r->value[b->index]];
        const wf_buffer *buf = &plan->buffers[b->buf];
        wf_block_request request = {.size = (size_t)buf->images * buf->stride,
                                    .kind = WF_MEM_ARENA,
                                    .placement = WF_PLACE_TOUCH,
                                    .what = "a value read before the step's end"};
        WF_TRY(wf_memory_alloc(ctx->memory, &request, &v->store, &ctx->error));
        v->block = plan->values[buf->value].block;
        v->storage = plan->values[buf->value].storage;
    }
    return WEFT_OK;
}

/* ---- what a plan's numbers stand for in this step: wf_run_source ---- */

typedef struct running {
    const wf_graph *graph;
    const wf_request *request;
} running;

static void *bound_pointer(const void *user, const wf_binding *b)
{
    const running *of = user;
    const wf_graph *g = of->graph;
    const wf_request *r = of->request;
    switch (b->kind) {
    case WF_BIND_LEAF: return g->values[r->value[b->index]].stored->block.data;
    case WF_BIND_TARGET: return g->assigned[r->assignment[b->index]].stored->block.data;
    case WF_BIND_DATA:
    case WF_BIND_KEEP: return g->values[r->value[b->index]].store.data;
    }
    return NULL;
}

static wf_run_origin origin(const void *user, int source)
{
    const running *of = user;
    const wf_node *n = &of->graph->nodes[of->request->node[source]];
    return (wf_run_origin){.path = n->path,
                           .title = n->title,
                           .check = n->check,
                           .backward = n->recorded_grad,
                           .backward_of = n->grad_of ? n->grad_of->name : NULL};
}

/* Whether a node of the request was recorded in anomaly mode. */
static bool to_check(const wf_graph *g, const wf_request *r)
{
    for (int k = 0; k < r->n_todo; k++)
        if (r->nodes[r->todo[k]] && g->nodes[r->todo[k]].check)
            return true;
    return false;
}

static weft_status replay(weft_context *ctx, const wf_request *r, wf_plan *plan, bool check)
{
    WF_TRY(make_stores(ctx, plan, r));
    const running user = {ctx->graph, r};
    const wf_run_source source = {&user, r->scalars, bound_pointer, origin};
    ctx->running = true;
    const weft_status status = wf_replay_run(ctx, plan, &source, check);
    ctx->running = false;
    return status;
}

/* Fails where the stack is short, and in a function of the user's that a run has called, such as a
 * custom op's forward: a run has one arena. */
static weft_status may_run(weft_context *ctx)
{
    if (ctx->running)
        return wf_fail(ctx, WEFT_ERR_STATE, "a run: not possible inside an op's function");
    return wf_stack_check("a run", &ctx->error);
}

/* *used gets the plan, unless `used` is NULL. */
static weft_status run_request(weft_context *ctx, wf_request *r, wf_plan **used)
{
    WF_TRY(may_run(ctx));
    unsigned off = ctx->options.passes_off;
    bool check = to_check(ctx->graph, r);
    if (check || ctx->options.executor == WEFT_EXECUTOR_INTERPRETER)
        off = WEFT_PASS_ALL & ~(unsigned)WEFT_PASS_SIMPLIFY;
    wf_plan *plan;
    WF_TRY(wf_watch_check(ctx, r->nodes));
    WF_TRY(wf_request_number(ctx, r));
    WF_TRY(wf_plan_lookup(ctx, r, off, &plan));
    if (used)
        *used = plan;
    return replay(ctx, r, plan, check);
}

/* Runs a step that is the last one again. */
static weft_status run_again(weft_context *ctx, const wf_again *again)
{
    WF_TRY(may_run(ctx));
    WF_TRY(wf_watch_check(ctx, again->request.nodes));
    return replay(ctx, &again->request, again->plan, false);
}

/* After a run. On success, assigned values are now the contents of their stored tensors. After a
 * failure, gradients and kept values count as absent, because they may be half written. */
static void settle_assignments(weft_context *ctx, const wf_request *r, weft_status status)
{
    wf_graph *g = ctx->graph;
    for (int i = 0; i < g->n_assigned; i++) {
        wf_assignment *a = &g->assigned[i];
        if (!r->assigned[i] || a->value < 0)
            continue;
        a->value = -1;
        a->stored->leaf = a->stored->pending = -1;
        if (status == WEFT_OK)
            a->stored->awaited = false;
        if (status == WEFT_OK || !a->state)
            a->stored->version++;
    }
}

/* Makes the results of a step that did not run to its end absent: nobody may take half of the
 * gradients for all of them, or read a loss that was never computed. Where the step was to add to a
 * gradient from an earlier step, that gradient keeps its content. */
static void drop_results(weft_context *ctx)
{
    const wf_graph *g = ctx->graph;
    for (int v = 0; v < g->n_values; v++) {
        weft_tensor *t = g->values[v].stored;
        weft_tensor *grad = t ? t->grad : NULL;
        if (grad && grad->gen == ctx->gen && grad->pending >= 0 &&
            !g->assigned[grad->assignment].state)
            t->grad_present = false;
        if (g->values[v].handle)
            g->values[v].handle->kept = NULL;
    }
}

static weft_status run_part(weft_context *ctx, wf_request *r, bool live_only)
{
    wf_graph *g = ctx->graph;
    close_over(g, r);
    if (empty(g, r))
        return WEFT_OK;
    WF_TRY(wf_step_status(ctx));
    if (live_only)
        keep_live(g, r);
    else
        keep_outputs(g, r);
    g->ran_part = true;
    weft_status status = run_request(ctx, r, NULL);
    if (status == WEFT_OK) {
        for (int k = 0; k < r->n_todo; k++)
            g->nodes[r->todo[k]].executed |= r->nodes[r->todo[k]];
        settle_assignments(ctx, r, status);
    } else {
        for (int v = 0; v < g->n_values; v++)
            if (r->keep[v])
                wf_memory_free(&g->values[v].store);
    }
    return status;
}

weft_status wf_execute_value(weft_context *ctx, int value)
{
    wf_graph *g = ctx->graph;
    if (g->values[value].store.data)
        return WEFT_OK;
    if (g->values[value].node >= 0 && g->nodes[g->values[value].node].executed)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "read: this value was freed after the backward pass that used it; "
                       "weft_keep() it to read it later");
    wf_request r;
    WF_TRY(request_init(ctx, &r));
    want_value(g, &r, value);
    weft_status status = run_part(ctx, &r, false);
    wf_request_done(&r);
    return status;
}

weft_status wf_execute_assigned(weft_context *ctx, weft_tensor *stored)
{
    wf_graph *g = ctx->graph;
    wf_request r;
    WF_TRY(request_init(ctx, &r));
    if (stored->gen == ctx->gen && stored->pending >= 0)
        want_assignment(g, &r, stored->assignment);
    weft_status status = run_part(ctx, &r, false);
    wf_request_done(&r);
    return status;
}

weft_status wf_execute_readers(weft_context *ctx, weft_tensor *stored)
{
    wf_graph *g = ctx->graph;
    if (stored->gen != ctx->gen) /* no recorded op reads it */
        return WEFT_OK;
    wf_request r;
    WF_TRY(request_init(ctx, &r));
    want_readers(g, &r, stored);
    for (int i = 0; i < g->n_assigned; i++)
        if (g->assigned[i].value >= 0 &&
            (g->assigned[i].stored == stored || g->values[g->assigned[i].value].stored == stored))
            want_assignment(g, &r, i);
    weft_status status = run_part(ctx, &r, false);
    wf_request_done(&r);
    return status;
}

weft_status wf_execute_pending(weft_context *ctx)
{
    wf_graph *g = ctx->graph;
    wf_request r;
    WF_TRY(request_init(ctx, &r));
    for (int i = 0; i < g->n_assigned; i++)
        if (g->assigned[i].value >= 0 && (!g->assigned[i].state || g->assigned[i].stored->is_grad))
            want_assignment(g, &r, i);
    weft_status status = run_part(ctx, &r, true);
    if (status == WEFT_OK)
        g->backwards = 0;
    wf_request_done(&r);
    return status;
}

/* Whether the inputs of a node that nobody needs are there or will be: an earlier run of a part of the
 * step may have freed them. */
static bool can_run(const wf_graph *g, const wf_request *r, int n)
{
    for (int i = 0; i < g->nodes[n].n_in; i++) {
        const wf_value *v = &g->values[wf_node_in(g, &g->nodes[n])[i]];
        if (v->node >= 0 && !v->store.data && (g->nodes[v->node].executed || !r->nodes[v->node]))
            return false;
    }
    return true;
}

static weft_status request_all(weft_context *ctx, wf_request *r)
{
    wf_graph *g = ctx->graph;
    WF_TRY(wf_step_status(ctx));
    WF_TRY(request_init(ctx, r));
    for (int i = 0; i < g->n_assigned; i++)
        if (g->assigned[i].value >= 0)
            want_assignment(g, r, i);
    for (int k = 0; k < r->n_todo; k++) {
        const int n = r->todo[k];
        if ((g->nodes[n].op->flags & WF_OP_SIDE_EFFECT) ||
            ((ctx->options.passes_off & WEFT_PASS_SIMPLIFY) && can_run(g, r, n)))
            r->nodes[n] = 1;
    }
    /* The step ends here, so readers whose results nobody needs do not run, even if their input is
     * overwritten. */
    want_inputs(g, r);
    return WEFT_OK;
}

/* Whether the step (`all`), or the part of it that has run, draws random numbers. */
static bool draws(const wf_graph *g, bool all)
{
    for (int n = 0; n < g->n_nodes; n++)
        if ((g->nodes[n].op->flags & WF_OP_DRAWS) && (all || g->nodes[n].executed))
            return true;
    return false;
}

/* What is left to do after a whole step ran, or failed to. */
static void end_step(weft_context *ctx, const wf_request *r, weft_status status)
{
    wf_graph *g = ctx->graph;
    bool step = g->backwards > 0;
    for (int i = 0; i < g->n_assigned; i++)
        step |= r->assigned[i] && g->assigned[i].state;
    if (status != WEFT_OK)
        drop_results(ctx);
    settle_assignments(ctx, r, status);
    ctx->step += status == WEFT_OK && step;
    /* the next step draws other numbers */
    ctx->draws += status == WEFT_OK && (step || draws(g, true));
    wf_graph_reset(ctx);
}

weft_status wf_execute_all(weft_context *ctx)
{
    wf_request r;
    wf_plan *plan = NULL;
    WF_TRY(wf_step_status(ctx)); /* a failed step ends with weft_discard */
    wf_again *again = wf_plan_cache_again(ctx->plans);
    if (wf_again_same(again, ctx)) {
        const weft_status status = run_again(ctx, again);
        end_step(ctx, &again->request, status);
        return status;
    }
    weft_status status = request_all(ctx, &r);
    if (status != WEFT_OK) {
        wf_execute_none(ctx);
        return status;
    }
    if (!empty(ctx->graph, &r))
        status = run_request(ctx, &r, &plan);
    /* On failure the request stays ours. */
    const bool kept = status == WEFT_OK && plan && wf_again_keep(again, ctx, &r, plan);
    end_step(ctx, kept ? &again->request : &r, status);
    wf_request_done(&r);
    return status;
}

void wf_execute_none(weft_context *ctx)
{
    wf_graph *g = ctx->graph;
    drop_results(ctx);
    /* A step that was only read has used its random numbers. A step that failed or had a backward
     * pass may be tried again, and will draw the same numbers. */
    ctx->draws += ctx->error.status == WEFT_OK && g->backwards == 0 && draws(g, false);
    wf_graph_reset(ctx);
}

weft_status wf_plan_of_recorded(weft_context *ctx, wf_plan **plan)
{
    wf_request r;
    WF_TRY(request_all(ctx, &r));
    weft_status status = wf_request_number(ctx, &r);
    if (status == WEFT_OK)
        status = wf_wisdom_load(ctx);
    if (status == WEFT_OK)
        status = wf_amp_settle(ctx, &r, ctx->options.passes_off);
    if (status == WEFT_OK)
        status = wf_plan_compile(ctx, &r, ctx->options.passes_off, plan);
    wf_request_done(&r);
    return status;
}

weft_status wf_memory_of_recorded(weft_context *ctx, weft_step_memory *memory)
{
    wf_request r;
    wf_plan *plan;
    WF_TRY(request_all(ctx, &r));
    weft_status status = wf_request_number(ctx, &r);
    if (status == WEFT_OK)
        status = wf_plan_lookup(ctx, &r, ctx->options.passes_off, &plan);
    if (status == WEFT_OK)
        status = wf_step_memory_of(ctx, &r, plan, memory);
    wf_request_done(&r);
    return status;
}
