/* cross_entropy: softmax and negative log likelihood of rows of logits in one op, with label
 * smoothing, class weights and ignored labels; and its gradient. nll_loss: the same for rows of
 * log-probabilities.
 *
 * Rows are independent. The sums over rows (of their losses, and of the weights by which the mean
 * divides) are fixed trees. Letters: N rows, K classes. */
#include <math.h>

#include "engine/graph/ops/internal.h"
#include "engine/graph/ops/losses.h"
#include "kernels/loss/loss.h"
#include "kernels/reduce/reduce.h"

typedef struct cross_entropy_attrs {
    double smoothing;
    int64_t reduction; /* weft_reduction */
    int64_t ignore;
    int64_t weighted;  /* the class weights are the last input (in the gradient, before `total`) */
    int64_t log_probs; /* nll_loss */
} cross_entropy_attrs;

/* Checks logits (N, K) and labels (N), which the gradient op has too. `weight` is the index of the
 * input with the class weights (K). */
static weft_status check_inputs(const wf_infer *f, int weight)
{
    char x[WF_SHAPE_TEXT];
    const cross_entropy_attrs *a = f->attrs;
    const weft_shape *logits = &f->in[0].shape;
    WF_TRY(wf_infer_logits_and_labels(f));
    if (logits->dim[1] == 0 && logits->dim[0] > 0)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "logits are %s: there are labels but no classes",
                             weft_shape_format(*logits, x, sizeof(x)));
    if (!a->weighted)
        return WEFT_OK;
    const wf_type *w = &f->in[weight];
    if (w->dtype != f->in[0].dtype || !weft_shape_equal(w->shape, WEFT_SHAPE(logits->dim[1])))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "the weight is %s %s, expected %s [%lld]",
                             weft_dtype_name(w->dtype), weft_shape_format(w->shape, x, sizeof(x)),
                             weft_dtype_name(f->in[0].dtype), (long long)logits->dim[1]);
    return WEFT_OK;
}

static weft_status infer(wf_infer *f)
{
    const cross_entropy_attrs *a = f->attrs;
    WF_TRY(check_inputs(f, 2));
    f->n_out = a->reduction == WEFT_MEAN ? 3 : 2;
    f->out[0] = (wf_type){f->in[0].dtype, WEFT_SCALAR};
    f->out[1] = (wf_type){WEFT_F64, WEFT_SHAPE(f->in[1].shape.dim[0], 2)}; /* wf_row_exp */
    f->out[2] = (wf_type){WEFT_F64, WEFT_SCALAR};
    if (a->reduction == WEFT_NONE)
        f->out[0].shape = f->in[1].shape;
    return WEFT_OK;
}

/* Without rows, the mean is NaN and the sum 0. */
static bool is_mean(const void *attrs)
{
    return ((const cross_entropy_attrs *)attrs)->reduction == WEFT_MEAN;
}

typedef struct ce_args {
    wf_buf x, labels, exps, loss;
    wf_buf weight, total;  /* -1: there is none; the mean divides by `total` */
    wf_buf rows;           /* in double: the rows' losses, then their weights */
    wf_buf dloss, dx;      /* backward */
    wf_class_loss loss_of; /* all but the weights, which are known at run time only */
    int64_t N, K, per_tile;
    bool scalar; /* loss is a scalar */
    bool merge;  /* there is one tile, which also adds up the rows' losses */
    weft_dtype dtype;
    size_t size;
    const wf_loss *kernels;
} ce_args;

static void merge_rows(const wf_tile *t, const ce_args *g)
{
    const double *rows = wf_data(t, g->rows);
    double sum, total = 1.0;
    wf_merge((size_t)g->N, 1, 1, rows, &sum);
    if (g->total >= 0) {
        wf_merge((size_t)g->N, 1, 1, rows + g->N, &total);
        if (total == 0.0) /* a mean over nothing is NaN, with label smoothing too */
            total = NAN;
        *(double *)wf_data(t, g->total) = total;
    }
    wf_float_set(g->dtype, wf_data(t, g->loss), 0, sum / total);
}

static weft_status run_merge(const wf_tile *t, const void *vargs, int64_t tile)
{
    merge_rows(t, vargs);
    return WEFT_OK;
}

static wf_class_loss loss_of(const ce_args *g, const wf_tile *t)
{
    wf_class_loss p = g->loss_of;
    p.weight = g->weight >= 0 ? wf_data(t, g->weight) : NULL;
    return p;
}

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const ce_args *g = vargs;
    const wf_class_loss p = loss_of(g, t);
    int64_t first = tile * g->per_tile;
    int64_t n = g->N - first < g->per_tile ? g->N - first : g->per_tile;
    const int64_t *labels = (const int64_t *)wf_data(t, g->labels) + first;
    double *rows = (double *)wf_data(t, g->rows) + first;
    int64_t bad = g->kernels->cross_entropy(
        &p, (size_t)n, (const char *)wf_data(t, g->x) + (size_t)(first * g->K) * g->size, labels,
        rows, rows + g->N, (wf_row_exp *)wf_data(t, g->exps) + first);
    if (bad >= 0) {
        return wf_tile_fail(t, WEFT_ERR_INVALID, "label %lld at row %lld is outside [0, %lld)",
                            (long long)labels[bad], (long long)(first + bad), (long long)g->K);
    }
    if (g->merge)
        merge_rows(t, g);
    if (!g->scalar)
        for (int64_t i = 0; i < n; i++)
            wf_float_set(g->dtype, wf_data(t, g->loss), first + i, rows[i]);
    return WEFT_OK;
}

static ce_args common_args(const wf_lower *l)
{
    const cross_entropy_attrs *a = l->attrs;
    wf_operand x = wf_lower_in(l, 0);
    int64_t K = x.shape.dim[1];
    return (ce_args){
        .x = x.buf,
        .labels = wf_lower_in(l, 1).buf,
        .weight = -1,
        .total = -1,
        .loss_of = {.K = (size_t)K,
                    .ignore = a->ignore,
                    .eps = a->smoothing,
                    .log_probs = a->log_probs},
        .N = x.N,
        .K = K,
        .per_tile = (WF_CHUNK + K - 1) / K,
        .scalar = a->reduction != WEFT_NONE,
        .dtype = x.dtype,
        .size = weft_dtype_size(x.dtype),
        .kernels = wf_loss_get(x.dtype, l->isa),
    };
}

static void writes_loss(wf_task *task, const ce_args *g)
{
    wf_writes(task, g->loss, WF_WHOLE);
    if (g->total >= 0)
        wf_writes(task, g->total, WF_WHOLE);
}

static weft_status lower(wf_lower *l)
{
    ce_args g = common_args(l);
    int64_t tiles = (g.N + g.per_tile - 1) / g.per_tile;
    g.loss = wf_lower_out(l, 0).buf;
    g.exps = wf_lower_out(l, 1).buf;
    g.weight = l->n_in > 2 ? wf_lower_in(l, 2).buf : -1;
    g.total = l->n_out > 2 ? wf_lower_out(l, 2).buf : -1;
    g.merge = g.scalar && tiles == 1;
    g.rows = wf_lower_temp(l, 1, 2 * (size_t)g.N * sizeof(double));
    if (g.rows < 0)
        return WEFT_ERR_NOMEM;
    wf_task *task = wf_lower_task(l, g.kernels->name, run, &g, sizeof(g), tiles);
    for (int i = 0; i < l->n_in; i++)
        wf_reads(task, wf_lower_in(l, i).buf, WF_WHOLE);
    wf_writes(task, g.rows, WF_WHOLE);
    wf_writes(task, g.exps, WF_WHOLE);
    if (g.merge || !g.scalar)
        writes_loss(task, &g);
    double count = (double)g.N * (double)g.K;
    wf_cost(task, 20.0 * count, count * (double)g.size);
    if (g.merge || !g.scalar)
        return wf_lowered(l, task);
    task = wf_lower_task(l, "reduce:merge", run_merge, &g, sizeof(g), 1);
    wf_reads(task, g.rows, WF_WHOLE);
    writes_loss(task, &g);
    wf_cost(task, (double)g.N, 16.0 * (double)g.N);
    return wf_lowered(l, task);
}

/* ---- gradient: inputs logits, labels, exps, dloss(, weight)(, total) ------------------------ */

static weft_status infer_backward(wf_infer *f)
{
    WF_TRY(check_inputs(f, 4));
    f->out[0] = f->in[0];
    return WEFT_OK;
}

static weft_status run_backward(const wf_tile *t, const void *vargs, int64_t tile)
{
    const ce_args *g = vargs;
    const wf_class_loss p = loss_of(g, t);
    int64_t first = tile * g->per_tile;
    int64_t n = g->N - first < g->per_tile ? g->N - first : g->per_tile;
    size_t at = (size_t)(first * g->K) * g->size, row = (size_t)first * g->size;
    double factor = g->total >= 0 ? 1.0 / *(const double *)wf_data(t, g->total) : 1.0;
    g->kernels->cross_entropy_backward(&p, (size_t)n, (const char *)wf_data(t, g->x) + at,
                                       (const int64_t *)wf_data(t, g->labels) + first,
                                       (const wf_row_exp *)wf_data(t, g->exps) + first, factor,
                                       (const char *)wf_data(t, g->dloss) + (g->scalar ? 0 : row),
                                       g->scalar ? 0 : 1, (char *)wf_data(t, g->dx) + at);
    return WEFT_OK;
}

static weft_status lower_backward(wf_lower *l)
{
    const cross_entropy_attrs *a = l->attrs;
    ce_args g = common_args(l);
    g.exps = wf_lower_in(l, 2).buf;
    g.dloss = wf_lower_in(l, 3).buf;
    g.weight = a->weighted ? wf_lower_in(l, 4).buf : -1;
    g.total = a->reduction == WEFT_MEAN ? wf_lower_in(l, l->n_in - 1).buf : -1;
    g.dx = wf_lower_out(l, 0).buf;
    wf_task *task = wf_lower_task(l, g.kernels->name, run_backward, &g, sizeof(g),
                                  (g.N + g.per_tile - 1) / g.per_tile);
    for (int i = 0; i < l->n_in; i++)
        wf_reads(task, wf_lower_in(l, i).buf, WF_WHOLE);
    wf_writes(task, g.dx, WF_WHOLE);
    double count = (double)g.N * (double)g.K;
    wf_cost(task, 20.0 * count, 2.0 * count * (double)g.size);
    return wf_lowered(l, task);
}

const wf_op wf_op_cross_entropy_backward = {
    .name = "cross_entropy_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(cross_entropy_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer_backward,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_backward,
    .no_sample_reason = "the samples of cross_entropy and nll_loss run it",
};

static weft_status grad(wf_grad *g)
{
    const cross_entropy_attrs *a = g->attrs;
    weft_tensor *in[6] = {g->in[0], g->in[1], g->out[1], g->dout[0]};
    int n = 4;
    if (a->weighted)
        in[n++] = g->in[2];
    if (a->reduction == WEFT_MEAN)
        in[n++] = g->out[2];
    if (g->needs[0] && g->dout[0])
        g->din[0] = wf_record(&wf_op_cross_entropy_backward, a, NULL, n, in, NULL);
    return WEFT_OK;
}

/* ---- samples --------------------------------------------------------------------------------- */

typedef struct sample_user {
    weft_cross_entropy_opts opts;
    bool weighted, ignore_one; /* which pointers of opts to fill in */
    bool log_probs;
} sample_user;

/* Labels are no f64 input, so this makes them: row r has label 2 r + 1 modulo K. The class weights
 * are constant and get no gradient. */
static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    static const int64_t one = 1;
    const sample_user *u = user;
    weft_cross_entropy_opts opts = u->opts;
    weft_context *ctx = weft_tensor_context(in[0]);
    weft_shape shape = weft_tensor_shape(in[0]);
    int64_t labels[16];
    for (int64_t r = 0; r < shape.dim[0]; r++)
        labels[r] = (2 * r + 1) % shape.dim[1];
    weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(shape.dim[0]), labels);
    if (u->weighted) { /* in [0.1, 0.9) */
        opts.weight = wf_record_fill(ctx, wf_operand_dtype(in[0]), WEFT_SHAPE(1), 0.7);
        opts.weight = weft_expand(opts.weight, WEFT_SHAPE(shape.dim[1]));
    }
    opts.ignore_index = u->ignore_one ? &one : NULL;
    weft_nll_opts nll = {opts.reduction, opts.weight, opts.ignore_index};
    weft_tensor *loss = !y             ? NULL
                        : u->log_probs ? weft_nll_loss(in[0], y, &nll)
                                       : weft_cross_entropy(in[0], y, &opts);
    weft_tensor_unref(y); /* the graph has a reference */
    return loss;
}

static weft_tensor *apply_probabilities(void *user, weft_tensor *const *in, int n)
{
    weft_cross_entropy_opts opts = {.label_smoothing = 0.1, .weight = n > 2 ? in[2] : NULL};
    return weft_cross_entropy(in[0], in[1], &opts);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const sample_user mean = {{0}}, sum = {{.reduction = WEFT_SUM}};
    static const sample_user smooth = {{.label_smoothing = 0.1}};
    static const sample_user rows = {{.label_smoothing = 0.2, .reduction = WEFT_NONE}};
    static const sample_user full = {{.label_smoothing = 0.2}, true, true};
    static const wf_sample_case cases[] = {
        {"mean", 1, {{2, {4, 5}}}, apply, &mean},
        {"sum", 1, {{2, {4, 5}}}, apply, &sum},
        {"smoothed mean", 1, {{2, {4, 5}}}, apply, &smooth},
        {"smoothed rows", 1, {{2, {3, 4}}}, apply, &rows},
        {"smoothed, weighted, one ignored", 1, {{2, {4, 5}}}, apply, &full},
        {"probabilities", 2, {{2, {4, 5}}, {2, {4, 5}}}, apply_probabilities, NULL},
        {"weighted", 3, {{2, {4, 5}}, {2, {4, 5}}, {1, {5}}}, apply_probabilities, NULL},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}

static bool sample_nll(weft_context *ctx, int index, wf_sample *s)
{
    static const sample_user mean = {{0}, false, false, true}, full = {{0}, true, true, true};
    static const wf_sample_case cases[] = {
        {"mean", 1, {{2, {4, 5}}}, apply, &mean},
        {"weighted, one ignored", 1, {{2, {4, 5}}}, apply, &full},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}

/* Outputs: the loss; each row's wf_row_exp, for the gradient; the number by which the mean
 * divides. */
const wf_op wf_op_cross_entropy = {
    .name = "cross_entropy",
    .of_nothing = WF_EMPTY_NAN,
    .nan_of_nothing = is_mean,
    .n_out = 3,
    .attr_size = sizeof(cross_entropy_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

const wf_op wf_op_nll_loss = {
    .name = "nll_loss",
    .of_nothing = WF_EMPTY_NAN,
    .nan_of_nothing = is_mean,
    .n_out = 3,
    .attr_size = sizeof(cross_entropy_attrs),
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample_nll,
};

/* ---- recording ------------------------------------------------------------------------------- */

static weft_tensor *record(const wf_op *op, weft_tensor *x, weft_tensor *labels,
                           const weft_cross_entropy_opts *o)
{
    cross_entropy_attrs a = {.smoothing = o->label_smoothing,
                             .reduction = o->reduction,
                             .ignore = wf_ignored_label(o->ignore_index),
                             .weighted = o->weight != NULL,
                             .log_probs = op == &wf_op_nll_loss};
    weft_context *ctx = wf_record_context(op->name, 2, 3, (weft_tensor *[]){x, labels, o->weight});
    if (!ctx || !wf_reduction_known(ctx, op->name, o->reduction))
        return NULL;
    return wf_record(op, &a, NULL, o->weight ? 3 : 2, (weft_tensor *[]){x, labels, o->weight},
                     NULL);
}

weft_tensor *weft_cross_entropy(weft_tensor *logits, weft_tensor *labels,
                                const weft_cross_entropy_opts *opts)
{
    WF_SAY("cross_entropy", 2, logits, labels);
    weft_cross_entropy_opts o = {0};
    if (opts)
        o = *opts;
    weft_context *ctx = wf_record_context("cross_entropy", 2, 2, (weft_tensor *[]){logits, labels});
    if (!ctx)
        return NULL;
    if (!(o.label_smoothing >= 0.0 && o.label_smoothing <= 1.0)) {
        wf_fail_step(ctx, WEFT_ERR_INVALID, "cross_entropy: label smoothing %g is outside [0, 1]",
                     o.label_smoothing);
        return NULL;
    }
    weft_dtype dtype = wf_operand_dtype(labels);
    if (dtype != WEFT_I64 && dtype == wf_operand_dtype(logits) &&
        weft_tensor_shape(labels).rank > 1)
        return wf_cross_entropy_of_probabilities(logits, labels, &o);
    return record(&wf_op_cross_entropy, logits, labels, &o);
}

weft_tensor *weft_nll_loss(weft_tensor *log_probs, weft_tensor *labels, const weft_nll_opts *opts)
{
    WF_SAY("nll_loss", 2, log_probs, labels);
    weft_cross_entropy_opts o = {0};
    if (opts)
        o = (weft_cross_entropy_opts){0.0, opts->reduction, opts->weight, opts->ignore_index};
    return record(&wf_op_nll_loss, log_probs, labels, &o);
}
