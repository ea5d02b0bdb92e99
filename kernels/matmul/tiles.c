/* Matrix product in bf16 by AMX's TDPBF16PS: two by two tiles of 16 x 16 sums, Note [Packed pairs] in pairs.h.
 *
 * A sum starts at the bias, or at what C holds, and takes K in steps of 32 by TDPBF16PS, whose order
 * kernels/simd/tile_emul.h has. Tiles 0 to 3 hold the sums, [rows][columns]; 4 and 5 rows of A; 6 and 7 columns of
 * B. Sums at C's edges pass through memory. */
#include "kernels/matmul/pairs.h"
#include "kernels/simd/tile.h"

enum { SUMS = PAIRS_L * PAIRS_L };

typedef struct corner {
    float *c; /* 16 x 16 elements of C, of which rows and columns are inside */
    int rows, columns;
    const float *bias; /* of 16 columns */
    float *sums;       /* memory for SUMS */
} corner;

static bool inside(const corner *k)
{
    return k->rows == PAIRS_L && k->columns == PAIRS_L;
}

/* Writes where the sums begin to k->sums; C is not whole. */
static void begin_at_edge(const pairs_block *p, const corner *k)
{
    for (int i = 0; i < k->rows; i++)
        wf_vstore(k->sums + i * PAIRS_L, wf_vload_n(k->c + i * p->row, k->columns));
    for (int i = k->rows; i < PAIRS_L; i++)
        wf_vstore(k->sums + i * PAIRS_L, wf_vzero());
}

static void end_at_edge(const pairs_block *p, const corner *k)
{
    for (int i = 0; i < k->rows; i++)
        wf_vstore_n(k->c + i * p->row, wf_vload(k->sums + i * PAIRS_L), k->columns);
}

#define begin(t, N, p, k)                                                                          \
    do {                                                                                           \
        if ((p)->first) {                                                                          \
            wf_tile_load(t, N, (k)->bias, 0);                                                      \
        } else if (inside(k)) {                                                                    \
            wf_tile_load(t, N, (k)->c, (p)->row *(int64_t)sizeof(float));                          \
        } else {                                                                                   \
            begin_at_edge(p, k);                                                                   \
            wf_tile_load(t, N, (k)->sums, PAIRS_L * sizeof(float));                                \
        }                                                                                          \
    } while (0)

#define end(t, N, p, k)                                                                            \
    do {                                                                                           \
        if (inside(k)) {                                                                           \
            wf_tile_store(t, N, (k)->c, (p)->row *(int64_t)sizeof(float));                         \
        } else {                                                                                   \
            wf_tile_store(t, N, (k)->sums, PAIRS_L * sizeof(float));                               \
            end_at_edge(p, k);                                                                     \
        }                                                                                          \
    } while (0)

/* I and J, tiles down and across, are constants at every call. */
WF_INLINE void subblock(wf_tiles *t, const int I, const int J, const pairs_block *p,
                        const uint16_t *a, const uint16_t *b, const corner k[2][2])
{
    const int64_t a_row = PAIRS_PITCH * sizeof *a, b_row = 2 * PAIRS_NR * sizeof *b;
    begin(t, 0, p, &k[0][0]);
    if (J > 1)
        begin(t, 1, p, &k[0][1]);
    if (I > 1)
        begin(t, 2, p, &k[1][0]);
    if (I > 1 && J > 1)
        begin(t, 3, p, &k[1][1]);
    for (int n = 0; n < p->kc; n += PAIRS_STEP, a += PAIRS_STEP, b += PAIRS_STEP * PAIRS_NR) {
        wf_tile_load(t, 4, a, a_row);
        wf_tile_load(t, 6, b, b_row);
        wf_tile_dot(t, 0, 4, 6);
        if (J > 1) {
            wf_tile_load(t, 7, b + 2 * PAIRS_L, b_row);
            wf_tile_dot(t, 1, 4, 7);
        }
        if (I > 1) {
            wf_tile_load(t, 5, a + PAIRS_L * PAIRS_PITCH, a_row);
            wf_tile_dot(t, 2, 5, 6);
        }
        if (I > 1 && J > 1)
            wf_tile_dot(t, 3, 5, 7);
    }
    end(t, 0, p, &k[0][0]);
    if (J > 1)
        end(t, 1, p, &k[0][1]);
    if (I > 1)
        end(t, 2, p, &k[1][0]);
    if (I > 1 && J > 1)
        end(t, 3, p, &k[1][1]);
}

static int at_most(int x, int most)
{
    return x < most ? x : most;
}

static void multiply(void *state, const pairs_block *p)
{
    wf_tiles *t = state;
    float sums[SUMS] __attribute__((aligned(WF_ALIGN)));
    float bias[PAIRS_NR] __attribute__((aligned(WF_ALIGN)));
    for (int j = 0; j < p->n; j += PAIRS_NR) {
        const uint16_t *b = p->b + (size_t)(j / PAIRS_NR) * PAIRS_PANEL;
        for (int n = 0; n < PAIRS_NR; n++)
            bias[n] = p->bias && j + n < p->n ? p->bias[j + n] : 0;
        for (int i = 0; i < p->m; i += 2 * PAIRS_L) {
            const uint16_t *a = p->a + (size_t)i * PAIRS_PITCH;
            corner k[2][2];
            for (int u = 0; u < 2; u++)
                for (int v = 0; v < 2; v++)
                    k[u][v] = (corner){.c = p->c + (i + u * PAIRS_L) * p->row + j + v * PAIRS_L,
                                       .rows = at_most(p->m - i - u * PAIRS_L, PAIRS_L),
                                       .columns = at_most(p->n - j - v * PAIRS_L, PAIRS_L),
                                       .bias = bias + v * PAIRS_L,
                                       .sums = sums};
            const bool down = k[1][0].rows > 0, across = k[0][1].columns > 0;
            if (down && across)
                subblock(t, 2, 2, p, a, b, k);
            else if (down)
                subblock(t, 2, 1, p, a, b, k);
            else if (across)
                subblock(t, 1, 2, p, a, b, k);
            else
                subblock(t, 1, 1, p, a, b, k);
        }
    }
}

static bool fits(const wf_matmul_desc *d, char *why, size_t size)
{
    return pairs_fits(d, WF_BF16_AMX, why, size);
}

static double expect(const wf_matmul_desc *d, weft_isa isa)
{
    return pairs_expect(d, wf_machine_class_of(WEFT_ISA_AVX512)->cost->amx_matmul);
}

static weft_status run(const wf_matmul_desc *d, int64_t m0, int64_t m1, int64_t n0, int64_t n1,
                       const void *a, const void *b, const void *bias, void *c, void *scratch)
{
    wf_tiles t;
    wf_tiles_begin(&t); /* Note [Tile configuration] in kernels/simd/tile.h */
    pairs_run(d, m0, m1, n0, n1, a, b, bias, c, scratch, multiply, &t);
    wf_tiles_end(&t);
    return WEFT_OK;
}

const wf_matmul_impl WF_ISA_FN(wf_matmul_tiles) = {
    .name = "amx:" WF_ISA_NAME,
    .isa = WEFT_ISA_AVX512,
    .tile = pairs_tile,
    .scratch_bytes = PAIRS_SCRATCH,
    .fits = fits,
    .expect = expect,
    .run = run,
};
