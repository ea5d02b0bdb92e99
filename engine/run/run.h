/* Running a plan: the scheduler, the interpreter and the random scheduler.
 *
 * Each replay is one OpenMP parallel region. Inside it, Weft's own loop of each worker takes
 * tiles. */
#ifndef WF_RUN_RUN_H
#define WF_RUN_RUN_H

#include <jansson.h>
#include <stdio.h>

#include "engine/machine/workers.h"
#include "engine/plan/plan.h"

/* What a run asks of engine/step, which knows the graph. The plan has numbers only; this tells what
 * they stand for. */
typedef struct wf_run_origin {
    const char *path, *title; /* module path, "" at top level; the function that the user called */
    bool check;               /* recorded in anomaly mode: its outputs must be finite */
    bool backward;            /* recorded by a backward pass */
    const char *backward_of;  /* the op whose gradient rule recorded it; NULL: none did */
} wf_run_origin;
typedef struct wf_run_source {
    const void *user;
    const double *scalars; /* the nodes' scalars, one node after the other */
    void *(*bound)(const void *user, const wf_binding *b); /* where the bound buffer's bytes are */
    wf_run_origin (*origin)(const void *user, int source); /* source: a wf_ir_node.source >= 0 */
} wf_run_source;

/* One replay. */
struct wf_run {
    weft_context *ctx;
    const wf_plan *plan;
    const wf_bufptr *bufs;
    const wf_run_source *source;
    char *scratch; /* scratch_stride bytes per worker */
    size_t scratch_stride;
    atomic_int failed; /* 0: no; 1: status and text are being written; 2: they are complete */
    weft_status status;
    char text[WEFT_ERROR_TEXT];
    bool check;             /* anomaly mode: see anomaly.c */
    struct wf_trace *trace; /* NULL: off */
};

typedef struct wf_replay wf_replay;
/* What replays share, for the life of a context: arena, scratch, scheduler. */
weft_status wf_replay_create(weft_context *ctx);
void wf_replay_destroy(wf_replay *replay);
/* Runs a plan once: binds its buffers, grows the arena where needed, runs the tasks. If a tile
 * fails, nothing is committed and the failure becomes the context's error. Values that are to be
 * kept have memory already. With `check`, the interpreter runs the plan, and nodes recorded in
 * anomaly mode must give finite numbers. */
weft_status wf_replay_run(weft_context *ctx, const wf_plan *plan, const wf_run_source *source,
                          bool check);

/* The bytes of workspace that each worker has in runs of a plan. */
size_t wf_replay_scratch(const wf_plan *plan);

/* The three executors. */
typedef struct wf_scheduler wf_scheduler;
weft_status wf_scheduler_create(weft_context *ctx, wf_scheduler **scheduler);
void wf_scheduler_destroy(wf_scheduler *scheduler);
weft_status wf_scheduler_run(wf_scheduler *scheduler, wf_run *run);
/* Prints what each worker does, and each task group that has not ended with what it waits for. Any
 * thread may call it during a run: the figures may be of slightly different moments. For tests that
 * hang. */
void wf_scheduler_dump(const wf_scheduler *scheduler, FILE *out);
wf_scheduler *wf_replay_scheduler(const wf_replay *replay);
/* When the last replay began (wf_seconds): what came before it in a step was recording and finding
 * the plan. */
double wf_replay_started(const wf_replay *replay);
void wf_interpreter_run(wf_run *run);
weft_status wf_random_run(wf_run *run, uint64_t *state);

/* Call after a node's last task: fails the run if the node gave a NaN or an infinity. */
void wf_anomaly_check(wf_run *run, const wf_task *task);

/* Runs one tile of a task group: that tile of each of its tasks, in order. */
void wf_run_tile(wf_run *run, const wf_task_group *group, int64_t tile, int worker);
static inline bool wf_run_failed(wf_run *run)
{
    return atomic_load_explicit(&run->failed, memory_order_relaxed) != 0;
}

/* ---- trace.c: a timeline in Chrome's trace format; a row is a worker, a slice is a tile ---- */
typedef struct wf_trace wf_trace;
wf_trace *wf_trace_create(int workers);
/* A replay begins, on the calling thread. Describes the plan if it is new. */
weft_status wf_trace_begin(wf_trace *t, const wf_plan *plan, weft_error *err);
void wf_trace_end(wf_trace *t);
/* One tile of the plan's task number `task`. Each worker writes its own row. */
void wf_trace_slice(wf_trace *t, int worker, const wf_plan *plan, int task, int64_t tile,
                    double start, double end);
/* Writes the file, unless it has all slices already. */
weft_status wf_trace_write(wf_trace *t, const char *path, weft_error *err);
void wf_trace_destroy(wf_trace *t);
wf_trace *wf_replay_trace(const wf_replay *replay); /* NULL: off */

/* ---- forecast.c: what a task is expected to move and to take ---- */
typedef struct wf_forecast {
    double flops;      /* floating-point operations */
    double dram;       /* bytes of buffers that other task groups wrote or read */
    double seconds;    /* on one core: Note [Forecast] in forecast.c */
    double converting; /* of these, those of converting between bf16 and f32 inside the task */
} wf_forecast;
/* forecasts[i] is that of the plan's task i. False: out of memory. */
bool wf_forecast_plan(const wf_plan *plan, wf_forecast *forecasts);
/* ---- plan_json.c: the plan as a JSON object, for traces and weft_explain; NULL: out of memory ---- */
json_t *wf_plan_json(const wf_plan *plan);

#endif
