/* What is inside a context: what all layers from tensor/ up share, and one pointer for each layer
 * above.
 *
 * A layer above tensor/ keeps its part of a context in a struct of its own. Only that layer and the
 * layers above it know the struct; this header has the pointer only. engine/step creates and frees
 * all of them.
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

/* Where the user's program is, for messages: the module being called, as the names of weft_call's
 * modules joined by '.', and the public function that is recording. */
typedef struct wf_where {
    char path[256];
    int path_len, path_depth, path_lens[32];
    const char *interned; /* the graph's copy of `path`; NULL: not looked up since it changed */
    const char *said; /* NULL: none said its name. Note [Names that the user wrote] in graph/op.h */
} wf_where;

struct weft_context {
    atomic_int refs; /* the user's reference, and one per stored tensor: tensors may outlive it */
    void (*release)(weft_context *ctx); /* called when the last reference is gone */
    bool closed; /* the user destroyed it: nothing can be recorded any more */
    weft_options options;
    char *trace_path, *wisdom_path; /* copies of the strings in `options` */
    weft_isa isa;
    int threads;
    wf_topology *topology;
    wf_memory *memory;
    weft_error error;
    char *long_error;     /* the full text where error.text is too short for it, or NULL; wf_free */
    uint64_t next_stream; /* next stream of random numbers: each initialised tensor gets one */
    bool skip_init;       /* weft_init_skip_begin: no initial values are drawn */
    uint64_t step;        /* steps committed */
    uint64_t draws;       /* count of draws: weft_random_state */
    uint64_t last_hook;   /* id of the last registered hook of any kind */
    size_t least_bytes;   /* of a step that could not meet the memory limit: weft_memory_least */
    bool running;         /* a plan runs */
    int callbacks;        /* callbacks for messages and progress that are running now */

    /* generation of the step being recorded; handles of other generations are stale */
    uint64_t gen;
    /* WEFT_OK, or the status of the first failed recording: Note [Failed steps] in graph/graph.h */
    weft_status step_failed;
    wf_where where;
    wf_ring ring;
    wf_handles handles; /* stored tensors and modules */

    struct wf_graph *graph; /* engine/graph */
    struct wf_lint_state *lint;
    struct wf_custom *customs;   /* custom ops that were used */
    struct wf_wisdom *wisdom;    /* engine/tune; loaded by engine/step */
    struct wf_replay *replay;    /* engine/run */
    struct wf_plan_cache *plans; /* engine/step */
    /* hooks for all modules; modules/backward.c, wf_free */
    struct wf_backward_hooks *backward_hooks;
    void *modules; /* the modules room's part; wf_free */
};

/* Seed and streams of the counter-based random generator: the pair (seed, stream) is the key of one
 * tensor's numbers. */
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
/* The same where something cannot be recorded: marks the step as failed, too. See
 * Note [Failed steps] in graph/graph.h. */
weft_status wf_fail_step(weft_context *ctx, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Marks the step as failed. Returns the status of its first failure. */
weft_status wf_step_fail(weft_context *ctx, weft_status status);
/* WEFT_OK, or the status of the first recording of this step that failed. */
weft_status wf_step_status(const weft_context *ctx);
/* wf_fail for a text of any length; takes over the text and frees it with wf_free. */
weft_status wf_fail_long(weft_context *ctx, weft_status status, char *text);
/* An error without a context: weft_error_text(NULL) of this thread gives it. Returns status. */
weft_status wf_fail_stray(weft_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The error of a public function whose context is NULL: WEFT_ERR_INVALID. */
weft_status wf_no_context(const char *what);

/* Between these two calls, the context's error holds only errors that happen between them. So a
 * NULL that is registered there can be traced to its own failure, not to an older error. The second
 * call puts the older error back; it stays the first. */
void wf_error_set_aside(weft_context *ctx, weft_error *older);
void wf_error_put_back(weft_context *ctx, const weft_error *older);

/* The module path for error messages: weft_call pushes and pops the names of the modules it calls.
 * "" adds nothing that can be seen. */
void wf_path_push(weft_context *ctx, const char *name);
void wf_path_pop(weft_context *ctx);
/* Replaces the whole path: a backward pass sets the path of the module whose gradient it
 * records. */
void wf_path_set(weft_context *ctx, const char *path);

#endif
