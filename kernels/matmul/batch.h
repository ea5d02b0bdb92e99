/* Many matrix products of one shape: C[i] = the sum over j of op(A[i, j]) op(B[i, j]).
 *
 * i counts the items, j the terms that are summed into one item, as in the gradient of an operand that was
 * broadcast. Both run over dimensions of their own, with a step in each operand; the step is 0 where all
 * share the operand. Several products become one larger product where they can: if all items share B, their
 * rows become the rows of one A; terms whose operands follow each other along K become one longer K.
 * Letters: matmul.h. Threading: pure functions. */
#ifndef WF_MATMUL_BATCH_H
#define WF_MATMUL_BATCH_H

#include "kernels/matmul/matmul.h"

#define WF_MATMUL_DIMS 8

/* A dimension of the batch. Steps are in elements. c 0: its products are terms of one sum. */
typedef struct wf_matmul_dim {
    int64_t size, a, b, c;
} wf_matmul_dim;

typedef struct wf_matmul_batch {
    wf_matmul_desc desc; /* of one of desc.batch products; may differ from what was asked for */
    bool swapped;        /* A and B have changed places, since C is one column */
    int64_t items, terms;
    int n_item, n_term;
    wf_matmul_dim item[WF_MATMUL_DIMS], term[WF_MATMUL_DIMS];
} wf_matmul_batch;

/* Describes the products of shape *d, whose batch and add are not read, along n dimensions; the last one
 * changes fastest. The steps of a dimension of size 1 do not matter. with_bias: there will be a bias, and c is
 * nowhere 0. */
void wf_matmul_batch_init(wf_matmul_batch *p, const wf_matmul_desc *d, int n,
                          const wf_matmul_dim *dim, bool with_bias);

/* Note [Splits of terms]. If there are many terms and few tiles of C, the terms are cut into splits. Each
 * split has a partial sum, a whole C, and the caller adds these up in order. The number of splits follows
 * from the shape and the kernel. If there are several, c of wf_matmul_batch_run is memory for so many whole
 * Cs, one after the other. */
int64_t wf_matmul_batch_splits(const wf_matmul_impl *k, const wf_matmul_batch *p);
int64_t wf_matmul_batch_tiles(const wf_matmul_impl *k, const wf_matmul_batch *p); /* may be 0 */
WF_MUST_CHECK weft_status wf_matmul_batch_run(const wf_matmul_impl *k, const wf_matmul_batch *p,
                                              int64_t tile, const void *a, const void *b,
                                              const void *bias, void *c, void *scratch);

#endif
