/* Matrix product in registers: MR rows times two vectors of C.
 *
 * B is packed in the scratch, which makes every load of the inner loop contiguous and hides whether
 * it is transposed; zeros fill the tails. So is a transposed A; another one is read where it lies,
 * a number at a time from MR rows. K is taken in chunks of KC, whose sums are added to C (the bias,
 * at first) in order: a sum depends on K alone. After Goto and van de Geijn, "Anatomy of
 * High-Performance Matrix Multiplication" (2008), with one tile of C in place of the outer loops:
 * 48 x 256 floats of A and 256 x 64 of B, 112 KiB, live in L2.
 *
 * A linear layer's weights are read once per batch, and are large where the layer is: what counts
 * then is to pack them at the pace of memory (8 x 8 transposes, the next chunk brought in ahead)
 * and not to read C, the gradient of the weights, before it is written. */
#include <stdio.h>

#include "kernels/matmul/matmul.h"
#include "kernels/select.h"
#include "kernels/simd/transpose.h"

enum {
    MR = 6,
    NR = 2 * WF_LANES,
    TILE_M = 8 * MR,
    TILE_N = 64, /* a multiple of NR on every ISA */
    KC = 256,
    PAST_CACHES = 16 << 20 /* bytes of C that would only push others out of them */
};

static bool fits(const wf_matmul_desc *d, char *why, size_t size)
{
    if (d->type == WEFT_F32)
        return true;
    snprintf(why, size, "f32 only");
    return false;
}

/* An operand's rows [0, n) and columns k in [0, kc) into panels of `width` rows, KC * width floats
 * each: panel[k * width + i] = in(i, k), and 0 where there is no row. The next `ahead` columns are
 * brought in. WIDTH is a constant where these are called. */
WF_INLINE void pack_columns(const int WIDTH, float *out, const float *in, int64_t inner, int n,
                            int kc)
{
    const int whole = n / WIDTH * WIDTH, left = n - whole;
    for (int k = 0; k < kc;
         k++, in += inner) { /* a row of a panel is part of a row of the matrix */
        float *to = out + k * WIDTH;
        for (int i = 0; i < whole; i += WIDTH)
            memcpy(to + i * KC, in + i, (size_t)WIDTH * sizeof *out);
        for (int i = 0; left && i < WIDTH; i++)
            to[whole * KC + i] = i < left ? in[whole + i] : 0;
    }
}

WF_INLINE void pack_rows(const int WIDTH, float *out, const float *in, int64_t outer, int n, int kc,
                         int64_t ahead)
{
    const int even = kc / 8 * 8;
    for (int first = 0; first < n; first += WIDTH, out += KC * WIDTH, in += WIDTH * outer) {
        const int rows = n - first < WIDTH ? n - first : WIDTH, whole = rows / 8 * 8;
        for (int i = 0; i < whole; i += 8)
            for (int k = 0; k < even; k += 8) {
                if (k < ahead && k % 16 == 0)
                    for (int r = 0; r < 8; r++)
                        __builtin_prefetch(in + (i + r) * outer + kc + k);
                wf_transpose8(in + i * outer + k, (size_t)outer, out + k * WIDTH + i,
                              (size_t)WIDTH);
            }
        for (int i = 0; i < WIDTH; i++)
            for (int k = i < whole ? even : 0; k < kc; k++)
                out[k * WIDTH + i] = i < rows ? in[i * outer + k] : 0;
    }
}

/* What a block of C, MR x NR, gets: */
typedef struct target {
    float *c;
    int64_t row;       /* of C */
    int m, n;          /* of the block, what is inside C */
    bool first;        /* this sum and the bias; else what is there and this sum */
    const float *bias; /* at the block's first column, or NULL */
    bool past;         /* written past the caches: whole blocks on vector boundaries only */
} target;

static void put_row(const target *t, int i, wf_vf sum0, wf_vf sum1)
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

/* The sum over k of a(i, k) * b[k][NR] for MR rows, into t. */
WF_INLINE void micro(int kc, const float *a, int64_t a_i, int64_t a_k, const float *b,
                     const target *t)
{
    wf_vf sum[MR][2];
    for (int i = 0; i < MR; i++)
        sum[i][0] = sum[i][1] = wf_vzero();
    for (int k = 0; k < kc; k++, a += a_k, b += NR) {
        wf_vf b0 = wf_vload(b), b1 = wf_vload(b + WF_LANES);
        for (int i = 0; i < MR; i++) {
            wf_vf x = wf_vset1(a[i * a_i]);
            sum[i][0] = wf_vfma(x, b0, sum[i][0]);
            sum[i][1] = wf_vfma(x, b1, sum[i][1]);
        }
    }
    for (int i = 0; i < MR; i++)
        if (i < t->m)
            put_row(t, i, sum[i][0], sum[i][1]);
}

static void run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                const void *av, const void *bv, const void *bias, void *cv, void *scratch)
{
    const float *a = (const float *)av + (d->transpose_a ? m0 : m0 * d->K);
    const float *b = (const float *)bv + (d->transpose_b ? n0 * d->K : n0);
    float *a_panel = scratch, *b_panel = a_panel + TILE_M * KC;
    const int m = (int)(m1 - m0), n = (int)(n1 - n0), whole = m / MR * MR;
    target t = {.row = d->N};
    t.past = d->K <= KC && d->N % NR == 0 && (uintptr_t)cv % (NR * sizeof(float)) == 0 &&
             (size_t)d->M * (size_t)d->N * sizeof(float) > PAST_CACHES;
    for (int64_t k0 = 0; k0 < d->K; k0 += KC) {
        int kc = d->K - k0 < KC ? (int)(d->K - k0) : KC;
        int64_t ahead = d->K - k0 - kc;
        t.first = k0 == 0;
        if (d->transpose_a)
            pack_columns(MR, a_panel, a + k0 * d->M, d->M, m, kc);
        else if (whole < m) /* the rest is read where it lies */
            pack_rows(MR, a_panel + whole * KC, a + whole * d->K + k0, d->K, m - whole, kc, 0);
        if (d->transpose_b)
            pack_rows(NR, b_panel, b + k0, d->K, n, kc, ahead);
        else
            pack_columns(NR, b_panel, b + k0 * d->N, d->N, n, kc);
        for (int j = 0; j < n; j += NR)
            for (int i = 0; i < m; i += MR) {
                t.c = (float *)cv + (m0 + i) * d->N + n0 + j;
                t.m = m - i;
                t.n = n - j;
                t.bias = bias ? (const float *)bias + n0 + j : NULL;
                if (d->transpose_a || i == whole)
                    micro(kc, a_panel + i * KC, 1, MR, b_panel + j * KC, &t);
                else
                    micro(kc, a + i * d->K + k0, d->K, 1, b_panel + j * KC, &t);
            }
    }
    if (t.past)
        wf_vstream_end();
}

const wf_matmul_impl WF_ISA_FN(wf_matmul) = {
    .name = WF_ISA_NAME,
    .isa = WF_ISA,
    .tile_m = TILE_M,
    .tile_n = TILE_N,
    .scratch_bytes = (size_t)(TILE_M + TILE_N) * KC * sizeof(float),
    .fits = fits,
    .run = run,
};
