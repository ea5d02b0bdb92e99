/* Reference convolution: every shape, layout and type the family knows, in plain loops.
 *
 * f32 and bf16 accumulate in f32, f64 in f64. Each output is summed in the order channel, r, s; a weight
 * gradient over p, q within an image, then image by image. An output of bf16 is summed in scratch and
 * rounded once; weights stay f32. Stateless, so any thread may run it. */
#include <stdio.h>
#include <string.h>

#include "kernels/conv2d/conv2d.h"
#include "kernels/select.h"

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    if (pass != WF_CONV2D_BACKWARD_DATA || d->src_type != WEFT_U8)
        return true;
    snprintf(why, size, "bytes have no gradient");
    return false;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    return wf_conv2d_expect(d, WEFT_ISA_SCALAR, 0.02);
}

static wf_act output_of(const wf_conv2d *k)
{
    return k->pass == WF_CONV2D_FORWARD ? wf_conv2d_dst(&k->desc) : wf_conv2d_src(&k->desc);
}

static bool writes_bf16(const wf_conv2d *k)
{
    return k->pass == WF_CONV2D_FORWARD         ? k->desc.dst_type == WEFT_BF16
           : k->pass == WF_CONV2D_BACKWARD_DATA ? k->desc.src_type == WEFT_BF16
                                                : false;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    k->reduce_tiles = k->desc.K;
    if (writes_bf16(k))
        k->scratch_bytes = wf_act_count(output_of(k)) * sizeof(float);
    return true;
}

static float from_bf16(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To nearest, ties to even; NaN stays NaN. */
static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Where kernel tap (r, s) meets the image: outputs [p0, p1) x [q0, q1), whose first input pixel is
 * (h0, w0). */
typedef struct tap {
    int p0, p1, q0, q1, h0, w0;
} tap;

static tap tap_at(const wf_conv2d_desc *d, int r, int s)
{
    tap t;
    wf_conv2d_range(d->H, d->P, d->stride[0], d->padding[0], d->dilation[0], r, &t.p0, &t.p1);
    wf_conv2d_range(d->W, d->Q, d->stride[1], d->padding[1], d->dilation[1], s, &t.q0, &t.q1);
    t.h0 = t.p0 * d->stride[0] + r * d->dilation[0] - d->padding[0];
    t.w0 = t.q0 * d->stride[1] + s * d->dilation[1] - d->padding[1];
    if (t.q0 >= t.q1) /* meets no pixel: w0 is none either */
        t.p1 = t.p0;
    return t;
}

#define T float
#define FN(name) name##_f32
#include "kernels/conv2d/ref_body.h"
#undef T
#undef FN

#define T double
#define FN(name) name##_f64
#include "kernels/conv2d/ref_body.h"
#undef T
#undef FN

static bool is_f64(const wf_conv2d *k)
{
    return k->desc.weights_type == WEFT_F64;
}

/* forward and backward-data, an image at a time */
static weft_status batch(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                         void *scratch)
{
    const bool forward = k->pass == WF_CONV2D_FORWARD, rounds = writes_bf16(k);
    float *const sums = rounds ? scratch : io->out;
    if (is_f64(k) && forward)
        forward_f64(&k->desc, io, io->out);
    else if (is_f64(k))
        backward_data_f64(&k->desc, io, io->out);
    else if (forward)
        forward_f32(&k->desc, io, sums);
    else
        backward_data_f32(&k->desc, io, sums);
    for (size_t i = 0; rounds && i < wf_act_count(output_of(k)); i++)
        ((uint16_t *)io->out)[i] = to_bf16(sums[i]);
    return WEFT_OK;
}

static weft_status backward_weights(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *partial_sum, int part, void *scratch)
{
    memset(partial_sum, 0, k->partial_sum_bytes);
    for (int i = 0; i < n; i++) {
        const void *x = (const char *)io->src + (size_t)i * io->src_stride;
        const void *dy = (const char *)io->ddst + (size_t)i * io->ddst_stride;
        if (is_f64(k))
            backward_weights_f64(&k->desc, x, io->table, dy, partial_sum);
        else
            backward_weights_f32(&k->desc, x, io->table, dy, partial_sum);
    }
    return WEFT_OK;
}

static weft_status reduce(const wf_conv2d *k, int worker, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile)
{
    size_t count = wf_conv2d_weights_count(&k->desc) / (size_t)k->desc.K;
    size_t bytes = count * weft_dtype_size(k->desc.weights_type);
    char *first = (char *)partial_sums + (size_t)tile * bytes;
    wf_conv2d_add_partial_sums(k->desc.weights_type, first, partial_sum_stride, k->splits, count);
    memcpy((char *)dweights + (size_t)tile * bytes, first, bytes);
    return WEFT_OK;
}

const wf_conv2d_impl wf_conv2d_ref = {
    .name = "ref",
    .isa = WEFT_ISA_SCALAR,
    .fits = fits,
    .expect = expect,
    .create = create,
    .batch = batch,
    .backward_weights = backward_weights,
    .reduce = reduce,
};
