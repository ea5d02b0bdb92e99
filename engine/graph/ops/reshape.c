/* reshape, and what records one: weft_flatten, images without a minibatch. The order of the elements is
 * row-major. So a blocked input becomes plain on the way. A plain input may become blocked where
 * dimension 0 stays: the gradient of flatten does this, for the gradients of convolutions that read it. */
#include <string.h>

#include "engine/graph/ops/common.h"
#include "kernels/layout/layout.h"

typedef struct reshape_attrs {
    int64_t rank, dim[WEFT_MAX_RANK];
} reshape_attrs;

static weft_status infer(wf_infer *f)
{
    char x[WF_SHAPE_TEXT], y[WF_SHAPE_TEXT];
    reshape_attrs *a = f->attrs;
    int64_t count = weft_shape_count(f->in[0].shape), known = 1;
    int open = -1;
    bool valid = a->rank >= 0 && a->rank <= WEFT_MAX_RANK;
    weft_shape to = {.rank = valid ? (int)a->rank : 0};
    memcpy(to.dim, a->dim, sizeof(to.dim));
    for (int i = 0; i < to.rank && valid; i++) {
        if (to.dim[i] == -1 && open < 0)
            open = i;
        else if (to.dim[i] < 0 || __builtin_mul_overflow(known, to.dim[i], &known))
            valid = false;
    }
    if (valid && open >= 0 && known > 0 && count % known == 0)
        to.dim[open] = count / known;
    if (!valid || weft_shape_count(to) != count)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "%s has %lld elements, which do not fit %s",
                             weft_shape_format(f->in[0].shape, x, sizeof(x)), (long long)count,
                             weft_shape_format(to, y, sizeof(y)));
    memcpy(a->dim, to.dim, sizeof(to.dim));
    f->out[0] = (wf_type){f->in[0].dtype, to};
    return WEFT_OK;
}

static int layout(const wf_lower *l, int i, const int *in_block, int block)
{
    if (i == 0)
        return in_block[0];
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    return in_block[0] == 1 && x.N == y.N && y.shape.rank == 4 && y.act.C >= block ? block : 1;
}

typedef struct reshape_args {
    /* describes an image in memory: of the input, or of the output as if it were plain */
    wf_act act;
    int to_block;
    wf_buf x, y;
    size_t out_bytes; /* bytes of a plain image */
    bool same_images; /* dimension 0 is kept */
    const wf_layout *kernels;
} reshape_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const reshape_args *g = vargs;
    void *y = g->same_images ? wf_image(t, g->y, tile)
                             : (char *)wf_data(t, g->y) + (size_t)tile * g->out_bytes;
    g->kernels->reorder(g->act, g->to_block, wf_image(t, g->x, tile), y);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    size_t size = weft_dtype_size(x.dtype);
    reshape_args g = {
        .act = x.act,
        .to_block = y.act.block,
        .x = x.buf,
        .y = y.buf,
        .out_bytes = (size_t)x.act.C * (size_t)x.act.H * (size_t)x.act.W * size,
        .same_images = x.N == y.N,
        .kernels = wf_layout_get(size, l->isa),
    };
    const bool reorders = g.act.block > 1 || g.to_block > 1;
    if (g.to_block > 1)
        g.act = (wf_act){y.act.C, y.act.H, y.act.W, 1};
    wf_task *task = wf_lower_task(l, reorders ? g.kernels->name : "copy", run, &g, sizeof(g), x.N);
    wf_reads(task, x.buf, WF_TILED);
    wf_writes(task, y.buf, g.same_images ? WF_TILED : WF_WHOLE);
    wf_cost(task, 0.0, (double)x.N * (double)(x.image_bytes + g.out_bytes));
    return wf_lowered(l, task);
}

static weft_status grad(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record_reshape(g->dout[0], weft_tensor_shape(g->in[0]));
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_reshape(in[0], *(const weft_shape *)user);
}

static weft_tensor *apply_flatten(void *user, weft_tensor *const *in, int n)
{
    return weft_flatten(in[0], 1);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const weft_shape to[] = {{3, {4, -1, 3}}, {0, {0}}, {4, {2, 3, 1, 1}}};
    static const wf_sample_case cases[] = {
        {"(2, 3, 2, 2) to (4, 2, 3)", 1, {{4, {2, 3, 2, 2}}}, apply, &to[0]},
        {"(1, 1) to a scalar", 1, {{2, {1, 1}}}, apply, &to[1]},
        {"(2, 3) to (2, 3, 1, 1)", 1, {{2, {2, 3}}}, apply, &to[2]},
        {"flatten", 1, {{4, {2, 3, 2, 2}}}, apply_flatten, NULL},
    };
    return wf_sample_from(ctx, cases, 4, index, s);
}

const wf_op wf_op_reshape = {
    .name = "reshape",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(reshape_attrs),
    .flags = WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_OWN,
    .precision = WF_PRECISION_FOLLOW,
    .layout = layout,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_reshape(weft_tensor *x, weft_shape shape)
{
    reshape_attrs a = {.rank = shape.rank};
    for (int i = 0; i < shape.rank && i < WEFT_MAX_RANK; i++)
        a.dim[i] = shape.dim[i];
    return wf_record(&wf_op_reshape, &a, NULL, 1, &x, NULL);
}

weft_tensor *wf_record_reshape(weft_tensor *x, weft_shape shape)
{
    if (!x || weft_shape_equal(weft_tensor_shape(x), shape))
        return x;
    return weft_reshape(x, shape);
}

weft_tensor *weft_flatten(weft_tensor *x, int start_dim)
{
    WF_SAY("flatten", 1, x);
    if (!x)
        return NULL;
    weft_shape from = weft_tensor_shape(x), to = {0};
    if (start_dim < -from.rank || start_dim >= (from.rank ? from.rank : 1)) {
        wf_fail_step(weft_tensor_context(x), WEFT_ERR_SHAPE,
                     "flatten: dimension %d is out of range for a tensor of rank %d", start_dim,
                     from.rank);
        return NULL;
    }
    if (start_dim < 0)
        start_dim += from.rank;
    to.rank = start_dim + 1;
    memcpy(to.dim, from.dim, (size_t)start_dim * sizeof(to.dim[0]));
    to.dim[start_dim] = wf_dims_count(&from, start_dim, from.rank);
    return weft_reshape(x, to);
}

weft_tensor *wf_record_batched(weft_tensor *x, bool *one)
{
    const weft_shape from = x ? weft_tensor_shape(x) : WEFT_SCALAR;
    *one = from.rank == 3;
    if (!*one)
        return x;
    return weft_reshape(x, WEFT_SHAPE(1, from.dim[0], from.dim[1], from.dim[2]));
}

weft_tensor *wf_record_unbatched(weft_tensor *y, bool one)
{
    if (!y || !one)
        return y;
    const weft_shape from = weft_tensor_shape(y);
    return weft_reshape(y, WEFT_SHAPE(from.dim[1], from.dim[2], from.dim[3]));
}
