/* weft_call: paths in messages, several inputs and outputs, forward hooks. */
#include "tests/modules/fixture.h"

static weft_tensor *input(int features)
{
    return weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(1, features));
}

static void errors_carry_the_modules_path(void **state)
{
    weft_module *inner = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 4, 3, NULL),
                                         weft_linear_create(ctx, 9, 2, NULL));
    weft_module *net = bare(), *outer = WEFT_SEQUENTIAL(ctx, inner);
    weft_register_module(net, "layer2", NULL, weft_module_ref(outer));
    weft_tensor *x = input(4);
    assert_null(weft_call(outer, x));
    assert_error(WEFT_ERR_SHAPE, "layer2.0.1: linear: ");
    assert_null(weft_call(net, x));
    assert_error(WEFT_ERR_STATE, "Bare has no forward");
    assert_null(weft_call(weft_get_module(net, "layer2.0"), x));
    assert_error(WEFT_ERR_SHAPE, "0.1: linear: ");
    weft_tensor_unref(x);
    weft_module_unref(outer);
    weft_module_unref(net);
}

static void a_null_module_or_input_is_an_error(void **state)
{
    weft_module *m = weft_relu_create(ctx);
    assert_null(weft_call(NULL, NULL)); /* there is no context to tell */
    assert_no_error();
    assert_null(weft_call(m, NULL));
    assert_error(WEFT_ERR_INVALID, "ReLU: the input is NULL");
    weft_tensor *x = input(4);
    assert_null(weft_call(NULL, x));
    assert_error(WEFT_ERR_STATE, "weft_call: the module is NULL");
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static weft_tensor *silent_forward(weft_module *m, weft_tensor *x)
{
    return NULL;
}
static const weft_module_class silent_class = {
    .name = "Silent", .size = sizeof(weft_module), .forward = silent_forward};

static void a_forward_that_gives_nothing_is_an_error(void **state)
{
    weft_module *m = weft_module_create(ctx, &silent_class, NULL);
    weft_tensor *x = input(4);
    assert_null(weft_call(m, x));
    assert_error(WEFT_ERR_STATE, "Silent: forward failed without saying why");
    weft_tensor_unref(x);
    weft_module_unref(m);
}

/* ---- several inputs and outputs ---- */

/* (a, b) to (a, b, a + b) */
static weft_status three_forward(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                                 weft_tensor **out)
{
    if (n_in != 2 || *n_out < 3)
        return WEFT_ERR_INVALID;
    out[0] = in[0];
    out[1] = in[1];
    out[2] = weft_add(in[0], in[1]);
    *n_out = 3;
    return WEFT_OK;
}
static const weft_module_class three_class = {
    .name = "Three", .size = sizeof(weft_module), .forward_many = three_forward};

static void several_tensors_go_in_and_come_out(void **state)
{
    weft_module *m = weft_module_create(ctx, &three_class, NULL);
    weft_tensor *in[2] = {input(2), input(2)}, *out[4] = {NULL};
    int n = 4;
    assert_int_equal(weft_call_many(m, 2, in, &n, out), WEFT_OK);
    assert_int_equal(n, 3);
    assert_ptr_equal(out[1], in[1]);
    assert_non_null(out[2]);
    weft_tensor *kept = out[0];
    n = 2;
    assert_int_equal(weft_call_many(m, 2, in, &n, out), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "Three gives 3 tensors; there is room for 2");
    assert_int_equal(n, 2);
    assert_ptr_equal(out[0], kept);
    assert_null(weft_call(m, in[0]));
    assert_error(WEFT_ERR_INVALID, "Three");
    weft_module *relu = weft_relu_create(ctx);
    n = 4;
    assert_int_equal(weft_call_many(relu, 2, in, &n, out), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "ReLU takes one tensor");
    weft_tensor_unref(in[0]);
    weft_tensor_unref(in[1]);
    weft_module_unref(relu);
    weft_module_unref(m);
}

/* ---- hooks ---- */

static char log_text[64]; /* one letter a hook that ran */

static void note(char c)
{
    size_t n = strlen(log_text);
    log_text[n] = c;
    log_text[n + 1] = '\0';
}

static weft_status pre(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    note(*(const char *)user);
    return WEFT_OK;
}

static weft_status post(void *user, weft_module *m, int n_in, weft_tensor *const *in, int n_out,
                        weft_tensor **out)
{
    note(*(const char *)user);
    return WEFT_OK;
}

static void hooks_run_in_order_and_can_be_removed(void **state)
{
    weft_module *m = weft_relu_create(ctx);
    weft_tensor *x = input(2);
    log_text[0] = '\0';
    weft_register_forward_hook(m, post, "c", 0);
    uint64_t d = weft_register_forward_hook(m, post, "d", 0);
    weft_register_forward_pre_hook(m, pre, "b", 0);
    uint64_t a = weft_register_forward_pre_hook(m, pre, "a", WEFT_HOOK_PREPEND);
    assert_true(a != 0 && d != 0 && a != d);
    assert_non_null(weft_call(m, x));
    assert_string_equal(log_text, "abcd");
    weft_hook_remove(m, a);
    weft_hook_remove(m, d);
    weft_hook_remove(m, d); /* gone already: no effect */
    log_text[0] = '\0';
    assert_non_null(weft_call(m, x));
    assert_string_equal(log_text, "bc");
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static weft_status replace_input(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    in[0] = user;
    return WEFT_OK;
}

static weft_status replace_output(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                                  int n_out, weft_tensor **out)
{
    out[0] = user;
    return WEFT_OK;
}

static void pre_hooks_replace_inputs_and_hooks_outputs(void **state)
{
    weft_module *m = weft_linear_create(ctx, 5, 3, NULL);
    weft_tensor *wrong = input(4), *right = input(5), *other = input(6);
    weft_register_forward_pre_hook(m, replace_input, right, 0);
    weft_tensor *y = weft_call(m, wrong); /* 4 features would not fit */
    assert_non_null(y);
    assert_int_equal(weft_tensor_shape(y).dim[1], 3);
    weft_register_forward_hook(m, replace_output, other, 0);
    assert_ptr_equal(weft_call(m, wrong), other);
    weft_tensor_unref(wrong);
    weft_tensor_unref(right);
    weft_tensor_unref(other);
    weft_module_unref(m);
}

static weft_status failing(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    return WEFT_ERR_UNSUPPORTED;
}

static void a_failing_hook_ends_the_call_and_only_always_hooks_still_run(void **state)
{
    weft_module *m = weft_relu_create(ctx);
    weft_tensor *x = input(2);
    log_text[0] = '\0';
    weft_register_forward_pre_hook(m, failing, NULL, 0);
    weft_register_forward_pre_hook(m, pre, "p", 0);
    weft_register_forward_hook(m, post, "n", 0);
    weft_register_forward_hook(m, post, "A", WEFT_HOOK_ALWAYS);
    assert_null(weft_call(m, x));
    assert_error(WEFT_ERR_UNSUPPORTED, "ReLU: a forward pre-hook failed");
    assert_string_equal(log_text, "A");
    weft_tensor_unref(x);
    weft_module_unref(m);
}

typedef struct self_removing {
    uint64_t self, other;
} self_removing;

static weft_status remove_both(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    self_removing *h = user;
    note('r');
    weft_hook_remove(m, h->self);
    weft_hook_remove(m, h->other);
    weft_register_forward_pre_hook(m, pre, "n", 0); /* runs from the next call on */
    return WEFT_OK;
}

static void hooks_may_remove_and_register_hooks(void **state)
{
    weft_module *m = weft_relu_create(ctx);
    weft_tensor *x = input(2);
    self_removing h;
    log_text[0] = '\0';
    h.self = weft_register_forward_pre_hook(m, remove_both, &h, 0);
    h.other = weft_register_forward_pre_hook(m, pre, "o", 0);
    assert_non_null(weft_call(m, x));
    assert_string_equal(log_text, "r");
    assert_non_null(weft_call(m, x));
    assert_string_equal(log_text, "rn");
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void global_hooks_run_for_every_module_before_its_own(void **state)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_relu_create(ctx), weft_relu_create(ctx));
    weft_tensor *x = input(2);
    log_text[0] = '\0';
    weft_register_forward_pre_hook(weft_at(m, 0), pre, "a", 0);
    weft_register_forward_hook(weft_at(m, 0), post, "b", 0);
    uint64_t g = weft_register_global_forward_pre_hook(ctx, pre, "P");
    uint64_t h = weft_register_global_forward_hook(ctx, post, "Q", 0);
    assert_true(g != 0 && h != 0 && g != h);
    assert_non_null(weft_call(m, x));
    assert_string_equal(log_text, "PPaQbPQQ"); /* Sequential, its first child, its second */
    weft_global_hook_remove(ctx, g);
    log_text[0] = '\0';
    assert_non_null(weft_call(m, x));
    assert_string_equal(log_text, "aQbQQ");
    weft_global_hook_remove(ctx, h);
    weft_global_hook_remove(ctx, h);
    log_text[0] = '\0';
    assert_non_null(weft_call(m, x));
    assert_string_equal(log_text, "ab");
    assert_true(weft_register_global_forward_hook(ctx, NULL, NULL, 0) == 0);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void global_hooks_replace_fail_and_run_on_error_as_others(void **state)
{
    weft_module *m = weft_linear_create(ctx, 5, 3, NULL);
    weft_tensor *wrong = input(4), *right = input(5), *other = input(6);
    uint64_t replacing = weft_register_global_forward_pre_hook(ctx, replace_input, right);
    assert_non_null(weft_call(m, wrong));
    weft_register_global_forward_hook(ctx, replace_output, other, 0);
    assert_ptr_equal(weft_call(m, wrong), other);
    weft_global_hook_remove(ctx, replacing);
    weft_register_global_forward_pre_hook(ctx, failing, NULL);
    weft_register_global_forward_hook(ctx, post, "n", 0);
    weft_register_global_forward_hook(ctx, post, "A", WEFT_HOOK_ALWAYS);
    log_text[0] = '\0';
    assert_null(weft_call(m, right));
    assert_error(WEFT_ERR_UNSUPPORTED, "Linear: a global forward pre-hook failed");
    assert_string_equal(log_text, "A");
    weft_tensor_unref(wrong);
    weft_tensor_unref(right);
    weft_tensor_unref(other);
    weft_module_unref(m);
}

static weft_status register_many(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    note('m');
    for (int i = 0; i < 20; i++) /* they run from the next call on */
        assert_true(weft_register_global_forward_pre_hook(m->ctx, pre, "x") != 0);
    weft_global_hook_remove(m->ctx, *(uint64_t *)user);
    return WEFT_OK;
}

static void global_hooks_may_remove_and_register_hooks(void **state)
{
    weft_module *m = weft_relu_create(ctx);
    weft_tensor *x = input(2);
    log_text[0] = '\0';
    uint64_t self = weft_register_global_forward_pre_hook(ctx, register_many, &self);
    assert_non_null(weft_call(m, x));
    assert_string_equal(log_text, "m");
    log_text[0] = '\0';
    assert_non_null(weft_call(m, x));
    assert_string_equal(log_text, "xxxxxxxxxxxxxxxxxxxx");
    weft_tensor_unref(x);
    weft_module_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(errors_carry_the_modules_path),
        TEST(a_null_module_or_input_is_an_error),
        TEST(a_forward_that_gives_nothing_is_an_error),
        TEST(several_tensors_go_in_and_come_out),
        TEST(hooks_run_in_order_and_can_be_removed),
        TEST(pre_hooks_replace_inputs_and_hooks_outputs),
        TEST(a_failing_hook_ends_the_call_and_only_always_hooks_still_run),
        TEST(hooks_may_remove_and_register_hooks),
        TEST(global_hooks_run_for_every_module_before_its_own),
        TEST(global_hooks_replace_fail_and_run_on_error_as_others),
        TEST(global_hooks_may_remove_and_register_hooks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
