/* The vector resize: one source for every ISA over kernels/simd, the reference's bits.
 *
 * Both passes are one sum over rows of bytes, `weigh`. Along columns the rows are the image's. Along
 * rows, 16 rows are turned first, so that a pixel of all of them is 16 * C neighbouring bytes; the
 * weights of a pixel of the result then are the same for every lane, and no lane is idle whatever
 * the number of weights. Turned back, the bytes of a plane come out together.
 *
 *     rows          turned (in * C, 16)         weighed (out * C, 16)       planes
 *     r g b r g b   r r r ..  (of 16 rows)      sum of `count` pixels       r r r ..
 *     r g b r g b   g g g ..                    for each of out             g g g ..
 *     ..            b b b ..                                                b b b ..          */
#include "kernels/simd/simd.h"

#include "kernels/image/resize.h"
#include "kernels/simd/transpose_u8.h"

enum { ROWS = WF_RESIZE_ROWS, BLOCK = 32 /* bytes of a row that are turned at once */ };

/* y (n * WF_LANES bytes) from `count` rows, `stride` bytes apart. n is a constant. */
WF_INLINE void weigh(int n, int count, const int32_t *weights, const uint8_t *x, size_t stride,
                     uint8_t *y)
{
    wf_vi sum[6];
    WF_UNROLL
    for (int i = 0; i < n; i++)
        sum[i] = wf_vi_set1(1 << (WF_RESIZE_BITS - 1));
    for (int t = 0; t < count; t++, x += stride) {
        const wf_vi w = wf_vi_set1(weights[t]);
        WF_UNROLL
        for (int i = 0; i < n; i++)
            sum[i] = wf_vi_add(sum[i], wf_vi_mul(wf_vi_load_u8(x + i * WF_LANES), w));
    }
    WF_UNROLL
    for (int i = 0; i < n; i++)
        wf_vi_store_u8_clip(y + i * WF_LANES, wf_vi_sar(sum[i], WF_RESIZE_BITS));
}

/* x: `bytes` bytes from each of n rows; t (bytes in whole blocks of BLOCK, ROWS). Lanes without a row
 * repeat row 0. */
static void turn(const uint8_t *const *rows, int n, size_t from, size_t bytes, uint8_t *t)
{
    __m256i x[16], y[16];
    for (size_t b = 0; b < bytes; b += BLOCK, t += BLOCK * ROWS) {
        for (int r = 0; r < ROWS; r++) {
            const uint8_t *p = rows[r < n ? r : 0] + from + b;
            uint8_t end[BLOCK] = {0};
            if (bytes - b < BLOCK) {
                memcpy(end, p, bytes - b);
                p = end;
            }
            x[r] = _mm256_loadu_si256((const __m256i *)p);
        }
        wf_transpose_u8(x, y);
        for (int i = 0; i < 16; i++) {
            _mm_storeu_si128((__m128i *)(t + i * ROWS), _mm256_castsi256_si128(y[i]));
            _mm_storeu_si128((__m128i *)(t + (16 + i) * ROWS), _mm256_extracti128_si256(y[i], 1));
        }
    }
}

/* Line i of n lines of ROWS bytes; zeros behind the last one. */
static __m128i line_of(const uint8_t *t, size_t step, int i, int n)
{
    return i < n ? _mm_loadu_si128((const __m128i *)(t + (size_t)i * step)) : _mm_setzero_si128();
}

/* The way back: BLOCK bytes of each row, from lines of ROWS bytes that lie `step` bytes apart. */
static void turn_back(const uint8_t *t, size_t step, int out, int n, uint8_t *y, size_t stride)
{
    __m256i a[16], b[16];
    for (int j = 0; j < out; j += BLOCK, t += BLOCK * step) {
        const int some = out - j < BLOCK ? out - j : BLOCK;
        for (int i = 0; i < 16; i++)
            a[i] = _mm256_set_m128i(line_of(t, step, 16 + i, some), line_of(t, step, i, some));
        wf_transpose_u8(a, b);
        for (int r = 0; r < n; r++) {
            uint8_t *p = y + (size_t)r * stride + j;
            if (some == BLOCK) {
                _mm256_storeu_si256((__m256i *)p, b[r]);
            } else {
                uint8_t end[BLOCK];
                _mm256_storeu_si256((__m256i *)end, b[r]);
                memcpy(p, end, (size_t)some);
            }
        }
    }
}

static void columns(const wf_resize_axis *a, int C, const uint8_t *const *rows, int n, uint8_t *y,
                    size_t stride, size_t plane, uint8_t *scratch)
{
    int first, end;
    wf_resize_span(a, &first, &end);
    const size_t line = (size_t)C * ROWS, bytes = (size_t)(end - first) * (size_t)C;
    uint8_t *turned = scratch, *weighed = scratch + (bytes + BLOCK - 1) / BLOCK * BLOCK * ROWS;
    turn(rows, n, (size_t)first * (size_t)C, bytes, turned);
    for (int j = 0; j < a->out; j++) {
        const uint8_t *x = turned + (size_t)(a->first[j] - first) * line;
        const int32_t *w = a->weights + (size_t)j * (size_t)a->room;
        if (C == 3)
            weigh(3 * ROWS / WF_LANES, a->count[j], w, x, line, weighed + (size_t)j * line);
        else
            weigh(ROWS / WF_LANES, a->count[j], w, x, line, weighed + (size_t)j * line);
    }
    for (int c = 0; c < C; c++)
        turn_back(weighed + c * ROWS, line, a->out, n, y + (size_t)c * plane, stride);
}

static void row(int W, int count, const int32_t *weights, const uint8_t *x, size_t stride,
                uint8_t *y)
{
    int j = 0;
    for (; j + 4 * WF_LANES <= W; j += 4 * WF_LANES)
        weigh(4, count, weights, x + j, stride, y + j);
    for (; j + WF_LANES <= W; j += WF_LANES)
        weigh(1, count, weights, x + j, stride, y + j);
    if (j < W && W >= WF_LANES) { /* the last lanes once more, with others before them */
        j = W - WF_LANES;
        weigh(1, count, weights, x + j, stride, y + j);
        j = W;
    }
    for (; j < W; j++) {
        int32_t sum = 1 << (WF_RESIZE_BITS - 1);
        for (int t = 0; t < count; t++)
            sum += x[(size_t)t * stride + (size_t)j] * weights[t];
        sum >>= WF_RESIZE_BITS;
        y[j] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
    }
}

/* 16 pixels of three channels: byte 3i + c goes to lane i of plane c. Four rounds as those of a
 * transposition, over 48 bytes: each puts the first half beside the second. */
static void split_three(const uint8_t *x, __m128i *plane)
{
    __m128i a[3], b[3];
    for (int i = 0; i < 3; i++)
        a[i] = _mm_loadu_si128((const __m128i *)(x + 16 * i));
    for (int round = 0; round < 4; round++) {
        /* Bytes 0 .. 23 and 24 .. 47, in turns. */
        const __m128i second = _mm_or_si128(_mm_srli_si128(a[1], 8), _mm_slli_si128(a[2], 8));
        b[0] = _mm_unpacklo_epi8(a[0], second);
        b[1] = _mm_unpackhi_epi8(a[0], second);
        b[2] = _mm_unpacklo_epi8(a[1], _mm_srli_si128(a[2], 8));
        for (int i = 0; i < 3; i++)
            a[i] = b[i];
    }
    for (int i = 0; i < 3; i++)
        plane[i] = a[i];
}

static __m128i mirrored(__m128i a)
{
    a = _mm_or_si128(_mm_slli_epi16(a, 8), _mm_srli_epi16(a, 8));
    a = _mm_shufflelo_epi16(a, _MM_SHUFFLE(0, 1, 2, 3));
    a = _mm_shufflehi_epi16(a, _MM_SHUFFLE(0, 1, 2, 3));
    return _mm_shuffle_epi32(a, _MM_SHUFFLE(1, 0, 3, 2));
}

static void split(int C, int pixels, bool mirror, const uint8_t *x, uint8_t *y, size_t plane)
{
    int i = 0;
    for (; i + 16 <= pixels; i += 16) {
        __m128i p[3] = {_mm_setzero_si128()};
        if (C == 3)
            split_three(x + (size_t)i * 3, p);
        else
            p[0] = _mm_loadu_si128((const __m128i *)(x + i));
        const int at = mirror ? pixels - i - 16 : i;
        for (int c = 0; c < C; c++)
            _mm_storeu_si128((__m128i *)(y + (size_t)c * plane + at),
                             mirror ? mirrored(p[c]) : p[c]);
    }
    for (; i < pixels; i++)
        for (int c = 0; c < C; c++)
            y[(size_t)c * plane + (size_t)(mirror ? pixels - 1 - i : i)] = x[i * C + c];
}

extern const wf_resize_kernels WF_ISA_FN(wf_resize);
const wf_resize_kernels WF_ISA_FN(wf_resize) = {"resize:" WF_ISA_NAME, columns, row, split};
