/* Kernels of f32 over images of bf16: Note [Staged images]. Pure functions, any thread. */
#include <stdlib.h>

#include "kernels/conv2d/conv2d.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/select.h"

static size_t aligned(size_t bytes)
{
    return (bytes + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN;
}

bool wf_conv2d_staged(const wf_conv2d_desc *d, wf_conv2d_desc *staged)
{
    *staged = *d;
    if (d->src_type == WEFT_BF16)
        staged->src_type = WEFT_F32;
    if (d->dst_type == WEFT_BF16)
        staged->dst_type = WEFT_F32;
    return d->src_type == WEFT_BF16 || d->dst_type == WEFT_BF16;
}

/* What part `part` of a split of n images reads: whole channel blocks. */
static wf_conv2d_reads reads_of(const wf_conv2d *k, int n, int part)
{
    const wf_act src = wf_conv2d_src(&k->desc), dst = wf_conv2d_dst(&k->desc);
    wf_conv2d_reads r = {{0, n}, {0, src.C}, {0, dst.C}};
    if (k->impl->reads)
        r = k->impl->reads(k, n, part);
    r.src[0] = r.src[0] / src.block * src.block;
    r.dst[0] = r.dst[0] / dst.block * dst.block;
    r.src[1] = wf_round_up(r.src[1], src.block);
    r.dst[1] = wf_round_up(r.dst[1], dst.block);
    return r;
}

static double bf16_count(wf_act a, weft_dtype type, const int channels[2])
{
    return type == WEFT_BF16 ? (double)(channels[1] - channels[0]) * a.H * a.W : 0;
}

static double conversion_cycles(double count)
{
    return wf_expect_bytes(count * (sizeof(uint16_t) + sizeof(float)));
}

/* Of a whole backward-weights pass. */
static double weights_cycles(const wf_conv2d *k, const wf_conv2d *inner)
{
    const wf_conv2d_desc *d = &k->desc;
    double count = 0;
    for (int part = 0; part < k->parts; part++) {
        const wf_conv2d_reads r = reads_of(inner, k->split_images, part);
        count += (bf16_count(wf_conv2d_src(d), d->src_type, r.src) +
                  bf16_count(wf_conv2d_dst(d), d->dst_type, r.dst)) *
                 (r.images[1] - r.images[0]) / k->split_images;
    }
    return conversion_cycles(d->N * count);
}

double wf_conv2d_stage_cycles(const wf_conv2d_desc *d)
{
    double count = 0;
    if (d->src_type == WEFT_BF16)
        count += (double)wf_act_count(wf_conv2d_src(d));
    if (d->dst_type == WEFT_BF16)
        count += (double)wf_act_count(wf_conv2d_dst(d));
    return conversion_cycles(d->N * count);
}

wf_conv2d *wf_conv2d_stage_create(const wf_conv2d_desc *d, wf_conv2d *inner)
{
    wf_conv2d *k = malloc(sizeof *k);
    if (!k)
        return NULL;
    *k = *inner;
    k->desc = *d;
    k->state = NULL;
    const bool weights = k->pass == WF_CONV2D_BACKWARD_WEIGHTS;
    const size_t images = (size_t)(weights ? k->split_images : k->images);
    const size_t src =
        d->src_type == WEFT_BF16 ? aligned(wf_act_count(wf_conv2d_src(d)) * sizeof(float)) : 0;
    const size_t dst =
        d->dst_type == WEFT_BF16 ? aligned(wf_act_count(wf_conv2d_dst(d)) * sizeof(float)) : 0;
    const bool backward = k->pass == WF_CONV2D_BACKWARD_DATA;
    k->stage = (wf_conv2d_stage){.inner = inner,
                                 .scratch = aligned(inner->scratch_bytes),
                                 .in_bytes = backward ? dst : src,
                                 .out_bytes = backward ? src : dst};
    k->scratch_bytes = k->stage.scratch + images * (k->stage.in_bytes + k->stage.out_bytes);
    if (!weights)
        k->parts = 1, k->usual_tiles = 0;
    k->cycles *= wf_conv2d_idle(k) / wf_conv2d_idle(inner);
    k->cycles += weights ? weights_cycles(k, inner) : wf_conv2d_stage_cycles(d);
    return k;
}

static void convert(weft_dtype from, weft_dtype to, size_t count, int n, const char *x,
                    size_t x_stride, char *y, size_t y_stride)
{
    const wf_cast_fn cast = wf_cast_get(from, to);
    for (int i = 0; i < n; i++)
        cast(count, x + (size_t)i * x_stride, y + (size_t)i * y_stride);
}

weft_status wf_conv2d_stage_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n,
                                void *scratch)
{
    const wf_conv2d_stage *s = &k->stage;
    const wf_conv2d *inner = s->inner;
    const bool forward = k->pass == WF_CONV2D_FORWARD;
    const size_t src = wf_act_count(wf_conv2d_src(&k->desc));
    const size_t dst = wf_act_count(wf_conv2d_dst(&k->desc));
    char *in = (char *)scratch + s->scratch, *out = in + (size_t)k->images * s->in_bytes;
    wf_conv2d_io at = *io;
    if (s->in_bytes) {
        convert(WEFT_BF16, WEFT_F32, forward ? src : dst, n, io->in, io->in_stride, in,
                s->in_bytes);
        at.in = in;
        at.in_stride = s->in_bytes;
    }
    if (s->out_bytes) {
        at.out = out;
        at.out_stride = s->out_bytes;
    }
    weft_status status = WEFT_OK;
    for (int part = 0; part < inner->parts && status == WEFT_OK; part++)
        status = wf_conv2d_run_images(inner, worker, &at, n, part, scratch);
    if (s->out_bytes && status == WEFT_OK)
        convert(WEFT_F32, WEFT_BF16, forward ? dst : src, n, out, s->out_bytes, io->out,
                io->out_stride);
    return status;
}

/* Converts channels [channels[0], channels[1]) of images [images[0], images[1]). */
static void convert_channels(wf_act a, const int channels[2], const int images[2], const void *from,
                             size_t from_stride, char *to, size_t to_stride)
{
    const size_t at = wf_act_index(a, channels[0], 0, 0);
    const size_t count = (size_t)(channels[1] - channels[0]) * (size_t)a.H * (size_t)a.W;
    const size_t first = (size_t)images[0];
    convert(WEFT_BF16, WEFT_F32, count, images[1] - images[0],
            (const char *)from + first * from_stride + at * sizeof(uint16_t), from_stride,
            to + first * to_stride + at * sizeof(float), to_stride);
}

weft_status wf_conv2d_stage_weights(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *partial_sum, int part, void *scratch)
{
    const wf_conv2d_stage *s = &k->stage;
    const wf_conv2d_reads r = reads_of(s->inner, n, part);
    char *src = (char *)scratch + s->scratch, *ddst = src + (size_t)k->split_images * s->in_bytes;
    wf_conv2d_gradient_io at = *io;
    if (s->in_bytes) {
        convert_channels(wf_conv2d_src(&k->desc), r.src, r.images, io->src, io->src_stride, src,
                         s->in_bytes);
        at.src = src;
        at.src_stride = s->in_bytes;
    }
    if (s->out_bytes) {
        convert_channels(wf_conv2d_dst(&k->desc), r.dst, r.images, io->ddst, io->ddst_stride, ddst,
                         s->out_bytes);
        at.ddst = ddst;
        at.ddst_stride = s->out_bytes;
    }
    return k->impl->backward_weights(s->inner, worker, &at, n, partial_sum, part, scratch);
}
