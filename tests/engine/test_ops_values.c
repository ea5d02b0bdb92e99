/* The values of ops against plain C: every case in f32 and f64, from plain and from blocked inputs,
 * by every executor, to the same bits. Then every op's gradcheck samples again in f32 and blocked,
 * values and gradients, against f64. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/graph/op.h"
#include "engine/graph/ops/reorder.h"
#include "weft/weft.h"

enum { MAX_OUT = 60000 };

/* `in` and `out` are row-major; a case's numbers are those of make_input. */
typedef struct value_case {
    const char *name;
    int n_in;
    weft_shape in[3];
    weft_tensor *(*apply)(weft_tensor *const *in);
    void (*expect)(const double *const *in, double *out);
    double roundings; /* the bound, in roundings of a value of size `size` */
    double size;
} value_case;

static void make_input(int which, weft_shape shape, double *x)
{
    int64_t n = weft_shape_count(shape);
    for (int64_t i = 0; i < n; i++) /* f32 numbers, so that f32 and f64 start alike */
        x[i] = (double)(float)(4.0 * fmod(0.6180339887 * (double)(i + 1) + 0.3 * which, 1.0) - 2.0);
}

static weft_context *context(weft_executor executor)
{
    weft_options options = {.threads = 2, .executor = executor, .seed = 7, .schedule_seed = 3};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    return ctx;
}

static weft_tensor *stored(weft_context *ctx, weft_dtype dtype, weft_shape shape, const double *x)
{
    int64_t n = weft_shape_count(shape);
    float *f = malloc((size_t)n * sizeof(*f));
    for (int64_t i = 0; i < n; i++)
        f[i] = (float)x[i];
    weft_tensor *t = weft_tensor_from(ctx, dtype, shape, dtype == WEFT_F32 ? (const void *)f : x);
    free(f);
    assert_non_null(t);
    return t;
}

/* x in channel blocks, as a convolution's output would be. */
static weft_tensor *blocked(weft_tensor *x)
{
    wf_reorder_attrs a = {wf_isa_block(weft_context_isa(weft_tensor_context(x)))};
    if (weft_tensor_shape(x).rank != 4 || weft_tensor_dtype(x) != WEFT_F32)
        return x;
    return wf_record(&wf_op_reorder, &a, NULL, 1, &x, NULL);
}

/* The numbers of t, as doubles. */
static void read_all(weft_context *ctx, weft_tensor *t, double *out)
{
    if (!t)
        fail_msg("%s", weft_error_text(ctx));
    int64_t n = weft_shape_count(weft_tensor_shape(t));
    weft_dtype dtype = weft_tensor_dtype(t);
    void *raw = malloc((size_t)n * 8);
    if (weft_read(t, raw, (size_t)n * weft_dtype_size(dtype)) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    for (int64_t i = 0; i < n; i++)
        out[i] = dtype == WEFT_F32   ? (double)((float *)raw)[i]
                 : dtype == WEFT_F64 ? ((double *)raw)[i]
                                     : (double)((int64_t *)raw)[i];
    free(raw);
}

/* ---- the cases ------------------------------------------------------------------------------- */

#define APPLY(name, expression)                                                                    \
    static weft_tensor *name(weft_tensor *const *in)                                               \
    {                                                                                              \
        return expression;                                                                         \
    }

/* (2, 3, 2, 5) and a (3, 1, 1) */
APPLY(add_apply, weft_add(in[0], in[1]))
static void add_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 60; i++)
        out[i] = in[0][i] + in[1][i / 10 % 3];
}
APPLY(mul_apply, weft_mul(in[1], in[0]))
static void mul_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 60; i++)
        out[i] = in[0][i] * in[1][i / 10 % 3];
}
APPLY(scale_apply, weft_scale(in[0], 0.3))
static void scale_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 60; i++)
        out[i] = in[0][i] * 0.3;
}
APPLY(relu_apply, weft_relu(in[0]))
static void relu_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 60; i++)
        out[i] = in[0][i] > 0 ? in[0][i] : 0;
}
APPLY(detach_apply, weft_detach(in[0]))
static void detach_expect(const double *const *in, double *out)
{
    memcpy(out, in[0], 60 * sizeof(*out));
}
/* a whole chunk and more, rank 1 */
APPLY(long_apply, weft_add(weft_scale(in[0], 2), in[1]))
static void long_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 40000; i++)
        out[i] = 2 * in[0][i] + in[1][i];
}
APPLY(bias_apply, weft_bias(in[0], in[1]))
static void bias4_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 60; i++)
        out[i] = in[0][i] + in[1][i / 10 % 3];
}
static void bias2_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 2000 * 17; i++)
        out[i] = in[0][i] + in[1][i % 17];
}
APPLY(flatten_apply, weft_flatten(in[0], 1))
static void copy60_expect(const double *const *in, double *out)
{
    memcpy(out, in[0], 60 * sizeof(*out));
}
APPLY(reshape_apply, weft_reshape(in[0], WEFT_SHAPE(4, -1, 5)))
APPLY(expand_apply, weft_expand(in[0], WEFT_SHAPE(4, 2, 3)))
static void expand_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 24; i++)
        out[i] = in[0][i / 3 % 2];
}
/* (2, 21, 3, 2) by (2, 21, 1, 1) */
APPLY(mul_channels_apply, weft_mul(in[1], in[0]))
static void mul_channels_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 2 * 21 * 6; i++)
        out[i] = in[0][i] * in[1][i / 6];
}
/* (2, 58, 2, 3) in two groups */
APPLY(shuffle_apply, weft_channel_shuffle(in[0], 2))
static void shuffle_expect(const double *const *in, double *out)
{
    for (int n = 0; n < 2; n++)
        for (int c = 0; c < 58; c++)
            for (int p = 0; p < 6; p++)
                *out++ = in[0][(n * 58 + c % 2 * 29 + c / 2) * 6 + p];
}
/* the second of two halves of (2, 58, 2, 3), plus the first */
static weft_tensor *chunk_apply(weft_tensor *const *in)
{
    weft_tensor *half[2] = {NULL, NULL};
    weft_chunk(in[0], 2, 1, half);
    return weft_add(half[1], half[0]);
}
static void chunk_expect(const double *const *in, double *out)
{
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < 29 * 6; i++)
            *out++ = in[0][n * 58 * 6 + i] + in[0][n * 58 * 6 + 29 * 6 + i];
}
/* channels that begin inside blocks */
APPLY(concat_odd_apply, weft_concat(in, 3, 1))
static void concat_odd_expect(const double *const *in, double *out)
{
    static const int C[] = {5, 16, 11};
    for (int n = 0; n < 2; n++)
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < C[k] * 6; i++)
                *out++ = in[k][n * C[k] * 6 + i];
}
/* channels 16 + 16 + 5 of 2 x 3 pixels: the first two fill their blocks */
APPLY(concat1_apply, weft_concat(in, 3, 1))
static void concat1_expect(const double *const *in, double *out)
{
    static const int C[] = {16, 16, 5};
    for (int n = 0; n < 2; n++)
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < C[k] * 6; i++)
                *out++ = in[k][n * C[k] * 6 + i];
}
APPLY(concat2_apply, weft_concat(in, 2, 2))
static void concat2_expect(const double *const *in, double *out)
{
    for (int nc = 0; nc < 2 * 11; nc++) {
        memcpy(out, in[0] + nc * 6, 6 * sizeof(*out));
        memcpy(out + 6, in[1] + nc * 3, 3 * sizeof(*out));
        out += 9;
    }
}
APPLY(concat0_apply, weft_concat(in, 2, 0))
static void concat0_expect(const double *const *in, double *out)
{
    memcpy(out, in[0], 66 * 2 * sizeof(*out));
    memcpy(out + 132, in[1], 66 * sizeof(*out));
}
APPLY(narrow1_apply, weft_narrow(in[0], 1, 16, 16))
static void narrow1_expect(const double *const *in, double *out)
{
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < 16 * 6; i++)
            *out++ = in[0][n * 48 * 6 + 16 * 6 + i];
}
APPLY(narrow_odd_apply, weft_narrow(in[0], 1, 3, 9))
static void narrow_odd_expect(const double *const *in, double *out)
{
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < 9 * 6; i++)
            *out++ = in[0][n * 48 * 6 + 3 * 6 + i];
}
APPLY(narrow3_apply, weft_narrow(in[0], 3, 1, 2))
static void narrow3_expect(const double *const *in, double *out)
{
    for (int r = 0; r < 2 * 48 * 2; r++)
        for (int w = 1; w < 3; w++)
            *out++ = in[0][r * 3 + w];
}
APPLY(sum_all_apply, weft_sum(in[0], 0, false))
static void sum_all_expect(const double *const *in, double *out)
{
    *out = 0;
    for (int i = 0; i < 3 * 11 * 99; i++)
        *out += in[0][i];
}
APPLY(mean_all_apply, weft_mean(in[0], 0, true))
static void mean_all_expect(const double *const *in, double *out)
{
    sum_all_expect(in, out);
    *out /= 3 * 11 * 99;
}
/* (3, 11, 9, 11) */
APPLY(sum_channel_apply, weft_sum(in[0], 0xd, false))
static void sum_channel_expect(const double *const *in, double *out)
{
    memset(out, 0, 11 * sizeof(*out));
    for (int i = 0; i < 3 * 11 * 99; i++)
        out[i / 99 % 11] += in[0][i];
}
APPLY(mean_pixels_apply, weft_mean(in[0], 0xc, true))
static void mean_pixels_expect(const double *const *in, double *out)
{
    for (int nc = 0; nc < 33; nc++) {
        out[nc] = 0;
        for (int p = 0; p < 99; p++)
            out[nc] += in[0][nc * 99 + p] / 99;
    }
}
APPLY(sum_02_apply, weft_sum(in[0], 5, false)) /* (11, 11) remains */
static void sum_02_expect(const double *const *in, double *out)
{
    memset(out, 0, 121 * sizeof(*out));
    for (int i = 0; i < 3 * 11 * 99; i++)
        out[i / 99 % 11 * 11 + i % 11] += in[0][i];
}
APPLY(sum_13_apply, weft_sum(in[0], 10, false)) /* (3, 9) remains */
static void sum_13_expect(const double *const *in, double *out)
{
    memset(out, 0, 27 * sizeof(*out));
    for (int i = 0; i < 3 * 11 * 99; i++)
        out[i / 1089 * 9 + i / 11 % 9] += in[0][i];
}
APPLY(sum_columns_apply, weft_sum(in[0], 1, true)) /* (100, 300) */
static void sum_columns_expect(const double *const *in, double *out)
{
    memset(out, 0, 300 * sizeof(*out));
    for (int i = 0; i < 30000; i++)
        out[i % 300] += in[0][i];
}
APPLY(softmax_apply, weft_softmax(in[0], 1))
static void softmax_expect(const double *const *in, double *out)
{
    for (int n = 0; n < 2; n++)
        for (int p = 0; p < 10; p++) {
            double sum = 0;
            for (int c = 0; c < 3; c++)
                sum += exp(in[0][n * 30 + c * 10 + p]);
            for (int c = 0; c < 3; c++)
                out[n * 30 + c * 10 + p] = exp(in[0][n * 30 + c * 10 + p]) / sum;
        }
}
APPLY(log_softmax_apply, weft_log_softmax(in[0], -1))
static void log_softmax_expect(const double *const *in, double *out)
{
    for (int r = 0; r < 3000; r++) {
        double sum = 0;
        for (int k = 0; k < 10; k++)
            sum += exp(in[0][r * 10 + k]);
        for (int k = 0; k < 10; k++)
            out[r * 10 + k] = in[0][r * 10 + k] - log(sum);
    }
}

#define S60                                                                                        \
    {                                                                                              \
        4,                                                                                         \
        {                                                                                          \
            2, 3, 2, 5                                                                             \
        }                                                                                          \
    }
#define SUMS                                                                                       \
    {                                                                                              \
        4,                                                                                         \
        {                                                                                          \
            3, 11, 9, 11                                                                           \
        }                                                                                          \
    }
static const value_case cases[] = {
    {"add", 2, {S60, {3, {3, 1, 1}}}, add_apply, add_expect, 1, 4},
    {"mul", 2, {S60, {3, {3, 1, 1}}}, mul_apply, mul_expect, 1, 4},
    {"scale", 1, {S60}, scale_apply, scale_expect, 2, 1},
    {"relu", 1, {S60}, relu_apply, relu_expect, 0, 1},
    {"detach", 1, {S60}, detach_apply, detach_expect, 0, 1},
    {"scale and add, long", 2, {{1, {40000}}, {1, {40000}}}, long_apply, long_expect, 2, 8},
    {"bias (N, C, H, W)", 2, {S60, {1, {3}}}, bias_apply, bias4_expect, 1, 4},
    {"bias (N, C)", 2, {{2, {2000, 17}}, {1, {17}}}, bias_apply, bias2_expect, 1, 4},
    {"flatten", 1, {S60}, flatten_apply, copy60_expect, 0, 1},
    {"reshape", 1, {S60}, reshape_apply, copy60_expect, 0, 1},
    {"expand", 1, {{2, {2, 1}}}, expand_apply, expand_expect, 0, 1},
    {"mul by factors of channels",
     2,
     {{4, {2, 21, 3, 2}}, {4, {2, 21, 1, 1}}},
     mul_channels_apply,
     mul_channels_expect,
     1,
     4},
    {"channel_shuffle", 1, {{4, {2, 58, 2, 3}}}, shuffle_apply, shuffle_expect, 0, 1},
    {"chunk", 1, {{4, {2, 58, 2, 3}}}, chunk_apply, chunk_expect, 1, 4},
    {"concat channels inside blocks",
     3,
     {{4, {2, 5, 2, 3}}, {4, {2, 16, 2, 3}}, {4, {2, 11, 2, 3}}},
     concat_odd_apply,
     concat_odd_expect,
     0,
     1},
    {"concat channels",
     3,
     {{4, {2, 16, 2, 3}}, {4, {2, 16, 2, 3}}, {4, {2, 5, 2, 3}}},
     concat1_apply,
     concat1_expect,
     0,
     1},
    {"concat rows",
     2,
     {{4, {2, 11, 2, 3}}, {4, {2, 11, 1, 3}}},
     concat2_apply,
     concat2_expect,
     0,
     1},
    {"concat images",
     2,
     {{4, {2, 11, 2, 3}}, {4, {1, 11, 2, 3}}},
     concat0_apply,
     concat0_expect,
     0,
     1},
    {"narrow whole blocks", 1, {{4, {2, 48, 2, 3}}}, narrow1_apply, narrow1_expect, 0, 1},
    {"narrow channels", 1, {{4, {2, 48, 2, 3}}}, narrow_odd_apply, narrow_odd_expect, 0, 1},
    {"narrow columns", 1, {{4, {2, 48, 2, 3}}}, narrow3_apply, narrow3_expect, 0, 1},
    /* sums: leaves of at most 64 values of size 2 are off by 8 (runs) or 64 (columns) roundings of
     * 128; the leaves' errors add up; one more to store */
    {"sum of everything", 1, {SUMS}, sum_all_apply, sum_all_expect, 8 * 54, 128},
    {"mean of everything", 1, {SUMS}, mean_all_apply, mean_all_expect, 8, 4},
    {"sum per channel", 1, {SUMS}, sum_channel_apply, sum_channel_expect, 8 * 6 + 1, 128},
    {"mean of pixels", 1, {SUMS}, mean_pixels_apply, mean_pixels_expect, 8, 4},
    {"sum over dimensions 0, 2", 1, {SUMS}, sum_02_apply, sum_02_expect, 27 + 1, 54},
    {"sum over dimensions 1, 3", 1, {SUMS}, sum_13_apply, sum_13_expect, 8 * 11 + 1, 22},
    {"sum of columns", 1, {{2, {100, 300}}}, sum_columns_apply, sum_columns_expect, 128, 128},
    /* exp of |x - top| <= 4: as in the kernel's test */
    {"softmax", 1, {S60}, softmax_apply, softmax_expect, 24, 1},
    {"log_softmax", 1, {{2, {3000, 10}}}, log_softmax_apply, log_softmax_expect, 24, 4},
};
enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

static void run_case(weft_context *ctx, const value_case *c, weft_dtype dtype, bool block,
                     double *out, int64_t *count)
{
    weft_tensor *in[3], *use[3];
    for (int i = 0; i < c->n_in; i++) {
        double *x = malloc((size_t)weft_shape_count(c->in[i]) * sizeof(*x));
        make_input(i, c->in[i], x);
        in[i] = stored(ctx, dtype, c->in[i], x);
        use[i] = block ? blocked(in[i]) : in[i];
        free(x);
    }
    weft_tensor *y = c->apply(use);
    if (!y)
        fail_msg("%s: %s", c->name, weft_error_text(ctx));
    *count = weft_shape_count(weft_tensor_shape(y));
    assert_true(*count <= MAX_OUT);
    read_all(ctx, y, out);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    for (int i = 0; i < c->n_in; i++)
        weft_tensor_unref(in[i]);
}

static void values_match_plain_c(void **state)
{
    weft_context *ctx[3];
    for (weft_executor e = WEFT_EXECUTOR_PARALLEL; e <= WEFT_EXECUTOR_RANDOM; e++)
        ctx[e] = context(e);
    double *want = malloc(MAX_OUT * 8), *got = malloc(MAX_OUT * 8), *first = malloc(MAX_OUT * 8);
    for (int k = 0; k < N_CASES * 3; k++) {
        const value_case *c = &cases[k / 3];
        weft_dtype dtype = k % 3 == 2 ? WEFT_F64 : WEFT_F32;
        bool block = k % 3 == 1;
        double *in[3];
        for (int i = 0; i < c->n_in; i++) {
            in[i] = malloc((size_t)weft_shape_count(c->in[i]) * 8);
            make_input(i, c->in[i], in[i]);
        }
        c->expect((const double *const *)in, want);
        /* in f64 the expectation is rounded as often as the result */
        double bound = c->roundings * c->size * (dtype == WEFT_F32 ? 0x1p-24 : 0x1p-51);
        for (weft_executor e = WEFT_EXECUTOR_PARALLEL; e <= WEFT_EXECUTOR_RANDOM; e++) {
            int64_t n = 0;
            run_case(ctx[e], c, dtype, block, got, &n);
            for (int64_t i = 0; i < n; i++)
                if (!(fabs(got[i] - want[i]) <= bound))
                    fail_msg("%s, %s%s, executor %d [%lld]: %.17g, expected %.17g", c->name,
                             weft_dtype_name(dtype), block ? " blocked" : "", (int)e, (long long)i,
                             got[i], want[i]);
            if (e == WEFT_EXECUTOR_PARALLEL)
                memcpy(first, got, (size_t)n * 8);
            assert_memory_equal(first, got, (size_t)n * 8);
        }
        for (int i = 0; i < c->n_in; i++)
            free(in[i]);
    }
    free(want);
    free(got);
    free(first);
    for (int e = 0; e < 3; e++)
        weft_context_destroy(ctx[e]);
}

/* ---- samples in f32 -------------------------------------------------------------------------- */

enum { SAMPLE_MAX = 4096 };

/* The sample's output and gradients, in dtype. Returns the number of doubles written to out. */
static int64_t run_sample(weft_context *ctx, const wf_op *op, int index, weft_dtype dtype,
                          bool block, double *out)
{
    wf_sample s = {0};
    int64_t n = -1;
    if (op->sample(ctx, index, &s)) {
        weft_tensor *in[WF_MAX_IN], *use[WF_MAX_IN];
        for (int i = 0; i < s.n_in; i++) {
            double x[SAMPLE_MAX];
            weft_shape shape = weft_tensor_shape(s.in[i]);
            assert_true(weft_shape_count(shape) <= SAMPLE_MAX);
            read_all(ctx, s.in[i], x);
            in[i] = stored(ctx, dtype, shape, x);
            if (weft_requires_grad(s.in[i]))
                assert_int_equal(weft_set_requires_grad(in[i], true), WEFT_OK);
        }
        for (int i = 0; i < s.n_in; i++)
            use[i] = block ? blocked(in[i]) : in[i];
        weft_tensor *y = s.apply(s.user, use, s.n_in);
        if (!y)
            fail_msg("%s, %s: %s", op->name, s.name, weft_error_text(ctx));
        weft_tensor *kept = weft_keep(y), *seed = NULL;
        n = weft_shape_count(weft_tensor_shape(y));
        assert_true(n <= SAMPLE_MAX);
        double weights[SAMPLE_MAX];
        for (int64_t i = 0; i < n; i++)
            weights[i] = 0.5 + 0.25 * (double)(i % 5);
        seed = stored(ctx, weft_tensor_dtype(y), weft_tensor_shape(y), weights);
        if (weft_backward_with(y, seed, false) != WEFT_OK || weft_sync(ctx) != WEFT_OK)
            fail_msg("%s, %s: %s", op->name, s.name, weft_error_text(ctx));
        read_all(ctx, kept, out);
        for (int i = 0; i < s.n_in; i++) {
            weft_tensor *g = weft_requires_grad(in[i]) ? weft_grad(in[i]) : NULL;
            if (g) {
                assert_true(n + weft_shape_count(weft_tensor_shape(g)) <= SAMPLE_MAX);
                read_all(ctx, g, out + n);
                n += weft_shape_count(weft_tensor_shape(g));
            }
        }
        weft_tensor_unref(kept);
        weft_tensor_unref(seed);
        for (int i = 0; i < s.n_in; i++) {
            weft_tensor_unref(in[i]);
            weft_tensor_unref(s.in[i]);
        }
    }
    return n;
}

static void samples_in_f32_agree_with_f64_in_every_layout(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    double want[SAMPLE_MAX], got[SAMPLE_MAX];
    for (int o = 0; o < wf_n_ops; o++)
        for (int index = 0; wf_ops[o]->sample; index++) {
            int64_t n = run_sample(ctx, wf_ops[o], index, WEFT_F64, false, want);
            if (n < 0)
                break;
            double size = 1;
            for (int64_t i = 0; i < n; i++)
                size = fmax(size, fabs(want[i]));
            for (int block = 0; block < 2; block++) {
                assert_int_equal(run_sample(ctx, wf_ops[o], index, WEFT_F32, block, got), n);
                for (int64_t i = 0; i < n; i++)
                    /* samples add up to some 64 products: twice as many roundings */
                    if (!(fabs(got[i] - want[i]) <= 128 * 0x1p-24 * size))
                        fail_msg("%s, sample %d%s [%lld]: %.9g, expected %.9g", wf_ops[o]->name,
                                 index, block ? ", blocked" : "", (long long)i, got[i], want[i]);
            }
        }
    weft_context_destroy(ctx);
}

/* ---- losses, counts, errors ------------------------------------------------------------------ */

enum { ROWS = 3000, K = 10 }; /* more than one tile */

static void cross_entropy_reduces_all_rows(void **state)
{
    static double x[ROWS * K], rows[ROWS], got[ROWS * K];
    static int64_t labels[ROWS];
    make_input(0, WEFT_SHAPE(ROWS, K), x);
    for (int c = 0; c < 12; c++) {
        double eps = c % 2 ? 0.1 : 0.0;
        weft_dtype dtype = c / 2 % 2 ? WEFT_F64 : WEFT_F32;
        double roundings = dtype == WEFT_F32 ? 0x1p-24 : 0x1p-50;
        weft_cross_entropy_opts opts = {eps, (weft_reduction)(c / 4)};
        double sum = 0;
        for (int r = 0; r < ROWS; r++) {
            double lse = 0, all = 0;
            labels[r] = (r * 7) % K;
            for (int k = 0; k < K; k++)
                lse += exp(x[r * K + k]);
            lse = log(lse);
            for (int k = 0; k < K; k++)
                all += lse - x[r * K + k];
            rows[r] = (1 - eps) * (lse - x[r * K + labels[r]]) + eps / K * all;
            sum += rows[r];
        }
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *logits = stored(ctx, dtype, WEFT_SHAPE(ROWS, K), x);
        weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(ROWS), labels);
        read_all(ctx, weft_cross_entropy(logits, y, &opts), got);
        if (opts.reduction == WEFT_NONE) {
            for (int r = 0; r < ROWS; r++)
                assert_true(fabs(got[r] - rows[r]) <= 40 * roundings * 4);
        } else {
            double want = opts.reduction == WEFT_MEAN ? sum / ROWS : sum;
            double scale = opts.reduction == WEFT_MEAN ? 1 : ROWS;
            if (!(fabs(got[0] - want) <= 40 * roundings * 4 * scale))
                fail_msg("case %d: %.17g, expected %.17g", c, got[0], want);
        }
        weft_tensor_unref(logits);
        weft_tensor_unref(y);
        weft_context_destroy(ctx);
    }
}

/* Two of three rows count, with weights 1 and 4; nothing counts where all are ignored. */
static void the_mean_divides_by_the_weights_that_count(void **state)
{
    const double logp[] = {-1, -2, -3, -4, -5, -6}, weights[] = {1, 4};
    const int64_t some[] = {0, -100, 1}, none[] = {7, 7, 7}, seven = 7;
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = stored(ctx, WEFT_F64, WEFT_SHAPE(3, 2), logp);
    weft_tensor *w = stored(ctx, WEFT_F64, WEFT_SHAPE(2), weights);
    weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(3), some);
    weft_tensor *no = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(3), none);
    weft_nll_opts mean = {WEFT_MEAN, w, NULL}, sum = {WEFT_SUM, NULL, NULL};
    weft_nll_opts skip_mean = {.ignore_index = &seven};
    weft_nll_opts skip_sum = {WEFT_SUM, NULL, &seven};
    assert_true(weft_item(weft_nll_loss(x, y, &mean)) == (1 * 1 + 4 * 6) / 5.0);
    assert_true(weft_item(weft_nll_loss(x, y, &sum)) == 7);
    assert_true(isnan(weft_item(weft_nll_loss(x, no, &skip_mean))));
    assert_true(weft_item(weft_nll_loss(x, no, &skip_sum)) == 0);
    assert_int_equal(weft_error_status(ctx), WEFT_OK);
    weft_tensor *all[] = {x, w, y, no};
    for (int i = 0; i < 4; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

static void count_correct_counts(void **state)
{
    const double x[] = {1, 3, 2, 5, 5, 0, -1, -2, -1, 0, 0, 1};
    const int64_t labels[] = {1, 0, 2, 2};
    for (weft_dtype dtype = WEFT_F32; dtype <= WEFT_F64; dtype++) {
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *logits = stored(ctx, dtype, WEFT_SHAPE(4, 3), x);
        weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(4), labels);
        assert_true(weft_item(weft_count_correct(logits, y)) == 3);
        weft_tensor_unref(logits);
        weft_tensor_unref(y);
        weft_context_destroy(ctx);
    }
}

static void a_label_out_of_range_fails_the_run(void **state)
{
    static double x[ROWS * K];
    static int64_t labels[ROWS];
    labels[2999] = 12;
    for (int op = 0; op < 2; op++) {
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *logits = stored(ctx, WEFT_F32, WEFT_SHAPE(ROWS, K), x);
        weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(ROWS), labels);
        weft_tensor *out = op ? weft_count_correct(logits, y) : weft_cross_entropy(logits, y, NULL);
        assert_true(isnan(weft_item(out)));
        assert_int_equal(weft_error_status(ctx), WEFT_ERR_INVALID);
        assert_non_null(strstr(weft_error_text(ctx), "label 12 at row 2999 is outside [0, 10)"));
        weft_tensor_unref(logits);
        weft_tensor_unref(y);
        weft_context_destroy(ctx);
    }
}

static weft_tensor *ints(weft_context *ctx, int64_t n)
{
    return weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(n));
}

static void errors_name_the_numbers(void **state)
{
    static const char *const texts[] = {
        "add: [2, 3] and [2, 4] do not broadcast (3 and 4)",
        "mul: [2, 3] and [5] do not broadcast (3 and 5)",
        "add: input 1 is f64, input 0 is f32",
        "relu: input 0 is i64, expected f32 or f64",
        "bias: input has 3 channels, bias has 4",
        "expand: [2, 3] does not broadcast to [2, 4]",
        "reshape: [2, 3] has 6 elements, which do not fit [4, -1]",
        "flatten: dimension 2 of a tensor of rank 2",
        "concat: input 1 is [2, 4], input 0 is [2, 3]: they may differ in dimension 0 only",
        "narrow: 3 elements from 1 on of dimension 1, which has 3",
        "narrow: dimension 5 of a tensor of rank 2",
        "dropout: probability 1 is outside [0, 1)",
        "softmax: dimension -3 of a tensor of rank 2",
        "log_softmax: dimension 2 of a tensor of rank 2",
        "cross_entropy: labels are f32, expected i64",
        "cross_entropy: logits are [2, 3] and labels [4], expected (N, K) and (N)",
        "cross_entropy: label smoothing 1.5 is outside [0, 1]",
        "count_correct: logits are [2, 3] and labels [4], expected (N, K) and (N)",
        "sum: dimensions 0x4 of a tensor of rank 2",
        "gelu: input 0 is i64, expected f32 or f64",
        "mse_loss: input is [2, 3], target is [2, 4]",
        "bce_with_logits: input is [2, 3], target is [2, 4]",
        "l1_loss: no reduction has the number 7",
        "nll_loss: labels are f32, expected i64",
        "cross_entropy: the weight is f32 [4], expected f32 [3]",
        "cross_entropy: input is [2, 3], target is [2, 4]",
        "group_norm: 3 channels do not divide by 2 groups",
        "group_norm: the weight is f32 [4], expected f32 [3]",
        "channel_shuffle: 3 channels do not divide by 2 groups",
        "chunk: [2, 3] in 2 equal parts along dimension 1 (1 to 4 parts)",
        "stochastic_depth: probability -1 is outside [0, 1)",
    };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *a = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    weft_tensor *b = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 4));
    weft_tensor *d = weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(2, 3));
    weft_tensor *five = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(5));
    weft_tensor *four = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(4));
    weft_tensor *i2 = ints(ctx, 2), *i4 = ints(ctx, 4);
    weft_cross_entropy_opts too_smooth = {.label_smoothing = 1.5};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        weft_tensor *y = a;
        weft_error_clear(ctx);
        switch (i) {
        case 0: y = weft_add(a, b); break;
        case 1: y = weft_mul(a, five); break;
        case 2: y = weft_add(a, d); break;
        case 3: y = weft_relu(i2); break;
        case 4: y = weft_bias(a, four); break;
        case 5: y = weft_expand(a, WEFT_SHAPE(2, 4)); break;
        case 6: y = weft_reshape(a, WEFT_SHAPE(4, -1)); break;
        case 7: y = weft_flatten(a, 2); break;
        case 8: y = weft_concat((weft_tensor *[]){a, b}, 2, 0); break;
        case 9: y = weft_narrow(a, 1, 1, 3); break;
        case 10: y = weft_narrow(a, 5, 0, 1); break;
        case 11: y = weft_dropout(a, 1.0, true); break;
        case 12: y = weft_softmax(a, -3); break;
        case 13: y = weft_log_softmax(a, 2); break;
        case 14: y = weft_cross_entropy(a, four, NULL); break;
        case 15: y = weft_cross_entropy(a, i4, NULL); break;
        case 16: y = weft_cross_entropy(a, i2, &too_smooth); break;
        case 17: y = weft_count_correct(a, i4); break;
        case 18: y = weft_sum(a, 4, false); break;
        case 19: y = weft_gelu(i2); break;
        case 20: y = weft_mse_loss(a, b, WEFT_MEAN); break;
        case 21: y = weft_bce_with_logits(a, b, NULL); break;
        case 22: y = weft_l1_loss(a, a, (weft_reduction)7); break;
        case 23: y = weft_nll_loss(a, four, NULL); break;
        case 24: y = weft_cross_entropy(a, i2, &(weft_cross_entropy_opts){.weight = four}); break;
        case 25: y = weft_cross_entropy(a, b, NULL); break;
        case 26: y = weft_group_norm(a, 2, NULL, NULL, 0); break;
        case 27: y = weft_group_norm(a, 3, four, NULL, 0); break;
        case 28: y = weft_channel_shuffle(a, 2); break;
        case 29: y = weft_chunk(a, 2, 1, &y) == WEFT_ERR_SHAPE ? NULL : a; break;
        case 30: y = weft_stochastic_depth(a, -1, true); break;
        }
        assert_null(y);
        assert_string_equal(weft_error_text(ctx), texts[i]);
    }
    weft_tensor *all[] = {a, b, d, five, four, i2, i4};
    for (int i = 0; i < 7; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_match_plain_c),
        cmocka_unit_test(samples_in_f32_agree_with_f64_in_every_layout),
        cmocka_unit_test(cross_entropy_reduces_all_rows),
        cmocka_unit_test(the_mean_divides_by_the_weights_that_count),
        cmocka_unit_test(count_correct_counts),
        cmocka_unit_test(a_label_out_of_range_fails_the_run),
        cmocka_unit_test(errors_name_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
