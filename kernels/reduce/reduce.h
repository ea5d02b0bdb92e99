/* Sums: of runs, of columns, of channels. The greatest and the least of many.
 *
 * Note [Fixed reduction trees]. A sum is cut into ranges of at most WF_RANGE values. The values of a
 * range are added in the element type (bf16's in f32). These partial sums are merged in double:
 * pairwise, neighbours first, so range 2i with range 2i + 1, and the results likewise; what is left
 * over at the end is added from the smallest to the largest. A range of contiguous values has 16
 * accumulators: value i goes to accumulator i % 16, in order, and then they are added by halves (j
 * and j + 8, then 4, 2, 1). A range of a column adds its rows in order. The tree thus depends on the
 * number of values alone: any layout, ISA, tiling and number of threads gives the same bits.
 *
 * Threading: pure functions, any thread. Shape letters: C channels, H height, W width. */
#ifndef WF_KERNELS_REDUCE_H
#define WF_KERNELS_REDUCE_H

#include "kernels/types.h"

enum { WF_RANGE = 64, WF_ACCUMULATORS = 16 };

/* Where the values lie that are reduced: see extreme. */
typedef struct wf_strides {
    size_t outer, K, stride, n;
} wf_strides;

/* The kernels of one element type, f32, f64 or bf16. Results are doubles, to be merged or rounded; only
 * the extremes are of the element type, and those bf16 has not. */
typedef struct wf_reduce {
    const char *name;
    /* The sum of n contiguous values. */
    double (*run)(size_t n, const void *x);
    /* y[j] = the sum over rows r of x[r * stride + j], j < n. */
    void (*columns)(size_t rows, size_t stride, size_t n, const void *x, double *y);
    /* y[c] = the sum over the pixels of channel c, c < a.C; one image, plain or blocked. */
    void (*channels)(wf_act a, const void *x, double *y);
    /* The same of x's products with z, each rounded to the element type (f32 for bf16). */
    void (*channels_dot)(wf_act a, const void *x, const void *z, double *y);
    /* y[o * n + j] = the greatest (least: the least) of x[(o * K + k) * stride + j] over k < K, for
     * o < outer and j < n; K > 0. NaN where one is NaN, and -0 is below 0: the same bits in any
     * order. NULL for bf16, as arg is. */
    void (*extreme)(wf_strides s, bool least, const void *x, void *y);
    /* The k of that value: the first of equal ones (-0 and 0 are equal), or of the first NaN. */
    void (*arg)(wf_strides s, bool least, const void *x, int64_t *y);
} wf_reduce;

typedef struct wf_reduce_impl {
    const wf_reduce *kernels;
    weft_isa isa;
    weft_dtype dtype;
} wf_reduce_impl;
extern const wf_reduce_impl wf_reduce_impls[]; /* kernels.def's order */
extern const int wf_n_reduce_impls;

/* The best implementation for dtype on isa; NULL for types without any. */
const wf_reduce *wf_reduce_get(weft_dtype dtype, weft_isa isa);

/* Merging of partial sums as Note [Fixed reduction trees] says: push them in order, then finish. */
typedef struct wf_tree {
    uint64_t ranges;
    double sum[64]; /* sum[k], where bit k of ranges is set: 2^k ranges */
} wf_tree;
static inline void wf_tree_init(wf_tree *t)
{
    t->ranges = 0;
}
static inline void wf_tree_push(wf_tree *t, double partial)
{
    int k = 0;
    for (; t->ranges >> k & 1; k++)
        partial = t->sum[k] + partial;
    t->sum[k] = partial;
    t->ranges++;
}
static inline double wf_tree_sum(const wf_tree *t)
{
    double sum = 0.0;
    for (int k = 0; t->ranges >> k; k++)
        if (t->ranges >> k & 1)
            sum = t->sum[k] + sum;
    return sum;
}
/* The vector extremes of this ISA; the reference's arg serves all. */
void wf_extreme_avx512(wf_strides s, bool least, const void *x, void *y);
void wf_extreme_avx2(wf_strides s, bool least, const void *x, void *y);
void wf_extreme_emul(wf_strides s, bool least, const void *x, void *y);
void wf_arg_f32(wf_strides s, bool least, const void *x, int64_t *y);

/* y[j] = the merged x[i * stride + j] over i < n, for j < width: partial sums of images. */
void wf_merge(size_t n, size_t stride, size_t width, const double *x, double *y);

#endif
