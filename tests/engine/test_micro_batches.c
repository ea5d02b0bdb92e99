/* Several runs in one context: micro-batches before an optimizer step compile as many plans however
 * many they are, and hold no activations until the step's end; plans of the cache share one arena. */
#include "small_net.h"

#include "engine/machine/memory.h"
#include "engine/step/plan_cache.h"

static void micro_batches(small_net *net, int k)
{
    for (int i = 0; i < NET_PARAMS; i++)
        weft_zero_grad(net->param[i]);
    for (int i = 0; i < k; i++)
        assert_int_equal(weft_backward(net_loss(net)), WEFT_OK);
    net_update(net);
    if (weft_sync(net->ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(net->ctx));
}

static int compiled(const small_net *net)
{
    return wf_plan_cache_compiled(net->ctx->plans);
}

/* A micro-batch that gives the first gradient, one that adds to it, and the end of the step compile a
 * plan each. The end of a step updates the running statistics of all its micro-batches, so another
 * number of these has another end. */
static void any_number_of_micro_batches_compiles_as_many_plans(void **state)
{
    static const int ks[] = {3, 8, 64};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        const weft_options o = {.seed = 11, .threads = 1};
        small_net net;
        net_init(&net, &o);
        micro_batches(&net, ks[i]);
        assert_int_equal(compiled(&net), 3);
        for (int step = 0; step < 3; step++) {
            micro_batches(&net, ks[i]);
            assert_int_equal(compiled(&net), 3);
        }
        for (int step = 0; step < 2; step++) {
            micro_batches(&net, ks[i] + 1);
            assert_int_equal(compiled(&net), 4);
        }
        net_done(&net);
    }
}

static size_t arena_in_use(const small_net *net)
{
    return wf_memory_used(net->ctx->memory).in_use[WF_MEM_ARENA];
}

/* The most bytes of activations in use after any of k micro-batches. */
static size_t most_in_use(int k)
{
    const weft_options o = {.seed = 11, .threads = 1};
    small_net net;
    size_t most = 0;
    net_init(&net, &o);
    for (int i = 0; i < k; i++) {
        assert_int_equal(weft_backward(net_loss(&net)), WEFT_OK);
        assert_non_null(weft_grad(net.param[0]));
        /* which lets the gradients of this micro-batch be computed when the next one is recorded */
        const size_t used = arena_in_use(&net);
        most = used > most ? used : most;
    }
    net_update(&net);
    assert_int_equal(weft_sync(net.ctx), WEFT_OK);
    net_done(&net);
    return most;
}

/* BatchNorm's statistics wait for the running ones, which change at the step's end; activations do
 * not. */
static void a_micro_batch_leaves_no_activations(void **state)
{
    const size_t few = most_in_use(3), many = most_in_use(19);
    const size_t each = (many - few) / 16;
    if (each > 12 * 6 * 6 * sizeof(float)) /* less than one image of one layer */
        fail_msg("%zu bytes of 3 micro-batches, %zu of 19: %zu each", few, many, each);
}

/* ---- plans of the cache ---- */

static weft_tensor *images(small_net *net, int n, weft_tensor **labels)
{
    weft_shape shape = weft_tensor_shape(net->x);
    shape.dim[0] = n;
    *labels = weft_tensor_full(net->ctx, WEFT_I64, WEFT_SHAPE(n), 1);
    weft_tensor *x = weft_tensor_full(net->ctx, WEFT_U8, shape, 3);
    assert_non_null(x);
    return x;
}

/* A training step, or an evaluation, of n images. */
static void run_batch(small_net *net, int n, bool train)
{
    weft_tensor *x = net->x, *labels = net->labels;
    net->x = images(net, n, &net->labels);
    if (train) {
        net_step(net);
    } else {
        weft_tensor *logits = weft_keep(net_logits(net, false));
        assert_int_equal(weft_sync(net->ctx), WEFT_OK);
        weft_tensor_unref(logits);
    }
    weft_tensor_unref(net->x);
    weft_tensor_unref(net->labels);
    net->x = x;
    net->labels = labels;
}

static void cached_plans_share_one_arena(void **state)
{
    const weft_options o = {.seed = 11, .threads = 2};
    small_net net;
    net_init(&net, &o);
    run_batch(&net, 32, true);
    run_batch(&net, 32, true);
    const size_t largest = arena_in_use(&net);
    const int before = compiled(&net);
    assert_true(largest > 0);
    for (int epoch = 0; epoch < 2; epoch++) {
        run_batch(&net, 32, true);
        run_batch(&net, 13, true);
        run_batch(&net, 32, false);
        assert_int_equal(arena_in_use(&net), largest);
    }
    assert_int_equal(compiled(&net), before + 2);
    net_done(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_micro_batches_compiles_as_many_plans),
        cmocka_unit_test(a_micro_batch_leaves_no_activations),
        cmocka_unit_test(cached_plans_share_one_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
