/* Matrix product: C = op(A) op(B) + bias, in f32 and f64.
 *
 * C is M x N, op(A) M x K, op(B) K x N, all dense and row-major; a transposed A is stored K x M, a
 * transposed B N x K; the bias (N, or NULL) is added to every row. K may be 0: C is the bias, or 0.
 * The work is cut into tiles of C, which any worker may compute. How an element is summed depends on K and
 * the kernel alone. Kernels are stateless. Many products of one shape: batch.h. */
#ifndef WF_MATMUL_H
#define WF_MATMUL_H

#include "kernels/types.h"

typedef struct wf_matmul_desc {
    int64_t M, N, K;
    int transpose_a, transpose_b;
    weft_dtype type; /* of all operands */
    int64_t batch;   /* the number of such products, batch.h; 0 means 1 */
    int add;         /* 1: the kernel adds to what C holds, and there is no bias */
    int bf16;        /* 1: of f32 only; kernels may round the operands to bf16 as they read them */
} wf_matmul_desc;

static inline int64_t wf_matmul_items(const wf_matmul_desc *d)
{
    return d->batch > 0 ? d->batch : 1;
}

typedef struct wf_matmul_impl {
    const char *name;
    weft_isa isa; /* the lowest instruction set that it needs */
    /* Writes how many rows and columns of C a tile has. It follows from shape and batch; no sum depends on it. */
    void (*tile)(const wf_matmul_desc *d, int *m, int *n);
    size_t scratch_bytes; /* for each worker, 64-byte aligned */
    bool (*fits)(const wf_matmul_desc *d, char *why, size_t size);
    /* The expected cost (Note [Expected cost] in kernels/select.h) of one product that fits, on a machine of
     * this instruction set. NULL: WF_EXPECT_SHARE of the peak. */
    double (*expect)(const wf_matmul_desc *d, weft_isa isa);
    /* Computes rows [m0, m1) and columns [n0, n1) of C, at most one tile; K is at least 1. */
    weft_status (*run)(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *a, const void *b, const void *bias, void *c, void *scratch);
} wf_matmul_impl;

/* Writes the problem in words and returns text: "m64n10k512 at bt f32"; of a batch "b96 m64n10k512 f32"; where
 * operands may be rounded "m64n10k512 f32 bf16".
 * Different problems have different texts, since wisdom is keyed by it. */
#define WF_MATMUL_TEXT 128
const char *wf_matmul_describe(const wf_matmul_desc *d, char *text, size_t size);

/* All implementations, the reference last. */
extern const wf_matmul_impl *const wf_matmul_impls[];
extern const int wf_matmul_n_impls;

/* The implementation named `prefer` (NULL: none) if that fits, else the one of the lowest expected cost; never
 * NULL. With WEFT_VERBOSE=select it reports the choice on stderr. */
const wf_matmul_impl *wf_matmul_select(const wf_matmul_desc *d, weft_isa isa, const char *prefer);
/* Whether the implementation can run it on a machine of this instruction set. If not, writes why. */
bool wf_matmul_fits(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa, char *why,
                    size_t size);
/* The expected cost of all products of the batch; and the share of the machine's multiply-add peak that this
 * cost means. */
double wf_matmul_cycles(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa);
double wf_matmul_expected_share(const wf_matmul_impl *k, const wf_matmul_desc *d, weft_isa isa);
/* For implementations: cycles of a kernel that reaches `share` of impl_isa's peak on every product,
 * and reads or writes its operands once. */
double wf_matmul_expect(const wf_matmul_desc *d, weft_isa impl_isa, double share);
int64_t wf_matmul_tiles(const wf_matmul_impl *k, const wf_matmul_desc *d); /* of one product */
/* Computes one tile of one product. Returns WEFT_OK, or why it could not run, which fails the run. */
WF_MUST_CHECK weft_status wf_matmul_run(const wf_matmul_impl *k, const wf_matmul_desc *d,
                                        int64_t tile, const void *a, const void *b,
                                        const void *bias, void *c, void *scratch);

/* For implementations: the size of a piece if `total` is cut into even pieces of at most `most`. It is a
 * multiple of `unit`, which divides `most`; only the last piece may be smaller. */
static inline int wf_matmul_piece(int64_t total, int most, int unit)
{
    int64_t pieces = (total + most - 1) / most, size = (total + pieces - 1) / pieces;
    return (int)((size + unit - 1) / unit * unit);
}

/* For implementations: the number of tiles of m x n in all products of the batch. */
static inline int64_t wf_matmul_count(const wf_matmul_desc *d, int m, int n)
{
    return (d->M + m - 1) / m * ((d->N + n - 1) / n) * wf_matmul_items(d);
}

#endif
