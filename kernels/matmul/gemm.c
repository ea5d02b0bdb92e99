/* Matrix product in registers: up to six rows times two vectors of C.
 *
 * Both operands of a tile are packed into the scratch, K in chunks of KC, so that the inner loop
 * loads from contiguous memory and hides which of them is transposed. A: groups of rows, one
 * after the other or, where A is transposed, number by number in turns. B: panels of two
 * vectors, zeros in the tail. A chunk's sums are added to C (the bias, at first) in order: a sum
 * depends on K alone. After Goto and van de Geijn, "Anatomy of High-Performance Matrix
 * Multiplication" (2008), with one tile of C in place of the outer loops: a tile is large enough
 * that packing costs little beside its products and small enough for the second-level cache.
 *
 * A linear layer's weights are read once per batch, and are large where the layer is: what
 * counts then is to pack them at the pace of memory (8 x 8 transposes, what comes next brought
 * in ahead, since their rows lie too far apart for the hardware to foresee) and not to read C,
 * the gradient of the weights, before it is written. */
#include <stdio.h>

#include "kernels/matmul/matmul.h"
#include "kernels/select.h"
#include "kernels/simd/transpose.h"

enum {
    MR = 6,
    NR = 2 * WF_LANES,
    KC = 256,
    MOST_M = 132, /* of a tile, a multiple of MR */
    MOST_N = 128,
    WIDE_N = 256, /* where M or K is small */
    SMALL_M = 32,
    SMALL_K = 64,
    ENOUGH_TILES = 64, /* for as many workers, if that leaves some work in each */
    LEAST_M = 48,
    LEAST_N = 64,
    ROW = KC + 16,          /* floats from row to row of a group of A: not a power of two */
    GROUP = MR * ROW,       /* and of a group */
    AHEAD = 8,              /* rows of B that are brought in ahead */
    PAST_CACHES = 16 << 20, /* bytes of C that would only push others out of them */
};

static bool fits(const wf_matmul_desc *d, char *why, size_t size)
{
    if (d->type == WEFT_F32)
        return true;
    snprintf(why, size, "f32 only");
    return false;
}

static void tile(const wf_matmul_desc *d, int *m, int *n)
{
    *m = wf_matmul_piece(d->M, MOST_M, MR);
    *n = wf_matmul_piece(d->N, d->M <= SMALL_M || d->K <= SMALL_K ? WIDE_N : MOST_N, NR);
    while (wf_matmul_count(d, *m, *n) < ENOUGH_TILES && *n > LEAST_N)
        *n = wf_matmul_piece(d->N, *n / 2 < LEAST_N ? LEAST_N : wf_round_up(*n / 2, NR), NR);
    if (wf_matmul_count(d, *m, *n) < ENOUGH_TILES && *m > LEAST_M)
        *m = wf_matmul_piece(d->M, LEAST_M, MR);
}

/* At the share that the inner loop reaches, with packing, for each tile anew, by number; as
 * measured. */
static double expect(const wf_matmul_desc *d, weft_isa isa)
{
    int m, n;
    tile(d, &m, &n);
    double M = (double)d->M, N = (double)d->N, K = (double)d->K;
    double down = (M + m - 1) / m, across = (N + n - 1) / n;
    const wf_costs *c = wf_machine_class_of(WF_ISA)->cost;
    const double b = d->transpose_b ? c->matmul_pack_b_transposed : c->matmul_pack_b;
    return wf_matmul_expect(d, WF_ISA, c->matmul_gemm) +
           K * (N * down * b + M * across * c->matmul_pack_a);
}

/* ---- packing ---- */

/* Group i of n rows in groups of at most MR, as even as can be: rows [group_of(n, i),
 * group_of(n, i + 1)). */
static int groups_in(int n)
{
    return (n + MR - 1) / MR;
}

static int group_begin(int n, int i)
{
    return n * i / groups_in(n);
}

/* A's rows [0, m) and columns [0, kc): row i of group g at out + g * GROUP + i * ROW. */
static void pack_a(float *out, const float *a, int64_t K, int m, int kc)
{
    for (int g = 0; g < groups_in(m); g++)
        for (int i = group_begin(m, g), end = group_begin(m, g + 1), at = 0; i < end; i++, at++)
            memcpy(out + g * GROUP + at * ROW, a + i * K, (size_t)kc * sizeof *out);
}

/* Of row k, at `row`, of `rows`: n numbers of the row some further on. */
WF_INLINE void bring_in(const float *row, int64_t step, int n, int64_t k, int64_t rows)
{
    for (int j = 0; k + AHEAD < rows && j < n; j += 16)
        __builtin_prefetch(row + AHEAD * step + j);
}

/* The same of a transposed A: number i of column k of group g at out + g * GROUP + k * MR + i.
 * `there` rows can be read, m or more: eight are copied at a time, and what is too much is
 * written over. */
static void pack_a_transposed(float *out, const float *a, int64_t M, int m, int64_t there, int kc,
                              int64_t rows)
{
    const int groups = groups_in(m);
    int begin[MOST_M / MR + 1];
    for (int g = 0; g <= groups; g++)
        begin[g] = group_begin(m, g);
    for (int k = 0; k < kc; k++, a += M) {
        bring_in(a, M, m, k, rows);
        for (int g = 0; g < groups; g++) {
            int first = begin[g], n = begin[g + 1] - first;
            float *to = out + g * GROUP + k * MR;
            if (first + 8 <= there)
                memcpy(to, a + first, 8 * sizeof *to);
            else
                for (int i = 0; i < n; i++)
                    to[i] = a[first + i];
        }
    }
}

/* B's rows [0, kc) and columns [0, n): panel[k * NR + j], 0 where there is no column. `rows`
 * follow in all. */
static void pack_b(float *out, const float *b, int64_t N, int n, int kc, int64_t rows)
{
    const int whole = n / NR * NR, left = n - whole;
    for (int k = 0; k < kc; k++, b += N) {
        float *to = out + k * NR;
        bring_in(b, N, n, k, rows);
        for (int j = 0; j < whole; j += NR)
            memcpy(to + j * KC, b + j, NR * sizeof *out);
        for (int j = 0; left && j < NR; j++)
            to[whole * KC + j] = j < left ? b[whole + j] : 0;
    }
}

/* The same of a transposed B; the next `ahead` columns are brought in. */
static void pack_b_transposed(float *out, const float *b, int64_t K, int n, int kc, int64_t ahead)
{
    const int even = kc / 8 * 8;
    for (int first = 0; first < n; first += NR, out += KC * NR, b += NR * K) {
        const int rows = n - first < NR ? n - first : NR, whole = rows / 8 * 8;
        for (int j = 0; j < whole; j += 8)
            for (int k = 0; k < even; k += 8) {
                if (k < ahead && k % 16 == 0)
                    for (int r = 0; r < 8; r++)
                        __builtin_prefetch(b + (j + r) * K + kc + k);
                wf_transpose8(b + j * K + k, (size_t)K, out + k * NR + j, NR);
            }
        for (int j = 0; j < NR; j++)
            for (int k = j < whole ? even : 0; k < kc; k++)
                out[k * NR + j] = j < rows ? b[j * K + k] : 0;
    }
}

/* ---- products ---- */

/* What a block of C, up to MR x NR, gets: */
typedef struct target {
    float *c;
    int64_t row;       /* of C */
    int n;             /* columns of the block that are inside C */
    bool first;        /* this sum and the bias; else what is there and this sum */
    const float *bias; /* at the block's first column, or NULL */
    bool past;         /* written past the caches: whole blocks on vector boundaries only */
} target;

WF_INLINE void put_row(const target *t, int i, wf_vf sum0, wf_vf sum1)
{
    float *c = t->c + i * t->row;
    if (t->n < NR) { /* a tail */
        float both[NR];
        wf_vstore(both, sum0);
        wf_vstore(both + WF_LANES, sum1);
        for (int j = 0; j < t->n; j++)
            c[j] = (!t->first ? c[j] : t->bias ? t->bias[j] : 0) + both[j];
        return;
    }
    const float *more = t->first ? t->bias : c;
    wf_vf zero = wf_vzero();
    sum0 = wf_vadd(more ? wf_vload(more) : zero, sum0);
    sum1 = wf_vadd(more ? wf_vload(more + WF_LANES) : zero, sum1);
    if (t->past) {
        wf_vstream(c, sum0);
        wf_vstream(c + WF_LANES, sum1);
    } else {
        wf_vstore(c, sum0);
        wf_vstore(c + WF_LANES, sum1);
    }
}

/* The sum over k of a(i, k) * b[k][NR] for R rows, into t; R, a_i and a_k are constants where
 * this is called. */
WF_INLINE void rows(const int R, const int a_i, const int a_k, int kc, const float *a,
                    const float *b, const target *t)
{
    wf_vf sum[MR][2];
    for (int i = 0; i < R; i++)
        sum[i][0] = sum[i][1] = wf_vzero();
    for (int k = 0; k < kc; k++, a += a_k, b += NR) {
        wf_vf b0 = wf_vload(b), b1 = wf_vload(b + WF_LANES);
        for (int i = 0; i < R; i++) {
            wf_vf x = wf_vset1(a[i * a_i]);
            sum[i][0] = wf_vfma(x, b0, sum[i][0]);
            sum[i][1] = wf_vfma(x, b1, sum[i][1]);
        }
    }
    for (int i = 0; i < R; i++)
        put_row(t, i, sum[i][0], sum[i][1]);
}

/* What the blocks of a tile share in a chunk of K. */
typedef struct chunk {
    const float *a, *b;
    int kc, n; /* n: columns of the tile */
    bool transposed_a;
    int begin[MOST_M / MR + 1]; /* of each group's rows, and their end */
    target t;                   /* of the tile's first number */
} chunk;

/* R rows from row `first` on, at a, by the panels of columns [begin, end). */
WF_INLINE void panels(const int R, const int a_i, const int a_k, const chunk *c, int first,
                      const float *a, int begin, int end)
{
    target t = c->t;
    t.c += first * t.row + begin;
    t.bias = t.bias ? t.bias + begin : NULL;
    for (int j = begin; j < end; j += NR, t.c += NR, t.bias = t.bias ? t.bias + NR : NULL) {
        t.n = c->n - j;
        rows(R, a_i, a_k, c->kc, a, c->b + j * KC, &t);
    }
}

WF_INLINE void group(const int a_i, const int a_k, const chunk *c, int g, int begin, int end)
{
    const int first = c->begin[g];
    const float *a = c->a + g * GROUP;
    switch (c->begin[g + 1] - first) {
    case 1: panels(1, a_i, a_k, c, first, a, begin, end); break;
    case 2: panels(2, a_i, a_k, c, first, a, begin, end); break;
    case 3: panels(3, a_i, a_k, c, first, a, begin, end); break;
    case 4: panels(4, a_i, a_k, c, first, a, begin, end); break;
    case 5: panels(5, a_i, a_k, c, first, a, begin, end); break;
    case 6: panels(6, a_i, a_k, c, first, a, begin, end); break;
    }
}

/* A panel of B stays in the first-level cache while A passes by, or, where K is so short that
 * whole rows of C are to be written at once, a group of A while B does. */
static void multiply(const chunk *c, int groups)
{
    const int width = c->kc <= SMALL_K ? c->n : NR;
    for (int j = 0; j < c->n; j += width)
        for (int g = 0; g < groups; g++) {
            int end = c->n - j < width ? c->n : j + width;
            if (c->transposed_a)
                group(1, MR, c, g, j, end);
            else
                group(ROW, 1, c, g, j, end);
        }
}

static weft_status run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *av, const void *bv, const void *bias, void *cv, void *scratch)
{
    const float *a = (const float *)av + (d->transpose_a ? m0 : m0 * d->K);
    const float *b = (const float *)bv + (d->transpose_b ? n0 * d->K : n0);
    float *a_panel = scratch, *b_panel = a_panel + MOST_M / MR * GROUP;
    const int m = (int)(m1 - m0), n = (int)(n1 - n0);
    chunk c = {.a = a_panel,
               .b = b_panel,
               .n = n,
               .transposed_a = d->transpose_a,
               .t = {.c = (float *)cv + m0 * d->N + n0,
                     .row = d->N,
                     .bias = bias ? (const float *)bias + n0 : NULL}};
    for (int g = 0; g <= groups_in(m); g++)
        c.begin[g] = group_begin(m, g);
    c.t.past = d->K <= KC && d->N % NR == 0 && (uintptr_t)cv % (NR * sizeof(float)) == 0 &&
               (size_t)d->M * (size_t)d->N * sizeof(float) > PAST_CACHES;
    for (int64_t k0 = 0; k0 < d->K; k0 += KC) {
        int kc = d->K - k0 < KC ? (int)(d->K - k0) : KC;
        c.kc = kc;
        c.t.first = k0 == 0;
        if (d->transpose_a)
            pack_a_transposed(a_panel, a + k0 * d->M, d->M, m, d->M - m0, kc, d->K - k0);
        else
            pack_a(a_panel, a + k0, d->K, m, kc);
        if (d->transpose_b)
            pack_b_transposed(b_panel, b + k0, d->K, n, kc, d->K - k0 - kc);
        else
            pack_b(b_panel, b + k0 * d->N, d->N, n, kc, d->K - k0);
        multiply(&c, groups_in(m));
    }
    if (c.t.past)
        wf_vstream_end();
    return WEFT_OK;
}

const wf_matmul_impl WF_ISA_FN(wf_matmul_gemm) = {
    .name = "gemm:" WF_ISA_NAME,
    .isa = WF_ISA,
    .tile = tile,
    .scratch_bytes = (size_t)(MOST_M / MR * GROUP + WIDE_N * KC) * sizeof(float),
    .fits = fits,
    .expect = expect,
    .run = run,
};
