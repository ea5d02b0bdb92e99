/* Resizing as PIL does it: each pixel of the result is a weighted sum of the pixels under a filter
 * that is as wide as the result's pixel, first along rows, then along columns.
 *
 * Weights are integers in units of 2^-WF_RESIZE_BITS; sums are exact and are rounded to the nearest
 * level after each of the two passes. So every implementation gives PIL's pixels to the bit. The
 * source of the arithmetic is Pillow 13's Resample.c.
 *
 * Threading: pure functions, any thread. Shape letters: C channels (1 or 3), H height, W width. */
#ifndef WF_KERNELS_IMAGE_RESIZE_H
#define WF_KERNELS_IMAGE_RESIZE_H

#include "kernels/types.h"

enum {
    WF_RESIZE_BITS = 22, /* of a weight behind the binary point */
    WF_RESIZE_ROWS = 16, /* that `columns` takes at once */
};

typedef enum wf_resize_filter {
    WF_RESIZE_BILINEAR,
    WF_RESIZE_BICUBIC,
    WF_RESIZE_NEAREST,
} wf_resize_filter;

/* One dimension: which pixels of the input make each pixel of the result. */
typedef struct wf_resize_axis {
    int out;          /* pixels of the result */
    int room;         /* weights that each of them has room for */
    int32_t *first;   /* (out) the first input pixel */
    int32_t *count;   /* (out) how many; 0: the result is 0 */
    int32_t *weights; /* (out, room) */
} wf_resize_axis;

/* How many weights a pixel of the result needs at most, where the input's range from .. to becomes
 * `out` pixels. */
int wf_resize_room(wf_resize_filter filter, float from, float to, int out);
/* Fills the arrays of axis, whose out and room are set. `in`: the input's pixels; 0 <= from < to <=
 * in. mirror: the result runs backwards. scratch: `room` doubles. */
void wf_resize_axis_fill(const wf_resize_axis *axis, wf_resize_filter filter, int in, float from,
                         float to, bool mirror, double *scratch);

/* The input pixels that an axis reads: from *first on, *end is behind the last one. */
void wf_resize_span(const wf_resize_axis *axis, int *first, int *end);

typedef struct wf_resize_kernels {
    const char *name;
    /* Along rows. rows[0 .. n-1] are interleaved, (in, C); n is 1 to WF_RESIZE_ROWS. Pixel j of row
     * r and channel c goes to y[c * plane + r * stride + j]: the planes come apart. scratch:
     * wf_resize_scratch bytes. */
    void (*columns)(const wf_resize_axis *axis, int C, const uint8_t *const *rows, int n,
                    uint8_t *y, size_t stride, size_t plane, uint8_t *scratch);
    /* Along columns: y (W) from `count` rows of W pixels, `stride` bytes apart, with their weights.
     */
    void (*row)(int W, int count, const int32_t *weights, const uint8_t *x, size_t stride,
                uint8_t *y);
    /* Planes from interleaved pixels: y[c * plane + i] = x[i][c], or from x[pixels-1-i] if
     * mirrored. */
    void (*split)(int C, int pixels, bool mirror, const uint8_t *x, uint8_t *y, size_t plane);
} wf_resize_kernels;

size_t wf_resize_scratch(const wf_resize_axis *axis, int C);

typedef struct wf_resize_impl {
    const wf_resize_kernels *kernels;
    weft_isa isa;
} wf_resize_impl;
extern const wf_resize_impl wf_resize_impls[]; /* kernels.def's order */
extern const int wf_n_resize_impls;
const wf_resize_kernels *wf_resize_get(weft_isa isa);

#endif
