/* expand: broadcasts x to a shape, by NumPy's rules. Its gradient sums over the dimensions that
 * were broadcast. */
#include <string.h>

#include "engine/graph/ops/common.h"
#include "engine/graph/ops/dims.h"
#include "kernels/eltwise/eltwise.h"

typedef struct expand_attrs {
    int64_t rank, dim[WEFT_MAX_RANK];
} expand_attrs;

static weft_status infer(wf_infer *f)
{
    char x[WF_SHAPE_TEXT], y[WF_SHAPE_TEXT];
    const expand_attrs *a = f->attrs;
    const weft_shape *from = &f->in[0].shape;
    weft_shape to = {.rank = (int)a->rank};
    memcpy(to.dim, a->dim, sizeof(to.dim));
    bool fits = from->rank <= to.rank && weft_shape_count(to) >= 0;
    for (int i = 0; i < from->rank && fits; i++) {
        int64_t size = from->dim[from->rank - 1 - i];
        fits = size == 1 || size == to.dim[to.rank - 1 - i];
    }
    if (!fits)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "%s does not broadcast to %s",
                             weft_shape_format(*from, x, sizeof(x)),
                             weft_shape_format(to, y, sizeof(y)));
    f->out[0] = (wf_type){f->in[0].dtype, to};
    return WEFT_OK;
}

typedef struct expand_args {
    wf_buf x, y;
    size_t size;
    int rank; /* rank of one image, or of the whole tensor */
    bool tiled, x_tiled;
    int64_t dim[WEFT_MAX_RANK], stride[WEFT_MAX_RANK];
} expand_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const expand_args *g = vargs;
    wf_broadcast(g->size, g->rank, g->dim, g->stride,
                 g->x_tiled ? wf_image(t, g->x, tile) : wf_data(t, g->x),
                 g->tiled ? wf_image(t, g->y, tile) : wf_data(t, g->y));
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    expand_args g = {.x = x.buf, .y = y.buf, .size = weft_dtype_size(y.dtype)};
    int64_t all[WEFT_MAX_RANK];
    wf_broadcast_strides(&x.shape, &y.shape, all);
    g.tiled = wf_cut_images(&y).access == WF_TILED;
    g.x_tiled = g.tiled && all[0] != 0;
    int skip = g.tiled ? 1 : 0;
    g.rank = y.shape.rank - skip;
    for (int i = 0; i < g.rank; i++) {
        g.dim[i] = y.shape.dim[i + skip];
        g.stride[i] = all[i + skip];
    }
    wf_task *task = wf_lower_task(l, "broadcast:ref", run, &g, sizeof(g), g.tiled ? y.N : 1);
    wf_reads(task, x.buf, g.x_tiled ? WF_TILED : WF_WHOLE);
    wf_writes(task, y.buf, g.tiled ? WF_TILED : WF_WHOLE);
    wf_cost(task, 0.0, (double)(wf_operand_count(&x) + wf_operand_count(&y)) * (double)g.size);
    return wf_lowered(l, task);
}

static weft_status grad(wf_grad *g)
{
    if (!g->needs[0])
        return WEFT_OK;
    weft_shape from = weft_tensor_shape(g->in[0]), to = weft_tensor_shape(g->dout[0]);
    unsigned dims = 0;
    for (int i = 0; i < to.rank; i++) {
        int j = i - (to.rank - from.rank);
        if (j < 0 || from.dim[j] != to.dim[i])
            dims |= 1u << i;
    }
    weft_tensor *sum = dims ? weft_sum(g->dout[0], wf_dims_of(dims), true) : g->dout[0];
    g->din[0] = sum ? wf_record_reshape(sum, from) : NULL;
    return sum ? WEFT_OK : WEFT_ERR_NOMEM;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_expand(in[0], *(const weft_shape *)user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const weft_shape to[] = {{3, {2, 4, 3}}, {4, {2, 3, 2, 2}}, {2, {2, 3}}};
    static const wf_sample_case cases[] = {
        {"middle", 1, {{3, {2, 1, 3}}}, apply, &to[0]},
        {"per channel", 1, {{3, {3, 1, 1}}}, apply, &to[1]},
        {"per image and channel", 1, {{4, {2, 3, 1, 1}}}, apply, &to[1]},
        {"scalar", 1, {{0, {0}}}, apply, &to[2]},
    };
    return wf_sample_from(ctx, cases, 4, index, s);
}

const wf_op wf_op_expand = {
    .name = "expand",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(expand_attrs),
    .flags = WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_PLAIN,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_expand(weft_tensor *x, weft_shape shape)
{
    if (!wf_record_context("expand", 1, 1, &x))
        return NULL;
    if (shape.rank < 0 || shape.rank > WEFT_MAX_RANK) {
        wf_fail_step(weft_tensor_context(x), WEFT_ERR_SHAPE, "expand: rank %d is outside [0, %d]",
                     shape.rank, WEFT_MAX_RANK);
        return NULL;
    }
    if (weft_shape_equal(weft_tensor_shape(x), shape))
        return x;
    expand_attrs a = {.rank = shape.rank};
    for (int i = 0; i < shape.rank; i++)
        a.dim[i] = shape.dim[i];
    return wf_record(&wf_op_expand, &a, NULL, 1, &x, NULL);
}

/* Extends `to` by NumPy's rules so that `from` broadcasts to it. False where this is impossible,
 * with the two sizes that differ in `clash`. */
static bool widen(weft_shape *to, const weft_shape *from, int64_t clash[2])
{
    weft_shape all = {.rank = to->rank > from->rank ? to->rank : from->rank};
    for (int i = 1; i <= all.rank; i++) {
        int64_t x = i <= to->rank ? to->dim[to->rank - i] : 1;
        int64_t y = i <= from->rank ? from->dim[from->rank - i] : 1;
        if (x != y && x != 1 && y != 1) {
            clash[0] = x;
            clash[1] = y;
            return false;
        }
        all.dim[all.rank - i] = x == 1 ? y : x;
    }
    *to = all;
    return true;
}

bool wf_record_broadcast(const char *op, weft_tensor **in, int n)
{
    weft_context *ctx = wf_record_context(op, n, n, in);
    if (!ctx)
        return false;
    weft_shape to = weft_tensor_shape(in[0]);
    for (int i = 1; i < n; i++) {
        weft_shape from = weft_tensor_shape(in[i]);
        int64_t clash[2];
        if (!widen(&to, &from, clash)) {
            char ta[WF_SHAPE_TEXT], tb[WF_SHAPE_TEXT];
            wf_fail_step(ctx, WEFT_ERR_SHAPE, "%s: %s and %s do not broadcast (%lld and %lld)", op,
                         weft_shape_format(to, ta, sizeof(ta)),
                         weft_shape_format(from, tb, sizeof(tb)), (long long)clash[0],
                         (long long)clash[1]);
            return false;
        }
    }
    for (int i = 0; i < n; i++)
        if (!(in[i] = weft_expand(in[i], to)))
            return false;
    return true;
}

weft_tensor *wf_record_pair(const wf_op *op, const void *attrs, weft_tensor *a, weft_tensor *b)
{
    WF_SAY(op->name, 2, a, b);
    weft_tensor *in[2] = {a, b};
    return wf_record_broadcast(op->name, in, 2) ? wf_record(op, attrs, NULL, 2, in, NULL) : NULL;
}
