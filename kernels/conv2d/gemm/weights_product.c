/* Implicit im2col and matrix product, backward-weights: the products in registers. Pure. */
#include "kernels/conv2d/gemm/weights.h"

/* sum[i][b] += x[i] * dy[b], for NX channels of an input vector and NB vectors of outputs. */
WF_INLINE void pixel(const int NX, const int NB, const float *x, const float *dy, size_t dy_block,
                     wf_vf sum[L][GEMM_NV])
{
    wf_vf v[GEMM_NV];
    WF_UNROLL
    for (int b = 0; b < NB; b++)
        v[b] = wf_vload(dy + (size_t)b * dy_block);
    WF_UNROLL
    for (int i = 0; i < NX; i++) {
        wf_vf xi = wf_vset1(x[i]);
        WF_UNROLL
        for (int b = 0; b < NB; b++)
            sum[i][b] = wf_vfma(xi, v[b], sum[i][b]);
    }
}

/* w[i][b] += sum over pixels of x[i] * dy[b]. NX, NB and whether anything is brought in AHEAD are
 * constants where this is called, so that the sums stay in registers. */
WF_INLINE void channels_product(const int NX, const int NB, const bool AHEAD, const gemm_pixels *p,
                                const gemm_stretch *ahead, const float *x, const float *dy,
                                float *w, size_t w_block)
{
    wf_vf sum[L][GEMM_NV];
    const char *at = AHEAD ? ahead->at : NULL;
    WF_UNROLL
    for (int i = 0; i < NX; i++) {
        WF_UNROLL
        for (int b = 0; b < NB; b++)
            sum[i][b] = p->first ? wf_vzero() : wf_vload(w + i * L + (size_t)b * w_block);
    }
    for (int n = 0; n < p->images; n++)
        for (int r = 0; r < p->rows; r++) {
            const float *xr = x + (size_t)n * p->x_image + (size_t)r * p->x_row;
            const float *dr = dy + (size_t)n * p->dy_image + (size_t)r * p->dy_row;
            for (int c = 0; c < p->columns; c++, xr += p->x_column, dr += L) {
                if (AHEAD) {
                    __builtin_prefetch(at, 0, 2);
                    at += ahead->step;
                }
                pixel(NX, NB, xr, dr, p->dy_block, sum);
            }
        }
    WF_UNROLL
    for (int i = 0; i < NX; i++) {
        WF_UNROLL
        for (int b = 0; b < NB; b++)
            wf_vstore(w + i * L + (size_t)b * w_block, sum[i][b]);
    }
}

WF_INLINE void channels(const bool AHEAD, int NB, const gemm_pixels *p, const gemm_stretch *ahead,
                        const float *x, const float *dy, float *w, size_t w_block)
{
    enum { HALF = L / 2 };
    if (NB == 1) {
        channels_product(L, 1, AHEAD, p, ahead, x, dy, w, w_block);
        return;
    }
    for (int i = 0; i < 2; i++, x += HALF, w += HALF * L) {
        const gemm_stretch *half = AHEAD ? ahead + i : NULL;
        if (NB == 2)
            channels_product(HALF, 2, AHEAD, p, half, x, dy, w, w_block);
        else
            channels_product(HALF, 3, AHEAD, p, half, x, dy, w, w_block);
    }
}

void gemm_channels_product(int NB, const gemm_pixels *p, const gemm_stretch ahead[2],
                           const float *x, const float *dy, float *w, size_t w_block)
{
    if (ahead)
        channels(true, NB, p, ahead, x, dy, w, w_block);
    else
        channels(false, NB, p, NULL, x, dy, w, w_block);
}

/* The same for NX taps, whose src is at x[i]: single values, UNIT 1; or vectors, UNIT L, of which lane
 * meets lane. */
WF_INLINE void taps_product(const int NX, const int NB, const int UNIT, const gemm_pixels *p,
                            const float *const *taps, const float *dy, float *w, size_t w_block)
{
    if (NX * NB > GEMM_SUMS)
        return; /* is never asked for: no code */
    wf_vf sum[GEMM_TERMS][GEMM_NV];
    for (int i = 0; i < NX; i++)
        for (int b = 0; b < NB; b++)
            sum[i][b] = wf_vload(w + i * L + (size_t)b * w_block);
    for (int n = 0; n < p->images; n++)
        for (int r = 0; r < p->rows; r++) {
            const float *x[GEMM_TERMS];
            for (int i = 0; i < NX; i++)
                x[i] = taps[i] + (size_t)n * p->x_image + (size_t)r * p->x_row;
            const float *dr = dy + (size_t)n * p->dy_image + (size_t)r * p->dy_row;
            for (size_t c = 0; c < (size_t)p->columns; c++) {
                if (NX < NB) { /* the fewer stay in registers */
                    wf_vf v[GEMM_TERMS];
                    for (int i = 0; i < NX; i++)
                        v[i] = UNIT == 1 ? wf_vset1(x[i][c]) : wf_vload(x[i] + c * L);
                    for (int b = 0; b < NB; b++) {
                        wf_vf d = wf_vload(dr + c * L + (size_t)b * p->dy_block);
                        for (int i = 0; i < NX; i++)
                            sum[i][b] = wf_vfma(v[i], d, sum[i][b]);
                    }
                } else {
                    wf_vf d[GEMM_NV];
                    for (int b = 0; b < NB; b++)
                        d[b] = wf_vload(dr + c * L + (size_t)b * p->dy_block);
                    for (int i = 0; i < NX; i++) {
                        wf_vf v = UNIT == 1 ? wf_vset1(x[i][c]) : wf_vload(x[i] + c * L);
                        for (int b = 0; b < NB; b++)
                            sum[i][b] = wf_vfma(v, d[b], sum[i][b]);
                    }
                }
            }
        }
    for (int i = 0; i < NX; i++)
        for (int b = 0; b < NB; b++)
            wf_vstore(w + i * L + (size_t)b * w_block, sum[i][b]);
}

WF_INLINE void taps_n(const int NB, const int UNIT, int n, const gemm_pixels *p,
                      const float *const *x, const float *dy, float *w, size_t w_block)
{
    switch (n) {
    case 1: taps_product(1, NB, UNIT, p, x, dy, w, w_block); break;
    case 2: taps_product(2, NB, UNIT, p, x, dy, w, w_block); break;
    case 3: taps_product(3, NB, UNIT, p, x, dy, w, w_block); break;
    case 4: taps_product(4, NB, UNIT, p, x, dy, w, w_block); break;
    case 5: taps_product(5, NB, UNIT, p, x, dy, w, w_block); break;
    case 6: taps_product(6, NB, UNIT, p, x, dy, w, w_block); break;
    case 7: taps_product(7, NB, UNIT, p, x, dy, w, w_block); break;
    case 8: taps_product(8, NB, UNIT, p, x, dy, w, w_block); break;
    case 9: taps_product(9, NB, UNIT, p, x, dy, w, w_block); break;
    }
}

static void plain_product(int NB, int n, const gemm_pixels *p, const float *const *x,
                          const float *dy, float *w, size_t w_block)
{
    switch (NB) {
    case 1: taps_n(1, 1, n, p, x, dy, w, w_block); break;
    case 2: taps_n(2, 1, n, p, x, dy, w, w_block); break;
    case 3: taps_n(3, 1, n, p, x, dy, w, w_block); break;
    case 4: taps_n(4, 1, n, p, x, dy, w, w_block); break;
    }
}

/* The same, rotated (ROTATE): w[i][j] += x[i] * what ddst is rotated by j. */
WF_INLINE void rotated_product(const int NX, const int J, const gemm_pixels *p,
                               const gemm_stretch ahead[2], const float *const *taps,
                               const float *dy, const int32_t (*rotation)[L], float *w)
{
    if (NX * J > GEMM_SUMS)
        return; /* is never asked for: no code */
    const char *at[2] = {ahead[0].at, ahead[1].at};
    wf_vf sum[GEMM_TERMS][GEMM_J];
    wf_vi from[GEMM_J];
    for (int j = 0; j < J; j++)
        from[j] = wf_vi_load(rotation[j]);
    for (int i = 0; i < NX; i++)
        for (int j = 0; j < J; j++)
            sum[i][j] = wf_vload(w + (i * J + j) * L);
    for (int n = 0; n < p->images; n++)
        for (int r = 0; r < p->rows; r++) {
            const float *x[GEMM_TERMS];
            for (int i = 0; i < NX; i++)
                x[i] = taps[i] + (size_t)n * p->x_image + (size_t)r * p->x_row;
            const float *dr = dy + (size_t)n * p->dy_image + (size_t)r * p->dy_row;
            for (size_t c = 0; c < (size_t)p->columns; c++) {
                for (int i = 0; i < 2; i++) {
                    __builtin_prefetch(at[i], 0, 2);
                    at[i] += ahead[i].step;
                }
                wf_vf v[GEMM_TERMS], d = wf_vload(dr + c * L);
                for (int i = 0; i < NX; i++)
                    v[i] = wf_vload(x[i] + c * L);
                for (int j = 0; j < J; j++) {
                    wf_vf dj = j == 0 ? d : wf_vpermute(d, from[j]);
                    for (int i = 0; i < NX; i++)
                        sum[i][j] = wf_vfma(v[i], dj, sum[i][j]);
                }
            }
        }
    for (int i = 0; i < NX; i++)
        for (int j = 0; j < J; j++)
            wf_vstore(w + (i * J + j) * L, sum[i][j]);
}

WF_INLINE void rotated_n(const int J, int n, const gemm_pixels *p, const gemm_stretch ahead[2],
                         const float *const *x, const float *dy, const int32_t (*rotation)[L],
                         float *w)
{
    switch (n) {
    case 1: rotated_product(1, J, p, ahead, x, dy, rotation, w); break;
    case 2: rotated_product(2, J, p, ahead, x, dy, rotation, w); break;
    case 3: rotated_product(3, J, p, ahead, x, dy, rotation, w); break;
    case 4: rotated_product(4, J, p, ahead, x, dy, rotation, w); break;
    case 5: rotated_product(5, J, p, ahead, x, dy, rotation, w); break;
    case 6: rotated_product(6, J, p, ahead, x, dy, rotation, w); break;
    case 7: rotated_product(7, J, p, ahead, x, dy, rotation, w); break;
    case 8: rotated_product(8, J, p, ahead, x, dy, rotation, w); break;
    case 9: rotated_product(9, J, p, ahead, x, dy, rotation, w); break;
    }
}

static void rotate_product(int J, int n, const gemm_pixels *p, const gemm_stretch ahead[2],
                           const float *const *x, const float *dy, const int32_t (*rotation)[L],
                           float *w)
{
    switch (J) {
    case 1: rotated_n(1, n, p, ahead, x, dy, rotation, w); break;
    case 2: rotated_n(2, n, p, ahead, x, dy, rotation, w); break;
    case 4: rotated_n(4, n, p, ahead, x, dy, rotation, w); break;
#if WF_LANES == 16
    case 8: rotated_n(8, n, p, ahead, x, dy, rotation, w); break;
#endif
    }
}

void gemm_taps_product(gemm_kind kind, int NB, int n, const gemm_pixels *p,
                       const gemm_stretch ahead[2], const float *const *x, const float *dy,
                       const int32_t (*rotation)[L], float *w, size_t w_block)
{
    if (kind == GEMM_ROTATE)
        rotate_product(NB, n, p, ahead, x, dy, rotation, w);
    else if (kind == GEMM_LANES)
        taps_n(1, L, n, p, x, dy, w, 0);
    else
        plain_product(NB, n, p, x, dy, w, w_block);
}
