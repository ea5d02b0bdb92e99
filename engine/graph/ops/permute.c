/* permute: puts the dimensions in another order; weft_transpose swaps two. Its gradient is the
 * inverse permutation. */
#include "engine/graph/ops/common.h"
#include "kernels/layout/permute.h"

_Static_assert(WEFT_MAX_RANK <= WF_PERMUTE_RANK, "the kernel takes every rank");

typedef struct permute_attrs {
    int64_t rank, dim[WEFT_MAX_RANK]; /* dimension i of the result is dimension dim[i] of x */
} permute_attrs;

static weft_status infer(wf_infer *f)
{
    permute_attrs *a = f->attrs;
    const weft_shape *x = &f->in[0].shape;
    weft_shape y = {.rank = x->rank};
    char text[WF_SHAPE_TEXT];
    unsigned taken = 0;
    if (a->rank != x->rank)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "%lld dimensions given for a tensor of rank %d",
                             (long long)a->rank, x->rank);
    for (int i = 0; i < y.rank; i++) {
        const int dim = wf_infer_dim(f, a->dim[i], y.rank);
        if (dim < 0)
            return WEFT_ERR_SHAPE;
        if (taken & 1u << dim)
            return wf_infer_fail(f, WEFT_ERR_SHAPE, "dimension %d of %s is named twice", dim,
                                 weft_shape_format(*x, text, sizeof(text)));
        taken |= 1u << dim;
        a->dim[i] = dim;
        y.dim[i] = x->dim[dim];
    }
    f->out[0] = (wf_type){f->in[0].dtype, y};
    return WEFT_OK;
}

typedef struct permute_args {
    wf_buf x, y;
    size_t size;
    bool by_image; /* dimension 0 stays first */
    int rank;
    int64_t rows, below; /* steps of dimension 0 in a tile; elements of y in one step */
    int64_t dim[WEFT_MAX_RANK], stride[WEFT_MAX_RANK];
} permute_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const permute_args *g = vargs;
    if (g->by_image) {
        wf_permute(g->size, g->rank - 1, g->dim + 1, g->stride + 1, wf_image(t, g->x, tile),
                   wf_image(t, g->y, tile));
        return WEFT_OK;
    }
    const int64_t first = tile * g->rows, left = g->dim[0] - first;
    int64_t dim[WEFT_MAX_RANK];
    for (int i = 0; i < g->rank; i++)
        dim[i] = g->dim[i];
    dim[0] = left < g->rows ? left : g->rows;
    wf_permute(g->size, g->rank, dim, g->stride,
               (const char *)wf_data(t, g->x) + (size_t)(first * g->stride[0]) * g->size,
               (char *)wf_data(t, g->y) + (size_t)(first * g->below) * g->size);
    return WEFT_OK;
}

/* How many steps of the result's dimension 0 make a tile: enough for WF_CHUNK elements, and for
 * whole cache lines on both sides of a transpose. */
static int64_t rows_of_tile(const permute_args *g)
{
    enum { LINE = 16 };
    const int64_t rows = WF_CHUNK / g->below;
    return rows > LINE ? rows : LINE;
}

static weft_status lower(wf_lower *l)
{
    const permute_attrs *a = l->attrs;
    const wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    permute_args g = {
        .x = x.buf, .y = y.buf, .size = weft_dtype_size(y.dtype), .rank = y.shape.rank};
    int64_t tiles = 1;
    for (int i = 0; i < g.rank; i++) {
        g.dim[i] = y.shape.dim[i];
        g.stride[i] = wf_dims_count(&x.shape, (int)a->dim[i] + 1, g.rank);
    }
    g.by_image = g.rank > 1 && a->dim[0] == 0;
    if (g.by_image) {
        tiles = y.N;
    } else if (g.rank > 0) {
        g.below = wf_dims_count(&y.shape, 1, g.rank);
        g.rows = rows_of_tile(&g);
        tiles = (g.dim[0] + g.rows - 1) / g.rows;
    } else {
        g.rows = g.below = 1;
    }
    wf_task *task = wf_lower_task(l, "permute", run, &g, sizeof(g), tiles);
    const wf_access access = g.by_image ? WF_TILED : WF_WHOLE;
    wf_reads(task, x.buf, access);
    wf_writes(task, y.buf, access);
    wf_cost(task, 0.0, 2.0 * (double)wf_operand_count(&y) * (double)g.size);
    return wf_lowered(l, task);
}

static weft_status grad(wf_grad *g)
{
    const permute_attrs *a = g->attrs;
    permute_attrs back = {.rank = a->rank};
    for (int i = 0; i < (int)a->rank; i++)
        back.dim[a->dim[i]] = i;
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_permute, &back, NULL, 1, g->dout, NULL);
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_permute(in[0], *(const weft_dims *)user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const weft_dims to[] = {
        {2, {1, 0}}, {4, {0, 2, 3, 1}}, {3, {-1, 0, 1}}, {4, {3, 2, 1, 0}}};
    static const wf_sample_case cases[] = {
        {"transpose", 1, {{2, {3, 5}}}, apply, &to[0]},
        {"channels last", 1, {{4, {2, 3, 2, 4}}}, apply, &to[1]},
        {"rank 3", 1, {{3, {2, 3, 4}}}, apply, &to[2]},
        {"reversed", 1, {{4, {2, 3, 4, 2}}}, apply, &to[3]},
    };
    return wf_sample_from(ctx, cases, 4, index, s);
}

const wf_op wf_op_permute = {
    .name = "permute",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(permute_attrs),
    .flags = WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_PLAIN,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_permute(weft_tensor *x, weft_dims dims)
{
    weft_context *ctx = wf_record_context("permute", 1, 1, &x);
    if (!ctx)
        return NULL;
    if (dims.n < 0 || dims.n > WEFT_MAX_RANK) {
        wf_fail_step(ctx, WEFT_ERR_INVALID, "permute: %d dimensions", dims.n);
        return NULL;
    }
    permute_attrs a = {.rank = dims.n};
    for (int i = 0; i < dims.n; i++)
        a.dim[i] = dims.dim[i];
    return wf_record(&wf_op_permute, &a, NULL, 1, &x, NULL);
}

weft_tensor *weft_transpose(weft_tensor *x, int dim0, int dim1)
{
    WF_SAY("transpose", 1, x);
    weft_context *ctx = wf_record_context("transpose", 1, 1, &x);
    if (!ctx)
        return NULL;
    const int rank = weft_tensor_shape(x).rank;
    const int a = dim0 < 0 ? dim0 + rank : dim0, b = dim1 < 0 ? dim1 + rank : dim1;
    if (a < 0 || b < 0 || a >= rank || b >= rank) {
        wf_fail_step(ctx, WEFT_ERR_SHAPE,
                     "transpose: %d and %d are not both dimensions of a tensor of rank %d", dim0,
                     dim1, rank);
        return NULL;
    }
    weft_dims dims = {.n = rank};
    for (int i = 0; i < rank; i++)
        dims.dim[i] = i == a ? b : i == b ? a : i;
    return weft_permute(x, dims);
}
