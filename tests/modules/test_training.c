/* Modules in training: modes that layers obey, buffers that move, frozen and shared parameters,
 * gradients by name. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/modules/fixture.h"

static void read_floats(weft_tensor *t, float *out, size_t n)
{
    if (weft_read(t, out, n * sizeof(*out)) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
}

/* ---- BatchNorm2d ---- */

enum { C = 3 };

typedef struct bn_buffers {
    float mean[C], var[C];
    int64_t tracked;
} bn_buffers;

static bn_buffers buffers_of(weft_module *bn)
{
    bn_buffers b;
    read_floats(weft_get_buffer(bn, "running_mean"), b.mean, C);
    read_floats(weft_get_buffer(bn, "running_var"), b.var, C);
    assert_int_equal(
        weft_read(weft_get_buffer(bn, "num_batches_tracked"), &b.tracked, sizeof(b.tracked)),
        WEFT_OK);
    return b;
}

static void batch_norm_moves_its_buffers_in_training_only(void **state)
{
    weft_module *bn = weft_batch_norm2d_create(ctx, C, NULL);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, C, 5, 5));
    bn_buffers start = buffers_of(bn);
    weft_module_eval(bn);
    assert_non_null(weft_call(bn, x));
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    bn_buffers b = buffers_of(bn);
    assert_memory_equal(&b, &start, sizeof(b));
    weft_module_train(bn, true);
    for (int64_t i = 1; i <= 2; i++) { /* the output is never read: the buffers move all the same */
        bn_buffers before = buffers_of(bn);
        assert_non_null(weft_call(bn, x));
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        b = buffers_of(bn);
        assert_int_equal(b.tracked, i);
        assert_memory_not_equal(b.mean, before.mean, sizeof(b.mean));
        assert_memory_not_equal(b.var, before.var, sizeof(b.var));
    }
    weft_tensor_unref(x);
    weft_module_unref(bn);
}

static void batch_norms_buffers_survive_a_file_exactly(void **state)
{
    char path[] = "/tmp/weft-training-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    weft_module *a = weft_batch_norm2d_create(ctx, C, NULL);
    weft_module *b = weft_batch_norm2d_create(ctx, C, NULL);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, C, 5, 5));
    weft_call(a, x);
    weft_call(a, x); /* saving runs what is pending */
    assert_int_equal(weft_module_save(a, path), WEFT_OK);
    assert_int_equal(weft_module_load(b, path, true), WEFT_OK);
    bn_buffers from = buffers_of(a), to = buffers_of(b);
    assert_int_equal(from.tracked, 2);
    assert_memory_equal(&from, &to, sizeof(from));
    unlink(path);
    weft_tensor_unref(x);
    weft_module_unref(a);
    weft_module_unref(b);
}

static void a_state_loaded_before_the_step_runs_keeps_its_values(void **state)
{
    weft_module *m = weft_linear_create(ctx, 2, 1, &(weft_linear_opts){.no_bias = true});
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 2), 1);
    weft_tensor *ones = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 2), 1);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_tensor_list_add(&list, "weight", ones);
    assert_int_equal(weft_load_state_dict(m, &list, true), WEFT_OK);
    weft_tensor *before = weft_keep(weft_call(m, x)); /* recorded with the old weight */
    weft_init_constant(ones, 5);
    assert_int_equal(weft_load_state_dict(m, &list, true), WEFT_OK);
    weft_tensor *after = weft_keep(weft_call(m, x));
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_true(weft_item(before) == 2);
    assert_true(weft_item(after) == 10);
    weft_tensor_list_done(&list);
    weft_tensor_unref(x);
    weft_tensor_unref(ones);
    weft_tensor_unref(before);
    weft_tensor_unref(after);
    weft_module_unref(m);
}

/* ---- Dropout ---- */

static void dropout_drops_in_training_only(void **state)
{
    enum { N = 4000 };
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_dropout_create(ctx, 0.25));
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(N), 3);
    static float y[N];
    weft_module_eval(m);
    read_floats(weft_call(m, x), y, N);
    for (int i = 0; i < N; i++)
        assert_true(y[i] == 3);
    weft_sync(ctx);
    weft_module_train(m, true);
    read_floats(weft_call(m, x), y, N);
    int kept = 0;
    for (int i = 0; i < N; i++) {
        assert_true(y[i] == 0 || y[i] == 4); /* 3 / (1 - 0.25), exact */
        kept += y[i] != 0;
    }
    /* binomial: standard deviation sqrt(4000 * 0.25 * 0.75) = 27.4 */
    assert_true(abs(kept - 3 * N / 4) < 6 * 28);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

/* ---- gradients ---- */

static weft_module *two_linears(void)
{
    return WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 3, 4, NULL), weft_relu_create(ctx),
                           weft_linear_create(ctx, 4, 2, NULL));
}

static void gradients_appear_and_become_absent(void **state)
{
    weft_module *m = two_linears();
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(5, 3));
    weft_tensor *w = weft_get_parameter(m, "2.weight");
    assert_null(weft_grad(w));
    assert_int_equal(weft_backward(weft_sum(weft_call(m, x), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_non_null(weft_grad(w));
    assert_true(weft_shape_equal(weft_tensor_shape(weft_grad(w)), weft_tensor_shape(w)));
    weft_module_zero_grad(m);
    assert_null(weft_grad(w));
    assert_null(weft_grad(weft_get_parameter(m, "0.bias")));
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void frozen_modules_get_no_gradient(void **state)
{
    weft_module *m = two_linears();
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(5, 3));
    assert_int_equal(weft_module_requires_grad(weft_at(m, 0), false), WEFT_OK);
    assert_int_equal(weft_backward(weft_sum(weft_call(m, x), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_null(weft_grad(weft_get_parameter(m, "0.weight")));
    assert_non_null(weft_grad(weft_get_parameter(m, "2.weight")));
    weft_sync(ctx);
    weft_module_requires_grad(m, false);
    assert_int_not_equal(weft_backward(weft_sum(weft_call(m, x), WEFT_ALL_DIMS, false)), WEFT_OK);
    weft_error_clear(ctx);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

/* y = w (w x) through one tensor in two modules; dy/dw = 2 w x for 1 x 1 weights. */
static void a_shared_parameter_gets_one_summed_gradient(void **state)
{
    weft_linear_opts no_bias = {.no_bias = true};
    weft_module *a = weft_linear_create(ctx, 1, 1, &no_bias);
    weft_module *b = weft_linear_create(ctx, 1, 1, &no_bias);
    weft_tensor *w = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 1), 3);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 1), 5);
    assert_int_equal(weft_register_parameter(a, "weight", NULL, weft_tensor_ref(w)), WEFT_OK);
    assert_int_equal(weft_register_parameter(b, "weight", NULL, w), WEFT_OK);
    weft_module *m = WEFT_SEQUENTIAL(ctx, a, b);
    assert_int_equal(weft_parameter_count(m, false), 1);
    weft_tensor *y = weft_call(m, x);
    assert_int_equal(weft_backward(weft_sum(y, WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_true(weft_item(weft_grad(w)) == 30);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static weft_status double_output(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                                 int n_out, weft_tensor **out)
{
    out[0] = weft_scale(out[0], 2);
    return out[0] != NULL ? WEFT_OK : WEFT_ERR_INTERNAL;
}

static void a_hook_sees_and_changes_what_is_recorded(void **state)
{
    weft_module *m = weft_linear_create(ctx, 1, 1, &(weft_linear_opts){.no_bias = true});
    weft_tensor *w = weft_get_parameter(m, "weight");
    weft_init_constant(w, 3);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 1), 5);
    weft_register_forward_hook(m, double_output, NULL, 0);
    weft_tensor *y = weft_sum(weft_call(m, x), WEFT_ALL_DIMS, false);
    assert_int_equal(weft_backward(y), WEFT_OK);
    assert_true(weft_item(y) == 30);
    assert_true(weft_item(weft_grad(w)) == 10);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

/* ---- whole models ---- */

/* Its parameters; it is made without initial values to be counted. */
static int64_t parameters_of(const char *model, const weft_model_opts *opts)
{
    bool was = weft_init_skip_begin(ctx);
    weft_module *m = weft_model_create(ctx, model, opts);
    weft_init_skip_end(ctx, was);
    int64_t n = weft_parameter_count(m, false);
    weft_module_unref(m);
    return n;
}

static void every_small_model_learns_a_batch(void **state)
{
    enum { IMAGE = 32, FEW = 12000000, STEPS = 60 };
    int n;
    const weft_model_info *infos = weft_models(&n);
    weft_adamw_opts adamw = WEFT_ADAMW_OPTS_INIT;
    adamw.lr = 0.0003;
    for (int k = 0; k < n; k++) {
        int size = infos[k].smallest > IMAGE ? infos[k].smallest : IMAGE;
        weft_model_opts d = infos[k].defaults;
        d.num_classes = 4;
        d.height = d.width = size < d.height ? size : d.height;
        if (parameters_of(infos[k].name, &d) > FEW)
            continue;
        weft_module *m = weft_model_create(ctx, infos[k].name, &d);
        weft_optimizer *o = weft_adamw_create(ctx, m, &adamw);
        weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, d.in_channels, d.height, d.width));
        int64_t labels[4] = {1, 0, 3, 2};
        weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(4), labels);
        double start = INFINITY, end = INFINITY;
        for (int step = 0; step < STEPS && !(end < start / 2); step++) {
            weft_optimizer_zero_grad(o);
            weft_tensor *loss = weft_cross_entropy(weft_call(m, x), y, NULL);
            weft_backward(loss);
            if (weft_optimizer_step(o) != WEFT_OK)
                fail_msg("%s: %s", infos[k].name, weft_error_text(ctx));
            end = weft_item(loss);
            start = step == 0 ? end : start;
        }
        if (!(end < start / 2))
            fail_msg("%s: the loss went from %g to %g", infos[k].name, start, end);
        weft_tensor_unref(x);
        weft_tensor_unref(y);
        weft_optimizer_destroy(o);
        weft_module_unref(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(batch_norm_moves_its_buffers_in_training_only),
        TEST(batch_norms_buffers_survive_a_file_exactly),
        TEST(a_state_loaded_before_the_step_runs_keeps_its_values),
        TEST(dropout_drops_in_training_only),
        TEST(gradients_appear_and_become_absent),
        TEST(frozen_modules_get_no_gradient),
        TEST(a_shared_parameter_gets_one_summed_gradient),
        TEST(a_hook_sees_and_changes_what_is_recorded),
        TEST(every_small_model_learns_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
