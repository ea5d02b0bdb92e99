/* Running a plan: the tile scheduler and its workers, the interpreter, the random scheduler.
 *
 * One OpenMP parallel region per replay; inside it Weft's own worker loop. */
#ifndef WF_RUN_RUN_H
#define WF_RUN_RUN_H

#include "engine/machine/workers.h"
#include "engine/plan/plan.h"

/* What the run asks of whoever knows the step: the plan has numbers, and this says what they stand for. */
typedef struct wf_run_origin {
    const char *path, *title; /* module path, "" at top level; what the user called */
    bool check;               /* anomaly mode: its outputs must be finite */
    bool backward;            /* recorded by a backward pass */
    const char *backward_of;  /* the op whose gradient rule recorded it; NULL: none did */
} wf_run_origin;
typedef struct wf_run_source {
    const void *user;
    const double *scalars;                                 /* of the plan's nodes, in turn */
    void *(*bound)(const void *user, const wf_binding *b); /* where its bytes are */
    wf_run_origin (*origin)(const void *user, int source); /* of wf_ir_node.source >= 0 */
} wf_run_source;

/* One replay. */
struct wf_run {
    weft_context *ctx;
    const wf_plan *plan;
    const wf_bufptr *bufs;
    const wf_run_source *source;
    char *scratch; /* scratch_stride bytes per worker */
    size_t scratch_stride;
    atomic_int failed; /* 0; 1: being written; 2: status and text are there */
    weft_status status;
    char text[WEFT_ERROR_TEXT];
    bool check; /* anomaly mode: see anomaly.c */
};

typedef struct wf_replay wf_replay;
/* What lives as long as the context: arena, scratch, counters. */
weft_status wf_replay_create(weft_context *ctx);
void wf_replay_destroy(wf_replay *replay);
/* Binds buffers, grows the arena if needed, runs, reports a tile's failure as the context's error
 * (nothing is committed then). Values to be kept have their stores allocated already. `check`: the
 * interpreter runs it, and nodes recorded in anomaly mode must give finite numbers. */
weft_status wf_replay_run(weft_context *ctx, const wf_plan *plan, const wf_run_source *source,
                          bool check);
size_t wf_replay_arena_bytes(const wf_replay *replay);

/* Executors. */
typedef struct wf_scheduler wf_scheduler;
weft_status wf_scheduler_create(weft_context *ctx, wf_scheduler **scheduler);
void wf_scheduler_destroy(wf_scheduler *scheduler);
weft_status wf_scheduler_run(wf_scheduler *scheduler, wf_run *run);
void wf_interpreter_run(wf_run *run);
weft_status wf_random_run(wf_run *run, uint64_t *state);

/* Fails the run when the node whose last task this is gave a NaN or an infinity. */
void wf_anomaly_check(wf_run *run, const wf_task *task);

/* All tasks of a task group for one tile, in a tile's context that lacks but the scratch. */
void wf_run_tile(wf_run *run, const wf_task_group *group, int64_t tile, int worker);
static inline bool wf_run_failed(wf_run *run)
{
    return atomic_load_explicit(&run->failed, memory_order_relaxed) != 0;
}

/* ---- trace.c: a timeline in Chrome's trace format, one row a worker, one slice a tile ---- */
typedef struct wf_trace wf_trace;
wf_trace *wf_trace_create(int workers);
void wf_trace_slice(wf_trace *t, int worker, const wf_task *task, int64_t tile, double start,
                    double end);
/* Nothing to do where the file has all of it already. */
weft_status wf_trace_write(wf_trace *t, const char *path, weft_error *err);
void wf_trace_destroy(wf_trace *t);
wf_trace *wf_replay_trace(const wf_replay *replay); /* NULL: off */

#endif
