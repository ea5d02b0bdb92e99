/* A step that is recorded again is found again: Note [The same step again] in engine/graph/again.c.
 * Each case changes one thing between steps that are otherwise the same; the results must be those of
 * a context that has never seen another step. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/graph/graph.h"
#include "engine/step/plan_cache.h"
#include "engine/tensor/context.h"
#include "weft/weft.h"

enum { WIDTH = 6, BATCH = 4 };

/* What a program does in its steps; a case sets some of it. */
typedef struct program {
    weft_context *ctx;
    weft_tensor *x, *other, *w[2];
    double factor;
    bool second, swap, twice, read, drop, anomaly, wide;
    float seen; /* by `read` */
} program;

static weft_tensor *parameter(weft_context *ctx, float first)
{
    float data[WIDTH * WIDTH];
    for (int i = 0; i < WIDTH * WIDTH; i++)
        data[i] = first + 0.01f * (float)(i * 7 % 11);
    weft_tensor *t = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(WIDTH, WIDTH), data);
    assert_non_null(t);
    assert_int_equal(weft_set_requires_grad(t, true), WEFT_OK);
    return t;
}

static program begin(void)
{
    program p = {.factor = 0.5};
    weft_error err;
    const weft_options options = {.threads = 1}; /* the plan is found before the threads begin */
    assert_int_equal(weft_context_create(&p.ctx, &options, &err), WEFT_OK);
    p.x = weft_tensor_full(p.ctx, WEFT_F32, WEFT_SHAPE(BATCH, WIDTH), 0.3);
    p.other = weft_tensor_full(p.ctx, WEFT_F32, WEFT_SHAPE(BATCH, WIDTH), -0.7);
    p.w[0] = parameter(p.ctx, 0.1f);
    p.w[1] = parameter(p.ctx, -0.2f);
    return p;
}

static void end(program *p)
{
    for (int i = 0; i < 2; i++)
        weft_tensor_unref(p->w[i]);
    weft_tensor_unref(p->x);
    weft_tensor_unref(p->other);
    weft_context_destroy(p->ctx);
}

/* w[i] -= factor * its gradient. */
static void update(program *p, int i)
{
    weft_tensor *w = p->w[i], *grad = weft_grad(w);
    assert_non_null(grad);
    weft_tensor *value = weft_sub(w, weft_scale(grad, p->factor));
    assert_non_null(value);
    assert_int_equal(wf_assign_all(1, &w, &value), WEFT_OK);
}

static void step(program *p)
{
    const bool was = p->anomaly && weft_anomaly_begin(p->ctx);
    weft_zero_grad(p->w[0]);
    weft_zero_grad(p->w[1]);
    weft_tensor *x = p->second ? p->other : p->x;
    weft_tensor *h = weft_relu(weft_matmul(x, p->w[p->swap], false, false));
    weft_tensor *y = weft_matmul(p->wide ? weft_add(h, h) : h, p->w[!p->swap], false, false);
    weft_tensor *loss = weft_mean(weft_mul(y, y), WEFT_ALL_DIMS, false);
    assert_non_null(loss);
    assert_int_equal(weft_backward_with(loss, NULL, p->twice), WEFT_OK);
    if (p->twice)
        assert_int_equal(weft_backward(loss), WEFT_OK);
    if (p->read)
        p->seen = (float)weft_item(loss);
    if (p->drop)
        weft_zero_grad(p->w[1]);
    update(p, 0);
    if (!p->drop)
        update(p, 1);
    assert_int_equal(weft_sync(p->ctx), WEFT_OK);
    if (p->anomaly)
        weft_anomaly_end(p->ctx, was);
}

/* Makes the next step forget what the last one recorded. */
static void forget(program *p)
{
    wf_graph_differs(p->ctx->graph);
    wf_again_forget(wf_plan_cache_again(p->ctx->plans));
}

/* Three steps, the one that `change` makes, and three more; `forgetful`: each as if it were the first. */
static void run(program *p, void (*change)(program *p), bool forgetful)
{
    for (int i = 0; i < 7; i++) {
        const program usual = *p;
        if (i == 3)
            change(p);
        if (forgetful)
            forget(p);
        step(p);
        const float seen = p->seen;
        *p = usual;
        p->seen = seen;
    }
}

static void second(program *p)
{
    p->second = true;
}

static void swap(program *p)
{
    p->swap = true;
}

static void twice(program *p)
{
    p->twice = true;
}

static void read_it(program *p)
{
    p->read = true;
}

static void drop(program *p)
{
    p->drop = true;
}

static void factor(program *p)
{
    p->factor = 0.25;
}

static void anomaly(program *p)
{
    p->anomaly = true;
}

static void wide(program *p)
{
    p->wide = true;
}

/* A step is recorded and given up. */
static void discard(program *p)
{
    weft_tensor *y = weft_matmul(p->x, p->w[0], false, false);
    assert_non_null(y);
    weft_discard(p->ctx);
}

/* So is another step that is the usual one but for its end. */
static void break_off(program *p)
{
    weft_tensor *h = weft_relu(weft_matmul(p->x, p->w[0], false, false));
    assert_non_null(h);
    assert_null(weft_matmul(p->w[1], h, false, false));
    weft_discard(p->ctx);
    weft_error_clear(p->ctx);
}

static void frozen(program *p)
{
    assert_int_equal(weft_set_requires_grad(p->other, true), WEFT_OK);
    p->second = true;
}

static void nothing(program *p)
{
    (void)p;
}

static void the_bits_are_those_of_steps_that_were_never_seen(void **state)
{
    static void (*const changes[])(program *) = {nothing, second,  swap,      twice,
                                                 read_it, drop,    factor,    anomaly,
                                                 wide,    discard, break_off, frozen};
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        program a = begin(), b = begin();
        run(&a, changes[i], false);
        run(&b, changes[i], true);
        for (int w = 0; w < 2; w++)
            assert_memory_equal(weft_tensor_const_data(a.w[w]), weft_tensor_const_data(b.w[w]),
                                sizeof(float) * WIDTH * WIDTH);
        assert_memory_equal(&a.seen, &b.seen, sizeof a.seen);
        end(&a);
        end(&b);
    }
}

static void the_same_step_is_found_without_its_signature(void **state)
{
    (void)state;
    program p = begin();
    step(&p);
    step(&p);
    const wf_again *again = wf_plan_cache_again(p.ctx->plans);
    const uint64_t log = p.ctx->graph->log;
    const wf_plan *plan = again->plan;
    assert_non_null(plan);
    for (int i = 0; i < 3; i++) {
        p.factor *= 0.5; /* a scalar is no part of a step's form */
        p.second = !p.second;
        step(&p);
    }
    assert_true(p.ctx->graph->log == log);
    assert_ptr_equal(again->plan, plan);
    p.wide = true;
    step(&p);
    assert_true(p.ctx->graph->log != log);
    end(&p);
}

static void a_dropped_plan_is_forgotten(void **state)
{
    (void)state;
    program p = begin();
    step(&p);
    step(&p);
    wf_plan_cache_clear(p.ctx->plans);
    assert_null(wf_plan_cache_again(p.ctx->plans)->plan);
    step(&p);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_are_those_of_steps_that_were_never_seen),
        cmocka_unit_test(the_same_step_is_found_without_its_signature),
        cmocka_unit_test(a_dropped_plan_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
