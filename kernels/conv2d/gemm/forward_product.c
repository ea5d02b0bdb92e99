/* Implicit im2col and matrix product, forward and backward-data: the products in registers; but
 * forward_rotate.c has ROTATE's. Pure. */
#include "kernels/conv2d/gemm/forward.h"
#include "kernels/simd/cases.h"

static const float zero[L];

/* How far the panel of the next subblock is filled. */
typedef struct filling {
    float *panel;
    const float *input;
    const int32_t *place;
} filling;

WF_INLINE void fill_term(const int PIXELS, const gemm_panel_fill *fill, filling *f)
{
    UNROLL_SUMS
    for (int i = 0; i < PIXELS; i++)
        wf_vstore(f->panel + i * L, wf_vload(f->place[i] < 0 ? zero : f->input + f->place[i]));
    f->panel += (size_t)fill->pixels * L;
    f->place += fill->pixels;
    if (f->place == fill->place + fill->taps * fill->pixels) {
        f->place = fill->place;
        f->input += fill->vector_stride;
    }
}

/* sum[i][b] += sum over channels c of x[i * CHANNELS + c] * w[c][b], for pixels [FIRST, END). */
WF_INLINE void add_term(const int FIRST, const int END, const int VECTORS, const int CHANNELS,
                        const float *x, const float *w,
                        wf_vf sum[GEMM_MAX_PIXELS][GEMM_MAX_OUTPUT_VECTORS])
{
#pragma GCC unroll 4
    for (int c = 0; c < CHANNELS; c++, w += VECTORS * L)
        if (END - FIRST < VECTORS) { /* keep the fewer operands in registers */
            wf_vf v[GEMM_MAX_PIXELS];
            for (int i = FIRST; i < END; i++)
                v[i] = wf_vset1(x[i * CHANNELS + c]);
            for (int b = 0; b < VECTORS; b++) {
                wf_vf wb = wf_vload(w + b * L);
                for (int i = FIRST; i < END; i++)
                    sum[i][b] = wf_vfma(v[i], wb, sum[i][b]);
            }
        } else {
            wf_vf v[GEMM_MAX_OUTPUT_VECTORS];
            for (int b = 0; b < VECTORS; b++)
                v[b] = wf_vload(w + b * L);
            for (int i = FIRST; i < END; i++) {
                wf_vf xi = wf_vset1(x[i * CHANNELS + c]);
                for (int b = 0; b < VECTORS; b++)
                    sum[i][b] = wf_vfma(xi, v[b], sum[i][b]);
            }
        }
}

/* The kinds of product, besides the number of pixels and output vectors. */
typedef enum product_kind {
    WHOLE,   /* multiplies every pixel of every term */
    BORDERS, /* Note [Borders] */
    FILL     /* fills the panel of the next subblock, too */
} product_kind;

/* out[i][b] += sum over terms t and channels c of x[term_offset[t] + i * CHANNELS + c] * w[t][c][b], for
 * PIXELS pixels and VECTORS output vectors. CHANNELS are those of a term, and floats from pixel to pixel.
 * All in capitals are constants at every call, so that the sums stay in registers. */
WF_INLINE void multiply(const int PIXELS, const int VECTORS, const int CHANNELS,
                        const product_kind KIND, const gemm_product *p,
                        const gemm_forward_prefetch *next, const float *x, float *out)
{
    if (PIXELS * VECTORS > GEMM_MAX_SUMS)
        return; /* nobody asks for it: the compiler leaves the code out */
    wf_vf sum[GEMM_MAX_PIXELS][GEMM_MAX_OUTPUT_VECTORS];
    const size_t vector_stride = p->output_vector_stride, terms = p->terms;
    const int32_t *output_offset = p->output_offset;
    if (p->bias) {
        UNROLL_SUMS
        for (int i = 0; i < PIXELS; i++) {
            UNROLL_SUMS
            for (int b = 0; b < VECTORS; b++) {
                __builtin_prefetch(out + output_offset[i] + (size_t)b * vector_stride, 1, 3);
                sum[i][b] = wf_vload(p->bias + b * L);
            }
        }
    } else {
        UNROLL_SUMS
        for (int i = 0; i < PIXELS; i++) {
            UNROLL_SUMS
            for (int b = 0; b < VECTORS; b++)
                sum[i][b] = wf_vload(out + output_offset[i] + (size_t)b * vector_stride);
        }
    }
    const size_t TERM = (size_t)(CHANNELS * VECTORS * L); /* floats of weights */
    const size_t *term_offset = p->term_offset + p->run_begin;
    const float *w = p->weights + p->run_begin * TERM;
    const float *next_input = next->input, *next_weights = next->weights;
    const size_t input_step = next->input_step, run = p->run, skipped = p->period - run;
    filling f = {next->fill.panel, next->fill.input, next->fill.place};
    size_t run_left = run, left = terms;
    int column = 0;
    for (;;) {
        const float *xt = x + *term_offset;
        if (KIND == FILL)
            fill_term(PIXELS, &next->fill, &f);
        if (CHANNELS > 1) {
            if (KIND != FILL) /* the pixels of the next subblock */
                for (int i = 0; i < PIXELS * L; i += 16)
                    __builtin_prefetch(xt + PIXELS * L + i, 0, 3);
            __builtin_prefetch(next_input, 0, 2);
            __builtin_prefetch(next_weights, 0, 2);
            next_input += input_step;
            next_weights += 16;
        }
        gemm_border border = GEMM_NO_BORDER;
        if (KIND == BORDERS) {
            border = p->border[column];
            column = column + 1 < p->columns ? column + 1 : 0;
        }
        switch (KIND == BORDERS && PIXELS > 2 ? border : GEMM_NO_BORDER) {
        case GEMM_NO_BORDER: add_term(0, PIXELS, VECTORS, CHANNELS, xt, w, sum); break;
        case GEMM_FIRST: add_term(1, PIXELS, VECTORS, CHANNELS, xt, w, sum); break;
        case GEMM_FIRST_TWO: add_term(2, PIXELS, VECTORS, CHANNELS, xt, w, sum); break;
        case GEMM_LAST: add_term(0, PIXELS - 1, VECTORS, CHANNELS, xt, w, sum); break;
        case GEMM_LAST_TWO: add_term(0, PIXELS - 2, VECTORS, CHANNELS, xt, w, sum); break;
        }
        if (--left == 0)
            break;
        term_offset++;
        w += TERM;
        if (--run_left == 0) {
            run_left = run;
            term_offset += skipped;
            w += skipped * TERM;
        }
    }
    UNROLL_SUMS
    for (int i = 0; i < PIXELS; i++) {
        float *to = out + p->output_offset[i];
        UNROLL_SUMS
        for (int b = 0; b < VECTORS; b++)
            wf_vstore(to + (size_t)b * vector_stride, sum[i][b]);
    }
}

/* LANES: out[i] += sum over terms t of x[term_offset[t] + i * L] * w[t], lane by lane. */
WF_INLINE void multiply_lanes(const int PIXELS, const gemm_product *p, const float *x, float *out)
{
    wf_vf sum[GEMM_MAX_PIXELS];
    UNROLL_SUMS
    for (int i = 0; i < PIXELS; i++)
        sum[i] = wf_vload(p->bias ? p->bias : out + p->output_offset[i]);
    for (size_t first = p->run_begin, done = 0; done < p->terms; done += p->run, first += p->period)
        for (size_t t = first; t < first + p->run; t++) {
            const float *xt = x + p->term_offset[t];
            wf_vf f = wf_vload(p->weights + t * L);
            UNROLL_SUMS
            for (int i = 0; i < PIXELS; i++)
                sum[i] = wf_vfma(wf_vload(xt + i * L), f, sum[i]);
        }
    UNROLL_SUMS
    for (int i = 0; i < PIXELS; i++)
        wf_vstore(out + p->output_offset[i], sum[i]);
}

/* Calls the product for the number of pixels. */
WF_INLINE void multiply_n(const gemm_kind CHANNELS, const int VECTORS, const product_kind KIND,
                          int pixels, const gemm_product *p, const gemm_forward_prefetch *next,
                          const float *x, float *out)
{
#define CASE(PIXELS)                                                                               \
    case PIXELS:                                                                                   \
        if (CHANNELS == GEMM_LANES)                                                                \
            multiply_lanes(PIXELS, p, x, out);                                                     \
        else                                                                                       \
            multiply(PIXELS, VECTORS, CHANNELS == GEMM_DENSE ? L : 1, KIND, p, next, x, out);      \
        break;
    switch (pixels) {
#if WF_LANES == 16
        WF_CASES_14(CASE)
#else
        WF_CASES_12(CASE)
#endif
    }
#undef CASE
}

/* A function for each kind and number of vectors. Only dense ones fill the panel of the next subblock, or
 * leave out pixels. */
#define PRODUCT(name, CHANNELS, VECTORS)                                                           \
    static void name(int pixels, const gemm_product *p, const gemm_forward_prefetch *next,         \
                     const float *x, float *out)                                                   \
    {                                                                                              \
        for (int i = 0; i < next->extra_lines; i++)                                                \
            __builtin_prefetch(next->extra + i * 16, 0, 2);                                        \
        if (CHANNELS == GEMM_DENSE && next->fill.panel)                                            \
            multiply_n(CHANNELS, VECTORS, FILL, pixels, p, next, x, out);                          \
        else if (CHANNELS == GEMM_DENSE && p->border)                                              \
            multiply_n(CHANNELS, VECTORS, BORDERS, pixels, p, next, x, out);                       \
        else                                                                                       \
            multiply_n(CHANNELS, VECTORS, WHOLE, pixels, p, next, x, out);                         \
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
#undef PRODUCT

/* By the output vectors of a pixel. */
static gemm_product_fn *const products[][GEMM_MAX_OUTPUT_VECTORS + 1] = {
    [GEMM_DENSE] = {NULL, dense_1, dense_2, dense_3, dense_4},
    [GEMM_PLAIN] = {NULL, plain_1, plain_2, plain_3, plain_4},
    [GEMM_LANES] = {NULL, lanes_1},
};

gemm_product_fn *gemm_product_of(gemm_kind kind, int vectors)
{
    return products[kind][vectors];
}
