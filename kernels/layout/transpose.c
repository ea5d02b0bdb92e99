/* The reorder between plain and blocks of 8 or 16 channels, elements of 4 and 2 bytes (Note [Elements] in
 * element.h; what the elements are does not matter): 8 x 8 transposes in registers, on AVX-512 too:
 * the loads and stores bound it, not the shuffles. Pure functions, any thread. */
#include "kernels/layout/layout.h"
#include "kernels/simd/element.h"
#include "kernels/simd/transpose.h"

/* Eight elements; of load and store, the first n. */
#if defined(WF_ELEMENT_BF16)
typedef __m128i eight;
WF_INLINE eight eight_zero(void)
{
    return _mm_setzero_si128();
}
WF_INLINE eight eight_load(const wf_element *p, size_t n)
{
    wf_element all[8] = {0};
    if (n < 8)
        p = memcpy(all, p, n * sizeof *p);
    return _mm_loadu_si128((const __m128i *)p);
}
WF_INLINE void eight_store(wf_element *p, eight row, size_t n)
{
    wf_element all[8];
    _mm_storeu_si128((__m128i *)(n < 8 ? all : p), row);
    if (n < 8)
        memcpy(p, all, n * sizeof *p);
}
WF_INLINE void transpose_rows(eight row[8])
{
    wf_transpose_word_rows(row);
}
#else
typedef __m256 eight;
WF_INLINE __m256i first_lanes(size_t n)
{
    __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), iota);
}
WF_INLINE eight eight_zero(void)
{
    return _mm256_setzero_ps();
}
WF_INLINE eight eight_load(const wf_element *p, size_t n)
{
    return n == 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first_lanes(n));
}
WF_INLINE void eight_store(wf_element *p, eight row, size_t n)
{
    if (n == 8)
        _mm256_storeu_ps(p, row);
    else
        _mm256_maskstore_ps(p, first_lanes(n), row);
}
WF_INLINE void transpose_rows(eight row[8])
{
    wf_transpose_rows(row);
}
#endif

/* Eight channels, `real` of which exist: x[c * pixels + p] to y[p * block + c]. */
static void to_blocked(size_t pixels, size_t block, int real, const wf_element *x, wf_element *y)
{
    for (size_t p = 0; p < pixels; p += 8) {
        size_t n = pixels - p < 8 ? pixels - p : 8;
        eight row[8];
        for (int c = 0; c < 8; c++)
            row[c] = c >= real ? eight_zero() : eight_load(x + (size_t)c * pixels + p, n);
        transpose_rows(row);
        for (size_t i = 0; i < n; i++)
            eight_store(y + (p + i) * block, row[i], 8);
    }
}

/* The way back: x[p * block + c] to y[c * pixels + p]. */
static void to_plain(size_t pixels, size_t block, int real, const wf_element *x, wf_element *y)
{
    for (size_t p = 0; p < pixels; p += 8) {
        size_t n = pixels - p < 8 ? pixels - p : 8;
        eight row[8];
        for (size_t i = 0; i < 8; i++)
            row[i] = i < n ? eight_load(x + (p + i) * block, 8) : eight_zero();
        transpose_rows(row);
        for (int c = 0; c < real; c++)
            eight_store(y + (size_t)c * pixels + p, row[c], n);
    }
}

static void reorder(wf_act a, int to_block, const void *vx, void *vy)
{
    const wf_element *x = vx;
    wf_element *y = vy;
    int block = a.block == 1 ? to_block : a.block;
    bool transposes = (a.block == 1) != (to_block == 1) && block % 8 == 0;
    if (!transposes) {
        wf_reorder_any(WF_ELEMENT_BYTES, a, to_block, x, y);
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

#define GATHER WF_ISA_FN(WF_CAT(wf_gather_, WF_ELEMENT_BYTES))
#define TABLE WF_ISA_FN(WF_CAT(wf_layout_, WF_ELEMENT_BYTES))
void GATHER(wf_act a, const wf_channel_from *from, const void *const *x, void *y);
extern const wf_layout TABLE;
const wf_layout TABLE = {
    "reorder:" WF_ISA_NAME,
    reorder,
    "gather:" WF_ISA_NAME,
    GATHER,
};
