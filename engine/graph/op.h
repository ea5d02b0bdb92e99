/* What an op is: shape inference, gradient, lowering, sample inputs.
 *
 * Each op is defined in one file of engine/graph/ops, as `const wf_op wf_op_<name>`, and ops.def
 * lists it once. A file has one op, with those that serve its gradient, or one family, such as the
 * comparisons (eq.c) or the functions of one operand (activation.c). docs/adding-an-op.md shows how
 * to add one.
 *
 * Threading: infer, grad and lower run on the recording thread. Tile functions run on any worker,
 * several at a time. */
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

/* Shape inference reads in[] and sets out[0] to out[n_out - 1]. n_out starts as op->n_out; infer
 * may lower it. It fails with return wf_infer_fail(f, WEFT_ERR_SHAPE, "input has %d channels,
 * weight expects %d", ...), which puts the module path and the op's name in front. */
typedef struct wf_infer {
    weft_context *ctx;
    const wf_op *op;
    void *attrs; /* infer may fill in defaults, but not change the size */
    int n_in;
    const wf_type *in;
    int n_out;
    wf_type *out;
} wf_infer;
weft_status wf_infer_fail(const wf_infer *f, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Records a node. Returns out[0]; `out` receives all outputs, unless it is NULL. Returns NULL on
 * failure and where an input is NULL: then the context has the error, and the step has failed.
 *
 * `attrs` are op->attr_size bytes, NULL when attr_size is 0. The plan cache hashes and compares
 * them as bytes, so they must have no uninitialised padding: give all fields one size, or memset
 * them first. `scalars` are op->n_scalars numbers, such as a learning rate or a seed. They are
 * inputs of the plan, not part of its signature: steps with other scalars share the plan. */
weft_tensor *wf_record(const wf_op *op, const void *attrs, const double *scalars, int n_in,
                       weft_tensor *const *in, weft_tensor **out);
/* Memory for any op's attributes, aligned for every type, until the calling function returns. It
 * comes from alloca, because C does not allow reading an array of char as a struct; memory without
 * a declared type has the type of what was copied into it. */
#define WF_ATTRS_ROOM 512
#define wf_attrs_room() __builtin_alloca(WF_ATTRS_ROOM)
/* The context of n operands, for functions that record several ops or look at their operands first.
 * The first `needed` operands must not be NULL. Returns NULL where one of those is NULL, where an
 * operand is stale, where two operands belong to different contexts, and where the step has failed
 * already. Before it returns NULL it makes the step fail, with an error, in the context of the
 * first operand that has one; if none has one (all are NULL), no step fails. */
weft_context *wf_record_context(const char *what, int needed, int n, weft_tensor *const *in);
/* Note [Names that the user wrote]. A public function that records several ops, or an op of another
 * name, begins with WF_SAY("name", needed, x, y). Until it returns, errors, lints and nodes show
 * this name in place of the names of the ops that it records. Where such functions call each other,
 * the outermost name is shown. The tensors are the user's operands, in order, by the names that they
 * have in the public header. They tell the context, and the lints look at them. The first `needed`
 * must not be NULL: else the step fails, and the error has the operand's name. Gradient rules record
 * under the ops' own names. */
typedef struct wf_said {
    weft_context *ctx; /* NULL: nothing was set */
} wf_said;
/* names: the operands' names, separated by commas; NULL: they are numbered. */
wf_said wf_said_begin(const char *name, int needed, const char *names, int n,
                      weft_tensor *const *in);
void wf_said_end(wf_said *said);
#define WF_SAY(name, needed, ...)                                                                  \
    __attribute__((cleanup(wf_said_end), unused)) wf_said wf_said_here =                           \
        wf_said_begin(name, needed, #__VA_ARGS__,                                                  \
                      (int)(sizeof((weft_tensor *[]){__VA_ARGS__}) / sizeof(weft_tensor *)),       \
                      (weft_tensor *[]){__VA_ARGS__})

/* For n <= WF_MAX_OUT tensors: makes each value the content of its stored tensor when the step
 * commits. On failure none is assigned. Reads of a stored tensor that are recorded later see its
 * value. An op that may overwrite an input (op->inplace) needs no copy when this input is the
 * stored tensor itself. See Note [Commit phase]. */
weft_status wf_assign_all(int n, weft_tensor *const *stored, weft_tensor *const *values);

/* ---- gradient ------------------------------------------------------------------------------- */

/* A gradient rule sets din[i] for every i with needs[i]. It records ops on in[], out[] and dout[].
 * dout[o] is NULL where output o gets no gradient; at least one dout[o] is not NULL. A din[i] that
 * stays NULL means zero. */
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

/* What a tile function gets: where a buffer is. */
typedef struct wf_bufptr {
    char *base;
    size_t image_stride; /* bytes between images (dimension 0) */
    /* bytes between the workers' images of a per-worker buffer (plan/memory.c); else 0 */
    size_t worker_stride;
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
/* Does one tile of a task. A status other than WEFT_OK fails the run: nothing is committed, and the
 * context's error names the op and its module. Then it says what the function told wf_tile_fail, or
 * else "kernel <name> failed" and the status's text. */
typedef weft_status (*wf_tile_fn)(const wf_tile *t, const void *args, int64_t tile);

/* wf_data: the first byte of a buffer that the task does not access as WF_TILED. wf_image: the first
 * byte of image n of a buffer. */
static inline void *wf_data(const wf_tile *t, wf_buf b)
{
    return t->bufs[b].base;
}
static inline void *wf_image(const wf_tile *t, wf_buf b, int64_t n)
{
    const wf_bufptr *p = &t->bufs[b];
    return p->base + (size_t)n * p->image_stride + (size_t)t->worker * p->worker_stride;
}
/* Fails the run and returns `status`. The first failure reaches the context, as "<module path>:
 * <op>: <message>"; later ones have no effect. */
weft_status wf_tile_fail(const wf_tile *t, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One input or output of the node being lowered. For rank 4, `act` describes one image in the
 * layout that the plan chose; for weights act.block is 1. For other ranks the value is dense and
 * row-major: then act.C is the number of elements behind dimension 0, and H = W = block = 1. */
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
/* wf_lower_in_place: whether input i already lies inside output 0, `at` bytes into each image.
 * wf_lower_out_in_place: whether output 0 lies inside input 0. In both cases there is nothing to
 * copy: see plan/slices.c. */
bool wf_lower_in_place(const wf_lower *l, int i, size_t at);
bool wf_lower_out_in_place(const wf_lower *l);
/* A plan buffer that lives from the first task that uses it to the last. It has `images` images of
 * `bytes` each, of any content; image n is wf_image(t, buf, n). Its content is undefined at first.
 * -1 on failure. */
wf_buf wf_lower_temp(wf_lower *l, int64_t images, size_t bytes);
/* Gives `state` to the plan, which calls destroy(state) when it is destroyed. On failure, calls it
 * at once. */
weft_status wf_lower_own(wf_lower *l, void *state, void (*destroy)(void *));
weft_status wf_lower_fail(wf_lower *l, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Appends a task of `tiles` tiles. Copies args_size bytes of `args`. The tasks of all nodes stay in
 * recording order; the plan derives the edges between them from what they read and write. NULL on
 * failure; every function below accepts a NULL task and does nothing. `kernel` names the kernel for
 * weft_explain and traces, such as "onednn:jit:avx2" or "avx2"; the text is static or belongs to
 * the plan. */
wf_task *wf_lower_task(wf_lower *l, const char *kernel, wf_tile_fn fn, const void *args,
                       size_t args_size, int64_t tiles);
/* WF_TILED: tile i accesses image i only, and the buffer has as many images as the task has tiles.
 * The plan chains such tasks, so that data stays in cache. WF_PIECES: tile i accesses a piece of its
 * own, the same piece of all buffers that the task accesses so; an output may take the place of an
 * input here, too. WF_WHOLE: any other access. A buffer that a task reads and writes is declared
 * twice. See Note [Partial sums and tiles]. */
typedef enum wf_access { WF_WHOLE, WF_TILED, WF_PIECES } wf_access;
void wf_reads(wf_task *task, wf_buf buf, wf_access access);
void wf_writes(wf_task *task, wf_buf buf, wf_access access);
void wf_scratch(wf_task *task, size_t bytes_per_worker);
/* Arithmetic operations and bytes moved by all tiles of the task: they give the priority of task
 * groups, and weft_explain shows them. */
void wf_cost(wf_task *task, double flops, double bytes);

/* For ops that choose among several kernels by expected cost (kernels/select.h). wf_lower_prefer
 * registers the problem with the plan, and sets *name to the implementation that wisdom has for the
 * problem, or to NULL. wf_expect notes the cycles that the chosen kernel expects to take, and
 * whether wisdom chose it. */
typedef struct wf_problem wf_problem;
weft_status wf_lower_prefer(wf_lower *l, const wf_problem *problem, const char **name);
void wf_expect(wf_task *task, double cycles, bool by_wisdom);
/* How many of these cycles the kernel is expected to spend on converting between bf16 and f32. */
void wf_expect_converting(wf_task *task, double cycles);

/* ---- the descriptor ------------------------------------------------------------------------- */

/* How the op's rank-4 operands are laid out. SAME: all in one layout, which is blocked if any input
 * is. PLAIN: all row-major. OWN: as op->layout says. Where a value has another layout, the plan
 * inserts a reorder. f64 and i64 values and values of other ranks are always plain. */
typedef enum wf_layout_rule { WF_LAYOUT_SAME, WF_LAYOUT_PLAIN, WF_LAYOUT_OWN } wf_layout_rule;

/* Sample inputs of an op, for gradcheck and benchmarks: stored f64 tensors, and the function to
 * apply to them. Gradcheck checks those that require a gradient. */
typedef struct wf_sample {
    const char *name;
    int n_in;
    weft_tensor *in[WF_MAX_IN]; /* owned by the caller of wf_op.sample */
    weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n);
    void *user; /* static data */
} wf_sample;

/* How weft_options.amp stores the op's outputs that are *feature maps*: f32 values of rank 4 with
 * more than one pixel an image. See plan/precision.c. */
typedef enum wf_precision {
    /* Stored as recorded; feature maps come in as f32. Losses, softmax, optimizers, reductions, and
     * every op that says nothing. PyTorch's autocast: the list of f32. */
    WF_PRECISION_F32,
    /* Stored as bf16 unless an input feature map is f32; then stored as f32, and all feature maps
     * come in as f32. Element-wise ops, pooling, ops that move elements. autocast: the widest type
     * of the inputs. */
    WF_PRECISION_FOLLOW,
    /* Stored as bf16, whatever the inputs are. Convolutions. autocast: the list of bf16. */
    WF_PRECISION_BF16,
    /* Stored as recorded; the op reads f32 and bf16. Weight gradients. */
    WF_PRECISION_F32_OUT,
} wf_precision;

/* wf_op.flags */
enum {
    /* Runs in the commit phase (writes state). */
    WF_OP_COMMIT = 1u << 0,
    /* If the padding channels of all inputs are zero, the kernel makes those of the outputs zero.
     * Without this flag the op's kernel masks the last channel block itself. */
    WF_OP_KEEPS_ZERO = 1u << 1,
    /* Must run even where nothing reads its outputs: a check. */
    WF_OP_SIDE_EFFECT = 1u << 2,
    /* Reaches the images of every rank-4 operand except weights through wf_image or the buffer's
     * image_stride. So the operand may be a slice of a larger value. */
    WF_OP_BY_IMAGE = 1u << 3,
    /* Has kernels that read and write feature maps of bf16. Under WF_PRECISION_FOLLOW all feature
     * maps of a node are bf16 or all are f32; under the other rules each may be either. Operands
     * that are no feature maps stay as recorded. Without this flag and the next the op never sees
     * bf16. */
    WF_OP_BF16 = 1u << 5,
    /* Has such kernels, but they take operands of one type only, as those that move elements do. So
     * a node has bf16 only where all its operands that were recorded as f32 are feature maps; if
     * one of them is not, all are f32. In place of WF_OP_BF16. */
    WF_OP_ALL_BF16 = 1u << 6,
    /* Costs little more than reading its inputs and writing output 0, and output 0 depends on the
     * inputs only. So the plan may run it again in the backward pass: plan/recompute.c. */
    WF_OP_CHEAP = 1u << 7,
    /* Draws random numbers, keyed by the context's count of draws. Running the op moves this
     * count. */
    WF_OP_DRAWS = 1u << 4,
    /* wf_pointwise_lower lowers the op, so an input may have a shape that
     * broadcasts to output 0 (ops/spread.h). */
    WF_OP_SPREADS = 1u << 8,
    /* A program defined it (custom_op.c): its shape inference runs each time. */
    WF_OP_CUSTOM = 1u << 9,
};

/* Note [Empty tensors]. A dimension may be 0, but no kernel ever sees an empty tensor.
 * wf_op.of_nothing says what happens to a node that has one. REFUSED: recording fails. ZERO, NAN:
 * the plan replaces the node by of_nothing, which fills those outputs that are not empty (the sum
 * of no elements, the weight gradient of no images) with zeros or NaN. RUN: the node runs; custom
 * ops, whose authors alone know what is right. concat drops its empty inputs instead. Shape
 * inference must accept dimensions of 0. */
typedef enum wf_empty { WF_EMPTY_REFUSED, WF_EMPTY_ZERO, WF_EMPTY_NAN, WF_EMPTY_RUN } wf_empty;

struct wf_op {
    const char *name;
    wf_empty of_nothing;
    /* WF_EMPTY_NAN: false gives zeros; NULL: always NaN */
    bool (*nan_of_nothing)(const void *attrs);
    int n_out;
    size_t attr_size;
    int n_scalars;
    unsigned flags;
    wf_layout_rule layout_rule;
    wf_precision precision;
    /* i + 1: the rank-4 input i is weights, not images: plain, stored as recorded, accessed whole.
     * 0: no input is. */
    signed char weights;
    /* WF_LAYOUT_OWN: the block of input i (i < n_in) or of output i - n_in: 1, or the plan's
     * `block`. in_block has the blocks in which the inputs come. */
    int (*layout)(const wf_lower *l, int i, const int *in_block, int block);
    /* inplace[o] = i + 1: output o may overwrite input i of the same type and shape. 0: it may
     * not. */
    signed char inplace[WF_MAX_OUT];
    weft_status (*infer)(wf_infer *f);
    weft_status (*grad)(wf_grad *g);
    /* where grad is NULL: why there is no gradient (shown to the user) */
    const char *no_grad_reason;
    weft_status (*lower)(wf_lower *l);
    /* Whether lower takes input i as bf16 where it is a stored tensor of bf16, for inputs that are no
     * feature maps: Note [Stored bf16] in engine/tensor/tensor.h. in: shapes of all inputs. NULL: it
     * takes none. */
    bool (*takes_stored)(const void *attrs, const weft_shape *in, int i);
    /* Fills in the sample inputs of case `index`; false when there is no such case. */
    bool (*sample)(weft_context *ctx, int index, wf_sample *sample);
    /* where sample is NULL: which op's sample inputs cover this one */
    const char *no_sample_reason;
};

#endif
