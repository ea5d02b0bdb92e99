/* Convolution by oneDNN: one image a call, one thread, weights in oneDNN's own format.
 *
 * Threading: Note [oneDNN and threads] in onednn.h. A weight gradient is always computed image by
 * image and added up here, so that its bits do not depend on how far apart the images lie (over a
 * strided batch oneDNN has only its reference kernel). */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/onednn/onednn.h"
#include "kernels/select.h"

typedef struct worker {
    dnnl_stream_t stream;
    dnnl_memory_t src, weights, bias, dst, scratch; /* of the convolution */
    dnnl_memory_t from, to;                         /* of the reorder */
} worker;

typedef struct state {
    dnnl_engine_t engine;
    wf_dnnl_conv conv;
    dnnl_primitive_t reorder;  /* between plain and oneDNN's weights; NULL where they are equal */
    wf_dnnl_md plain, blocked; /* of one reorder tile */
    size_t tile_bytes;         /* of oneDNN's weights */
    size_t plain_tile_bytes;
    worker *workers;
    int n_workers;
} state;

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    if (d->src_type != WEFT_F32 || d->weights_type != WEFT_F32 || d->dst_type != WEFT_F32) {
        snprintf(why, size, "f32 only");
        return false;
    }
    /* Several of its kernels keep offsets within an image or the weights in 32 bits, not all of them
     * with a check. */
    const int64_t largest = INT32_MAX / (int64_t)sizeof(float);
    if ((int64_t)wf_act_count(wf_conv2d_src(d)) > largest ||
        (int64_t)wf_act_count(wf_conv2d_dst(d)) > largest ||
        (int64_t)wf_conv2d_weights_count(d) > largest) {
        snprintf(why, size,
                 "an image or the weights have 2 GiB or more (32-bit offsets in oneDNN)");
        return false;
    }
    /* The library writes outside its scratchpad there (its issue 6035). */
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS && d->R == 1 && d->S == 1 &&
        (d->stride[0] > 1 || d->stride[1] > 1) && d->C / d->groups < 16) {
        snprintf(why, size, "strided 1x1 backward-weights with few channels (oneDNN issue 6035)");
        return false;
    }
    return true; /* the rest is oneDNN's to say, and admitted.c's, in create */
}

static double share_weights(const wf_costs *c, const wf_conv2d_desc *d, bool point, bool strided)
{
    if (point)
        return strided ? c->onednn_weights_point_strided : c->onednn_weights_point;
    if (d->S >= 5 && d->src_block > 1)
        return c->onednn_weights_wide;
    return d->Q < 8            ? c->onednn_weights_tiny
           : d->src_block == 1 ? c->onednn_weights_plain
                               : c->onednn_weights;
}

static double share_data(const wf_costs *c, const wf_conv2d_desc *d, bool point, bool strided)
{
    const bool tiny = d->Q < 8;
    const bool apart = strided && d->R == d->stride[0] && d->S == d->stride[1];
    const double share = strided
                             ? tiny && !point ? c->onednn_data_strided_tiny : c->onednn_data_strided
                         : point ? c->onednn_data_point
                                 : c->onednn_data;
    return share * (tiny ? c->onednn_data_tiny : 1) * (apart ? c->onednn_data_apart : 1);
}

static double share_forward(const wf_costs *c, const wf_conv2d_desc *d, bool point, bool strided)
{
    const bool tiny = d->Q < 8;
    if (d->groups > 1 && d->C / d->groups < 32 && !strided)
        return c->onednn_forward_grouped;
    if (strided)
        return tiny && !point ? c->onednn_forward_strided_tiny : c->onednn_forward_strided;
    if (tiny)
        return point ? c->onednn_forward_tiny_point : c->onednn_forward_tiny;
    return point ? c->onednn_forward_point : c->onednn_forward;
}

/* Such a pass is bound by memory as much as by arithmetic: the factor is on all of it. */
static double depthwise_pace(const wf_machine_class *m, const wf_conv2d_desc *d, bool weights)
{
    if (!weights)
        return m->cost->onednn_depthwise;
    const size_t image = wf_act_count(wf_conv2d_src(d)) + wf_act_count(wf_conv2d_dst(d));
    return image * sizeof(float) > 3 * m->l2_bytes ? m->cost->onednn_depthwise_weights_large
           : d->Q < 8                              ? m->cost->onednn_depthwise_weights_tiny
                                                   : m->cost->onednn_depthwise_weights;
}

/* By what its kernels are good at: most are near the peak, but for weight gradients, short rows and
 * groups of few channels. */
static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const wf_machine_class *m = wf_machine_class_of(isa);
    const wf_costs *c = m->cost;
    const bool point = d->R == 1 && d->S == 1, strided = d->stride[0] > 1 || d->stride[1] > 1;
    const bool weights = pass == WF_CONV2D_BACKWARD_WEIGHTS;
    double share = weights                           ? share_weights(c, d, point, strided)
                   : pass == WF_CONV2D_BACKWARD_DATA ? share_data(c, d, point, strided)
                                                     : share_forward(c, d, point, strided);
    if (pass == WF_CONV2D_FORWARD && d->src_block == 1)
        share *= c->onednn_forward_plain;
    if (point && strided && !weights)
        share *= c->onednn_strided_point;
    const double cycles = wf_conv2d_expect(d, isa, share);
    return d->groups > 1 && d->groups == d->C ? cycles / depthwise_pace(m, d, weights) : cycles;
}

static void destroy(wf_conv2d *k)
{
    state *s = k->state;
    if (!s)
        return;
    for (int i = 0; s->workers && i < s->n_workers; i++) {
        worker *w = &s->workers[i];
        dnnl_memory_t all[] = {w->src, w->weights, w->bias, w->dst, w->scratch, w->from, w->to};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            if (all[j])
                dnnl_memory_destroy(all[j]);
        if (w->stream)
            dnnl_stream_destroy(w->stream);
    }
    free(s->workers);
    if (s->reorder)
        dnnl_primitive_destroy(s->reorder);
    wf_dnnl_md_free(s->plain);
    wf_dnnl_md_free(s->blocked);
    wf_dnnl_conv_destroy(&s->conv);
    if (s->engine)
        dnnl_engine_destroy(s->engine);
    free(s);
    k->state = NULL;
}

static bool memory_create(dnnl_memory_t *m, const state *s, wf_dnnl_const_md md)
{
    return !md || !dnnl_memory_create(m, md, s->engine, DNNL_MEMORY_NONE);
}

static bool workers_create(state *s, int n)
{
    s->workers = calloc((size_t)n, sizeof *s->workers);
    if (!s->workers)
        return false;
    s->n_workers = n;
    for (int i = 0; i < n; i++) {
        worker *w = &s->workers[i];
        if (dnnl_stream_create(&w->stream, s->engine, dnnl_stream_default_flags) ||
            !memory_create(&w->src, s, s->conv.src) || !memory_create(&w->dst, s, s->conv.dst) ||
            !memory_create(&w->weights, s, s->conv.weights) ||
            !memory_create(&w->bias, s, s->conv.bias) ||
            !memory_create(&w->scratch, s, s->conv.scratch) ||
            !memory_create(&w->from, s, s->plain) || !memory_create(&w->to, s, s->blocked))
            return false;
    }
    return true;
}

/* Formats whose outermost dimension is blocks of output channels: those can be packed and unpacked
 * block by block. */
typedef struct format {
    dnnl_format_tag_t tag;
    int block;
} format;
static const format formats[] = {
    {dnnl_OIhw8i8o, 8},    {dnnl_OIhw8o8i, 8},    {dnnl_Ohwi8o, 8},
    {dnnl_OIhw16i16o, 16}, {dnnl_OIhw16o16i, 16}, {dnnl_Ohwi16o, 16},
};

static const format *output_blocks(const wf_conv2d_desc *d, wf_dnnl_const_md weights)
{
    int64_t dims[5];
    dnnl_format_tag_t plain;
    int rank = wf_dnnl_weights_dims(d, dims, &plain);
    for (size_t i = 0; d->groups == 1 && i < sizeof formats / sizeof *formats; i++) {
        wf_dnnl_md md = wf_dnnl_md_create(rank, dims, formats[i].tag);
        bool same = md && dnnl_memory_desc_equal(md, weights);
        wf_dnnl_md_free(md);
        if (same)
            return d->K % formats[i].block == 0 ? &formats[i] : NULL;
    }
    return NULL;
}

/* Descriptors of one tile of the reorder between plain and oneDNN's weights; returns how many
 * tiles there are, 0 on failure. */
static int reorder_tiles(state *s, const wf_conv2d_desc *d)
{
    int64_t dims[5];
    dnnl_format_tag_t plain;
    int rank = wf_dnnl_weights_dims(d, dims, &plain), tiles = 1;
    const format *f = output_blocks(d, s->conv.weights);
    if (f) {
        tiles = d->K / f->block;
        dims[0] = f->block;
        s->blocked = wf_dnnl_md_create(rank, dims, f->tag);
    } else {
        s->blocked = wf_dnnl_md_clone(s->conv.weights);
    }
    s->plain = wf_dnnl_md_create(rank, dims, plain);
    if (!s->plain || !s->blocked)
        return 0;
    s->tile_bytes = s->conv.weights_bytes / (size_t)tiles;
    s->plain_tile_bytes = wf_conv2d_weights_count(d) * sizeof(float) / (size_t)tiles;
    return tiles;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const bool gradient = k->pass == WF_CONV2D_BACKWARD_WEIGHTS;
    state *s = k->state = calloc(1, sizeof *s);
    if (!s || dnnl_engine_create(&s->engine, dnnl_cpu, 0)) {
        snprintf(why, size, "oneDNN has no CPU engine, or no memory");
        goto fail;
    }
    if (!wf_dnnl_conv_create(&s->conv, s->engine, &k->desc, k->pass, why, size))
        goto fail;
    snprintf(k->name, sizeof k->name, "onednn:%s", s->conv.name);
    snprintf(why, size, "out of memory");
    int tiles = reorder_tiles(s, &k->desc);
    if (!tiles)
        goto fail;
    if (!dnnl_memory_desc_equal(s->plain, s->blocked)) {
        s->reorder = gradient ? wf_dnnl_reorder_create(s->engine, s->blocked, s->plain)
                              : wf_dnnl_reorder_create(s->engine, s->plain, s->blocked);
        if (!s->reorder)
            goto fail;
    }
    if (!workers_create(s, k->workers))
        goto fail;
    k->scratch_bytes = s->conv.scratch_bytes;
    if (gradient) {
        k->partial_sum_bytes = s->conv.weights_bytes;
        k->reduce_tiles = tiles;
        if (k->split_images > 1) /* one image's gradient, before it is added */
            k->scratch_bytes += (size_t)WF_ALIGN + k->partial_sum_bytes;
    } else if (s->reorder) {
        k->packed_bytes = s->conv.weights_bytes;
        k->pack_tiles = tiles;
    }
    return true;
fail:
    destroy(k);
    return false;
}

static weft_status status_of(dnnl_status_t status)
{
    return status == dnnl_success         ? WEFT_OK
           : status == dnnl_out_of_memory ? WEFT_ERR_NOMEM
           : status == dnnl_unimplemented ? WEFT_ERR_UNSUPPORTED
                                          : WEFT_ERR_INTERNAL;
}

/* A worker's memory object and what it is to stand for. */
typedef struct operand {
    dnnl_memory_t memory;
    const void *data;
    int arg; /* DNNL_ARG_ */
} operand;

enum { MAX_OPERANDS = 5 };

static weft_status execute(dnnl_primitive_t primitive, dnnl_stream_t stream, int n,
                           const operand *operands)
{
    dnnl_exec_arg_t args[MAX_OPERANDS];
    dnnl_status_t status = dnnl_success;
    for (int i = 0; i < n && status == dnnl_success; i++) {
        args[i] = (dnnl_exec_arg_t){operands[i].arg, operands[i].memory};
        status =
            dnnl_memory_set_data_handle(operands[i].memory, (void *)(uintptr_t)operands[i].data);
    }
    if (status == dnnl_success)
        status = dnnl_primitive_execute(primitive, stream, n, args);
    return status_of(status);
}

static weft_status copy_tile(const state *s, int worker_index, const void *plain,
                             const void *blocked, bool to_plain)
{
    worker *w = &s->workers[worker_index];
    const operand operands[] = {{w->from, plain, to_plain ? DNNL_ARG_TO : DNNL_ARG_FROM},
                                {w->to, blocked, to_plain ? DNNL_ARG_FROM : DNNL_ARG_TO}};
    return execute(s->reorder, w->stream, 2, operands);
}

static weft_status pack(const wf_conv2d *k, int worker_index, const void *weights, void *packed,
                        int tile)
{
    const state *s = k->state;
    return copy_tile(s, worker_index, (const char *)weights + (size_t)tile * s->plain_tile_bytes,
                     (char *)packed + (size_t)tile * s->tile_bytes, false);
}

static weft_status forward(const wf_conv2d *k, int worker_index, const void *src,
                           const void *weights, const void *bias, void *dst, void *scratch)
{
    const state *s = k->state;
    worker *w = &s->workers[worker_index];
    const operand operands[] = {{w->src, src, DNNL_ARG_SRC},
                                {w->weights, weights, DNNL_ARG_WEIGHTS},
                                {w->dst, dst, DNNL_ARG_DST},
                                {w->scratch, scratch, DNNL_ARG_SCRATCHPAD},
                                {w->bias, bias, DNNL_ARG_BIAS}};
    return execute(s->conv.primitive, w->stream, bias ? 5 : 4, operands);
}

static weft_status backward_data(const wf_conv2d *k, int worker_index, const void *ddst,
                                 const void *weights, void *dsrc, void *scratch)
{
    const state *s = k->state;
    worker *w = &s->workers[worker_index];
    const operand operands[] = {{w->src, dsrc, DNNL_ARG_DIFF_SRC},
                                {w->weights, weights, DNNL_ARG_WEIGHTS},
                                {w->dst, ddst, DNNL_ARG_DIFF_DST},
                                {w->scratch, scratch, DNNL_ARG_SCRATCHPAD}};
    return execute(s->conv.primitive, w->stream, 4, operands);
}

static weft_status backward_weights(const wf_conv2d *k, int worker_index,
                                    const wf_conv2d_gradient_io *io, int n, void *partial_sum,
                                    int part, void *scratch)
{
    const state *s = k->state;
    worker *w = &s->workers[worker_index];
    size_t pad = ((size_t)WF_ALIGN - s->conv.scratch_bytes % WF_ALIGN) % WF_ALIGN;
    float *sum = partial_sum, *one = (float *)((char *)scratch + s->conv.scratch_bytes + pad);
    size_t count = k->partial_sum_bytes / sizeof(float);
    weft_status status = WEFT_OK;
    for (int i = 0; i < n && status == WEFT_OK; i++) {
        const operand operands[] = {
            {w->src, (const char *)io->src + (size_t)i * io->src_stride, DNNL_ARG_SRC},
            {w->weights, i == 0 ? sum : one, DNNL_ARG_DIFF_WEIGHTS},
            {w->dst, (const char *)io->ddst + (size_t)i * io->ddst_stride, DNNL_ARG_DIFF_DST},
            {w->scratch, scratch, DNNL_ARG_SCRATCHPAD}};
        status = execute(s->conv.primitive, w->stream, 4, operands);
        for (size_t j = 0; i > 0 && status == WEFT_OK && j < count; j++)
            sum[j] += one[j];
    }
    return status;
}

static weft_status reduce(const wf_conv2d *k, int worker_index, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile)
{
    const state *s = k->state;
    char *first = (char *)partial_sums + (size_t)tile * s->tile_bytes;
    char *plain = (char *)dweights + (size_t)tile * s->plain_tile_bytes;
    wf_conv2d_add_partial_sums(WEFT_F32, first, partial_sum_stride, k->splits,
                               s->tile_bytes / sizeof(float));
    if (s->reorder)
        return copy_tile(s, worker_index, plain, first, true);
    for (size_t i = 0; i < s->tile_bytes / sizeof(float); i++)
        ((float *)plain)[i] = ((const float *)first)[i];
    return WEFT_OK;
}

const wf_conv2d_impl wf_conv2d_onednn = {
    .name = "onednn",
    .isa = WEFT_ISA_AVX2,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .pack = pack,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
    .reduce = reduce,
};
