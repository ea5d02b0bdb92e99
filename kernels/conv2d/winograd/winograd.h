/* The one-dimensional transforms of Winograd's F(4, 3) on vectors, and how images are cut into patches;
 * private to this folder.
 *
 * y = AT [(G g) * (BT d)], four outputs of a 3-tap filter from six inputs with six products; in two
 * dimensions both ways, 36 products in place of 144. Points 0, +-a, +-b and infinity with
 * a = 1/sqrt 2, b = sqrt 2: half the error of the usual 0, +-1, +-2. By Toom and Cook's rule, with
 * M(x) = x (x^2 - 1/2) (x^2 - 2), row j of BT holds the coefficients of M(x)/(x - p_j), the last
 * those of M; row j of G is (1, p_j, p_j^2) over M'(p_j); column j of AT is (1, p_j, p_j^2, p_j^3):
 *
 *        1  0 -5/2  0  1  0          1     0     0          1  1   1   1    1   0
 *        0 -b  -2   a  1  0        -2/3 -2a/3  -1/3         0  a  -a   b   -b   0
 *   BT = 0  b  -2  -a  1  0    G = -2/3  2a/3  -1/3    AT = 0 1/2 1/2  2    2   0
 *        0 -a -1/2  b  1  0         1/6   b/6   1/3         0 a/2 -a/2 2b -2b   1
 *        0  a -1/2 -b  1  0         1/6  -b/6   1/3
 *        0  1   0 -5/2 0  1          0     0     1
 *
 * Sources: Winograd, "Arithmetic Complexity of Computations" (1980); Lavin and Gray, "Fast
 * Algorithms for Convolutional Neural Networks" (2016); on the points, Alam et al., "Winograd
 * Convolution for Deep Neural Networks: Efficient Point Selection" (2022). */
#ifndef WF_CONV2D_WINOGRAD_H
#define WF_CONV2D_WINOGRAD_H

#include "kernels/conv2d/conv2d.h"
#include "kernels/machine.h"
#include "kernels/simd/cases.h"
#include "kernels/simd/simd.h"

#define WINO_A 0.70710678118654752f
#define WINO_B 1.41421356237309505f

enum {
    L = WF_LANES,
    WINO_IN = 6,  /* input pixels of a patch, one way */
    WINO_OUT = 4, /* output pixels of it */
    WINO_POINTS = 36,
    WINO_CHANNELS_BLOCK_SIZE =
        64,        /* input channels of V that lie together; a constant, so that offsets in V are */
    WINO_PAIR = 2, /* output blocks in registers */
    WINO_MAX_SUMS = L == 16 ? 14 : 6, /* pairs of sums in registers */
    WINO_SKEW = 16 /* floats between the points' arrays, so that these do not share cache sets */
};

/* CASE(1) to CASE(WINO_MAX_SUMS) */
#if WF_LANES == 16
#define WINO_CASES WF_CASES_14
#else
#define WINO_CASES WF_CASES_6
#endif

/* The machine class's block sizes, kernels/blocking.def. */
static inline const wf_blocking *wino_blocking(void)
{
    return wf_machine_class_of(WF_CLASS_ISA)->blocking;
}

/* Bytes of L2 that blocking counts on: the machine class's, Note [Machine classes], since it decides about
 * bits where a sum is cut. */
static inline int wino_l2(void)
{
    return (int)wf_machine_class_of(WF_CLASS_ISA)->l2_bytes;
}

/* Patches whose products with a pair of output blocks, at all points, take `percent` of L2. */
static inline int wino_patches_in_l2(int percent)
{
    return wino_l2() / 100 * percent / (WINO_POINTS * WINO_PAIR * L * (int)sizeof(float));
}

/* t = BT d; elements `step` apart. */
WF_INLINE void wino_input(const wf_vf *d, wf_vf *t, int step)
{
    wf_vf d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
    wf_vf a = wf_vset1(WINO_A), b = wf_vset1(WINO_B), c = wf_vset1(2.5f);
    wf_vf e1 = wf_vfnma(wf_vset1(2.0f), d2, d4), o1 = wf_vfnma(b, d1, wf_vmul(a, d3));
    wf_vf e2 = wf_vfnma(wf_vset1(0.5f), d2, d4), o2 = wf_vfnma(a, d1, wf_vmul(b, d3));
    t[0] = wf_vfnma(c, d2, wf_vadd(d[0], d4));
    t[step] = wf_vadd(e1, o1);
    t[2 * step] = wf_vsub(e1, o1);
    t[3 * step] = wf_vadd(e2, o2);
    t[4 * step] = wf_vsub(e2, o2);
    t[5 * step] = wf_vfnma(c, d3, wf_vadd(d1, d[5 * step]));
}

/* y = AT m */
WF_INLINE void wino_output(const wf_vf *m, wf_vf *y, int m_step, int y_step)
{
    wf_vf s1 = wf_vadd(m[m_step], m[2 * m_step]), f1 = wf_vsub(m[m_step], m[2 * m_step]);
    wf_vf s2 = wf_vadd(m[3 * m_step], m[4 * m_step]), f2 = wf_vsub(m[3 * m_step], m[4 * m_step]);
    y[0] = wf_vadd(m[0], wf_vadd(s1, s2));
    y[y_step] = wf_vfma(wf_vset1(WINO_A), f1, wf_vmul(wf_vset1(WINO_B), f2));
    y[2 * y_step] = wf_vfma(wf_vset1(0.5f), s1, wf_vmul(wf_vset1(2.0f), s2));
    y[3 * y_step] =
        wf_vfma(wf_vset1(WINO_A / 2), f1, wf_vfma(wf_vset1(2 * WINO_B), f2, m[5 * m_step]));
}

/* u = G g */
WF_INLINE void wino_filter(const wf_vf *g, wf_vf *u, int g_step, int u_step)
{
    wf_vf g0 = g[0], g1 = g[g_step], g2 = g[2 * g_step];
    wf_vf e1 = wf_vmul(wf_vset1(-2.0f / 3), wf_vfma(wf_vset1(0.5f), g2, g0));
    wf_vf o1 = wf_vmul(wf_vset1(-2.0f / 3 * WINO_A), g1);
    wf_vf e2 = wf_vmul(wf_vset1(1.0f / 6), wf_vfma(wf_vset1(2.0f), g2, g0));
    wf_vf o2 = wf_vmul(wf_vset1(WINO_B / 6), g1);
    u[0] = g0;
    u[u_step] = wf_vadd(e1, o1);
    u[2 * u_step] = wf_vsub(e1, o1);
    u[3 * u_step] = wf_vadd(e2, o2);
    u[4 * u_step] = wf_vsub(e2, o2);
    u[5 * u_step] = g2;
}

/* The transposes, for weight gradients: z = A y (6 from 4), g = GT u (3 from 6). */
WF_INLINE void wino_output_t(const wf_vf *y, wf_vf *z, int y_step, int z_step)
{
    wf_vf y0 = y[0], y1 = y[y_step], y2 = y[2 * y_step], y3 = y[3 * y_step];
    wf_vf e1 = wf_vfma(wf_vset1(0.5f), y2, y0), e2 = wf_vfma(wf_vset1(2.0f), y2, y0);
    wf_vf o1 = wf_vfma(wf_vset1(WINO_A), y1, wf_vmul(wf_vset1(WINO_A / 2), y3));
    wf_vf o2 = wf_vfma(wf_vset1(WINO_B), y1, wf_vmul(wf_vset1(2 * WINO_B), y3));
    z[0] = y0;
    z[z_step] = wf_vadd(e1, o1);
    z[2 * z_step] = wf_vsub(e1, o1);
    z[3 * z_step] = wf_vadd(e2, o2);
    z[4 * z_step] = wf_vsub(e2, o2);
    z[5 * z_step] = y3;
}

WF_INLINE void wino_filter_t(const wf_vf *u, wf_vf *g, int u_step, int g_step)
{
    wf_vf s1 = wf_vadd(u[u_step], u[2 * u_step]), f1 = wf_vsub(u[u_step], u[2 * u_step]);
    wf_vf s2 = wf_vadd(u[3 * u_step], u[4 * u_step]), f2 = wf_vsub(u[3 * u_step], u[4 * u_step]);
    s1 = wf_vmul(wf_vset1(-2.0f / 3), s1);
    s2 = wf_vmul(wf_vset1(1.0f / 6), s2);
    g[0] = wf_vadd(u[0], wf_vadd(s1, s2));
    g[g_step] = wf_vfma(wf_vset1(-2.0f / 3 * WINO_A), f1, wf_vmul(wf_vset1(WINO_B / 6), f2));
    g[2 * g_step] = wf_vfma(wf_vset1(0.5f), s1, wf_vfma(wf_vset1(2.0f), s2, u[5 * u_step]));
}

/* An image cut into patches, one for each 4 x 4 outputs. They are taken by whole rows of patches. */
typedef struct wino_patches {
    int rows, columns; /* of patches */
} wino_patches;

static inline wino_patches wino_patches_of(int P, int Q)
{
    return (wino_patches){(P + WINO_OUT - 1) / WINO_OUT, (Q + WINO_OUT - 1) / WINO_OUT};
}

/* Patches to take at once: about `most`, at least 12, in whole rows. */
static inline int wino_capacity(const wino_patches *t, int most)
{
    most = most > 12 ? most : 12;
    return most / t->columns < 1 ? t->columns : most / t->columns * t->columns;
}

/* Whether the transformed filter, or its gradient, is too large for L2: Note [Large filters] in
 * forward.c. */
static inline bool wino_is_staged(const wf_conv2d_desc *d)
{
    return (int64_t)d->C * d->K > 96 * 96;
}

/* n rows of patches of an image, from `first` on. */
typedef struct wino_rows {
    int image, first, n;
} wino_rows;

/* The rows from r.first on that `room` patches hold. */
static inline wino_rows wino_take(const wino_patches *t, wino_rows r, int room)
{
    int left = t->rows - r.first, most = room / t->columns;
    r.n = left < most ? left : most;
    return r;
}

/* The first row after r: of the same image or of the next; its n is 0. */
static inline wino_rows wino_after(const wino_patches *t, wino_rows r)
{
    bool last = r.first + r.n == t->rows;
    return (wino_rows){r.image + last, last ? 0 : r.first + r.n, 0};
}

/* Loads a whole vector, or its first n lanes, of floats or of bf16. */
WF_INLINE wf_vf wino_vector(const bool BF16, const bool whole, const char *p, int n)
{
    const uint16_t *bf16 = (const uint16_t *)p;
    const float *f = (const float *)p;
    if (BF16)
        return whole ? wf_vload_bf16(bf16) : wf_vload_bf16_n(bf16, n);
    return whole ? wf_vload(f) : wf_vload_n(f, n);
}

/* Bytes of a vector in an image. */
#define WINO_VECTOR(BF16) (L * ((BF16) ? (ptrdiff_t)sizeof(uint16_t) : (ptrdiff_t)sizeof(float)))

/* Loads size x size pixels from (top, left) on of a plane (H x W x L); zeros outside of it. */
WF_INLINE void wino_load(const bool BF16, const int size, const bool whole, const char *plane,
                         int H, int W, int top, int left, wf_vf *d)
{
    static const float zeros[WINO_IN * L];
    const ptrdiff_t vector = WINO_VECTOR(BF16), row = W * vector;
    const char *at = plane + top * row + left * vector;
    int lanes[WINO_IN];
    for (int j = 0; j < size; j++)
        lanes[j] = left + j >= 0 && left + j < W ? L : 0;
    for (int i = 0; i < size; i++, at += row) {
        const char *p = whole || (top + i >= 0 && top + i < H) ? at : (const char *)zeros;
        for (int j = 0; j < size; j++)
            d[i * size + j] = wino_vector(BF16, whole, p + j * vector, lanes[j]);
    }
}

static inline bool wino_is_whole(int size, int H, int W, int top, int left)
{
    return top >= 0 && left >= 0 && top + size <= H && left + size <= W;
}

/* Prefetches 4 x 4 pixels, `distance` vectors behind those at `at`, into L2. Planes of channel blocks lie
 * apart, and six rows read among 36 written are more streams than the hardware prefetcher follows. */
WF_INLINE void wino_prefetch(const bool BF16, const char *at, ptrdiff_t distance, int W)
{
    const ptrdiff_t vector = WINO_VECTOR(BF16);
    const char *p = (const char *)((uintptr_t)at + (uintptr_t)(distance * vector));
    for (int i = 0; i < WINO_OUT; i++, p += W * vector)
        for (ptrdiff_t j = 0; j < WINO_OUT * vector; j += 64)
            __builtin_prefetch(p + j, 0, 2);
}

/* Transforms the patch at (top, left) and stores point i at v + i * point. */
WF_INLINE void wino_patch_input(const bool BF16, const bool whole, const char *x, int H, int W,
                                int top, int left, float *v, size_t point)
{
    wf_vf d[WINO_POINTS], t[WINO_POINTS];
    wino_load(BF16, WINO_IN, whole, x, H, W, top, left, d);
    for (int j = 0; j < WINO_IN; j++)
        wino_input(d + j, t + j, WINO_IN);
    for (int i = 0; i < WINO_IN; i++)
        wino_input(t + i * WINO_IN, d + i * WINO_IN, 1);
    for (int i = 0; i < WINO_POINTS; i++)
        wf_vstore(v + (size_t)i * point, d[i]);
}

/* Vectors from a pixel to what the kernel reads next in its place: the same pixel of the next channel block;
 * after the last block, the next rows of patches of the first one. */
static inline ptrdiff_t wino_prefetch_distance(wino_rows r, bool more, int blocks, int H, int W)
{
    const ptrdiff_t plane = (ptrdiff_t)H * W;
    return more ? plane : (ptrdiff_t)r.n * WINO_OUT * W - (blocks - 1) * plane;
}

WF_INLINE void wino_transform_planes(const bool BF16, const wino_patches *t, wino_rows r,
                                     const char *x, int H, int W, const int padding[2],
                                     int channels, float *v, size_t point, size_t channels_block)
{
    const ptrdiff_t vector = WINO_VECTOR(BF16);
    for (int c = 0; c < channels; c += L, x += (ptrdiff_t)H * W * vector) {
        float *out = v + (size_t)(c / WINO_CHANNELS_BLOCK_SIZE) * channels_block +
                     c % WINO_CHANNELS_BLOCK_SIZE;
        const ptrdiff_t distance = wino_prefetch_distance(r, c + L < channels, channels / L, H, W);
        for (int i = 0; i < r.n; i++)
            for (int j = 0; j < t->columns; j++, out += WINO_CHANNELS_BLOCK_SIZE) {
                int top = (r.first + i) * WINO_OUT - padding[0], left = j * WINO_OUT - padding[1];
                wino_prefetch(BF16,
                              x + ((ptrdiff_t)(top + padding[0]) * W + left + padding[1]) * vector,
                              distance, W);
                if (wino_is_whole(WINO_IN, H, W, top, left))
                    wino_patch_input(BF16, true, x, H, W, top, left, out, point);
                else
                    wino_patch_input(BF16, false, x, H, W, top, left, out, point);
            }
    }
}

/* Transforms rows r of patches of so many channels (a multiple of L) of an image x into V:
 * [block of channels, channels_block floats apart][point][patch][WINO_CHANNELS_BLOCK_SIZE]. */
static inline void wino_transform_input(bool bf16, const wino_patches *t, wino_rows r,
                                        const char *x, int H, int W, const int padding[2],
                                        int channels, float *v, size_t point, size_t channels_block)
{
    if (bf16)
        wino_transform_planes(true, t, r, x, H, W, padding, channels, v, point, channels_block);
    else
        wino_transform_planes(false, t, r, x, H, W, padding, channels, v, point, channels_block);
}

/* The same to row `row` of the six rows of points, Note [Rows of points] in forward_rows.c. V:
 * [block of channels, channels_block floats apart][6 points][patch][WINO_CHANNELS_BLOCK_SIZE]. */
void WF_ISA_FN(wf_wino_transform_row)(bool bf16, int row, const wino_patches *t, wino_rows r,
                                      const char *x, int H, int W, const int padding[2],
                                      int channels, float *v, size_t point, size_t channels_block);
#define wino_transform_row WF_ISA_FN(wf_wino_transform_row)

/* Whether an operand's type is one that these kernels read and write. */
static inline bool wino_is_image(weft_dtype type)
{
    return type == WEFT_F32 || type == WEFT_BF16;
}

/* Floats of V for so many patches: from point to point; from block of channels to block; and of all. */
static inline size_t wino_v_point(int patches)
{
    return (size_t)patches * WINO_CHANNELS_BLOCK_SIZE + WINO_SKEW;
}

static inline size_t wino_v_channels_block(int patches)
{
    return WINO_POINTS * wino_v_point(patches);
}

static inline size_t wino_v_count(int patches, int channels)
{
    return (size_t)((channels + WINO_CHANNELS_BLOCK_SIZE - 1) / WINO_CHANNELS_BLOCK_SIZE) *
           wino_v_channels_block(patches);
}

#endif
