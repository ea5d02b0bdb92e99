/* upsample2d: resizes images, nearest or bilinear; and its gradient. */
#include "engine/graph/ops/common.h"
#include "engine/base/alloc.h"
#include "kernels/upsample/upsample.h"

typedef struct upsample_attrs {
    int64_t out[2]; /* P, Q */
    int64_t in[2];  /* backward: H, W */
    int64_t nearest, align_corners;
} upsample_attrs;

static weft_status infer(wf_infer *f)
{
    const upsample_attrs *a = f->attrs;
    const weft_shape *x = &f->in[0].shape;
    char text[WF_SHAPE_TEXT];
    WF_TRY(wf_infer_float(f, 0));
    if (x->rank != 4)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input is %s, expected (N, C, H, W)",
                             weft_shape_format(*x, text, sizeof(text)));
    if (x->dim[1] < 1 || x->dim[2] < 1 || x->dim[3] < 1)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input is %s: only N may be 0",
                             weft_shape_format(*x, text, sizeof(text)));
    for (int i = 0; i < 2; i++)
        if (a->out[i] < 1 || a->out[i] > INT32_MAX || x->dim[2 + i] > INT32_MAX)
            return wf_infer_fail(
                f, WEFT_ERR_SHAPE,
                "%s cannot be resized to %lld x %lld pixels: sides must be at least 1 "
                "and fit an int",
                weft_shape_format(*x, text, sizeof(text)), (long long)a->out[0],
                (long long)a->out[1]);
    f->out[0] = f->in[0];
    for (int i = 0; i < 2; i++)
        f->out[0].shape.dim[2 + i] = a->out[i];
    return WEFT_OK;
}

static weft_status infer_backward(wf_infer *f)
{
    const upsample_attrs *a = f->attrs;
    f->out[0] = f->in[0];
    for (int i = 0; i < 2; i++)
        f->out[0].shape.dim[2 + i] = a->in[i];
    return WEFT_OK;
}

typedef struct upsample_args {
    wf_buf from, to;
    wf_upsample g;
    void (*run)(const wf_upsample *g, const void *from, void *to);
} upsample_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const upsample_args *a = vargs;
    a->run(&a->g, wf_image(t, a->from, tile), wf_image(t, a->to, tile));
    return WEFT_OK;
}

static weft_status lower_either(wf_lower *l, bool backward)
{
    const upsample_attrs *a = l->attrs;
    const wf_operand from = wf_lower_in(l, 0), to = wf_lower_out(l, 0);
    const wf_operand *x = backward ? &to : &from, *y = backward ? &from : &to;
    const int P = y->act.H, Q = y->act.W;
    const wf_upsample_fns *k = wf_upsample_find(l->isa, x->dtype, x->act.block);
    wf_upsample_tap *taps = wf_alloc_array((size_t)P + (size_t)Q, sizeof(*taps));
    if (!taps)
        return wf_lower_fail(l, WEFT_ERR_NOMEM, "no memory for %d + %d taps", P, Q);
    WF_TRY(wf_lower_own(l, taps, wf_free));
    wf_upsample_taps(a->nearest, a->align_corners, x->dtype, x->act.H, P, taps);
    wf_upsample_taps(a->nearest, a->align_corners, x->dtype, x->act.W, Q, taps + P);
    const upsample_args args = {
        .from = from.buf,
        .to = to.buf,
        .g = {x->act, P, Q, a->nearest, taps, taps + P},
        .run = backward ? k->backward : k->forward,
    };
    wf_task *task = wf_lower_task(l, k->name, run, &args, sizeof(args), to.N);
    wf_reads(task, from.buf, WF_TILED);
    wf_writes(task, to.buf, WF_TILED);
    wf_cost(task, (a->nearest ? 1.0 : 8.0) * (double)wf_operand_count(y),
            (double)x->N * (double)(x->image_bytes + y->image_bytes));
    return wf_lowered(l, task);
}

static weft_status lower(wf_lower *l)
{
    return lower_either(l, false);
}

static weft_status lower_backward(wf_lower *l)
{
    return lower_either(l, true);
}

static weft_status grad(wf_grad *g)
{
    upsample_attrs a = *(const upsample_attrs *)g->attrs;
    const weft_shape x = weft_tensor_shape(g->in[0]);
    a.in[0] = x.dim[2];
    a.in[1] = x.dim[3];
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_upsample2d_backward, &a, NULL, 1, g->dout, NULL);
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const int *c = user;
    return weft_upsample2d(in[0], c[0], c[1], (weft_upsample_mode)c[2], c[3]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const int to[][4] = {
        {6, 8, WEFT_UPSAMPLE_NEAREST, false},  {5, 3, WEFT_UPSAMPLE_NEAREST, false},
        {6, 8, WEFT_UPSAMPLE_BILINEAR, false}, {7, 3, WEFT_UPSAMPLE_BILINEAR, true},
        {1, 1, WEFT_UPSAMPLE_BILINEAR, true},
    };
    static const wf_sample_case cases[] = {
        {"nearest, twice as large", 1, {{4, {2, 3, 3, 4}}}, apply, to[0]},
        {"nearest, larger and smaller", 1, {{4, {1, 9, 3, 4}}}, apply, to[1]},
        {"bilinear, twice as large", 1, {{4, {2, 3, 3, 4}}}, apply, to[2]},
        {"bilinear by corners", 1, {{4, {2, 17, 3, 4}}}, apply, to[3]},
        {"one pixel", 1, {{4, {2, 3, 3, 4}}}, apply, to[4]},
    };
    return wf_sample_from(ctx, cases, 5, index, s);
}

const wf_op wf_op_upsample2d = {
    .name = "upsample2d",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(upsample_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

const wf_op wf_op_upsample2d_backward = {
    .name = "upsample2d_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(upsample_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer_backward,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_backward,
    .no_sample_reason = "upsample2d's samples run it",
};

weft_tensor *weft_upsample2d(weft_tensor *x, int out_h, int out_w, weft_upsample_mode mode,
                             bool align_corners)
{
    weft_context *ctx = wf_record_context("upsample2d", 1, 1, &x);
    if (!ctx)
        return NULL;
    if (mode != WEFT_UPSAMPLE_NEAREST && mode != WEFT_UPSAMPLE_BILINEAR) {
        wf_fail_step(ctx, WEFT_ERR_INVALID, "upsample2d: no mode has the number %d", (int)mode);
        return NULL;
    }
    if (align_corners && mode == WEFT_UPSAMPLE_NEAREST) {
        wf_fail_step(ctx, WEFT_ERR_INVALID,
                     "upsample2d: corners are aligned by the bilinear mode only");
        return NULL;
    }
    upsample_attrs a = {.out = {out_h, out_w},
                        .nearest = mode == WEFT_UPSAMPLE_NEAREST,
                        .align_corners = align_corners};
    return wf_record(&wf_op_upsample2d, &a, NULL, 1, &x, NULL);
}
