/* Implicit im2col and matrix product, forward and backward-data: groups of which a vector holds several,
 * Note [How channels meet], ROTATE. A set is one channel vector in and one out, so a row of outputs needs
 * few inputs, and the kernel reads them where the image has them. It goes through a block of rows row by
 * row, all residue classes of a row in turn: they read the same inputs, and write pixels side by side. */
#include "kernels/conv2d/gemm/forward.h"
#include "kernels/simd/cases.h"

enum { MAX_TAPS = 3 /* neighbouring taps that share one rotation of a pixel */ };

/* ---- the product in registers ---------------------------------------------------------------- */

/* The inputs that neighbouring taps of a row of the filter meet: pixel i is in column column + i * step. */
typedef struct rotated_input {
    const float *row; /* of the image */
    int column, step, columns;
} rotated_input;

/* What `pixels` outputs in a row are summed from. */
typedef struct rotated_product {
    const gemm_residue_class *class;
    const float *image; /* the channel vector's plane, of rows by columns pixels */
    int rows, columns;
    int row, first; /* the image row that offset 0 meets; the first pixel's column of outputs */
    const float *weights, *bias;  /* [tap][rotation][L]; [L] */
    const int32_t (*rotation)[L]; /* the lane that each lane takes, by rotation */
    size_t out_pixel;             /* floats from output to output */
} rotated_product;

/* sum[i] += the products of pixel i with TAPS taps. All of them meet the same pixels, so each pixel is
 * rotated once for all. ROTATIONS is the size of a group. */
WF_INLINE void add_taps(const int PIXELS, const int ROTATIONS, const int TAPS,
                        const int32_t (*rotation)[L], rotated_input x, const float *w,
                        wf_vf sum[GEMM_MAX_PIXELS])
{
    wf_vf pixel[GEMM_MAX_PIXELS + MAX_TAPS - 1];
    if (x.column >= 0 && x.column + (PIXELS + TAPS - 2) * x.step < x.columns) {
        const float *at = x.row + (size_t)x.column * L;
        const size_t step = (size_t)x.step * L;
        UNROLL_SUMS
        for (int i = 0; i < PIXELS + TAPS - 1; i++)
            pixel[i] = wf_vload(at + (size_t)i * step);
    } else {
        UNROLL_SUMS
        for (int i = 0; i < PIXELS + TAPS - 1; i++) {
            const int column = x.column + i * x.step;
            const bool is = (unsigned)column < (unsigned)x.columns;
            pixel[i] = wf_vload_n(x.row + (is ? (size_t)column * L : 0), is ? L : 0);
        }
    }
#pragma GCC unroll 1
    for (int j = 0; j < ROTATIONS; j++, w += L) {
        const wf_vi from = wf_vi_load(rotation[j]);
        wf_vf wt[MAX_TAPS];
        UNROLL_SUMS
        for (int t = 0; t < TAPS; t++)
            wt[t] = wf_vload(w + t * ROTATIONS * L);
        UNROLL_SUMS
        for (int i = 0; i < PIXELS + TAPS - 1; i++) {
            const wf_vf v = wf_vpermute(pixel[i], from);
            UNROLL_SUMS
            for (int t = 0; t < TAPS; t++)
                if (i >= t && i - t < PIXELS)
                    sum[i - t] = wf_vfma(v, wt[t], sum[i - t]);
        }
    }
}

/* out[i] = bias + sum over taps and rotations j of what output i meets, rotated by j, times w[tap][j].
 * Taps whose row lies in the padding are left out. */
WF_INLINE void multiply(const int PIXELS, const int ROTATIONS, const rotated_product *p, float *out)
{
    const gemm_axis *h = p->class->h, *w = p->class->w;
    wf_vf sum[GEMM_MAX_PIXELS];
    UNROLL_SUMS
    for (int i = 0; i < PIXELS; i++) {
        __builtin_prefetch(out + (size_t)i * p->out_pixel, 1, 3);
        sum[i] = wf_vload(p->bias);
    }
    const float *weights = p->weights;
    for (int r = 0; r < h->taps; r++) {
        const int row = p->row + h->offset[r];
        if (row < 0 || row >= p->rows) {
            weights += w->taps * ROTATIONS * L;
            continue;
        }
        for (int s = 0, run; s < w->taps; s += run, weights += run * ROTATIONS * L) {
            const int *at = w->offset + s, left = w->taps - s, step = w->input_step;
            const rotated_input x = {p->image + (size_t)row * (size_t)p->columns * L,
                                     *at + p->first * step, step, p->columns};
            run = left > 1 && at[1] == at[0] + step ? left > 2 && at[2] == at[0] + 2 * step ? 3 : 2
                                                    : 1;
            if (run == 3)
                add_taps(PIXELS, ROTATIONS, 3, p->rotation, x, weights, sum);
            else if (run == 2)
                add_taps(PIXELS, ROTATIONS, 2, p->rotation, x, weights, sum);
            else
                add_taps(PIXELS, ROTATIONS, 1, p->rotation, x, weights, sum);
        }
    }
    UNROLL_SUMS
    for (int i = 0; i < PIXELS; i++)
        wf_vstore(out + (size_t)i * p->out_pixel, sum[i]);
}

/* Calls the product for the number of pixels. */
WF_INLINE void multiply_n(const int ROTATIONS, int pixels, const rotated_product *p, float *out)
{
#define CASE(PIXELS)                                                                               \
    case PIXELS: multiply(PIXELS, ROTATIONS, p, out); break;
    switch (pixels) {
#if WF_LANES == 16
        WF_CASES_14(CASE)
#else
        WF_CASES_12(CASE)
#endif
    }
#undef CASE
}

typedef void rotated_fn(int pixels, const rotated_product *p, float *out);

#define PRODUCT(ROTATIONS)                                                                         \
    static void rotate_##ROTATIONS(int pixels, const rotated_product *p, float *out)               \
    {                                                                                              \
        multiply_n(ROTATIONS, pixels, p, out);                                                     \
    }
PRODUCT(1)
PRODUCT(2)
PRODUCT(4)
#if WF_LANES == 16
PRODUCT(8)
#endif
#undef PRODUCT

/* By the size of a group. */
static rotated_fn *const products[GEMM_MAX_ROTATIONS + 1] = {
    [1] = rotate_1,
    [2] = rotate_2,
    [4] = rotate_4,
#if WF_LANES == 16
    [8] = rotate_8,
#endif
};

/* ---- the loops ------------------------------------------------------------------------------- */

void gemm_run_rotated(const gemm_image_part *m, gemm_region region, gemm_input_lines *lines,
                      int lines_per_product)
{
    const gemm_forward *s = m->s;
    const gemm_geometry *g = m->g;
    const int channel = gemm_first_output(g, region.set, 0);
    rotated_fn *product = products[g->group_outputs];
    float bias[L];
    gemm_load_bias(m, channel, 1, bias);
    const float *image = (const float *)m->in.x + wf_act_index(g->in, channel, 0, 0);
    for (int i = region.row_begin; i < region.row_begin + region.rows; i++)
        for (int j = 0; j < s->n_classes; j++) {
            const gemm_residue_class *c = &s->classes[j];
            if (gemm_class_taps(c) == 0 || i >= c->h->outputs || i >= m->row_end)
                continue;
            rotated_product p = {.class = c,
                                 .image = image,
                                 .rows = g->in.H,
                                 .columns = g->in.W,
                                 .row = i * c->h->input_step,
                                 .weights = gemm_weights_of(m, c, region.set, 0, 0),
                                 .bias = bias,
                                 .rotation = s->rotation,
                                 .out_pixel = (size_t)c->w->output_step * L};
            float *out =
                m->out + wf_act_index(g->out, channel, c->h->first_output + i * c->h->output_step,
                                      c->w->first_output);
            const int pixels = c->w->outputs, subblocks = gemm_pixel_subblocks(pixels, 1);
            for (int k = 0, n; k < subblocks; k++, p.first += n) {
                n = pixels / subblocks + (k < pixels % subblocks);
                if (lines->vectors_left > 0) {
                    const float *line = gemm_take_lines(lines, (size_t)lines_per_product, image);
                    for (int l = 0; l < lines_per_product; l++)
                        __builtin_prefetch(line + l * 16, 0, 2);
                }
                product(n, &p, out + (size_t)p.first * p.out_pixel);
            }
        }
}
