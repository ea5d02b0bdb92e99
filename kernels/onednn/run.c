/* See run.h. */
#include "kernels/onednn/run.h"

#include <stdio.h>
#include <stdlib.h>

bool wf_dnnl_misfit(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    /* Several of its kernels keep offsets within an image or the weights in 32 bits, not all of them
     * with a check. */
    const int64_t largest = INT32_MAX / (int64_t)sizeof(float);
    if ((int64_t)wf_act_count(wf_conv2d_src(d)) > largest ||
        (int64_t)wf_act_count(wf_conv2d_dst(d)) > largest ||
        (int64_t)wf_conv2d_weights_count(d) > largest) {
        snprintf(why, size,
                 "an image or the weights have 2 GiB or more (32-bit offsets in oneDNN)");
        return true;
    }
    /* The library writes outside its scratchpad there (its issue 6035). */
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS && d->R == 1 && d->S == 1 &&
        (d->stride[0] > 1 || d->stride[1] > 1) && d->C / d->groups < 16) {
        snprintf(why, size, "strided 1x1 backward-weights with few channels (oneDNN issue 6035)");
        return true;
    }
    return false; /* the rest is oneDNN's to say, and admitted.c's, in create */
}

void wf_dnnl_destroy(wf_conv2d *k)
{
    wf_dnnl_state *s = k->state;
    if (!s)
        return;
    for (int i = 0; s->workers && i < s->n_workers; i++) {
        wf_dnnl_worker *w = &s->workers[i];
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
    free(s->packing);
    free(s);
    k->state = NULL;
}

static bool memory_create(dnnl_memory_t *m, const wf_dnnl_state *s, wf_dnnl_const_md md)
{
    return !md || !dnnl_memory_create(m, md, s->engine, DNNL_MEMORY_NONE);
}

static bool workers_create(wf_dnnl_state *s, int n)
{
    s->workers = calloc((size_t)n, sizeof *s->workers);
    if (!s->workers)
        return false;
    s->n_workers = n;
    for (int i = 0; i < n; i++) {
        wf_dnnl_worker *w = &s->workers[i];
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
        wf_dnnl_md md = wf_dnnl_md_create(rank, dims, dnnl_f32, formats[i].tag);
        bool same = md && dnnl_memory_desc_equal(md, weights);
        wf_dnnl_md_free(md);
        if (same)
            return d->K % formats[i].block == 0 ? &formats[i] : NULL;
    }
    return NULL;
}

/* Descriptors of one tile of the reorder between plain and oneDNN's weights; returns how many
 * tiles there are, 0 on failure. */
static int reorder_tiles(wf_dnnl_state *s, const wf_conv2d_desc *d)
{
    int64_t dims[5];
    dnnl_format_tag_t plain;
    int rank = wf_dnnl_weights_dims(d, dims, &plain), tiles = 1;
    const format *f = output_blocks(d, s->conv.weights);
    if (f) {
        tiles = d->K / f->block;
        dims[0] = f->block;
        s->blocked = wf_dnnl_md_create(rank, dims, dnnl_f32, f->tag);
    } else {
        s->blocked = wf_dnnl_md_clone(s->conv.weights);
    }
    s->plain = wf_dnnl_md_create(rank, dims, dnnl_f32, plain);
    if (!s->plain || !s->blocked)
        return 0;
    s->tile_bytes = s->conv.weights_bytes / (size_t)tiles;
    s->plain_tile_bytes = wf_conv2d_weights_count(d) * sizeof(float) / (size_t)tiles;
    return tiles;
}

bool wf_dnnl_create(wf_conv2d *k, bool packs_itself, char *why, size_t size)
{
    const bool gradient = k->pass == WF_CONV2D_BACKWARD_WEIGHTS;
    const bool reordered = gradient || !packs_itself;
    wf_dnnl_state *s = k->state = calloc(1, sizeof *s);
    if (!s || dnnl_engine_create(&s->engine, dnnl_cpu, 0)) {
        snprintf(why, size, "oneDNN has no CPU engine, or no memory");
        goto fail;
    }
    if (!wf_dnnl_conv_create(&s->conv, s->engine, &k->desc, k->pass, why, size))
        goto fail;
    snprintf(k->name, sizeof k->name, "%.11s:%.35s", k->impl->name, s->conv.name);
    snprintf(why, size, "out of memory");
    int tiles = reordered ? reorder_tiles(s, &k->desc) : 1;
    if (!tiles)
        goto fail;
    if (reordered && !dnnl_memory_desc_equal(s->plain, s->blocked)) {
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
    wf_dnnl_destroy(k);
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

static weft_status copy_tile(const wf_dnnl_state *s, int worker_index, const void *plain,
                             const void *blocked, bool to_plain)
{
    wf_dnnl_worker *w = &s->workers[worker_index];
    const operand operands[] = {{w->from, plain, to_plain ? DNNL_ARG_TO : DNNL_ARG_FROM},
                                {w->to, blocked, to_plain ? DNNL_ARG_FROM : DNNL_ARG_TO}};
    return execute(s->reorder, w->stream, 2, operands);
}

weft_status wf_dnnl_pack(const wf_conv2d *k, int worker_index, const void *weights, void *packed,
                         int tile)
{
    const wf_dnnl_state *s = k->state;
    return copy_tile(s, worker_index, (const char *)weights + (size_t)tile * s->plain_tile_bytes,
                     (char *)packed + (size_t)tile * s->tile_bytes, false);
}

weft_status wf_dnnl_forward(const wf_conv2d *k, int worker_index, const void *src,
                            const void *weights, const void *bias, void *dst, void *scratch)
{
    const wf_dnnl_state *s = k->state;
    wf_dnnl_worker *w = &s->workers[worker_index];
    const operand operands[] = {{w->src, src, DNNL_ARG_SRC},
                                {w->weights, weights, DNNL_ARG_WEIGHTS},
                                {w->dst, dst, DNNL_ARG_DST},
                                {w->scratch, scratch, DNNL_ARG_SCRATCHPAD},
                                {w->bias, bias, DNNL_ARG_BIAS}};
    return execute(s->conv.primitive, w->stream, bias ? 5 : 4, operands);
}

weft_status wf_dnnl_backward_data(const wf_conv2d *k, int worker_index, const void *ddst,
                                  const void *weights, void *dsrc, void *scratch)
{
    const wf_dnnl_state *s = k->state;
    wf_dnnl_worker *w = &s->workers[worker_index];
    const operand operands[] = {{w->src, dsrc, DNNL_ARG_DIFF_SRC},
                                {w->weights, weights, DNNL_ARG_WEIGHTS},
                                {w->dst, ddst, DNNL_ARG_DIFF_DST},
                                {w->scratch, scratch, DNNL_ARG_SCRATCHPAD}};
    return execute(s->conv.primitive, w->stream, 4, operands);
}

weft_status wf_dnnl_backward_weights(const wf_conv2d *k, int worker_index,
                                     const wf_conv2d_gradient_io *io, int n, void *partial_sum,
                                     int part, void *scratch)
{
    const wf_dnnl_state *s = k->state;
    wf_dnnl_worker *w = &s->workers[worker_index];
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

weft_status wf_dnnl_reduce(const wf_conv2d *k, int worker_index, void *partial_sums,
                           size_t partial_sum_stride, void *dweights, int tile)
{
    const wf_dnnl_state *s = k->state;
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
