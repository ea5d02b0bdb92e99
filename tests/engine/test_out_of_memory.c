/* Every allocation of the engine may fail: the error says so, nothing leaks or crashes (run this
 * under the sanitizers), the model is what it was, and the step done again gives the right bits. */
#include <math.h>
#include <stdio.h>

#include "engine/step/plan_cache.h"
#include "small_net.h"

#include "engine/base/alloc.h"
#include "engine/run/run.h"

static void a_context_that_cannot_be_made_is_an_error(void **state)
{
    for (long n = 1;; n++) {
        weft_context *ctx = NULL;
        weft_error err = WEFT_ERROR_INIT;
        weft_options o = {.threads = 2, .trace_path = "/dev/null"};
        wf_alloc_fail_at(n);
        weft_status status = weft_context_create(&ctx, &o, &err);
        if (wf_alloc_fail_at(0) > 0) {
            assert_int_equal(status, WEFT_OK);
            assert_true(n > 1);
            weft_context_destroy(ctx);
            return;
        }
        assert_int_equal(status, WEFT_ERR_NOMEM);
        assert_int_equal(err.status, WEFT_ERR_NOMEM);
        assert_null(ctx);
    }
}

/* What may fail. `net` has been told to expect it. */
typedef weft_status (*attempt)(small_net *net);

static weft_status record_update(small_net *net)
{
    for (int i = 0; i < NET_PARAMS; i++) {
        wf_sgd_update_opts o = {.lr = 0.05, .momentum = 0.9, .first = net->steps == 0};
        WF_TRY(wf_record_sgd_update(net->param[i], weft_grad(net->param[i]), net->momentum[i], &o));
    }
    return WEFT_OK;
}

static weft_status record_step(small_net *net, weft_tensor **loss)
{
    for (int i = 0; i < NET_PARAMS; i++)
        weft_zero_grad(net->param[i]);
    *loss = net_loss(net);
    WF_TRY(*loss ? weft_backward(*loss) : weft_error_status(net->ctx));
    return record_update(net);
}

static weft_status whole_step(small_net *net)
{
    weft_tensor *loss;
    WF_TRY(record_step(net, &loss));
    WF_TRY(weft_sync(net->ctx));
    return isnan(weft_item(loss)) ? weft_error_status(net->ctx) : WEFT_OK;
}

/* Reads an activation before the backward pass is recorded, and a gradient and a parameter before
 * the end. */
static weft_status step_with_reads(small_net *net)
{
    float numbers[NET_N * 5], grad[12], weight[12];
    for (int i = 0; i < NET_PARAMS; i++)
        weft_zero_grad(net->param[i]);
    weft_tensor *logits = net_logits(net, true);
    weft_tensor *loss = weft_cross_entropy(logits, net->labels, NULL);
    if (!loss)
        return weft_error_status(net->ctx);
    WF_TRY(weft_read(logits, numbers, sizeof numbers));
    WF_TRY(weft_backward(loss));
    WF_TRY(weft_read(weft_grad(net->param[1]), grad, sizeof grad));
    WF_TRY(record_update(net));
    WF_TRY(weft_sync(net->ctx));
    return weft_read(net->param[2], weight, sizeof weight);
}

static weft_status explain(small_net *net)
{
    weft_tensor *loss;
    WF_TRY(record_step(net, &loss));
    FILE *null = fopen("/dev/null", "w");
    assert_non_null(null);
    weft_status status = weft_explain(net->ctx, null);
    fclose(null);
    return status == WEFT_OK ? weft_sync(net->ctx) : status;
}

/* Makes the context forget all it has compiled and allocated: cheaper than a new one. */
static void forget(small_net *net)
{
    weft_context *ctx = net->ctx;
    wf_graph_done(ctx);
    ctx->gen++;
    wf_replay_destroy(ctx->replay);
    wf_plan_cache_destroy(ctx->plans);
    assert_int_equal(wf_plan_cache_create(ctx), WEFT_OK);
    assert_int_equal(wf_replay_create(ctx), WEFT_OK);
    for (int i = 0; i < NET_PARAMS; i++) {
        weft_tensor_unref(net->param[i]->grad);
        net->param[i]->grad = NULL;
        net->param[i]->grad_present = false;
    }
}

static void expect_state(small_net *net, const char *want, long n, const char *what)
{
    size_t size;
    char *now = net_state(net, &size);
    if (memcmp(want, now, size) != 0)
        fail_msg("allocation %ld: %s", n, what);
    free(now);
}

/* Lets the n-th allocation fail, for every n. `fresh`: each time in a context that has compiled and
 * allocated nothing yet. */
static void fail_every_allocation(attempt run, const weft_options *o, bool fresh)
{
    small_net net;
    size_t size;
    net_init(&net, o);
    char *before = net_state(&net, &size);
    assert_int_equal(run(&net), WEFT_OK);
    char *after = net_state(&net, &size);
    assert_memory_not_equal(before, after, size);
    bool beyond = false;
    for (long n = 1; !beyond; n++) {
        net_restore(&net, before);
        net.ctx->draws = 0; /* dropout's key */
        if (fresh)
            forget(&net);
        net.may_fail = true;
        wf_alloc_fail_at(n);
        weft_status status = run(&net);
        beyond = wf_alloc_fail_at(0) > 0;
        net.may_fail = false;
        if (status != WEFT_OK) {
            if (beyond || status != WEFT_ERR_NOMEM || weft_error_status(net.ctx) != WEFT_ERR_NOMEM)
                fail_msg("allocation %ld: %s: %s", n, weft_status_string(status),
                         weft_error_text(net.ctx));
            weft_discard(net.ctx);
            weft_error_clear(net.ctx);
            expect_state(&net, before, n, "the failed step has changed the model");
            assert_int_equal(run(&net), WEFT_OK);
        }
        /* Where it did not fail, the engine can do without that block. */
        expect_state(&net, after, n, "the step gives other bits");
        assert_true(n > 1 || !beyond);
    }
    free(before);
    free(after);
    net_done(&net);
}

static void steps_fail_cleanly_while_everything_is_new(void **state)
{
    weft_options o = {.seed = 11, .threads = 2};
    fail_every_allocation(whole_step, &o, true);
}

static void steps_fail_cleanly_once_all_is_compiled(void **state)
{
    weft_options o = {.seed = 11, .threads = 2};
    fail_every_allocation(whole_step, &o, false);
    o.executor = WEFT_EXECUTOR_RANDOM;
    fail_every_allocation(whole_step, &o, false);
}

static void reads_before_the_end_fail_cleanly(void **state)
{
    weft_options o = {.seed = 11, .threads = 2};
    fail_every_allocation(step_with_reads, &o, true);
}

static void explaining_fails_cleanly(void **state)
{
    weft_options o = {.seed = 11, .threads = 2};
    fail_every_allocation(explain, &o, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_that_cannot_be_made_is_an_error),
        cmocka_unit_test(steps_fail_cleanly_while_everything_is_new),
        cmocka_unit_test(steps_fail_cleanly_once_all_is_compiled),
        cmocka_unit_test(reads_before_the_end_fail_cleanly),
        cmocka_unit_test(explaining_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
