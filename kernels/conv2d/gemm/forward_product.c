/* Implicit im2col and matrix product, forward and backward-data: the products in registers. Pure. */
#include "kernels/conv2d/gemm/forward.h"

/* Before the loops over sums: gcc keeps them in registers from the first to the last only if told to unroll
 * those; clang does by itself, and does not if told. */
#if defined(__clang__) || defined(WF_SIMD_EMULATE)
#define UNROLL_SUMS
#else
#define UNROLL_SUMS _Pragma("GCC unroll 16")
#endif

static const float gemm_zero[L];

enum { GEMM_RUN = 3 /* neighbouring taps that a rotated pixel is multiplied with */ };

/* How far the next group's panel is. */
typedef struct filling {
    float *panel;
    const float *from;
    const int32_t *at;
} filling;

WF_INLINE void fill_term(const int N, const gemm_ahead *next, filling *f)
{
    UNROLL_SUMS
    for (int i = 0; i < N; i++)
        wf_vstore(f->panel + i * L, wf_vload(f->at[i] < 0 ? gemm_zero : f->from + f->at[i]));
    f->panel += (size_t)next->most * L;
    f->at += next->most;
    if (f->at == next->at + next->taps * next->most) {
        f->at = next->at;
        f->from += next->plane;
    }
}

/* y[i][b] += sum over terms t and channels c of x[offset[t] + i * depth + c] * w[t][c][b], for N
 * pixels and NV vectors. N, NV and DEPTH (channels of a term, and floats of a pixel) are constants where
 * this is called, so that the sums stay in registers. */
WF_INLINE void multiply(const int N, const int NV, const int DEPTH, const bool FILL,
                        const gemm_product *p, const gemm_ahead *next, const float *x, float *y)
{
    if (N * NV > GEMM_SUMS)
        return; /* is never asked for: no code */
    wf_vf sum[GEMM_N][GEMM_NV];
    const size_t y_block = p->y_block, n = p->n;
    const int32_t *y_at = p->y_at;
    if (p->bias) {
        UNROLL_SUMS
        for (int i = 0; i < N; i++) {
            UNROLL_SUMS
            for (int b = 0; b < NV; b++) {
                __builtin_prefetch(y + y_at[i] + (size_t)b * y_block, 1, 3);
                sum[i][b] = wf_vload(p->bias + b * L);
            }
        }
    } else {
        UNROLL_SUMS
        for (int i = 0; i < N; i++) {
            UNROLL_SUMS
            for (int b = 0; b < NV; b++)
                sum[i][b] = wf_vload(y + y_at[i] + (size_t)b * y_block);
        }
    }
    const size_t *offset = p->offset;
    const float *w = p->w, *next_x = next->x, *next_w = next->w;
    const size_t x_step = next->x_step;
    filling f = {next->panel, next->from, next->at};
    size_t t = 0;
    do {
        const float *xt = x + offset[t];
        if (FILL)
            fill_term(N, next, &f);
        if (DEPTH > 1) {
            if (!FILL) /* the next group's */
                for (int i = 0; i < N * L; i += 16)
                    __builtin_prefetch(xt + N * L + i, 0, 3);
            __builtin_prefetch(next_x, 0, 2);
            __builtin_prefetch(next_w, 0, 2);
            next_x += x_step;
            next_w += 16;
        }
#pragma GCC unroll 4
        for (int c = 0; c < DEPTH; c++, w += NV * L)
            if (N < NV) {
                wf_vf v[GEMM_N]; /* N < NV */
                for (int i = 0; i < N; i++)
                    v[i] = wf_vset1(xt[i * DEPTH + c]);
                for (int b = 0; b < NV; b++) {
                    wf_vf wb = wf_vload(w + b * L);
                    for (int i = 0; i < N; i++)
                        sum[i][b] = wf_vfma(v[i], wb, sum[i][b]);
                }
            } else {
                wf_vf v[GEMM_NV];
                for (int b = 0; b < NV; b++)
                    v[b] = wf_vload(w + b * L);
                for (int i = 0; i < N; i++) {
                    wf_vf xi = wf_vset1(xt[i * DEPTH + c]);
                    for (int b = 0; b < NV; b++)
                        sum[i][b] = wf_vfma(xi, v[b], sum[i][b]);
                }
            }
    } while (++t < n);
    UNROLL_SUMS
    for (int i = 0; i < N; i++) {
        float *to = y + p->y_at[i];
        UNROLL_SUMS
        for (int b = 0; b < NV; b++)
            wf_vstore(to + (size_t)b * y_block, sum[i][b]);
    }
}

/* The same lane by lane: y[i] += sum over terms of x[offset[t] + i * L] * w[t]. */
WF_INLINE void multiply_lanes(const int N, const gemm_product *p, const float *x, float *y)
{
    wf_vf sum[GEMM_N];
    UNROLL_SUMS
    for (int i = 0; i < N; i++)
        sum[i] = wf_vload(p->bias ? p->bias : y + p->y_at[i]);
    for (size_t t = 0; t < p->n; t++) {
        const float *xt = x + p->offset[t];
        wf_vf f = wf_vload(p->w + t * L);
        UNROLL_SUMS
        for (int i = 0; i < N; i++)
            sum[i] = wf_vfma(wf_vload(xt + i * L), f, sum[i]);
    }
    UNROLL_SUMS
    for (int i = 0; i < N; i++)
        wf_vstore(y + p->y_at[i], sum[i]);
}

/* The terms of T taps that are neighbours in a row, rotated: each of their pixels is rotated once by each j. */
WF_INLINE void rotated_taps(const int N, const int J, const int T, const int32_t (*rotation)[L],
                            const float *x, const float *w, wf_vf sum[GEMM_N])
{
#pragma GCC unroll 1
    for (int j = 0; j < J; j++, w += L) {
        const wf_vi from = wf_vi_load(rotation[j]);
        wf_vf wt[GEMM_RUN];
        UNROLL_SUMS
        for (int t = 0; t < T; t++)
            wt[t] = wf_vload(w + t * J * L);
        UNROLL_SUMS
        for (int i = 0; i < N + T - 1; i++) {
            const wf_vf v = wf_vpermute(wf_vload(x + i * L), from);
            UNROLL_SUMS
            for (int t = 0; t < T; t++)
                if (i >= t && i - t < N)
                    sum[i - t] = wf_vfma(v, wt[t], sum[i - t]);
        }
    }
}

/* The same, rotated: y[i] += sum over terms t and j of x[offset[t] + i * L], rotated by j, * w[t][j]. J,
 * the size of a group, is a constant, too. */
WF_INLINE void multiply_rotated(const int N, const int J, const gemm_product *p, const float *x,
                                float *y)
{
    wf_vf sum[GEMM_N];
    UNROLL_SUMS
    for (int i = 0; i < N; i++)
        sum[i] = wf_vload(p->bias ? p->bias : y + p->y_at[i]);
    const float *w = p->w;
    for (size_t t = 0, run; t < p->n; t += run, w += run * J * L) {
        const size_t *at = p->offset + t, left = p->n - t;
        run = left > 1 && at[1] == at[0] + L ? left > 2 && at[2] == at[0] + 2 * L ? 3 : 2 : 1;
        if (run == 3)
            rotated_taps(N, J, 3, p->rotation, x + *at, w, sum);
        else if (run == 2)
            rotated_taps(N, J, 2, p->rotation, x + *at, w, sum);
        else
            rotated_taps(N, J, 1, p->rotation, x + *at, w, sum);
    }
    UNROLL_SUMS
    for (int i = 0; i < N; i++)
        wf_vstore(y + p->y_at[i], sum[i]);
}

WF_INLINE void multiply_n(const int KIND, const int NV, const bool FILL, int n,
                          const gemm_product *p, const gemm_ahead *next, const float *x, float *y)
{
#define CASE(N)                                                                                    \
    case N:                                                                                        \
        if (KIND == GEMM_LANES)                                                                    \
            multiply_lanes(N, p, x, y);                                                            \
        else if (KIND == GEMM_ROTATE)                                                              \
            multiply_rotated(N, NV, p, x, y);                                                      \
        else                                                                                       \
            multiply(N, NV, KIND == GEMM_DENSE ? L : 1, FILL, p, next, x, y);                      \
        break;
    switch (n) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
        CASE(12)
#if WF_LANES == 16
        CASE(13)
        CASE(14)
#endif
    }
#undef CASE
}

/* One function for each kind and number of vectors; only dense ones fill the next group's panel. */
#define PRODUCT(name, KIND, NV)                                                                    \
    static void name(int n, const gemm_product *p, const gemm_ahead *next, const float *x,         \
                     float *y)                                                                     \
    {                                                                                              \
        for (int i = 0; i < next->lines; i++)                                                      \
            __builtin_prefetch(next->more + i * 16, 0, 2);                                         \
        if (KIND == GEMM_DENSE && next->panel)                                                     \
            multiply_n(KIND, NV, KIND == GEMM_DENSE, n, p, next, x, y);                            \
        else                                                                                       \
            multiply_n(KIND, NV, false, n, p, next, x, y);                                         \
    }
PRODUCT(dense_1, GEMM_DENSE, 1)
PRODUCT(dense_2, GEMM_DENSE, 2)
PRODUCT(dense_3, GEMM_DENSE, 3)
PRODUCT(dense_4, GEMM_DENSE, 4)
PRODUCT(plain_1, GEMM_PLAIN, 1)
PRODUCT(plain_2, GEMM_PLAIN, 2)
PRODUCT(plain_3, GEMM_PLAIN, 3)
PRODUCT(plain_4, GEMM_PLAIN, 4)
PRODUCT(lanes_1, GEMM_LANES, 1)
PRODUCT(rotate_1, GEMM_ROTATE, 1)
PRODUCT(rotate_2, GEMM_ROTATE, 2)
PRODUCT(rotate_4, GEMM_ROTATE, 4)
#if WF_LANES == 16
PRODUCT(rotate_8, GEMM_ROTATE, 8)
#endif
#undef PRODUCT

/* By how many vectors each pixel has: of outputs, or of rotations. */
static gemm_product_fn *const products[][GEMM_J + 1] = {
    [GEMM_DENSE] = {NULL, dense_1, dense_2, dense_3, dense_4},
    [GEMM_PLAIN] = {NULL, plain_1, plain_2, plain_3, plain_4},
    [GEMM_LANES] = {NULL, lanes_1},
#if WF_LANES == 16
    [GEMM_ROTATE] = {[1] = rotate_1, [2] = rotate_2, [4] = rotate_4, [8] = rotate_8},
#else
    [GEMM_ROTATE] = {[1] = rotate_1, [2] = rotate_2, [4] = rotate_4},
#endif
};

gemm_product_fn *gemm_product_of(gemm_kind kind, int vectors)
{
    return products[kind][vectors];
}
