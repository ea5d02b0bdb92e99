/* What the ops of 2-D pooling share: see pool2d.h. */
#include "engine/graph/ops/pool2d.h"

#include "kernels/eltwise/eltwise.h"

/* limit of every size, so that the kernels' int arithmetic cannot overflow */
enum { LIMIT = 1 << 28 };

wf_pool2d_attrs wf_pool2d_from(const weft_pool2d_opts *opts)
{
    wf_pool2d_attrs a = {0};
    if (!opts)
        return a; /* a kernel of 0, which wf_pool2d_infer refuses */
    for (int i = 0; i < 2; i++) {
        a.kernel[i] = opts->kernel[i];
        a.stride[i] = opts->stride[i] ? opts->stride[i] : opts->kernel[i];
        a.padding[i] = opts->padding[i];
        a.dilation[i] = opts->dilation[i] ? opts->dilation[i] : 1;
    }
    a.ceil_mode = opts->ceil_mode;
    a.exclude_padding = opts->exclude_padding;
    return a;
}

static const char *const side[2] = {"height", "width"};

/* Output size along dimension i of a window that is not adaptive. */
static weft_status window_size(const wf_infer *f, wf_pool2d_attrs *a, int i)
{
    const int64_t k = a->kernel[i], s = a->stride[i], p = a->padding[i], d = a->dilation[i];
    const long long in = (long long)a->size[i];
    if (k == 0)
        return wf_infer_fail(f, WEFT_ERR_INVALID,
                             "the options have no kernel (%s): expected at least 1", side[i]);
    if (k < 1 || s < 1 || d < 1 || p < 0)
        return wf_infer_fail(f, WEFT_ERR_INVALID,
                             "kernel %lld, stride %lld and dilation %lld must be at least 1, "
                             "padding %lld at least 0 (%s)",
                             (long long)k, (long long)s, (long long)d, (long long)p, side[i]);
    if (p > k / 2)
        return wf_infer_fail(f, WEFT_ERR_INVALID,
                             "padding %lld is more than half of the kernel's %s %lld", (long long)p,
                             side[i], (long long)k);
    if (in > LIMIT || s > LIMIT || k > LIMIT || d > LIMIT || d * k > LIMIT)
        return wf_infer_fail(f, WEFT_ERR_SHAPE,
                             "%s %lld, kernel %lld, stride %lld or dilation %lld is too large",
                             side[i], in, (long long)k, (long long)s, (long long)d);
    a->out[i] = wf_pool_size(a->size[i], (int)k, (int)s, (int)p, (int)d, a->ceil_mode);
    if (a->out[i] < 1)
        return wf_infer_fail(f, WEFT_ERR_SHAPE,
                             "the output is empty: %s %lld with padding %lld is smaller than the "
                             "kernel's %lld",
                             side[i], in, (long long)p, (long long)(d * (k - 1) + 1));
    return WEFT_OK;
}

static weft_status check_rank(const wf_infer *f)
{
    char text[WF_SHAPE_TEXT];
    const weft_shape *x = &f->in[0].shape;
    WF_TRY(wf_infer_float(f, 0));
    if (x->rank != 4)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input is %s, expected (N, C, H, W) or (C, H, W)",
                             weft_shape_format(*x, text, sizeof text));
    if (x->dim[1] < 1 || x->dim[2] < 1 || x->dim[3] < 1)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input is %s: only N may be 0",
                             weft_shape_format(*x, text, sizeof text));
    if (x->dim[1] > LIMIT || x->dim[2] > LIMIT || x->dim[3] > LIMIT)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input %s is too large",
                             weft_shape_format(*x, text, sizeof text));
    return WEFT_OK;
}

weft_status wf_pool2d_infer(wf_infer *f)
{
    wf_pool2d_attrs *a = f->attrs;
    const weft_shape *x = &f->in[0].shape;
    WF_TRY(check_rank(f));
    for (int i = 0; i < 2; i++) {
        a->size[i] = x->dim[2 + i];
        if (!a->adaptive)
            WF_TRY(window_size(f, a, i));
        else if (a->out[i] < 1 || a->out[i] > LIMIT)
            return wf_infer_fail(f, WEFT_ERR_INVALID, "output %s %lld must be at least 1", side[i],
                                 (long long)a->out[i]);
    }
    f->out[0] = (wf_type){f->in[0].dtype, WEFT_SHAPE(x->dim[0], x->dim[1], a->out[0], a->out[1])};
    if (weft_shape_count(f->out[0].shape) < 0)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "the output is too large");
    return WEFT_OK;
}

weft_status wf_pool2d_infer_backward(wf_infer *f)
{
    const wf_pool2d_attrs *a = f->attrs;
    const int64_t *dy = f->in[0].shape.dim;
    WF_TRY(check_rank(f));
    if (dy[2] != a->out[0] || dy[3] != a->out[1])
        return wf_infer_fail(f, WEFT_ERR_SHAPE,
                             "the output's gradient must have the output's shape");
    f->out[0] = (wf_type){f->in[0].dtype, WEFT_SHAPE(dy[0], dy[1], a->size[0], a->size[1])};
    return WEFT_OK;
}

wf_pool wf_pool2d_geometry(const wf_pool2d_attrs *a, wf_act image, bool average)
{
    wf_pool g = {.in = {image.C, (int)a->size[0], (int)a->size[1], image.block},
                 .P = (int)a->out[0],
                 .Q = (int)a->out[1],
                 .average = average,
                 .adaptive = a->adaptive,
                 .exclude_padding = a->exclude_padding};
    for (int i = 0; i < 2; i++) {
        g.kernel[i] = (int)a->kernel[i];
        g.stride[i] = (int)a->stride[i];
        g.padding[i] = (int)a->padding[i];
        g.dilation[i] = (int)a->dilation[i];
    }
    return g;
}

const wf_pool_fns *wf_pool2d_kernels(wf_lower *l, const wf_pool *g, weft_dtype dtype)
{
    const wf_pool_fns *fns = wf_pool_find(l->isa, dtype, g);
    if (!fns)
        wf_lower_fail(l, WEFT_ERR_UNSUPPORTED, "no kernel for %s", weft_dtype_name(dtype));
    return fns;
}

/* ---- average -------------------------------------------------------------------------------- */

typedef struct avg_args {
    wf_pool g;
    wf_buf from, to; /* x, y or dy, dx */
    /* casts where one side is one f32 pixel and the other a bf16 image; else NULL */
    wf_cast_fn in, out;
    size_t pixel; /* elements of an image of one pixel */
    void (*run)(const wf_pool *g, const void *from, void *to);
} avg_args;

static weft_status run_avg(const wf_tile *t, const void *vargs, int64_t n)
{
    const avg_args *a = vargs;
    const void *from = wf_image(t, a->from, n);
    void *to = wf_image(t, a->to, n);
    if (a->in)
        a->in(a->pixel, from, t->scratch);
    a->run(&a->g, a->in ? t->scratch : from, a->out ? t->scratch : to);
    if (a->out)
        a->out(a->pixel, t->scratch, to);
    return WEFT_OK;
}

static weft_status lower_avg(wf_lower *l, bool backward)
{
    wf_operand from = wf_lower_in(l, 0), to = wf_lower_out(l, 0);
    const bool mixed = from.dtype != to.dtype;
    const wf_operand *map = from.dtype == WEFT_BF16 ? &from : &to;
    const wf_operand *pixel = map == &from ? &to : &from;
    avg_args a = {
        .g = wf_pool2d_geometry(l->attrs, from.act, true), .from = from.buf, .to = to.buf};
    const wf_pool_fns *fns = wf_pool2d_kernels(l, &a.g, mixed ? map->dtype : from.dtype);
    if (!fns)
        return WEFT_ERR_UNSUPPORTED;
    a.run = backward ? fns->avg_backward : fns->avg_forward;
    if (mixed) {
        a.pixel = wf_act_count(pixel->act);
        a.in = pixel == &from ? wf_cast_get(pixel->dtype, map->dtype) : NULL;
        a.out = pixel == &to ? wf_cast_get(map->dtype, pixel->dtype) : NULL;
    }
    wf_task *task = wf_lower_task(l, fns->name, run_avg, &a, sizeof a, from.N);
    wf_reads(task, from.buf, WF_TILED);
    wf_writes(task, to.buf, WF_TILED);
    wf_scratch(task, a.pixel * weft_dtype_size(map->dtype));
    const double n = (double)(wf_operand_count(&from) + wf_operand_count(&to));
    wf_cost(task, n, (double)from.N * (double)(from.image_bytes + to.image_bytes));
    return wf_lowered(l, task);
}

weft_status wf_pool2d_lower_avg(wf_lower *l)
{
    return lower_avg(l, false);
}
weft_status wf_pool2d_lower_avg_backward(wf_lower *l)
{
    return lower_avg(l, true);
}

weft_status wf_pool2d_grad_avg(wf_grad *g)
{
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_avg_pool2d_backward, g->attrs, NULL, 1, &g->dout[0], NULL);
    return wf_step_status(g->ctx);
}
