/* Layer normalisation of rows (Ba, Kiros and Hinton 2016).
 *
 * A row is D neighbouring elements; rows lie D apart. Statistics are doubles, one pair a row. Sums run
 * in an order that D alone gives, in double, so a row's bits depend neither on its neighbours nor on
 * how rows are shared out. Threading: functions touch their arguments only. */
#ifndef WF_KERNELS_LAYER_NORM_H
#define WF_KERNELS_LAYER_NORM_H

#include "kernels/types.h"

/* mean, and 1/sqrt(variance + eps), the variance being the biased one. */
typedef struct wf_row_moments {
    double mean, invstd;
} wf_row_moments;

/* Doubles of the sums below: D of dy, then, from half of it on, D of dy xhat. */
static inline size_t wf_layer_norm_sums(size_t D)
{
    return 2 * ((D + 15) / 16 * 16);
}

typedef struct wf_layer_norm_fns {
    const char *name;
    weft_isa isa;
    weft_dtype dtype; /* of every operand but the moments and sums */
    /* y = (x - mean) invstd gamma + beta; gamma, beta (D). y may be x. */
    void (*forward)(size_t rows, size_t D, double eps, const void *x, const void *gamma,
                    const void *beta, void *y, wf_row_moments *moments);
    /* With xhat = (x - mean) invstd and g = dy gamma: dx = invstd (g - mean(g) - xhat mean(g xhat)).
     * Adds the rows' dy and dy xhat to `sums`; its padding may end up as anything. dx may be dy. */
    void (*backward)(size_t rows, size_t D, const void *x, const void *dy, const void *gamma,
                     const wf_row_moments *moments, void *dx, double *sums);
} wf_layer_norm_fns;

/* The best implementation on a CPU with `isa`; NULL for types other than f32 and f64. */
const wf_layer_norm_fns *wf_layer_norm_find(weft_isa isa, weft_dtype dtype);
/* All of them, best first, ending in NULL. */
extern const wf_layer_norm_fns *const wf_layer_norm_list[];

#endif
