/* layer_norm: normalises the last dimensions by their own mean and variance, then scales and shifts
 * each element (Ba, Kiros and Hinton 2016); and its gradient.
 *
 * A tile is a run of rows. Where an image has several rows, a tile is one image: then the task can
 * join a task group, and the image is in cache. Rows of bf16 are widened a few at a time in scratch,
 * computed as f32 and rounded once.
 *
 * Letters: rows of D elements, which are the last dimensions together. */
#include <math.h>

#include "engine/graph/ops/affine.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/reduce/reduce.h"

enum {
    /* rows of a tile that has partial sums, at least: with fewer, these cost more than the rest */
    ROWS = 32,
    LARGEST_IMAGE = 256 * 1024, /* elements of a tile */
    COLUMNS = 64,               /* columns of a tile that adds up partial sums */
    LOW = 4096, /* elements of bf16 that are widened at once, but at least a row: L1 holds them */
};

typedef struct layer_norm_attrs {
    int64_t n_dims;
    double eps;
} layer_norm_attrs;

typedef struct ln_args {
    wf_buf x, gamma, beta, y; /* y: backward dx */
    wf_buf moments;
    wf_buf dy, sums, dgamma, dbeta; /* backward; sums: one partial sum for each tile */
    bool tiled;
    int64_t rows, per_tile, tiles, D;
    double eps;
    weft_dtype dtype; /* of x, dy and y; gamma and beta are f32 where it is bf16 */
    const wf_layer_norm_fns *fns;
} ln_args;

static weft_dtype computed_in(const ln_args *g)
{
    return wf_read_as(g->dtype);
}

/* The rows of bf16 that are widened at once; 0: rows are read as they lie. */
static size_t rows_at_once(const ln_args *g)
{
    if (g->dtype != WEFT_BF16)
        return 0;
    return g->D < LOW ? (size_t)(LOW / g->D) : 1;
}

/* The first row of a tile in a buffer of rows. */
static void *rows_at(const ln_args *g, const wf_tile *t, wf_buf buf, int64_t tile)
{
    const size_t row = (size_t)g->D * weft_dtype_size(g->dtype);
    return g->tiled ? wf_image(t, buf, tile)
                    : (char *)wf_data(t, buf) + (size_t)(tile * g->per_tile) * row;
}

static size_t count(const ln_args *g, int64_t tile)
{
    const int64_t left = g->rows - tile * g->per_tile;
    return (size_t)(left < g->per_tile ? left : g->per_tile);
}

/* The scratch of rows of bf16: `arrays` widened copies of as many rows as are widened at once. */
static size_t scratch_bytes(const ln_args *g, int arrays)
{
    return (size_t)arrays * rows_at_once(g) * (size_t)g->D * sizeof(float);
}

static void forward_low(const ln_args *g, const wf_tile *t, int64_t tile)
{
    const wf_cast_fn widen = wf_cast_get(WEFT_BF16, WEFT_F32),
                     narrow = wf_cast_get(WEFT_F32, WEFT_BF16);
    const size_t n = count(g, tile), D = (size_t)g->D, most = rows_at_once(g);
    const uint16_t *x = rows_at(g, t, g->x, tile);
    uint16_t *y = rows_at(g, t, g->y, tile);
    wf_row_moments *moments = (wf_row_moments *)wf_data(t, g->moments) + tile * g->per_tile;
    float *wide = t->scratch;
    for (size_t r = 0; r < n; r += most) {
        const size_t rows = n - r < most ? n - r : most;
        widen(rows * D, x + r * D, wide);
        g->fns->forward(rows, D, g->eps, wide, wf_data(t, g->gamma), wf_data(t, g->beta), wide,
                        moments + r);
        narrow(rows * D, wide, y + r * D);
    }
}

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const ln_args *g = vargs;
    if (g->dtype == WEFT_BF16)
        forward_low(g, t, tile);
    else
        g->fns->forward(count(g, tile), (size_t)g->D, g->eps, rows_at(g, t, g->x, tile),
                        wf_data(t, g->gamma), wf_data(t, g->beta), rows_at(g, t, g->y, tile),
                        (wf_row_moments *)wf_data(t, g->moments) + tile * g->per_tile);
    return WEFT_OK;
}

/* Rows are added to the sums one after the other, so widening some at a time changes no bit. */
static void backward_low(const ln_args *g, const wf_tile *t, int64_t tile, double *sums)
{
    const wf_cast_fn widen = wf_cast_get(WEFT_BF16, WEFT_F32),
                     narrow = wf_cast_get(WEFT_F32, WEFT_BF16);
    const size_t n = count(g, tile), D = (size_t)g->D, most = rows_at_once(g);
    const uint16_t *x = rows_at(g, t, g->x, tile), *dy = rows_at(g, t, g->dy, tile);
    uint16_t *dx = rows_at(g, t, g->y, tile);
    const wf_row_moments *moments =
        (const wf_row_moments *)wf_data(t, g->moments) + tile * g->per_tile;
    float *wide_x = t->scratch, *wide_dy = wide_x + most * D;
    for (size_t r = 0; r < n; r += most) {
        const size_t rows = n - r < most ? n - r : most;
        widen(rows * D, x + r * D, wide_x);
        widen(rows * D, dy + r * D, wide_dy);
        g->fns->backward(rows, D, wide_x, wide_dy, wf_data(t, g->gamma), moments + r, wide_dy,
                         sums);
        narrow(rows * D, wide_dy, dx + r * D);
    }
}

static weft_status run_backward(const wf_tile *t, const void *vargs, int64_t tile)
{
    const ln_args *g = vargs;
    const size_t doubles = wf_layer_norm_sums((size_t)g->D);
    double *sums = (double *)wf_data(t, g->sums) + (size_t)tile * doubles;
    for (size_t j = 0; j < doubles; j++)
        sums[j] = 0;
    if (g->dtype == WEFT_BF16)
        backward_low(g, t, tile, sums);
    else
        g->fns->backward(count(g, tile), (size_t)g->D, rows_at(g, t, g->x, tile),
                         rows_at(g, t, g->dy, tile), wf_data(t, g->gamma),
                         (const wf_row_moments *)wf_data(t, g->moments) + tile * g->per_tile,
                         rows_at(g, t, g->y, tile), sums);
    return WEFT_OK;
}

static weft_status run_merge(const wf_tile *t, const void *vargs, int64_t tile)
{
    const ln_args *g = vargs;
    const size_t doubles = wf_layer_norm_sums((size_t)g->D);
    const int64_t first = tile * COLUMNS;
    const size_t n = (size_t)(g->D - first < COLUMNS ? g->D - first : COLUMNS);
    const wf_buf to[2] = {g->dbeta, g->dgamma};
    for (int i = 0; i < 2; i++) {
        double sum[COLUMNS];
        wf_merge((size_t)g->tiles, doubles, n,
                 (const double *)wf_data(t, g->sums) + (size_t)i * doubles / 2 + first, sum);
        for (size_t j = 0; j < n; j++)
            wf_float_set(computed_in(g), wf_data(t, to[i]), first + (int64_t)j, sum[j]);
    }
    return WEFT_OK;
}

/* ---- lowering -------------------------------------------------------------------------------- */

static ln_args args_of(const wf_lower *l)
{
    const layer_norm_attrs *a = l->attrs;
    const wf_operand x = wf_lower_in(l, 0);
    const int rank = x.shape.rank, first = rank - (int)a->n_dims;
    ln_args g = {.x = x.buf,
                 .y = wf_lower_out(l, 0).buf,
                 .rows = wf_dims_count(&x.shape, 0, first),
                 .D = wf_dims_count(&x.shape, first, rank),
                 .eps = a->eps,
                 .dtype = x.dtype,
                 .fns = wf_layer_norm_find(l->isa, wf_read_as(x.dtype))};
    const int64_t of_image = first > 0 ? g.rows / x.N : 0, some = WF_CHUNK / g.D;
    g.tiled = of_image >= ROWS && of_image * g.D <= LARGEST_IMAGE;
    g.per_tile = g.tiled ? of_image : some > ROWS ? some : ROWS;
    g.tiles = (g.rows + g.per_tile - 1) / g.per_tile;
    return g;
}

static const char *kernel_name(const ln_args *g)
{
    return g->dtype == WEFT_BF16 ? "layer_norm:bf16" : g->fns->name;
}

static double bytes_of(const ln_args *g, int operands)
{
    return operands * (double)g->rows * (double)g->D * (double)weft_dtype_size(g->dtype);
}

/* x, gamma, beta -> y, moments */
static weft_status lower(wf_lower *l)
{
    ln_args g = args_of(l);
    g.gamma = wf_lower_in(l, 1).buf;
    g.beta = wf_lower_in(l, 2).buf;
    g.moments = wf_lower_out(l, 1).buf;
    const wf_access access = g.tiled ? WF_TILED : WF_WHOLE;
    wf_task *task = wf_lower_task(l, kernel_name(&g), run, &g, sizeof(g), g.tiles);
    wf_reads(task, g.x, access);
    wf_reads(task, g.gamma, WF_WHOLE);
    wf_reads(task, g.beta, WF_WHOLE);
    wf_writes(task, g.y, access);
    wf_writes(task, g.moments, WF_WHOLE);
    wf_scratch(task, scratch_bytes(&g, 1));
    wf_cost(task, 8 * (double)g.rows * (double)g.D, bytes_of(&g, 2));
    return wf_lowered(l, task);
}

/* x, dy, moments, gamma -> dx, dgamma, dbeta */
static weft_status lower_backward(wf_lower *l)
{
    ln_args g = args_of(l);
    g.dy = wf_lower_in(l, 1).buf;
    g.moments = wf_lower_in(l, 2).buf;
    g.gamma = wf_lower_in(l, 3).buf;
    g.dgamma = wf_lower_out(l, 1).buf;
    g.dbeta = wf_lower_out(l, 2).buf;
    const size_t partial_bytes = wf_layer_norm_sums((size_t)g.D) * sizeof(double);
    g.sums = wf_lower_temp(l, 1, (size_t)g.tiles * partial_bytes);
    if (g.sums < 0)
        return WEFT_ERR_NOMEM;
    const wf_access access = g.tiled ? WF_TILED : WF_WHOLE;
    wf_task *task = wf_lower_task(l, kernel_name(&g), run_backward, &g, sizeof(g), g.tiles);
    wf_reads(task, g.x, access);
    wf_reads(task, g.dy, access);
    wf_reads(task, g.moments, WF_WHOLE);
    wf_reads(task, g.gamma, WF_WHOLE);
    wf_writes(task, g.y, access);
    wf_writes(task, g.sums, WF_WHOLE);
    wf_scratch(task, scratch_bytes(&g, 2));
    wf_cost(task, 16 * (double)g.rows * (double)g.D, bytes_of(&g, 3));

    task = wf_lower_task(l, "merge", run_merge, &g, sizeof(g), (g.D + COLUMNS - 1) / COLUMNS);
    wf_reads(task, g.sums, WF_WHOLE);
    wf_writes(task, g.dgamma, WF_WHOLE);
    wf_writes(task, g.dbeta, WF_WHOLE);
    wf_cost(task, (double)g.tiles * 2 * (double)g.D, (double)g.tiles * (double)partial_bytes);
    return wf_lowered(l, task);
}

/* ---- recording ------------------------------------------------------------------------------- */

static weft_status infer(wf_infer *f)
{
    const weft_shape *x = &f->in[0].shape;
    const int n = (int)((const layer_norm_attrs *)f->attrs)->n_dims;
    WF_TRY(wf_infer_float(f, 0));
    weft_shape last = {.rank = n};
    for (int i = 0; i < n; i++)
        last.dim[i] = x->dim[x->rank - n + i];
    WF_TRY(wf_infer_affine(f, last));
    f->out[0] = f->in[0];
    f->out[1] = (wf_type){WEFT_F64, WEFT_SHAPE(wf_dims_count(x, 0, x->rank - n), 2)};
    return WEFT_OK;
}

static weft_status grad(wf_grad *g)
{
    return wf_grad_affine(g, &wf_op_layer_norm_backward, 4,
                          (weft_tensor *[]){g->in[0], g->dout[0], g->out[1], g->in[1]});
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_layer_norm(in[0], *(const int *)user, n > 1 ? in[1] : NULL, n > 2 ? in[2] : NULL,
                           1e-3);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const int one = 1, two = 2, three = 3;
    static const wf_sample_case cases[] = {
        {"rows", 3, {{2, {5, 7}}, {1, {7}}, {1, {7}}}, apply, &one},
        {"rows of images", 3, {{4, {2, 3, 2, 5}}, {1, {5}}, {1, {5}}}, apply, &one},
        {"two dimensions", 3, {{3, {3, 2, 9}}, {2, {2, 9}}, {2, {2, 9}}}, apply, &two},
        {"everything", 3, {{3, {2, 2, 9}}, {3, {2, 2, 9}}, {3, {2, 2, 9}}}, apply, &three},
        {"without bias", 2, {{2, {3, 20}}, {1, {20}}}, apply, &one},
        {"as it is", 1, {{2, {3, 6}}}, apply, &one},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}

const wf_op wf_op_layer_norm_backward = {
    .name = "layer_norm_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 3, /* dx, dgamma, dbeta */
    .attr_size = sizeof(layer_norm_attrs),
    .flags = WF_OP_BF16,
    .layout_rule = WF_LAYOUT_PLAIN,
    .precision = WF_PRECISION_FOLLOW,
    .infer = wf_infer_affine_backward,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_backward,
    .no_sample_reason = "layer_norm's samples run it",
};

const wf_op wf_op_layer_norm = {
    .name = "layer_norm",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 2, /* y, moments */
    .attr_size = sizeof(layer_norm_attrs),
    .flags = WF_OP_BF16,
    .layout_rule = WF_LAYOUT_PLAIN,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_layer_norm(weft_tensor *x, int n_dims, weft_tensor *gamma, weft_tensor *beta,
                             double eps)
{
    WF_SAY("layer_norm", 1, x, gamma, beta);
    weft_context *ctx = wf_record_context("layer_norm", 1, 3, (weft_tensor *[]){x, gamma, beta});
    if (!ctx)
        return NULL;
    const weft_shape shape = weft_tensor_shape(x);
    if (!(eps > 0 && isfinite(eps)) || n_dims < 1 || n_dims > shape.rank) {
        wf_fail_step(ctx, WEFT_ERR_INVALID,
                     "layer_norm: eps %g, the last %d dimensions of rank %d: eps must be above 0, "
                     "the dimensions 1 to the rank",
                     eps, n_dims, shape.rank);
        return NULL;
    }
    weft_shape last = {.rank = n_dims};
    for (int i = 0; i < n_dims; i++)
        last.dim[i] = shape.dim[shape.rank - n_dims + i];
    wf_record_affine(ctx, x, last, &gamma, &beta);
    const layer_norm_attrs a = {n_dims, eps};
    return wf_record(&wf_op_layer_norm, &a, NULL, 3, (weft_tensor *[]){x, gamma, beta}, NULL);
}
