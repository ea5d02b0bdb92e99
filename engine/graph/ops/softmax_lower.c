/* Shape inference and lowering shared by the softmax ops: see softmax_lower.h. */
#include "engine/graph/ops/softmax_lower.h"

weft_status wf_softmax_infer(wf_infer *f)
{
    wf_softmax_attrs *a = f->attrs;
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
    size_t outer, K, inner, per_tile, row_bytes; /* row: one outer index */
    wf_softmax_fn forward;
    wf_softmax_backward_fn backward;
} softmax_args;

static void run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const softmax_args *g = vargs;
    size_t first = g->tiled ? 0 : (size_t)tile * g->per_tile;
    size_t outer = g->outer - first < g->per_tile ? g->outer - first : g->per_tile;
    size_t at = first * g->row_bytes;
    char *x = g->tiled ? wf_image(t, g->x, tile) : (char *)wf_data(t, g->x) + at;
    char *y = g->tiled ? wf_image(t, g->y, tile) : (char *)wf_data(t, g->y) + at;
    if (g->forward) {
        g->forward(outer, g->K, g->inner, x, y);
        return;
    }
    char *dy = g->tiled ? wf_image(t, g->dy, tile) : (char *)wf_data(t, g->dy) + at;
    g->backward(outer, g->K, g->inner, x, dy, y);
}

weft_status wf_softmax_lower(wf_lower *l, wf_softmax_fn forward, wf_softmax_backward_fn backward)
{
    int dim = (int)((const wf_softmax_attrs *)l->attrs)->dim;
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    wf_cut cut = wf_cut_images(&y);
    softmax_args g = {
        .x = x.buf,
        .dy = backward ? wf_lower_in(l, 1).buf : -1,
        .y = y.buf,
        .tiled = dim > 0 && cut.access == WF_TILED,
        .K = (size_t)y.shape.dim[dim],
        .inner = (size_t)wf_dims_count(&y.shape, dim + 1, y.shape.rank),
        .forward = forward,
        .backward = backward,
    };
    size_t row = g.K * g.inner;
    g.outer = (size_t)wf_dims_count(&y.shape, g.tiled ? 1 : 0, dim);
    g.row_bytes = row * weft_dtype_size(y.dtype);
    g.per_tile = g.tiled ? g.outer : (WF_CHUNK + row - 1) / row;
    cut.tiles = g.tiled ? y.N : (int64_t)((g.outer + g.per_tile - 1) / g.per_tile);
    cut.access = g.tiled ? WF_TILED : WF_WHOLE;
    const wf_loss *k = wf_loss_get(y.dtype, l->isa);
    return wf_lowered(l, wf_lower_cut(l, k->name, run, &g, sizeof(g), &cut, 20.0));
}

bool wf_softmax_sample(weft_context *ctx, int index, wf_sample *s,
                       weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n))
{
    static const int dims[] = {0, 1, 2, -1};
    const wf_sample_case cases[] = {
        {"rows", 1, {{2, {3, 5}}}, apply, &dims[3]},
        {"channels", 1, {{4, {2, 4, 2, 1}}}, apply, &dims[1]},
        {"height", 1, {{4, {2, 2, 3, 2}}}, apply, &dims[2]},
        {"dimension 0", 1, {{3, {4, 2, 2}}}, apply, &dims[0]},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}
