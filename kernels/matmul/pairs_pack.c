/* The bf16 products: what fits, tiles, cost, and packing, Note [Packed pairs] in pairs.h. Pure. */
#include <stdio.h>

#include "kernels/matmul/pairs.h"
#include "kernels/simd/bf16_emul.h"
#include "kernels/simd/transpose.h"

enum {
    ENOUGH_TILES = 64, /* for as many workers; smaller tiles pack more */
    FEWER_TILES = 32,  /* the same, where K is LONG_K and more */
    LONG_K = 512,
    MIN_M = 56,
    MIN_N = 64,
    FEW_ROWS = 32,
    BLOCK_K = 16,  /* numbers along K that are packed at once */
    ROWS_AHEAD = 8 /* of an operand whose rows lie far apart, prefetched */
};

bool pairs_fits(const wf_matmul_desc *d, wf_bf16 level, char *why, size_t size)
{
    const char *reason = d->type != WEFT_F32 ? "f32 only"
                         : !d->bf16          ? "rounds its operands to bf16"
                                             : NULL;
#if !defined(WF_SIMD_EMULATE) && !defined(WF_SIMD_TILE_EMUL)
    if (wf_cpu_bf16() < level)
        reason = level == WF_BF16_AMX ? "needs amx" : "needs avx512_bf16";
#endif
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

void pairs_tile(const wf_matmul_desc *d, int *m, int *n)
{
    const int unit = 2 * PAIRS_L;
    *m = wf_matmul_piece(d->M, PAIRS_MAX_M, unit);
    *n = wf_matmul_piece(d->N, d->M <= FEW_ROWS ? PAIRS_MAX_N : PAIRS_MAX_N / 2, PAIRS_NR);
    const int enough = d->K >= LONG_K ? FEWER_TILES : ENOUGH_TILES;
    while (wf_matmul_count(d, *m, *n) < enough && *n > MIN_N)
        *n =
            wf_matmul_piece(d->N, *n / 2 < MIN_N ? MIN_N : wf_round_up(*n / 2, PAIRS_NR), PAIRS_NR);
    if (wf_matmul_count(d, *m, *n) < enough && *m > MIN_M)
        *m = wf_matmul_piece(d->M, 2 * unit, unit);
}

double pairs_expect(const wf_matmul_desc *d, double share)
{
    int m, n;
    pairs_tile(d, &m, &n);
    const double M = (double)d->M, N = (double)d->N, K = (double)d->K;
    const double down = (double)((d->M + m - 1) / m), across = (double)((d->N + n - 1) / n);
    const wf_costs *c = wf_machine_class_of(WEFT_ISA_AVX512)->cost;
    /* odd products of short K, and rows that fill no vector of sums */
    const double even = (double)wf_round_up((int)(d->K < 1 << 20 ? d->K : 1 << 20), 2) / K;
    return wf_matmul_expect(d, WEFT_ISA_AVX512, share / (even > 1 ? even : 1)) +
           K * (N * down + M * across) * c->dot_matmul_pack + M * N * c->dot_matmul_sum;
}

/* Where number k of row r of A, or of column r of B, is packed. */
static inline size_t place(bool panels, int r, int k)
{
    if (!panels)
        return (size_t)r * PAIRS_PITCH + (size_t)k;
    return (size_t)(r / PAIRS_NR) * PAIRS_PANEL + (size_t)(k / 2) * 2 * PAIRS_NR +
           (size_t)(r % PAIRS_NR) * 2 + (size_t)(k % 2);
}

/* An operand from the tile's first row (of A; column of B) and the block's first number on. */
typedef struct operand {
    const float *x;
    int64_t row, number; /* steps, one of them 1 */
    int rows, kc;
    int64_t next; /* numbers that there are behind kc */
    bool panels;  /* B */
} operand;

/* Packs numbers [k0, k1) of rows [r0, r1) one by one; what the operand does not have is zero. */
static void pack_each(const operand *o, uint16_t *out, int r0, int r1, int k0, int k1)
{
    for (int r = r0; r < r1; r++)
        for (int k = k0; k < k1; k++)
            out[place(o->panels, r, k)] =
                r < o->rows && k < o->kc ? wf_to_bf16(o->x[r * o->row + k * o->number]) : 0;
}

#if defined(WF_SIMD_DOT)

/* 16 pairs: of each lane's `even` and `odd`. */
WF_INLINE wf_vi pairs_of(wf_vf even, wf_vf odd)
{
    return _mm512_or_si512(_mm512_srli_epi32(wf_vf_as_i(wf_vround_bf16(even)), 16),
                           wf_vf_as_i(wf_vround_bf16(odd)));
}

/* Numbers follow each other along K: rows of A as they are, or columns of a transposed B by 8 x 8 transposes of
 * pairs. Rows and columns are whole blocks. */
static void pack_along(const operand *o, uint16_t *out, int rows, int kc)
{
    for (int r = 0; r < rows; r += 8)
        for (int k = 0; k < kc; k += BLOCK_K) {
            const float *x = o->x + r * o->row + k;
            uint16_t block[8][BLOCK_K];
            for (int i = 0; i < 8; i++, x += o->row) {
                if (k < o->next)
                    __builtin_prefetch(x + o->kc);
                wf_vstore_bf16(o->panels ? block[i] : out + place(false, r + i, k), wf_vload(x));
            }
            if (o->panels)
                wf_transpose8((const float *)block, BLOCK_K / 2, (float *)(out + place(true, r, k)),
                              PAIRS_NR);
        }
}

/* Rows follow each other: columns of B as they are, or rows of a transposed A. */
static void pack_across(const operand *o, uint16_t *out, int rows, int kc)
{
    for (int k = 0; k < kc; k += BLOCK_K)
        for (int r = 0; r < rows; r += PAIRS_L) {
            const float *x = o->x + r + k * o->number;
            int32_t block[BLOCK_K / 2][PAIRS_L];
            for (int i = 0; i < BLOCK_K / 2; i++, x += 2 * o->number) {
                const wf_vi pairs = pairs_of(wf_vload(x), wf_vload(x + o->number));
                if (k + 2 * i + ROWS_AHEAD < o->kc + o->next) {
                    __builtin_prefetch(x + ROWS_AHEAD * o->number);
                    __builtin_prefetch(x + (ROWS_AHEAD + 1) * o->number);
                }
                wf_vi_store(o->panels ? (int32_t *)(out + place(true, r, k + 2 * i)) : block[i],
                            pairs);
            }
            for (int i = 0; !o->panels && i < 2; i++)
                wf_transpose8((const float *)block + 8 * i, PAIRS_L,
                              (float *)(out + place(false, r + 8 * i, k)), PAIRS_PITCH / 2);
        }
}

static void pack(const operand *o, uint16_t *out, int rows_filled, int k_filled)
{
    const int unit = o->number == 1 ? 8 : PAIRS_L;
    const int rows = o->rows / unit * unit, kc = o->kc / BLOCK_K * BLOCK_K;
    (o->number == 1 ? pack_along : pack_across)(o, out, rows, kc);
    pack_each(o, out, 0, rows, kc, k_filled);
    pack_each(o, out, rows, o->rows, 0, k_filled);
    if (o->panels && rows_filled > o->rows)
        for (int k = 0; k < k_filled; k += 2)
            memset(out + place(true, o->rows, k), 0, (size_t)(rows_filled - o->rows) * 4);
    else
        for (int r = o->rows; r < rows_filled; r++)
            memset(out + place(false, r, 0), 0, (size_t)k_filled * sizeof *out);
}

#else

static void pack(const operand *o, uint16_t *out, int rows_filled, int k_filled)
{
    pack_each(o, out, 0, rows_filled, 0, k_filled);
}

#endif

void pairs_run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
               const float *a, const float *b, const float *bias, float *c, void *scratch,
               void (*multiply)(void *state, const pairs_block *b), void *state)
{
    uint16_t *packed_a = scratch, *packed_b = packed_a + PAIRS_A_BYTES / sizeof *packed_a;
    const int m = (int)(m1 - m0), n = (int)(n1 - n0);
    pairs_block block = {.a = packed_a,
                         .b = packed_b,
                         .m = m,
                         .n = n,
                         .c = c + m0 * d->N + n0,
                         .row = d->N,
                         .bias = bias ? bias + n0 : NULL};
    operand oa = {.row = d->transpose_a ? 1 : d->K, .number = d->transpose_a ? d->M : 1, .rows = m};
    operand ob = {.row = d->transpose_b ? d->K : 1,
                  .number = d->transpose_b ? 1 : d->N,
                  .rows = n,
                  .panels = true};
    for (int64_t k0 = 0; k0 < d->K; k0 += PAIRS_KC) {
        block.kc = d->K - k0 < PAIRS_KC ? (int)(d->K - k0) : PAIRS_KC;
        block.first = k0 == 0 && !d->add;
        oa.kc = ob.kc = block.kc;
        oa.next = ob.next = d->K - k0 - block.kc;
        oa.x = a + m0 * oa.row + k0 * oa.number;
        ob.x = b + n0 * ob.row + k0 * ob.number;
        const int filled = wf_round_up(block.kc, PAIRS_STEP);
        pack(&oa, packed_a, wf_round_up(m, PAIRS_L), filled);
        pack(&ob, packed_b, wf_round_up(n, PAIRS_NR), filled);
        multiply(state, &block);
    }
}
