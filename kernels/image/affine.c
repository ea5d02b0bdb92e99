/* Affine maps of images in PIL's arithmetic (Pillow 13's Geometry.c). The nearest pixel: 16.16 fixed
 * point where that holds all positions, else doubles; a map that only scales and moves goes by rows and
 * columns. Mixtures: doubles, each operation rounded. Pure functions, any thread. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/image/affine.h"

/* ---- the nearest pixel ---------------------------------------------------------------------- */

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

/* ---- mixtures ------------------------------------------------------------------------------- */

static int clipped(int i, int n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

static double linear(double a, double b, double d)
{
    return a + (b - a) * d;
}

static double cubic(double a, double b, double c, double e, double d)
{
    const double p2 = -a + c, p3 = 2 * (a - b) + c - e, p4 = -a + b - c + e;
    return b + d * (p2 + d * (p3 + d * p4));
}

/* The columns of `taps` neighbours from u on, and how far between the middle two the position is. */
typedef struct around {
    int taps, u, v;
    int column[4];
    double right, down;
} around;

/* Rows outside repeat the one before, as PIL's do: the first one above the image, and so on. */
static inline double mixture(const around *at, const uint8_t *plane, int H, int W)
{
    double v[4];
    const uint8_t *row = plane + (size_t)clipped(at->v, H) * (size_t)W;
    for (int t = 0; t < at->taps; t++) {
        if (t > 0 && (at->v + t < 0 || at->v + t >= H)) {
            v[t] = v[t - 1];
            continue;
        }
        if (t > 0)
            row = plane + (size_t)(at->v + t) * (size_t)W;
        const int *c = at->column;
        v[t] = at->taps == 2 ? linear(row[c[0]], row[c[1]], at->right)
                             : cubic(row[c[0]], row[c[1]], row[c[2]], row[c[3]], at->right);
    }
    return at->taps == 2 ? linear(v[0], v[1], at->down) : cubic(v[0], v[1], v[2], v[3], at->down);
}

static inline void mix(const planes *p, const double a[6], int taps)
{
    const size_t plane = (size_t)p->H * (size_t)p->W;
    size_t to = 0;
    for (int h = 0; h < p->H; h++)
        for (int w = 0; w < p->W; w++, to++) {
            const double middle_x = w + 0.5, middle_y = h + 0.5;
            double x = a[0] * middle_x + a[1] * middle_y + a[2];
            double y = a[3] * middle_x + a[4] * middle_y + a[5];
            if (!(x >= 0 && x < p->W && y >= 0 && y < p->H))
                continue;
            x -= 0.5;
            y -= 0.5;
            around at = {.taps = taps, .u = (int)x - (x < 0), .v = (int)y - (y < 0)}; /* floors */
            at.right = x - at.u;
            at.down = y - at.v;
            at.u -= taps / 2 - 1;
            at.v -= taps / 2 - 1;
            for (int t = 0; t < taps; t++)
                at.column[t] = clipped(at.u + t, p->W);
            for (int c = 0; c < p->C; c++) {
                const double v = mixture(&at, p->x + (size_t)c * plane, p->H, p->W);
                p->y[(size_t)c * plane + to] = (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : v);
            }
        }
}

/* ---- maps ----------------------------------------------------------------------------------- */

static bool fits_fixed_point(const double a[6], int x, int y)
{
    return fabs(x * a[0] + y * a[1] + a[2]) < 32768.0 && fabs(x * a[3] + y * a[4] + a[5]) < 32768.0;
}

void wf_image_affine(wf_resize_filter filter, int C, int H, int W, const double a[6],
                     const uint8_t *x, uint8_t *y)
{
    const planes p = {C, H, W, x, y};
    memset(y, 0, (size_t)C * (size_t)H * (size_t)W);
    if (filter == WF_RESIZE_BILINEAR) /* constants, for loops of known lengths */
        mix(&p, a, 2);
    else if (filter == WF_RESIZE_BICUBIC)
        mix(&p, a, 4);
    else if (a[1] == 0 && a[3] == 0)
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

void wf_image_rotate(wf_resize_filter filter, int C, int H, int W, double degrees, const uint8_t *x,
                     uint8_t *y)
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
    wf_image_affine(filter, C, H, W, a, x, y);
}
