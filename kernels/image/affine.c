/* Affine maps of images by the nearest pixel, in PIL's arithmetic (Pillow 13's Geometry.c): 16.16
 * fixed point where that holds all positions, else doubles; a map that only scales and moves goes by
 * rows and columns. Pure functions, any thread. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/image/affine.h"

/* The pixel that holds a position; -1 left of 0. */
static int64_t pixel_of(double v)
{
    return v < 0.0 ? -1 : v < 0x1p31 ? (int64_t)v : INT32_MAX;
}

static int64_t fixed(double v)
{
    return (int64_t)floor(v * 65536.0 + 0.5);
}

typedef struct planes {
    int C, H, W;
    const uint8_t *x;
    uint8_t *y;
} planes;

/* Pixel `to` becomes the pixel in column u of row v, if there is one. */
static void copy(const planes *p, size_t to, int64_t u, int64_t v)
{
    if (u < 0 || u >= p->W || v < 0 || v >= p->H)
        return;
    const size_t plane = (size_t)p->H * (size_t)p->W;
    const size_t from = (size_t)v * (size_t)p->W + (size_t)u;
    for (int c = 0; c < p->C; c++)
        p->y[(size_t)c * plane + to] = p->x[(size_t)c * plane + from];
}

static void scale(const planes *p, const double a[6])
{
    double down = a[5] + a[4] * 0.5;
    size_t to = 0;
    for (int h = 0; h < p->H; h++, down += a[4]) {
        double right = a[2] + a[0] * 0.5;
        const int64_t v = pixel_of(down);
        for (int w = 0; w < p->W; w++, right += a[0])
            copy(p, to++, pixel_of(right), v);
    }
}

static void by_fixed_point(const planes *p, const double a[6])
{
    const int64_t a0 = fixed(a[0]), a1 = fixed(a[1]), a3 = fixed(a[3]), a4 = fixed(a[4]);
    int64_t row_x = fixed(a[2] + a[0] * 0.5 + a[1] * 0.5);
    int64_t row_y = fixed(a[5] + a[3] * 0.5 + a[4] * 0.5);
    size_t to = 0;
    for (int h = 0; h < p->H; h++, row_x += a1, row_y += a4) {
        int64_t x = row_x, y = row_y;
        for (int w = 0; w < p->W; w++, x += a0, y += a3)
            copy(p, to++, x >> 16, y >> 16);
    }
}

static void by_doubles(const planes *p, const double a[6])
{
    double row_x = a[2] + a[1] * 0.5 + a[0] * 0.5, row_y = a[5] + a[4] * 0.5 + a[3] * 0.5;
    size_t to = 0;
    for (int h = 0; h < p->H; h++, row_x += a[1], row_y += a[4]) {
        double x = row_x, y = row_y;
        for (int w = 0; w < p->W; w++, x += a[0], y += a[3])
            copy(p, to++, pixel_of(x), pixel_of(y));
    }
}

static bool fits_fixed_point(const double a[6], int x, int y)
{
    return fabs(x * a[0] + y * a[1] + a[2]) < 32768.0 && fabs(x * a[3] + y * a[4] + a[5]) < 32768.0;
}

void wf_image_affine(int C, int H, int W, const double a[6], const uint8_t *x, uint8_t *y)
{
    const planes p = {C, H, W, x, y};
    memset(y, 0, (size_t)C * (size_t)H * (size_t)W);
    if (a[1] == 0 && a[3] == 0)
        scale(&p, a);
    else if (fits_fixed_point(a, 0, 0) && fits_fixed_point(a, W, H) && fits_fixed_point(a, 0, H) &&
             fits_fixed_point(a, W, 0))
        by_fixed_point(&p, a);
    else
        by_doubles(&p, a);
}

/* The nearest multiple of 1e-15, halves to even, as Python's round(x, 15): x * 1e15 is known as a
 * sum of two doubles, and the quotient of two doubles below 2^53 is rounded once. |x| <= 1. */
static double rounded_15(double x)
{
    const double product = x * 1e15, error = fma(x, 1e15, -product), whole = rint(product);
    const double rest = (product - whole) + error;
    return (whole + (rest > 0.5) - (rest < -0.5)) / 1e15;
}

/* x -> y turned counter-clockwise by a quarter, n times. H is W for odd n. */
static void turn_quarters(int n, int C, int H, int W, const uint8_t *x, uint8_t *y)
{
    const size_t plane = (size_t)H * (size_t)W;
    for (int c = 0; c < C; c++, x += plane, y += plane)
        for (int h = 0; h < H; h++)
            for (int w = 0; w < W; w++) {
                const int u = n == 1 ? W - 1 - h : n == 2 ? W - 1 - w : h;
                const int v = n == 1 ? w : n == 2 ? H - 1 - h : H - 1 - w;
                y[(size_t)h * (size_t)W + (size_t)w] = x[(size_t)v * (size_t)W + (size_t)u];
            }
}

void wf_image_rotate(int C, int H, int W, double degrees, const uint8_t *x, uint8_t *y)
{
    degrees = fmod(degrees, 360.0);
    if (degrees < 0)
        degrees += 360.0;
    if (degrees == 0 || degrees == 360.0) {
        memcpy(y, x, (size_t)C * (size_t)H * (size_t)W);
        return;
    }
    if (degrees == 180 || ((degrees == 90 || degrees == 270) && H == W)) {
        turn_quarters(degrees == 90 ? 1 : degrees == 180 ? 2 : 3, C, H, W, x, y);
        return;
    }
    const double angle = -(degrees * (M_PI / 180.0)), cx = W / 2.0, cy = H / 2.0;
    double a[6] = {rounded_15(cos(angle)),  rounded_15(sin(angle)), 0,
                   rounded_15(-sin(angle)), rounded_15(cos(angle)), 0};
    a[2] = a[0] * -cx + a[1] * -cy + cx;
    a[5] = a[3] * -cx + a[4] * -cy + cy;
    wf_image_affine(C, H, W, a, x, y);
}
