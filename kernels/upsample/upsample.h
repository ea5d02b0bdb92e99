/* Resampling of one image per call, nearest or bilinear, and its gradient.
 *
 * Along each dimension an output element is w[0] x[from[0]] + w[1] x[from[1]] of the input; nearest
 * has from[0] alone. Padding channels are zero and stay zero. Images of bf16 are computed in f32, sums
 * of gradients too, and each value is rounded once. A bilinear gradient is added up along rows first.
 *
 * Threading: functions touch their arguments only. Letters: C channels, H W input, P Q output. */
#ifndef WF_KERNELS_UPSAMPLE_H
#define WF_KERNELS_UPSAMPLE_H

#include "kernels/types.h"

typedef struct wf_upsample_tap {
    int from[2];
    double w[2]; /* rounded once to the images' type, f32 for bf16 */
    float f[2];  /* the same, rounded */
} wf_upsample_tap;

typedef struct wf_upsample {
    wf_act in; /* the input; the output has the same C and block */
    int P, Q;
    bool nearest;
    const wf_upsample_tap *rows, *cols; /* P and Q of them; not owned */
} wf_upsample;

/* The taps of one dimension, `in` to `out` elements, as torch.nn.functional.interpolate has them
 * where a size is given. Nearest: floor(o * (in / out)), computed in dtype, or f32 for bf16, as
 * PyTorch does.
 * Bilinear: the centre of output o lies at (o + 1/2) in/out - 1/2, not below 0, or with
 * align_corners at o (in - 1)/(out - 1). */
void wf_upsample_taps(bool nearest, bool align_corners, weft_dtype dtype, int in, int out,
                      wf_upsample_tap *taps);

/* One implementation. Images x, dx are `in`, y, dy are (C, P, Q) in its block. */
typedef struct wf_upsample_fns {
    const char *name;
    weft_isa isa;
    weft_dtype dtype;
    int lanes; /* the block is a multiple of it */
    void (*forward)(const wf_upsample *g, const void *x, void *y);
    void (*backward)(const wf_upsample *g, const void *dy, void *dx);
} wf_upsample_fns;

/* All of them, best first, ending in NULL. */
extern const wf_upsample_fns *const wf_upsample_list[];
/* The best implementation for images in blocks of `block` on isa; NULL for a type without one. */
const wf_upsample_fns *wf_upsample_find(weft_isa isa, weft_dtype dtype, int block);

#endif
