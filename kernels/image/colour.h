/* Arithmetic on the bytes of images: what the ops of augmentation are made of. Every
 * implementation gives the reference's bits, which are PIL's where PIL has the op. The source of the
 * arithmetic is Pillow 13's Blend.c, Convert.c and Filter.c.
 *
 * Threading: pure functions, any thread. Images are planar. Nothing needs alignment. */
#ifndef WF_KERNELS_IMAGE_COLOUR_H
#define WF_KERNELS_IMAGE_COLOUR_H

#include "kernels/types.h"

typedef struct wf_colour_kernels {
    const char *name;
    /* y = y * own + x * other in f32, each operation rounded, to the nearest level, ties to even.
     * own and other are at least 0, and their sum is at most 1 but for rounding. */
    void (*mix)(size_t n, float own, float other, const uint8_t *x, uint8_t *y);
    /* y = base + factor * (y - base) in f32, cut off and clipped: Image.blend(base, y, factor).
     * |factor| is at most 2^22. */
    void (*blend)(size_t n, float factor, const uint8_t *base, uint8_t *y);
    void (*blend_level)(size_t n, float factor, uint8_t base, uint8_t *y); /* one base for all */
    /* y = (19595 r + 38470 g + 7471 b + 2^15) / 2^16, cut off: convert("L"). y may be r. */
    void (*grey)(size_t n, const uint8_t *r, const uint8_t *g, const uint8_t *b, uint8_t *y);
    /* y (H, W) from x: (1 1 1, 1 5 1, 1 1 1) / 13 in f32, rounded to nearest; the border is copied:
     * filter(ImageFilter.SMOOTH). */
    void (*smooth)(int H, int W, const uint8_t *x, uint8_t *y);
    /* The sum of n bytes. */
    uint64_t (*sum)(size_t n, const uint8_t *x);
    /* y (H, W) = x, convolved with `taps` weights (odd, at most 2 min(H, W) - 1) in each direction in
     * f32, rounded to nearest, ties to even; the border is mirrored without repeating it. scratch:
     * wf_blur_scratch bytes, aligned to a float. */
    void (*blur)(int H, int W, int taps, const float *weights, const uint8_t *x, void *scratch,
                 uint8_t *y);
} wf_colour_kernels;

static inline size_t wf_blur_scratch(int H, int W, int taps)
{
    return ((size_t)H * (size_t)W + (size_t)W + (size_t)taps) * sizeof(float);
}

typedef struct wf_colour_impl {
    const wf_colour_kernels *kernels;
    weft_isa isa;
} wf_colour_impl;
extern const wf_colour_impl wf_colour_impls[]; /* kernels.def's order */
extern const int wf_n_colour_impls;
const wf_colour_kernels *wf_colour_get(weft_isa isa);

/* ---- the same on every instruction set ------------------------------------------------------ */

/* y = table[y] */
void wf_colour_look_up(size_t n, const uint8_t *table, uint8_t *y);
/* How often each level occurs. */
void wf_colour_histogram(size_t n, const uint8_t *x, uint32_t count[WF_BYTE_VALUES]);
/* Adds `shift` to the hue of each pixel, modulo 256: convert("HSV"), add, convert("RGB"). */
void wf_colour_hue(size_t n, uint8_t shift, uint8_t *r, uint8_t *g, uint8_t *b);

#endif
