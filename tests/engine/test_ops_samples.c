/* Every op's gradcheck samples again in f32, plain and blocked: values
 * and gradients agree with f64. */
#include "tests/engine/values.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_in_f32_agree_with_f64_in_every_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
