/* Trials of convolutions: see trial.h. Letters: kernels/conv2d/conv2d.h. */
#include <stdio.h>
#include <string.h>

#include "engine/tune/trial_families.h"

/* The same as bf16: the upper halves of floats. */
static void fill_bf16(uint16_t *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        float x;
        uint32_t bits;
        seed = seed * 1664525u + 1013904223u;
        x = (float)(int32_t)seed * 0x1p-31f;
        memcpy(&bits, &x, sizeof bits);
        p[i] = (uint16_t)(bits >> 16);
    }
}

/* Fills images. Padding channels are zero, as kernels may expect. */
static void fill_images(char *p, wf_act a, weft_dtype type, int images, uint32_t seed)
{
    const size_t count = wf_act_count(a), pixels = (size_t)a.H * (size_t)a.W;
    const size_t block = (size_t)a.block, left = (size_t)(a.C % a.block);
    const size_t size = weft_dtype_size(type);
    for (int n = 0; n < images; n++, p += count * size) {
        if (type == WEFT_BF16)
            fill_bf16((uint16_t *)p, count, seed + (uint32_t)n);
        else
            wf_trial_fill((float *)p, count, seed + (uint32_t)n);
        for (size_t i = 0; left && i < pixels; i++)
            memset(p + (count - pixels * block + i * block + left) * size, 0,
                   (block - left) * size);
    }
}

static void fill_bytes(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 2654435761u >> 13);
}

static size_t image_bytes(wf_act a, weft_dtype type)
{
    return wf_act_count(a) * weft_dtype_size(type);
}

weft_status wf_trial_data_conv2d(wf_trial_data *t, weft_error *err)
{
    const wf_conv2d_desc *d = &t->problem.conv2d;
    const wf_act x = wf_conv2d_src(d), y = wf_conv2d_dst(d);
    const bool bytes = d->src_type == WEFT_U8;
    size_t src = wf_trial_aligned((size_t)d->N * image_bytes(x, d->src_type));
    size_t dst = wf_trial_aligned((size_t)d->N * image_bytes(y, d->dst_type));
    size_t count = wf_conv2d_weights_count(d), weights = wf_trial_aligned(count * sizeof(float));
    size_t bias = wf_trial_aligned((size_t)d->K * sizeof(float));
    size_t table = bytes ? (size_t)d->C * WF_BYTE_VALUES : 0;
    weft_status status =
        wf_trial_alloc(t, src + dst, 2 * weights + bias + table * sizeof(float), err);
    if (status != WEFT_OK)
        return status;
    t->in = t->block.data;
    t->out = t->in + src;
    t->weights = (float *)(t->in + t->set_bytes * (size_t)t->sets);
    t->dweights = t->weights + weights / sizeof(float);
    t->bias = t->dweights + weights / sizeof(float);
    t->table = bytes ? t->bias + bias / sizeof(float) : NULL;
    wf_trial_fill(t->weights, count, 1);
    wf_trial_fill(t->table, table, 4);
    for (int i = 0; i < t->sets; i++) {
        char *in = t->in + (size_t)i * t->set_bytes;
        if (bytes)
            fill_bytes((uint8_t *)in, src);
        else
            fill_images(in, x, d->src_type, d->N, 2);
        fill_images(t->out + (size_t)i * t->set_bytes, y, d->dst_type, d->N, 3);
    }
    return WEFT_OK;
}

/* Phase 0 packs the weights; phase 1 runs the tiles of outputs. */
static weft_status run_outputs(const wf_trial *t, int set, int worker, int phase, int64_t tile)
{
    const wf_conv2d *k = t->conv2d;
    const wf_trial_data *d = t->data;
    const bool forward = k->pass == WF_CONV2D_FORWARD;
    const size_t src_stride = image_bytes(wf_conv2d_src(&k->desc), k->desc.src_type);
    const size_t dst_stride = image_bytes(wf_conv2d_dst(&k->desc), k->desc.dst_type);
    char *src = d->in + (size_t)set * d->set_bytes, *dst = d->out + (size_t)set * d->set_bytes;
    if (phase == 0)
        return wf_conv2d_pack(k, worker, d->weights, t->packed, (int)tile);
    const wf_conv2d_io io = {.in = forward ? src : dst,
                             .in_stride = forward ? src_stride : dst_stride,
                             .table = forward ? d->table : NULL,
                             .weights = k->packed_bytes ? (const void *)t->packed : d->weights,
                             .bias = k->desc.bias ? d->bias : NULL,
                             .out = forward ? dst : src,
                             .out_stride = forward ? dst_stride : src_stride};
    return wf_conv2d_run(k, worker, &io, t->scratch + (size_t)worker * t->scratch_stride,
                         (int)tile);
}

/* Phase 0 fills the partial sums; phase 1 adds them up. */
static weft_status run_gradient(const wf_trial *t, int set, int worker, int phase, int64_t tile)
{
    const wf_conv2d *k = t->conv2d;
    const wf_trial_data *d = t->data;
    const wf_conv2d_gradient_io io = {
        .src = d->in + (size_t)set * d->set_bytes,
        .src_stride = image_bytes(wf_conv2d_src(&k->desc), k->desc.src_type),
        .table = d->table,
        .ddst = d->out + (size_t)set * d->set_bytes,
        .ddst_stride = image_bytes(wf_conv2d_dst(&k->desc), k->desc.dst_type)};
    if (phase == 1)
        return wf_conv2d_reduce(k, worker, t->partial_sums, t->partial_sum_stride, d->dweights,
                                (int)tile);
    return wf_conv2d_backward_weights(k, worker, &io, t->partial_sums, t->partial_sum_stride,
                                      t->scratch + (size_t)worker * t->scratch_stride, (int)tile);
}

bool wf_trial_conv2d(wf_trial *t, int i, char *why, size_t size)
{
    const wf_trial_data *d = t->data;
    const wf_conv2d_desc *desc = &d->problem.conv2d;
    if (desc->weights_type != WEFT_F32 || desc->src_type == WEFT_F64 ||
        desc->dst_type == WEFT_F64) {
        snprintf(why, size, "no trials in f64");
        return false;
    }
    wf_conv2d *k = wf_conv2d_create_impl(wf_conv2d_impls[i], desc, d->problem.pass, d->place.isa,
                                         d->place.threads, why, size);
    if (!k)
        return false;
    t->conv2d = k;
    if (k->pass == WF_CONV2D_BACKWARD_WEIGHTS) {
        t->run = run_gradient;
        t->tiles[0] = k->splits * k->parts;
        t->tiles[1] = k->reduce_tiles;
    } else {
        t->run = run_outputs;
        t->tiles[0] = k->packed_bytes ? k->pack_tiles : 0;
        t->tiles[1] = wf_conv2d_tiles(k);
    }
    t->cycles = k->cycles;
    snprintf(t->name, sizeof t->name, "%s", k->name);
    size_t packed = wf_trial_aligned(k->packed_bytes);
    t->partial_sum_stride = wf_trial_aligned(k->partial_sum_bytes);
    t->scratch_stride = wf_trial_aligned(k->scratch_bytes);
    size_t partial_sums =
        k->pass == WF_CONV2D_BACKWARD_WEIGHTS ? t->partial_sum_stride * (size_t)k->splits : 0;
    if (!wf_trial_workspace(t, packed + partial_sums + t->scratch_stride * (size_t)d->place.threads,
                            why, size))
        return false;
    t->packed = t->block.data;
    t->partial_sums = t->packed + packed;
    t->scratch = t->partial_sums + partial_sums;
    return true;
}
