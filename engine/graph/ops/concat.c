/* concat: joins tensors along one dimension, in which their sizes may differ. */
#include <string.h>

#include "engine/graph/ops/gather.h"
#include "engine/base/alloc.h"

static weft_status infer(wf_infer *f)
{
    char x[WF_SHAPE_TEXT], y[WF_SHAPE_TEXT];
    wf_concat_attrs *a = f->attrs;
    wf_type out = f->in[0];
    int dim = wf_infer_dim(f, a->dim, out.shape.rank);
    if (dim < 0)
        return WEFT_ERR_SHAPE;
    a->dim = dim;
    for (int i = 1; i < f->n_in; i++) {
        weft_shape like = f->in[i].shape;
        if (f->in[i].dtype != out.dtype)
            return wf_infer_fail(f, WEFT_ERR_DTYPE, "input %d is %s, input 0 is %s", i,
                                 weft_dtype_name(f->in[i].dtype), weft_dtype_name(out.dtype));
        if (like.rank == out.shape.rank)
            like.dim[dim] = f->in[0].shape.dim[dim];
        if (!weft_shape_equal(like, f->in[0].shape))
            return wf_infer_fail(f, WEFT_ERR_SHAPE,
                                 "input %d is %s, input 0 is %s: they may differ in dimension %d "
                                 "only",
                                 i, weft_shape_format(f->in[i].shape, x, sizeof(x)),
                                 weft_shape_format(f->in[0].shape, y, sizeof(y)), dim);
        out.shape.dim[dim] += f->in[i].shape.dim[dim];
    }
    f->out[0] = out;
    return WEFT_OK;
}

/* Along channels: whether every input except the last fills its channel blocks. Then images are
 * copied as runs of bytes. */
static bool whole_blocks(const wf_lower *l)
{
    for (int k = 0; k < l->n_in - 1; k++) {
        wf_operand x = wf_lower_in(l, k);
        if (x.act.C % x.act.block != 0)
            return false;
    }
    return true;
}

/* For blocked inputs whose channels begin inside a block or are shuffled: gathers channels. */
static weft_status lower_channels(wf_lower *l)
{
    const int C = wf_lower_out(l, 0).act.C,
              groups = (int)((const wf_concat_attrs *)l->attrs)->groups;
    wf_channel_from *from = wf_gather_channels(l, 0);
    for (int c = 0; c < C && from; c++) {
        int input = 0, channel = wf_shuffled(c, C, groups);
        for (int n; channel >= (n = wf_lower_in(l, input).act.C); input++)
            channel -= n;
        from[c] = (wf_channel_from){input, channel};
    }
    return wf_lower_gather(l, 0, from);
}

/* Copies one image of every input to its place in the output's image. An image is `outer` runs,
 * each of which has run[i] bytes of input i. Inputs that lie there already are left out. */
typedef struct concat_state {
    wf_buf y;
    int n;
    size_t outer, row; /* row: bytes of a run of the output, all inputs together */
    struct {
        wf_buf buf;
        size_t at, run; /* at: offset of the input's first run in the output's image */
    } in[];
} concat_state;

typedef struct concat_args {
    const concat_state *state; /* owned by the plan */
} concat_args;

static weft_status run_images(const wf_tile *t, const void *vargs, int64_t tile)
{
    const concat_state *s = ((const concat_args *)vargs)->state;
    char *y = wf_image(t, s->y, tile);
    for (int i = 0; i < s->n; i++) {
        const char *x = wf_image(t, s->in[i].buf, tile);
        size_t run = s->in[i].run;
        for (size_t o = 0; o < s->outer; o++)
            memcpy(y + s->in[i].at + o * s->row, x + o * run, run);
    }
    return WEFT_OK;
}

/* Along dimension 0: image n of the input becomes image first + n of the output. */
typedef struct stack_args {
    wf_buf x, y;
    int64_t first;
    size_t bytes;
} stack_args;

static weft_status run_stack(const wf_tile *t, const void *vargs, int64_t tile)
{
    const stack_args *g = vargs;
    memcpy(wf_image(t, g->y, g->first + tile), wf_image(t, g->x, tile), g->bytes);
    return WEFT_OK;
}

static weft_status lower_stack(wf_lower *l, const wf_operand *y)
{
    int64_t first = 0;
    for (int i = 0; i < l->n_in; i++) {
        wf_operand x = wf_lower_in(l, i);
        stack_args g = {x.buf, y->buf, first, x.image_bytes};
        wf_task *task = wf_lower_task(l, "copy", run_stack, &g, sizeof(g), x.N);
        wf_reads(task, x.buf, WF_TILED);
        wf_writes(task, y->buf, WF_WHOLE);
        wf_cost(task, 0.0, 2.0 * (double)x.N * (double)x.image_bytes);
        if (!task)
            return WEFT_ERR_NOMEM;
        first += x.N;
    }
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    const wf_concat_attrs *a = l->attrs;
    int dim = (int)a->dim;
    wf_operand y = wf_lower_out(l, 0);
    if (dim == 0)
        return lower_stack(l, &y);
    if (dim == 1 && (a->groups > 1 || !whole_blocks(l)))
        return lower_channels(l);
    concat_state *s = wf_zalloc(sizeof(*s) + (size_t)l->n_in * sizeof(s->in[0]));
    if (!s)
        return wf_lower_fail(l, WEFT_ERR_NOMEM, "out of memory");
    s->y = y.buf;
    size_t size = weft_dtype_size(y.dtype);
    s->outer = wf_image_runs(&y, dim);
    for (int i = 0; i < l->n_in; i++) {
        wf_operand x = wf_lower_in(l, i);
        const size_t at = s->row, run = wf_act_count(x.act) * size / s->outer;
        s->row += run;
        if (dim == 1 && wf_lower_in_place(l, i, at))
            continue;
        s->in[s->n].buf = x.buf;
        s->in[s->n].at = at;
        s->in[s->n++].run = run;
    }
    WF_TRY(wf_lower_own(l, s, wf_free));
    if (s->n == 0)
        return WEFT_OK;
    concat_args g = {s};
    wf_task *task = wf_lower_task(l, "copy", run_images, &g, sizeof(g), y.N);
    for (int i = 0; i < s->n; i++)
        wf_reads(task, s->in[i].buf, WF_TILED);
    wf_writes(task, y.buf, WF_TILED);
    wf_cost(task, 0.0, 2.0 * (double)y.N * (double)y.image_bytes);
    return wf_lowered(l, task);
}

static weft_status grad(wf_grad *g)
{
    int dim = (int)((const wf_concat_attrs *)g->attrs)->dim;
    int64_t start = 0;
    for (int i = 0; i < g->n_in; i++) {
        int64_t length = weft_tensor_shape(g->in[i]).dim[dim];
        if (g->needs[i])
            g->din[i] = weft_narrow(g->dout[0], dim, start, length);
        start += length;
    }
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_concat(in, n, *(const int *)user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const int dims[] = {0, 1, 2, -1};
    static const wf_sample_case cases[] = {
        {"images", 2, {{4, {2, 3, 2, 2}}, {4, {1, 3, 2, 2}}}, apply, &dims[0]},
        {"channels", 3, {{4, {2, 3, 2, 2}}, {4, {2, 1, 2, 2}}, {4, {2, 2, 2, 2}}}, apply, &dims[1]},
        {"rows", 2, {{4, {2, 3, 1, 2}}, {4, {2, 3, 2, 2}}}, apply, &dims[2]},
        {"the last dimension", 2, {{2, {3, 1}}, {2, {3, 4}}}, apply, &dims[3]},
        {"one input", 1, {{2, {3, 2}}}, apply, &dims[1]},
    };
    return wf_sample_from(ctx, cases, 5, index, s);
}

const wf_op wf_op_concat = {
    .name = "concat",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_concat_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16 | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_concat(weft_tensor *const *x, int n, int dim)
{
    wf_concat_attrs a = {dim, 1};
    return wf_record_context("concat", n, n, x) ? wf_record(&wf_op_concat, &a, NULL, n, x, NULL)
                                                : NULL;
}

/* A stack along dimension d has the memory order of a concatenation along d; only the shape
 * differs. */
weft_tensor *weft_stack(weft_tensor *const *x, int n, int dim)
{
    char a[WF_SHAPE_TEXT], b[WF_SHAPE_TEXT];
    weft_context *ctx = wf_record_context("stack", n, n, x);
    if (!ctx)
        return NULL;
    __attribute__((cleanup(wf_said_end), unused)) wf_said here =
        wf_said_begin("stack", 0, NULL, n, x);
    const weft_shape from = weft_tensor_shape(x[0]);
    const int rank = from.rank, d = dim < 0 ? dim + rank + 1 : dim;
    if (d < 0 || d > rank || rank == WEFT_MAX_RANK) {
        wf_fail_step(
            ctx, WEFT_ERR_SHAPE,
            "stack: dimension %d is out of range for tensors of rank %d, which may be at most %d",
            dim, rank, WEFT_MAX_RANK - 1);
        return NULL;
    }
    for (int i = 1; i < n; i++) {
        const weft_shape s = weft_tensor_shape(x[i]);
        if (!weft_shape_equal(s, from)) {
            wf_fail_step(ctx, WEFT_ERR_SHAPE, "stack: input %d is %s, input 0 is %s", i,
                         weft_shape_format(s, a, sizeof(a)), weft_shape_format(from, b, sizeof(b)));
            return NULL;
        }
    }
    weft_shape to = {.rank = rank + 1};
    for (int i = 0; i <= rank; i++)
        to.dim[i] = i == d ? n : from.dim[i < d ? i : i - 1];
    if (d < rank)
        return wf_record_reshape(weft_concat(x, n, d), to);
    weft_tensor **columns = wf_alloc_array((size_t)n, sizeof(*columns)), *y = NULL;
    weft_shape column = to;
    column.dim[d] = 1;
    if (!columns)
        wf_fail_step(ctx, WEFT_ERR_NOMEM, "stack: no memory for %d inputs", n);
    for (int i = 0; columns && i < n; i++)
        columns[i] = wf_record_reshape(x[i], column);
    if (columns)
        y = weft_concat(columns, n, d);
    wf_free(columns);
    return y;
}
