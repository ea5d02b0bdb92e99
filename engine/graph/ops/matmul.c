/* matmul: y = op(a) op(b) + bias for every matrix of a batch, whose batch dimensions broadcast.
 * linear, dot, mv, bmm and outer record it. matmul_lower.c has its lowering.
 *
 * A gradient is a matrix product too. Where several products of the batch shared an operand, their
 * gradients are summed as they are computed. infer and grad run on the recording thread. y is M x
 * N, op(a) M x K, op(b) K x N. */
#include "engine/graph/ops/matmul_lower.h"

#include "engine/graph/ops/common.h"

static const int64_t BY_RANK = -1;

/* Factors of rank 1 are a row (a) or a column (b); y does not have this dimension. */
static weft_status view_by_rank(wf_infer *f, const char *a_text, const char *b_text)
{
    wf_matmul_attrs *t = f->attrs;
    for (int i = 0; i < 2; i++) {
        const int rank = f->in[i].shape.rank;
        if (rank < 1)
            return wf_infer_fail(f, WEFT_ERR_SHAPE,
                                 "factors need at least 1 dimension, have shapes %s and %s", a_text,
                                 b_text);
        if (rank == 1 && t->transpose[i])
            return wf_infer_fail(f, WEFT_ERR_SHAPE,
                                 "a vector cannot be transposed: the %s factor has shape %s",
                                 i == 0 ? "first" : "second", i == 0 ? a_text : b_text);
        t->dims[i] = rank == 1 ? 1 : 2;
    }
    t->dims[WF_MATMUL_Y] = t->dims[0] + t->dims[1] - 2;
    if (t->dims[1] == 1) {
        t->transpose[1] = 1;
        t->column = t->dims[0] == 2;
    }
    return WEFT_OK;
}

/* Sets y's batch dimensions: those of a and b, broadcast. */
static weft_status broadcast(wf_infer *f, const char *a_text, const char *b_text, int a_rank,
                             int b_rank)
{
    wf_matmul_attrs *t = f->attrs;
    const int rank = a_rank > b_rank ? a_rank : b_rank;
    if (t->batch_rank == BY_RANK)
        t->batch_rank = rank;
    else
        return WEFT_OK;
    for (int i = 0; i < rank; i++) {
        int64_t x = wf_matmul_batch_dim(f->in[0].shape.dim, a_rank, i),
                y = wf_matmul_batch_dim(f->in[1].shape.dim, b_rank, i);
        if (x != y && x != 1 && y != 1)
            return wf_infer_fail(f, WEFT_ERR_SHAPE,
                                 "batch dimensions of %s and %s do not broadcast (%lld and %lld)",
                                 a_text, b_text, (long long)x, (long long)y);
        t->batch[rank - 1 - i] = x == 1 ? y : x;
    }
    return WEFT_OK;
}

static weft_status infer(wf_infer *f)
{
    wf_matmul_attrs *t = f->attrs;
    const weft_shape *a = &f->in[0].shape, *b = &f->in[1].shape;
    char a_text[WF_SHAPE_TEXT], b_text[WF_SHAPE_TEXT];
    for (int i = 0; i < f->n_in; i++) {
        WF_TRY(wf_infer_float(f, i));
        if (f->in[i].dtype != f->in[0].dtype)
            return wf_infer_fail(f, WEFT_ERR_DTYPE, "%s is %s, the first factor is %s",
                                 i == 1 ? "the second factor" : "the bias",
                                 weft_dtype_name(f->in[i].dtype), weft_dtype_name(f->in[0].dtype));
    }
    weft_shape_format(*a, a_text, sizeof a_text);
    weft_shape_format(*b, b_text, sizeof b_text);
    if (t->dims[WF_MATMUL_A] == BY_RANK)
        WF_TRY(view_by_rank(f, a_text, b_text));
    const wf_matmul_view va = wf_matmul_view_of(a, t->dims[0], t->transpose[0]),
                         vb = wf_matmul_view_of(b, t->dims[1], t->transpose[1]);
    if (va.columns != vb.rows)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "cannot multiply %s%s by %s%s: %lld is not %lld",
                             a_text, t->dims[0] == 2 && t->transpose[0] ? " transposed" : "",
                             b_text, t->dims[1] == 2 && t->transpose[1] ? " transposed" : "",
                             (long long)va.columns, (long long)vb.rows);
    if (f->n_in > 2 && !weft_shape_equal(f->in[2].shape, WEFT_SHAPE(vb.columns)))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "bias has shape %s, the output %lld columns",
                             weft_shape_format(f->in[2].shape, a_text, sizeof a_text),
                             (long long)vb.columns);
    WF_TRY(broadcast(f, a_text, b_text, va.batch_rank, vb.batch_rank));
    weft_shape y = {.rank = (int)t->batch_rank};
    for (int i = 0; i < y.rank; i++)
        y.dim[i] = t->batch[i];
    if (t->dims[WF_MATMUL_Y] == 2)
        y.dim[y.rank++] = va.rows;
    if (t->dims[WF_MATMUL_Y] >= 1)
        y.dim[y.rank++] = t->column ? va.rows : vb.columns;
    int64_t bytes;
    if (weft_shape_count(y) < 0 || __builtin_mul_overflow(weft_shape_count(y), 8, &bytes))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "output %s is too large",
                             weft_shape_format(y, a_text, sizeof a_text));
    f->out[0] = (wf_type){f->in[0].dtype, y};
    return WEFT_OK;
}

/* ---- gradient ---- */

typedef struct factor {
    weft_tensor *x;
    int64_t dims;
    bool transposed;
} factor;

/* The product x y in the shape of input i. It is summed over the batch dimensions in which input i
 * has size 1 and was broadcast. Where input i has several matrices and x and y one (because the
 * product was itself a sum), all get the same gradient. */
static weft_tensor *gradient(const wf_grad *g, int i, factor x, factor y)
{
    const wf_matmul_attrs *t = g->attrs;
    const weft_shape like = weft_tensor_shape(g->in[i]), xs = weft_tensor_shape(x.x),
                     ys = weft_tensor_shape(y.x);
    wf_matmul_attrs n = {.transpose = {x.transposed, y.transposed},
                         .dims = {x.dims, y.dims, t->dims[i]},
                         .batch_rank = like.rank - t->dims[i]};
    for (int j = 0; j < n.batch_rank; j++) {
        const int back = (int)n.batch_rank - 1 - j;
        bool once = wf_matmul_batch_dim(xs.dim, xs.rank - x.dims, back) == 1 &&
                    wf_matmul_batch_dim(ys.dim, ys.rank - y.dims, back) == 1;
        n.batch[j] = once ? 1 : like.dim[j];
    }
    weft_tensor *d = wf_record(&wf_op_matmul, &n, NULL, 2, (weft_tensor *[]){x.x, y.x}, NULL);
    return d ? weft_expand(d, like) : NULL;
}

static weft_status grad(wf_grad *g)
{
    const wf_matmul_attrs *t = g->attrs;
    const bool ta = t->transpose[0], tb = t->transpose[1], column = t->column;
    const factor a = {g->in[0], t->dims[0], ta}, b = {g->in[1], t->dims[1], tb};
    const factor a_t = {a.x, a.dims, !ta}, b_t = {b.x, b.dims, !tb};
    const factor dy = {g->dout[0], t->dims[WF_MATMUL_Y], column}, dy_t = {dy.x, dy.dims, !column};
    if (g->needs[0])
        g->din[0] = ta ? gradient(g, 0, b, dy_t) : gradient(g, 0, dy, b_t);
    if (g->needs[1])
        g->din[1] = tb ? gradient(g, 1, dy_t, a) : gradient(g, 1, a_t, dy);
    if (g->n_in > 2 && g->needs[2]) {
        weft_dims rows = {.n = weft_tensor_shape(dy.x).rank - 1};
        for (int i = 0; i < rows.n; i++)
            rows.dim[i] = i;
        g->din[2] = rows.n ? weft_sum(dy.x, rows, false) : dy.x;
    }
    return wf_step_status(g->ctx);
}

/* ---- recording ---- */

static weft_tensor *product(bool transpose_a, bool transpose_b, int n, weft_tensor *const *in)
{
    const wf_matmul_attrs t = {.transpose = {transpose_a, transpose_b},
                               .dims = {BY_RANK, BY_RANK, BY_RANK},
                               .batch_rank = BY_RANK};
    return wf_record(&wf_op_matmul, &t, NULL, n, in, NULL);
}

weft_tensor *weft_matmul(weft_tensor *a, weft_tensor *b, bool transpose_a, bool transpose_b)
{
    WF_SAY("matmul", 2, a, b);
    return product(transpose_a, transpose_b, 2, (weft_tensor *[]){a, b});
}

/* Whether a and b have these ranks; else the step has failed. */
static bool have_ranks(const char *op, weft_tensor *a, int a_rank, weft_tensor *b, int b_rank)
{
    char a_text[WF_SHAPE_TEXT], b_text[WF_SHAPE_TEXT];
    weft_context *ctx = wf_record_context(op, 2, 2, (weft_tensor *[]){a, b});
    if (!ctx)
        return false;
    const weft_shape as = weft_tensor_shape(a), bs = weft_tensor_shape(b);
    if (as.rank == a_rank && bs.rank == b_rank)
        return true;
    wf_fail_step(ctx, WEFT_ERR_SHAPE,
                 "%s: factors of ranks %d and %d expected, have shapes %s and %s", op, a_rank,
                 b_rank, weft_shape_format(as, a_text, sizeof a_text),
                 weft_shape_format(bs, b_text, sizeof b_text));
    return false;
}

weft_tensor *weft_dot(weft_tensor *a, weft_tensor *b)
{
    WF_SAY("dot", 2, a, b);
    return have_ranks("dot", a, 1, b, 1) ? weft_matmul(a, b, false, false) : NULL;
}

weft_tensor *weft_mv(weft_tensor *a, weft_tensor *x)
{
    WF_SAY("mv", 2, a, x);
    return have_ranks("mv", a, 2, x, 1) ? weft_matmul(a, x, false, false) : NULL;
}

weft_tensor *weft_bmm(weft_tensor *a, weft_tensor *b)
{
    WF_SAY("bmm", 2, a, b);
    if (!have_ranks("bmm", a, 3, b, 3))
        return NULL;
    const int64_t n = weft_tensor_shape(a).dim[0], m = weft_tensor_shape(b).dim[0];
    if (n == m)
        return weft_matmul(a, b, false, false);
    wf_fail_step(weft_tensor_context(a), WEFT_ERR_SHAPE,
                 "bmm: %lld matrices by %lld; weft_matmul broadcasts", (long long)n, (long long)m);
    return NULL;
}

weft_tensor *weft_outer(weft_tensor *a, weft_tensor *b)
{
    WF_SAY("outer", 2, a, b);
    const wf_matmul_attrs column_by_row = {.transpose = {1, 0}, .dims = {1, 1, 2}};
    if (!have_ranks("outer", a, 1, b, 1))
        return NULL;
    return wf_record(&wf_op_matmul, &column_by_row, NULL, 2, (weft_tensor *[]){a, b}, NULL);
}

weft_tensor *weft_linear(weft_tensor *x, weft_tensor *weight, weft_tensor *bias)
{
    WF_SAY("linear", 2, x, weight, bias);
    weft_context *ctx = wf_record_context("linear", 2, 3, (weft_tensor *[]){x, weight, bias});
    if (!ctx)
        return NULL;
    weft_shape s = weft_tensor_shape(x), ws = weft_tensor_shape(weight);
    if (s.rank < 1 || ws.rank != 2) {
        wf_fail_step(ctx, WEFT_ERR_SHAPE,
                     "linear: input needs at least 1 dimension and has %d, weight "
                     "2 and has %d",
                     s.rank, ws.rank);
        return NULL;
    }
    if (s.dim[s.rank - 1] != ws.dim[1]) {
        wf_fail_step(ctx, WEFT_ERR_SHAPE, "linear: input has %lld features, weight expects %lld",
                     (long long)s.dim[s.rank - 1], (long long)ws.dim[1]);
        return NULL;
    }
    /* a product without columns becomes zeros: of_nothing */
    const bool fused = bias && ws.dim[1] > 0;
    weft_tensor *y = product(false, true, fused ? 3 : 2, (weft_tensor *[]){x, weight, bias});
    return bias && !fused ? weft_add(y, bias) : y;
}

/* ---- samples ---- */

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const bool *t = user;
    return weft_matmul(in[0], in[1], t[0], t[1]);
}

static weft_tensor *apply_outer(void *user, weft_tensor *const *in, int n)
{
    return weft_outer(in[0], in[1]);
}

static weft_tensor *apply_linear(void *user, weft_tensor *const *in, int n)
{
    return weft_linear(in[0], in[1], n > 2 ? in[2] : NULL);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const bool nn[] = {0, 0}, nt[] = {0, 1}, tn[] = {1, 0}, tt[] = {1, 1};
    static const wf_sample_case cases[] = {
        {"a b", 2, {{2, {3, 4}}, {2, {4, 2}}}, apply, nn},
        {"a bT", 2, {{2, {3, 4}}, {2, {2, 4}}}, apply, nt},
        {"aT b", 2, {{2, {4, 3}}, {2, {4, 2}}}, apply, tn},
        {"aT bT", 2, {{2, {4, 3}}, {2, {2, 4}}}, apply, tt},
        {"linear", 3, {{2, {3, 4}}, {2, {5, 4}}, {1, {5}}}, apply_linear, NULL},
        {"linear of rank 3", 3, {{3, {2, 2, 4}}, {2, {3, 4}}, {1, {3}}}, apply_linear, NULL},
        {"linear of rank 1", 2, {{1, {4}}, {2, {3, 4}}}, apply_linear, NULL},
        {"linear of rank 1, bias", 3, {{1, {4}}, {2, {3, 4}}, {1, {3}}}, apply_linear, NULL},
        {"vector by vector", 2, {{1, {4}}, {1, {4}}}, apply, nn},
        {"matrix by vector", 2, {{2, {3, 4}}, {1, {4}}}, apply, nn},
        {"matrixT by vector", 2, {{2, {4, 3}}, {1, {4}}}, apply, tn},
        {"vector by matrix", 2, {{1, {4}}, {2, {4, 3}}}, apply, nn},
        {"vector by matrixT", 2, {{1, {4}}, {2, {3, 4}}}, apply, nt},
        {"batch", 2, {{3, {2, 3, 4}}, {3, {2, 4, 2}}}, apply, nn},
        {"batch, a bT", 2, {{3, {2, 3, 4}}, {3, {2, 2, 4}}}, apply, nt},
        {"batch, aT b", 2, {{3, {2, 4, 3}}, {3, {2, 4, 2}}}, apply, tn},
        {"batch, aT bT", 2, {{3, {2, 4, 3}}, {3, {2, 2, 4}}}, apply, tt},
        {"batch by one", 2, {{3, {2, 3, 4}}, {2, {4, 2}}}, apply, nn},
        {"batch, aT by one", 2, {{3, {2, 4, 3}}, {2, {4, 2}}}, apply, tn},
        {"one by batch", 2, {{2, {3, 4}}, {3, {2, 4, 2}}}, apply, nn},
        {"one by batch, bT", 2, {{3, {1, 3, 4}}, {3, {2, 2, 4}}}, apply, nt},
        {"batch by vector", 2, {{3, {2, 3, 4}}, {1, {4}}}, apply, nn},
        {"vector by batch", 2, {{1, {4}}, {3, {2, 4, 3}}}, apply, nn},
        {"both broadcast", 2, {{4, {2, 1, 2, 3}}, {4, {1, 3, 3, 2}}}, apply, nn},
        {"both broadcast, aT bT", 2, {{5, {2, 1, 2, 3, 2}}, {4, {3, 1, 2, 3}}}, apply, tt},
        {"outer", 2, {{1, {3}}, {1, {4}}}, apply_outer, NULL},
    };
    return wf_sample_from(ctx, cases, sizeof cases / sizeof *cases, index, s);
}

const wf_op wf_op_matmul = {
    .name = "matmul",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_matmul_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .grad = grad,
    .lower = wf_matmul_lower,
    .takes_stored = wf_matmul_takes_stored,
    .sample = sample,
};
