/* softmax: exp(x) / sum exp(x) along one dimension. log_softmax: x - log sum exp(x). And their
 * gradients.
 *
 * A plain tensor is regarded as (outer, K, inner). A tile is one image, or a run of outer rows. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/dims.h"
#include "kernels/loss/loss.h"

typedef struct softmax_attrs {
    int64_t dim; /* infer counts it from the front */
} softmax_attrs;

static weft_status infer(wf_infer *f)
{
    softmax_attrs *a = f->attrs;
    WF_TRY(wf_infer_same(f));
    int dim = wf_infer_dim(f, a->dim, f->in[0].shape.rank);
    if (dim < 0)
        return WEFT_ERR_SHAPE;
    a->dim = dim;
    return WEFT_OK;
}

typedef struct softmax_args {
    wf_buf x, dy, y; /* dy: backward only */
    bool tiled;
    size_t outer, K, inner, per_tile, row_bytes; /* row_bytes: of one outer row */
    void (*forward)(size_t outer, size_t K, size_t inner, const void *x, void *y);
    void (*backward)(size_t outer, size_t K, size_t inner, const void *y, const void *dy, void *dx);
} softmax_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const softmax_args *g = vargs;
    size_t first = g->tiled ? 0 : (size_t)tile * g->per_tile;
    size_t outer = g->outer - first < g->per_tile ? g->outer - first : g->per_tile;
    size_t at = first * g->row_bytes;
    char *x = g->tiled ? wf_image(t, g->x, tile) : (char *)wf_data(t, g->x) + at;
    char *y = g->tiled ? wf_image(t, g->y, tile) : (char *)wf_data(t, g->y) + at;
    if (g->forward) {
        g->forward(outer, g->K, g->inner, x, y);
        return WEFT_OK;
    }
    char *dy = g->tiled ? wf_image(t, g->dy, tile) : (char *)wf_data(t, g->dy) + at;
    g->backward(outer, g->K, g->inner, x, dy, y);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    int dim = (int)((const softmax_attrs *)l->attrs)->dim;
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    const wf_loss *k = wf_loss_get(y.dtype, l->isa);
    const bool backward = l->n_in == 2;
    wf_cut cut = wf_cut_images(&y);
    softmax_args g = {
        .x = x.buf,
        .dy = backward ? wf_lower_in(l, 1).buf : -1,
        .y = y.buf,
        .tiled = dim > 0 && cut.access == WF_TILED,
        .K = (size_t)y.shape.dim[dim],
        .inner = (size_t)wf_dims_count(&y.shape, dim + 1, y.shape.rank),
    };
    if (l->op == &wf_op_softmax || l->op == &wf_op_log_softmax)
        g.forward = l->op == &wf_op_softmax ? k->softmax : k->log_softmax;
    else
        g.backward =
            l->op == &wf_op_softmax_backward ? k->softmax_backward : k->log_softmax_backward;
    size_t row = g.K * g.inner;
    g.outer = (size_t)wf_dims_count(&y.shape, g.tiled ? 1 : 0, dim);
    g.row_bytes = row * weft_dtype_size(y.dtype);
    g.per_tile = g.tiled ? g.outer : (WF_CHUNK + row - 1) / row;
    cut.tiles = g.tiled ? y.N : (int64_t)((g.outer + g.per_tile - 1) / g.per_tile);
    cut.access = g.tiled ? WF_TILED : WF_WHOLE;
    return wf_lowered(l, wf_lower_cut(l, k->name, run, &g, sizeof(g), &cut, 20.0));
}

static weft_status grad(wf_grad *g)
{
    const wf_op *backward =
        g->op == &wf_op_softmax ? &wf_op_softmax_backward : &wf_op_log_softmax_backward;
    if (g->needs[0])
        g->din[0] =
            wf_record(backward, g->attrs, NULL, 2, (weft_tensor *[]){g->out[0], g->dout[0]}, NULL);
    return WEFT_OK;
}

static bool sample_of(weft_context *ctx, int index, wf_sample *s,
                      weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n))
{
    /* `user` of apply points to the dimensions. */
    static const weft_dims dims[] = {{1, {0}},    {1, {1}},     {1, {2}},  {1, {-1}},
                                     {2, {3, 2}}, {2, {-2, 0}}, {-1, {0}}, {1, {0}}};
    const wf_sample_case cases[] = {
        {"rows", 1, {{2, {3, 5}}}, apply, &dims[3]},
        {"channels", 1, {{4, {2, 4, 2, 1}}}, apply, &dims[1]},
        {"height", 1, {{4, {2, 2, 3, 2}}}, apply, &dims[2]},
        {"dimension 0", 1, {{3, {4, 2, 2}}}, apply, &dims[0]},
        {"pixels", 1, {{4, {2, 2, 3, 2}}}, apply, &dims[4]},
        {"dimensions 0 and 1", 1, {{3, {2, 3, 2}}}, apply, &dims[5]},
        {"dimensions 0 and 2", 1, {{4, {2, 3, 2, 2}}}, apply, &dims[5]},
        {"everything", 1, {{3, {2, 3, 2}}}, apply, &dims[6]},
        {"a scalar", 1, {{0, {0}}}, apply, &dims[7]},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}

/* Several dimensions are merged into one first. */
static weft_tensor *record(const wf_op *op, weft_tensor *x, weft_dims dims)
{
    WF_SAY(op->name, 1, x);
    unsigned bits = 0;
    int dim = 0;
    if (!wf_record_dims(op->name, x, dims, &bits))
        return NULL;
    const weft_shape shape = weft_tensor_shape(x);
    x = wf_record_one_dim(x, bits, &dim);
    weft_tensor *y = x ? wf_record(op, &(softmax_attrs){dim}, NULL, 1, &x, NULL) : NULL;
    return wf_record_dims_back(y, bits, shape);
}

static weft_tensor *apply_softmax(void *user, weft_tensor *const *in, int n)
{
    return weft_softmax(in[0], *(const weft_dims *)user);
}

static bool sample_softmax(weft_context *ctx, int index, wf_sample *s)
{
    return sample_of(ctx, index, s, apply_softmax);
}

static weft_tensor *apply_log_softmax(void *user, weft_tensor *const *in, int n)
{
    return weft_log_softmax(in[0], *(const weft_dims *)user);
}

static bool sample_log_softmax(weft_context *ctx, int index, wf_sample *s)
{
    return sample_of(ctx, index, s, apply_log_softmax);
}

/* What the four ops have in common. The backward ops' inputs: the forward output, its gradient. */
#define ALONG_A_DIMENSION                                                                          \
    .of_nothing = WF_EMPTY_ZERO, .n_out = 1, .attr_size = sizeof(softmax_attrs),                   \
    .layout_rule = WF_LAYOUT_PLAIN, .infer = infer, .lower = lower
#define BACKWARD                                                                                   \
    .inplace = {2}, .no_grad_reason = "second derivatives are not built",                          \
    .no_sample_reason = "the samples of softmax and log_softmax run it"

const wf_op wf_op_softmax = {
    .name = "softmax", ALONG_A_DIMENSION, .inplace = {1}, .grad = grad, .sample = sample_softmax};
const wf_op wf_op_log_softmax = {.name = "log_softmax",
                                 ALONG_A_DIMENSION,
                                 .inplace = {1},
                                 .grad = grad,
                                 .sample = sample_log_softmax};
const wf_op wf_op_softmax_backward = {.name = "softmax_backward", ALONG_A_DIMENSION, BACKWARD};
const wf_op wf_op_log_softmax_backward = {
    .name = "log_softmax_backward", ALONG_A_DIMENSION, BACKWARD};

weft_tensor *weft_softmax(weft_tensor *x, weft_dims dims)
{
    return record(&wf_op_softmax, x, dims);
}

weft_tensor *weft_log_softmax(weft_tensor *x, weft_dims dims)
{
    return record(&wf_op_log_softmax, x, dims);
}
