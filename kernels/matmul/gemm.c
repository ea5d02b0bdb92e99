/* Matrix product in registers: up to six rows by two vectors of C, by four on AVX-512.
 *
 * The loops are Goto and van de Geijn's ("Anatomy of High-Performance Matrix Multiplication", 2008), and so
 * are the names MR, NR and KC. A tile of C stands in place of their outer loops: it is so large that packing
 * costs little beside its products, and so small that L2 holds it. K is taken in blocks of KC.
 *
 * The kernel packs an operand into scratch, so that the inner loop reads contiguous memory. A becomes groups
 * of up to MR rows, row after row, or number by number in turns if A is transposed. B becomes panels of NR
 * columns. It reads an operand in place instead if what a loop reads over and over stays in its cache, since
 * packing a product of 49 x 64 x 49 takes a quarter of its time. It always packs a transposed B.
 *
 * It adds the sums of each block of K to C, in order; the first one to the bias. So a sum depends on K alone.
 *
 * A linear layer reads its weights once per batch. If they are large, two things count: to pack them at the
 * pace of memory (by 8 x 8 transposes; their rows lie too far apart for the hardware prefetcher, so the
 * kernel prefetches), and not to read C, the gradient of the weights, before it is written. */
#include <stdio.h>

#include "kernels/matmul/matmul.h"
#include "kernels/select.h"
#include "kernels/simd/cases.h"
#include "kernels/simd/transpose.h"

enum {
    MR = 6,
    VECTORS = WF_LANES == 16 ? 4 : 2, /* of C: with MR rows as many sums as registers hold */
    NR = VECTORS * WF_LANES,
    KC = 256,
    MAX_M = 264, /* rows of a tile, a multiple of MR */
    MAX_N = 128,
    WIDE_N = 256, /* where M or K is small */
    SMALL_M = 32,
    SMALL_K = 64,
    ENOUGH_TILES = 64, /* for as many workers; smaller tiles would pack more */
    FEWER_TILES = 32,  /* the same, where K is LONG_K and more */
    LONG_K = 512,
    HALF_M = 132,
    MIN_M = 48,
    MIN_N = 64,
    GROUP_ROW_FLOATS = KC + 16,           /* from row to row of a group of A: not a power of two */
    GROUP_FLOATS = MR * GROUP_ROW_FLOATS, /* of a group */
    PACK_ROWS = 8, /* of B, packed for one panel before the next: what is written is contiguous */
    PREFETCH_ROWS = 8, /* of a transposed A, ahead of those that are packed */
    READ_AHEAD = 8192, /* a block of more floats is brought into L2 first */
    PAST_CACHES =
        16
        << 20, /* bytes of C that are written past the caches: they would push out what others need */
    LINE = 16, /* floats of a cache line */

    /* What is read in place. A, if its rows have at most so many floats; rows further apart share sets of
     * L2. */
    IN_PLACE_A = 1024,
    /* A transposed: a block of K of at most so many floats, of which L1 holds a group's lines. */
    IN_PLACE_AT = WF_LANES == 16 ? 40000 : 4096,
    IN_PLACE_GROUP_BYTES = 24 << 10,
    /* B: a block of K of at most so many floats, or any if B has at most B_IN_CACHE and many rows of A use
     * it; and a panel must fit the cache that it is read from: L1, on AVX-512 L2. */
    IN_PLACE_B = 16384,
    B_IN_CACHE = 1 << 20,
    MANY_ROWS = 96,
    IN_PLACE_PANEL_BYTES = WF_LANES == 16 ? 256 << 10 : 24 << 10,
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
    *m = wf_matmul_piece(d->M, MAX_M, MR);
    *n = wf_matmul_piece(d->N, d->M <= SMALL_M || d->K <= SMALL_K ? WIDE_N : MAX_N, NR);
    const int enough = d->K >= LONG_K ? FEWER_TILES : ENOUGH_TILES;
    if (wf_matmul_count(d, *m, *n) < enough)
        *m = wf_matmul_piece(d->M, HALF_M, MR);
    while (wf_matmul_count(d, *m, *n) < enough && *n > MIN_N)
        *n = wf_matmul_piece(d->N, *n / 2 < MIN_N ? MIN_N : wf_round_up(*n / 2, NR), NR);
    if (wf_matmul_count(d, *m, *n) < enough && *m > MIN_M)
        *m = wf_matmul_piece(d->M, MIN_M, MR);
}

/* The inner loop at its share of the peak, and packing, by number, for each tile anew. */
static double expect(const wf_matmul_desc *d, weft_isa isa)
{
    int m, n;
    tile(d, &m, &n);
    double M = (double)d->M, N = (double)d->N, K = (double)d->K;
    double down = (double)((d->M + m - 1) / m), across = (double)((d->N + n - 1) / n);
    const wf_costs *c = wf_machine_class_of(WF_CLASS_ISA)->cost;
    const double b = d->transpose_b ? c->matmul_pack_b_transposed : c->matmul_pack_b;
    return wf_matmul_expect(d, WF_ISA, c->matmul_gemm) +
           K * (N * down * b + M * across * c->matmul_pack_a);
}

/* ---- packing ---- */

/* Brings a block towards L2 in the order in which it lies, if it is contiguous and not small: memory is fastest
 * in that order, and packing and products read in others. Always inline: gcc 12 removes calls of a function that
 * only prefetches. */
WF_INLINE void read_ahead(const float *from, int64_t step, int rows, int columns)
{
    const int64_t n = columns == step ? (int64_t)rows * columns : 0;
    for (int64_t i = 0; n > READ_AHEAD && i < n; i += LINE)
        __builtin_prefetch(from + i, 0, 2);
}

/* What the next block of K packs, brought into L2 little by little while this one is multiplied. Its rows lie so
 * far apart that the hardware prefetcher does not follow. */
typedef struct ahead {
    const float *row; /* the next one; `step` floats from row to row */
    int64_t step;
    int rows, columns; /* rows: that are left */
} ahead;

WF_INLINE void ahead_fetch(ahead *h, int rows)
{
    for (rows = rows < h->rows ? rows : h->rows; rows > 0; rows--, h->rows--, h->row += h->step) {
        for (int j = 0; j < h->columns; j += LINE)
            __builtin_prefetch(h->row + j, 0, 2);
        __builtin_prefetch(h->row + h->columns - 1, 0, 2); /* a row may begin within a line */
    }
}

/* n rows in groups of at most MR, all about equal: their number. Group i has rows [group_begin(n, i),
 * group_begin(n, i + 1)). */
static int groups_in(int n)
{
    return (n + MR - 1) / MR;
}

static int group_begin(int n, int i)
{
    return n * i / groups_in(n);
}

/* Packs rows [0, m) and columns [0, kc) of A: row i of group g to out + g * GROUP_FLOATS + i *
 * GROUP_ROW_FLOATS. */
static void pack_a(float *out, const float *a, int64_t K, int m, int kc)
{
    for (int g = 0; g < groups_in(m); g++)
        for (int i = group_begin(m, g), end = group_begin(m, g + 1), at = 0; i < end; i++, at++)
            memcpy(out + g * GROUP_FLOATS + at * GROUP_ROW_FLOATS, a + i * K,
                   (size_t)kc * sizeof *out);
}

/* The same of a transposed A: packs number i of column k of group g to out + g * GROUP_FLOATS + k * MR + i.
 * Takes four rows at a time. A smaller group than MR gets what lies behind it, too, where there are MR numbers;
 * `there` numbers of a row may be read, m at least. A has `rows` rows from here on. */
static void pack_a_transposed(float *out, const float *a, int64_t M, int m, int64_t there, int kc,
                              int64_t rows)
{
    const int groups = groups_in(m);
    int begin[MAX_M / MR + 1];
    for (int g = 0; g <= groups; g++)
        begin[g] = group_begin(m, g);
    for (int k0 = 0; k0 < kc; k0 += 4, a += 4 * M) {
        const int n = kc - k0 < 4 ? kc - k0 : 4;
        const bool whole = n == 4 && M >= 8, more = k0 + PREFETCH_ROWS + 4 <= rows;
        for (int g = 0; g < groups; g++) {
            const int first = begin[g], wanted = begin[g + 1] - first;
            float *to = out + g * GROUP_FLOATS + k0 * MR;
            for (int k = 0; more && k < 4; k++)
                __builtin_prefetch(a + (PREFETCH_ROWS + k) * M + first);
            if (whole && first + MR <= there) {
                wf_gather_4x6(a + first, (size_t)M, to);
                continue;
            }
            for (int k = 0; k < n; k++)
                for (int i = 0; i < wanted; i++)
                    to[k * MR + i] = a[k * M + first + i];
        }
    }
}

/* Packs rows [0, kc) and columns [0, n) of B into panels: panel[k * NR + j]. Takes PACK_ROWS rows at a time,
 * panel by panel. Leaves out vectors that B does not have. B has `rows` rows from here on. */
static void pack_b(float *out, const float *b, int64_t N, int n, int kc, int64_t rows)
{
    for (int k0 = 0; k0 < kc; k0 += PACK_ROWS, b += PACK_ROWS * N, out += PACK_ROWS * NR) {
        const int end = kc - k0 < PACK_ROWS ? kc - k0 : PACK_ROWS;
        for (int first = 0; first < n; first += NR) {
            const float *from = b + first;
            float *to = out + first * KC;
            for (int k = 0; k < end; k++, from += N, to += NR) {
                for (int j = 0; k0 + k + PACK_ROWS < rows && j < NR && first + j < n; j += LINE)
                    __builtin_prefetch(from + PACK_ROWS * N + j);
                for (int j = 0; j < NR && first + j < n; j += WF_LANES)
                    wf_vstore(to + j, first + j + WF_LANES <= n
                                          ? wf_vload(from + j)
                                          : wf_vload_n(from + j, n - first - j));
            }
        }
    }
}

/* The same of a transposed B, which has next_columns columns behind these; some of them are prefetched. */
static void pack_b_transposed(float *out, const float *b, int64_t K, int n, int kc,
                              int64_t next_columns)
{
    const int even = kc / 8 * 8;
    for (int first = 0; first < n; first += NR, out += KC * NR, b += NR * K) {
        const int rows = n - first < NR ? n - first : NR, whole = rows / 8 * 8;
        for (int j = 0; j < whole; j += 8)
            for (int k = 0; k < even; k += 8) {
                if (k < next_columns && k % 16 == 0)
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

/* Where the sums of a subblock of C, up to MR x NR, go. */
typedef struct target {
    float *c;
    int64_t row;       /* of C */
    int n;             /* columns of the subblock that are inside C */
    bool first;        /* C becomes bias plus sum; else C plus sum */
    const float *bias; /* of the subblock's first column, or NULL */
    bool past;         /* written past the caches: only whole subblocks on vector boundaries */
} target;

/* Writes V vectors of sums of row i; the last one has `last` columns that are inside C. */
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

/* a(i, k) is at a[i * a_i + k * a_k], b(k, j) at b[k * b_k + j]. */
typedef struct steps {
    int64_t a_i, a_k, b_k;
} steps;

/* Sums a(i, k) * b(k, j) over k for R rows and V vectors of columns, the last one not whole if `tail`, and puts
 * the sums into t. R, V and tail are constants at every call. */
WF_INLINE void rows(const int R, const int V, const bool tail, const steps *s, int kc,
                    const float *a, const float *b, const target *t)
{
    const int64_t a_i = s->a_i, a_k = s->a_k, b_k = s->b_k;
    const float *a_3 = a + 3 * a_i; /* an address reaches three rows */
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

/* What the subblocks of a tile share in a block of K. */
typedef struct k_block {
    const float *a, *b;
    int64_t group,
        panel; /* floats from group to group of A, from panel to panel of B; group 0: A is in place */
    steps step;
    int kc, n;                 /* n: columns of the tile */
    int begin[MAX_M / MR + 1]; /* the first row of each group, and the end */
    target t;                  /* of the tile's first number */
    ahead next_a, next_b;
} k_block;

WF_INLINE void block(const int R, const k_block *c, const float *a, const float *b, const target *t)
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

/* Multiplies R rows from row `first` on, at a, by the panels of columns [begin, end). */
WF_INLINE void panels(const int R, const k_block *c, int first, const float *a, int begin, int end)
{
    target t = c->t;
    t.c += first * t.row + begin;
    t.bias = t.bias ? t.bias + begin : NULL;
    for (int j = begin; j < end; j += NR, t.c += NR, t.bias = t.bias ? t.bias + NR : NULL) {
        t.n = c->n - j;
        block(R, c, a, c->b + j / NR * c->panel, &t);
    }
}

static void group(const k_block *c, int g, int begin, int end)
{
    const int first = c->begin[g];
    const float *a = c->a + (c->group ? g * c->group : first * c->step.a_i);
#define CASE(R)                                                                                    \
    case R: panels(R, c, first, a, begin, end); break;
    switch (c->begin[g + 1] - first) {
        WF_CASES_6(CASE)
    }
#undef CASE
}

/* Multiplies the block of K. L1 keeps a panel of B while the groups of A pass by. If K is so short that whole
 * rows of C should be written at once, L1 keeps a group of A while the panels of B pass by. */
static void multiply(k_block *c, int groups)
{
    const int width = c->kc <= SMALL_K ? c->n : NR, times = groups * ((c->n + width - 1) / width);
    const int a_rows = (c->next_a.rows + times - 1) / times,
              b_rows = (c->next_b.rows + times - 1) / times;
    for (int j = 0; j < c->n; j += width)
        for (int g = 0; g < groups; g++) {
            group(c, g, j, c->n - j < width ? c->n : j + width);
            ahead_fetch(&c->next_a, a_rows);
            ahead_fetch(&c->next_b, b_rows);
        }
}

/* Bytes of cache that `rows` rows of `row` floats take if they begin `step` floats apart. Rows a multiple of
 * 2^n bytes apart share cache sets, so they take as much as if each were 2^n bytes long. */
static int64_t room_in_place(int64_t step, int64_t row, int rows)
{
    const int64_t alike = step & -step;
    return rows * (alike > row ? alike : row) * (int64_t)sizeof(float);
}

/* Takes the tile's part of A in a block of K, which starts at a: in place if the caches hold what is read over
 * and over, else packed. */
static void take_a(k_block *c, const wf_matmul_desc *d, const float *a, int64_t m0, int m,
                   int64_t k0, float *panel)
{
    const bool t = d->transpose_a;
    const bool near =
        d->M * c->kc <= IN_PLACE_AT && room_in_place(d->M, LINE, c->kc) <= IN_PLACE_GROUP_BYTES;
    if (t ? near : d->K <= IN_PLACE_A) {
        c->a = a;
        c->group = 0;
        c->step.a_i = t ? 1 : d->K;
        c->step.a_k = t ? d->M : 1;
        return;
    }
    c->a = panel;
    c->group = GROUP_FLOATS;
    c->step.a_i = t ? 1 : GROUP_ROW_FLOATS;
    c->step.a_k = t ? MR : 1;
    if (t)
        pack_a_transposed(panel, a, d->M, m, d->M - m0, c->kc, d->K - k0);
    else
        pack_a(panel, a, d->K, m, c->kc);
}

/* The same for B. */
static void take_b(k_block *c, const wf_matmul_desc *d, const float *b, int n, int64_t k0,
                   float *panel)
{
    const bool near =
        d->N * c->kc <= IN_PLACE_B || (d->M >= MANY_ROWS && d->N * d->K <= B_IN_CACHE);
    const bool in_place =
        !d->transpose_b && near && room_in_place(d->N, NR, c->kc) <= IN_PLACE_PANEL_BYTES;
    c->b = in_place ? b : panel;
    c->panel = in_place ? NR : KC * NR;
    c->step.b_k = in_place ? d->N : NR;
    if (d->transpose_b)
        pack_b_transposed(panel, b, d->K, n, c->kc, d->K - k0 - c->kc);
    else if (!in_place)
        pack_b(panel, b, d->N, n, c->kc, d->K - k0);
}

WF_INLINE void read_ahead_both(const wf_matmul_desc *d, const float *a, int m, const float *b,
                               int n, int kc)
{
    if (d->transpose_a)
        read_ahead(a, d->M, kc, m);
    else
        read_ahead(a, d->K, m, kc);
    if (d->transpose_b)
        read_ahead(b, d->K, n, kc);
    else
        read_ahead(b, d->N, kc, n);
}

static weft_status run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *av, const void *bv, const void *bias, void *cv, void *scratch)
{
    const float *a = (const float *)av + (d->transpose_a ? m0 : m0 * d->K);
    const float *b = (const float *)bv + (d->transpose_b ? n0 * d->K : n0);
    float *a_panel = scratch, *b_panel = a_panel + MAX_M / MR * GROUP_FLOATS;
    const int m = (int)(m1 - m0), n = (int)(n1 - n0);
    k_block c = {.n = n,
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
        read_ahead_both(d, a + k0 * (d->transpose_a ? d->M : 1), m,
                        b + k0 * (d->transpose_b ? 1 : d->N), n, c.kc);
        take_a(&c, d, a + k0 * (d->transpose_a ? d->M : 1), m0, m, k0, a_panel);
        take_b(&c, d, b + k0 * (d->transpose_b ? 1 : d->N), n, k0, b_panel);
        const int64_t k1 = k0 + c.kc;
        const int next = d->K - k1 < KC ? (int)(d->K - k1) : KC;
        c.next_a = c.next_b = (ahead){0};
        if (next > 0 && c.group && d->transpose_a)
            c.next_a = (ahead){a + k1 * d->M, d->M, next, m};
        if (next > 0 && c.b == b_panel && !d->transpose_b)
            c.next_b = (ahead){b + k1 * d->N, d->N, next, n};
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
    .scratch_bytes = (size_t)(MAX_M / MR * GROUP_FLOATS + WIDE_N * KC) * sizeof(float),
    .fits = fits,
    .expect = expect,
    .run = run,
};
