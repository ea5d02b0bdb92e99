/* What an op is: shape inference, gradient, cost, lowering, samples. One op one file
 * (engine/graph/ops/<op>.c), which ends in one `const wf_op wf_op_<name>` and is listed once in
 * ops.def.
 *
 * See docs/adding-an-op.md. Threading: infer, grad and lower run on the recording thread; tile
 * functions run on any worker, concurrently. */
#ifndef WF_GRAPH_OP_H
#define WF_GRAPH_OP_H

#include "engine/tensor/context.h"
#include "kernels/types.h"
#include "weft/ops.h"

#define WF_MAX_IN 8 /* inputs of an op with a fixed signature; concat may have more */
#define WF_MAX_OUT 4
#define WF_MAX_SCALARS 8

typedef struct wf_op wf_op;
typedef struct wf_node wf_node;

/* ---- recording ------------------------------------------------------------------------------ */

/* Shape inference: reads in[], sets out[] (n_out of them; n_out starts as op->n_out). Fails with
 * return wf_infer_fail(f, WEFT_ERR_SHAPE, "input has %d channels, weight expects %d", ...); the
 * module path and the op's name are put in front. */
typedef struct wf_infer {
    weft_context *ctx;
    const wf_op *op;
    void *attrs; /* infer may complete attributes (defaults), never widen them */
    int n_in;
    const wf_type *in;
    int n_out;
    wf_type *out;
} wf_infer;
weft_status wf_infer_fail(const wf_infer *f, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Records a node. `attrs`: op->attr_size bytes without uninitialised padding (they are hashed and
 * compared as bytes: use same-sized integer and double fields, memset first when in doubt), NULL
 * when attr_size is 0. `scalars`: op->n_scalars plan inputs, not part of the plan's signature (a
 * learning rate, a seed). Returns out[0]; `out` (may be NULL) receives all outputs. NULL on failure,
 * as for a NULL input: the context has the error and the step has failed. */
weft_tensor *wf_record(const wf_op *op, const void *attrs, const double *scalars, int n_in,
                       weft_tensor *const *in, weft_tensor **out);
/* Room for any op's attributes, aligned for all, until the function returns. Of alloca, since an array
 * of char must not be read as a struct; memory without a declared type is what was copied into it. */
#define WF_ATTRS_ROOM 512
#define wf_attrs_room() __builtin_alloca(WF_ATTRS_ROOM)
/* For functions that record several ops, or look at their operands first: the context of n operands,
 * of which the first `needed` may not be NULL. NULL, with the step failed where its context is known,
 * when one of these is or one is stale, when they are of two contexts, and when the step has failed
 * already. */
weft_context *wf_record_context(const char *what, int needed, int n, weft_tensor *const *in);
/* Note [Names that the user wrote]. A public function that records several ops, or an op of another
 * name, begins with WF_SAY("name", x, y): until it returns, errors, lints and nodes bear this name in
 * place of those of the ops it records; of such functions within each other the outermost counts. The
 * tensors, the user's operands in order, tell the context and are linted; all may be NULL. Gradient
 * rules record under the ops' own names. */
typedef struct wf_said {
    weft_context *ctx; /* NULL: nothing was set */
} wf_said;
wf_said wf_said_begin(const char *name, int n, weft_tensor *const *in);
void wf_said_end(wf_said *said);
#define WF_SAY(name, ...)                                                                          \
    __attribute__((cleanup(wf_said_end), unused)) wf_said wf_said_here =                           \
        wf_said_begin(name, (int)(sizeof((weft_tensor *[]){__VA_ARGS__}) / sizeof(weft_tensor *)), \
                      (weft_tensor *[]){__VA_ARGS__})

/* Makes `value` the new content of the stored tensor when the step commits. Later recorded reads
 * of `stored` see `value`. Ops whose output may overwrite an input (op->inplace) do so without a
 * copy when that input is `stored` itself. See Note [Commit phase]. */
weft_status wf_assign(weft_tensor *stored, weft_tensor *value);
/* The same for n <= WF_MAX_OUT tensors: all of them or, on failure, none. */
weft_status wf_assign_all(int n, weft_tensor *const *stored, weft_tensor *const *values);

/* ---- gradient ------------------------------------------------------------------------------- */

/* A gradient rule sets din[i] for every i with needs[i], recording ops on in[], out[], dout[].
 * dout[o] is NULL where no gradient arrives at output o (at least one is not NULL). Leaving
 * din[i] NULL means zero. */
typedef struct wf_grad {
    weft_context *ctx;
    const wf_op *op;
    const void *attrs;
    const double *scalars;
    int n_in, n_out;
    weft_tensor *const *in, *const *out, *const *dout;
    const bool *needs;
    weft_tensor **din;
} wf_grad;

/* ---- lowering ------------------------------------------------------------------------------- */

typedef struct wf_lower wf_lower;
typedef struct wf_task wf_task;
typedef int wf_buf; /* a buffer of the plan */

/* What a tile function is given. */
typedef struct wf_bufptr {
    char *base;
    size_t image_stride;  /* bytes between images (dimension 0) */
    size_t worker_stride; /* not 0: the buffer lives in per-worker memory, see plan/memory */
} wf_bufptr;
typedef struct wf_run wf_run;
typedef struct wf_tile {
    const wf_bufptr *bufs;
    const double *scalars;
    void *scratch; /* as many bytes as wf_scratch asked for, 64-byte aligned, per worker */
    int worker;
    wf_run *run;
    const wf_task *task; /* whose tile this is, for errors */
} wf_tile;
/* What is not WEFT_OK fails the run: nothing is committed, and the context's error names the op, its
 * module and its kernel. wf_tile_fail says more. */
typedef weft_status (*wf_tile_fn)(const wf_tile *t, const void *args, int64_t tile);

/* A buffer's first byte (buffers accessed as WF_WHOLE), and image n's (accessed as WF_TILED). */
static inline void *wf_data(const wf_tile *t, wf_buf b)
{
    return t->bufs[b].base;
}
static inline void *wf_image(const wf_tile *t, wf_buf b, int64_t n)
{
    const wf_bufptr *p = &t->bufs[b];
    return p->base + (size_t)n * p->image_stride + (size_t)t->worker * p->worker_stride;
}
/* Fails the run; the first failure wins and reaches the context, behind "<module path>: <op>: ".
 * Returns status. */
weft_status wf_tile_fail(const wf_tile *t, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One input or output of the node being lowered. For rank 4, act describes one image in the
 * layout the plan chose (weights too: then act.block is 1); for other ranks the value is dense,
 * row-major and act.C is the number of elements behind dimension 0, H = W = block = 1. */
typedef struct wf_operand {
    wf_buf buf;
    weft_dtype dtype;
    weft_shape shape;
    int64_t N; /* dimension 0; 1 for scalars */
    wf_act act;
    size_t image_bytes;
} wf_operand;

struct wf_lower {
    weft_context *ctx;
    const wf_op *op;
    const void *attrs;
    int n_in, n_out;
    weft_isa isa;
    int workers;
    int scalar; /* index of the node's scalars in wf_tile.scalars */
    /* the rest belongs to the plan */
    void *plan;       /* wf_plan */
    const void *view; /* wf_ir_node */
};
wf_operand wf_lower_in(const wf_lower *l, int i);
wf_operand wf_lower_out(const wf_lower *l, int i);
/* Whether input i lies where output 0 has it, `at` bytes into each image; whether output 0 lies
 * where input 0 has it. Then there is nothing to copy: see plan/slices.c. */
bool wf_lower_in_place(const wf_lower *l, int i, size_t at);
bool wf_lower_out_in_place(const wf_lower *l);
/* Memory that lives from its first to its last task. `images` slices of `bytes` each; slice n is
 * wf_image(t, buf, n). The content is undefined at first. -1 on failure. */
wf_buf wf_lower_temp(wf_lower *l, int64_t images, size_t bytes);
/* Makes the plan own `state`: destroy(state) is called with the plan. On failure destroys it. */
weft_status wf_lower_own(wf_lower *l, void *state, void (*destroy)(void *));
weft_status wf_lower_fail(wf_lower *l, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Appends a task of `tiles` tiles; args (args_size bytes) are copied. Tasks of all nodes keep
 * recording order; the plan derives the edges from what they read and write. NULL on failure
 * (and every function below passes NULL through). `kernel` is a static or plan-owned text for
 * explain and traces, such as "onednn:jit:avx2" or "avx2". */
wf_task *wf_lower_task(wf_lower *l, const char *kernel, wf_tile_fn fn, const void *args,
                       size_t args_size, int64_t tiles);
/* WF_TILED: tile i touches slice (image) i only, and the buffer has as many slices as the task
 * has tiles; such tasks are chained so that data stays in cache. WF_WHOLE: anything else. What is
 * both read and written is declared twice. See Note [Partial sums and tiles]. */
typedef enum wf_access { WF_WHOLE, WF_TILED } wf_access;
void wf_reads(wf_task *task, wf_buf buf, wf_access access);
void wf_writes(wf_task *task, wf_buf buf, wf_access access);
void wf_scratch(wf_task *task, size_t bytes_per_worker);
/* Arithmetic and memory traffic of the whole task (all tiles), for rank and explain. */
void wf_cost(wf_task *task, double flops, double bytes);

/* For ops whose kernel is chosen among several by cost, kernels/select.h: registers the problem
 * with the plan and returns the name of the implementation that wisdom has for it; NULL: none. And
 * what the chosen one expects: `cycles`, and whether it is the one that was named. */
typedef struct wf_problem wf_problem;
weft_status wf_lower_prefer(wf_lower *l, const wf_problem *problem, const char **name);
void wf_expect(wf_task *task, double cycles, bool by_wisdom);

/* ---- the descriptor ------------------------------------------------------------------------- */

/* How the op's rank-4 operands are laid out (f64 and i64 are always plain). SAME: all in one
 * layout, blocked if any input is. PLAIN: all row-major. OWN: as op->layout says. The plan inserts
 * reorders where a value comes in another layout. Values of other ranks are always plain. */
typedef enum wf_layout_rule { WF_LAYOUT_SAME, WF_LAYOUT_PLAIN, WF_LAYOUT_OWN } wf_layout_rule;

/* A sample for gradcheck and benchmarks: creates stored f64 inputs (up to WF_MAX_IN; those that
 * require a gradient are checked) and names a function to apply. Returns false when there is no
 * case `index`. */
typedef struct wf_sample {
    const char *name;
    int n_in;
    weft_tensor *in[WF_MAX_IN]; /* owned by the caller of sample */
    weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n);
    void *user; /* static data */
} wf_sample;

/* How an op's *wide* outputs, f32 images of rank 4 with more than one pixel, are stored under
 * weft_options.amp; see plan/precision.c. */
typedef enum wf_precision {
    /* As recorded; inputs come as f32. Losses, softmax, optimizers, reductions; what nobody has
     * thought about. PyTorch's autocast: the list of f32. */
    WF_PRECISION_F32,
    /* bf16, unless a wide input is f32: then f32, and all wide inputs come as f32. autocast: the widest
     * type of the inputs. Element-wise ops, pooling, what moves elements. */
    WF_PRECISION_FOLLOW,
    /* bf16, whatever the inputs are. Convolutions. autocast: the list of bf16. */
    WF_PRECISION_BF16,
    /* As recorded, whatever the inputs are: the op reads either. Weight gradients. */
    WF_PRECISION_F32_OUT,
} wf_precision;

/* wf_op.flags */
enum {
    /* Runs in the commit phase (writes state). */
    WF_OP_COMMIT = 1u << 0,
    /* Padding channels that are zero in every input are zero in the outputs; without this flag the
     * op's kernel masks the tail itself. */
    WF_OP_KEEPS_ZERO = 1u << 1,
    /* Never dead code (a check). */
    WF_OP_SIDE_EFFECT = 1u << 2,
    /* Reaches every rank-4 operand (but weights) with wf_image, or by the buffer's image_stride: it
     * may be a slice of a larger value. */
    WF_OP_BY_IMAGE = 1u << 3,
    /* Has kernels for wide operands of bf16: where the rule is FOLLOW all of them are bf16 or none, else
     * each is what it is. All other operands stay as recorded. Without this flag the op never
     * meets bf16. */
    WF_OP_BF16 = 1u << 5,
    /* The same of ops whose f32 operands have one type, such as those that move elements: where all of
     * them are wide. */
    WF_OP_ALL_BF16 = 1u << 6,
    /* Costs little more than to read its inputs and write output 0, on which nothing but the inputs has an effect: the
     * plan may run it again in the backward pass, plan/recompute.c. */
    WF_OP_CHEAP = 1u << 7,
    /* Draws random numbers keyed by the context's count of draws: a run of it moves the count. */
    WF_OP_DRAWS = 1u << 4,
};

/* Note [Empty tensors]. A dimension may be 0. No kernel sees such a tensor: recording refuses it for
 * ops that say nothing about it, and in the place of the others' nodes the plan puts of_nothing, whose
 * outputs that are not empty (the sum of no elements, the gradient of weights by no images) are zeros or
 * NaN. concat drops its empty inputs instead; custom ops, which only their authors know, run (RUN). Shape
 * inference must bear zeros. */
typedef enum wf_empty { WF_EMPTY_REFUSED, WF_EMPTY_ZERO, WF_EMPTY_NAN, WF_EMPTY_RUN } wf_empty;

struct wf_op {
    const char *name;
    wf_empty of_nothing;
    bool (*nan_of_nothing)(const void *attrs); /* WF_EMPTY_NAN: else zeros; NULL: always NaN */
    int n_out;
    size_t attr_size;
    int n_scalars;
    unsigned flags;
    wf_layout_rule layout_rule;
    wf_precision precision;
    /* i + 1: input i is of rank 4, but weights and no images: plain, as recorded, whole. 0: none. */
    signed char weights;
    /* OWN: the block (1, or the plan's `block`) for input i (i < n_in) or output i - n_in, given
     * the inputs' present blocks in in_block. */
    int (*layout)(const wf_lower *l, int i, const int *in_block, int block);
    /* inplace[o] = i + 1: output o may overwrite input i (same type and shape); 0: not. */
    signed char inplace[WF_MAX_OUT];
    weft_status (*infer)(wf_infer *f);
    weft_status (*grad)(wf_grad *g);
    const char *no_grad_reason; /* where grad is NULL: why it has none (shown to the user) */
    weft_status (*lower)(wf_lower *l);
    bool (*sample)(weft_context *ctx, int index, wf_sample *sample);
    const char *no_sample_reason; /* where sample is NULL: which op's samples cover this one */
};

#endif
