/* What a tensor handle is inside the engine.
 *
 * Note [Stale handles]. Recorded handles live in a ring of address space that belongs to the
 * context. Each step's handles start on fresh pages; two steps after it ended, the pages go back
 * to the system and read as zeros. A handle whose magic is zero is therefore stale, and its context
 * is found at the start of the ring, which is aligned to its size. One whose generation has passed
 * is stale too. Neither costs memory that grows. */
#ifndef WF_TENSOR_TENSOR_H
#define WF_TENSOR_TENSOR_H

#include <stdatomic.h>

#include "engine/machine/memory.h"
#include "weft/autograd.h"
#include "weft/tensor.h"

typedef struct wf_type {
    weft_dtype dtype;
    weft_shape shape;
} wf_type;

enum { WF_MAGIC_STORED = 0x57f75704, WF_MAGIC_RECORDED = 0x57f7ec04, WF_MAGIC_DEAD = 0x57f7dead };

/* On a tensor's gradient, in order of registration; engine/graph/autograd/hooks.c runs them. */
typedef struct wf_grad_hook {
    struct wf_grad_hook *next;
    uint64_t id;
    weft_grad_hook_fn fn; /* NULL: removed */
    void *user;
} wf_grad_hook;
void wf_grad_hooks_free(wf_grad_hook *first);

struct weft_tensor {
    uint32_t magic;
    bool requires_grad;
    weft_context *ctx;
    wf_type type;
    uint64_t gen; /* recorded: of its graph. stored: of the graph that leaf, current belong to */

    int optimizers;      /* that have it as a parameter */
    wf_grad_hook *hooks; /* on its gradient, in order; see engine/graph/autograd/hooks.c */

    /* stored */
    atomic_int refs;
    wf_block block;
    uint64_t version;  /* counts the writes */
    bool awaited;      /* weft_keep made it, and no step has given its value yet */
    weft_tensor *grad; /* owned; allocated with the first gradient, kept when zeroed */
    bool grad_present; /* ... and then absent all the same */
    bool exposed;      /* weft_tensor_data gave a pointer that its holder may write through */
    bool is_grad;      /* is itself some tensor's gradient: its owner frees it */
    int leaf;          /* value that stands for the present content in graph gen; -1: none */
    int leaves;        /* the newest of all such values, in graph gen; -1: none */
    int pending;       /* value assigned when the step commits, in graph gen; -1: none */
    int assignment;    /* its index in graph.assigned, while pending >= 0 */

    /* recorded */
    int value;         /* in the graph */
    weft_tensor *kept; /* stored tensor that receives the value (the loss); owned by the context */
};

static inline size_t wf_type_bytes(wf_type type)
{
    return (size_t)weft_shape_count(type.shape) * weft_dtype_size(type.dtype);
}

/* WEFT_ERR_STATE where the stored tensor t's value was kept of a step that failed or was discarded. */
weft_status wf_tensor_check_given(weft_context *ctx, const weft_tensor *t, const char *what);

/* A stored tensor of another type and content from now on; takes over the block, which has the bytes
 * that the type and t's shape need. What read t has been run. */
void wf_tensor_set_content(weft_tensor *t, weft_dtype dtype, wf_block *block);

/* The ring of recorded handles. */
typedef struct wf_ring {
    char *map, *base;     /* reservation, and its aligned part */
    size_t used;          /* offset of the next handle */
    size_t step_start[3]; /* where the present step and the two before it begin */
} wf_ring;

weft_status wf_ring_init(wf_ring *ring, weft_context *owner, weft_error *err);
void wf_ring_done(wf_ring *ring);
weft_tensor *wf_ring_new(wf_ring *ring); /* zero-filled; NULL when one step fills the ring */
void wf_ring_next_step(wf_ring *ring);

/* The context of t when it may be used in the present step; else NULL, with the error set. A
 * recorded handle with a kept value passes when `kept_ok`. */
weft_context *wf_tensor_check(const weft_tensor *t, const char *what, bool kept_ok);
/* The context of a handle, stale or not; NULL for NULL. */
weft_context *wf_tensor_owner(const weft_tensor *t);
/* Every element of a stored tensor becomes `value`, whose fraction whole numbers lose; an error that
 * begins with `what`, and nothing written, where it does not fit the type. */
weft_status wf_tensor_fill(weft_tensor *t, const char *what, double value);

#endif
