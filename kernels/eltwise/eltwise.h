/* Element-by-element kernels over contiguous ranges, and per-channel bias over one image.
 *
 * Owns: add, scale, relu and prelu and their gradients, fill, per-channel bias and scale, type conversion,
 * generic broadcast, dropout. Threading: pure functions, any thread. Every implementation of a type
 * gives the same bits: each element sees the same rounded operations in the same order. Ranges may
 * start on any element boundary. An output may be one of the inputs, never overlap it otherwise.
 * Shape letters: n elements of a range; C channels, H height, W width of one image. */
#ifndef WF_KERNELS_ELTWISE_H
#define WF_KERNELS_ELTWISE_H

#include "kernels/types.h"

/* The kernels of one element type: f32, f64 or bf16. Every operand has that type, but for bias's b,
 * mul_channels' s and prelu's w, which are f32 where images are bf16. Scalars are doubles, rounded once to the type of
 * arithmetic, which is f32 for bf16; each result is rounded to bf16 once, where it is stored. */
typedef struct wf_eltwise {
    const char *name; /* for explain and traces: "eltwise:avx2" */
    void (*add)(size_t n, const void *a, const void *b, void *y); /* also accumulates: y == a */
    void (*scale)(size_t n, const void *x, double factor, void *y);
    void (*add_scalar)(size_t n, const void *x, double value, void *y);
    void (*relu)(size_t n, const void *x, void *y); /* NaN stays NaN */
    /* dx = 0 where y <= 0, else dy (where y is NaN too); y is relu's output (or input). */
    void (*relu_backward)(size_t n, const void *y, const void *dy, void *dx);
    void (*fill)(size_t n, double value, void *y);
    /* y = x + b per channel, one image; b has a.C values. Padding channels become zero. */
    void (*bias)(wf_act a, const void *x, const void *b, void *y);
    /* y = x * s per channel, one image; s has values for the padding channels, too. */
    void (*mul_channels)(wf_act a, const void *x, const void *s, void *y);
    /* y = x where x > 0, else w x; one image; w has a.C values. Padding that is zero stays so. */
    void (*prelu)(wf_act a, const void *x, const void *w, void *y);
    /* dx = dy where x > 0, else w dy; products = 0 and x dy: summed per channel they are dw. */
    void (*prelu_backward)(wf_act a, const void *x, const void *w, const void *dy, void *dx,
                           void *products);
} wf_eltwise;

/* One implementation of kernels.def. */
typedef struct wf_eltwise_impl {
    const wf_eltwise *kernels;
    weft_isa isa; /* the least it needs */
    weft_dtype dtype;
} wf_eltwise_impl;
extern const wf_eltwise_impl wf_eltwise_impls[]; /* kernels.def's order */
extern const int wf_n_eltwise_impls;

/* The best implementation for dtype that runs on isa; NULL for types without any. */
const wf_eltwise *wf_eltwise_get(weft_dtype dtype, weft_isa isa);

/* Conversion of n elements. f32 or f64 to bf16 rounds to nearest even, denormals as well; NaN stays
 * NaN, quiet and of its sign. */
typedef void (*wf_cast_fn)(size_t n, const void *x, void *y);
/* NULL unless both types are floating point. Equal types give a copy. */
wf_cast_fn wf_cast_get(weft_dtype from, weft_dtype to);

/* y (dense, row-major, shape dim[0..rank)) = x broadcast: stride[i] is x's distance, in elements,
 * along y's dimension i, 0 where it is broadcast. `size` bytes an element (1, 2, 4, 8). */
void wf_broadcast(size_t size, int rank, const int64_t *dim, const int64_t *stride, const void *x,
                  void *y);

/* Dropout's random numbers. Note [Dropout bits]: element i of the logical NCHW tensor takes word
 * i % 4 of Philox4x32-10 with key (seed) and counter (i / 4, draw, op), so that the bits depend
 * neither on the layout, nor on tiles, nor on threads. Source: Salmon et al. 2011 (Random123). */
typedef struct wf_dropout {
    uint64_t seed;
    uint32_t draw, op;
    double p; /* 0 <= p < 1: the probability of dropping */
    /* factor not 0: alpha dropout, which keeps x + alpha in x's place, and gives factor (y - alpha) for
     * y; each of the four steps is rounded */
    double alpha, factor;
} wf_dropout;
/* One image: y = x / (1 - p) where kept, else 0. `first` is the logical index of the image's first
 * element, n * C * H * W. Forward and backward are the same function. dtype f32, f64 or
 * bf16, computed in f32. Every ISA gives the same bits. */
typedef void (*wf_dropout_fn)(const wf_dropout *d, wf_act a, int64_t first, const void *x, void *y);
wf_dropout_fn wf_dropout_get(weft_dtype dtype, weft_isa isa);

#endif
