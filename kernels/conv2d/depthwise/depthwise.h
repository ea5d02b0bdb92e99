/* What the files of the depthwise convolution share. A group is one channel, so a vector of channels is
 * a whole convolution of its own: of a plane, which is the pixels of one channel block.
 *
 * Images are f32 or bf16 (Note [Elements] in element.h); weights, gradients of weights and sums are f32.
 * Packed weights: [channel block][R][S][L channels]; channels past K are zero.
 * Letters: H W plane that is read, P Q plane that is written, R S filter; in wf_depthwise_spread, too. */
#ifndef WF_DEPTHWISE_H
#define WF_DEPTHWISE_H

#include "kernels/conv2d/conv2d.h"
#include "kernels/simd/element.h"

enum { L = WF_LANES };

/* The filter rows that meet the image for one row of outputs: n of them. The first one is r and meets
 * row h of x. */
typedef struct wf_depthwise_row {
    int h, r, n;
} wf_depthwise_row;

/* The geometry of a plane as the pass sees it. The plan makes it; then it is read-only. */
typedef struct wf_depthwise {
    int H, W, P, Q, R, S;
    int stride[2], padding[2], dilation[2];
    int h_step, r_step; /* from one filter row that meets an output to the next */
    int band;           /* rows of outputs that a pass takes at once, if it does so */
    int prefetch[2];    /* spread: how many pixels ahead x and y are prefetched; 0: not */
    wf_depthwise_row row[];
} wf_depthwise;

/* y[p][q] = bias + the sum over r, s of x[p*stride - padding + r*dilation][...] w[r][s]: one plane.
 * Padding may be negative. */
void WF_ELEMENT_FN(wf_depthwise_correlate)(const wf_depthwise *g, const wf_element *x,
                                           const float *w, wf_vf bias, wf_element *y);

/* Its adjoint, for strides past 1: y[p][q] is the sum of x[h][w] w[r][s] over all (h, w, r, s) for which a
 * correlation from (P, Q) to (H, W) would read (p, q). */
void WF_ELEMENT_FN(wf_depthwise_spread)(const wf_depthwise *g, const wf_element *x, const float *w,
                                        wf_element *y);

/* Images. Strides are in elements, from one to the next. */
typedef struct wf_depthwise_images {
    const wf_element *x, *dy;
    size_t x_stride, dy_stride;
    int n;
} wf_depthwise_images;

/* Adds the images' weight gradient of one plane: sum[r][s] += x[...] dy[p][q], in an order that the
 * geometry and n fix. */
void WF_ELEMENT_FN(wf_depthwise_gradient)(const wf_depthwise *g, const wf_depthwise_images *images,
                                          float *sum);
/* The same for 3x3 filters. False: it does nothing, since it does not fit this geometry. */
bool WF_ELEMENT_FN(wf_depthwise_gradient_3x3)(const wf_depthwise *g,
                                              const wf_depthwise_images *images, float *sum);

/* A row of outputs cut into strips of at most `most` outputs, whose widths differ by one at most. */
typedef struct wf_strips {
    int strips, narrow, wide; /* the first `wide` strips have narrow + 1 outputs */
} wf_strips;

static inline wf_strips wf_strips_of(int outputs, int most)
{
    const int strips = (outputs + most - 1) / most;
    return (wf_strips){strips, outputs / strips, outputs % strips};
}

static inline size_t wf_depthwise_plane(int H, int W)
{
    return (size_t)H * (size_t)W * L;
}

/* Hides from the compiler how the pointer came about. Otherwise GCC keeps the sum of a step and each
 * constant offset in a variable of its own, on the stack, instead of one pointer. */
static inline const void *wf_opaque(const void *p)
{
    __asm__("" : "+r"(p));
    return p;
}

/* Column w of a row. It may lie in the padding; then the caller does not read it. */
static inline const wf_element *wf_column(const wf_element *row, int w)
{
    return (const wf_element *)((uintptr_t)row + (uintptr_t)((intptr_t)w * L * (int)sizeof *row));
}

/* Prefetches n pixels, `ahead` pixels behind p. */
WF_INLINE void wf_depthwise_prefetch(const wf_element *p, int ahead, int n)
{
    p = wf_opaque(wf_column(p, ahead));
    for (int j = 0; j < n; j += 64 / (L * (int)sizeof *p)) /* one of each cache line */
        __builtin_prefetch(wf_column(p, j));
}

#endif
