/* Errors of the convolution kernels; see errors.h. One thread, one worker. */
#include "bench/errors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/conv2d/conv2d.h"

enum { EDGE = 14, IMAGES = 2, LEAST = 16, MOST = 512 };

/* ---- numbers --------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Box and Muller's normal numbers. */
static float normal(uint64_t *state)
{
    double u = ((double)(mix(state) >> 11) + 1) * 0x1p-53, v = (double)(mix(state) >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* ---- one pass of one kernel ------------------------------------------------------------------ */

/* The plain operands of a pass, in both types; `out` is of the pass that is asked for. */
typedef struct operands {
    wf_conv2d_desc d; /* plain, f32 */
    float *x, *w, *dy;
    double *x64, *w64, *dy64;
    size_t n_x, n_w, n_y;
} operands;

static void to_act(const float *plain, wf_act a, float *to)
{
    memset(to, 0, wf_act_count(a) * sizeof *to);
    for (int c = 0; c < a.C; c++)
        for (int h = 0; h < a.H; h++)
            for (int w = 0; w < a.W; w++)
                to[wf_act_index(a, c, h, w)] = *plain++;
}

static void from_act(const float *from, wf_act a, double *plain)
{
    for (int c = 0; c < a.C; c++)
        for (int h = 0; h < a.H; h++)
            for (int w = 0; w < a.W; w++)
                *plain++ = from[wf_act_index(a, c, h, w)];
}

static void *memory(size_t bytes)
{
    bytes = (bytes + 127) / 64 * 64;
    void *p = aligned_alloc(64, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

/* Runs k over buffers in its layout: in, weights or the second gradient operand, out. */
static bool run(const wf_conv2d *k, void *src, void *weights, void *dst)
{
    const wf_conv2d_desc *d = &k->desc;
    const size_t element = weft_dtype_size(d->src_type);
    const size_t src_stride = wf_act_count(wf_conv2d_src(d)) * element;
    const size_t dst_stride = wf_act_count(wf_conv2d_dst(d)) * element;
    const size_t partial_sum = (k->partial_sum_bytes + 63) / 64 * 64;
    const bool gradient = k->pass == WF_CONV2D_BACKWARD_WEIGHTS;
    const bool forward = k->pass == WF_CONV2D_FORWARD;
    char *packed = memory(k->packed_bytes), *scratch = memory(k->scratch_bytes);
    char *partial_sums = memory(gradient ? partial_sum * (size_t)k->splits : 0);
    bool good = packed && scratch && partial_sums;
    if (good && gradient) {
        const wf_conv2d_gradient_io io = {
            .src = src, .src_stride = src_stride, .ddst = dst, .ddst_stride = dst_stride};
        for (int i = 0; i < k->splits * k->parts; i++)
            good &= wf_conv2d_backward_weights(k, 0, &io, partial_sums, partial_sum, scratch, i) ==
                    WEFT_OK;
        for (int i = 0; i < k->reduce_tiles; i++)
            good &= wf_conv2d_reduce(k, 0, partial_sums, partial_sum, weights, i) == WEFT_OK;
    } else if (good) {
        for (int i = 0; k->packed_bytes && i < k->pack_tiles; i++)
            good &= wf_conv2d_pack(k, 0, weights, packed, i) == WEFT_OK;
        wf_conv2d_io io = {.in = forward ? src : dst,
                           .in_stride = forward ? src_stride : dst_stride,
                           .weights = k->packed_bytes ? packed : weights,
                           .out = forward ? dst : src,
                           .out_stride = forward ? dst_stride : src_stride};
        for (int i = 0; i < wf_conv2d_tiles(k); i++)
            good &= wf_conv2d_run(k, 0, &io, scratch, i) == WEFT_OK;
    }
    free(packed);
    free(scratch);
    free(partial_sums);
    return good;
}

/* The output of k in plain order, as double; NULL when memory is out. */
static double *output(const operands *t, const wf_conv2d *k)
{
    const wf_conv2d_desc *d = &k->desc;
    wf_act src = wf_conv2d_src(d), dst = wf_conv2d_dst(d);
    const size_t x = t->n_x / IMAGES, y = t->n_y / IMAGES;
    float *s = memory(wf_act_count(src) * IMAGES * sizeof *s), *w = memory(t->n_w * sizeof *w);
    float *r = memory(wf_act_count(dst) * IMAGES * sizeof *r);
    double *out = memory((t->n_x + t->n_w + t->n_y) * sizeof *out); /* more than any pass needs */
    bool good = s && w && r && out;
    for (size_t n = 0; good && n < IMAGES; n++) {
        to_act(t->x + n * x, src, s + n * wf_act_count(src));
        to_act(t->dy + n * y, dst, r + n * wf_act_count(dst));
    }
    if (good) {
        memcpy(w, t->w, t->n_w * sizeof *w);
        good = run(k, s, w, r);
    }
    for (size_t n = 0; good && n < IMAGES; n++) {
        if (k->pass == WF_CONV2D_FORWARD)
            from_act(r + n * wf_act_count(dst), dst, out + n * y);
        if (k->pass == WF_CONV2D_BACKWARD_DATA)
            from_act(s + n * wf_act_count(src), src, out + n * x);
    }
    for (size_t i = 0; good && k->pass == WF_CONV2D_BACKWARD_WEIGHTS && i < t->n_w; i++)
        out[i] = w[i];
    free(s);
    free(w);
    free(r);
    if (!good) {
        free(out);
        out = NULL;
    }
    return out;
}

static double *exact(const operands *t, wf_conv2d_pass pass)
{
    wf_conv2d_desc d = t->d;
    char why[160];
    d.src_type = d.weights_type = d.dst_type = WEFT_F64;
    const wf_conv2d_impl *ref = wf_conv2d_impls[wf_conv2d_n_impls - 1];
    wf_conv2d *k = wf_conv2d_create_impl(ref, &d, pass, WEFT_ISA_SCALAR, 1, why, sizeof why);
    const size_t sizes[3] = {t->n_y, t->n_x, t->n_w}, n = sizes[pass];
    double *out = memory(n * sizeof *out);
    bool good = k && out;
    if (good && pass == WF_CONV2D_FORWARD)
        good = run(k, t->x64, t->w64, out);
    if (good && pass == WF_CONV2D_BACKWARD_DATA)
        good = run(k, out, t->w64, t->dy64);
    if (good && pass == WF_CONV2D_BACKWARD_WEIGHTS)
        good = run(k, t->x64, out, t->dy64);
    wf_conv2d_destroy(k);
    if (!good) {
        free(out);
        out = NULL;
    }
    return out;
}

/* ---- the table ------------------------------------------------------------------------------- */

static float *draw(size_t n, double scale, bool positive, uint64_t seed, double **wide)
{
    float *p = memory(n * sizeof *p);
    *wide = memory(n * sizeof **wide);
    for (size_t i = 0; p && *wide && i < n; i++) {
        float z = normal(&seed);
        p[i] = (float)scale * (positive ? fabsf(z) : z);
        (*wide)[i] = p[i];
    }
    return p;
}

static bool operands_create(operands *t, int channels)
{
    t->d = (wf_conv2d_desc){.N = IMAGES,
                            .C = channels,
                            .H = EDGE,
                            .W = EDGE,
                            .K = channels,
                            .R = 3,
                            .S = 3,
                            .stride = {1, 1},
                            .padding = {1, 1},
                            .dilation = {1, 1},
                            .groups = 1,
                            .src_block = 1,
                            .dst_block = 1};
    wf_conv2d_output(&t->d);
    t->n_x = t->n_y = (size_t)IMAGES * (size_t)channels * EDGE * EDGE;
    t->n_w = wf_conv2d_weights_count(&t->d);
    t->x = draw(t->n_x, 1, true, 1, &t->x64);
    t->w = draw(t->n_w, sqrt(2.0 / (9 * channels)), false, 2, &t->w64);
    t->dy = draw(t->n_y, 1, false, 3, &t->dy64);
    return t->x && t->x64 && t->w && t->w64 && t->dy && t->dy64;
}

static void operands_destroy(operands *t)
{
    void *all[] = {t->x, t->x64, t->w, t->w64, t->dy, t->dy64};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* One line: the largest and the root mean square error over the root mean square of the output,
 * both in units of the last place of a float (2^-24). */
static bool print_line(const operands *t, const wf_conv2d *k, const double *want, size_t n,
                       FILE *out)
{
    double *got = output(t, k), most = 0, sum = 0, scale = 0;
    if (!got)
        return false;
    for (size_t i = 0; i < n; i++) {
        double e = fabs(got[i] - want[i]);
        most = fmax(most, e);
        sum += e * e;
        scale += want[i] * want[i];
    }
    scale = sqrt(scale / (double)n) * 0x1p-24;
    fprintf(out, "| %d | %s | %s | %.2f | %.1f |\n", t->d.C, wf_conv2d_pass_name(k->pass), k->name,
            sqrt(sum / (double)n) / scale, most / scale);
    free(got);
    return true;
}

static bool print_pass(const operands *t, wf_conv2d_pass pass, weft_isa isa, FILE *out)
{
    const size_t sizes[3] = {t->n_y, t->n_x, t->n_w};
    double *want = exact(t, pass);
    bool good = want != NULL;
    for (int i = 0; good && i < wf_conv2d_n_impls; i++) {
        wf_conv2d_desc d = t->d;
        char why[160];
        d.src_block = d.dst_block = wf_isa_block(isa);
        wf_conv2d *k = wf_conv2d_create_impl(wf_conv2d_impls[i], &d, pass, isa, 1, why, sizeof why);
        good = !k || print_line(t, k, want, sizes[pass], out);
        wf_conv2d_destroy(k);
    }
    free(want);
    return good;
}

bool bench_errors(weft_isa isa, FILE *out, char *why, size_t size)
{
    bool good = true;
    fputs("| channels | pass | kernel | rms error | largest error |\n|---|---|---|---|---|\n", out);
    for (int channels = LEAST; good && channels <= MOST; channels *= 2) {
        operands t;
        good = operands_create(&t, channels);
        for (int pass = 0; good && pass < 3; pass++)
            good = print_pass(&t, pass, isa, out);
        operands_destroy(&t);
    }
    if (!good)
        snprintf(why, size, "out of memory");
    return good;
}
