/* Hooks on tensors' gradients: when they run, what they may do. */
#include "tests/engine/autograd.h"

/* Notes its name, and scales the gradient unless factor is 1. */
typedef struct hook {
    char name;
    double factor;
    char *log;           /* names are appended */
    weft_tensor *forget; /* removes the hook `handle` of this tensor */
    uint64_t handle;
} hook;

static weft_status run_hook(void *user, weft_tensor *t, weft_tensor **grad)
{
    hook *h = user;
    if (h->log)
        h->log[strlen(h->log)] = h->name;
    if (h->factor != 1)
        *grad = weft_scale(*grad, h->factor);
    if (h->forget)
        weft_grad_hook_remove(h->forget, h->handle);
    return WEFT_OK;
}

static void a_hook_replaces_a_parameters_gradient(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    hook h = {.factor = 10};
    assert_int_not_equal(weft_register_grad_hook(w, run_hook, &h), 0);
    assert_int_equal(weft_backward(total(weft_mul(w, w))), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    expect(weft_grad(w), 20, 40, 60);
    /* The second pass: what is added is hooked, not what was there. */
    assert_int_equal(weft_backward(total(w)), WEFT_OK);
    expect(weft_grad(w), 30, 50, 70);
    weft_sync(ctx);
    weft_tensor_unref(w);
}

static void a_hook_on_a_recorded_tensor_sees_its_whole_gradient_once(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    char log[8] = "";
    hook h = {.name = 'y', .factor = 2, .log = log};
    weft_tensor *y = weft_scale(w, 5);
    assert_int_not_equal(weft_register_grad_hook(y, run_hook, &h), 0);
    /* Two users of y: gradients 1 and 3 meet at y before the hook doubles them. */
    assert_int_equal(weft_backward(total(weft_add(y, weft_scale(y, 3)))), WEFT_OK);
    expect(weft_grad(w), 40, 40, 40);
    assert_string_equal(log, "y");
    weft_sync(ctx);
    /* It ended with the step. */
    assert_int_equal(weft_backward(total(weft_scale(w, 5))), WEFT_OK);
    assert_string_equal(log, "y");
    weft_sync(ctx);
    weft_tensor_unref(w);
}

static void hooks_run_in_order_and_can_be_removed(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    char log[16] = "";
    hook a = {'a', 1, log}, b = {'b', 1, log}, c = {'c', 1, log};
    weft_register_grad_hook(w, run_hook, &a);
    uint64_t handle = weft_register_grad_hook(w, run_hook, &b);
    weft_register_grad_hook(w, run_hook, &c);
    weft_backward(total(w));
    assert_string_equal(log, "abc");
    weft_grad_hook_remove(w, handle);
    weft_grad_hook_remove(w, 12345);
    weft_backward(total(w));
    assert_string_equal(log, "abcac");
    weft_sync(ctx);
    weft_tensor_unref(w);
}

static void a_hook_may_remove_a_later_one_and_itself(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    char log[16] = "";
    hook a = {'a', 1, log}, b = {'b', 1, log}, c = {'c', 1, log};
    weft_register_grad_hook(w, run_hook, &a);
    b.handle = weft_register_grad_hook(w, run_hook, &b);
    a.handle = weft_register_grad_hook(w, run_hook, &c);
    a.forget = b.forget = w;
    weft_backward(total(w));
    weft_backward(total(w));
    assert_string_equal(log, "aba"); /* c never ran, b once */
    weft_sync(ctx);
    weft_tensor_unref(w);
}

static weft_status bad_hook(void *user, weft_tensor *t, weft_tensor **grad)
{
    const char *what = user;
    if (what[0] == 's')
        *grad = weft_sum(*grad, WEFT_ALL_DIMS, false);
    if (what[0] == 'n')
        *grad = NULL;
    if (what[0] == 'y')
        return weft_sync(ctx);
    if (what[0] == 'b')
        return weft_backward(t);
    return what[0] == 'f' ? WEFT_ERR_UNSUPPORTED : WEFT_OK;
}

static void what_a_hook_does_wrong_is_an_error(void **state)
{
    static const struct {
        const char *what;
        weft_status status;
        const char *text;
    } cases[] = {
        {"shape", WEFT_ERR_SHAPE, "a gradient hook gave f32 [] for a gradient of f32 [3]"},
        {"null", WEFT_ERR_INVALID, "a gradient hook failed"},
        {"fails", WEFT_ERR_UNSUPPORTED, "a gradient hook failed"},
        {"y: sync", WEFT_ERR_STATE, "a hook cannot end the step"},
        {"backward", WEFT_ERR_STATE, "cannot begin another backward pass"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_tensor *w = vec(1, 2, 3, true);
        weft_tensor *y = weft_scale(w, 2);
        weft_register_grad_hook(y, bad_hook, (void *)(uintptr_t)cases[i].what);
        assert_int_equal(weft_backward(total(y)), cases[i].status);
        expect_error(cases[i].status, cases[i].text);
        weft_sync(ctx);
        weft_error_clear(ctx);
        weft_tensor_unref(w);
    }
}

static void only_a_tensor_with_a_gradient_takes_hooks(void **state)
{
    hook h = {.factor = 1};
    weft_tensor *w = vec(1, 2, 3, false);
    assert_int_equal(weft_register_grad_hook(w, run_hook, &h), 0);
    expect_error(WEFT_ERR_STATE, "requires no gradient");
    weft_tensor *y = weft_scale(w, 2);
    weft_sync(ctx);
    assert_int_equal(weft_register_grad_hook(y, run_hook, &h), 0);
    expect_error(WEFT_ERR_STATE, "step that has ended");
    weft_grad_hook_remove(y, 1);
    assert_int_equal(weft_register_grad_hook(NULL, run_hook, &h), 0);
    weft_tensor_unref(w);
}

static weft_status read_gradient(void *user, weft_tensor *t, weft_tensor **grad)
{
    return weft_read(*grad, user, 3 * sizeof(float));
}

static void a_hook_may_read_the_gradient(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    float seen[3] = {0};
    weft_tensor *y = weft_mul(w, w);
    weft_register_grad_hook(y, read_gradient, seen);
    assert_int_equal(weft_backward(total(weft_mul(y, y))), WEFT_OK);
    assert_true(seen[0] == 2 && seen[1] == 8 && seen[2] == 18);
    expect(weft_grad(w), 4, 32, 108);
    weft_sync(ctx);
    weft_tensor_unref(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hook_replaces_a_parameters_gradient),
        TEST(a_hook_on_a_recorded_tensor_sees_its_whole_gradient_once),
        TEST(hooks_run_in_order_and_can_be_removed),
        TEST(a_hook_may_remove_a_later_one_and_itself),
        TEST(what_a_hook_does_wrong_is_an_error),
        TEST(only_a_tensor_with_a_gradient_takes_hooks),
        TEST(a_hook_may_read_the_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
