/* What the files of the depthwise convolution share. A group is one channel, so a vector of channels
 * goes through a whole convolution of its own: a plane, the pixels of one channel block.
 *
 * Images are f32 or bf16 (Note [Elements] in element.h), weights, gradients of weights and sums f32.
 * Packed weights: channel blocks, R, S, L channels; what lies past K is zero.
 * Letters: H W plane read, P Q plane written, R S kernel; in wf_depthwise_spread, too. */
#ifndef WF_DEPTHWISE_H
#define WF_DEPTHWISE_H

#include "kernels/conv2d/conv2d.h"
#include "kernels/simd/element.h"

enum { L = WF_LANES };

/* The kernel rows that meet the image for one row of outputs: n of them, the first is r and meets
 * row h of x. */
typedef struct wf_depthwise_row {
    int h, r, n;
} wf_depthwise_row;

/* One plane's geometry as its direction sees it; made with the plan, read-only. */
typedef struct wf_depthwise {
    int H, W, P, Q, R, S;
    int stride[2], padding[2], dilation[2];
    int h_step, r_step; /* from one kernel row that meets an output to the next */
    int band;           /* rows of outputs that are taken together, where a pass does so */
    int fetch[2];       /* spread: pixels of x and y fetched ahead of their use; 0: none */
    wf_depthwise_row row[];
} wf_depthwise;

/* y[p][q] = bias + the sum over r, s of x[p*stride - padding + r*dilation][...] w[r][s]: one plane.
 * Padding may be negative. */
void WF_ELEMENT_FN(wf_depthwise_correlate)(const wf_depthwise *g, const wf_element *x,
                                           const float *w, wf_vf bias, wf_element *y);

/* Its adjoint, for strides past 1: y[p][q] sums x[h][w] w[r][s] over all that a correlation from
 * (P, Q) to (H, W) would read (p, q) for. */
void WF_ELEMENT_FN(wf_depthwise_spread)(const wf_depthwise *g, const wf_element *x, const float *w,
                                        wf_element *y);

/* Images one behind the other; strides in elements. */
typedef struct wf_depthwise_images {
    const wf_element *x, *dy;
    size_t x_stride, dy_stride;
    int n;
} wf_depthwise_images;

/* Adds the images' weight gradient of one plane: sum[r][s] += x[...] dy[p][q], in an order that the
 * geometry and n fix. */
void WF_ELEMENT_FN(wf_depthwise_gradient)(const wf_depthwise *g, const wf_depthwise_images *images,
                                          float *sum);
/* The same for 3x3 kernels where it is there: false, and nothing done, where it is not. */
bool WF_ELEMENT_FN(wf_depthwise_gradient_3x3)(const wf_depthwise *g,
                                              const wf_depthwise_images *images, float *sum);

/* A run of outputs cut into tiles of at most `most`, whose widths differ by one at most. */
typedef struct wf_tiling {
    int tiles, narrow, wide; /* the first `wide` tiles have narrow + 1 outputs */
} wf_tiling;

static inline wf_tiling wf_tiling_of(int outputs, int most)
{
    const int tiles = (outputs + most - 1) / most;
    return (wf_tiling){tiles, outputs / tiles, outputs % tiles};
}

static inline size_t wf_depthwise_plane(int H, int W)
{
    return (size_t)H * (size_t)W * L;
}

/* The compiler forgets how the pointer came about. Without it, GCC keeps the sum of a step and every
 * constant offset in a variable of its own, on the stack, instead of one pointer. */
static inline const void *wf_opaque(const void *p)
{
    __asm__("" : "+r"(p));
    return p;
}

/* Column w of a row. It may lie in the padding, where nothing is read. */
static inline const wf_element *wf_column(const wf_element *row, int w)
{
    return (const wf_element *)((uintptr_t)row + (uintptr_t)((intptr_t)w * L * (int)sizeof *row));
}

/* Asks for n pixels, `ahead` of p. */
WF_INLINE void wf_depthwise_fetch(const wf_element *p, int ahead, int n)
{
    p = wf_opaque(wf_column(p, ahead));
    for (int j = 0; j < n; j += 64 / (L * (int)sizeof *p)) /* one of each cache line */
        __builtin_prefetch(wf_column(p, j));
}

#endif
