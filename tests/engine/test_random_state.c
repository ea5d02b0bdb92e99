/* What moves a context's random numbers on, and what does not: dropout and stochastic depth draw
 * anew in every run, a step that is tried again draws the same, a resumed run goes on. */
#include "tests/engine/values.h"

#include "weft/autograd.h"

enum { ROWS = 64, COUNT = 5 * ROWS };

typedef weft_tensor *(*drop_fn)(weft_tensor *x, double p, bool training);
static const drop_fn drops[] = {weft_dropout, weft_stochastic_depth};

static weft_tensor *ones(weft_context *ctx)
{
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(ROWS, 5), 1.0);
    assert_non_null(x);
    weft_set_requires_grad(x, true);
    return x;
}

static uint64_t draws(const weft_context *ctx)
{
    return weft_get_random_state(ctx).draws;
}

/* How a step that only looks at a forward pass ends. */
typedef enum look { KEEP_AND_SYNC, READ_AND_SYNC, READ_AND_DISCARD, N_LOOKS } look;

static void look_at(weft_context *ctx, weft_tensor *y, look how, double *out)
{
    weft_tensor *kept = how == KEEP_AND_SYNC ? weft_keep(y) : NULL;
    if (!kept)
        read_all(ctx, y, out);
    if (how == READ_AND_DISCARD)
        weft_discard(ctx);
    else
        assert_int_equal(weft_sync(ctx), WEFT_OK);
    if (kept)
        read_all(ctx, kept, out);
    weft_tensor_unref(kept);
}

/* Monte Carlo dropout: the predictions of a loop of forward passes differ. */
static void every_run_draws_other_numbers(void **state)
{
    enum { RUNS = 4 };
    static double seen[RUNS][COUNT];
    for (int c = 0; c < 2 * N_LOOKS * 2; c++) {
        drop_fn drop = drops[c % 2];
        weft_executor executor = c / 2 % 2 ? WEFT_EXECUTOR_INTERPRETER : WEFT_EXECUTOR_PARALLEL;
        weft_context *ctx = context(executor);
        weft_tensor *x = ones(ctx);
        for (int run = 0; run < RUNS; run++) {
            bool was = weft_no_grad_begin(ctx);
            look_at(ctx, drop(x, 0.5, true), (look)(c / 4), seen[run]);
            weft_no_grad_end(ctx, was);
            assert_int_equal(draws(ctx), run + 1);
            for (int i = 0; i < run; i++)
                assert_memory_not_equal(seen[i], seen[run], sizeof(seen[0]));
        }
        weft_tensor_unref(x);
        weft_context_destroy(ctx);
    }
}

static void runs_without_random_numbers_leave_the_count(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = ones(ctx);
    double out[COUNT];
    for (int how = 0; how < N_LOOKS; how++)
        look_at(ctx, weft_relu(weft_dropout(x, 0.5, false)), (look)how, out);
    weft_dropout(x, 0.5, true); /* recorded, and never run */
    weft_discard(ctx);
    assert_int_equal(draws(ctx), 0);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

/* A training step: the mask that x's gradient shows, and the one that the output shows. */
typedef enum ending { SYNC, DISCARD, FAIL } ending;
static void train_step(weft_context *ctx, weft_tensor *x, drop_fn drop, bool read, ending how,
                       double *dx)
{
    double y[COUNT];
    weft_zero_grad(x);
    weft_tensor *out = drop(x, 0.5, true), *kept = weft_keep(out);
    if (read)
        read_all(ctx, out, y);
    if (how == FAIL) {
        weft_tensor *huge = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1), 1e38);
        weft_check_finite(weft_mul(huge, huge));
        weft_tensor_unref(huge);
    }
    assert_int_equal(weft_backward(weft_sum(out, WEFT_ALL_DIMS, false)), WEFT_OK);
    if (how == DISCARD) {
        weft_discard(ctx);
    } else if (how == FAIL) {
        assert_int_equal(weft_sync(ctx), WEFT_ERR_NUMERIC);
        weft_discard(ctx);
        weft_error_clear(ctx);
    } else {
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        read_all(ctx, weft_grad(x), dx);
        read_all(ctx, kept, y);
        assert_memory_equal(dx, y, sizeof(y)); /* x is 1: backward drops what forward dropped */
    }
    weft_tensor_unref(kept);
}

static void a_training_loop_draws_by_its_steps(void **state)
{
    enum { STEPS = 3 };
    static double want[STEPS][COUNT], got[COUNT], out[COUNT];
    for (int c = 0; c < 2; c++) {
        weft_context *plain = context(WEFT_EXECUTOR_PARALLEL);
        weft_context *ctx = context(c ? WEFT_EXECUTOR_INTERPRETER : WEFT_EXECUTOR_PARALLEL);
        weft_tensor *px = ones(plain), *x = ones(ctx);
        for (int s = 0; s < STEPS; s++) {
            train_step(plain, px, drops[c], false, SYNC, want[s]);
            assert_int_equal(draws(plain), s + 1);
        }
        for (int s = 0; s < STEPS; s++) {
            /* tries that do not run to their end, an evaluation, reading in the middle */
            train_step(ctx, x, drops[c], false, DISCARD, NULL);
            train_step(ctx, x, drops[c], true, DISCARD, NULL);
            train_step(ctx, x, drops[c], s == 1, FAIL, NULL);
            look_at(ctx, drops[c](x, 0.5, false), READ_AND_DISCARD, out);
            train_step(ctx, x, drops[c], s > 0, SYNC, got);
            assert_memory_equal(got, want[s], sizeof(got));
        }
        weft_tensor_unref(px);
        weft_tensor_unref(x);
        weft_context_destroy(plain);
        weft_context_destroy(ctx);
    }
}

static void a_resumed_run_goes_on_with_the_state(void **state)
{
    static double want[COUNT], got[COUNT], noise[COUNT], again[COUNT];
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL), *other = NULL;
    weft_options options = {.threads = 1, .seed = 99};
    assert_int_equal(weft_context_create(&other, &options, NULL), WEFT_OK);
    weft_tensor *x = ones(ctx), *y = ones(other);
    for (int s = 0; s < 3; s++)
        train_step(ctx, x, weft_dropout, false, SYNC, want);
    weft_tensor_unref(weft_randn(ctx, WEFT_SHAPE(2)));
    weft_random_state then = weft_get_random_state(ctx);
    assert_int_equal(then.seed, 7); /* of context() */
    assert_int_equal(then.draws, 3);

    weft_relu(y);
    assert_int_equal(weft_set_random_state(other, then), WEFT_ERR_STATE);
    assert_int_equal(weft_get_random_state(other).seed, 99);
    weft_error_clear(other);
    weft_discard(other);
    assert_int_equal(weft_set_random_state(NULL, then), WEFT_ERR_INVALID);
    assert_int_equal(weft_set_random_state(other, then), WEFT_OK);
    weft_random_state now = weft_get_random_state(other);
    assert_memory_equal(&now, &then, sizeof(now));

    train_step(ctx, x, weft_dropout, false, SYNC, want);
    train_step(other, y, weft_dropout, false, SYNC, got);
    assert_memory_equal(got, want, sizeof(got));
    weft_tensor *a = weft_randn(ctx, WEFT_SHAPE(COUNT));
    weft_tensor *b = weft_randn(other, WEFT_SHAPE(COUNT));
    read_all(ctx, a, noise);
    read_all(other, b, again);
    assert_memory_equal(noise, again, sizeof(noise));
    weft_tensor *all[] = {x, y, a, b};
    for (int i = 0; i < 4; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
    weft_context_destroy(other);
}

static weft_tensor *dropped(void *user, weft_tensor *const *in, int n)
{
    return weft_dropout(weft_mul(in[0], in[0]), 0.5, true);
}

static void gradcheck_evaluates_one_function(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F64, WEFT_SHAPE(6), 0.5);
    weft_set_requires_grad(x, true);
    if (weft_gradcheck(ctx, dropped, NULL, &x, 1, NULL) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_run_draws_other_numbers),
        cmocka_unit_test(runs_without_random_numbers_leave_the_count),
        cmocka_unit_test(a_training_loop_draws_by_its_steps),
        cmocka_unit_test(a_resumed_run_goes_on_with_the_state),
        cmocka_unit_test(gradcheck_evaluates_one_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
