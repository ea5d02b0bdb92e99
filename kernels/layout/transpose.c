/* The reorder between plain and blocks of 8 or 16 channels, 4-byte elements: 8 x 8 transposes in
 * registers, on AVX-512 too: the loads and stores bound it, not the shuffles. Pure functions, any
 * thread. */
#include "kernels/layout/layout.h"
#include "kernels/simd/transpose.h"

static __m256i first_lanes(size_t n)
{
    __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), iota);
}

/* Eight channels, `real` of which exist: x[c * pixels + p] to y[p * block + c]. */
static void to_blocked(size_t pixels, size_t block, int real, const float *x, float *y)
{
    for (size_t p = 0; p < pixels; p += 8) {
        size_t n = pixels - p < 8 ? pixels - p : 8;
        __m256i mask = first_lanes(n);
        __m256 row[8];
        for (int c = 0; c < 8; c++)
            row[c] = c >= real ? _mm256_setzero_ps()
                     : n == 8  ? _mm256_loadu_ps(x + (size_t)c * pixels + p)
                               : _mm256_maskload_ps(x + (size_t)c * pixels + p, mask);
        wf_transpose_rows(row);
        for (size_t i = 0; i < n; i++)
            _mm256_storeu_ps(y + (p + i) * block, row[i]);
    }
}

/* The way back: x[p * block + c] to y[c * pixels + p]. */
static void to_plain(size_t pixels, size_t block, int real, const float *x, float *y)
{
    for (size_t p = 0; p < pixels; p += 8) {
        size_t n = pixels - p < 8 ? pixels - p : 8;
        __m256i mask = first_lanes(n);
        __m256 row[8];
        for (size_t i = 0; i < 8; i++)
            row[i] = i < n ? _mm256_loadu_ps(x + (p + i) * block) : _mm256_setzero_ps();
        wf_transpose_rows(row);
        for (int c = 0; c < real; c++) {
            if (n == 8)
                _mm256_storeu_ps(y + (size_t)c * pixels + p, row[c]);
            else
                _mm256_maskstore_ps(y + (size_t)c * pixels + p, mask, row[c]);
        }
    }
}

static void reorder(wf_act a, int to_block, const void *vx, void *vy)
{
    const float *x = vx;
    float *y = vy;
    int block = a.block == 1 ? to_block : a.block;
    bool transposes = (a.block == 1) != (to_block == 1) && block % 8 == 0;
    if (!transposes) {
        wf_reorder_any(4, a, to_block, x, y);
        return;
    }
    size_t pixels = (size_t)a.H * (size_t)a.W;
    for (int c = 0; c < wf_round_up(a.C, block); c += 8) {
        int real = a.C - c < 0 ? 0 : a.C - c < 8 ? a.C - c : 8;
        size_t plain = (size_t)c * pixels;
        size_t blocked = (size_t)(c / block * block) * pixels + (size_t)(c % block);
        if (to_block > 1)
            to_blocked(pixels, (size_t)block, real, real ? x + plain : x, y + blocked);
        else if (real)
            to_plain(pixels, (size_t)block, real, x + blocked, y + plain);
    }
}

void WF_ISA_FN(wf_gather_4)(wf_act a, const wf_channel_from *from, const void *const *x, void *y);
extern const wf_layout WF_ISA_FN(wf_layout_4);
const wf_layout WF_ISA_FN(wf_layout_4) = {
    "reorder:" WF_ISA_NAME,
    reorder,
    "gather:" WF_ISA_NAME,
    WF_ISA_FN(wf_gather_4),
};
