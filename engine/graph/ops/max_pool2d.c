/* max_pool2d: the maximum of each window and, where x requires a gradient, its position.
 * max_pool2d_backward: the gradient, which goes to these positions. */
#include "engine/graph/ops/pool2d.h"

typedef struct max_args {
    wf_pool g;
    wf_buf x, y, index; /* backward: dx, dy; index -1: not needed */
    const wf_pool_fns *fns;
} max_args;

/* The type of the positions of the maxima, as a value of the graph: see Note [Groups of eight]. */
static wf_type index_type(const wf_pool2d_attrs *a, int64_t N, int64_t C)
{
    return (wf_type){wf_pool_index_dtype((int)a->kernel[0], (int)a->kernel[1]),
                     WEFT_SHAPE(N, (int64_t)wf_pool_index_count((int)C, a->out[0], a->out[1]))};
}

/* ---- backward: dy, index -> dx --------------------------------------------------------------- */

static weft_status run_backward(const wf_tile *t, const void *vargs, int64_t n)
{
    const max_args *a = vargs;
    a->fns->max_backward(&a->g, wf_image(t, a->y, n), wf_image(t, a->index, n),
                         wf_image(t, a->x, n));
    return WEFT_OK;
}

static weft_status lower_backward(wf_lower *l)
{
    wf_operand dy = wf_lower_in(l, 0), index = wf_lower_in(l, 1), dx = wf_lower_out(l, 0);
    max_args a = {wf_pool2d_geometry(l->attrs, dx.act, false), dx.buf, dy.buf, index.buf, NULL};
    a.fns = wf_pool2d_kernels(l, &a.g, dy.dtype);
    if (!a.fns)
        return WEFT_ERR_UNSUPPORTED;
    wf_task *task = wf_lower_task(l, a.fns->name, run_backward, &a, sizeof a, dy.N);
    wf_reads(task, dy.buf, WF_TILED);
    wf_reads(task, index.buf, WF_TILED);
    wf_writes(task, dx.buf, WF_TILED);
    const double n = (double)(wf_operand_count(&dx) + wf_operand_count(&dy));
    wf_cost(task, n, n * (double)weft_dtype_size(dy.dtype));
    return wf_lowered(l, task);
}

static weft_status infer_backward(wf_infer *f)
{
    WF_TRY(wf_pool2d_infer_backward(f));
    const int64_t *dy = f->in[0].shape.dim;
    const wf_type want = index_type(f->attrs, dy[0], dy[1]);
    if (f->in[1].dtype != want.dtype || !weft_shape_equal(f->in[1].shape, want.shape))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input 1 must have the positions of the maxima");
    return WEFT_OK;
}

const wf_op wf_op_max_pool2d_backward = {
    .name = "max_pool2d_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_pool2d_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer_backward,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_backward,
    .no_sample_reason = "max_pool2d's samples run it",
};

/* ---- forward: x -> y(, index) ---------------------------------------------------------------- */

typedef struct max_attrs {
    wf_pool2d_attrs pool; /* comes first, because wf_pool2d_infer completes it */
    int64_t want_index;
} max_attrs;

static weft_status run(const wf_tile *t, const void *vargs, int64_t n)
{
    const max_args *a = vargs;
    a->fns->max_forward(&a->g, wf_image(t, a->x, n), wf_image(t, a->y, n),
                        a->index >= 0 ? wf_image(t, a->index, n) : NULL);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    const max_attrs *attrs = l->attrs;
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    max_args a = {.g = wf_pool2d_geometry(&attrs->pool, x.act, false),
                  .x = x.buf,
                  .y = y.buf,
                  .index = attrs->want_index ? wf_lower_out(l, 1).buf : -1};
    a.fns = wf_pool2d_kernels(l, &a.g, x.dtype);
    if (!a.fns)
        return WEFT_ERR_UNSUPPORTED;
    wf_task *task = wf_lower_task(l, a.fns->name, run, &a, sizeof a, x.N);
    wf_reads(task, x.buf, WF_TILED);
    wf_writes(task, y.buf, WF_TILED);
    if (a.index >= 0)
        wf_writes(task, a.index, WF_TILED);
    const double window = (double)(attrs->pool.kernel[0] * attrs->pool.kernel[1]);
    const double n = (double)(wf_operand_count(&x) + wf_operand_count(&y));
    wf_cost(task, window * (double)wf_operand_count(&y), n * (double)weft_dtype_size(x.dtype));
    return wf_lowered(l, task);
}

static weft_status infer(wf_infer *f)
{
    max_attrs *a = f->attrs;
    WF_TRY(wf_pool2d_infer(f));
    const int64_t *x = f->in[0].shape.dim;
    f->n_out = a->want_index ? 2 : 1;
    if (a->want_index)
        f->out[1] = index_type(&a->pool, x[0], x[1]);
    return WEFT_OK;
}

static weft_status grad(wf_grad *g)
{
    const max_attrs *a = g->attrs;
    weft_tensor *in[] = {g->dout[0], g->out[1]};
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_max_pool2d_backward, &a->pool, NULL, 2, in, NULL);
    return wf_step_status(g->ctx);
}

weft_tensor *weft_max_pool2d(weft_tensor *x, const weft_pool2d_opts *opts)
{
    WF_SAY("max_pool2d", 1, x);
    bool one;
    if (!(x = wf_record_batched(x, &one)))
        return NULL;
    max_attrs a = {.pool = wf_pool2d_from(opts), .want_index = weft_requires_grad(x)};
    return wf_record_unbatched(wf_record(&wf_op_max_pool2d, &a, NULL, 1, &x, NULL), one);
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_max_pool2d(in[0], user);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const weft_pool2d_opts two = {.kernel = {2, 2}};
    static const weft_pool2d_opts meeting = {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}};
    static const weft_pool2d_opts cut = {.kernel = {2, 3}, .stride = {2, 2}, .ceil_mode = true};
    static const weft_pool2d_opts dilated = {
        .kernel = {2, 2}, .stride = {1, 1}, .padding = {1, 0}, .dilation = {2, 3}};
    static const weft_pool2d_opts wide = {
        .kernel = {17, 16}, .stride = {1, 1}, .padding = {8, 8}}; /* needs positions of type i32 */
    static const wf_sample_case cases[] = {
        {"2x2", 1, {{4, {2, 3, 4, 5}}}, apply, &two},
        {"windows that meet, padding", 1, {{4, {2, 2, 5, 6}}}, apply, &meeting},
        {"ceil_mode", 1, {{4, {1, 2, 5, 6}}}, apply, &cut},
        {"dilation", 1, {{4, {1, 2, 5, 6}}}, apply, &dilated},
        {"wide window", 1, {{4, {1, 1, 4, 5}}}, apply, &wide},
    };
    return wf_sample_from(ctx, cases, sizeof cases / sizeof *cases, index, s);
}

const wf_op wf_op_max_pool2d = {
    .name = "max_pool2d",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 2, /* y, index */
    .attr_size = sizeof(max_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};
