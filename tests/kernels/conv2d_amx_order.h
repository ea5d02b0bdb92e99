/* Convolution in the order of sums of the AMX kernels, in plain C, from the definition: Note [Order of sums] in
 * kernels/conv2d/amx/forward.h and Note [Order of weight sums] in weights.h. Only where a pixel block ends is asked of
 * the kernel's plan. */
#ifndef TESTS_KERNELS_CONV2D_AMX_ORDER_H
#define TESTS_KERNELS_CONV2D_AMX_ORDER_H

#include "kernels/conv2d/amx/weights.h"
#include "tests/kernels/conv2d_problem.h"

/* What a step adds to a sum: the products of 32 numbers, even and odd ones apart. */
static float order_step(float sum, const float a[AMX_STEP], const float b[AMX_STEP])
{
    float part[2] = {0, 0};
    for (int i = 0; i < AMX_STEP; i++)
        part[i % 2] = wf_fma_ftz(a[i], b[i], part[i % 2]);
    return wf_add_ftz(sum, wf_add_ftz(part[0], part[1]));
}

static double at(const double *v, const int size[4], int n, int c, int h, int w)
{
    if (h < 0 || h >= size[2] || w < 0 || w >= size[3])
        return 0;
    return v[(((size_t)n * size[1] + c) * size[2] + h) * size[3] + w];
}

static double weight_at(const wf_conv2d_desc *d, const double *w, int k, int c, int tap)
{
    return w[((size_t)k * (d->C / d->groups) + c) * d->R * d->S + tap];
}

static float order_forward_at(const problem *t, int n, int k, int p, int q)
{
    const wf_conv2d_desc *d = &t->d;
    const int size[4] = {d->N, d->C, d->H, d->W}, taps = d->R * d->S, cg = d->C / d->groups;
    const int first = k / (d->K / d->groups) * cg, h = p * d->stride[0] - d->padding[0],
              w = q * d->stride[1] - d->padding[1];
    const bool patched = d->src_block == 1;
    float sum = d->bias ? (float)t->b[k] : 0, a[AMX_STEP], b[AMX_STEP];
    for (int v = 0; v < (patched ? cg * taps : cg); v += AMX_STEP)
        for (int tap = 0; tap < (patched ? 1 : taps); tap++) {
            for (int i = 0; i < AMX_STEP; i++) {
                const int c = patched ? (v + i) / taps : v + i, j = patched ? (v + i) % taps : tap;
                a[i] = b[i] = 0;
                if (c >= cg)
                    continue;
                a[i] = (float)at(t->x, size, n, first + c, h + j / d->S * d->dilation[0],
                                 w + j % d->S * d->dilation[1]);
                b[i] = (float)weight_at(d, t->w, k, c, j);
            }
            sum = order_step(sum, a, b);
        }
    return sum;
}

static float order_data_at(const problem *t, int n, int c, int h, int w)
{
    const wf_conv2d_desc *d = &t->d;
    const int size[4] = {d->N, d->K, d->P, d->Q}, kg = d->K / d->groups, cg = d->C / d->groups;
    float sum = 0, a[AMX_STEP], b[AMX_STEP];
    for (int v = 0; v < kg; v += AMX_STEP)
        for (int tap = d->R * d->S - 1; tap >= 0; tap--) { /* from the smallest offset on */
            const int y = h + d->padding[0] - tap / d->S * d->dilation[0];
            const int x = w + d->padding[1] - tap % d->S * d->dilation[1];
            if (y % d->stride[0] || x % d->stride[1])
                continue;
            for (int i = 0; i < AMX_STEP; i++) {
                const int k = c / cg * kg + v + i;
                a[i] = v + i < kg ? (float)at(t->dy, size, n, k, y / d->stride[0], x / d->stride[1])
                                  : 0;
                b[i] = v + i < kg ? (float)weight_at(d, t->w, k, c % cg, tap) : 0;
            }
            sum = order_step(sum, a, b);
        }
    return sum;
}

static void order_images(const problem *t, double *y, double *dx)
{
    const wf_conv2d_desc *d = &t->d;
    for (int n = 0; n < d->N; n++) {
        for (int k = 0; k < d->K; k++)
            for (int i = 0; i < d->P * d->Q; i++)
                *y++ = (double)order_forward_at(t, n, k, i / d->Q, i % d->Q);
        for (int c = 0; c < d->C; c++)
            for (int i = 0; i < d->H * d->W; i++)
                *dx++ = (double)order_data_at(t, n, c, i / d->W, i % d->W);
    }
}

/* Adds the pixels of a block to the sum of a weight. */
static float order_block(const problem *t, const amx_frame *f, int first, amx_rows b, int k, int c,
                         int tap, float sum)
{
    const wf_conv2d_desc *d = &t->d;
    const int in[4] = {d->N, d->C, d->H, d->W}, out[4] = {d->N, d->K, d->P, d->Q};
    for (int o = 0; o < amx_outputs(f, b); o += AMX_STEP) {
        float x[AMX_STEP], y[AMX_STEP];
        for (int i = 0; i < AMX_STEP; i++) {
            const int q = (o + i) % f->pitch, row = (o + i) / f->pitch;
            const int p = b.row + row % f->image_rows, n = first + row / f->image_rows;
            x[i] = y[i] = 0;
            if (q >= d->Q || p >= b.row + b.rows || n >= first + b.images)
                continue;
            y[i] = (float)at(t->dy, out, n, k, p, q);
            x[i] = (float)at(t->x, in, n, c,
                             p * d->stride[0] - d->padding[0] + tap / d->S * d->dilation[0],
                             q * d->stride[1] - d->padding[1] + tap % d->S * d->dilation[1]);
        }
        sum = order_step(sum, y, x);
    }
    return sum;
}

/* k: the planned pass, whose state says what a pixel block is. */
static void order_weights(const problem *t, const wf_conv2d *k, double *dw)
{
    const wf_conv2d_desc *d = &t->d;
    const amx_weights *s = k->state;
    const int cg = d->C / d->groups, kg = d->K / d->groups, taps = d->R * d->S;
    for (size_t i = 0; i < t->n_w; i++) {
        const int tap = (int)(i % (size_t)taps), c = (int)(i / (size_t)taps) % cg;
        const int o = (int)(i / (size_t)(taps * cg));
        float split[64] = {0};
        assert_true(k->splits <= 64);
        for (int j = 0; s->taps && j < k->splits; j++) {
            const int end = (j + 1) * k->split_images < d->N ? (j + 1) * k->split_images : d->N;
            for (int n = j * k->split_images; n < end; n += s->frame.images)
                for (int p = 0; p < d->P; p += s->frame.block_rows) {
                    const amx_rows b = {end - n < s->frame.images ? end - n : s->frame.images, p,
                                        d->P - p < s->frame.block_rows ? d->P - p
                                                                       : s->frame.block_rows};
                    split[j] = order_block(t, &s->frame, n, b, o, o / kg * cg + c, tap, split[j]);
                }
        }
        for (int step = 1; step < k->splits; step *= 2)
            for (int j = 0; j + step < k->splits; j += 2 * step)
                split[j] += split[j + step];
        dw[i] = (double)split[0];
    }
}

#endif
