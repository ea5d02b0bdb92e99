/* Layouts and tasks of conv2d and its gradients.
 *
 * Forward and backward-data: one task packs the weights; another computes, one image a tile.
 * Backward-weights: one task computes the partial sum of each split, a second adds them up; see
 * Note [Splits of weight gradients]. Where each split is one image, the first task can join the
 * task group that computes dy.
 *
 * Tile functions run on any worker, the rest on the recording thread. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/conv2d_lower.h"
#include "engine/tune/problem.h"
#include "kernels/conv2d/conv2d.h"

/* The block of an input image: 1 (plain) where a channel block would be mostly padding, as in the
 * network's input. */
static int src_block(const wf_lower *l, int i, int block)
{
    return wf_lower_in(l, i).shape.dim[1] < block ? 1 : block;
}

int wf_conv2d_layout_forward(const wf_lower *l, int i, const int *in_block, int block)
{
    return i == 0 ? src_block(l, 0, block) : i == 1 ? 1 : block;
}

int wf_conv2d_layout_backward_data(const wf_lower *l, int i, const int *in_block, int block)
{
    return i == 1 ? 1 : block;
}

int wf_conv2d_layout_backward_weights(const wf_lower *l, int i, const int *in_block, int block)
{
    return i == 0 ? src_block(l, 0, block) : i == 1 ? block : 1;
}

enum { NONE = -1 /* no such buffer */ };

typedef struct run_args {
    const wf_conv2d *k;
    wf_buf in, table, weights, bias, out; /* in, out: the images read and written */
} run_args;

typedef struct gradient_args {
    const wf_conv2d *k;
    wf_buf src, table, ddst, partial_sums, dweights;
} gradient_args;

static const void *data_or_null(const wf_tile *t, wf_buf b)
{
    return b == NONE ? NULL : wf_data(t, b);
}

static weft_status run_pack(const wf_tile *t, const void *args, int64_t tile)
{
    const run_args *g = args; /* in: plain weights; out: packed */
    return wf_conv2d_pack(g->k, t->worker, wf_data(t, g->in), wf_data(t, g->out), (int)tile);
}

/* forward and backward-data */
static weft_status run_images(const wf_tile *t, const void *args, int64_t tile)
{
    const run_args *g = args;
    wf_conv2d_io io = {.in = wf_image(t, g->in, 0),
                       .in_stride = t->bufs[g->in].image_stride,
                       .table = data_or_null(t, g->table),
                       .weights = wf_data(t, g->weights),
                       .bias = data_or_null(t, g->bias),
                       .out = wf_image(t, g->out, 0),
                       .out_stride = t->bufs[g->out].image_stride};
    return wf_conv2d_run(g->k, t->worker, &io, t->scratch, (int)tile);
}

static weft_status run_backward_weights(const wf_tile *t, const void *args, int64_t tile)
{
    const gradient_args *g = args;
    wf_conv2d_gradient_io io = {.src = wf_image(t, g->src, 0),
                                .src_stride = t->bufs[g->src].image_stride,
                                .table = data_or_null(t, g->table),
                                .ddst = wf_image(t, g->ddst, 0),
                                .ddst_stride = t->bufs[g->ddst].image_stride};
    return wf_conv2d_backward_weights(g->k, t->worker, &io, wf_data(t, g->partial_sums),
                                      t->bufs[g->partial_sums].image_stride, t->scratch, (int)tile);
}

/* A split is an image: all of its parts. */
static weft_status run_image_weights(const wf_tile *t, const void *args, int64_t image)
{
    const int parts = ((const gradient_args *)args)->k->parts;
    weft_status status = WEFT_OK;
    for (int i = 0; i < parts && status == WEFT_OK; i++)
        status = run_backward_weights(t, args, image * parts + i);
    return status;
}

static weft_status run_reduce(const wf_tile *t, const void *args, int64_t tile)
{
    const gradient_args *g = args;
    return wf_conv2d_reduce(g->k, t->worker, wf_data(t, g->partial_sums),
                            t->bufs[g->partial_sums].image_stride, wf_data(t, g->dweights),
                            (int)tile);
}

static wf_conv2d_desc describe(const wf_conv2d_attrs *a, const wf_operand *x, const wf_operand *w,
                               const wf_operand *y, bool bias)
{
    return (wf_conv2d_desc){.N = (int)x->N,
                            .C = x->act.C,
                            .H = x->act.H,
                            .W = x->act.W,
                            .K = y->act.C,
                            .R = w->act.H,
                            .S = w->act.W,
                            .P = y->act.H,
                            .Q = y->act.W,
                            .stride = {a->stride[0], a->stride[1]},
                            .padding = {a->padding[0], a->padding[1]},
                            .dilation = {a->dilation[0], a->dilation[1]},
                            .groups = a->groups,
                            .bias = bias,
                            .src_block = x->act.block,
                            .dst_block = y->act.block,
                            .src_type = x->dtype,
                            .weights_type = w->dtype,
                            .dst_type = y->dtype};
}

/* Chooses the kernel of a pass; the caller owns it. NULL on failure. */
static wf_conv2d *choose(wf_lower *l, const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const char *prefer;
    wf_problem problem = wf_problem_conv2d(d, pass);
    if (wf_lower_prefer(l, &problem, &prefer))
        return NULL;
    wf_conv2d *k = wf_conv2d_create(d, pass, l->isa, l->workers, prefer);
    if (!k)
        wf_lower_fail(l, WEFT_ERR_NOMEM, "no memory for a convolution kernel");
    return k;
}

/* The same; the plan owns the kernel. */
static wf_conv2d *kernel_of(wf_lower *l, const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    wf_conv2d *k = choose(l, d, pass);
    return k && wf_lower_own(l, k, wf_conv2d_destroy) == WEFT_OK ? k : NULL;
}

static double bytes_of(const wf_operand *o)
{
    return (double)o->N * (double)o->image_bytes;
}

static void expect(wf_task *task, const wf_conv2d *k)
{
    wf_expect(task, k->cycles, k->preferred);
    if (k->stage.inner)
        wf_expect_converting(task, wf_conv2d_stage_cycles(&k->desc));
}

/* The weights in the form that the kernel reads: packed by a task that is added here, or plain. */
static wf_buf lower_pack(wf_lower *l, const wf_conv2d *k, const wf_operand *w)
{
    if (k->packed_bytes == 0)
        return w->buf;
    wf_buf packed = wf_lower_temp(l, 1, k->packed_bytes);
    if (packed < 0)
        return packed;
    run_args g = {.k = k, .in = w->buf, .out = packed};
    wf_task *task = wf_lower_task(l, k->name, run_pack, &g, sizeof g, k->pack_tiles);
    wf_reads(task, w->buf, WF_WHOLE);
    wf_writes(task, packed, WF_WHOLE);
    wf_cost(task, 0, bytes_of(w) + (double)k->packed_bytes);
    return task ? packed : -1;
}

/* Adds the tasks of forward or backward-data, which make images of `out` from images of `in`. bias
 * and table may be NONE. */
static weft_status lower_images(wf_lower *l, const wf_conv2d *k, const wf_operand *in,
                                const wf_operand *w, const wf_operand *out, wf_buf bias,
                                wf_buf table)
{
    wf_buf weights = lower_pack(l, k, w);
    if (weights < 0)
        return WEFT_ERR_NOMEM;
    run_args g = {
        .k = k, .in = in->buf, .table = table, .weights = weights, .bias = bias, .out = out->buf};
    wf_access access = k->images == 1 && k->parts == 1 ? WF_TILED : WF_WHOLE;
    wf_task *task = wf_lower_task(l, k->name, run_images, &g, sizeof g, wf_conv2d_tiles(k));
    wf_reads(task, in->buf, access);
    wf_reads(task, weights, WF_WHOLE);
    if (bias != NONE)
        wf_reads(task, bias, WF_WHOLE);
    if (table != NONE)
        wf_reads(task, table, WF_WHOLE);
    wf_writes(task, out->buf, access);
    wf_scratch(task, k->scratch_bytes);
    wf_cost(task, wf_conv2d_flops(&k->desc), bytes_of(in) + bytes_of(w) + bytes_of(out));
    expect(task, k);
    return wf_lowered(l, task);
}

/* The node's last input where the convolution reads bytes (plan/bytes.c): the table of what the
 * bytes stand for; else NONE. */
static wf_buf table_of(const wf_lower *l)
{
    return wf_lower_in(l, 0).dtype == WEFT_U8 ? wf_lower_in(l, l->n_in - 1).buf : NONE;
}

static wf_conv2d_desc describe_forward(const wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), w = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    return describe(l->attrs, &x, &w, &y, l->n_in - (x.dtype == WEFT_U8) > 2);
}

weft_status wf_conv2d_lower_forward(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), w = wf_lower_in(l, 1), y = wf_lower_out(l, 0);
    wf_conv2d_desc d = describe_forward(l);
    wf_conv2d *k = kernel_of(l, &d, WF_CONV2D_FORWARD);
    wf_buf bias = d.bias ? wf_lower_in(l, 2).buf : NONE;
    return k ? lower_images(l, k, &x, &w, &y, bias, table_of(l)) : WEFT_ERR_NOMEM;
}

weft_status wf_conv2d_lower_backward_data(wf_lower *l)
{
    wf_operand dy = wf_lower_in(l, 0), w = wf_lower_in(l, 1), dx = wf_lower_out(l, 0);
    wf_conv2d_desc d = describe(l->attrs, &dx, &w, &dy, false);
    wf_conv2d *k = kernel_of(l, &d, WF_CONV2D_BACKWARD_DATA);
    return k ? lower_images(l, k, &dy, &w, &dx, NONE, NONE) : WEFT_ERR_NOMEM;
}

static wf_conv2d_desc describe_backward_weights(const wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), dy = wf_lower_in(l, 1), dw = wf_lower_out(l, 0);
    return describe(l->attrs, &x, &dw, &dy, false);
}

weft_status wf_conv2d_lower_backward_weights(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), dy = wf_lower_in(l, 1), dw = wf_lower_out(l, 0);
    wf_conv2d_desc d = describe_backward_weights(l);
    wf_conv2d *k = kernel_of(l, &d, WF_CONV2D_BACKWARD_WEIGHTS);
    if (!k)
        return WEFT_ERR_NOMEM;
    wf_buf partial_sums = wf_lower_temp(l, k->splits, k->partial_sum_bytes);
    if (partial_sums < 0)
        return WEFT_ERR_NOMEM;
    double partial_sum_bytes = (double)k->splits * (double)k->partial_sum_bytes;
    gradient_args g = {.k = k,
                       .src = x.buf,
                       .table = table_of(l),
                       .ddst = dy.buf,
                       .partial_sums = partial_sums,
                       .dweights = dw.buf};
    /* Where a split is an image, its gradient can be taken while what made dy has left it in cache;
     * with few images for each worker, more and smaller tiles are worth more. */
    const bool by_image = k->splits == d.N && d.N >= 2 * l->workers;
    const wf_access access = by_image ? WF_TILED : WF_WHOLE;
    wf_task *task =
        wf_lower_task(l, k->name, by_image ? run_image_weights : run_backward_weights, &g, sizeof g,
                      by_image ? k->splits : (int64_t)k->splits * k->parts);
    wf_reads(task, x.buf, access);
    if (g.table != NONE)
        wf_reads(task, g.table, WF_WHOLE);
    wf_reads(task, dy.buf, access);
    wf_writes(task, partial_sums, access);
    wf_scratch(task, k->scratch_bytes);
    wf_cost(task, wf_conv2d_flops(&d), bytes_of(&x) + bytes_of(&dy) + partial_sum_bytes);
    expect(task, k);

    task = wf_lower_task(l, k->name, run_reduce, &g, sizeof g, k->reduce_tiles);
    wf_reads(task, partial_sums, WF_WHOLE);
    wf_writes(task, partial_sums, WF_WHOLE); /* added up in place */
    wf_writes(task, dw.buf, WF_WHOLE);
    wf_cost(task, partial_sum_bytes / 4, partial_sum_bytes + bytes_of(&dw));
    return wf_lowered(l, task);
}

weft_status wf_conv2d_can_read_bytes(wf_lower *l, bool *can)
{
    const bool forward = l->op == &wf_op_conv2d;
    const wf_conv2d_pass pass = forward ? WF_CONV2D_FORWARD : WF_CONV2D_BACKWARD_WEIGHTS;
    wf_conv2d_desc d = forward ? describe_forward(l) : describe_backward_weights(l);
    char why[160];
    wf_conv2d *floats = choose(l, &d, pass), *bytes = NULL;
    if (!floats)
        return WEFT_ERR_NOMEM;
    d.src_type = WEFT_U8;
    const bool fits = wf_conv2d_fits(floats->impl, &d, pass, l->isa, why, sizeof why);
    if (fits)
        bytes = choose(l, &d, pass);
    *can = bytes && bytes->impl == floats->impl;
    wf_conv2d_destroy(floats);
    wf_conv2d_destroy(bytes);
    return fits && !bytes ? WEFT_ERR_NOMEM : WEFT_OK;
}
