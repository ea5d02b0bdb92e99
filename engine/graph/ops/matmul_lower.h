/* What matmul.c and matmul_lower.c share: the op's attributes and how they read a shape. */
#ifndef WF_OPS_MATMUL_LOWER_H
#define WF_OPS_MATMUL_LOWER_H

#include "engine/graph/op.h"

enum { WF_MATMUL_A, WF_MATMUL_B, WF_MATMUL_Y };

/* The last `dims` dimensions of an operand are its matrix: two of them; or one, which is the only
 * row; or none, which is a single number. The other dimensions are batch dimensions, which
 * broadcast. */
typedef struct wf_matmul_attrs {
    int64_t transpose[2]; /* a's and b's matrices are read transposed */
    int64_t dims[3];      /* of a, b and y; -1: infer sets all from the factors' ranks */
    int64_t column;     /* where y has dims 1: its dimension is the only column, not the only row */
    int64_t batch_rank; /* of y; -1: infer sets it and `batch` by broadcasting the factors */
    /* y's batch dimensions. Where one is 1 or missing and the factors have more, products are
     * summed */
    int64_t batch[WEFT_MAX_RANK];
} wf_matmul_attrs;

/* Size of op(a) or op(b), and its number of batch dimensions. */
typedef struct wf_matmul_view {
    int64_t rows, columns;
    int batch_rank;
} wf_matmul_view;
wf_matmul_view wf_matmul_view_of(const weft_shape *s, int64_t dims, bool transposed);
/* The size of batch dimension i, counted from the last one; 1 where the shape has fewer. */
static inline int64_t wf_matmul_batch_dim(const int64_t *dim, int64_t batch_rank, int i)
{
    return i < batch_rank ? dim[batch_rank - 1 - i] : 1;
}

weft_status wf_matmul_lower(wf_lower *l);
/* wf_op.takes_stored: the weights of a linear layer over a batch of rows. */
bool wf_matmul_takes_stored(const void *attrs, const weft_shape *in, int i);

#endif
