/* Image kernels: the reference, and flip and shift, which move bytes only. Any thread. */
#include <string.h>

#include "kernels/image/image.h"

static void normalize(int C, size_t pixels, const float *mean, const float *std, const uint8_t *x,
                      float *y)
{
    for (int c = 0; c < C; c++)
        for (size_t p = 0; p < pixels; p++, x++, y++)
            *y = ((float)*x / 255.0f - mean[c]) / std[c];
}

void wf_image_normalize_f64(int C, size_t pixels, const double *mean, const double *std,
                            const uint8_t *x, double *y)
{
    for (int c = 0; c < C; c++)
        for (size_t p = 0; p < pixels; p++, x++, y++)
            *y = ((double)*x / 255.0 - mean[c]) / std[c];
}

void wf_image_flip(size_t size, int C, int H, int W, const void *vx, void *vy)
{
    const char *x = vx;
    char *y = vy;
    size_t row = (size_t)W * size;
    for (size_t r = 0; r < (size_t)C * (size_t)H; r++, x += row, y += row)
        for (size_t w = 0; w < row; w += size)
            memcpy(y + w, x + row - size - w, size);
}

void wf_image_shift(size_t size, int C, int H, int W, int down, int right, const void *vx, void *vy)
{
    const char *x = vx;
    char *y = vy;
    int left = right < 0 ? -right : 0, margin = right > 0 ? right : 0;
    left = left < W ? left : W;
    margin = margin < W ? margin : W;
    size_t row = (size_t)W * size, kept = (size_t)(W - left - margin) * size;
    for (int c = 0; c < C; c++)
        for (int h = 0; h < H; h++, y += row) {
            int64_t from = (int64_t)h - down;
            if (from < 0 || from >= H) {
                memset(y, 0, row);
                continue;
            }
            const char *source = x + ((size_t)c * (size_t)H + (size_t)from) * row;
            memset(y, 0, (size_t)margin * size);
            memcpy(y + (size_t)margin * size, source + (size_t)left * size, kept);
            memset(y + (size_t)margin * size + kept, 0, (size_t)left * size);
        }
}

extern const wf_image_kernels wf_image_ref;
const wf_image_kernels wf_image_ref = {"image:ref", normalize};
