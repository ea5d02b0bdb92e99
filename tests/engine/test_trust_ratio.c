/* LAMB and LARS over tensors of several chunks: their trust ratios are norms of the whole tensor, in
 * a fixed order, so the bits do not depend on threads. */
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

enum { SIZE = 40001, STEPS = 3 }; /* two chunks and a tail */

static double start(int i)
{
    return (double)(float)sin(0.01 * i);
}

static double gradient(int i, int step)
{
    return (double)(float)cos(0.02 * i + step);
}

static double norm(const double *x)
{
    double sum = 0;
    for (int i = 0; i < SIZE; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* ---- the formulas, in double ---- */

static double p[SIZE], m[SIZE], v[SIZE], u[SIZE];

static void lamb(const wf_lamb *o)
{
    for (int i = 0; i < SIZE; i++) {
        const double g = gradient(i, (int)o->step);
        m[i] = o->beta1 * m[i] + (1 - o->beta1) * g;
        v[i] = o->beta2 * v[i] + (1 - o->beta2) * g * g;
        const double mh = m[i] / (1 - pow(o->beta1, o->step));
        const double vh = v[i] / (1 - pow(o->beta2, o->step));
        u[i] = mh / (sqrt(vh) + o->eps) + o->weight_decay * p[i];
    }
    const double ratio = o->weight_decay != 0 ? norm(p) / norm(u) : 1;
    for (int i = 0; i < SIZE; i++)
        p[i] -= o->rate * ratio * u[i];
}

static void lars(const wf_lars_update_opts *o, int step)
{
    for (int i = 0; i < SIZE; i++)
        u[i] = gradient(i, step);
    double ratio = 1;
    if (o->weight_decay != 0)
        ratio = o->trust_coefficient * norm(p) / (norm(u) + o->weight_decay * norm(p) + o->eps);
    for (int i = 0; i < SIZE; i++) {
        const double d = ratio * (u[i] + o->weight_decay * p[i]);
        m[i] = step == 1 ? d : o->momentum * m[i] + d;
        p[i] -= o->lr * m[i];
    }
}

/* ---- the ops ---- */

static float values[SIZE];

static weft_tensor *gradient_tensor(weft_context *ctx, int step)
{
    for (int i = 0; i < SIZE; i++)
        values[i] = (float)gradient(i, step);
    return weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(SIZE), values);
}

typedef struct setup {
    bool lars;
    double weight_decay;
} setup;

static void train(const setup *s, int threads, weft_executor executor, bool formula,
                  float out[SIZE])
{
    weft_options options = {.threads = threads, .executor = executor};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    for (int i = 0; i < SIZE; i++)
        values[i] = (float)start(i);
    weft_tensor *param = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(SIZE), values);
    weft_tensor *tm = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(SIZE));
    weft_tensor *tv = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(SIZE));
    for (int i = 0; i < SIZE; i++) {
        p[i] = start(i);
        m[i] = v[i] = 0;
    }
    for (int step = 1; step <= STEPS; step++) {
        weft_tensor *g = gradient_tensor(ctx, step);
        const wf_lamb a = {0.02, 0.9, 0.99, 1e-3, s->weight_decay, step};
        const wf_lars_update_opts b = {.lr = 1,
                                       .momentum = 0.9,
                                       .weight_decay = s->weight_decay,
                                       .first = step == 1,
                                       .trust_coefficient = 0.02,
                                       .eps = 1e-8};
        weft_tensor *const states[3] = {tm, s->lars ? NULL : tv};
        weft_status status = s->lars ? wf_record_lars_update(param, g, states, &b)
                                     : wf_record_lamb_update(param, g, states, &a);
        assert_int_equal(status, WEFT_OK);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        weft_tensor_unref(g);
        if (formula && s->lars)
            lars(&b, step);
        else if (formula)
            lamb(&a);
    }
    assert_int_equal(weft_read(param, out, SIZE * sizeof(float)), WEFT_OK);
    weft_tensor_unref(param);
    weft_tensor_unref(tm);
    weft_tensor_unref(tv);
    weft_context_destroy(ctx);
}

static void trust_ratios_are_of_the_whole_tensor_for_any_number_of_threads(void **state)
{
    static const setup cases[] = {{false, 0.1}, {false, 0}, {true, 1e-2}, {true, 0}};
    static float one[SIZE], other[SIZE];
    for (int c = 0; c < 4; c++) {
        train(&cases[c], 1, WEFT_EXECUTOR_PARALLEL, true, one);
        /* 20 roundings a step; without decay LARS is SGD with steps of up to 2.7 in all */
        for (int i = 0; i < SIZE; i++)
            if (!(fabs((double)one[i] - p[i]) <= STEPS * 20 * 0x1p-24 * 8))
                fail_msg("case %d [%d]: %.9g, expected %.9g", c, i, (double)one[i], p[i]);
        train(&cases[c], 3, WEFT_EXECUTOR_PARALLEL, false, other);
        assert_memory_equal(one, other, sizeof(one));
        train(&cases[c], 1, WEFT_EXECUTOR_INTERPRETER, false, other);
        assert_memory_equal(one, other, sizeof(one));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trust_ratios_are_of_the_whole_tensor_for_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
