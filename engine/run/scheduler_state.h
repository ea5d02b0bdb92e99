/* What the scheduler knows during a replay: scheduler.c changes it, dump.c prints it. */
#ifndef WF_RUN_SCHEDULER_STATE_H
#define WF_RUN_SCHEDULER_STATE_H

#include <pthread.h>

#include "engine/run/run.h"

#define LINE 64

/* One worker's share of a task group's tiles: [next, end). Has a cache line of its own. */
typedef struct segment {
    _Alignas(LINE) atomic_llong next;
    int64_t end;
} segment;

typedef struct group_state {
    _Alignas(LINE) atomic_int preds;
    atomic_llong left;
    int position; /* in the linear order */
} group_state;

/* What a worker does, for wf_scheduler_dump: a task group and the tile, or one of these. */
enum { LOOKING = -1, ASLEEP = -2, OUTSIDE = -3 };
typedef struct worker_state {
    _Alignas(LINE) atomic_int group;
    atomic_llong tile;
} worker_state;

struct wf_scheduler {
    weft_context *ctx;
    bool spin;
    bool in_sequence; /* a task group begins when the one before it in the linear order has ended */
    bool stacks_checked; /* the threads' stacks; once is enough, because OpenMP keeps its threads */
    /* grown to the largest plan */
    char *segments_mem, *groups_mem, *states_mem;
    int cap_segments, cap_groups, cap_words, cap_states;
    segment *segments;
    worker_state *states;
    group_state *groups;
    _Atomic uint64_t *ready;   /* one bit for each task group, by position */
    _Atomic uint64_t *summary; /* one bit for each word of `ready`; it follows `ready` in memory */
    int n_words, n_summary;
    /* one replay */
    wf_run *run;
    int workers;
    _Alignas(LINE) atomic_int groups_left;
    atomic_int finished;
    _Alignas(LINE) atomic_uint epoch;
    atomic_int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

#endif
