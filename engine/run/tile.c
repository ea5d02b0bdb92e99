/* One tile of a task group, and how it fails. What all executors call. */
#include <stdio.h>

#include "engine/base/clock.h"
#include "engine/run/run.h"

/* "<module path>: <op>: " of a task; "" where it belongs to no op. Several recordings may share the
 * plan, so the path is that of the node as recorded this time. Returns the length. */
static size_t write_place(const wf_run *run, const wf_task *task, char *text, size_t size)
{
    if (!task || !task->op)
        return 0;
    const int source = task->node >= 0 ? run->plan->nodes[task->node].source : -1;
    wf_run_origin node = {.path = task->path, .title = task->op->name};
    if (source >= 0)
        node = run->source->origin(run->source->user, source);
    int n = snprintf(text, size, "%s%s%s: ", node.path, *node.path ? ": " : "", node.title);
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

weft_status wf_tile_fail(const wf_tile *t, weft_status status, const char *format, ...)
{
    wf_run *run = t->run;
    int none = 0;
    if (!atomic_compare_exchange_strong(&run->failed, &none, 1))
        return status;
    size_t n = write_place(run, t->task, run->text, sizeof run->text);
    va_list args;
    va_start(args, format);
    wf_vsnprintf(run->text + n, sizeof run->text - n, format, args);
    va_end(args);
    run->status = status;
    atomic_store(&run->failed, 2);
    return status;
}

void wf_run_tile(wf_run *run, const wf_task_group *group, int64_t tile, int worker)
{
    /* scratch may be NULL: adding an offset to NULL, even 0, is undefined */
    wf_tile t = {.bufs = run->bufs,
                 .scalars = run->source->scalars,
                 .scratch = run->scratch_stride > 0
                                ? run->scratch + (size_t)worker * run->scratch_stride
                                : NULL,
                 .worker = worker,
                 .run = run};
    wf_trace *trace = run->trace;
    for (int i = 0; i < group->n_tasks; i++) {
        const wf_task *task = run->plan->tasks[group->tasks[i]];
        double start = trace ? wf_seconds() : 0;
        t.task = task;
        weft_status status = task->fn(&t, task->args, tile);
        if (trace)
            wf_trace_slice(trace, worker, run->plan, group->tasks[i], tile, start, wf_seconds());
        if (status != WEFT_OK) { /* no effect if the tile called wf_tile_fail itself */
            wf_tile_fail(&t, status, "kernel %s failed: %s", task->kernel,
                         weft_status_string(status));
            return;
        }
    }
}
