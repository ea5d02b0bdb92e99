/* The values of ops against plain C: every case in f32 and f64, from plain and from blocked inputs,
 * by every executor, to the same bits. Losses: test_ops_losses.c; gradients: test_ops_samples.c. */
#include "tests/engine/values.h"

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
static void copy_expect(const double *const *in, double *out)
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
static void bias2_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 2000 * 17; i++)
        out[i] = in[0][i] + in[1][i % 17];
}
APPLY(flatten_apply, weft_flatten(in[0], 1))
APPLY(reshape_apply, weft_reshape(in[0], WEFT_SHAPE(4, -1, 5)))
APPLY(expand_apply, weft_expand(in[0], WEFT_SHAPE(4, 2, 3)))
static void expand_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 24; i++)
        out[i] = in[0][i / 3 % 2];
}
/* (2, 21, 3, 2) by (2, 21, 1, 1) */
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
APPLY(concat1_apply, weft_concat(in, 3, 1))
/* channels C[k] of 2 x 3 pixels */
static void concat_channels(const int C[3], const double *const *in, double *out)
{
    for (int n = 0; n < 2; n++)
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < C[k] * 6; i++)
                *out++ = in[k][n * C[k] * 6 + i];
}
static void concat1_expect(const double *const *in, double *out)
{
    concat_channels((const int[]){16, 16, 5}, in, out); /* the first two fill their blocks */
}
static void concat_odd_expect(const double *const *in, double *out)
{
    concat_channels((const int[]){5, 16, 11}, in, out); /* channels that begin inside blocks */
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
APPLY(sum_all_apply, weft_sum(in[0], WEFT_ALL_DIMS, false))
static void sum_all_expect(const double *const *in, double *out)
{
    *out = 0;
    for (int i = 0; i < 3 * 11 * 99; i++)
        *out += in[0][i];
}
APPLY(mean_all_apply, weft_mean(in[0], WEFT_ALL_DIMS, true))
static void mean_all_expect(const double *const *in, double *out)
{
    sum_all_expect(in, out);
    *out /= 3 * 11 * 99;
}
/* (3, 11, 9, 11) */
APPLY(sum_channel_apply, weft_sum(in[0], WEFT_DIMS(0, 2, 3), false))
static void sum_channel_expect(const double *const *in, double *out)
{
    memset(out, 0, 11 * sizeof(*out));
    for (int i = 0; i < 3 * 11 * 99; i++)
        out[i / 99 % 11] += in[0][i];
}
APPLY(mean_pixels_apply, weft_mean(in[0], WEFT_DIMS(2, 3), true))
static void mean_pixels_expect(const double *const *in, double *out)
{
    for (int nc = 0; nc < 33; nc++) {
        out[nc] = 0;
        for (int p = 0; p < 99; p++)
            out[nc] += in[0][nc * 99 + p] / 99;
    }
}
APPLY(sum_02_apply, weft_sum(in[0], WEFT_DIMS(0, 2), false)) /* (11, 11) remains */
static void sum_02_expect(const double *const *in, double *out)
{
    memset(out, 0, 121 * sizeof(*out));
    for (int i = 0; i < 3 * 11 * 99; i++)
        out[i / 99 % 11 * 11 + i % 11] += in[0][i];
}
APPLY(sum_13_apply, weft_sum(in[0], WEFT_DIMS(1, 3), false)) /* (3, 9) remains */
static void sum_13_expect(const double *const *in, double *out)
{
    memset(out, 0, 27 * sizeof(*out));
    for (int i = 0; i < 3 * 11 * 99; i++)
        out[i / 1089 * 9 + i / 11 % 9] += in[0][i];
}
APPLY(sum_columns_apply, weft_sum(in[0], WEFT_DIMS(0), true)) /* (100, 300) */
static void sum_columns_expect(const double *const *in, double *out)
{
    memset(out, 0, 300 * sizeof(*out));
    for (int i = 0; i < 30000; i++)
        out[i % 300] += in[0][i];
}
APPLY(max_all_apply, weft_max(in[0], WEFT_ALL_DIMS, false))
static void max_all_expect(const double *const *in, double *out)
{
    *out = in[0][0];
    for (int i = 1; i < 3 * 11 * 99; i++)
        *out = in[0][i] > *out ? in[0][i] : *out;
}
APPLY(max_13_apply, weft_max(in[0], WEFT_DIMS(-1, 1), true)) /* (3, 1, 9, 1) */
static void max_13_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 27; i++)
        out[i] = -INFINITY;
    for (int i = 0; i < 3 * 11 * 99; i++) {
        double *most = &out[i / 1089 * 9 + i / 11 % 9];
        *most = in[0][i] > *most ? in[0][i] : *most;
    }
}
APPLY(min_columns_apply, weft_min(in[0], WEFT_DIMS(0), false)) /* (100, 300) */
static void min_columns_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 30000; i++)
        out[i % 300] = i < 300 || in[0][i] < out[i % 300] ? in[0][i] : out[i % 300];
}
APPLY(argmax_pixels_apply,
      weft_argmax(weft_reshape(in[0], WEFT_SHAPE(3, 11, 99)), WEFT_DIMS(2), true))
static void argmax_pixels_expect(const double *const *in, double *out)
{
    for (int nc = 0; nc < 33; nc++) {
        out[nc] = 0;
        for (int p = 1; p < 99; p++)
            if (in[0][nc * 99 + p] > in[0][nc * 99 + (int)out[nc]])
                out[nc] = p;
    }
}
APPLY(argmin_all_apply, weft_argmin(in[0], WEFT_ALL_DIMS, false))
static void argmin_all_expect(const double *const *in, double *out)
{
    *out = 0;
    for (int i = 1; i < 3 * 11 * 99; i++)
        if (in[0][i] < in[0][(int)*out])
            *out = i;
}
APPLY(softmax_apply, weft_softmax(in[0], WEFT_DIMS(1)))
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
/* (2, 3, 10) with the pixels in one: over images and pixels, which are no neighbours. */
APPLY(softmax_02_apply, weft_softmax(in[0], WEFT_DIMS(2, 0, 3)))
static void softmax_02_expect(const double *const *in, double *out)
{
    double sum[3] = {0};
    for (int i = 0; i < 60; i++)
        sum[i / 10 % 3] += exp(in[0][i]);
    for (int i = 0; i < 60; i++)
        out[i] = exp(in[0][i]) / sum[i / 10 % 3];
}
APPLY(log_softmax_all_apply, weft_log_softmax(in[0], WEFT_ALL_DIMS))
static void log_softmax_all_expect(const double *const *in, double *out)
{
    double sum = 0;
    for (int i = 0; i < 60; i++)
        sum += exp(in[0][i]);
    for (int i = 0; i < 60; i++)
        out[i] = in[0][i] - log(sum);
}
APPLY(log_softmax_apply, weft_log_softmax(in[0], WEFT_DIMS(-1)))
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
/* (2, 21, 3, 2) by (21); (2000, 17) by (17); 40000 by (1) */
APPLY(prelu_apply, weft_prelu(in[0], in[1]))
static void prelu_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 2 * 21 * 6; i++)
        out[i] = in[0][i] > 0 ? in[0][i] : in[1][i / 6 % 21] * in[0][i];
}
static void prelu_rows_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 2000 * 17; i++)
        out[i] = in[0][i] > 0 ? in[0][i] : in[1][i % 17] * in[0][i];
}
static void prelu_one_expect(const double *const *in, double *out)
{
    for (int i = 0; i < 40000; i++)
        out[i] = in[0][i] > 0 ? in[0][i] : in[1][0] * in[0][i];
}
APPLY(dropout_all_apply, weft_dropout(in[0], 1, true))
static void zeros_expect(const double *const *in, double *out)
{
    memset(out, 0, 60 * sizeof(*out));
}
/* rows of D numbers, of which there are more than a tile has; gamma and beta (D) */
static void normalise_rows(int rows, int D, const double *const *in, double *out)
{
    for (int r = 0; r < rows; r++) {
        const double *x = in[0] + r * D;
        double mean = 0, var = 0;
        for (int j = 0; j < D; j++)
            mean += x[j] / D;
        for (int j = 0; j < D; j++)
            var += (x[j] - mean) * (x[j] - mean) / D;
        for (int j = 0; j < D; j++)
            *out++ = (x[j] - mean) / sqrt(var + 1e-3) * in[1][j] + in[2][j];
    }
}
APPLY(layer_norm_apply, weft_layer_norm(in[0], 1, in[1], in[2], 1e-3))
static void layer_norm_expect(const double *const *in, double *out)
{
    normalise_rows(2 * 40 * 3, 8, in, out);
}
static void layer_norm_rows_expect(const double *const *in, double *out)
{
    normalise_rows(3000, 10, in, out);
}
APPLY(layer_norm_2_apply, weft_layer_norm(in[0], 2, in[1], in[2], 1e-3))
static void layer_norm_2_expect(const double *const *in, double *out)
{
    normalise_rows(70, 340, in, out);
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
    {"detach", 1, {S60}, detach_apply, copy_expect, 0, 1},
    {"scale and add, long", 2, {{1, {40000}}, {1, {40000}}}, long_apply, long_expect, 2, 8},
    {"bias (N, C, H, W)", 2, {S60, {1, {3}}}, bias_apply, add_expect, 1, 4},
    {"bias (N, C)", 2, {{2, {2000, 17}}, {1, {17}}}, bias_apply, bias2_expect, 1, 4},
    {"flatten", 1, {S60}, flatten_apply, copy_expect, 0, 1},
    {"reshape", 1, {S60}, reshape_apply, copy_expect, 0, 1},
    {"expand", 1, {{2, {2, 1}}}, expand_apply, expand_expect, 0, 1},
    {"mul by factors of channels",
     2,
     {{4, {2, 21, 3, 2}}, {4, {2, 21, 1, 1}}},
     mul_apply,
     mul_channels_expect,
     1,
     4},
    {"channel_shuffle", 1, {{4, {2, 58, 2, 3}}}, shuffle_apply, shuffle_expect, 0, 1},
    {"chunk", 1, {{4, {2, 58, 2, 3}}}, chunk_apply, chunk_expect, 1, 4},
    {"concat channels inside blocks",
     3,
     {{4, {2, 5, 2, 3}}, {4, {2, 16, 2, 3}}, {4, {2, 11, 2, 3}}},
     concat1_apply,
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
    /* sums: ranges of at most 64 values of size 2 are off by 8 (runs) or 64 (columns) roundings of
     * 128; the ranges' errors add up; one more to store */
    {"sum of everything", 1, {SUMS}, sum_all_apply, sum_all_expect, 8 * 54, 128},
    {"mean of everything", 1, {SUMS}, mean_all_apply, mean_all_expect, 8, 4},
    {"sum per channel", 1, {SUMS}, sum_channel_apply, sum_channel_expect, 8 * 6 + 1, 128},
    {"mean of pixels", 1, {SUMS}, mean_pixels_apply, mean_pixels_expect, 8, 4},
    {"sum over dimensions 0, 2", 1, {SUMS}, sum_02_apply, sum_02_expect, 27 + 1, 54},
    {"sum over dimensions 1, 3", 1, {SUMS}, sum_13_apply, sum_13_expect, 8 * 11 + 1, 22},
    {"sum of columns", 1, {{2, {100, 300}}}, sum_columns_apply, sum_columns_expect, 128, 128},
    {"max of everything", 1, {SUMS}, max_all_apply, max_all_expect, 0, 1},
    {"max over dimensions 1, 3", 1, {SUMS}, max_13_apply, max_13_expect, 0, 1},
    {"min of columns", 1, {{2, {100, 300}}}, min_columns_apply, min_columns_expect, 0, 1},
    {"argmax of pixels", 1, {SUMS}, argmax_pixels_apply, argmax_pixels_expect, 0, 1},
    {"argmin of everything", 1, {SUMS}, argmin_all_apply, argmin_all_expect, 0, 1},
    /* exp of |x - top| <= 4: as in the kernel's test */
    {"softmax", 1, {S60}, softmax_apply, softmax_expect, 24, 1},
    {"softmax over dimensions 0, 2, 3", 1, {S60}, softmax_02_apply, softmax_02_expect, 24, 1},
    {"log_softmax of everything", 1, {S60}, log_softmax_all_apply, log_softmax_all_expect, 24, 8},
    {"prelu of channels", 2, {{4, {2, 21, 3, 2}}, {1, {21}}}, prelu_apply, prelu_expect, 1, 4},
    {"prelu of rows", 2, {{2, {2000, 17}}, {1, {17}}}, prelu_apply, prelu_rows_expect, 1, 4},
    {"prelu with one weight", 2, {{1, {40000}}, {1, {1}}}, prelu_apply, prelu_one_expect, 1, 4},
    {"dropout of everything", 1, {S60}, dropout_all_apply, zeros_expect, 0, 1},
    /* |xhat| <= sqrt(D), the two roundings of x - mean and three more; the variance's are in double */
    {"layer_norm of images",
     3,
     {{4, {2, 40, 3, 8}}, {1, {8}}, {1, {8}}},
     layer_norm_apply,
     layer_norm_expect,
     16,
     8},
    {"layer_norm of rows",
     3,
     {{2, {3000, 10}}, {1, {10}}, {1, {10}}},
     layer_norm_apply,
     layer_norm_rows_expect,
     16,
     8},
    {"layer_norm of two dimensions",
     3,
     {{3, {70, 17, 20}}, {2, {17, 20}}, {2, {17, 20}}},
     layer_norm_2_apply,
     layer_norm_2_expect,
     16,
     40},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_match_plain_c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
