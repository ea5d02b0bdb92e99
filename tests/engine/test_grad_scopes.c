/* What takes part in gradients: no_grad scopes, frozen tensors, inputs; gradients of small batches;
 * reading values while recording. */
#include <math.h>

#include "tests/engine/autograd.h"

static void no_grad_scopes_nest(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    assert_true(weft_grad_enabled(ctx));
    bool outer = weft_no_grad_begin(ctx), inner = weft_no_grad_begin(ctx);
    weft_no_grad_end(ctx, inner);
    assert_false(weft_grad_enabled(ctx));
    weft_tensor *y = weft_scale(w, 2);
    assert_false(weft_requires_grad(y));
    weft_no_grad_end(ctx, outer);
    assert_true(weft_grad_enabled(ctx));
    /* What was made inside is a constant outside. */
    assert_int_equal(weft_backward(total(weft_mul(w, y))), WEFT_OK);
    expect(weft_grad(w), 2, 4, 6);
    weft_sync(ctx);
    weft_tensor_unref(w);
}

/* conv2d and linear with weights that require gradients or not: the nodes of the backward pass. */
static int backward_nodes(bool conv, bool linear, int *weights, int *data, int *matmuls)
{
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(2, 3, 4, 4));
    weft_tensor *k = weft_randn(ctx, WEFT_SHAPE(4, 3, 3, 3));
    weft_tensor *k2 = weft_randn(ctx, WEFT_SHAPE(4, 4, 3, 3));
    weft_tensor *w = weft_randn(ctx, WEFT_SHAPE(5, 16));
    assert_int_equal(weft_set_requires_grad(k, conv), WEFT_OK);
    assert_int_equal(weft_set_requires_grad(k2, conv), WEFT_OK);
    assert_int_equal(weft_set_requires_grad(w, linear), WEFT_OK);
    weft_conv2d_opts pad = {.padding = {1, 1}}, half = {.stride = {2, 2}, .padding = {1, 1}};
    weft_tensor *y = weft_conv2d(weft_relu(weft_conv2d(x, k, NULL, &pad)), k2, NULL, &half);
    y = weft_linear(weft_flatten(y, 1), w, NULL);
    int before = nodes(NULL), forward_matmuls = nodes("matmul");
    assert_int_equal(weft_backward(total(y)), WEFT_OK);
    *weights = nodes("conv2d_backward_weights");
    *data = nodes("conv2d_backward_data");
    *matmuls = nodes("matmul") - forward_matmuls;
    int recorded = nodes(NULL) - before;
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_true(!conv == !weft_grad(k) && !linear == !weft_grad(w));
    weft_tensor_unref(x);
    weft_tensor_unref(k);
    weft_tensor_unref(k2);
    weft_tensor_unref(w);
    return recorded;
}

static void frozen_parameters_get_no_gradient_nodes(void **state)
{
    int weights, data, matmuls;
    int all = backward_nodes(true, true, &weights, &data, &matmuls);
    assert_int_equal(weights, 2);
    assert_int_equal(data, 1); /* the network's input needs none */
    assert_int_equal(matmuls, 2);
    int head = backward_nodes(false, true, &weights, &data, &matmuls);
    assert_int_equal(weights + data, 0);
    assert_int_equal(matmuls, 1);
    assert_true(head < all);
    /* A frozen head passes gradients on, but has none. */
    backward_nodes(true, false, &weights, &data, &matmuls);
    assert_int_equal(weights, 2);
    assert_int_equal(matmuls, 1);
}

static void an_input_may_require_a_gradient(void **state)
{
    weft_tensor *x = vec(1, 2, 3, true), *w = vec(4, 5, 6, false);
    assert_int_equal(weft_backward(total(weft_mul(x, w))), WEFT_OK);
    expect(weft_grad(x), 4, 5, 6);
    assert_null(weft_grad(w));
    weft_sync(ctx);
    weft_tensor_unref(x);
    weft_tensor_unref(w);
}

static void unfreezing_takes_effect_from_the_next_use(void **state)
{
    weft_tensor *w = vec(1, 2, 3, false), *one = vec(1, 1, 1, true);
    weft_tensor *before = weft_mul(w, one);
    assert_int_equal(weft_set_requires_grad(w, true), WEFT_OK);
    weft_tensor *after = weft_scale(w, 7);
    assert_int_equal(weft_backward(total(weft_add(before, after))), WEFT_OK);
    expect(weft_grad(w), 7, 7, 7);
    expect(weft_grad(one), 1, 2, 3);
    weft_sync(ctx);
    weft_tensor_unref(w);
    weft_tensor_unref(one);
}

/* ---- batches in parts ---- */

enum { N = 12, IN = 5, OUT = 3 };

/* The sum of squares of a layer's outputs: small integers, so sums are exact in any order. */
static weft_tensor *loss_of(weft_tensor *w, int from, int n)
{
    float x[N * IN];
    for (int i = 0; i < n * IN; i++)
        x[i] = (float)((from * IN + i) * 7 % 11 - 5);
    weft_tensor *in = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(n, IN), x);
    weft_tensor *y = weft_relu(weft_linear(in, w, NULL));
    weft_tensor_unref(in);
    return total(weft_mul(y, y));
}

static void gradients_of_small_batches_add_up_to_those_of_a_large_one(void **state)
{
    float start[OUT * IN], want[OUT * IN], got[OUT * IN];
    for (int i = 0; i < OUT * IN; i++)
        start[i] = (float)(i % 5 - 2);
    weft_tensor *w = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(OUT, IN), start);
    weft_set_requires_grad(w, true);
    assert_int_equal(weft_backward(loss_of(w, 0, N)), WEFT_OK);
    assert_int_equal(weft_read(weft_grad(w), want, sizeof want), WEFT_OK);
    weft_sync(ctx);
    bool any = false;
    for (int i = 0; i < OUT * IN; i++)
        any |= want[i] != 0;
    assert_true(any);
    for (int parts = 2; parts <= 6; parts++) {
        for (int sync = 0; sync < 2; sync++) { /* one step for all, or a step for each */
            weft_zero_grad(w);
            for (int p = 0; p < parts; p++) {
                int from = N * p / parts, to = N * (p + 1) / parts;
                assert_int_equal(weft_backward(loss_of(w, from, to - from)), WEFT_OK);
                if (sync)
                    assert_int_equal(weft_sync(ctx), WEFT_OK);
            }
            assert_int_equal(weft_read(weft_grad(w), got, sizeof got), WEFT_OK);
            assert_memory_equal(got, want, sizeof got);
            assert_int_equal(weft_sync(ctx), WEFT_OK);
        }
    }
    weft_tensor_unref(w);
}

/* ---- reading while recording ---- */

/* Three layers whose second is chosen by a number; `read` reads it, or it is known. */
static void run_branches(bool read, float *grads)
{
    weft_context *outer = ctx;
    assert_int_equal(weft_context_create(&ctx, &(weft_options){.threads = 2, .seed = 3}, NULL),
                     WEFT_OK);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, 3, 8, 8));
    weft_tensor *k = weft_randn(ctx, WEFT_SHAPE(16, 3, 3, 3));
    weft_tensor *w = weft_randn(ctx, WEFT_SHAPE(2, 16));
    weft_set_requires_grad(k, true);
    weft_set_requires_grad(w, true);
    weft_tensor *y = weft_relu(weft_conv2d(x, k, NULL, NULL));
    y = weft_flatten(weft_adaptive_avg_pool2d(y, 1, 1), 1);
    double sum = read ? weft_item(total(y)) : 1;
    assert_int_equal(weft_error_status(ctx), WEFT_OK);
    y = weft_linear(sum > 0 ? weft_mul(y, y) : weft_scale(y, 2), w, NULL);
    if (read)
        assert_true(isfinite(weft_item(total(y))));
    assert_int_equal(weft_backward(total(weft_mul(y, y))), WEFT_OK);
    if (read) /* a gradient, before the rest of the step */
        assert_int_equal(weft_read(weft_grad(w), grads, 32 * sizeof *grads), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_int_equal(weft_read(weft_grad(w), grads, 32 * sizeof *grads), WEFT_OK);
    assert_int_equal(weft_read(weft_grad(k), grads + 32, 432 * sizeof *grads), WEFT_OK);
    weft_tensor_unref(x);
    weft_tensor_unref(k);
    weft_tensor_unref(w);
    weft_context_destroy(ctx);
    ctx = outer;
}

static void a_step_that_branches_on_a_value_has_the_bits_of_one_that_does_not_read(void **state)
{
    float with[32 + 432], without[32 + 432];
    run_branches(true, with);
    run_branches(false, without);
    assert_memory_equal(with, without, sizeof with);
}

/* ---- two losses of one graph ---- */

/* Ops that have outputs without a gradient, which their gradient rules read: the places of maxima, masks,
 * statistics, probabilities. */
enum { MAX_POOL, DROPOUT, NORM, NORM_RELU, ENTROPY, GROUP_NORM, RELU, SIDE_OUTPUTS };
static weft_tensor *with_side_output(int op, weft_tensor *x)
{
    const weft_pool2d_opts pool = {.kernel = {2, 2}};
    weft_tensor *labels = NULL, *y = NULL;
    switch (op) {
    case MAX_POOL: return weft_max_pool2d(x, &pool);
    case DROPOUT: return weft_dropout(x, 0.5, true);
    case NORM: return weft_batch_norm(x, NULL, NULL, NULL, NULL, NULL, NULL);
    case NORM_RELU: return weft_relu(weft_batch_norm(x, NULL, NULL, NULL, NULL, NULL, NULL));
    case ENTROPY:
        labels = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(2), (int64_t[]){1, 3});
        y = weft_cross_entropy(weft_flatten(x, 1), labels, NULL);
        weft_tensor_unref(labels);
        return y;
    case GROUP_NORM: return weft_group_norm(x, 2, NULL, NULL, 1e-5);
    default: return weft_relu(x);
    }
}

enum { FIRST = 1, SECOND = 2 };

/* The gradient of w by one loss or by both, with a backward pass for each. */
static void two_losses(int op, int which, bool read_between, float *out)
{
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 6, 6), 0);
    float *data = weft_tensor_data(x);
    for (int i = 0; i < 2 * 3 * 36; i++)
        data[i] = (float)((i * 37) % 101 - 50) / 32;
    weft_tensor *w = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(4, 3, 3, 3), 0.125);
    assert_int_equal(weft_set_requires_grad(w, true), WEFT_OK);
    weft_tensor *y = with_side_output(op, weft_conv2d(x, w, NULL, NULL));
    weft_tensor *a = total(weft_mul(y, y)), *b = total(weft_scale(y, 0.5));
    if (which & FIRST)
        assert_int_equal(weft_backward_with(a, NULL, true), WEFT_OK);
    if (read_between)
        assert_true(isfinite(weft_item(a)));
    if (which & SECOND)
        assert_int_equal(weft_backward(b), WEFT_OK);
    if (weft_read(weft_grad(w), out, 4 * 27 * sizeof *out) != WEFT_OK)
        fail_msg("op %d: %s", op, weft_error_text(ctx));
    weft_sync(ctx);
    weft_tensor_unref(x);
    weft_tensor_unref(w);
}

/* Each pass gives the bits that it gives alone, and one addition puts them together. */
static void two_losses_walk_one_graph(void **state)
{
    float first[4 * 27], second[4 * 27], both[4 * 27];
    for (int op = 0; op < SIDE_OUTPUTS; op++)
        for (int between = 0; between < 2; between++) {
            two_losses(op, FIRST, false, first);
            two_losses(op, SECOND, false, second);
            two_losses(op, FIRST | SECOND, between, both);
            for (int i = 0; i < 4 * 27 && op != DROPOUT; i++) /* which draws anew in each step */
                if (both[i] != first[i] + second[i])
                    fail_msg("op %d: %g, apart %g and %g", op, both[i], first[i], second[i]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_grad_scopes_nest),
        TEST(frozen_parameters_get_no_gradient_nodes),
        TEST(an_input_may_require_a_gradient),
        TEST(unfreezing_takes_effect_from_the_next_use),
        TEST(gradients_of_small_batches_add_up_to_those_of_a_large_one),
        TEST(two_losses_walk_one_graph),
        TEST(a_step_that_branches_on_a_value_has_the_bits_of_one_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
