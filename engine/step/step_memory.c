/* The memory that a step needs, by part, and what the process has and may still use.
 *
 * Threading: the context's. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/alloc.h"
#include "engine/machine/memory.h"
#include "engine/run/run.h"
#include "engine/step/execute.h"
#include "engine/step/plan_cache.h"

/* A stored tensor, and what the step does with it. */
typedef struct use {
    const weft_tensor *tensor;
    bool assigned, state;
} use;

static int by_address(const void *a, const void *b)
{
    const use *x = a, *y = b;
    return (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

static void count(weft_step_memory *m, const use *u)
{
    const weft_tensor *t = u->tensor;
    const size_t bytes = t->block.size;
    if (t->is_grad || (u->state && t->optimizers == 0))
        m->touched +=
            t->block.mapped ? 0 : bytes; /* what is mapped is zero without being written */
    if (t->is_grad)
        m->gradients += bytes;
    else if (t->optimizers > 0 || t->requires_grad)
        m->parameters += bytes;
    else if (u->state)
        m->state += bytes;
    else if (u->assigned)
        m->kept += bytes;
    else
        m->inputs += bytes;
}

/* Every stored tensor once, however often the step reads and writes it. */
static weft_status count_stored(weft_context *ctx, const wf_request *r, weft_step_memory *m)
{
    const wf_graph *g = ctx->graph;
    const size_t most = (size_t)r->n_values + (size_t)r->n_assigned + 1;
    use *uses = wf_alloc_array(most, sizeof *uses);
    if (!uses)
        return wf_nomem(&ctx->error, most * sizeof *uses, "the memory of a step");
    size_t n = 0;
    for (int i = 0; i < r->n_values; i++)
        if (g->values[r->value[i]].stored)
            uses[n++] = (use){g->values[r->value[i]].stored, false, false};
    for (int i = 0; i < r->n_assigned; i++) {
        const wf_assignment *a = &g->assigned[r->assignment[i]];
        uses[n++] = (use){a->stored, true, a->state};
    }
    qsort(uses, n, sizeof *uses, by_address);
    for (size_t i = 0; i < n; i++) {
        use u = uses[i];
        for (; i + 1 < n && uses[i + 1].tensor == u.tensor; i++) {
            u.assigned |= uses[i + 1].assigned;
            u.state |= uses[i + 1].state;
        }
        u.assigned |= uses[i].assigned;
        u.state |= uses[i].state;
        count(m, &u);
    }
    wf_free(uses);
    return WEFT_OK;
}

static size_t plan_bytes(const wf_plan *p)
{
    return wf_bump_bytes(&p->bump) + (size_t)p->cap_values * sizeof *p->values +
           (size_t)p->cap_nodes * sizeof *p->nodes + (size_t)p->cap_problems * sizeof *p->problems +
           (size_t)p->cap_buffers * sizeof *p->buffers +
           (size_t)p->cap_bindings * sizeof *p->bindings + (size_t)p->cap_tasks * sizeof *p->tasks +
           (size_t)p->cap_groups * sizeof *p->groups;
}

weft_status wf_step_memory_of(weft_context *ctx, const wf_request *r, const wf_plan *p,
                              weft_step_memory *memory)
{
    weft_step_memory m = {.activations = p->arena_bytes,
                          .scratch = wf_replay_scratch(p) * (size_t)ctx->threads,
                          .plan = plan_bytes(p)};
    WF_TRY(count_stored(ctx, r, &m));
    *memory = m;
    return WEFT_OK;
}

weft_status weft_plan_memory(weft_context *ctx, weft_step_memory *memory)
{
    if (!ctx)
        return wf_no_context("plan_memory");
    if (!memory || ctx->closed)
        return wf_fail(ctx, memory ? WEFT_ERR_STATE : WEFT_ERR_INVALID, "plan memory: %s",
                       memory ? "the context was destroyed" : "there is no place for the result");
    return wf_memory_of_recorded(ctx, memory);
}

weft_status weft_set_memory_limit(weft_context *ctx, size_t bytes)
{
    if (!ctx)
        return wf_no_context("set_memory_limit");
    if (ctx->closed)
        return wf_fail(ctx, WEFT_ERR_STATE, "memory limit: the context was destroyed");
    if (bytes != ctx->options.memory_limit)
        wf_plan_cache_clear(ctx->plans);
    ctx->options.memory_limit = bytes;
    ctx->least_bytes = 0;
    return WEFT_OK;
}

size_t weft_memory_least(const weft_context *ctx)
{
    return ctx ? ctx->least_bytes : 0;
}

void weft_memory_in_use(const weft_context *ctx, size_t *now, size_t *peak)
{
    wf_memory_usage used = {0};
    if (ctx)
        used = wf_memory_used(ctx->memory);
    if (now)
        *now = used.total_in_use;
    if (peak)
        *peak = used.total_peak;
}

/* ---- the process ----------------------------------------------------------------------------- */

weft_status weft_memory_get_room(weft_memory_room *room, weft_error *err)
{
    wf_memory_limit l;
    wf_memory_own own;
    if (!room)
        return wf_error_set(err, WEFT_ERR_INVALID, "memory: there is no place for the result");
    WF_TRY(wf_memory_get_limit(NULL, &l, err));
    WF_TRY(wf_memory_get_own(NULL, &own, err));
    *room = (weft_memory_room){.machine = l.machine,
                               .limit = l.total,
                               .available = l.available,
                               .resident = own.resident,
                               .peak = own.peak};
    snprintf(room->why, sizeof room->why, "%s", l.why);
    return WEFT_OK;
}
