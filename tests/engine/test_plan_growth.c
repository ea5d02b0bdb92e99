/* What compiling costs as networks grow, by counts and by sizes that would take minutes if the cost
 * grew with their square; and that gradient accumulation compiles once, however many micro-batches
 * it has. */
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "engine/step/execute.h"
#include "engine/step/plan_cache.h"
#include "engine/tensor/context.h"
#include "engine/plan/plan.h"
#include "weft/weft.h"

enum { WIDTH = 16, MOST = 4000 };

typedef struct chain {
    weft_context *ctx;
    weft_tensor *x;
    weft_tensor_list params;
    weft_optimizer *opt;
} chain;

static void chain_init(chain *c, int n)
{
    const weft_options o = {.threads = 2};
    weft_error err = WEFT_ERROR_INIT;
    *c = (chain){0};
    assert_int_equal(weft_context_create(&c->ctx, &o, &err), WEFT_OK);
    c->x = weft_tensor_full(c->ctx, WEFT_F32, WEFT_SHAPE(2, WIDTH), 1);
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        weft_tensor *t = weft_tensor_full(c->ctx, WEFT_F32, WEFT_SHAPE(WIDTH), 1);
        assert_int_equal(weft_set_requires_grad(t, true), WEFT_OK);
        assert_int_equal(weft_tensor_list_add(&c->params, name, t), WEFT_OK);
        weft_tensor_unref(t);
    }
    c->opt = weft_sgd_create(c->ctx, NULL, &(weft_sgd_opts){.lr = 1e-3, .momentum = 0.9});
    assert_int_equal(weft_optimizer_add_group(c->opt, &c->params, NAN, NAN), WEFT_OK);
}

static void chain_done(chain *c)
{
    weft_optimizer_destroy(c->opt);
    weft_tensor_list_done(&c->params);
    weft_tensor_unref(c->x);
    weft_context_destroy(c->ctx);
}

static void record(chain *c)
{
    weft_tensor *y = c->x;
    for (int i = 0; i < c->params.n; i++)
        y = weft_mul(y, c->params.item[i].tensor);
    if (weft_backward(weft_mean(y, WEFT_ALL_DIMS, false)) != WEFT_OK)
        fail_msg("%s", weft_error_text(c->ctx));
}

/* Steps that compiling a training step of n parameters takes. */
static size_t work(int n, bool clip)
{
    chain c;
    chain_init(&c, n);
    record(&c);
    if (clip)
        assert_non_null(weft_clip_grad_norm(&c.params, 1, false));
    assert_int_equal(weft_optimizer_record(c.opt), WEFT_OK);
    wf_plan *plan = NULL;
    assert_int_equal(wf_plan_of_recorded(c.ctx, &plan), WEFT_OK);
    const size_t steps = plan->work;
    wf_plan_destroy(plan);
    weft_discard(c.ctx);
    chain_done(&c);
    return steps;
}

static void the_work_of_compiling_grows_about_as_the_network_does(void **state)
{
    for (int clip = 0; clip < 2; clip++) {
        const size_t small = work(MOST / 8, clip), large = work(MOST, clip);
        if (large > 32 * small) /* 8 would be linear, 64 a square */
            fail_msg("8 times the parameters: %zu and %zu steps", small, large);
        if (large > (size_t)MOST * 20000)
            fail_msg("%zu steps for %d parameters", large, MOST);
    }
}

static void a_network_of_thousands_of_parameters_trains(void **state)
{
    chain c;
    chain_init(&c, MOST);
    for (int step = 0; step < 3; step++) {
        weft_optimizer_zero_grad(c.opt);
        record(&c);
        assert_non_null(weft_clip_grad_norm(&c.params, 1, false));
        assert_int_equal(weft_optimizer_step(c.opt), WEFT_OK);
    }
    assert_int_equal(wf_plan_cache_compiled(c.ctx->plans), 1);
    chain_done(&c);
}

static void a_chain_of_many_ops_needs_no_deep_stack(void **state)
{
    const weft_options o = {.threads = 1};
    weft_context *ctx = NULL;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_context_create(&ctx, &o, &err), WEFT_OK);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3, 40000), -1), *y = x;
    assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
    for (int i = 0; i < 20000; i++) /* sums of all elements: tasks that are not chained */
        y = i % 1000 == 999 ? weft_expand(weft_sum(y, WEFT_ALL_DIMS, false), WEFT_SHAPE(3, 4))
                            : weft_relu(y);
    if (weft_backward(weft_sum(y, WEFT_ALL_DIMS, false)) != WEFT_OK || weft_sync(ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void all_micro_batches_of_an_accumulation_share_a_plan(void **state)
{
    int compiled[2];
    const int batches[2] = {4, 100};
    for (int i = 0; i < 2; i++) {
        chain c;
        chain_init(&c, 3);
        for (int step = 0; step < 4; step++) {
            weft_optimizer_zero_grad(c.opt);
            for (int k = 0; k < batches[i]; k++)
                record(&c);
            assert_int_equal(weft_optimizer_step(c.opt), WEFT_OK);
            if (step == 1)
                compiled[i] = wf_plan_cache_compiled(c.ctx->plans);
        }
        /* Nothing new from the third step on. */
        assert_int_equal(wf_plan_cache_compiled(c.ctx->plans), compiled[i]);
        /* d(mean of 2 rows of x p0 p1 p2)/dp0 is near 1/16 in each micro-batch. */
        float grad[WIDTH];
        assert_int_equal(weft_read(weft_grad(c.params.item[0].tensor), grad, sizeof grad), WEFT_OK);
        assert_true(grad[0] > 0.5 * batches[i] / WIDTH && grad[0] < 1.0 * batches[i] / WIDTH);
        chain_done(&c);
    }
    assert_int_equal(compiled[0], compiled[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_work_of_compiling_grows_about_as_the_network_does),
        cmocka_unit_test(a_network_of_thousands_of_parameters_trains),
        cmocka_unit_test(a_chain_of_many_ops_needs_no_deep_stack),
        cmocka_unit_test(all_micro_batches_of_an_accumulation_share_a_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
