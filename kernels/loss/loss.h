/* Softmax, log-softmax, cross-entropy, counting of correct predictions.
 *
 * Threading: pure functions, any thread; a row is one unit of work, so any split into rows gives
 * the same bits. Sums over a row run in order, in double. One implementation, f32 and f64: logits
 * are a thousandth of a convolutional network's data.
 * Shape letters: K classes; rows of logits lie K apart; a softmax runs over the middle dimension of
 * (outer, K, inner). */
#ifndef WF_KERNELS_LOSS_H
#define WF_KERNELS_LOSS_H

#include "kernels/types.h"

/* The kernels of one element type; all floating operands but `losses` have it. */
typedef struct wf_loss {
    const char *name;
    void (*softmax)(size_t outer, size_t K, size_t inner, const void *x, void *y);
    /* dx = y (dy - sum dy y); y is the forward output. */
    void (*softmax_backward)(size_t outer, size_t K, size_t inner, const void *y, const void *dy,
                             void *dx);
    void (*log_softmax)(size_t outer, size_t K, size_t inner, const void *x, void *y);
    /* dx = dy - exp(y) sum dy */
    void (*log_softmax_backward)(size_t outer, size_t K, size_t inner, const void *y,
                                 const void *dy, void *dx);
    /* losses[r] = (1-eps) nll + eps/K sum over classes of -log p; lse[r] = log sum exp x, which the
     * backward pass needs. Label smoothing as Szegedy et al. 2016. Returns the first row whose
     * label is outside [0, K), whose and later rows' outputs are undefined, or -1. */
    int64_t (*cross_entropy)(size_t rows, size_t K, const void *x, const int64_t *labels,
                             double eps, double *losses, void *lse);
    /* dx = factor * dloss[r * dloss_step] * (softmax(x) - target). Labels as checked forward. */
    void (*cross_entropy_backward)(size_t rows, size_t K, const void *x, const int64_t *labels,
                                   const void *lse, double eps, double factor, const void *dloss,
                                   size_t dloss_step, void *dx);
    /* *count = rows whose first maximum is at the label. Returns as cross_entropy. */
    int64_t (*count_correct)(size_t rows, size_t K, const void *x, const int64_t *labels,
                             int64_t *count);
} wf_loss;

typedef struct wf_loss_impl {
    const wf_loss *kernels;
    weft_isa isa;
    weft_dtype dtype;
} wf_loss_impl;
extern const wf_loss_impl wf_loss_impls[]; /* kernels.def's order */
extern const int wf_n_loss_impls;

/* The best implementation for dtype on isa; NULL for types other than f32 and f64. */
const wf_loss *wf_loss_get(weft_dtype dtype, weft_isa isa);

#endif
