/* One image on its way into the network: normalise, flip, shift. Used by data loaders, and by the
 * op that normalises images.
 *
 * Threading: pure functions, any thread. Images are plain CHW. x and y must not overlap.
 * Shape letters: C channels, H height, W width. */
#ifndef WF_KERNELS_IMAGE_H
#define WF_KERNELS_IMAGE_H

#include "kernels/types.h"

typedef struct wf_image_kernels {
    const char *name;
    /* y = (x / 255 - mean[c]) / std[c], each operation rounded to f32: ToTensor and Normalize of
     * torchvision, to the bit. */
    void (*normalize)(int C, size_t pixels, const float *mean, const float *std, const uint8_t *x,
                      float *y);
} wf_image_kernels;

typedef struct wf_image_impl {
    const wf_image_kernels *kernels;
    weft_isa isa;
} wf_image_impl;
extern const wf_image_impl wf_image_impls[]; /* kernels.def's order */
extern const int wf_n_image_impls;
const wf_image_kernels *wf_image_get(weft_isa isa);

/* The same in f64. */
void wf_image_normalize_f64(int C, size_t pixels, const double *mean, const double *std,
                            const uint8_t *x, double *y);

/* Mirrors each row. `size` bytes an element: 1, 2, 4 or 8. */
void wf_image_flip(size_t size, int C, int H, int W, const void *x, void *y);
/* y(h, w) = x(h - down, w - right), zero where that lies outside: the picture moves down and
 * right; negative numbers move it up and left. */
void wf_image_shift(size_t size, int C, int H, int W, int down, int right, const void *x, void *y);

#endif
