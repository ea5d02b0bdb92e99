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

/* How rows are compared with their labels: -log p of the label's class, p = softmax(x), times the
 * class's weight; with label smoothing (Szegedy et al. 2016) 1-eps of that plus eps/K of the same
 * of every class. */
typedef struct wf_class_loss {
    size_t K;
    const void *weight; /* of the classes (K); NULL: 1 */
    int64_t ignore;     /* rows with this label count nothing */
    double eps;
    bool log_probs; /* x holds log p already; the gradient is that of x */
} wf_class_loss;

/* What the gradient needs of a row x: its largest element and the sum over k of exp(x[k] - top).
 * They are kept apart: top + log(sum) loses the sum's digits as the logits grow, and all of them
 * where top is large (1e30 + log 2 is 1e30). */
typedef struct wf_row_exp {
    double top, sum;
} wf_row_exp;

/* The kernels of one element type; all floating operands but `losses`
 * and `counts` have it. */
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
    /* losses[r] of each row; counts[r] = its label's weight, 0 where ignored, which means divide
     * by; exps[r]: for the backward pass. Returns the first row whose label is outside [0, K) and
     * not ignored, whose and later rows' outputs are undefined, or -1. */
    int64_t (*cross_entropy)(const wf_class_loss *p, size_t rows, const void *x,
                             const int64_t *labels, double *losses, double *counts,
                             wf_row_exp *exps);
    /* dx = factor * dloss[r * dloss_step] * d losses[r] / dx. Labels as checked forward. */
    void (*cross_entropy_backward)(const wf_class_loss *p, size_t rows, const void *x,
                                   const int64_t *labels, const wf_row_exp *exps, double factor,
                                   const void *dloss, size_t dloss_step, void *dx);
    /* *counted = rows whose label is not `ignore`, *correct = those of them whose first maximum is
     * at the label. Returns as cross_entropy. */
    int64_t (*count_correct)(size_t rows, size_t K, const void *x, const int64_t *labels,
                             int64_t ignore, int64_t *correct, int64_t *counted);
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
