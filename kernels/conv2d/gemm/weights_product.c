/* Implicit im2col and matrix product, backward-weights: the products in registers. Pure. */
#include "kernels/conv2d/gemm/weights.h"

/* sum[i][b] += x[i] * ddst[b] at one pixel, for INPUTS channels of a channel vector and VECTORS output
 * vectors. */
WF_INLINE void pixel(const int INPUTS, const int VECTORS, const float *x, const float *ddst,
                     size_t ddst_vector_stride, wf_vf sum[L][GEMM_MAX_OUTPUT_VECTORS])
{
    wf_vf v[GEMM_MAX_OUTPUT_VECTORS];
    WF_UNROLL
    for (int b = 0; b < VECTORS; b++)
        v[b] = wf_vload(ddst + (size_t)b * ddst_vector_stride);
    WF_UNROLL
    for (int i = 0; i < INPUTS; i++) {
        wf_vf xi = wf_vset1(x[i]);
        WF_UNROLL
        for (int b = 0; b < VECTORS; b++)
            sum[i][b] = wf_vfma(xi, v[b], sum[i][b]);
    }
}

/* w[i][b] += sum over pixels of x[i] * ddst[b]. INPUTS, VECTORS and PREFETCH (whether there is something
 * to prefetch) are constants at every call, so that the sums stay in registers. */
WF_INLINE void channels_product(const int INPUTS, const int VECTORS, const bool PREFETCH,
                                const gemm_pixels *p, const gemm_prefetch_lines *prefetch,
                                const float *x, const float *ddst, float *w, size_t w_vector_stride)
{
    wf_vf sum[L][GEMM_MAX_OUTPUT_VECTORS];
    const char *at = PREFETCH ? prefetch->at : NULL;
    WF_UNROLL
    for (int i = 0; i < INPUTS; i++) {
        WF_UNROLL
        for (int b = 0; b < VECTORS; b++)
            sum[i][b] =
                p->starts_sums ? wf_vzero() : wf_vload(w + i * L + (size_t)b * w_vector_stride);
    }
    for (int n = 0; n < p->images; n++)
        for (int r = 0; r < p->rows; r++) {
            const float *src_row =
                x + (size_t)n * p->src_image_stride + (size_t)r * p->src_row_stride;
            const float *ddst_row =
                ddst + (size_t)n * p->ddst_image_stride + (size_t)r * p->ddst_row_stride;
            for (int c = 0; c < p->columns; c++, src_row += p->src_column_stride, ddst_row += L) {
                if (PREFETCH) {
                    __builtin_prefetch(at, 0, 2);
                    at += prefetch->step;
                }
                pixel(INPUTS, VECTORS, src_row, ddst_row, p->ddst_vector_stride, sum);
            }
        }
    WF_UNROLL
    for (int i = 0; i < INPUTS; i++) {
        WF_UNROLL
        for (int b = 0; b < VECTORS; b++)
            wf_vstore(w + i * L + (size_t)b * w_vector_stride, sum[i][b]);
    }
}

WF_INLINE void channels(const bool PREFETCH, int vectors, const gemm_pixels *p,
                        const gemm_prefetch_lines *prefetch, const float *x, const float *ddst,
                        float *w, size_t w_vector_stride)
{
    enum { HALF = L / 2 };
    if (vectors == 1) {
        channels_product(L, 1, PREFETCH, p, prefetch, x, ddst, w, w_vector_stride);
        return;
    }
    for (int i = 0; i < 2; i++, x += HALF, w += HALF * L) {
        const gemm_prefetch_lines *half = PREFETCH ? prefetch + i : NULL;
        if (vectors == 2)
            channels_product(HALF, 2, PREFETCH, p, half, x, ddst, w, w_vector_stride);
        else
            channels_product(HALF, 3, PREFETCH, p, half, x, ddst, w, w_vector_stride);
    }
}

void gemm_channels_product(int vectors, const gemm_pixels *p, const gemm_prefetch_lines prefetch[2],
                           const float *x, const float *ddst, float *w, size_t w_vector_stride)
{
    if (prefetch)
        channels(true, vectors, p, prefetch, x, ddst, w, w_vector_stride);
    else
        channels(false, vectors, p, NULL, x, ddst, w, w_vector_stride);
}

/* w[i][b] += sum over pixels of src * ddst[b] for INPUTS taps, whose src is at taps[i]: one value for each
 * pixel (PLAIN, PIXEL_FLOATS 1); or a vector, multiplied lane by lane (LANES, PIXEL_FLOATS L). */
WF_INLINE void taps_product(const int INPUTS, const int VECTORS, const int PIXEL_FLOATS,
                            const gemm_pixels *p, const float *const *taps, const float *ddst,
                            float *w, size_t w_vector_stride)
{
    if (INPUTS * VECTORS > GEMM_MAX_SUMS)
        return; /* nobody asks for it: the compiler leaves the code out */
    wf_vf sum[GEMM_MAX_TAPS_AT_ONCE][GEMM_MAX_OUTPUT_VECTORS];
    for (int i = 0; i < INPUTS; i++)
        for (int b = 0; b < VECTORS; b++)
            sum[i][b] = wf_vload(w + i * L + (size_t)b * w_vector_stride);
    for (int n = 0; n < p->images; n++)
        for (int r = 0; r < p->rows; r++) {
            const float *x[GEMM_MAX_TAPS_AT_ONCE];
            for (int i = 0; i < INPUTS; i++)
                x[i] = taps[i] + (size_t)n * p->src_image_stride + (size_t)r * p->src_row_stride;
            const float *ddst_row =
                ddst + (size_t)n * p->ddst_image_stride + (size_t)r * p->ddst_row_stride;
            for (size_t c = 0; c < (size_t)p->columns; c++) {
                if (INPUTS < VECTORS) { /* keep the fewer operands in registers */
                    wf_vf v[GEMM_MAX_TAPS_AT_ONCE];
                    for (int i = 0; i < INPUTS; i++)
                        v[i] = PIXEL_FLOATS == 1 ? wf_vset1(x[i][c]) : wf_vload(x[i] + c * L);
                    for (int b = 0; b < VECTORS; b++) {
                        wf_vf d = wf_vload(ddst_row + c * L + (size_t)b * p->ddst_vector_stride);
                        for (int i = 0; i < INPUTS; i++)
                            sum[i][b] = wf_vfma(v[i], d, sum[i][b]);
                    }
                } else {
                    wf_vf d[GEMM_MAX_OUTPUT_VECTORS];
                    for (int b = 0; b < VECTORS; b++)
                        d[b] = wf_vload(ddst_row + c * L + (size_t)b * p->ddst_vector_stride);
                    for (int i = 0; i < INPUTS; i++) {
                        wf_vf v = PIXEL_FLOATS == 1 ? wf_vset1(x[i][c]) : wf_vload(x[i] + c * L);
                        for (int b = 0; b < VECTORS; b++)
                            sum[i][b] = wf_vfma(v, d[b], sum[i][b]);
                    }
                }
            }
        }
    for (int i = 0; i < INPUTS; i++)
        for (int b = 0; b < VECTORS; b++)
            wf_vstore(w + i * L + (size_t)b * w_vector_stride, sum[i][b]);
}

WF_INLINE void taps_n(const int VECTORS, const int PIXEL_FLOATS, int n, const gemm_pixels *p,
                      const float *const *x, const float *ddst, float *w, size_t w_vector_stride)
{
    switch (n) {
    case 1: taps_product(1, VECTORS, PIXEL_FLOATS, p, x, ddst, w, w_vector_stride); break;
    case 2: taps_product(2, VECTORS, PIXEL_FLOATS, p, x, ddst, w, w_vector_stride); break;
    case 3: taps_product(3, VECTORS, PIXEL_FLOATS, p, x, ddst, w, w_vector_stride); break;
    case 4: taps_product(4, VECTORS, PIXEL_FLOATS, p, x, ddst, w, w_vector_stride); break;
    case 5: taps_product(5, VECTORS, PIXEL_FLOATS, p, x, ddst, w, w_vector_stride); break;
    case 6: taps_product(6, VECTORS, PIXEL_FLOATS, p, x, ddst, w, w_vector_stride); break;
    case 7: taps_product(7, VECTORS, PIXEL_FLOATS, p, x, ddst, w, w_vector_stride); break;
    case 8: taps_product(8, VECTORS, PIXEL_FLOATS, p, x, ddst, w, w_vector_stride); break;
    case 9: taps_product(9, VECTORS, PIXEL_FLOATS, p, x, ddst, w, w_vector_stride); break;
    }
}

static void plain_product(int vectors, int n, const gemm_pixels *p, const float *const *x,
                          const float *ddst, float *w, size_t w_vector_stride)
{
    switch (vectors) {
    case 1: taps_n(1, 1, n, p, x, ddst, w, w_vector_stride); break;
    case 2: taps_n(2, 1, n, p, x, ddst, w, w_vector_stride); break;
    case 3: taps_n(3, 1, n, p, x, ddst, w, w_vector_stride); break;
    case 4: taps_n(4, 1, n, p, x, ddst, w, w_vector_stride); break;
    }
}

/* ROTATE: w[i][j] += sum over pixels of x[i] * (ddst rotated by j). */
WF_INLINE void rotated_product(const int INPUTS, const int ROTATIONS, const gemm_pixels *p,
                               const gemm_prefetch_lines prefetch[2], const float *const *taps,
                               const float *ddst, const int32_t (*rotation)[L], float *w)
{
    if (INPUTS * ROTATIONS > GEMM_MAX_SUMS)
        return; /* nobody asks for it: the compiler leaves the code out */
    const char *at[2] = {prefetch[0].at, prefetch[1].at};
    wf_vf sum[GEMM_MAX_TAPS_AT_ONCE][GEMM_MAX_ROTATIONS];
    wf_vi from[GEMM_MAX_ROTATIONS];
    for (int j = 0; j < ROTATIONS; j++)
        from[j] = wf_vi_load(rotation[j]);
    for (int i = 0; i < INPUTS; i++)
        for (int j = 0; j < ROTATIONS; j++)
            sum[i][j] = wf_vload(w + (i * ROTATIONS + j) * L);
    for (int n = 0; n < p->images; n++)
        for (int r = 0; r < p->rows; r++) {
            const float *x[GEMM_MAX_TAPS_AT_ONCE];
            for (int i = 0; i < INPUTS; i++)
                x[i] = taps[i] + (size_t)n * p->src_image_stride + (size_t)r * p->src_row_stride;
            const float *ddst_row =
                ddst + (size_t)n * p->ddst_image_stride + (size_t)r * p->ddst_row_stride;
            for (size_t c = 0; c < (size_t)p->columns; c++) {
                for (int i = 0; i < 2; i++) {
                    __builtin_prefetch(at[i], 0, 2);
                    at[i] += prefetch[i].step;
                }
                wf_vf v[GEMM_MAX_TAPS_AT_ONCE], d = wf_vload(ddst_row + c * L);
                for (int i = 0; i < INPUTS; i++)
                    v[i] = wf_vload(x[i] + c * L);
                for (int j = 0; j < ROTATIONS; j++) {
                    wf_vf dj = j == 0 ? d : wf_vpermute(d, from[j]);
                    for (int i = 0; i < INPUTS; i++)
                        sum[i][j] = wf_vfma(v[i], dj, sum[i][j]);
                }
            }
        }
    for (int i = 0; i < INPUTS; i++)
        for (int j = 0; j < ROTATIONS; j++)
            wf_vstore(w + (i * ROTATIONS + j) * L, sum[i][j]);
}

WF_INLINE void rotated_n(const int ROTATIONS, int n, const gemm_pixels *p,
                         const gemm_prefetch_lines prefetch[2], const float *const *x,
                         const float *ddst, const int32_t (*rotation)[L], float *w)
{
    switch (n) {
    case 1: rotated_product(1, ROTATIONS, p, prefetch, x, ddst, rotation, w); break;
    case 2: rotated_product(2, ROTATIONS, p, prefetch, x, ddst, rotation, w); break;
    case 3: rotated_product(3, ROTATIONS, p, prefetch, x, ddst, rotation, w); break;
    case 4: rotated_product(4, ROTATIONS, p, prefetch, x, ddst, rotation, w); break;
    case 5: rotated_product(5, ROTATIONS, p, prefetch, x, ddst, rotation, w); break;
    case 6: rotated_product(6, ROTATIONS, p, prefetch, x, ddst, rotation, w); break;
    case 7: rotated_product(7, ROTATIONS, p, prefetch, x, ddst, rotation, w); break;
    case 8: rotated_product(8, ROTATIONS, p, prefetch, x, ddst, rotation, w); break;
    case 9: rotated_product(9, ROTATIONS, p, prefetch, x, ddst, rotation, w); break;
    }
}

static void rotate_product(int rotations, int n, const gemm_pixels *p,
                           const gemm_prefetch_lines prefetch[2], const float *const *x,
                           const float *ddst, const int32_t (*rotation)[L], float *w)
{
    switch (rotations) {
    case 1: rotated_n(1, n, p, prefetch, x, ddst, rotation, w); break;
    case 2: rotated_n(2, n, p, prefetch, x, ddst, rotation, w); break;
    case 4: rotated_n(4, n, p, prefetch, x, ddst, rotation, w); break;
#if WF_LANES == 16
    case 8: rotated_n(8, n, p, prefetch, x, ddst, rotation, w); break;
#endif
    }
}

void gemm_taps_product(gemm_kind kind, int vectors, int n, const gemm_pixels *p,
                       const gemm_prefetch_lines prefetch[2], const float *const *x,
                       const float *ddst, const int32_t (*rotation)[L], float *w,
                       size_t w_vector_stride)
{
    if (kind == GEMM_ROTATE)
        rotate_product(vectors, n, p, prefetch, x, ddst, rotation, w);
    else if (kind == GEMM_LANES)
        taps_n(1, L, n, p, x, ddst, w, 0);
    else
        plain_product(vectors, n, p, x, ddst, w, w_vector_stride);
}
