/* Every op's gradcheck samples again in f32, plain and blocked, and with images stored as bf16: values
 * and gradients agree with f64. */
#include "engine/graph/ops/ops.h"
#include "tests/engine/values.h"

#include "kernels/eltwise/eltwise.h"

enum { SAMPLE_MAX = 4096 };

typedef enum form { PLAIN, BLOCKED, BF16 } form;

/* A number that bf16 has. */
static double rounded(double x)
{
    uint16_t low;
    wf_cast_get(WEFT_F64, WEFT_BF16)(1, &x, &low);
    return (double)wf_bf16_value(low);
}

/* The same images, stored as bf16 with weft_options.amp: a convolution by the identity gives them. */
static weft_tensor *through_bf16(weft_context *ctx, weft_tensor *x, weft_tensor **identity)
{
    const weft_shape s = weft_tensor_shape(x);
    *identity = NULL;
    if (s.rank != 4 || s.dim[2] * s.dim[3] == 1 || weft_tensor_dtype(x) != WEFT_F32)
        return x;
    *identity = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(s.dim[1], s.dim[1], 1, 1));
    float *w = weft_tensor_data(*identity);
    for (int64_t c = 0; c < s.dim[1]; c++)
        w[c * s.dim[1] + c] = 1;
    return weft_conv2d(x, *identity, NULL, NULL);
}

/* The sample's output and gradients, in dtype. Returns the number of doubles written to out. */
static int64_t run_sample(weft_context *ctx, const wf_op *op, int index, weft_dtype dtype, form how,
                          bool round_inputs, double *out)
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
            for (int64_t j = 0; round_inputs && j < weft_shape_count(shape); j++)
                x[j] = rounded(x[j]);
            in[i] = stored(ctx, dtype, shape, x);
            if (weft_requires_grad(s.in[i]))
                assert_int_equal(weft_set_requires_grad(in[i], true), WEFT_OK);
        }
        weft_tensor *identity[WF_MAX_IN + 1] = {NULL};
        for (int i = 0; i < s.n_in; i++)
            use[i] = how == BLOCKED ? blocked(in[i])
                     : how == BF16  ? through_bf16(ctx, in[i], &identity[i])
                                    : in[i];
        weft_tensor *y = s.apply(s.user, use, s.n_in);
        if (!y)
            fail_msg("%s, %s: %s", op->name, s.name, weft_error_text(ctx));
        if (how == BF16)
            y = through_bf16(ctx, y, &identity[WF_MAX_IN]);
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
        for (int i = 0; i <= WF_MAX_IN; i++)
            weft_tensor_unref(identity[i]);
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
            int64_t n = run_sample(ctx, wf_ops[o], index, WEFT_F64, PLAIN, false, want);
            if (n < 0)
                break;
            double size = 1;
            for (int64_t i = 0; i < n; i++)
                size = fmax(size, fabs(want[i]));
            for (int block = 0; block < 2; block++) {
                assert_int_equal(run_sample(ctx, wf_ops[o], index, WEFT_F32,
                                            block ? BLOCKED : PLAIN, false, got),
                                 n);
                for (int64_t i = 0; i < n; i++)
                    /* samples add up to some 64 products: twice as many roundings */
                    if (!(fabs(got[i] - want[i]) <= 128 * 0x1p-24 * size))
                        fail_msg("%s, sample %d%s [%lld]: %.9g, expected %.9g", wf_ops[o]->name,
                                 index, block ? ", blocked" : "", (long long)i, got[i], want[i]);
            }
        }
    weft_context_destroy(ctx);
}

/* From the same bf16 numbers. Each stored image is rounded once, by 2^-8 of it at most; the
 * samples' outputs and gradients pass through four of them. */
static void samples_of_bf16_images_agree_with_f64(void **state)
{
    weft_options options = {.threads = 2, .amp = WEFT_AMP_BF16};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    double want[SAMPLE_MAX], got[SAMPLE_MAX];
    for (int o = 0; o < wf_n_ops; o++)
        for (int index = 0; wf_ops[o]->sample; index++) {
            int64_t n = run_sample(ctx, wf_ops[o], index, WEFT_F64, PLAIN, true, want);
            if (n < 0)
                break;
            double size = 1;
            for (int64_t i = 0; i < n; i++)
                size = fmax(size, fabs(want[i]));
            assert_int_equal(run_sample(ctx, wf_ops[o], index, WEFT_F32, BF16, true, got), n);
            for (int64_t i = 0; i < n; i++)
                if (!(fabs(got[i] - want[i]) <= 4 * 0x1p-8 * size))
                    fail_msg("%s, sample %d [%lld]: %.9g, expected %.9g", wf_ops[o]->name, index,
                             (long long)i, got[i], want[i]);
        }
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_in_f32_agree_with_f64_in_every_layout),
        cmocka_unit_test(samples_of_bf16_images_agree_with_f64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
