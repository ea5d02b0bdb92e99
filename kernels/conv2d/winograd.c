/* Winograd F(4x4, 3x3): forward, and backward-data as the forward of the rotated filter.
 *
 * One image, by rows of 4 x 4 tiles that stay in the second-level cache: transform their input for
 * all channels, then for two output-channel blocks at a time multiply at each of the 36 points and
 * transform back. winograd.h has the transforms. A product sums over channels in order, whatever
 * the chunks: the bits follow from shape and ISA. Stateless but for the plan.
 *
 * Packed weights: output blocks, 36 points, input channels, L outputs. V: points, tiles, channels.
 * Letters as seen by the pass: I input channels, O output channels, H W input, P Q output. */
#include <stdio.h>

#include "kernels/conv2d/winograd.h"
#include "kernels/select.h"

enum { MAX_TILES = 6, MAX_BLOCKS = 2 };

/* A pass as a forward convolution. */
typedef struct geometry {
    int I, O, H, W, P, Q, padding[2];
} geometry;

static geometry geometry_of(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    if (pass == WF_CONV2D_FORWARD)
        return (geometry){d->C, d->K, d->H, d->W, d->P, d->Q, {d->padding[0], d->padding[1]}};
    return (geometry){d->K, d->C, d->P, d->Q, d->H, d->W, {2 - d->padding[0], 2 - d->padding[1]}};
}

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    geometry g = geometry_of(d, pass);
    wino_tiles t = wino_cut(g.P, g.Q, g.I);
    const char *reason = NULL;
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "forward and backward-data only";
    else if (d->src_type != WEFT_F32 || d->weights_type != WEFT_F32 || d->dst_type != WEFT_F32)
        reason = "f32 only";
    else if (d->R != 3 || d->S != 3 || d->stride[0] != 1 || d->stride[1] != 1 ||
             d->dilation[0] != 1 || d->dilation[1] != 1 || d->groups != 1)
        reason = "3x3, stride 1, dense, one group only";
    else if (d->padding[0] > 2 || d->padding[1] > 2)
        reason = "padding of at most 2";
    else if (d->src_block != L || d->dst_block != L)
        reason = "activations in blocks of a vector only";
    else if (d->C < 16 || d->K < 16)
        reason = "too few channels to pay for the transforms";
    else if ((int64_t)d->C * d->K > 256 * 256)
        reason = "the transformed filter is too large for the caches";
    else if ((int64_t)g.P * g.Q * 9 < (int64_t)t.rows * t.columns * 64)
        reason = "too much of the 4x4 tiles lies outside the image";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    geometry g = geometry_of(d, pass);
    wino_tiles t = wino_cut(g.P, g.Q, g.I);
    double tiles = (double)d->N * t.rows * t.columns;
    double I = (g.I + L - 1) / L * L, blocks = (g.O + L - 1) / L;
    return wf_expect_fmas(WINO_POINTS * tiles * I * blocks * L, WINO_ISA, WINO_SHARE) +
           tiles * (I / L * WINO_INPUT_CYCLES + blocks * WINO_OUTPUT_CYCLES) +
           I * blocks * WINO_FILTER_CYCLES;
}

static size_t v_point(const wino_tiles *t, int channels)
{
    return (size_t)t->chunk * (size_t)t->columns * (size_t)channels + WINO_SKEW;
}

static size_t m_point(const wino_tiles *t)
{
    return (size_t)t->chunk * (size_t)t->columns * MAX_BLOCKS * L + WINO_SKEW;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    geometry g = geometry_of(&k->desc, k->pass);
    int I = wf_round_up(g.I, L), blocks = (g.O + L - 1) / L;
    wino_tiles t = wino_cut(g.P, g.Q, g.I);
    k->packed_bytes = (size_t)blocks * WINO_POINTS * (size_t)I * L * sizeof(float);
    k->pack_tiles = blocks;
    k->scratch_bytes =
        (wino_frame_count(&t) + WINO_POINTS * (v_point(&t, I) + m_point(&t))) * sizeof(float);
    return true;
}

static void pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const bool forward = k->pass == WF_CONV2D_FORWARD;
    const geometry g = geometry_of(d, k->pass);
    const int I = wf_round_up(g.I, L);
    const size_t row = (size_t)d->C * 9;
    float *out = (float *)packed + (size_t)tile * WINO_POINTS * (size_t)I * L;
    for (int i = 0; i < I; i++) {
        float taps[9][L];
        wf_vf f[9], t[18], u[WINO_POINTS];
        memset(taps, 0, sizeof taps);
        for (int l = 0; l < L && tile * L + l < g.O && i < g.I; l++) {
            int o = tile * L + l;
            const float *w = (const float *)weights + (forward ? (size_t)o * row + (size_t)i * 9
                                                               : (size_t)i * row + (size_t)o * 9);
            for (int s = 0; s < 9; s++)
                taps[s][l] = w[forward ? s : 8 - s];
        }
        for (int s = 0; s < 9; s++)
            f[s] = wf_vload(taps[s]);
        for (int s = 0; s < 3; s++)
            wino_filter(f + s, t + s, 3, 3);
        for (int r = 0; r < WINO_IN; r++)
            wino_filter(t + r * 3, u + r * WINO_IN, 1, 1);
        for (int p = 0; p < WINO_POINTS; p++)
            wf_vstore(out + ((size_t)p * (size_t)I + (size_t)i) * L, u[p]);
    }
}

/* m[t][b] = sum over channels of v[t][c] * u[b][c], for NT tiles and NB blocks: constants where
 * this is called. */
WF_INLINE void multiply(const int NT, const int NB, int channels, const float *v, const float *u,
                        size_t u_block, float *m)
{
    wf_vf sum[MAX_TILES][MAX_BLOCKS];
    for (int t = 0; t < NT; t++)
        for (int b = 0; b < NB; b++)
            sum[t][b] = wf_vzero();
    for (int c = 0; c < channels; c++, u += L) {
        wf_vf w[MAX_BLOCKS];
        for (int b = 0; b < NB; b++)
            w[b] = wf_vload(u + (size_t)b * u_block);
        for (int t = 0; t < NT; t++) {
            wf_vf x = wf_vset1(v[(size_t)t * (size_t)channels + (size_t)c]);
            for (int b = 0; b < NB; b++)
                sum[t][b] = wf_vfma(x, w[b], sum[t][b]);
        }
    }
    for (int t = 0; t < NT; t++)
        for (int b = 0; b < NB; b++)
            wf_vstore(m + (t * MAX_BLOCKS + b) * L, sum[t][b]);
}

/* One point: `tiles` tiles in even groups of at most MAX_TILES. */
static void multiply_point(int tiles, int blocks, int channels, const float *v, const float *u,
                           size_t u_block, float *m)
{
    int groups = (tiles + MAX_TILES - 1) / MAX_TILES;
    for (int i = 0; i < groups; i++) {
        int first = tiles * i / groups, n = tiles * (i + 1) / groups - first;
        const float *vt = v + (size_t)first * (size_t)channels;
        float *mt = m + (size_t)first * MAX_BLOCKS * L;
        switch (blocks * 8 + n) {
        case 8 + 1: multiply(1, 1, channels, vt, u, u_block, mt); break;
        case 8 + 2: multiply(2, 1, channels, vt, u, u_block, mt); break;
        case 8 + 3: multiply(3, 1, channels, vt, u, u_block, mt); break;
        case 8 + 4: multiply(4, 1, channels, vt, u, u_block, mt); break;
        case 8 + 5: multiply(5, 1, channels, vt, u, u_block, mt); break;
        case 8 + 6: multiply(6, 1, channels, vt, u, u_block, mt); break;
        case 16 + 1: multiply(1, 2, channels, vt, u, u_block, mt); break;
        case 16 + 2: multiply(2, 2, channels, vt, u, u_block, mt); break;
        case 16 + 3: multiply(3, 2, channels, vt, u, u_block, mt); break;
        case 16 + 4: multiply(4, 2, channels, vt, u, u_block, mt); break;
        case 16 + 5: multiply(5, 2, channels, vt, u, u_block, mt); break;
        case 16 + 6: multiply(6, 2, channels, vt, u, u_block, mt); break;
        }
    }
}

/* Transforms one tile's products back, adds the bias, and stores what lies inside the image. */
static void tile_output(const float *m, size_t point, wf_vf bias, float *y, int rows, int columns,
                        size_t y_row)
{
    wf_vf p[WINO_POINTS], t[WINO_OUT * WINO_IN], o[WINO_OUT * WINO_OUT];
    for (int i = 0; i < WINO_POINTS; i++)
        p[i] = wf_vload(m + (size_t)i * point);
    for (int j = 0; j < WINO_IN; j++)
        wino_output(p + j, t + j, WINO_IN, WINO_IN);
    for (int i = 0; i < WINO_OUT; i++)
        wino_output(t + i * WINO_IN, o + i * WINO_OUT, 1, 1);
    for (int i = 0; i < WINO_OUT; i++)
        for (int j = 0; j < WINO_OUT; j++)
            if (i < rows && j < columns)
                wf_vstore(y + (size_t)i * y_row + (size_t)j * L,
                          wf_vadd(o[i * WINO_OUT + j], bias));
}

static void output_chunk(const geometry *g, const wino_tiles *t, int row, int n_rows,
                         const float *m, wf_vf bias, float *y)
{
    const size_t y_row = (size_t)g->Q * L;
    for (int i = 0; i < n_rows; i++)
        for (int j = 0; j < t->columns; j++) {
            int p = (row + i) * WINO_OUT, q = j * WINO_OUT;
            tile_output(m + (size_t)(i * t->columns + j) * MAX_BLOCKS * L, m_point(t), bias,
                        y + (size_t)p * y_row + (size_t)q * L, g->P - p, g->Q - q, y_row);
        }
}

static void run(const wf_conv2d *k, const float *x, const float *u, const float *bias, float *y,
                float *scratch)
{
    const geometry g = geometry_of(&k->desc, k->pass);
    const int I = wf_round_up(g.I, L), blocks = (g.O + L - 1) / L;
    const wino_tiles t = wino_cut(g.P, g.Q, g.I);
    const size_t u_block = WINO_POINTS * (size_t)I * L, y_plane = (size_t)g.P * (size_t)g.Q * L;
    float *frame = scratch, *v = frame + wino_frame_count(&t);
    float *m = v + WINO_POINTS * v_point(&t, I);
    for (int row = 0; row < t.rows; row += t.chunk) {
        int n_rows = t.rows - row < t.chunk ? t.rows - row : t.chunk, tiles = n_rows * t.columns;
        wino_transform_input(&t, row, n_rows, x, g.H, g.W, g.padding, I, frame, v, v_point(&t, I));
        for (int b = 0; b < blocks; b += MAX_BLOCKS) {
            int n = blocks - b < MAX_BLOCKS ? blocks - b : MAX_BLOCKS;
            for (int p = 0; p < WINO_POINTS; p++)
                multiply_point(tiles, n, I, v + (size_t)p * v_point(&t, I),
                               u + (size_t)b * u_block + (size_t)p * (size_t)I * L, u_block,
                               m + (size_t)p * m_point(&t));
            for (int i = b; i < b + n; i++) {
                int inside = g.O - i * L < L ? g.O - i * L : L;
                wf_vf add = bias ? wf_vload_n(bias + i * L, inside) : wf_vzero();
                output_chunk(&g, &t, row, n_rows, m + (i - b) * L, add, y + (size_t)i * y_plane);
            }
        }
    }
}

static void forward(const wf_conv2d *k, int worker, const void *src, const void *weights,
                    const void *bias, void *dst, void *scratch)
{
    run(k, src, weights, bias, dst, scratch);
}

static void backward_data(const wf_conv2d *k, int worker, const void *ddst, const void *weights,
                          void *dsrc, void *scratch)
{
    run(k, ddst, weights, NULL, dsrc, scratch);
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_winograd) = {
#if WF_LANES == 16
    .name = "winograd:avx512",
#else
    .name = "winograd:avx2",
#endif
    .isa = WINO_ISA,
    .amplification = WF_WINOGRAD_AMPLIFICATION,
    .fits = fits,
    .expect = expect,
    .create = create,
    .pack = pack,
    .forward = forward,
    .backward_data = backward_data,
};
