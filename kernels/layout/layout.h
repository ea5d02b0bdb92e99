/* One image's elements moved: between layouts (plain CHW and channel blocks, any to any), and
 * channels gathered from several images.
 *
 * Threading: pure functions, any thread; bits are moved, never changed. x and y must not overlap.
 * Padding channels of the result are zero. Shape letters: C channels, H height, W width. */
#ifndef WF_KERNELS_LAYOUT_H
#define WF_KERNELS_LAYOUT_H

#include "kernels/types.h"

/* Where a gathered channel comes from: channel `channel` of image `image`; image -1: it is zero. */
typedef struct wf_channel_from {
    int32_t image, channel;
} wf_channel_from;

typedef struct wf_layout {
    const char *name;
    /* One image of C x H x W, from a.block to to_block (1: plain). */
    void (*reorder)(wf_act a, int to_block, const void *x, void *y);
    const char *gather_name;
    /* Channel c of y is from[c], c < a.C. The images x[] have a's H, W and block, any channels. */
    void (*gather)(wf_act a, const wf_channel_from *from, const void *const *x, void *y);
} wf_layout;

typedef struct wf_layout_impl {
    const wf_layout *kernels;
    weft_isa isa;
    size_t size; /* bytes an element */
} wf_layout_impl;
extern const wf_layout_impl wf_layout_impls[]; /* kernels.def's order */
extern const int wf_n_layout_impls;

/* The best implementation for elements of `size` bytes (1, 2, 4, 8) on isa; NULL for others. */
const wf_layout *wf_layout_get(size_t size, weft_isa isa);

/* The references for elements of any size. */
void wf_reorder_any(size_t size, wf_act a, int to_block, const void *x, void *y);
void wf_gather_any(size_t size, wf_act a, const wf_channel_from *from, const void *const *x,
                   void *y);

/* Zeroes the padding channels of one image. */
void wf_zero_padding(size_t size, wf_act a, void *y);

#endif
