/* The context's inside: what all layers from the tensors up share, and a pointer for each layer above.
 *
 * A layer above tensor/ keeps its part of a context in a struct of its own, which only that layer and those above
 * it know; this header names the pointers only. engine/step makes and frees all of them.
 *
 * Threading rule: one thread at a time. */
#ifndef WF_TENSOR_CONTEXT_H
#define WF_TENSOR_CONTEXT_H

#include "engine/base/error.h"
#include "engine/base/handles.h"
#include "engine/machine/memory.h"
#include "engine/machine/topology.h"
#include "engine/tensor/tensor.h"
#include "weft/context.h"

/* Where the user's program is, for messages: the module being called, by the names of weft_call's modules joined by
 * '.', and the public function that is recording. */
typedef struct wf_where {
    char path[256];
    int path_len, path_depth, path_lens[32];
    const char
        *said; /* NULL: none that has said so. Note [Names that the user wrote] in graph/op.h */
} wf_where;

struct weft_context {
    atomic_int refs; /* the user's one and one per stored tensor, which may outlive the user's */
    void (*release)(weft_context *ctx); /* after the last reference */
    bool closed; /* destroyed by the user: nothing can be recorded any more */
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

    uint64_t gen; /* of the step being recorded: handles of others are stale */
    weft_status
        step_failed; /* by its first recording that failed: Note [Failed steps] in graph/graph.h */
    wf_where where;
    wf_ring ring;
    wf_handles handles; /* stored tensors and modules */

    struct wf_graph *graph; /* engine/graph */
    struct wf_lint_state *lint;
    struct wf_custom *customs;                /* ops from outside the library that were used */
    struct wf_wisdom *wisdom;                 /* engine/tune; loaded by engine/step */
    struct wf_replay *replay;                 /* engine/run */
    struct wf_plan_cache *plans;              /* engine/step */
    struct wf_backward_hooks *backward_hooks; /* of all modules; modules/backward.c, wf_free */
    void *modules;                            /* what the modules room keeps, freed by wf_free */
};

/* Seed and streams of the counter-based generator: (seed, stream) keys one tensor's numbers. */
uint64_t wf_context_seed(const weft_context *ctx);
uint64_t wf_context_next_stream(weft_context *ctx);
/* Steps committed so far. */
uint64_t wf_context_step(const weft_context *ctx);

void wf_context_ref(weft_context *ctx);
void wf_context_unref(weft_context *ctx);

/* ---- errors (errors.c) ---- */

/* Sets the context's first error: "<module path>: <message>". Returns status. */
weft_status wf_fail(weft_context *ctx, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for what cannot be recorded: the step has failed. See Note [Failed steps] in graph/graph.h. */
weft_status wf_fail_step(weft_context *ctx, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Marks the step as failed; returns the status it failed with first. */
weft_status wf_step_fail(weft_context *ctx, weft_status status);
/* WEFT_OK, or the status of the first recording of this step that failed. */
weft_status wf_step_status(const weft_context *ctx);
/* wf_fail for a text of any length, which it takes over (wf_free). */
weft_status wf_fail_long(weft_context *ctx, weft_status status, char *text);
/* An error that has no context to go to: weft_error_text(NULL) of this thread. Returns status. */
weft_status wf_fail_stray(weft_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Between these two calls the context's error is of what happens there: a NULL that is registered
 * stands for something that failed there, not for an older error. That one is put back, and stays the
 * first. */
void wf_error_set_aside(weft_context *ctx, weft_error *older);
void wf_error_put_back(weft_context *ctx, const weft_error *older);

/* Module path for error messages; names of weft_call's modules. "" pushes nothing visible. */
void wf_path_push(weft_context *ctx, const char *name);
void wf_path_pop(weft_context *ctx);
/* Replaces the whole path (a backward pass names the module whose gradient it records). */
void wf_path_set(weft_context *ctx, const char *path);

#endif
