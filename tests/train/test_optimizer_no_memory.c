/* A training step in which any one allocation fails changes nothing, and trying again gives the
 * bits of a run in which nothing failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "engine/base/alloc.h"
#include "weft/weft.h"

enum { OUT = 3, IN = 5, ROWS = 4 };

typedef struct run {
    weft_context *ctx;
    weft_module *net;
    weft_tensor *x, *y;
    weft_optimizer *o;
} run;

static run start(void)
{
    run r = {0};
    weft_options options = {.threads = 1, .seed = 3};
    int64_t labels[ROWS] = {0, 2, 1, 2};
    assert_int_equal(weft_context_create(&r.ctx, &options, NULL), WEFT_OK);
    r.net = weft_linear_create(r.ctx, IN, OUT, NULL);
    r.x = weft_randn(r.ctx, WEFT_SHAPE(ROWS, IN));
    r.y = weft_tensor_from(r.ctx, WEFT_I64, WEFT_SHAPE(ROWS), labels);
    assert_non_null(r.net);
    return r;
}

static void finish(run *r)
{
    weft_tensor_unref(r->x);
    weft_tensor_unref(r->y);
    weft_optimizer_destroy(r->o);
    weft_module_unref(r->net);
    weft_context_destroy(r->ctx);
}

enum { KINDS = 3 };

static weft_optimizer *create(run *r, int kind)
{
    switch (kind) {
    case 0: return weft_sgd_create(r->ctx, r->net, &(weft_sgd_opts){.lr = 0.1, .momentum = 0.9});
    case 1: return weft_adamw_create(r->ctx, r->net, NULL);
    default: return weft_lamb_create(r->ctx, r->net, NULL); /* several nodes for an update */
    }
}

/* Makes the optimizer if there is none yet, then one step. */
static weft_status step(run *r, int kind)
{
    if (r->o == NULL)
        r->o = create(r, kind);
    if (r->o == NULL)
        return weft_error_status(r->ctx);
    weft_optimizer_zero_grad(r->o);
    weft_status status = weft_backward(weft_cross_entropy(weft_call(r->net, r->x), r->y, NULL));
    if (status == WEFT_OK)
        return weft_optimizer_step(r->o);
    weft_sync(r->ctx); /* ends the step that could not be recorded */
    return status;
}

static void weights(run *r, float out[OUT * IN])
{
    weft_tensor *w = weft_get_parameter(r->net, "weight");
    if (weft_read(w, out, OUT * IN * sizeof(float)) != WEFT_OK)
        fail_msg("%s", weft_error_text(r->ctx));
}

static void a_step_that_runs_out_of_memory_can_be_repeated(void **state)
{
    for (int kind = 0; kind < KINDS; kind++) {
        float want[2][OUT * IN], before[OUT * IN], after[OUT * IN];
        run r = start();
        for (int i = 0; i < 2; i++) {
            assert_int_equal(step(&r, kind), WEFT_OK);
            weights(&r, want[i]);
        }
        finish(&r);
        bool failed = true;
        for (long n = 1; failed; n++) {
            r = start();
            weights(&r, before);
            wf_alloc_fail_at(n);
            weft_status status = step(&r, kind);
            failed = wf_alloc_fail_at(0) <= 0;
            assert_true(failed || n > 1);
            weights(&r, after);
            if (failed && status != WEFT_OK) {
                if (weft_error_status(r.ctx) != WEFT_ERR_NOMEM)
                    fail_msg("allocation %ld: %s", n, weft_error_text(r.ctx));
                weft_error_clear(r.ctx);
                assert_memory_equal(before, after, sizeof(after));
                assert_int_equal(weft_optimizer_steps(r.o), 0);
                assert_int_equal(step(&r, kind), WEFT_OK);
                weights(&r, after);
            }
            if (memcmp(after, want[0], sizeof(after)) != 0)
                fail_msg("allocation %ld: other weights after the first step", n);
            assert_int_equal(step(&r, kind), WEFT_OK);
            weights(&r, after);
            if (memcmp(after, want[1], sizeof(after)) != 0)
                fail_msg("allocation %ld: other weights after the second step", n);
            finish(&r);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_that_runs_out_of_memory_can_be_repeated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
