/* Arithmetic on bytes: the reference. Any thread. */
#include <math.h>
#include <string.h>

#include "kernels/image/colour.h"

static void mix(size_t n, float own, float other, const uint8_t *x, uint8_t *y)
{
    for (size_t i = 0; i < n; i++) {
        const float v = (float)y[i] * own + (float)x[i] * other;
        y[i] = (uint8_t)(v > 255.0f ? 255.0f : rintf(v));
    }
}

static uint8_t cut(float v)
{
    return v <= 0.0f ? 0 : v >= 255.0f ? 255 : (uint8_t)v;
}

static void blend(size_t n, float factor, const uint8_t *base, uint8_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = cut((float)base[i] + factor * (float)(y[i] - base[i]));
}

static void blend_level(size_t n, float factor, uint8_t base, uint8_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = cut((float)base + factor * (float)(y[i] - base));
}

static void grey(size_t n, const uint8_t *r, const uint8_t *g, const uint8_t *b, uint8_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (uint8_t)((r[i] * 19595 + g[i] * 38470 + b[i] * 7471 + 0x8000) >> 16);
}

/* Below, beside and above, each row's three from left to right: the order of PIL's sum. */
static void smooth(int H, int W, const uint8_t *x, uint8_t *y)
{
    const float a = 1.0f / 13.0f, m = 5.0f / 13.0f;
    memcpy(y, x, (size_t)H * (size_t)W);
    for (int h = 1; h < H - 1; h++)
        for (int w = 1; w < W - 1; w++) {
            const uint8_t *p = x + (size_t)h * (size_t)W + w;
            float sum = 0.5f;
            sum += (float)p[W - 1] * a + (float)p[W] * a + (float)p[W + 1] * a;
            sum += (float)p[-1] * a + (float)p[0] * m + (float)p[1] * a;
            sum += (float)p[-W - 1] * a + (float)p[-W] * a + (float)p[-W + 1] * a;
            y[(size_t)h * (size_t)W + (size_t)w] = cut(sum);
        }
}

static uint64_t sum(size_t n, const uint8_t *x)
{
    uint64_t s = 0;
    for (size_t i = 0; i < n; i++)
        s += x[i];
    return s;
}

static int mirrored(int i, int n)
{
    return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i;
}

static void blur(int H, int W, int taps, const float *weights, const uint8_t *x, void *scratch,
                 uint8_t *y)
{
    float *across = scratch; /* (H, W) */
    for (int h = 0; h < H; h++)
        for (int w = 0; w < W; w++) {
            float s = 0;
            for (int t = 0; t < taps; t++)
                s += (float)x[(size_t)h * (size_t)W + (size_t)mirrored(w + t - taps / 2, W)] *
                     weights[t];
            across[(size_t)h * (size_t)W + (size_t)w] = s;
        }
    for (int h = 0; h < H; h++)
        for (int w = 0; w < W; w++) {
            float s = 0;
            for (int t = 0; t < taps; t++)
                s += across[(size_t)mirrored(h + t - taps / 2, H) * (size_t)W + (size_t)w] *
                     weights[t];
            y[(size_t)h * (size_t)W + (size_t)w] = (uint8_t)(s > 255.0f ? 255.0f : rintf(s));
        }
}

extern const wf_colour_kernels wf_colour_ref;
const wf_colour_kernels wf_colour_ref = {"colour:ref", mix,    blend, blend_level,
                                         grey,         smooth, sum,   blur};

/* ---- the same on every instruction set ------------------------------------------------------ */

void wf_colour_look_up(size_t n, const uint8_t *table, uint8_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = table[y[i]];
}

void wf_colour_histogram(size_t n, const uint8_t *x, uint32_t count[WF_BYTE_VALUES])
{
    /* Two tables, so that equal neighbours do not wait for one another. */
    uint32_t odd[WF_BYTE_VALUES] = {0};
    memset(count, 0, WF_BYTE_VALUES * sizeof *count);
    size_t i = 0;
    for (; i + 2 <= n; i += 2) {
        count[x[i]]++;
        odd[x[i + 1]]++;
    }
    if (i < n)
        count[x[i]]++;
    for (int v = 0; v < WF_BYTE_VALUES; v++)
        count[v] += odd[v];
}

typedef struct hsv {
    uint8_t h, s, v;
} hsv;

/* The types are PIL's, float here and double there: they decide about bits. */
static hsv to_hsv(int r, int g, int b)
{
    const int most = r > g ? (r > b ? r : b) : (g > b ? g : b);
    const int least = r < g ? (r < b ? r : b) : (g < b ? g : b);
    if (most == least)
        return (hsv){0, 0, (uint8_t)most};
    const float range = (float)(most - least), s = range / (float)most;
    const float rc = (float)(most - r) / range, gc = (float)(most - g) / range;
    const float bc = (float)(most - b) / range;
    float h;
    if (r == most)
        h = bc - gc;
    else if (g == most)
        h = (float)(2.0 + (double)rc - (double)bc);
    else
        h = (float)(4.0 + (double)gc - (double)rc);
    double turn = (double)h / 6.0 + 1.0; /* 5/6 .. 11/6 */
    h = (float)(turn >= 1.0 ? turn - 1.0 : turn);
    return (hsv){(uint8_t)(int)((double)h * 255.0), (uint8_t)(int)((double)s * 255.0),
                 (uint8_t)most};
}

static uint8_t rounded(double x) /* x is in 0 .. 255; halves go up, as round()'s do there */
{
    const int whole = (int)x;
    return (uint8_t)(whole + (x - whole >= 0.5));
}

void wf_colour_hue(size_t n, uint8_t shift, uint8_t *r, uint8_t *g, uint8_t *b)
{
    for (size_t i = 0; i < n; i++) {
        const hsv c = to_hsv(r[i], g[i], b[i]);
        if (c.s == 0) {
            r[i] = g[i] = b[i] = c.v;
            continue;
        }
        const float h = (float)(uint8_t)(c.h + shift);
        const int sixth = (int)((double)h * 6.0 / 255.0);
        const double f = (double)(float)((double)h * 6.0 / 255.0 - (double)(float)sixth);
        const double s = (double)(float)((double)(float)c.s / 255.0), v = (double)(float)c.v;
        const uint8_t p = rounded(v * (1.0 - s)), q = rounded(v * (1.0 - s * f));
        const uint8_t t = rounded(v * (1.0 - s * (1.0 - f)));
        /* Which of v, t, p, q each channel takes, by the sixth of the circle. */
        const uint8_t level[4] = {c.v, t, p, q};
        static const uint8_t pick[6][3] = {{0, 1, 2}, {3, 0, 2}, {2, 0, 1},
                                           {2, 3, 0}, {1, 2, 0}, {0, 2, 3}};
        const uint8_t *which = pick[sixth % 6];
        r[i] = level[which[0]];
        g[i] = level[which[1]];
        b[i] = level[which[2]];
    }
}
