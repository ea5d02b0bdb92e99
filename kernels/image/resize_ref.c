/* Resizing: the reference. Any thread. */
#include "kernels/image/resize.h"

/* Rounds a sum to the nearest level. */
static uint8_t level(int32_t sum)
{
    const int32_t v = sum >> WF_RESIZE_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void columns(const wf_resize_axis *a, int C, const uint8_t *const *rows, int n, uint8_t *y,
                    size_t stride, size_t plane, uint8_t *scratch)
{
    for (int r = 0; r < n; r++)
        for (int j = 0; j < a->out; j++) {
            const uint8_t *x = rows[r] + (size_t)a->first[j] * (size_t)C;
            const int32_t *w = a->weights + (size_t)j * (size_t)a->room;
            for (int c = 0; c < C; c++) {
                int32_t sum = 1 << (WF_RESIZE_BITS - 1);
                for (int t = 0; t < a->count[j]; t++)
                    sum += x[t * C + c] * w[t];
                y[(size_t)c * plane + (size_t)r * stride + (size_t)j] = level(sum);
            }
        }
}

static void row(int W, int count, const int32_t *weights, const uint8_t *x, size_t stride,
                uint8_t *y)
{
    for (int j = 0; j < W; j++) {
        int32_t sum = 1 << (WF_RESIZE_BITS - 1);
        for (int t = 0; t < count; t++)
            sum += x[(size_t)t * stride + (size_t)j] * weights[t];
        y[j] = level(sum);
    }
}

static void split(int C, int pixels, bool mirror, const uint8_t *x, uint8_t *y, size_t plane)
{
    for (int c = 0; c < C; c++)
        for (int i = 0; i < pixels; i++)
            y[(size_t)c * plane + (size_t)i] = x[(mirror ? pixels - 1 - i : i) * C + c];
}

extern const wf_resize_kernels wf_resize_ref;
const wf_resize_kernels wf_resize_ref = {"resize:ref", columns, row, split};
