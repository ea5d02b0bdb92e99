/* narrow: elements [start, start + length) along one dimension. pad (its gradient, internal): puts
 * elements there in a tensor that is zero elsewhere. */
#include <string.h>

#include "engine/graph/ops/gather.h"

static weft_status infer_narrow(wf_infer *f)
{
    wf_narrow_attrs *a = f->attrs;
    wf_type out = f->in[0];
    int dim = wf_infer_dim(f, a->dim, out.shape.rank);
    if (dim < 0)
        return WEFT_ERR_SHAPE;
    int64_t size = out.shape.dim[dim];
    if (a->start < 0 || a->length < 0 || a->start > size || a->length > size - a->start)
        return wf_infer_fail(
            f, WEFT_ERR_SHAPE,
            "%lld elements from %lld on are not all in dimension %d, which has %lld",
            (long long)a->length, (long long)a->start, dim, (long long)size);
    a->dim = dim;
    out.shape.dim[dim] = a->length;
    f->out[0] = out;
    return WEFT_OK;
}

static weft_status infer_pad(wf_infer *f)
{
    const wf_narrow_attrs *a = f->attrs;
    f->out[0] = f->in[0];
    f->out[0].shape.dim[a->dim] = a->length;
    return WEFT_OK;
}

/* For channels of blocked images that do not fill blocks or are shuffled: gathers channels. */
static weft_status lower_channels(wf_lower *l, int out, const wf_narrow_attrs *a, bool pad)
{
    const int n = (int)wf_lower_out(l, out).shape.dim[1], first = (int)a->start,
              in = (int)wf_lower_in(l, 0).shape.dim[1];
    wf_channel_from *from = wf_gather_channels(l, out);
    for (int c = 0; c < n && from; c++) {
        if (!pad)
            from[c] = (wf_channel_from){0, wf_shuffled(first + c, in, (int)a->groups)};
        else if (c >= first && c < first + in)
            from[c] = (wf_channel_from){0, c - first};
        else
            from[c] = (wf_channel_from){-1, 0};
    }
    return wf_lower_gather(l, out, from);
}

/* An image has `outer` rows. A row of the larger side has `whole` bytes; `part` bytes from `at` on
 * belong to the smaller side. */
typedef struct narrow_args {
    wf_buf x, y;
    bool pad, images; /* images: dimension 0 is narrowed */
    size_t outer, part, at, whole;
    int64_t start, end; /* images only */
} narrow_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const narrow_args *g = vargs;
    if (g->images && g->pad) {
        bool inside = tile >= g->start && tile < g->end;
        char *y = wf_image(t, g->y, tile);
        if (inside)
            memcpy(y, wf_image(t, g->x, tile - g->start), g->whole);
        else
            memset(y, 0, g->whole);
        return WEFT_OK;
    }
    if (g->images) {
        memcpy(wf_image(t, g->y, tile), wf_image(t, g->x, tile + g->start), g->whole);
        return WEFT_OK;
    }
    const char *x = wf_image(t, g->x, tile);
    char *y = wf_image(t, g->y, tile);
    for (size_t o = 0; o < g->outer; o++) {
        if (!g->pad) {
            memcpy(y + o * g->part, x + o * g->whole + g->at, g->part);
            continue;
        }
        char *row = y + o * g->whole;
        memset(row, 0, g->at);
        memcpy(row + g->at, x + o * g->part, g->part);
        memset(row + g->at + g->part, 0, g->whole - g->at - g->part);
    }
    return WEFT_OK;
}

static weft_status lower_any(wf_lower *l, int out, const wf_narrow_attrs *a, bool pad)
{
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, out);
    const wf_operand *part = pad ? &x : &y, *whole = pad ? &y : &x;
    int dim = (int)a->dim, block = y.act.block;
    if (dim == 1 &&
        (a->groups > 1 || a->start % block || part->act.C % block || whole->act.C % block))
        return lower_channels(l, out, a, pad);
    narrow_args g = {.x = x.buf, .y = y.buf, .pad = pad, .images = dim == 0, .outer = 1};
    if (dim == 0) {
        g.whole = y.image_bytes;
        g.start = a->start;
        g.end = a->start + part->N;
    } else {
        size_t size = weft_dtype_size(y.dtype);
        g.outer = wf_image_runs(&y, dim);
        g.part = wf_act_count(part->act) * size / g.outer;
        g.whole = wf_act_count(whole->act) * size / g.outer;
        g.at = g.whole / (size_t)whole->shape.dim[dim] * (size_t)a->start;
    }
    wf_task *task = wf_lower_task(l, pad ? "pad" : "copy", run, &g, sizeof(g), y.N);
    wf_reads(task, x.buf, dim == 0 ? WF_WHOLE : WF_TILED);
    wf_writes(task, y.buf, WF_TILED);
    wf_cost(task, 0.0, (double)y.N * (double)(part->image_bytes + y.image_bytes));
    return wf_lowered(l, task);
}

weft_status wf_lower_narrow(wf_lower *l, int out, const wf_narrow_attrs *a)
{
    return lower_any(l, out, a, false);
}

static weft_status lower_narrow(wf_lower *l)
{
    return wf_lower_out_in_place(l) ? WEFT_OK : lower_any(l, 0, l->attrs, false);
}

static weft_status lower_pad(wf_lower *l)
{
    return lower_any(l, 0, l->attrs, true);
}

static weft_status grad_narrow(wf_grad *g)
{
    wf_narrow_attrs a = *(const wf_narrow_attrs *)g->attrs;
    a.length = weft_tensor_shape(g->in[0]).dim[a.dim];
    if (g->needs[0])
        g->din[0] = wf_record(&wf_op_pad, &a, NULL, 1, g->dout, NULL);
    return WEFT_OK;
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const int *c = user;
    return weft_narrow(in[0], c[0], c[1], c[2]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const int part[][3] = {{0, 1, 2}, {1, 0, 2}, {2, 1, 1}, {-1, 2, 3}};
    static const wf_sample_case cases[] = {
        {"images", 1, {{4, {4, 3, 2, 2}}}, apply, part[0]},
        {"channels", 1, {{4, {2, 3, 2, 2}}}, apply, part[1]},
        {"rows", 1, {{4, {2, 3, 3, 2}}}, apply, part[2]},
        {"the last dimension", 1, {{2, {3, 5}}}, apply, part[3]},
    };
    return wf_sample_from(ctx, cases, 4, index, s);
}

const wf_op wf_op_narrow = {
    .name = "narrow",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_narrow_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16 | WF_OP_CHEAP,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer_narrow,
    .grad = grad_narrow,
    .lower = lower_narrow,
    .sample = sample,
};

const wf_op wf_op_pad = {
    .name = "pad",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_narrow_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE | WF_OP_ALL_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer_pad,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_pad,
    .no_sample_reason = "narrow's samples run it",
};

weft_tensor *weft_narrow(weft_tensor *x, int dim, int64_t start, int64_t length)
{
    wf_narrow_attrs a = {dim, start, length, 1};
    return wf_record(&wf_op_narrow, &a, NULL, 1, &x, NULL);
}
