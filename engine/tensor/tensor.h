/* What a tensor handle is inside the engine.
 *
 * Note [Stale handles]. Recorded handles live in a ring of address space that belongs to the
 * context. Each step begins on a fresh page. Two steps after a step has ended, its pages go back to
 * the system and read as zeros. So a handle is stale if its magic is zero; its context is found at
 * the start of the ring, which is aligned to its size. A handle is also stale if its generation is
 * not the present one. Neither check needs memory that grows.
 *
 * Handles that no program ever sees (of gradients, where no hook looks at them, and of an
 * optimizer's updates) need no addresses of their own: they lie in memory that each step uses again, which
 * is in the caches by then. */
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

static inline bool wf_type_equal(const wf_type *a, const wf_type *b)
{
    return a->dtype == b->dtype && weft_shape_equal(a->shape, b->shape);
}

enum { WF_MAGIC_STORED = 0x57f75704, WF_MAGIC_RECORDED = 0x57f7ec04, WF_MAGIC_DEAD = 0x57f7dead };

/* A hook on a tensor's gradient, in order of registration. engine/graph/autograd/hooks.c runs
 * hooks. */
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
    /* generation of its graph; stored: of the graph that leaf, leaves, pending belong to */
    uint64_t gen;
    wf_grad_hook *hooks; /* hooks on its gradient, in order of registration */

    /* recorded */
    /* stored tensor that also gets the value, such as a loss; the context owns it */
    weft_tensor *kept;
    int value; /* its value in the graph */

    int optimizers; /* how many optimizers have it as a parameter */

    /* stored */
    atomic_int refs;
    wf_block block;
    uint64_t version;  /* counts the writes to its content */
    bool awaited;      /* weft_keep made it, and no step has given it a value yet */
    weft_tensor *grad; /* owned; allocated with the first gradient, kept when zeroed */
    bool grad_present; /* the user sees `grad`; false after zeroing */
    bool exposed;      /* weft_tensor_data gave out a pointer through which the user may write */
    bool is_grad;      /* it is another tensor's gradient, and that tensor frees it */
    int leaf;          /* value of the present content in graph `gen`; -1: none */
    int leaves;     /* newest leaf value of it in graph `gen`, older contents included; -1: none */
    int pending;    /* value that it gets when the step commits; -1: none */
    int assignment; /* index in graph.assigned, while pending >= 0 */
};

static inline size_t wf_type_bytes(wf_type type)
{
    return (size_t)weft_shape_count(type.shape) * weft_dtype_size(type.dtype);
}

/* Note [Stored bf16]. bf16 is a type of memory, not of arithmetic. Ops take a stored tensor of bf16
 * as the f32 that its values are: shape inference, gradients and messages see f32. In the graph its
 * leaf has type f32 and storage bf16, as feature maps have under weft_options.amp; the plan widens
 * it where an op's kernels do not read bf16 (plan/precision.c). Nothing that is recorded writes to
 * it: only weft_write, loading and conversion do. So it has no gradient, and no optimizer takes
 * it. */
static inline weft_dtype wf_read_as(weft_dtype dtype)
{
    return dtype == WEFT_BF16 ? WEFT_F32 : dtype;
}

/* WEFT_ERR_STATE where weft_keep made t in a step that failed or was discarded: t never got a
 * value. */
weft_status wf_tensor_check_given(weft_context *ctx, const weft_tensor *t, const char *what);

/* Gives a stored tensor another type and content. Takes over the block, whose bytes must fit the
 * type and t's shape. Everything recorded that reads t must have run. */
void wf_tensor_set_content(weft_tensor *t, weft_dtype dtype, wf_block *block);

/* A stored tensor over memory of the caller's, which is aligned to the elements and outlives it.
 * Nobody may write to it. */
weft_tensor *wf_tensor_over(weft_context *ctx, weft_dtype dtype, weft_shape shape,
                            const void *data);

/* The ring of recorded handles. */
typedef struct wf_ring {
    char *map, *base;     /* the reserved address space, and its aligned part */
    size_t used;          /* offset of the next handle */
    size_t step_start[3]; /* offsets where this step and the two before it begin */
    size_t filled;        /* offset up to which this step's pages are there */
    bool hidden;          /* handles made now are seen by no program */
    weft_tensor **chunks; /* memory of hidden handles */
    int n_chunks, cap_chunks, n_hidden;
} wf_ring;

weft_status wf_ring_init(wf_ring *ring, weft_context *owner, weft_error *err);
void wf_ring_done(wf_ring *ring);
/* An empty handle, for wf_ring_fill; NULL when one step has filled the ring. */
weft_tensor *wf_ring_new(wf_ring *ring);
/* Makes it the handle of a value. */
void wf_ring_fill(weft_tensor *handle, weft_context *ctx, const wf_type *type, int value);
/* Whether the handles made from now on are seen by no program. Returns what was set before. */
bool wf_ring_hide(wf_ring *ring, bool hidden);
void wf_ring_next_step(wf_ring *ring);

/* The context of t, if t may be used in the present step; else NULL with the error set. With
 * `kept_ok`, a recorded handle with a kept value may be used after its step, too. */
weft_context *wf_tensor_check(const weft_tensor *t, const char *what, bool kept_ok);
/* The context of a handle, stale or not; NULL for NULL. */
weft_context *wf_tensor_owner(const weft_tensor *t);
/* Sets every element of a stored tensor to `value`; integer types drop the fraction. If the value
 * does not fit the type, fails with an error that begins with `what` and writes nothing. */
weft_status wf_tensor_fill(weft_tensor *t, const char *what, double value);

#endif
