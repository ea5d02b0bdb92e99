/* Dropout's key, and the optimizer updates: several steps against the formulas in double, committed
 * in place, or not at all. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/graph/ops/internal.h"
#include "kernels/optim/optim.h"
#include "weft/weft.h"

static weft_context *context(int threads, weft_executor executor, uint64_t seed)
{
    weft_options options = {.threads = threads, .executor = executor, .seed = seed};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    return ctx;
}

enum { N = 4, C = 5, PIXELS = 63, COUNT = N * C * PIXELS };

/* An op that drops, and x's shape, of COUNT elements: `run` neighbours are dropped together. */
typedef struct drop_case {
    weft_tensor *(*drop)(weft_tensor *x, double p, bool training);
    weft_shape shape;
    int run;
} drop_case;
static const drop_case dropout = {weft_dropout, {4, {N, C, 7, 9}}, 1};
static const drop_case depth = {weft_stochastic_depth, {4, {N * 63, C, 1, 1}}, C};

/* It on ones, twice in one step, the second one's gradient too. */
static void two_masks(const drop_case *d, int threads, weft_executor executor, uint64_t seed,
                      float *a, float *b, float *db)
{
    weft_context *ctx = context(threads, executor, seed);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, d->shape, 1.0);
    assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
    weft_tensor *ya = weft_keep(weft_detach(d->drop(x, 0.25, true)));
    weft_tensor *y = d->drop(x, 0.25, true), *yb = weft_keep(y);
    assert_int_equal(weft_backward(weft_sum(y, WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_read(weft_grad(x), db, COUNT * sizeof(*db)), WEFT_OK);
    assert_int_equal(weft_read(ya, a, COUNT * sizeof(*a)), WEFT_OK);
    assert_int_equal(weft_read(yb, b, COUNT * sizeof(*b)), WEFT_OK);
    weft_tensor_unref(ya);
    weft_tensor_unref(yb);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void drops_by_seed_and_op_and_by_nothing_else(const drop_case *d)
{
    float a[COUNT], b[COUNT], db[COUNT], a2[COUNT], b2[COUNT], db2[COUNT];
    two_masks(d, 1, WEFT_EXECUTOR_PARALLEL, 11, a, b, db);
    int kept = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_true(a[i] == 0.0f || fabsf(a[i] - 1.0f / 0.75f) <= 0x1p-23f);
        assert_true(a[i] == a[i / d->run * d->run]);
        kept += a[i] != 0.0f;
    }
    const double draws = (double)COUNT / d->run; /* 5 standard deviations */
    assert_true(fabs((double)kept / d->run - 0.75 * draws) < 5 * sqrt(0.75 * 0.25 * draws));
    assert_memory_equal(b, db, sizeof(b)); /* x is 1: the value is the gradient */
    assert_memory_not_equal(a, b, sizeof(a));
    two_masks(d, 3, WEFT_EXECUTOR_PARALLEL, 11, a2, b2, db2);
    assert_memory_equal(a, a2, sizeof(a));
    assert_memory_equal(b, b2, sizeof(b));
    two_masks(d, 1, WEFT_EXECUTOR_INTERPRETER, 11, a2, b2, db2);
    assert_memory_equal(a, a2, sizeof(a));
    two_masks(d, 1, WEFT_EXECUTOR_PARALLEL, 12, a2, b2, db2);
    assert_memory_not_equal(a, a2, sizeof(a));
}

static void dropout_is_keyed_by_seed_and_op_and_by_nothing_else(void **state)
{
    drops_by_seed_and_op_and_by_nothing_else(&dropout);
}

static void stochastic_depth_drops_whole_rows_by_the_same_key(void **state)
{
    drops_by_seed_and_op_and_by_nothing_else(&depth);
}

static void dropout_out_of_training_is_the_identity(void **state)
{
    weft_context *ctx = context(1, WEFT_EXECUTOR_PARALLEL, 1);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3), 1.0);
    assert_ptr_equal(weft_dropout(x, 0.5, false), x);
    assert_ptr_equal(weft_dropout(x, 0.0, true), x);
    assert_ptr_equal(weft_stochastic_depth(x, 0.5, false), x);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

enum { SIZE = 40001, STEPS = 3 }; /* several chunks and a tail */

static double start(int i)
{
    return (double)(float)sin(0.01 * i);
}

static double gradient(int i, int step)
{
    return (double)(float)cos(0.02 * i + step);
}

static weft_tensor *filled(weft_context *ctx, double (*f)(int, int), int step, bool first)
{
    static float x[SIZE];
    for (int i = 0; i < SIZE; i++)
        x[i] = (float)(first ? start(i) : f(i, step));
    weft_tensor *t = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(SIZE), x);
    assert_non_null(t);
    return t;
}

static void sgd_commits_parameter_and_buffer(void **state)
{
    static const wf_sgd_update_opts cases[] = {
        {.lr = 0.1},
        {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01},
        {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true},
        {.lr = 0.1, .momentum = 0.9, .dampening = 0.3},
    };
    static double p[SIZE], m[SIZE];
    static float got[SIZE];
    for (int c = 0; c < 4; c++) {
        weft_context *ctx = context(2, WEFT_EXECUTOR_PARALLEL, 1);
        weft_tensor *param = filled(ctx, NULL, 0, true);
        weft_tensor *buffer = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(SIZE));
        for (int i = 0; i < SIZE; i++)
            p[i] = start(i);
        for (int step = 0; step < STEPS; step++) {
            wf_sgd_update_opts o = cases[c];
            o.first = step == 0;
            o.lr /= 1 + step; /* a schedule */
            weft_tensor *g = filled(ctx, gradient, step, false);
            assert_int_equal(wf_record_sgd_update(param, g, o.momentum != 0 ? buffer : NULL, &o),
                             WEFT_OK);
            assert_int_equal(weft_sync(ctx), WEFT_OK);
            weft_tensor_unref(g);
            for (int i = 0; i < SIZE; i++) {
                double d = gradient(i, step) + o.weight_decay * p[i];
                if (o.momentum != 0) {
                    m[i] = o.first ? d : o.momentum * m[i] + (1 - o.dampening) * d;
                    d = o.nesterov ? d + o.momentum * m[i] : m[i];
                }
                p[i] -= o.lr * d;
            }
        }
        assert_int_equal(weft_read(param, got, sizeof(got)), WEFT_OK);
        for (int i = 0; i < SIZE; i++)
            if (!(fabs(got[i] - p[i]) <= STEPS * 8 * 0x1p-24 * 4)) /* 8 roundings a step, below 4 */
                fail_msg("case %d [%d]: %.9g, expected %.9g", c, i, (double)got[i], p[i]);
        weft_tensor_unref(param);
        weft_tensor_unref(buffer);
        weft_context_destroy(ctx);
    }
}

static void adamw_commits_parameter_and_moments(void **state)
{
    static double p[SIZE], m[SIZE], v[SIZE];
    static float got[SIZE];
    weft_context *ctx = context(2, WEFT_EXECUTOR_PARALLEL, 1);
    weft_tensor *param = filled(ctx, NULL, 0, true);
    weft_tensor *tm = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(SIZE));
    weft_tensor *tv = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(SIZE));
    for (int i = 0; i < SIZE; i++)
        p[i] = start(i);
    for (int step = 1; step <= STEPS; step++) {
        const wf_adam o = {.lr = 0.01,
                           .beta1 = 0.9,
                           .beta2 = 0.99,
                           .eps = 1e-3,
                           .weight_decay = 0.1,
                           .step = step};
        weft_tensor *const moments[3] = {tm, tv};
        weft_tensor *g = filled(ctx, gradient, step, false);
        assert_int_equal(wf_record_adam_update(param, g, moments, &o), WEFT_OK);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        weft_tensor_unref(g);
        for (int i = 0; i < SIZE; i++) {
            double d = gradient(i, step);
            m[i] = o.beta1 * m[i] + (1 - o.beta1) * d;
            v[i] = o.beta2 * v[i] + (1 - o.beta2) * d * d;
            double mh = m[i] / (1 - pow(o.beta1, step)), vh = v[i] / (1 - pow(o.beta2, step));
            p[i] = p[i] * (1 - o.lr * o.weight_decay) - o.lr * mh / (sqrt(vh) + o.eps);
        }
    }
    assert_int_equal(weft_read(param, got, sizeof(got)), WEFT_OK);
    for (int i = 0; i < SIZE; i++) /* 16 roundings a step, below 2 */
        if (!(fabs(got[i] - p[i]) <= STEPS * 16 * 0x1p-24 * 2))
            fail_msg("[%d]: %.9g, expected %.9g", i, (double)got[i], p[i]);
    weft_tensor_unref(param);
    weft_tensor_unref(tm);
    weft_tensor_unref(tv);
    weft_context_destroy(ctx);
}

static void a_failed_check_commits_nothing(void **state)
{
    static float before[SIZE], after[SIZE];
    weft_context *ctx = context(2, WEFT_EXECUTOR_PARALLEL, 1);
    weft_tensor *param = filled(ctx, NULL, 0, true), *g = filled(ctx, gradient, 0, false);
    const int64_t bad[] = {7};
    weft_tensor *label = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(1), bad);
    weft_tensor *logits = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(1, 3));
    assert_int_equal(weft_read(param, before, sizeof(before)), WEFT_OK);
    weft_tensor *loss = weft_keep(weft_cross_entropy(logits, label, NULL));
    assert_int_equal(wf_record_sgd_update(param, g, NULL, &(wf_sgd_update_opts){.lr = 1}), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_ERR_INVALID);
    assert_non_null(strstr(weft_error_text(ctx), "label 7 at row 0 is outside [0, 3)"));
    weft_error_clear(ctx);
    assert_int_equal(weft_read(param, after, sizeof(after)), WEFT_OK);
    assert_memory_equal(before, after, sizeof(before));
    weft_tensor *all[] = {param, g, label, logits, loss};
    for (int i = 0; i < 5; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropout_is_keyed_by_seed_and_op_and_by_nothing_else),
        cmocka_unit_test(stochastic_depth_drops_whole_rows_by_the_same_key),
        cmocka_unit_test(dropout_out_of_training_is_the_identity),
        cmocka_unit_test(sgd_commits_parameter_and_buffer),
        cmocka_unit_test(adamw_commits_parameter_and_moments),
        cmocka_unit_test(a_failed_check_commits_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
