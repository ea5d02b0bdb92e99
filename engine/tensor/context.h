/* The context's inside. Threading rule: one thread at a time. */
#ifndef WF_TENSOR_CONTEXT_H
#define WF_TENSOR_CONTEXT_H

#include "engine/base/error.h"
#include "engine/graph/lint.h"
#include "engine/graph/graph.h"
#include "engine/base/handles.h"
#include "engine/machine/memory.h"
#include "engine/tensor/tensor.h"
#include "engine/machine/topology.h"
#include "engine/tune/wisdom.h"

typedef struct wf_plan_cache wf_plan_cache;
typedef struct wf_replay wf_replay;
typedef struct wf_custom wf_custom;
void wf_customs_free(wf_custom *first); /* engine/graph/custom_op.c */

struct weft_context {
    atomic_int refs; /* the user's one and one per stored tensor, which may outlive the user's */
    bool closed;     /* destroyed by the user: nothing can be recorded any more */
    weft_options options;
    char *trace_path, *wisdom_path; /* copies of the options' */
    weft_isa isa;
    int threads;
    wf_topology *topology;
    wf_memory *memory;
    weft_error error;
    char *long_error;     /* the whole of a text that error.text begins; NULL: none. wf_free */
    uint64_t next_stream; /* of random numbers: one per initialised tensor */
    bool skip_init;       /* initial values are not drawn: weft_init_skip_begin */
    uint64_t step;        /* steps committed */
    uint64_t draws;       /* weft_random_state */
    uint64_t last_hook;   /* handle of the hook registered last, of any kind */
    int callbacks;        /* running now, of those that get messages and progress */

    wf_lint_state lint;
    wf_wisdom wisdom;

    wf_graph graph;
    wf_ring ring;
    wf_handles handles;                       /* stored tensors and modules */
    struct wf_backward_hooks *backward_hooks; /* of all modules; modules/backward.c, wf_free */
    void *modules;      /* what the modules room keeps for this context, freed by wf_free */
    wf_custom *customs; /* ops from outside the library that were used */
    wf_plan_cache *plans;
    wf_replay *replay;
};

/* Seed and streams of the counter-based generator: (seed, stream) keys one tensor's numbers. */
uint64_t wf_context_seed(const weft_context *ctx);
uint64_t wf_context_next_stream(weft_context *ctx);
/* Steps committed so far. */
uint64_t wf_context_step(const weft_context *ctx);

/* WEFT_ERR_STATE, and the error, where `what` would take the recorded step away under code that
 * still walks it: inside a backward pass's hooks and inside callbacks; and once the context was
 * destroyed. */
weft_status wf_may_end_step(weft_context *ctx, const char *what);

/* Between these two calls the context's error is of what happens there: a NULL that is registered
 * stands for something that failed there, not for an older error. That one is put back, and stays the
 * first. */
void wf_error_set_aside(weft_context *ctx, weft_error *older);
void wf_error_put_back(weft_context *ctx, const weft_error *older);

/* wf_fail for a text of any length, which it takes over (wf_free). */
weft_status wf_fail_long(weft_context *ctx, weft_status status, char *text);
/* An error that has no context to go to: weft_error_text(NULL) of this thread. Returns status. */
weft_status wf_fail_stray(weft_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void wf_context_ref(weft_context *ctx);
void wf_context_unref(weft_context *ctx);

#endif
