/* bf16 products of AMX's tiles, TDPBF16PS; see peak_loops.h. */
#include "bench/peak_loops.h"
#include "kernels/simd/tile.h"

enum { SUMS = 4, SIDE = 16, PRODUCTS = SIDE * SIDE * 2 * SIDE /* of an instruction */ };

double bench_peak_bf16_amx(int64_t rounds, float seed, float *result)
{
    float sums[SIDE * SIDE];
    uint16_t factors[SIDE * 2 * SIDE];
    wf_tiles t;
    for (int i = 0; i < SIDE * 2 * SIDE; i++)
        factors[i] = wf_to_bf16(seed);
    wf_tiles_begin(&t);
    wf_tile_zero(&t, 0);
    wf_tile_zero(&t, 1);
    wf_tile_zero(&t, 2);
    wf_tile_zero(&t, 3);
    wf_tile_load(&t, 4, factors, 4 * SIDE);
    wf_tile_load(&t, 5, factors, 4 * SIDE);
    wf_tile_load(&t, 6, factors, 4 * SIDE);
    wf_tile_load(&t, 7, factors, 4 * SIDE);
    for (int64_t r = 0; r < rounds; r++) {
        wf_tile_dot(&t, 0, 4, 6);
        wf_tile_dot(&t, 1, 4, 7);
        wf_tile_dot(&t, 2, 5, 6);
        wf_tile_dot(&t, 3, 5, 7);
    }
    *result = 0;
    wf_tile_store(&t, 0, sums, 4 * SIDE);
    *result += sums[0];
    wf_tile_store(&t, 1, sums, 4 * SIDE);
    *result += sums[0];
    wf_tile_store(&t, 2, sums, 4 * SIDE);
    *result += sums[0];
    wf_tile_store(&t, 3, sums, 4 * SIDE);
    *result += sums[0];
    wf_tiles_end(&t);
    return 2.0 * SUMS * PRODUCTS * (double)rounds;
}
