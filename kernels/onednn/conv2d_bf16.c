/* Convolution of bf16 images by oneDNN, in channel blocks of 16, by VDPBF16PS: what fits, what it costs, and the
 * packed weights. run.h has the rest.
 *
 * Weft packs the weights itself: oneDNN's reorder from f32 to bf16 has one scratchpad for all threads. oneDNN asks
 * for one of three formats, which consist of squares of 16 outputs by 16 inputs, each as wf_dot_pack_square
 * writes it. Pure functions, but for creation: one thread at a time. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/square.h"
#include "kernels/onednn/run.h"
#include "kernels/select.h"

enum { L = 16, SQUARE = L * L };

/* How the squares of a format follow each other: a square has all its taps behind it. */
typedef struct packing {
    bool inputs_outermost; /* blocks of C; else of K */
    int K_blocks, C_blocks;
    wf_dot_place tap[]; /* by r * S + s */
} packing;

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (wf_cpu_bf16() != WF_BF16_DOT)
        reason = "for avx512_bf16 without AMX";
    else if (d->src_type != WEFT_BF16 || d->dst_type != WEFT_BF16 || d->weights_type != WEFT_F32)
        reason = "reads and writes images of bf16";
    else if (d->src_block != L || d->dst_block != L || d->groups > 1)
        reason = "needs src and dst in blocks of 16 channels, and one group";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason && !wf_dnnl_misfit(d, pass, why, size);
}

static double share(const wf_costs *c, const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool point = d->R == 1 && d->S == 1, tiny = d->Q < 8, small = d->Q < 28;
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
        return tiny    ? c->onednn_bf16_weights_tiny
               : small ? c->onednn_bf16_weights_small
                       : c->onednn_bf16_weights;
    if (point)
        return tiny    ? c->onednn_bf16_point_tiny
               : small ? c->onednn_bf16_point_small
                       : c->onednn_bf16_point;
    return tiny && pass == WF_CONV2D_BACKWARD_DATA ? c->onednn_bf16_data_tiny
                                                   : c->onednn_bf16_forward;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    return wf_conv2d_expect(d, WEFT_ISA_AVX512,
                            share(wf_machine_class_of(WEFT_ISA_AVX512)->cost, d, pass));
}

/* Whether oneDNN settled on weights of this format. */
static bool has_format(const wf_conv2d *k, dnnl_format_tag_t tag)
{
    const wf_dnnl_state *s = k->state;
    int64_t dims[5];
    dnnl_format_tag_t plain;
    const int rank = wf_dnnl_weights_dims(&k->desc, dims, &plain);
    wf_dnnl_md md = wf_dnnl_md_create(rank, dims, dnnl_bf16, tag);
    const bool same = md && dnnl_memory_desc_equal(md, s->conv.weights);
    wf_dnnl_md_free(md);
    return same;
}

static bool plan_packing(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    const bool data = k->pass == WF_CONV2D_BACKWARD_DATA;
    const bool inputs_outermost = data && has_format(k, dnnl_IOhw8o16i2o);
    const size_t taps = (size_t)d->R * (size_t)d->S;
    wf_dnnl_state *s = k->state;
    if (!inputs_outermost && !has_format(k, data ? dnnl_OIhw8o16i2o : dnnl_OIhw8i16o2i)) {
        snprintf(why, size, "oneDNN wants the weights in a format that Weft does not write");
        return false;
    }
    packing *p = s->packing = malloc(sizeof *p + taps * sizeof *p->tap);
    if (!p) {
        snprintf(why, size, "out of memory");
        return false;
    }
    *p = (packing){inputs_outermost, (d->K + L - 1) / L, (d->C + L - 1) / L};
    for (size_t t = 0; t < taps; t++)
        p->tap[t] = (wf_dot_place){.start = (int64_t)(t * SQUARE)};
    k->packed_bytes = s->conv.weights_bytes;
    k->pack_tiles = p->K_blocks;
    return true;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    if (!wf_dnnl_create(k, true, why, size))
        return false;
    if (k->pass == WF_CONV2D_BACKWARD_WEIGHTS || plan_packing(k, why, size))
        return true;
    wf_dnnl_destroy(k);
    return false;
}

/* A tile is a block of K, whose plain weights lie in one piece. */
static weft_status pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const wf_dnnl_state *s = k->state;
    const packing *p = s->packing;
    const bool data = k->pass == WF_CONV2D_BACKWARD_DATA;
    const size_t taps = (size_t)d->R * (size_t)d->S, row = (size_t)d->C * taps;
    const wf_dot_plain w = {.w = weights,
                            .output = data ? taps : row,
                            .input = data ? row : taps,
                            .outputs = data ? d->C : d->K,
                            .inputs = data ? d->K : d->C,
                            .taps = (int)taps,
                            .tap = p->tap};
    for (int c = 0; c < p->C_blocks; c++) {
        const int square = p->inputs_outermost ? c * p->K_blocks + tile : tile * p->C_blocks + c;
        wf_dot_pack_square_avx512_bf16(&w, data ? tile : c, data ? c : tile, 2 * L,
                                       (uint16_t *)packed + (size_t)square * taps * SQUARE);
    }
    return WEFT_OK;
}

const wf_conv2d_impl wf_conv2d_onednn_bf16 = {
    .name = "onednn_bf16",
    .isa = WEFT_ISA_AVX512,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = wf_dnnl_destroy,
    .pack = pack,
    .forward = wf_dnnl_forward,
    .backward_data = wf_dnnl_backward_data,
    .backward_weights = wf_dnnl_backward_weights,
    .reduce = wf_dnnl_reduce,
};
