/* max, min: the largest and the smallest element along a dimension. argmax, argmin: their
 * positions.
 *
 * A plain tensor is regarded as (outer, K, inner). A tile is one image, a run of outer rows, or,
 * where there is one row, a run of inner columns. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/dims.h"
#include "kernels/reduce/reduce.h"

typedef struct max_attrs {
    int64_t dim;
} max_attrs;

static weft_status infer(wf_infer *f)
{
    const int dim = (int)((const max_attrs *)f->attrs)->dim;
    const weft_shape *x = &f->in[0].shape;
    char text[WF_SHAPE_TEXT];
    WF_TRY(wf_infer_float(f, 0));
    if (x->dim[dim] == 0)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "%s has no elements along dimension %d",
                             weft_shape_format(*x, text, sizeof(text)), dim);
    const bool arg = f->op == &wf_op_argmax || f->op == &wf_op_argmin;
    f->out[0] = (wf_type){arg ? WEFT_I64 : f->in[0].dtype, wf_shape_kept(*x, 1u << dim, false)};
    return WEFT_OK;
}

typedef struct max_args {
    wf_buf x, y;
    bool tiled, least;
    wf_strides of;       /* of a whole tile */
    size_t rows;         /* all outer rows */
    size_t x_row, y_row; /* bytes of an outer row */
    size_t x_size, y_size;
    void (*value)(wf_strides s, bool least, const void *x, void *y);
    /* NULL: the op gives the value */
    void (*arg)(wf_strides s, bool least, const void *x, int64_t *y);
} max_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const max_args *g = vargs;
    wf_strides s = g->of;
    const char *x = g->tiled ? wf_image(t, g->x, tile) : wf_data(t, g->x);
    char *y = g->tiled ? wf_image(t, g->y, tile) : wf_data(t, g->y);
    if (!g->tiled && g->rows > 1) {
        const size_t first = (size_t)tile * s.outer;
        s.outer = g->rows - first < s.outer ? g->rows - first : s.outer;
        x += first * g->x_row;
        y += first * g->y_row;
    } else if (!g->tiled) {
        const size_t first = (size_t)tile * s.n;
        s.n = s.stride - first < s.n ? s.stride - first : s.n;
        x += first * g->x_size;
        y += first * g->y_size;
    }
    if (g->arg)
        g->arg(s, g->least, x, (int64_t *)y);
    else
        g->value(s, g->least, x, y);
    return WEFT_OK;
}

/* Fills in g->of. Returns the number of tiles. */
static int64_t cut(max_args *g, const weft_shape *x, int dim, int64_t images)
{
    wf_strides *s = &g->of;
    s->K = (size_t)x->dim[dim];
    s->n = s->stride = (size_t)wf_dims_count(x, dim + 1, x->rank);
    s->outer = g->rows = (size_t)wf_dims_count(x, g->tiled ? 1 : 0, dim);
    g->x_row = s->K * s->stride * g->x_size;
    g->y_row = s->stride * g->y_size;
    if (g->tiled)
        return images;
    const size_t row = s->K * s->n;
    if (g->rows > 1) {
        s->outer = row < WF_CHUNK ? WF_CHUNK / (row > 0 ? row : 1) : 1;
        return (int64_t)((g->rows + s->outer - 1) / s->outer);
    }
    enum { LINE = 64 }; /* elements: whole cache lines of every type */
    const size_t columns = WF_CHUNK / s->K / LINE * LINE;
    s->n = columns > LINE ? columns : LINE;
    return (int64_t)((s->stride + s->n - 1) / s->n);
}

static weft_status lower(wf_lower *l)
{
    const int dim = (int)((const max_attrs *)l->attrs)->dim;
    const wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    const wf_reduce *k = wf_reduce_get(x.dtype, l->isa);
    const bool arg = l->op == &wf_op_argmax || l->op == &wf_op_argmin;
    max_args g = {.x = x.buf,
                  .y = y.buf,
                  .tiled = dim > 0 && wf_cut_images(&x).access == WF_TILED,
                  .least = l->op == &wf_op_min || l->op == &wf_op_argmin,
                  .x_size = weft_dtype_size(x.dtype),
                  .y_size = weft_dtype_size(y.dtype),
                  .value = k->extreme,
                  .arg = arg ? k->arg : NULL};
    const int64_t tiles = cut(&g, &x.shape, dim, x.N);
    wf_task *task = wf_lower_task(l, k->name, run, &g, sizeof(g), tiles);
    wf_reads(task, x.buf, g.tiled ? WF_TILED : WF_WHOLE);
    wf_writes(task, y.buf, g.tiled ? WF_TILED : WF_WHOLE);
    wf_cost(task, (double)wf_operand_count(&x), (double)x.N * (double)x.image_bytes);
    return wf_lowered(l, task);
}

/* The elements that equal the result share its gradient evenly, as in torch.amax. */
static weft_status grad(wf_grad *g)
{
    if (!g->needs[0])
        return WEFT_OK;
    const unsigned bits = 1u << ((const max_attrs *)g->attrs)->dim;
    const weft_shape kept = wf_shape_kept(weft_tensor_shape(g->in[0]), bits, true);
    weft_tensor *y = wf_record_reshape(g->out[0], kept);
    weft_tensor *dy = wf_record_reshape(g->dout[0], kept);
    weft_tensor *equal = weft_eq(g->in[0], y);
    weft_tensor *count = weft_sum(equal, wf_dims_of(bits), true);
    g->din[0] = weft_mul(equal, weft_div(dy, count));
    return wf_step_status(g->ctx);
}

static weft_tensor *record(const wf_op *op, weft_tensor *x, weft_dims dims, bool keep)
{
    WF_SAY(op->name, 1, x);
    unsigned bits = 0;
    int dim = 0;
    if (!wf_record_dims(op->name, x, dims, &bits))
        return NULL;
    const weft_shape shape = weft_tensor_shape(x);
    for (int d = 0; d < shape.rank; d++)
        if (bits >> d & 1 && shape.dim[d] == 0) {
            char text[WF_SHAPE_TEXT];
            wf_fail_step(weft_tensor_context(x), WEFT_ERR_SHAPE,
                         "%s: %s has no elements along dimension %d", op->name,
                         weft_shape_format(shape, text, sizeof text), d);
            return NULL;
        }
    x = wf_record_one_dim(x, bits, &dim);
    weft_tensor *y = x ? wf_record(op, &(max_attrs){dim}, NULL, 1, &x, NULL) : NULL;
    return wf_record_reshape(y, wf_shape_kept(shape, bits, keep));
}

typedef struct max_case {
    weft_dims dims;
    bool keep;
} max_case;

static weft_tensor *apply_max(void *user, weft_tensor *const *in, int n)
{
    const max_case *c = user;
    return weft_max(in[0], c->dims, c->keep);
}

static weft_tensor *apply_min(void *user, weft_tensor *const *in, int n)
{
    const max_case *c = user;
    return weft_min(in[0], c->dims, c->keep);
}

static bool sample_of(weft_context *ctx, int index, wf_sample *s,
                      weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n))
{
    static const max_case all = {{-1, {0}}, false}, rows = {{1, {-1}}, false},
                          columns = {{1, {0}}, true}, pixels = {{2, {2, 3}}, true},
                          apart = {{2, {0, 2}}, false};
    const wf_sample_case cases[] = {
        {"everything", 1, {{3, {2, 3, 4}}}, apply, &all},
        {"rows", 1, {{2, {3, 5}}}, apply, &rows},
        {"columns", 1, {{2, {3, 5}}}, apply, &columns},
        {"a scalar", 1, {{0, {0}}}, apply, &all},
        {"pixels", 1, {{4, {2, 3, 2, 3}}}, apply, &pixels},
        {"dimensions 0 and 2", 1, {{4, {2, 3, 4, 2}}}, apply, &apart},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}

static bool sample_max(weft_context *ctx, int index, wf_sample *s)
{
    return sample_of(ctx, index, s, apply_max);
}

static bool sample_min(weft_context *ctx, int index, wf_sample *s)
{
    return sample_of(ctx, index, s, apply_min);
}

/* What the four ops have in common. */
#define ALONG_A_DIMENSION                                                                          \
    .of_nothing = WF_EMPTY_ZERO, .n_out = 1, .attr_size = sizeof(max_attrs),                       \
    .layout_rule = WF_LAYOUT_PLAIN, .infer = infer, .lower = lower
#define AN_INDEX                                                                                   \
    .no_grad_reason = "an index has no gradient",                                                  \
    .no_sample_reason = "it has no gradient; the value tests run it"

const wf_op wf_op_max = {.name = "max", ALONG_A_DIMENSION, .grad = grad, .sample = sample_max};
const wf_op wf_op_min = {.name = "min", ALONG_A_DIMENSION, .grad = grad, .sample = sample_min};
const wf_op wf_op_argmax = {.name = "argmax", ALONG_A_DIMENSION, AN_INDEX};
const wf_op wf_op_argmin = {.name = "argmin", ALONG_A_DIMENSION, AN_INDEX};

weft_tensor *weft_max(weft_tensor *x, weft_dims dims, bool keep)
{
    return record(&wf_op_max, x, dims, keep);
}

weft_tensor *weft_min(weft_tensor *x, weft_dims dims, bool keep)
{
    return record(&wf_op_min, x, dims, keep);
}

/* The index is along one dimension, or into the flattened tensor. */
static weft_tensor *record_arg(const wf_op *op, weft_tensor *x, weft_dims dims, bool keep)
{
    if (dims.n > 1 && x) {
        wf_fail_step(weft_tensor_context(x), WEFT_ERR_INVALID,
                     "%s: %d dimensions, expected one or WEFT_ALL_DIMS", op->name, dims.n);
        return NULL;
    }
    return record(op, x, dims, keep);
}

weft_tensor *weft_argmax(weft_tensor *x, weft_dims dims, bool keep)
{
    return record_arg(&wf_op_argmax, x, dims, keep);
}

weft_tensor *weft_argmin(weft_tensor *x, weft_dims dims, bool keep)
{
    return record_arg(&wf_op_argmin, x, dims, keep);
}
