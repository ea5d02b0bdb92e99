/* Matrix product in registers: up to six rows times two vectors of C, four on AVX-512.
 *
 * K is taken in chunks of KC. Where reading an operand as it lies would cost more, it is packed into
 * the scratch, so that the inner loop loads from contiguous memory. A: groups of rows, one after the
 * other or, where A is transposed, number by number in turns. B: panels of as many columns as the
 * inner loop takes. An operand is read in place where what a loop reads of it in turns stays in its
 * cache: packing a product of 49 x 64 x 49 takes a quarter of its time. A transposed B is always
 * packed. A chunk's sums are added to C (the bias, at first) in order: a sum depends on K alone.
 * After Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), with one
 * tile of C in place of the outer loops: a tile is large enough that packing costs little beside its
 * products and small enough for the second-level cache.
 *
 * A linear layer's weights are read once per batch, and are large where the layer is: what counts then
 * is to pack them at the pace of memory (8 x 8 transposes, what comes next brought in ahead, since
 * their rows lie too far apart for the hardware to foresee) and not to read C, the gradient of the
 * weights, before it is written. */
#include <stdio.h>

#include "kernels/matmul/matmul.h"
#include "kernels/select.h"
#include "kernels/simd/transpose.h"

enum {
    MR = 6,
    VECTORS = WF_LANES == 16 ? 4 : 2, /* as many sums as there are registers for */
    NR = VECTORS * WF_LANES,
    KC = 256,
    MOST_M = 264, /* of a tile, a multiple of MR */
    MOST_N = 128,
    WIDE_N = 256, /* where M or K is small */
    SMALL_M = 32,
    SMALL_K = 64,
    ENOUGH_TILES = 64, /* for as many workers, if that leaves some work in each */
    FEWER_TILES = 32,  /* where a tile's sums are long: smaller ones pack more */
    LONG_K = 512,
    HALF_M = 132,
    LEAST_M = 48,
    LEAST_N = 64,
    ROW = KC + 16,          /* floats from row to row of a group of A: not a power of two */
    GROUP = MR * ROW,       /* and of a group */
    AHEAD = 8,              /* rows of B that are brought in ahead */
    PAST_CACHES = 16 << 20, /* bytes of C that would only push others out of them */
    LINE = 16,              /* floats of a cache line */

    /* What is read in place, in floats and bytes. A: rows of at most so many floats; further apart they
     * share sets of the second-level cache. */
    IN_PLACE_A = 1024,
    /* A transposed: a chunk of at most so many, of which a group's lines fit the first-level cache. */
    IN_PLACE_AT = WF_LANES == 16 ? 40000 : 4096,
    GROUP_BYTES = 24 << 10,
    /* B: a chunk of at most so many floats, or all of B where many rows of A use it again; and a panel
     * that fits the cache it is read from, which is the second-level one on AVX-512. */
    IN_PLACE_B = 16384,
    B_IN_CACHE = 1 << 20,
    MANY_ROWS = 96,
    PANEL_BYTES = WF_LANES == 16 ? 256 << 10 : 24 << 10,
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
    const int enough = d->K >= LONG_K ? FEWER_TILES : ENOUGH_TILES;
    if (wf_matmul_count(d, *m, *n) < enough)
        *m = wf_matmul_piece(d->M, HALF_M, MR);
    while (wf_matmul_count(d, *m, *n) < enough && *n > LEAST_N)
        *n = wf_matmul_piece(d->N, *n / 2 < LEAST_N ? LEAST_N : wf_round_up(*n / 2, NR), NR);
    if (wf_matmul_count(d, *m, *n) < enough && *m > LEAST_M)
        *m = wf_matmul_piece(d->M, LEAST_M, MR);
}

/* At the share that the inner loop reaches, with packing, for each tile anew, by number; as
 * measured. */
static double expect(const wf_matmul_desc *d, weft_isa isa)
{
    int m, n;
    tile(d, &m, &n);
    double M = (double)d->M, N = (double)d->N, K = (double)d->K;
    double down = (double)((d->M + m - 1) / m), across = (double)((d->N + n - 1) / n);
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

/* B's rows [0, kc) and columns [0, n): panel[k * NR + j]. Nothing is where there is no column. `rows`
 * follow in all. */
static void pack_b(float *out, const float *b, int64_t N, int n, int kc, int64_t rows)
{
    const int whole = n / NR * NR;
    for (int k = 0; k < kc; k++, b += N) {
        float *to = out + k * NR;
        bring_in(b, N, n, k, rows);
        for (int j = 0; j < whole; j += NR)
            memcpy(to + j * KC, b + j, NR * sizeof *out);
        for (int j = whole; j < n; j++)
            to[whole * KC + j - whole] = b[j];
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
        for (int j = 0; j < rows; j++)
            for (int k = j < whole ? even : 0; k < kc; k++)
                out[k * NR + j] = b[j * K + k];
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

/* V vectors of sums, of which the last has `last` columns that are inside C. */
WF_INLINE void put_row(const int V, const bool tail, const target *t, int i, const wf_vf *sum)
{
    float *c = t->c + i * t->row;
    const float *more = t->first ? t->bias : c;
    const int last = t->n - (V - 1) * WF_LANES;
    for (int v = 0; v < V; v++, c += WF_LANES, more = more ? more + WF_LANES : NULL) {
        const bool masked = tail && v == V - 1;
        wf_vf x = !more ? wf_vzero() : masked ? wf_vload_n(more, last) : wf_vload(more);
        x = wf_vadd(x, sum[v]);
        if (masked)
            wf_vstore_n(c, x, last);
        else if (t->past)
            wf_vstream(c, x);
        else
            wf_vstore(c, x);
    }
}

/* Where numbers of A and B are: a(i, k) at a[i * a_i + k * a_k], b(k, j) at b[k * b_k + j]. */
typedef struct steps {
    int64_t a_i, a_k, b_k;
} steps;

/* The sum over k of a(i, k) * b(k, j) for R rows and V vectors of columns, the last of them not a
 * whole one where `tail`, into t. R, V and tail are constants where this is called. */
WF_INLINE void rows(const int R, const int V, const bool tail, const steps *s, int kc,
                    const float *a, const float *b, const target *t)
{
    const int64_t a_i = s->a_i, a_k = s->a_k, b_k = s->b_k;
    const float *a_3 = a + 3 * a_i; /* three rows are as far as an address reaches */
    const int last = t->n - (V - 1) * WF_LANES;
    wf_vf sum[MR][VECTORS];
    WF_UNROLL
    for (int i = 0; i < R; i++)
        for (int v = 0; v < V; v++)
            sum[i][v] = wf_vzero();
    for (int k = 0; k < kc; k++, a += a_k, a_3 += a_k, b += b_k) {
        wf_vf y[VECTORS];
        WF_UNROLL
        for (int v = 0; v < V; v++)
            y[v] = tail && v == V - 1 ? wf_vload_n(b + v * WF_LANES, last)
                                      : wf_vload(b + v * WF_LANES);
        WF_UNROLL
        for (int i = 0; i < R; i++) {
            wf_vf x = wf_vset1(i < 3 ? a[i * a_i] : a_3[(i - 3) * a_i]);
            for (int v = 0; v < V; v++)
                sum[i][v] = wf_vfma(x, y[v], sum[i][v]);
        }
    }
    WF_UNROLL
    for (int i = 0; i < R; i++)
        put_row(V, tail, t, i, sum[i]);
}

/* What the blocks of a tile share in a chunk of K. */
typedef struct chunk {
    const float *a, *b;
    int64_t group, panel; /* floats from one to the next, of A and B; group 0: A is in place */
    steps step;
    int kc, n;                  /* n: columns of the tile */
    int begin[MOST_M / MR + 1]; /* of each group's rows, and their end */
    target t;                   /* of the tile's first number */
} chunk;

WF_INLINE void block(const int R, const chunk *c, const float *a, const float *b, const target *t)
{
    const int V = (t->n + WF_LANES - 1) / WF_LANES;
    if (t->n >= NR)
        rows(R, VECTORS, false, &c->step, c->kc, a, b, t);
    else if (V == 1)
        rows(R, 1, true, &c->step, c->kc, a, b, t);
    else if (V == 2)
        rows(R, 2, true, &c->step, c->kc, a, b, t);
    else if (V == 3)
        rows(R, VECTORS > 2 ? 3 : 1, true, &c->step, c->kc, a, b, t);
    else
        rows(R, VECTORS > 2 ? 4 : 1, true, &c->step, c->kc, a, b, t);
}

/* R rows from row `first` on, at a, by the panels of columns [begin, end). */
WF_INLINE void panels(const int R, const chunk *c, int first, const float *a, int begin, int end)
{
    target t = c->t;
    t.c += first * t.row + begin;
    t.bias = t.bias ? t.bias + begin : NULL;
    for (int j = begin; j < end; j += NR, t.c += NR, t.bias = t.bias ? t.bias + NR : NULL) {
        t.n = c->n - j;
        block(R, c, a, c->b + j / NR * c->panel, &t);
    }
}

static void group(const chunk *c, int g, int begin, int end)
{
    const int first = c->begin[g];
    const float *a = c->a + (c->group ? g * c->group : first * c->step.a_i);
    switch (c->begin[g + 1] - first) {
    case 1: panels(1, c, first, a, begin, end); break;
    case 2: panels(2, c, first, a, begin, end); break;
    case 3: panels(3, c, first, a, begin, end); break;
    case 4: panels(4, c, first, a, begin, end); break;
    case 5: panels(5, c, first, a, begin, end); break;
    case 6: panels(6, c, first, a, begin, end); break;
    }
}

/* A panel of B stays in the first-level cache while A passes by, or, where K is so short that
 * whole rows of C are to be written at once, a group of A while B does. */
static void multiply(const chunk *c, int groups)
{
    const int width = c->kc <= SMALL_K ? c->n : NR;
    for (int j = 0; j < c->n; j += width)
        for (int g = 0; g < groups; g++)
            group(c, g, j, c->n - j < width ? c->n : j + width);
}

/* Bytes of cache that `rows` rows of `row` floats need which begin `step` floats apart: rows a multiple
 * of 2^n bytes apart share sets, as if each were 2^n bytes long. */
static int64_t room_in_place(int64_t step, int64_t row, int rows)
{
    const int64_t alike = step & -step;
    return rows * (alike > row ? alike : row) * (int64_t)sizeof(float);
}

/* The tile's part of A from row (column, if transposed) k0 on, at a: in place where what is read of it
 * in turns stays in the caches, else packed. */
static void take_a(chunk *c, const wf_matmul_desc *d, const float *a, int64_t m0, int m, int64_t k0,
                   float *panel)
{
    const bool t = d->transpose_a;
    const bool near =
        d->M * c->kc <= IN_PLACE_AT && room_in_place(d->M, LINE, c->kc) <= GROUP_BYTES;
    if (t ? near : d->K <= IN_PLACE_A) {
        c->a = a;
        c->group = 0;
        c->step.a_i = t ? 1 : d->K;
        c->step.a_k = t ? d->M : 1;
        return;
    }
    c->a = panel;
    c->group = GROUP;
    c->step.a_i = t ? 1 : ROW;
    c->step.a_k = t ? MR : 1;
    if (t)
        pack_a_transposed(panel, a, d->M, m, d->M - m0, c->kc, d->K - k0);
    else
        pack_a(panel, a, d->K, m, c->kc);
}

/* The same of B. */
static void take_b(chunk *c, const wf_matmul_desc *d, const float *b, int n, int64_t k0,
                   float *panel)
{
    const bool near =
        d->N * c->kc <= IN_PLACE_B || (d->M >= MANY_ROWS && d->N * d->K <= B_IN_CACHE);
    const bool in_place = !d->transpose_b && near && room_in_place(d->N, NR, c->kc) <= PANEL_BYTES;
    c->b = in_place ? b : panel;
    c->panel = in_place ? NR : KC * NR;
    c->step.b_k = in_place ? d->N : NR;
    if (d->transpose_b)
        pack_b_transposed(panel, b, d->K, n, c->kc, d->K - k0 - c->kc);
    else if (!in_place)
        pack_b(panel, b, d->N, n, c->kc, d->K - k0);
}

static weft_status run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *av, const void *bv, const void *bias, void *cv, void *scratch)
{
    const float *a = (const float *)av + (d->transpose_a ? m0 : m0 * d->K);
    const float *b = (const float *)bv + (d->transpose_b ? n0 * d->K : n0);
    float *a_panel = scratch, *b_panel = a_panel + MOST_M / MR * GROUP;
    const int m = (int)(m1 - m0), n = (int)(n1 - n0);
    chunk c = {.n = n,
               .t = {.c = (float *)cv + m0 * d->N + n0,
                     .row = d->N,
                     .bias = bias ? (const float *)bias + n0 : NULL}};
    for (int g = 0; g <= groups_in(m); g++)
        c.begin[g] = group_begin(m, g);
    c.t.past = d->K <= KC && !d->add && d->N % WF_LANES == 0 &&
               (uintptr_t)cv % (WF_LANES * sizeof(float)) == 0 &&
               (size_t)d->M * (size_t)d->N * sizeof(float) > PAST_CACHES;
    for (int64_t k0 = 0; k0 < d->K; k0 += KC) {
        c.kc = d->K - k0 < KC ? (int)(d->K - k0) : KC;
        c.t.first = k0 == 0 && !d->add;
        take_a(&c, d, a + k0 * (d->transpose_a ? d->M : 1), m0, m, k0, a_panel);
        take_b(&c, d, b + k0 * (d->transpose_b ? 1 : d->N), n, k0, b_panel);
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
