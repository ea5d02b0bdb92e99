/* Every implementation of pooling, in every layout it takes, against loops written from torch's
 * definition. Small integers make maxima, indices and their gradients exact; averages have a
 * bound from the number of additions. Letters: C channels, H W input, P Q output, R S window. */
#include "guarded.h"

#include <float.h>
#include <math.h>

#include "kernels/pool/pool.h"

extern const wf_pool_fns wf_pool_fns_emul, wf_pool_fns_bf16_emul;

typedef struct pool_case {
    int C, H, W;
    int kernel[2], stride[2], padding[2], dilation[2];
    bool ceil, exclude;
    int P, Q; /* as torch 2 computes them */
} pool_case;
static const pool_case CASES[] = {
    {1, 1, 1, {1, 1}, {1, 1}, {0, 0}, {1, 1}, false, false, 1, 1},
    {16, 28, 28, {2, 2}, {2, 2}, {0, 0}, {1, 1}, false, false, 14, 14},
    {11, 7, 9, {2, 2}, {2, 2}, {0, 0}, {1, 1}, false, false, 3, 4},
    {11, 7, 9, {2, 2}, {2, 2}, {0, 0}, {1, 1}, true, false, 4, 5},
    {17, 15, 12, {3, 3}, {2, 2}, {1, 1}, {1, 1}, false, false, 8, 6},
    {24, 13, 13, {3, 3}, {2, 2}, {0, 0}, {1, 1}, true, true, 6, 6},
    {8, 5, 6, {3, 2}, {1, 2}, {1, 0}, {1, 1}, false, true, 5, 3},
    {3, 9, 8, {2, 3}, {2, 1}, {1, 1}, {1, 1}, true, false, 5, 8},
    {5, 6, 6, {3, 3}, {1, 1}, {1, 1}, {2, 2}, false, false, 4, 4},
    {9, 17, 20, {17, 16}, {1, 2}, {8, 8}, {1, 1}, false, true, 17, 11},
    {2, 18, 18, {17, 16}, {3, 3}, {2, 2}, {1, 1}, true, false, 3, 3},
    {3, 4, 5, {2, 2}, {1, 1}, {1, 1}, {5, 3}, false, false, 1, 4},
    {40, 1, 33, {1, 4}, {1, 4}, {0, 2}, {1, 1}, true, true, 1, 9},
    {20, 2, 2, {3, 3}, {2, 2}, {0, 0}, {1, 1}, true, false, 1, 1},
    {13, 10, 21, {3, 3}, {1, 1}, {1, 1}, {1, 1}, false, true, 10, 21},
    {10, 9, 12, {3, 3}, {2, 1}, {1, 0}, {1, 1}, false, false, 5, 10},
    {10, 12, 9, {3, 3}, {1, 2}, {0, 1}, {1, 1}, true, true, 10, 5},
    {18, 14, 13, {3, 3}, {3, 4}, {0, 1}, {1, 1}, true, false, 5, 4},
    {6, 13, 17, {3, 3}, {5, 5}, {1, 1}, {1, 1}, true, true, 3, 4},
    {9, 2, 1, {3, 3}, {1, 1}, {1, 1}, {1, 1}, false, true, 2, 1},
    {7, 1, 3, {5, 5}, {4, 4}, {1, 1}, {1, 1}, true, false, 1, 1},
};
enum { N_CASES = sizeof CASES / sizeof *CASES };

static const struct {
    int C, H, W, P, Q;
} ADAPTIVE[] = {{16, 7, 7, 1, 1}, {9, 12, 5, 1, 1}, {8, 10, 7, 3, 4},   {21, 5, 6, 5, 6},
                {3, 4, 3, 7, 5},  {64, 1, 1, 1, 1}, {10, 33, 41, 1, 1}, {4, 6, 6, 6, 1},
                {16, 1, 1, 7, 7}, {24, 2, 3, 7, 7}, {8, 13, 10, 7, 7},  {17, 7, 7, 7, 7},
                {3, 9, 4, 6, 6}};
enum { N_ADAPTIVE = sizeof ADAPTIVE / sizeof *ADAPTIVE };

/* ---- images: buffers with zero padding channels and a guard ---------------------------------- */

static const double GUARD_VALUE = -12288.0; /* in bf16, too */

static size_t value_at(wf_act a, int c, int h, int w)
{
    return ((size_t)c * (size_t)a.H + (size_t)h) * (size_t)a.W + (size_t)w;
}

/* value: C*H*W plain doubles to lay out, or NULL for an output full of garbage. */
static void *lay_out(wf_act a, weft_dtype t, const double *value)
{
    const size_t count = wf_act_count(a);
    void *data = malloc((count + GUARD) * weft_dtype_size(t));
    assert_non_null(data);
    for (size_t i = 0; i < count + GUARD; i++)
        test_set(t, data, i, value && i < count ? 0 : GUARD_VALUE);
    for (int c = 0; value && c < a.C; c++)
        for (int h = 0; h < a.H; h++)
            for (int w = 0; w < a.W; w++)
                test_set(t, data, wf_act_index(a, c, h, w), value[value_at(a, c, h, w)]);
    return data;
}

/* Compares an output with want, within bound[i] (NULL: exactly, NaN equal to NaN), and frees it. */
static void check_out(const char *what, const wf_pool_fns *f, wf_act a, weft_dtype t, void *data,
                      const double *want, const double *bound)
{
    for (int c = 0; c < wf_round_up(a.C, a.block); c++)
        for (int h = 0; h < a.H; h++)
            for (int w = 0; w < a.W; w++) {
                const double got = test_get(t, data, wf_act_index(a, c, h, w));
                const size_t i = value_at(a, c, h, w);
                const double expect = c < a.C ? want[i] : 0;
                const double allowed = bound && c < a.C ? bound[i] : 0;
                const bool same = isnan(got) || isinf(expect) || isnan(expect)
                                      ? (isnan(got) && isnan(expect)) || got == expect
                                      : fabs(got - expect) <= allowed;
                if (!same)
                    fail_msg("%s %s block %d of %dx%dx%d at %d,%d,%d: got %.9g, want %.9g (+-%g)",
                             f->name, what, a.block, a.C, a.H, a.W, c, h, w, got, expect, allowed);
            }
    for (size_t i = 0; i < GUARD; i++)
        assert_true(test_get(t, data, wf_act_count(a) + i) == GUARD_VALUE);
    free(data);
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static wf_pool geometry(const pool_case *k, int block)
{
    return (wf_pool){.in = {k->C, k->H, k->W, block},
                     .P = k->P,
                     .Q = k->Q,
                     .kernel = {k->kernel[0], k->kernel[1]},
                     .stride = {k->stride[0], k->stride[1]},
                     .padding = {k->padding[0], k->padding[1]},
                     .dilation = {k->dilation[0], k->dilation[1]},
                     .exclude_padding = k->exclude};
}

/* Calls check for every implementation and layout of the geometry. */
typedef void (*check_fn)(const wf_pool_fns *f, const wf_pool *g);
static void each_layout(const wf_pool *g, check_fn check)
{
    static const int BLOCKS[] = {1, 8, 16};
    const bool wide = !g->average && wf_pool_index_dtype(g->kernel[0], g->kernel[1]) != WEFT_U8;
    for (int i = -2; i < 0 || wf_pool_list[i]; i++) {
        const wf_pool_fns *f = i == -2   ? &wf_pool_fns_bf16_emul
                               : i == -1 ? &wf_pool_fns_emul
                                         : wf_pool_list[i];
        if (f->isa > wf_cpu_isa() || (f->lanes && wide))
            continue;
        for (int b = 0; b < 3; b++)
            if (f->lanes == 0 || f->lanes == BLOCKS[b]) {
                wf_pool local = *g;
                local.in.block = BLOCKS[b];
                check(f, &local);
            }
    }
}

/* ---- max ------------------------------------------------------------------------------------ */

/* torch's loop (max_pool2d, CPU): from the first position inside, greater or NaN replaces. */
static double torch_max(const wf_pool *g, const double *x, int c, int p, int q, int *index,
                        size_t *source)
{
    int h0 = p * g->stride[0] - g->padding[0], w0 = q * g->stride[1] - g->padding[1];
    int h = h0, w = w0;
    double best = -INFINITY;
    while (h < 0)
        h += g->dilation[0];
    while (w < 0)
        w += g->dilation[1];
    *index = (h - h0) / g->dilation[0] * g->kernel[1] + (w - w0) / g->dilation[1];
    *source = h < g->in.H && w < g->in.W ? value_at(g->in, c, h, w) : SIZE_MAX;
    for (int r = 0; r < g->kernel[0]; r++)
        for (int s = 0; s < g->kernel[1]; s++) {
            int i = h0 + r * g->dilation[0], j = w0 + s * g->dilation[1];
            if (i < 0 || j < 0 || i >= g->in.H || j >= g->in.W)
                continue;
            double v = x[value_at(g->in, c, i, j)];
            if (v > best || isnan(v)) {
                best = v;
                *index = r * g->kernel[1] + s;
                *source = value_at(g->in, c, i, j);
            }
        }
    return best;
}

/* spice: ties everywhere (values 0..6), and now and then NaN, -inf or a whole patch of -inf. */
static void check_max_data(const wf_pool_fns *f, const wf_pool *g, bool spice)
{
    const wf_act out = wf_pool_out(g);
    const size_t n_in = (size_t)g->in.C * g->in.H * g->in.W, n_out = (size_t)g->in.C * g->P * g->Q;
    const size_t n_index = wf_pool_index_count(g->in.C, g->P, g->Q);
    const bool wide = wf_pool_index_dtype(g->kernel[0], g->kernel[1]) != WEFT_U8;
    const size_t index_bytes = n_index * (wide ? 4 : 1);
    double *x = calloc(n_in, sizeof *x), *y = calloc(n_out, sizeof *y);
    double *dy = calloc(n_out, sizeof *dy), *dx = calloc(n_in, sizeof *dx);
    uint8_t *index = malloc(index_bytes + 1);
    assert_true(x && y && dy && dx && index);
    uint32_t seed = 5;
    for (size_t i = 0; i < n_in; i++) {
        uint32_t r = next(&seed) % 64;
        x[i] = (double)(r % 7) - 3;
        if (spice && (r < 3 || (i > n_in / 2 && i < n_in / 2 + 9)))
            x[i] = r == 0 ? (double)NAN : -INFINITY;
    }
    void *vx = lay_out(g->in, f->dtype, x), *vy = lay_out(out, f->dtype, NULL);
    void *vy2 = lay_out(out, f->dtype, NULL);
    memset(index, 0xa5, index_bytes + 1);
    f->max_forward(g, vx, vy, index);
    f->max_forward(g, vx, vy2, NULL);
    assert_int_equal(index[index_bytes], 0xa5);
    for (int c = 0; c < g->in.C; c++)
        for (int p = 0; p < g->P; p++)
            for (int q = 0; q < g->Q; q++) {
                int k;
                size_t source, o = value_at(out, c, p, q);
                y[o] = torch_max(g, x, c, p, q, &k, &source);
                dy[o] = (double)(next(&seed) % 17) - 8;
                if (source != SIZE_MAX)
                    dx[source] += dy[o];
                size_t at = ((size_t)(c / 8 * g->P + p) * g->Q + q) * 8 + c % 8;
                int32_t got = wide ? ((int32_t *)(void *)index)[at] : index[at];
                if (source != SIZE_MAX)
                    assert_int_equal(got, k);
            }
    check_out("max", f, out, f->dtype, vy, y, NULL);
    check_out("max without index", f, out, f->dtype, vy2, y, NULL);
    void *vdy = lay_out(out, f->dtype, dy), *vdx = lay_out(g->in, f->dtype, NULL);
    f->max_backward(g, vdy, index, vdx);
    check_out("max backward", f, g->in, f->dtype, vdx, dx, NULL);
    free(vx);
    free(vdy);
    free(x);
    free(y);
    free(dx);
    free(dy);
    free(index);
}
static void check_max(const wf_pool_fns *f, const wf_pool *g)
{
    check_max_data(f, g, false);
}
static void check_max_spiced(const wf_pool_fns *f, const wf_pool *g)
{
    check_max_data(f, g, true);
}

static void max_takes_the_first_maximum_and_its_gradient(void **state)
{
    for (int i = 0; i < N_CASES; i++) {
        wf_pool g = geometry(&CASES[i], 1);
        each_layout(&g, check_max);
    }
}
static void max_treats_nan_and_infinity_as_torch(void **state)
{
    for (int i = 0; i < N_CASES; i++) {
        wf_pool g = geometry(&CASES[i], 1);
        each_layout(&g, check_max_spiced);
    }
}

/* ---- average -------------------------------------------------------------------------------- */

/* torch's window (avg_pool2d, adaptive_avg_pool2d, CPU) along one dimension: begin, end and the
 * length that the divisor counts. */
static void torch_range(const wf_pool *g, int d, int o, int *begin, int *end, int *count)
{
    const int size = d ? g->in.W : g->in.H, out = d ? g->Q : g->P;
    if (g->adaptive) {
        *begin = (int)floor((double)o * size / out);
        *end = (int)ceil((double)(o + 1) * size / out);
        *count = *end - *begin;
        return;
    }
    const int start = o * g->stride[d] - g->padding[d];
    const int stop = (int)fmin(start + g->kernel[d], size + g->padding[d]);
    *begin = start < 0 ? 0 : start;
    *end = stop < size ? stop : size;
    *count = g->exclude_padding ? *end - *begin : stop - start;
}

static void check_avg(const wf_pool_fns *f, const wf_pool *g)
{
    const wf_act out = wf_pool_out(g);
    const double eps = f->dtype == WEFT_F64 ? DBL_EPSILON / 2 : FLT_EPSILON / 2;
    const size_t n_in = (size_t)g->in.C * g->in.H * g->in.W, n_out = (size_t)g->in.C * g->P * g->Q;
    double *x = calloc(n_in, sizeof *x), *y = calloc(n_out, sizeof *y);
    double *dy = calloc(n_out, sizeof *dy), *dx = calloc(n_in, sizeof *dx);
    double *y_bound = calloc(n_out, sizeof *y), *dx_bound = calloc(n_in, sizeof *dx);
    assert_true(x && y && dy && dx && y_bound && dx_bound);
    uint32_t seed = 9;
    for (size_t i = 0; i < n_in; i++)
        x[i] = test_rounded(f->dtype, (double)(float)(next(&seed) / 8388608.0 - 1));
    for (int c = 0; c < g->in.C; c++)
        for (int p = 0; p < g->P; p++)
            for (int q = 0; q < g->Q; q++) {
                int h0, h1, hc, w0, w1, wc;
                long double sum = 0;
                double size = 0;
                const size_t o = value_at(out, c, p, q);
                torch_range(g, 0, p, &h0, &h1, &hc);
                torch_range(g, 1, q, &w0, &w1, &wc);
                dy[o] = test_rounded(f->dtype, (double)(float)(next(&seed) / 8388608.0 - 1));
                for (int h = h0; h < h1; h++)
                    for (int w = w0; w < w1; w++) {
                        const size_t i = value_at(g->in, c, h, w);
                        sum += (long double)x[i];
                        size += fabs(x[i]);
                        dx[i] += dy[o] / hc / wc;
                        /* a division, and additions for at most all windows that meet here */
                        dx_bound[i] += 12 * 12 * eps * fabs(dy[o]) / hc / wc;
                    }
                y[o] = (double)(sum / hc / wc);
                /* a row, the rows, the division */
                y_bound[o] = ((w1 - w0) + (h1 - h0) + 2) * eps * size / hc / wc +
                             1.01 * test_storing(f->dtype) * fabs(y[o]);
            }
    for (size_t i = 0; i < n_in; i++) /* stored once */
        dx_bound[i] += 1.01 * test_storing(f->dtype) * fabs(dx[i]);
    void *vx = lay_out(g->in, f->dtype, x), *vy = lay_out(out, f->dtype, NULL);
    f->avg_forward(g, vx, vy);
    check_out("average", f, out, f->dtype, vy, y, y_bound);
    void *vdy = lay_out(out, f->dtype, dy), *vdx = lay_out(g->in, f->dtype, NULL);
    f->avg_backward(g, vdy, vdx);
    check_out("average backward", f, g->in, f->dtype, vdx, dx, dx_bound);
    free(vx);
    free(vdy);
    free(x);
    free(y);
    free(dx);
    free(dy);
    free(y_bound);
    free(dx_bound);
}

static void average_counts_padding_as_asked(void **state)
{
    for (int i = 0; i < N_CASES; i++) {
        wf_pool g = geometry(&CASES[i], 1);
        if (g.dilation[0] > 1)
            continue;
        g.average = true;
        each_layout(&g, check_avg);
        g.exclude_padding = !g.exclude_padding;
        each_layout(&g, check_avg);
    }
}

static void adaptive_average_covers_the_image(void **state)
{
    for (int i = 0; i < N_ADAPTIVE; i++) {
        wf_pool g = {.in = {ADAPTIVE[i].C, ADAPTIVE[i].H, ADAPTIVE[i].W, 1},
                     .P = ADAPTIVE[i].P,
                     .Q = ADAPTIVE[i].Q,
                     .average = true,
                     .adaptive = true};
        each_layout(&g, check_avg);
    }
}

/* ---- sizes and choice ----------------------------------------------------------------------- */

static void output_sizes_are_torchs(void **state)
{
    for (int i = 0; i < N_CASES; i++) {
        const pool_case *k = &CASES[i];
        assert_int_equal(
            wf_pool_size(k->H, k->kernel[0], k->stride[0], k->padding[0], k->dilation[0], k->ceil),
            k->P);
        assert_int_equal(
            wf_pool_size(k->W, k->kernel[1], k->stride[1], k->padding[1], k->dilation[1], k->ceil),
            k->Q);
    }
    assert_int_equal(wf_pool_size(3, 4, 1, 0, 1, false), 0);
    assert_int_equal(wf_pool_size(3, 4, 1, 0, 1, true), 0);
    assert_int_equal(wf_pool_size(4, 2, 1, 0, 5, false), 0);
    assert_int_equal(wf_pool_size(6, 2, 4, 0, 1, true), 2);
    assert_int_equal(wf_pool_size(1, 3, 2, 0, 1, true), 0);
    assert_int_equal(wf_pool_size(2, 3, 2, 0, 1, false), 0);
    assert_int_equal(wf_pool_size(5, 2, 5, 0, 1, true), 1); /* the next would start past the end */
}

static void the_best_fitting_implementation_is_found(void **state)
{
    wf_pool small = {.in = {20, 40, 40, 8}, .P = 1, .Q = 1, .kernel = {2, 2}};
    wf_pool large = small, average = small;
    large.kernel[0] = average.kernel[0] = 200;
    average.average = true;
    assert_string_equal(wf_pool_find(WEFT_ISA_AVX512, WEFT_F32, &small)->name, "avx2:f32");
    assert_string_equal(wf_pool_find(WEFT_ISA_SCALAR, WEFT_F32, &small)->name, "ref:f32");
    assert_string_equal(wf_pool_find(WEFT_ISA_AVX2, WEFT_F32, &large)->name, "ref:f32");
    assert_string_equal(wf_pool_find(WEFT_ISA_AVX2, WEFT_F32, &average)->name, "avx2:f32");
    assert_string_equal(wf_pool_find(WEFT_ISA_AVX2, WEFT_F64, &small)->name, "ref:f64");
    assert_string_equal(wf_pool_find(WEFT_ISA_AVX2, WEFT_BF16, &small)->name, "avx2:bf16");
    assert_string_equal(wf_pool_find(WEFT_ISA_SCALAR, WEFT_BF16, &small)->name, "ref:bf16");
    assert_null(wf_pool_find(WEFT_ISA_AVX2, WEFT_I64, &small));
    small.in.block = 16;
    assert_string_equal(wf_pool_find(WEFT_ISA_AVX512, WEFT_F32, &small)->name, "avx512:f32");
    assert_string_equal(wf_pool_find(WEFT_ISA_AVX2, WEFT_F32, &small)->name, "ref:f32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_sizes_are_torchs),
        cmocka_unit_test(the_best_fitting_implementation_is_found),
        cmocka_unit_test(max_takes_the_first_maximum_and_its_gradient),
        cmocka_unit_test(max_treats_nan_and_infinity_as_torch),
        cmocka_unit_test(average_counts_padding_as_asked),
        cmocka_unit_test(adaptive_average_covers_the_image),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
