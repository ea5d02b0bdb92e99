/* sum, mean: over any set of dimensions. The order of additions is that of
 * Note [Fixed reduction trees]: first inside each image, then over images.
 *
 * The dimensions of an image (all except dimension 0) are merged into groups that are alternately
 * reduced and kept. The last reduced group is summed in the element type, in ranges of fixed
 * length; the earlier reduced groups add up the doubles that result. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/dims.h"
#include "kernels/reduce/reduce.h"

typedef struct sum_attrs {
    int64_t dims; /* bit i: dimension i is reduced */
    int64_t keep;
} sum_attrs;

static bool reduced(int64_t dims, int i)
{
    return dims >> i & 1;
}

static weft_status infer(wf_infer *f)
{
    const sum_attrs *a = f->attrs;
    WF_TRY(wf_infer_float(f, 0));
    const weft_shape *x = &f->in[0].shape;
    f->out[0] = (wf_type){f->in[0].dtype, wf_shape_kept(*x, (unsigned)a->dims, a->keep)};
    return WEFT_OK;
}

/* Whether each channel of an image becomes one sum: only this case reads blocked images. */
static bool per_channel(const weft_shape *x, int64_t dims)
{
    return x->rank == 4 && (dims & ~1) == 0xc;
}

static int layout(const wf_lower *l, int i, const int *in_block, int block)
{
    const sum_attrs *a = l->attrs;
    wf_operand x = wf_lower_in(l, 0);
    return i == 0 && per_channel(&x.shape, a->dims) ? in_block[0] : 1;
}

/* An image's dimensions in groups. Group k has size[k] elements. Groups with odd k are kept, the
 * others are reduced; group 0 and the last may have size 1. */
typedef struct groups {
    int n;
    size_t size[WEFT_MAX_RANK + 1];
    size_t kept;    /* number of results of an image */
    size_t partial; /* number of doubles of scratch */
} groups;

static groups group_dims(const weft_shape *x, int64_t dims)
{
    groups g = {.n = 1, .size = {1}, .kept = 1};
    for (int i = 1; i < x->rank; i++) {
        if (x->dim[i] == 1)
            continue;
        bool kept = !reduced(dims, i);
        if (kept != (bool)((g.n - 1) % 2))
            g.size[g.n++] = 1;
        g.size[g.n - 1] *= (size_t)x->dim[i];
        g.kept *= kept ? (size_t)x->dim[i] : 1;
    }
    size_t all = 1;
    for (int k = 0; k < g.n; k++)
        all *= g.size[k];
    g.partial = g.n % 2 ? all / g.size[g.n - 1] : g.n > 1 ? all / g.size[g.n - 2] : all;
    return g;
}

typedef struct sum_args {
    /* partial: one partial sum in double for each image; -1 where images are not added up */
    wf_buf x, y, partial;
    groups g;
    wf_act act; /* by_channel: describes the image in memory */
    bool by_channel;
    weft_dtype from, dtype; /* of x, of y */
    double count;           /* the divisor: 1 for sums */
    /* second task: images, distance between them, columns of a tile */
    size_t rows, stride, columns;
    size_t width; /* all columns */
    const wf_reduce *kernels;
} sum_args;

static void store(weft_dtype dtype, size_t n, const double *sums, double count, void *y, size_t at)
{
    for (size_t j = 0; j < n; j++)
        wf_float_set(dtype, y, (int64_t)(at + j), sums[j] / count);
}

/* Writes the sums of one image, g->kept doubles, to y, which has room for g->partial. */
static void reduce_image(const sum_args *s, const void *x, double *y)
{
    const groups *g = &s->g;
    int n = g->n;
    if (s->by_channel) {
        s->kernels->channels(s->act, x, y);
        return;
    }
    if (n % 2) { /* ends in a reduced group */
        n--;
        wf_act rows = {(int)g->partial, (int)g->size[n], 1, 1};
        s->kernels->channels(rows, x, y);
    } else { /* ends in a kept group, which follows a reduced one */
        size_t rows = g->size[n - 2], columns = g->size[n - 1], size = weft_dtype_size(s->from);
        size_t outer = g->partial / columns;
        for (size_t o = 0; o < outer; o++)
            s->kernels->columns(rows, columns, columns, (const char *)x + o * rows * columns * size,
                                y + o * columns);
    }
    /* y now has groups [0, m) and `inner` kept elements of the groups after them. This works in
     * place: a merge writes below what it still has to read. */
    size_t inner = n == g->n ? g->size[n - 1] : 1;
    int m = n == g->n ? n - 2 : n;
    while (m > 0) {
        m--;
        if (m % 2) {
            inner *= g->size[m];
            continue;
        }
        size_t outer = 1;
        for (int k = 0; k < m; k++)
            outer *= g->size[k];
        if (g->size[m] > 1)
            for (size_t o = 0; o < outer; o++)
                wf_merge(g->size[m], inner, inner, y + o * g->size[m] * inner, y + o * inner);
    }
}

static weft_status run_image(const wf_tile *t, const void *vargs, int64_t tile)
{
    const sum_args *s = vargs;
    double *sums = t->scratch;
    reduce_image(s, wf_image(t, s->x, tile), sums);
    if (s->partial >= 0)
        store(WEFT_F64, s->g.kept, sums, 1.0, wf_image(t, s->partial, tile), 0);
    else
        store(s->dtype, s->g.kept, sums, s->count, wf_image(t, s->y, tile), 0);
    return WEFT_OK;
}

/* Adds up the images' partial sums to the results. */
static weft_status run_merge(const wf_tile *t, const void *vargs, int64_t tile)
{
    const sum_args *s = vargs;
    double sums[256];
    size_t at = (size_t)tile * s->columns;
    size_t n = s->width - at < s->columns ? s->width - at : s->columns;
    size_t stride = s->rows > 1 ? t->bufs[s->partial].image_stride / sizeof(double) : 0;
    wf_merge(s->rows, stride, n, (const double *)wf_data(t, s->partial) + at, sums);
    store(s->dtype, n, sums, s->count, wf_data(t, s->y), at);
    return WEFT_OK;
}

/* Only dimension 0 is reduced: sums the columns of the matrix (images, elements of an image). */
static weft_status run_columns(const wf_tile *t, const void *vargs, int64_t tile)
{
    const sum_args *s = vargs;
    double sums[256];
    size_t at = (size_t)tile * s->columns;
    size_t n = s->width - at < s->columns ? s->width - at : s->columns;
    const char *x = wf_data(t, s->x);
    if (s->width == 1)
        sums[0] = s->kernels->run(s->rows, x);
    else
        s->kernels->columns(s->rows, s->width, n, x + at * weft_dtype_size(s->from), sums);
    store(s->dtype, n, sums, s->count, wf_data(t, s->y), at);
    return WEFT_OK;
}

static weft_status lower_columns(wf_lower *l, sum_args *s, const wf_operand *x)
{
    s->width = wf_act_count(x->act);
    int64_t tiles = (int64_t)((s->width + s->columns - 1) / s->columns);
    wf_task *task = wf_lower_task(l, s->kernels->name, run_columns, s, sizeof(*s), tiles);
    wf_reads(task, s->x, WF_WHOLE);
    wf_writes(task, s->y, WF_WHOLE);
    wf_cost(task, (double)wf_operand_count(x), (double)x->N * (double)x->image_bytes);
    return wf_lowered(l, task);
}

static weft_status lower_any(wf_lower *l, int64_t dims, bool mean)
{
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    sum_args s = {
        .x = x.buf,
        .y = y.buf,
        .partial = -1,
        .g = group_dims(&x.shape, dims),
        .act = x.act,
        .by_channel = per_channel(&x.shape, dims),
        .from = x.dtype,
        .dtype = y.dtype,
        .count = mean ? (double)weft_shape_count(x.shape) / (double)weft_shape_count(y.shape) : 1.0,
        .rows = (size_t)x.N,
        .columns = 256,
        .kernels = wf_reduce_get(x.dtype, l->isa),
    };
    bool over_images = x.shape.rank == 0 || reduced(dims, 0);
    if (over_images && s.g.kept == wf_act_count(x.act))
        return lower_columns(l, &s, &x);
    if (s.by_channel)
        s.g.partial = s.g.kept;
    if (over_images) {
        s.width = s.g.kept;
        s.partial = wf_lower_temp(l, x.N, s.g.kept * sizeof(double));
        if (s.partial < 0)
            return WEFT_ERR_NOMEM;
    }
    wf_task *task = wf_lower_task(l, s.kernels->name, run_image, &s, sizeof(s), x.N);
    wf_reads(task, x.buf, WF_TILED);
    wf_writes(task, over_images ? s.partial : y.buf, WF_TILED);
    wf_scratch(task, s.g.partial * sizeof(double));
    wf_cost(task, (double)wf_operand_count(&x), (double)x.N * (double)x.image_bytes);
    if (!over_images)
        return wf_lowered(l, task);
    int64_t tiles = (int64_t)((s.width + s.columns - 1) / s.columns);
    task = wf_lower_task(l, "reduce:merge", run_merge, &s, sizeof(s), tiles);
    wf_reads(task, s.partial, WF_WHOLE);
    wf_writes(task, y.buf, WF_WHOLE);
    wf_cost(task, (double)x.N * (double)s.width, 8.0 * (double)x.N * (double)s.width);
    return wf_lowered(l, task);
}

static weft_status lower_sum(wf_lower *l)
{
    return lower_any(l, ((const sum_attrs *)l->attrs)->dims, false);
}

static weft_status lower_mean(wf_lower *l)
{
    return lower_any(l, ((const sum_attrs *)l->attrs)->dims, true);
}

/* Gives the gradient the output's shape with every dimension kept, then broadcasts it to the
 * input's. */
static weft_status spread(wf_grad *g, weft_tensor *dy)
{
    const sum_attrs *a = g->attrs;
    weft_shape x = weft_tensor_shape(g->in[0]), kept = x;
    for (int i = 0; i < x.rank; i++)
        if (reduced(a->dims, i))
            kept.dim[i] = 1;
    weft_tensor *shaped = wf_record_reshape(dy, kept);
    g->din[0] = shaped ? weft_expand(shaped, x) : NULL;
    return g->din[0] ? WEFT_OK : wf_step_status(g->ctx);
}

static weft_status grad_sum(wf_grad *g)
{
    return g->needs[0] ? spread(g, g->dout[0]) : WEFT_OK;
}

static weft_status grad_mean(wf_grad *g)
{
    if (!g->needs[0])
        return WEFT_OK;
    double in = (double)weft_shape_count(weft_tensor_shape(g->in[0]));
    double out = (double)weft_shape_count(weft_tensor_shape(g->dout[0]));
    return spread(g, weft_scale(g->dout[0], out / in));
}

typedef struct sum_case {
    weft_dims dims;
    bool keep;
} sum_case;

static weft_tensor *apply_sum(void *user, weft_tensor *const *in, int n)
{
    const sum_case *c = user;
    return weft_sum(in[0], c->dims, c->keep);
}

static weft_tensor *apply_mean(void *user, weft_tensor *const *in, int n)
{
    const sum_case *c = user;
    return weft_mean(in[0], c->dims, c->keep);
}

static const sum_case case_all = {{-1, {0}}, false}, case_keep = {{3, {0, 2, 3}}, true},
                      case_2 = {{1, {2}}, false}, case_013 = {{3, {0, -2, -4}}, false},
                      case_1 = {{1, {-1}}, false}, case_0 = {{1, {0}}, false};

static bool sample_sum(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"everything", 1, {{4, {2, 3, 2, 2}}}, apply_sum, &case_all},
        {"per channel, kept", 1, {{4, {2, 3, 2, 2}}}, apply_sum, &case_keep},
        {"dimension 2", 1, {{4, {2, 3, 4, 2}}}, apply_sum, &case_2},
        {"dimensions 0, 1, 3", 1, {{5, {2, 2, 3, 2, 2}}}, apply_sum, &case_013},
        {"rows", 1, {{2, {3, 5}}}, apply_sum, &case_1},
        {"columns", 1, {{2, {3, 5}}}, apply_sum, &case_0},
        {"a scalar", 1, {{0, {0}}}, apply_sum, &case_all},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}

static bool sample_mean(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {
        {"everything", 1, {{4, {2, 3, 2, 2}}}, apply_mean, &case_all},
        {"per channel, kept", 1, {{4, {2, 3, 2, 2}}}, apply_mean, &case_keep},
        {"rows", 1, {{2, {3, 5}}}, apply_mean, &case_1},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}

const wf_op wf_op_sum = {
    .name = "sum",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(sum_attrs),
    .flags = WF_OP_BF16,
    .layout_rule = WF_LAYOUT_OWN,
    .layout = layout,
    .infer = infer,
    .grad = grad_sum,
    .lower = lower_sum,
    .sample = sample_sum,
};

const wf_op wf_op_mean = {
    .name = "mean",
    .of_nothing = WF_EMPTY_NAN,
    .n_out = 1,
    .attr_size = sizeof(sum_attrs),
    .flags = WF_OP_BF16,
    .layout_rule = WF_LAYOUT_OWN,
    .layout = layout,
    .infer = infer,
    .grad = grad_mean,
    .lower = lower_mean,
    .sample = sample_mean,
};

static weft_tensor *record(const wf_op *op, weft_tensor *x, weft_dims dims, bool keep)
{
    unsigned bits = 0;
    if (!wf_record_dims(op->name, x, dims, &bits))
        return NULL;
    return wf_record(op, &(sum_attrs){bits, keep}, NULL, 1, &x, NULL);
}

weft_tensor *weft_sum(weft_tensor *x, weft_dims dims, bool keep)
{
    return record(&wf_op_sum, x, dims, keep);
}

weft_tensor *weft_mean(weft_tensor *x, weft_dims dims, bool keep)
{
    return record(&wf_op_mean, x, dims, keep);
}
