/* Batch normalisation, one image per call (Ioffe and Szegedy 2015).
 *
 * An image is a wf_act: plain, blocked, or a range of rows of an (N, C) matrix, which is an image
 * of `rows` pixels in one block of C channels (wf_norm_rows). Per-channel arrays (mean, gamma, ...)
 * have exactly C elements of the image's type; nothing beyond is touched. Padding channels of the
 * input are zero and those of the output become zero. Outputs may be the inputs themselves.
 *
 * Statistics of an image are a partial sum of wf_norm_partial_count(C) doubles: first
 * the C first moments, then the C second ones, each half padded to 16 channels. It is
 * made of ranges of at most WF_NORM_RANGE pixels, each summed in the per-channel type, merged pairwise in
 * double. The partial sums of images are merged pairwise over the minibatch. Both trees depend on the shape alone.
 *
 * bf16 images: arithmetic is that of f32 images. Each value is rounded to nearest even where the op of
 * its own would have stored it, so that BatchNorm, addition and f have the same bits in one pass as
 * in three: z = x*scale + shift is rounded, z + residual is rounded, f of it is rounded. The backward
 * sums are of the rounded dz.
 *
 * Note [Groups of eight]. Bit masks (here) and the indices of max pooling must not depend on the
 * layout the plan gives an activation, which may differ between forward and backward. So both are
 * stored by groups of eight channels, whatever the block: element (c, pixel) of a mask is bit c%8
 * of byte (c/8)*pixels + pixel; an index is element ((c/8)*pixels + pixel)*8 + c%8.
 *
 * Threading: functions touch their arguments only. Letters: N images, C channels, H W pixels. */
#ifndef WF_KERNELS_NORM_H
#define WF_KERNELS_NORM_H

#include "kernels/types.h"

#define WF_NORM_RANGE 64

static inline size_t wf_norm_partial_count(int C)
{
    return 2 * (size_t)wf_round_up(C, 16);
}
/* Bytes of one image's mask: see Note [Groups of eight]. */
static inline size_t wf_norm_mask_bytes(int C, int64_t pixels)
{
    return (size_t)((C + 7) / 8) * (size_t)pixels;
}
/* `rows` rows of a row-major matrix with C columns, as an image. */
static inline wf_act wf_norm_rows(int C, int rows)
{
    return (wf_act){.C = C, .H = rows, .W = 1, .block = C};
}

/* The function f behind the normalisation. Where its derivative is 0 or 1, as ReLU's, the backward
 * pass knows it from a mask; else its first half computes z = x*scale
 * + shift again, and f' of it. */
typedef enum wf_norm_f {
    WF_NORM_LINEAR,
    WF_NORM_RELU,
    WF_NORM_RELU6,
    WF_NORM_SILU,
    WF_NORM_HARDSWISH
} wf_norm_f;
static inline bool wf_norm_recomputes(wf_norm_f f)
{
    return f == WF_NORM_SILU || f == WF_NORM_HARDSWISH;
}

/* y = f(x*scale + shift (+ residual)), scale = gamma*invstd, shift = beta - mean*scale. A residual
 * only with LINEAR, RELU and RELU6. */
typedef struct wf_norm_apply {
    wf_act act;
    wf_norm_f f;
    const void *mean, *invstd, *gamma, *beta; /* (C) */
    const void *x, *residual;                 /* images; residual may be NULL */
    void *y;
    uint8_t *mask; /* f' = 1; NULL: not wanted. Only with RELU and RELU6 */
} wf_norm_apply;

/* partial: sum of dy, sum of dy*(x-mean). With a mask, dy counts as zero where its bit is not set;
 * with an f that recomputes, as dz = dy*f'(z), which is an output, too. */
typedef struct wf_norm_reduce {
    wf_act act;
    wf_norm_f f; /* LINEAR for masks, too */
    const void *mean;
    const void *invstd, *gamma, *beta; /* only where f recomputes, as dz is; dz may be dy itself */
    void *dz;
    const void *x, *dy;
    const uint8_t *mask; /* may be NULL */
    double *partial;
} wf_norm_reduce;

/* training: dx = gamma*invstd * (dy - dbeta/count - (x-mean)*invstd*dgamma/count), which is the
 * gradient through the batch statistics too; else dx = gamma*invstd * dy. Mask as above. */
typedef struct wf_norm_dx {
    wf_act act;
    bool training;
    double count;                                       /* N*H*W */
    const void *mean, *invstd, *gamma, *dgamma, *dbeta; /* mean, dgamma, dbeta: only in training */
    const void *x, *dy;                                 /* x: only in training */
    const uint8_t *mask;                                /* may be NULL */
    void *dx;
    void *dresidual; /* dy under the mask; may be NULL */
} wf_norm_dx;

/* One implementation. */
typedef struct wf_norm_fns {
    const char *name;
    weft_isa isa;
    weft_dtype dtype; /* of images */
    int lanes;        /* 0: any layout; else that block, and ranges of rows */
    void (*stats)(wf_act act, const void *x, double *partial);
    void (*apply)(const wf_norm_apply *p);
    void (*backward_reduce)(const wf_norm_reduce *p);
    void (*backward_apply)(const wf_norm_dx *p);
} wf_norm_fns;

/* The best implementation for the layout on a CPU with `isa`; NULL for a type without one. */
const wf_norm_fns *wf_norm_find(weft_isa isa, weft_dtype dtype, wf_act act);
/* All of them, ordered best first, ending in NULL. */
extern const wf_norm_fns *const wf_norm_list[];

/* Merges n partial sums (number i at partials + i*wf_norm_partial_count(C)) for channels [c0, c1), in place: the
 * partial sums are used up. Each stands for `pixels` pixels, the last for
 * `last_pixels`. Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
 * computing sample variances" (1979). Writes elements [c0, c1) of arrays of the given type (f32 or
 * f64): mean, biased variance, 1/sqrt(var + eps). */
void wf_norm_combine_stats(double *partials, int64_t n, int64_t pixels, int64_t last_pixels, int C,
                           int c0, int c1, double eps, weft_dtype dtype, void *mean, void *var,
                           void *invstd);
/* The same for the backward sums: dbeta = the first sum, dgamma = the second times invstd. */
void wf_norm_combine_grads(double *partials, int64_t n, int C, int c0, int c1, weft_dtype dtype,
                           const void *invstd, void *dgamma, void *dbeta);
#endif
