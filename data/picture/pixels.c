/* See pixels.h. */
#include "data/picture/pixels.h"

#include <stdbool.h>
#include <string.h>

void wf_pixels_rgb_to_grey(const uint8_t *from, uint8_t *to, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *p = from + 3 * i;
        to[i] = (uint8_t)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >> 16);
    }
}

void wf_pixels_grey_to_rgb(const uint8_t *from, uint8_t *to, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++) {
        uint8_t v = from[i];
        to[3 * i] = to[3 * i + 1] = to[3 * i + 2] = v;
    }
}

void wf_pixels_bits_to_grey(const uint8_t *from, uint8_t *to, size_t pixels, uint8_t of_0,
                            uint8_t of_1)
{
    for (size_t i = 0; i < pixels; i++)
        to[i] = from[i / 8] >> (7 - i % 8) & 1 ? of_1 : of_0;
}

void wf_pixels_look_up(const uint8_t *from, const uint8_t palette[256][3], uint8_t *to,
                       size_t pixels)
{
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *rgb = palette[from[i]];
        memcpy(to + 3 * i, rgb, 3);
    }
}

/* a * b / 255, rounded. */
static unsigned mul_div_255(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

static uint8_t clip(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* `factor` times a chroma value, in 1/64. */
static int scaled(double factor, int chroma)
{
    return (int)(factor * 64 * (chroma - 128) + 0.5);
}

void wf_pixels_ycbcr_to_rgb(const uint8_t *from, uint8_t *to, size_t pixels)
{
    for (size_t i = 0; i < 3 * pixels; i += 3) {
        int y = from[i], cb = from[i + 1], cr = from[i + 2];
        to[i] = clip(y + (scaled(1.402, cr) >> 6));
        to[i + 1] = clip(y + ((scaled(-0.34414, cb) + scaled(-0.71414, cr)) >> 6));
        to[i + 2] = clip(y + (scaled(1.772, cb) >> 6));
    }
}

void wf_pixels_cmyk_to_rgb(const uint8_t *from, uint8_t *to, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++) {
        unsigned white = 255u - from[4 * i + 3];
        for (int c = 0; c < 3; c++)
            to[3 * i + c] = (uint8_t)(white - mul_div_255(from[4 * i + c], white));
    }
}

void wf_pixels_grey16_to_grey(const uint16_t *from, uint8_t *to, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        to[i] = from[i] < 255 ? (uint8_t)from[i] : 255;
}

void wf_pixels_turn(const uint8_t *from, uint8_t *to, int height, int width, int channels,
                    int orientation)
{
    /* 5 to 8 exchange rows and columns. `right` and `down` are how far, in `to`, a step to the right
     * and one down in `from` lead; `start` is where pixel (0, 0) goes. Source: the EXIF standard's
     * Orientation, as PIL's exif_transpose. */
    bool exchanged = orientation >= 5;
    bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    ptrdiff_t to_width = exchanged ? height : width;
    ptrdiff_t right = exchanged ? to_width : 1, down = exchanged ? 1 : to_width;
    ptrdiff_t start = 0;
    if (from_right) {
        start += right * (width - 1);
        right = -right;
    }
    if (from_bottom) {
        start += down * (height - 1);
        down = -down;
    }
    for (ptrdiff_t y = 0; y < height; y++)
        for (ptrdiff_t x = 0; x < width; x++) {
            uint8_t *p = to + (start + y * down + x * right) * channels;
            const uint8_t *q = from + (y * width + x) * channels;
            for (int c = 0; c < channels; c++)
                p[c] = q[c];
        }
}
