/* Winograd F(4x4, 3x3), all passes: an input's transform to one row of points, Note [Rows of points] in
 * forward_rows.c. Reads the image, writes V. */
#include "kernels/conv2d/winograd/winograd.h"

/* Point row ROW of BT d, where d has six pixels of a column, `step` apart. ROW is a constant at every call.
 * wino_input has the formulas. */
WF_INLINE wf_vf input_point(const int ROW, const wf_vf *d, int step)
{
    const wf_vf a = wf_vset1(WINO_A), b = wf_vset1(WINO_B);
    const wf_vf d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
    if (ROW == 0)
        return wf_vfnma(wf_vset1(2.5f), d2, wf_vadd(d[0], d4));
    if (ROW == 5)
        return wf_vfnma(wf_vset1(2.5f), d3, wf_vadd(d1, d[5 * step]));
    const wf_vf even = wf_vfnma(wf_vset1(ROW < 3 ? 2.0f : 0.5f), d2, d4);
    const wf_vf odd = ROW < 3 ? wf_vfnma(b, d1, wf_vmul(a, d3)) : wf_vfnma(a, d1, wf_vmul(b, d3));
    return ROW % 2 ? wf_vadd(even, odd) : wf_vsub(even, odd);
}

/* Transforms the patch at (top, left) to a row of points, `point` floats apart. */
WF_INLINE void patch_row(const bool BF16, const int ROW, const bool whole, const char *x, int H,
                         int W, int top, int left, float *v, size_t point)
{
    wf_vf d[WINO_POINTS], t[WINO_IN], out[WINO_IN];
    wino_load(BF16, WINO_IN, whole, x, H, W, top, left, d);
    WF_UNROLL
    for (int j = 0; j < WINO_IN; j++)
        t[j] = input_point(ROW, d + j, WINO_IN);
    wino_input(t, out, 1);
    WF_UNROLL
    for (int j = 0; j < WINO_IN; j++)
        wf_vstore(v + (size_t)j * point, out[j]);
}

/* The same for rows r of patches of all channels of an image. */
WF_INLINE void input_row(const bool BF16, const int ROW, const wino_patches *p, wino_rows r,
                         const char *x, int H, int W, const int padding[2], int channels, float *v,
                         size_t point, size_t channels_block)
{
    const ptrdiff_t vector = WINO_VECTOR(BF16);
    for (int c = 0; c < channels; c += L, x += (ptrdiff_t)H * W * vector) {
        float *out = v + (size_t)(c / WINO_CHANNELS_BLOCK_SIZE) * channels_block +
                     c % WINO_CHANNELS_BLOCK_SIZE;
        const ptrdiff_t distance = wino_prefetch_distance(r, c + L < channels, channels / L, H, W);
        for (int i = 0; i < r.n; i++)
            for (int j = 0; j < p->columns; j++, out += WINO_CHANNELS_BLOCK_SIZE) {
                const int top = (r.first + i) * WINO_OUT - padding[0],
                          left = j * WINO_OUT - padding[1];
                const ptrdiff_t at = (ptrdiff_t)(r.first + i) * WINO_OUT * W + j * WINO_OUT;
                wino_prefetch(BF16, x + at * vector, distance, W);
                if (wino_is_whole(WINO_IN, H, W, top, left))
                    patch_row(BF16, ROW, true, x, H, W, top, left, out, point);
                else
                    patch_row(BF16, ROW, false, x, H, W, top, left, out, point);
            }
    }
}

WF_INLINE void input_any(const bool BF16, int row, const wino_patches *p, wino_rows r,
                         const char *x, int H, int W, const int padding[2], int channels, float *v,
                         size_t point, size_t block)
{
    switch (row) {
    case 0: input_row(BF16, 0, p, r, x, H, W, padding, channels, v, point, block); break;
    case 1: input_row(BF16, 1, p, r, x, H, W, padding, channels, v, point, block); break;
    case 2: input_row(BF16, 2, p, r, x, H, W, padding, channels, v, point, block); break;
    case 3: input_row(BF16, 3, p, r, x, H, W, padding, channels, v, point, block); break;
    case 4: input_row(BF16, 4, p, r, x, H, W, padding, channels, v, point, block); break;
    case 5: input_row(BF16, 5, p, r, x, H, W, padding, channels, v, point, block); break;
    }
}

void wino_transform_row(bool bf16, int row, const wino_patches *p, wino_rows r, const char *x,
                        int H, int W, const int padding[2], int channels, float *v, size_t point,
                        size_t block)
{
    if (bf16)
        input_any(true, row, p, r, x, H, W, padding, channels, v, point, block);
    else
        input_any(false, row, p, r, x, H, W, padding, channels, v, point, block);
}
