/* cross_entropy: softmax and negative log likelihood of rows of logits in one op, with label
 * smoothing, and its gradient (softmax - target) * scale. Rows are independent; their losses meet in
 * a fixed tree. Shape letters: N rows, K classes. */
#include "engine/graph/ops/common.h"
#include "kernels/loss/loss.h"
#include "kernels/reduce/reduce.h"

typedef struct cross_entropy_attrs {
    double smoothing;
    int64_t reduction; /* weft_reduction */
} cross_entropy_attrs;

/* Inputs: logits (N, K), labels (N). Shared with the gradient's first two. */
static weft_status check_inputs(const wf_infer *f)
{
    char x[WF_SHAPE_TEXT], y[WF_SHAPE_TEXT];
    const cross_entropy_attrs *a = f->attrs;
    const weft_shape *logits = &f->in[0].shape, *labels = &f->in[1].shape;
    WF_TRY(wf_infer_float(f, 0));
    if (f->in[1].dtype != WEFT_I64)
        return wf_infer_fail(f, WEFT_ERR_DTYPE, "labels are %s, expected i64",
                             weft_dtype_name(f->in[1].dtype));
    if (logits->rank != 2 || labels->rank != 1 || logits->dim[0] != labels->dim[0])
        return wf_infer_fail(f, WEFT_ERR_SHAPE,
                             "logits are %s and labels %s, expected (N, K) and (N)",
                             weft_shape_format(*logits, x, sizeof(x)),
                             weft_shape_format(*labels, y, sizeof(y)));
    if (!(a->smoothing >= 0.0 && a->smoothing <= 1.0))
        return wf_infer_fail(f, WEFT_ERR_INVALID, "label smoothing %g is outside [0, 1]",
                             a->smoothing);
    if (a->reduction < WEFT_MEAN || a->reduction > WEFT_NONE)
        return wf_infer_fail(f, WEFT_ERR_INVALID, "no reduction has the number %lld",
                             (long long)a->reduction);
    return WEFT_OK;
}

static weft_status infer(wf_infer *f)
{
    const cross_entropy_attrs *a = f->attrs;
    WF_TRY(check_inputs(f));
    f->out[0] = (wf_type){f->in[0].dtype, WEFT_SCALAR};
    f->out[1] = (wf_type){f->in[0].dtype, f->in[1].shape};
    if (a->reduction == WEFT_NONE)
        f->out[0].shape = f->in[1].shape;
    return WEFT_OK;
}

typedef struct ce_args {
    wf_buf x, labels, lse, loss, rows; /* rows: the rows' losses in double */
    wf_buf dloss, dx;                  /* backward */
    int64_t N, K, per_tile;
    double smoothing, factor; /* factor: 1, or 1/N for the mean */
    bool scalar;              /* loss is a scalar */
    bool merge;               /* the one tile also merges the rows' losses */
    weft_dtype dtype;
    size_t size;
    const wf_loss *kernels;
} ce_args;

static void store(const ce_args *g, void *y, int64_t i, double value)
{
    if (g->dtype == WEFT_F32)
        ((float *)y)[i] = (float)value;
    else
        ((double *)y)[i] = value;
}

static void merge_rows(const wf_tile *t, const ce_args *g)
{
    const double *rows = wf_data(t, g->rows);
    void *loss = wf_data(t, g->loss);
    double sum;
    wf_merge((size_t)g->N, 1, 1, rows, &sum);
    store(g, loss, 0, sum * g->factor);
}

static void run_merge(const wf_tile *t, const void *vargs, int64_t tile)
{
    merge_rows(t, vargs);
}

static void run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const ce_args *g = vargs;
    int64_t first = tile * g->per_tile;
    int64_t n = g->N - first < g->per_tile ? g->N - first : g->per_tile;
    const int64_t *labels = (const int64_t *)wf_data(t, g->labels) + first;
    double *rows = (double *)wf_data(t, g->rows) + first;
    int64_t bad = g->kernels->cross_entropy(
        (size_t)n, (size_t)g->K, (const char *)wf_data(t, g->x) + (size_t)(first * g->K) * g->size,
        labels, g->smoothing, rows, (char *)wf_data(t, g->lse) + (size_t)first * g->size);
    if (bad >= 0) {
        wf_tile_fail(t, WEFT_ERR_INVALID, "label %lld at row %lld is outside [0, %lld)",
                     (long long)labels[bad], (long long)(first + bad), (long long)g->K);
        return;
    }
    if (g->merge)
        merge_rows(t, g);
    if (!g->scalar)
        for (int64_t i = 0; i < n; i++)
            store(g, wf_data(t, g->loss), first + i, rows[i]);
}

static ce_args common_args(const wf_lower *l)
{
    const cross_entropy_attrs *a = l->attrs;
    wf_operand x = wf_lower_in(l, 0);
    int64_t K = x.shape.dim[1];
    return (ce_args){
        .x = x.buf,
        .labels = wf_lower_in(l, 1).buf,
        .N = x.N,
        .K = K,
        .per_tile = (WF_CHUNK + K - 1) / K,
        .smoothing = a->smoothing,
        .factor = a->reduction == WEFT_MEAN ? 1.0 / (double)x.N : 1.0,
        .scalar = a->reduction != WEFT_NONE,
        .dtype = x.dtype,
        .size = weft_dtype_size(x.dtype),
        .kernels = wf_loss_get(x.dtype, l->isa),
    };
}

static weft_status lower(wf_lower *l)
{
    ce_args g = common_args(l);
    int64_t tiles = (g.N + g.per_tile - 1) / g.per_tile;
    g.loss = wf_lower_out(l, 0).buf;
    g.lse = wf_lower_out(l, 1).buf;
    g.merge = g.scalar && tiles == 1;
    g.rows = wf_lower_temp(l, 1, (size_t)g.N * sizeof(double));
    if (g.rows < 0)
        return WEFT_ERR_NOMEM;
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), tiles);
    wf_reads(task, g.x, WF_WHOLE);
    wf_reads(task, g.labels, WF_WHOLE);
    wf_writes(task, g.rows, WF_WHOLE);
    wf_writes(task, g.lse, WF_WHOLE);
    if (g.merge || !g.scalar)
        wf_writes(task, g.loss, WF_WHOLE);
    double count = (double)g.N * (double)g.K;
    wf_cost(task, 20.0 * count, count * (double)g.size);
    if (g.merge || !g.scalar)
        return wf_lowered(l, task);
    task = wf_lower_task(l, "reduce:merge", run_merge, &g, sizeof(g), 1);
    wf_reads(task, g.rows, WF_WHOLE);
    wf_writes(task, g.loss, WF_WHOLE);
    wf_cost(task, (double)g.N, 8.0 * (double)g.N);
    return wf_lowered(l, task);
}

/* ---- gradient: inputs logits, labels, lse, dloss --------------------------------------------- */

static weft_status infer_backward(wf_infer *f)
{
    WF_TRY(check_inputs(f));
    f->out[0] = f->in[0];
    return WEFT_OK;
}

static void run_backward(const wf_tile *t, const void *vargs, int64_t tile)
{
    const ce_args *g = vargs;
    int64_t first = tile * g->per_tile;
    int64_t n = g->N - first < g->per_tile ? g->N - first : g->per_tile;
    size_t at = (size_t)(first * g->K) * g->size, row = (size_t)first * g->size;
    g->kernels->cross_entropy_backward(
        (size_t)n, (size_t)g->K, (const char *)wf_data(t, g->x) + at,
        (const int64_t *)wf_data(t, g->labels) + first, (const char *)wf_data(t, g->lse) + row,
        g->smoothing, g->factor, (const char *)wf_data(t, g->dloss) + (g->scalar ? 0 : row),
        g->scalar ? 0 : 1, (char *)wf_data(t, g->dx) + at);
}

static weft_status lower_backward(wf_lower *l)
{
    ce_args g = common_args(l);
    g.lse = wf_lower_in(l, 2).buf;
    g.dloss = wf_lower_in(l, 3).buf;
    g.dx = wf_lower_out(l, 0).buf;
    wf_task *task = wf_lower_task(l, g.kernels->name, run_backward, &g, sizeof(g),
                                  (g.N + g.per_tile - 1) / g.per_tile);
    wf_reads(task, g.x, WF_WHOLE);
    wf_reads(task, g.labels, WF_WHOLE);
    wf_reads(task, g.lse, WF_WHOLE);
    wf_reads(task, g.dloss, WF_WHOLE);
    wf_writes(task, g.dx, WF_WHOLE);
    double count = (double)g.N * (double)g.K;
    wf_cost(task, 20.0 * count, 2.0 * count * (double)g.size);
    return wf_lowered(l, task);
}

const wf_op wf_op_cross_entropy_backward = {
    .name = "cross_entropy_backward",
    .n_out = 1,
    .attr_size = sizeof(cross_entropy_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer_backward,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_backward,
    .no_sample_reason = "cross_entropy's samples run it",
};

static weft_status grad(wf_grad *g)
{
    if (g->needs[0] && g->dout[0])
        g->din[0] = wf_record(&wf_op_cross_entropy_backward, g->attrs, NULL, 4,
                              (weft_tensor *[]){g->in[0], g->in[1], g->out[1], g->dout[0]}, NULL);
    return WEFT_OK;
}

/* Labels are not an f64 input, so the sample brings its own: row r has label 2 r + 1 modulo K. */
static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    int64_t labels[16];
    weft_shape shape = weft_tensor_shape(in[0]);
    for (int64_t r = 0; r < shape.dim[0]; r++)
        labels[r] = (2 * r + 1) % shape.dim[1];
    weft_tensor *y = weft_tensor_from(weft_tensor_context(in[0]), WEFT_I64,
                                      WEFT_SHAPE(shape.dim[0]), labels);
    weft_tensor *loss = y ? weft_cross_entropy(in[0], y, user) : NULL;
    weft_tensor_unref(y); /* the graph holds it */
    return loss;
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const weft_cross_entropy_opts sum = {0.0, WEFT_SUM}, rows = {0.2, WEFT_NONE};
    static const weft_cross_entropy_opts smooth = {0.1, WEFT_MEAN};
    static const wf_sample_case cases[] = {
        {"mean", 1, {{2, {4, 5}}}, apply, NULL},
        {"sum", 1, {{2, {4, 5}}}, apply, &sum},
        {"smoothed mean", 1, {{2, {4, 5}}}, apply, &smooth},
        {"smoothed rows", 1, {{2, {3, 4}}}, apply, &rows},
    };
    return wf_sample_from(ctx, cases, 4, index, s);
}

/* Outputs: the loss, and log sum exp of the rows for the gradient. */
const wf_op wf_op_cross_entropy = {
    .name = "cross_entropy",
    .n_out = 2,
    .attr_size = sizeof(cross_entropy_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_cross_entropy(weft_tensor *logits, weft_tensor *labels,
                                const weft_cross_entropy_opts *opts)
{
    cross_entropy_attrs a = {0.0, WEFT_MEAN};
    if (opts)
        a = (cross_entropy_attrs){opts->label_smoothing, opts->reduction};
    return wf_record(&wf_op_cross_entropy, &a, NULL, 2, (weft_tensor *[]){logits, labels}, NULL);
}
