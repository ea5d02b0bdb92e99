/* AMX's tile registers: one source, on the instructions or on tile_emul.h.
 *
 * How a kernel file uses it. It goes into kernel_tile_src (simd.h): the build for AVX512_BF16 runs the
 * instructions, two builds for tests plain C with the same bits. Dispatch asks for wf_cpu_bf16() ==
 * WF_BF16_AMX, which also has the operating system's permission.
 *
 *     wf_tiles t;
 *     wf_tiles_begin(&t);
 *     wf_tile_load(&t, 0, bias, 0);
 *     wf_tile_load(&t, 4, a, 64), wf_tile_load(&t, 6, b, 64);
 *     wf_tile_dot(&t, 0, 4, 6);
 *     wf_tile_store(&t, 0, sums, 64);
 *     wf_tiles_end(&t);
 *
 * There are eight tiles, numbered by literals, each of 16 rows of 64 bytes; strides are bytes from row to row,
 * and a stride of 0 reads one row 16 times. wf_tile_dot(t, c, a, b) adds to tile c (16 x 16 f32) the product of
 * a (16 rows of 16 pairs of bf16) and b (16 pairs, each a row of 16 pairs). Even and odd elements of pairs are
 * summed apart, from zero; then c + (even + odd). Denormals count as zero, also as results.
 *
 * Note [Tile configuration]. Every kernel uses this one configuration, and each run of a kernel's tile of work
 * begins with it and releases it. That takes some 50 ns, a thousandth of the least tile of work. In return no
 * tile state outlives a call: a worker sleeps with released tiles, which the operating system then need not save,
 * and oneDNN, whose kernels release the tiles, may run between any two calls. */
#ifndef WF_SIMD_TILE_H
#define WF_SIMD_TILE_H

#include "kernels/simd/simd.h"
#include "kernels/simd/tile_emul.h"

#if defined(WF_SIMD_DOT) && !defined(WF_SIMD_TILE_EMUL)

typedef struct wf_tiles {
    char unused; /* the state is the core's */
} wf_tiles;

/* The operand of LDTILECFG, Intel's manual, volume 1, 18.3: palette, bytes of rows, rows. */
typedef struct wf_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} wf_tile_config;
_Static_assert(sizeof(wf_tile_config) == 64, "LDTILECFG reads 64 bytes");

WF_INLINE void wf_tiles_begin(wf_tiles *t)
{
    static const wf_tile_config config = {.palette = 1,
                                          .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                          .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    (void)t;
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}
WF_INLINE void wf_tiles_end(wf_tiles *t)
{
    (void)t;
    __asm__ volatile("tilerelease" : : : "memory");
}
/* The compiler knows nothing of the 16 rows behind the pointer, hence "memory". */
#define wf_tile_load(t, n, p, stride)                                                              \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n                                               \
                     :                                                                             \
                     : "r"((const void *)(p)), "r"((ptrdiff_t)(stride))                            \
                     : "memory")
#define wf_tile_store(t, n, p, stride)                                                             \
    __asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)"                                           \
                     :                                                                             \
                     : "r"((void *)(p)), "r"((ptrdiff_t)(stride))                                  \
                     : "memory")
#define wf_tile_zero(t, n) __asm__ volatile("tilezero %%tmm" #n : :)
#define wf_tile_dot(t, c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)

#else

#include <assert.h>

typedef struct wf_tiles {
    wf_tile_emul tile[WF_TILES];
    bool configured; /* else every instruction faults */
} wf_tiles;

static inline void wf_tiles_begin(wf_tiles *t)
{
    for (int i = 0; i < WF_TILES; i++)
        wf_tile_emul_shape(&t->tile[i], WF_TILE_ROWS, WF_TILE_BYTES);
    t->configured = true;
}
static inline void wf_tiles_end(wf_tiles *t)
{
    assert(t->configured);
    t->configured = false;
}
static inline wf_tile_emul *wf_tile_at(wf_tiles *t, int n)
{
    assert(t->configured && n >= 0 && n < WF_TILES);
    return &t->tile[n];
}
#define wf_tile_load(t, n, p, stride) wf_tile_emul_load(wf_tile_at(t, n), p, stride)
#define wf_tile_store(t, n, p, stride) wf_tile_emul_store(wf_tile_at(t, n), p, stride)
#define wf_tile_zero(t, n) wf_tile_emul_zero(wf_tile_at(t, n))
/* An instruction with a register twice faults. */
#define wf_tile_dot(t, c, a, b)                                                                    \
    do {                                                                                           \
        assert((c) != (a) && (a) != (b) && (b) != (c));                                            \
        wf_tile_emul_dot(wf_tile_at(t, c), wf_tile_at(t, a), wf_tile_at(t, b));                    \
    } while (0)

#endif

#endif
