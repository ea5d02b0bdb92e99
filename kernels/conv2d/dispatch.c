/* Convolution: the list of implementations, creation and destruction of a planned pass, and the calls
 * that hand a tile of work to its implementation. select.c chooses the implementation.
 *
 * One thread at a time creates. Any number of workers run. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/conv2d/conv2d.h"
#include "kernels/select.h"

#define WF_CONV2D(name) extern const wf_conv2d_impl wf_conv2d_##name;
#include "kernels/conv2d/kernels.def"
#undef WF_CONV2D

const wf_conv2d_impl *const wf_conv2d_impls[] = {
#define WF_CONV2D(name) &wf_conv2d_##name,
#include "kernels/conv2d/kernels.def"
#undef WF_CONV2D
};
const int wf_conv2d_n_impls = (int)(sizeof wf_conv2d_impls / sizeof *wf_conv2d_impls);

const char *wf_conv2d_pass_name(wf_conv2d_pass pass)
{
    switch (pass) {
    case WF_CONV2D_FORWARD: return "forward";
    case WF_CONV2D_BACKWARD_DATA: return "backward-data";
    case WF_CONV2D_BACKWARD_WEIGHTS: return "backward-weights";
    }
    return "?";
}

static int64_t out_size(int64_t in, int64_t kernel, int64_t stride, int64_t padding,
                        int64_t dilation)
{
    int64_t room = in + 2 * padding - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
}

bool wf_conv2d_output(wf_conv2d_desc *d)
{
    int64_t P = out_size(d->H, d->R, d->stride[0], d->padding[0], d->dilation[0]);
    int64_t Q = out_size(d->W, d->S, d->stride[1], d->padding[1], d->dilation[1]);
    if (P < 1 || Q < 1 || P > INT32_MAX || Q > INT32_MAX)
        return false;
    d->P = (int)P;
    d->Q = (int)Q;
    return true;
}

double wf_conv2d_flops(const wf_conv2d_desc *d)
{
    return 2.0 * d->N * d->P * d->Q * (double)wf_conv2d_weights_count(d);
}

int wf_conv2d_split_images(const wf_conv2d_desc *d)
{
    int64_t pixels = (int64_t)d->P * d->Q;
    int64_t by_cost = (1024 + pixels - 1) / pixels;
    int64_t blocks = (int64_t)((d->C / d->groups + 15) / 16) * ((d->K + 15) / 16);
    int64_t splits = blocks < 512 ? 512 / blocks : 1;
    int64_t by_tiles = (d->N + splits - 1) / splits;
    int64_t images = by_cost > by_tiles ? by_cost : by_tiles;
    if (images >= d->N)
        return d->N;
    splits = (d->N + images - 1) / images; /* now as even as possible */
    return (int)((d->N + splits - 1) / splits);
}

wf_conv2d *wf_conv2d_create_impl(const wf_conv2d_impl *impl, const wf_conv2d_desc *d,
                                 wf_conv2d_pass pass, weft_isa isa, int workers, char *why,
                                 size_t size)
{
    wf_conv2d_desc staged;
    if (!wf_conv2d_fits(impl, d, pass, isa, why, size))
        return NULL;
    if (!wf_conv2d_fits_itself(impl, d, pass, isa, why, size)) {
        wf_conv2d_staged(d, &staged);
        wf_conv2d *inner = wf_conv2d_create_impl(impl, &staged, pass, isa, workers, why, size);
        wf_conv2d *outer = inner ? wf_conv2d_stage_create(d, inner) : NULL;
        if (inner && !outer) {
            snprintf(why, size, "out of memory");
            wf_conv2d_destroy(inner);
        }
        return outer;
    }
    wf_conv2d *k = calloc(1, sizeof *k);
    if (!k) {
        snprintf(why, size, "out of memory");
        return NULL;
    }
    k->impl = impl;
    k->desc = *d;
    k->pass = pass;
    k->isa = isa;
    k->workers = workers;
    k->pack_tiles = k->images = k->parts = k->reduce_tiles = 1;
    k->split_images = wf_conv2d_split_images(d);
    k->splits = (d->N + k->split_images - 1) / k->split_images;
    k->partial_sum_bytes = wf_conv2d_weights_count(d) * weft_dtype_size(d->weights_type);
    k->cycles = wf_conv2d_cycles(impl, d, pass, isa);
    snprintf(k->name, sizeof k->name, "%s", impl->name);
    if (!impl->create(k, why, size)) {
        free(k);
        return NULL;
    }
    k->cycles *= wf_conv2d_idle(k);
    return k;
}

void wf_conv2d_destroy(void *kernel)
{
    wf_conv2d *k = kernel;
    if (!k)
        return;
    if (k->stage.inner)
        wf_conv2d_destroy(k->stage.inner);
    else if (k->impl->destroy)
        k->impl->destroy(k);
    free(k);
}

weft_status wf_conv2d_pack(const wf_conv2d *k, int worker, const void *weights, void *packed,
                           int tile)
{
    assert(k->packed_bytes && tile >= 0 && tile < k->pack_tiles && worker < k->workers);
    return k->impl->pack(k->stage.inner ? k->stage.inner : k, worker, weights, packed, tile);
}

int wf_conv2d_tiles(const wf_conv2d *k)
{
    return (k->desc.N + k->images - 1) / k->images * k->parts;
}

weft_status wf_conv2d_run_images(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                 int part, void *scratch)
{
    if (k->stage.inner)
        return wf_conv2d_stage_run(k, worker, io, n, scratch);
    if (k->impl->batch)
        return k->impl->batch(k, worker, io, n, part, scratch);
    if (k->pass == WF_CONV2D_FORWARD)
        return k->impl->forward(k, worker, io->in, io->weights, io->bias, io->out, scratch);
    return k->impl->backward_data(k, worker, io->in, io->weights, io->out, scratch);
}

weft_status wf_conv2d_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, void *scratch,
                          int tile)
{
    assert(k->pass != WF_CONV2D_BACKWARD_WEIGHTS && !k->desc.bias == !io->bias);
    assert((k->desc.src_type == WEFT_U8) == (io->table != NULL));
    assert(tile >= 0 && tile < wf_conv2d_tiles(k) && worker < k->workers);
    const int first = tile / k->parts * k->images, left = k->desc.N - first;
    wf_conv2d_io at = *io;
    at.in = (const char *)io->in + (size_t)first * io->in_stride;
    at.out = (char *)io->out + (size_t)first * io->out_stride;
    return wf_conv2d_run_images(k, worker, &at, left < k->images ? left : k->images,
                                tile % k->parts, scratch);
}

weft_status wf_conv2d_backward_weights(const wf_conv2d *k, int worker,
                                       const wf_conv2d_gradient_io *io, void *partial_sums,
                                       size_t partial_sum_stride, void *scratch, int tile)
{
    assert(k->pass == WF_CONV2D_BACKWARD_WEIGHTS && worker < k->workers);
    assert((k->desc.src_type == WEFT_U8) == (io->table != NULL));
    assert(tile >= 0 && tile < k->splits * k->parts && partial_sum_stride >= k->partial_sum_bytes);
    int split = tile / k->parts;
    int first = split * k->split_images;
    int n = k->desc.N - first < k->split_images ? k->desc.N - first : k->split_images;
    wf_conv2d_gradient_io at = *io;
    at.src = (const char *)io->src + (size_t)first * io->src_stride;
    at.ddst = (const char *)io->ddst + (size_t)first * io->ddst_stride;
    char *to = (char *)partial_sums + (size_t)split * partial_sum_stride;
    return k->stage.inner
               ? wf_conv2d_stage_weights(k, worker, &at, n, to, tile % k->parts, scratch)
               : k->impl->backward_weights(k, worker, &at, n, to, tile % k->parts, scratch);
}

weft_status wf_conv2d_reduce(const wf_conv2d *k, int worker, void *partial_sums,
                             size_t partial_sum_stride, void *dweights, int tile)
{
    assert(k->pass == WF_CONV2D_BACKWARD_WEIGHTS && tile >= 0 && tile < k->reduce_tiles);
    return k->impl->reduce(k->stage.inner ? k->stage.inner : k, worker, partial_sums,
                           partial_sum_stride, dweights, tile);
}

/* Adds n arrays pairwise into the first. The caller passes short runs of elements, so that what one
 * level of the tree wrote is still in a near cache when the next level reads it. */
static void sum_chunk_f32(char *first, size_t stride, int n, size_t count)
{
    for (int step = 1; step < n; step *= 2)
        for (int i = 0; i + step < n; i += 2 * step) {
            float *a = (float *)(first + (size_t)i * stride);
            const float *b = (const float *)(first + (size_t)(i + step) * stride);
            for (size_t j = 0; j < count; j++)
                a[j] += b[j];
        }
}

static void sum_chunk_f64(char *first, size_t stride, int n, size_t count)
{
    for (int step = 1; step < n; step *= 2)
        for (int i = 0; i + step < n; i += 2 * step) {
            double *a = (double *)(first + (size_t)i * stride);
            const double *b = (const double *)(first + (size_t)(i + step) * stride);
            for (size_t j = 0; j < count; j++)
                a[j] += b[j];
        }
}

void wf_conv2d_add_partial_sums(weft_dtype type, void *first, size_t stride, int n, size_t count)
{
    const size_t run = 256; /* elements */
    size_t size = weft_dtype_size(type);
    for (size_t j = 0; j < count; j += run) {
        size_t length = count - j < run ? count - j : run;
        char *p = (char *)first + j * size;
        if (type == WEFT_F64)
            sum_chunk_f64(p, stride, n, length);
        else
            sum_chunk_f32(p, stride, n, length);
    }
}
