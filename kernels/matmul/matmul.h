/* Matrix product: C = op(A) op(B) + bias, in f32 and f64.
 *
 * C is M x N, op(A) M x K, op(B) K x N, all dense and row-major; a transposed A is stored K x M, a
 * transposed B N x K; the bias (N, or NULL) is added to every row. K may be 0: C is the bias, or 0.
 * The work is cut into tiles of C that any worker may compute; how an element is summed depends on K
 * and the kernel alone. Kernels are stateless. Many products of one shape: batch.h. */
#ifndef WF_MATMUL_H
#define WF_MATMUL_H

#include "kernels/types.h"

typedef struct wf_matmul_desc {
    int64_t M, N, K;
    int transpose_a, transpose_b;
    weft_dtype type; /* of all operands */
    int64_t batch;   /* how many such products there are, batch.h; 0 reads as 1 */
    int add;         /* the product is added to what C holds, and there is no bias */
} wf_matmul_desc;

static inline int64_t wf_matmul_items(const wf_matmul_desc *d)
{
    return d->batch > 0 ? d->batch : 1;
}

typedef struct wf_matmul_impl {
    const char *name;
    weft_isa isa; /* the least that it needs */
    /* How much of C a tile is. It follows from the shape and the batch; no sum depends on it. */
    void (*tile)(const wf_matmul_desc *d, int *m, int *n);
    size_t scratch_bytes; /* for each worker, 64-byte aligned */
    bool (*fits)(const wf_matmul_desc *d, char *why, size_t size);
    /* Note [Expected cost] in kernels/select.h, of one product that fits, on a machine of this ISA.
     * NULL: WF_EXPECT_SHARE of the peak. */
    double (*expect)(const wf_matmul_desc *d, weft_isa isa);
    /* Rows [m0, m1) and columns [n0, n1), at most one tile; K is at least 1. */
    weft_status (*run)(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *a, const void *b, const void *bias, void *c, void *scratch);
} wf_matmul_impl;

/* The problem in words: "m64n10k512 at bt f32", of a batch "b96 m64n10k512 f32". Different
 * problems have different texts: wisdom is keyed by it. Returns text. */
#define WF_MATMUL_TEXT 128
const char *wf_matmul_describe(const wf_matmul_desc *d, char *text, size_t size);

/* All implementations, the reference last. */
extern const wf_matmul_impl *const wf_matmul_impls[];
extern const int wf_matmul_n_impls;

/* The implementation named `prefer` (NULL: none) if it fits, else the one of the least expected
 * cost; never NULL. Told with WEFT_VERBOSE=select. */
const wf_matmul_impl *wf_matmul_select(const wf_matmul_desc *d, weft_isa isa, const char *prefer);
/* Whether the implementation can run it on a machine of this ISA; where not, why. */
bool wf_matmul_fits(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa, char *why,
                    size_t size);
/* Note [Expected cost], of all products of the batch; and the share of the machine's multiply-add
 * peak that it means. */
double wf_matmul_cycles(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa);
double wf_matmul_expected_share(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa);
/* For implementations: cycles of a kernel that reaches `share` of impl_isa's peak on every product,
 * and passes over its operands once. */
double wf_matmul_expect(const wf_matmul_desc *d, weft_isa impl_isa, double share);
int64_t wf_matmul_tiles(const wf_matmul_impl *k, const wf_matmul_desc *d); /* of one product */
/* WEFT_OK, or why it could not run: that fails the run. */
WF_MUST_CHECK weft_status wf_matmul_run(const wf_matmul_impl *k, const wf_matmul_desc *d,
                                        int64_t tile, const void *a, const void *b,
                                        const void *bias, void *c, void *scratch);

/* For implementations: `total` cut into even pieces of at most `most`, all but the last a
 * multiple of `unit`, which divides `most`: the size of a piece. And how many tiles of m x n
 * there are, in all products of the batch. */
static inline int wf_matmul_piece(int64_t total, int most, int unit)
{
    int64_t pieces = (total + most - 1) / most, size = (total + pieces - 1) / pieces;
    return (int)((size + unit - 1) / unit * unit);
}

static inline int64_t wf_matmul_count(const wf_matmul_desc *d, int m, int n)
{
    return (d->M + m - 1) / m * ((d->N + n - 1) / n) * wf_matmul_items(d);
}

#endif
