/* The plan as a JSON object: what traces and `weft explain --format json` say about it, and what
 * tools/trace.py and weft-bench --simulate read.
 *
 *     {"plan": 1, "threads": 2, "arena": BYTES, "groups": [GROUP, ...]}   in the linear order
 *     GROUP: {"tiles": 16, "kind": "work" | "commit" | "barrier", "next": [POSITION, ...],
 *             "priority": SECONDS, "tasks": [TASK, ...]}
 *     TASK: {"task": NUMBER, "op": "conv2d", "module": "layer1.0.conv1", "kernel": "gemm:avx512",
 *            "flops": N, "dram": BYTES, "seconds": FORECAST}
 *
 * "next" are the positions of the groups that wait for this one. Stateless. */
#include "engine/base/alloc.h"
#include "engine/files/json_text.h"
#include "engine/run/run.h"

/* Adds a member and takes the value over. False: out of memory. */
static bool put(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

static json_t *task_json(const wf_plan *p, int task, const wf_forecast *c)
{
    const wf_task *t = p->tasks[task];
    json_t *o = json_object();
    if (o && put(o, "task", json_integer(task)) &&
        put(o, "op", wf_json_text(t->op ? t->op->name : "copy")) &&
        put(o, "module", wf_json_text(t->path)) && put(o, "kernel", wf_json_text(t->kernel)) &&
        put(o, "flops", json_real(c->flops)) && put(o, "dram", json_real(c->dram)) &&
        put(o, "seconds", json_real(c->seconds)))
        return o;
    json_decref(o);
    return NULL;
}

static const char *kind_of(const wf_task_group *g)
{
    return g->barrier ? "barrier" : g->commit ? "commit" : "work";
}

static json_t *group_json(const wf_plan *p, int group, const int *position,
                          const wf_forecast *forecasts)
{
    const wf_task_group *g = &p->groups[group];
    json_t *o = json_object(), *next = json_array(), *tasks = json_array();
    bool good = o && next && tasks;
    for (int i = 0; i < g->n_succ && good; i++)
        good = json_array_append_new(next, json_integer(position[g->succ[i]])) == 0;
    for (int i = 0; i < g->n_tasks && good; i++)
        good =
            json_array_append_new(tasks, task_json(p, g->tasks[i], &forecasts[g->tasks[i]])) == 0;
    good = good && put(o, "tiles", json_integer(g->tiles)) &&
           put(o, "kind", json_string(kind_of(g))) && put(o, "priority", json_real(g->priority)) &&
           json_object_set(o, "next", next) == 0 && json_object_set(o, "tasks", tasks) == 0;
    json_decref(next);
    json_decref(tasks);
    if (good)
        return o;
    json_decref(o);
    return NULL;
}

json_t *wf_plan_json(const wf_plan *p)
{
    wf_forecast *forecasts = wf_zalloc_array((size_t)p->n_tasks + 1, sizeof *forecasts);
    int *position = wf_zalloc_array((size_t)p->n_groups + 1, sizeof *position);
    json_t *o = json_object(), *groups = json_array();
    bool good = forecasts && position && o && groups && wf_forecast_plan(p, forecasts) &&
                put(o, "plan", json_integer(p->number)) &&
                put(o, "threads", json_integer(p->ctx->threads)) &&
                put(o, "arena", json_integer((json_int_t)p->arena_bytes)) &&
                json_object_set(o, "groups", groups) == 0;
    for (int i = 0; i < p->n_groups && good; i++)
        position[p->order[i]] = i;
    for (int i = 0; i < p->n_groups && good; i++)
        good = json_array_append_new(groups, group_json(p, p->order[i], position, forecasts)) == 0;
    wf_free(forecasts);
    wf_free(position);
    json_decref(groups);
    if (good)
        return o;
    json_decref(o);
    return NULL;
}
