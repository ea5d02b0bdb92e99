/* Many matrix products of one shape: C[i] = the sum over j of op(A[i, j]) op(B[i, j]).
 *
 * i counts the items, j the terms that are summed into one item (a gradient that broadcasting
 * shared). Both run over dimensions of their own with a step in each operand, 0 where the operand is
 * the same for all. What can be one larger product becomes one: rows of all items by a shared B are
 * the rows of one A; terms whose operands follow each other along K are one longer K. Letters:
 * matmul.h. Threading: pure functions. */
#ifndef WF_MATMUL_BATCH_H
#define WF_MATMUL_BATCH_H

#include "kernels/matmul/matmul.h"

#define WF_MATMUL_DIMS 8

/* Steps are in elements. c 0: the products along this dimension are summed. */
typedef struct wf_matmul_dim {
    int64_t size, a, b, c;
} wf_matmul_dim;

typedef struct wf_matmul_batch {
    wf_matmul_desc desc; /* of one product, desc.batch of them; differs from what was asked for */
    bool swapped;        /* A and B have changed places: C is one column */
    int64_t items, terms;
    int n_item, n_term;
    wf_matmul_dim item[WF_MATMUL_DIMS], term[WF_MATMUL_DIMS];
} wf_matmul_batch;

/* The products of shape *d (its batch and add are not read) along n dimensions, the last one the
 * fastest; a dimension of size 1 has any steps. with_bias: there will be one, and c is nowhere 0. */
void wf_matmul_batch_init(wf_matmul_batch *p, const wf_matmul_desc *d, int n,
                          const wf_matmul_dim *dim, bool with_bias);

/* Note [Slots of terms]. Where there are many terms and few tiles of C, the terms are cut into
 * slots, which are summed apart and then added up in order. How many follows from the shape and the
 * kernel. More than 1: c of wf_matmul_batch_run is memory for so many whole Cs, one after the other. */
int64_t wf_matmul_batch_slots(const wf_matmul_impl *k, const wf_matmul_batch *p);
int64_t wf_matmul_batch_tiles(const wf_matmul_impl *k, const wf_matmul_batch *p); /* may be 0 */
WF_MUST_CHECK weft_status wf_matmul_batch_run(const wf_matmul_impl *k, const wf_matmul_batch *p,
                                              int64_t tile, const void *a, const void *b,
                                              const void *bias, void *c, void *scratch);

#endif
