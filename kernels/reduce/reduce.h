/* Sums: of runs, of columns, of channels. The greatest and the least of many.
 *
 * Note [Fixed reduction trees]. A sum is cut into leaves of at most 64 values. A leaf is added in
 * the element type (bf16's in f32), the leaves are merged in double: pairwise, neighbours first, so leaf 2i with
 * leaf 2i + 1, the results likewise; at the end the partial sums left over are added from the
 * smallest to the largest. A leaf of a run of pixels adds value i into slot i % 16, in order, and
 * then the slots by halves (slot j + slot j + 8, then 4, 2, 1); a leaf of a column adds its rows
 * in order. The tree thus depends on the number of values alone: any layout, ISA, tiling and
 * number of threads gives the same bits.
 *
 * Threading: pure functions, any thread. Shape letters: C channels, H height, W width. */
#ifndef WF_KERNELS_REDUCE_H
#define WF_KERNELS_REDUCE_H

#include "kernels/types.h"

enum { WF_LEAF = 64, WF_LEAF_SLOTS = 16 };

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
    uint64_t leaves;
    double sum[64]; /* sum[k], where bit k of leaves is set: 2^k leaves */
} wf_tree;
static inline void wf_tree_init(wf_tree *t)
{
    t->leaves = 0;
}
static inline void wf_tree_push(wf_tree *t, double leaf)
{
    int k = 0;
    for (; t->leaves >> k & 1; k++)
        leaf = t->sum[k] + leaf;
    t->sum[k] = leaf;
    t->leaves++;
}
static inline double wf_tree_sum(const wf_tree *t)
{
    double sum = 0.0;
    for (int k = 0; t->leaves >> k; k++)
        if (t->leaves >> k & 1)
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
