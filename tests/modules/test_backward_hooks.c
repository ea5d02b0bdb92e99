/* Backward hooks of modules: when they run, on what, and what they may do. */
#include "tests/modules/fixture.h"

static char log_text[64];

typedef struct hook {
    char name;
    double factor;   /* by which gradients are scaled; 1: left alone */
    int count;       /* added to the count: a wrong answer */
    int n_in, n_out; /* seen */
    int absent;      /* NULLs seen in grad_input */
} hook;

static void note(char c)
{
    size_t n = strlen(log_text);
    log_text[n] = c;
    log_text[n + 1] = '\0';
}

static weft_status pre(void *user, weft_module *m, int *n_out, weft_tensor **grads)
{
    hook *h = user;
    note(h->name);
    h->n_out = *n_out;
    for (int i = 0; i < *n_out && h->factor != 1; i++)
        grads[i] = grads[i] != NULL ? weft_scale(grads[i], h->factor) : NULL;
    *n_out += h->count;
    return WEFT_OK;
}

static weft_status post(void *user, weft_module *m, int *n_in, weft_tensor **grads, int n_out,
                        weft_tensor *const *grad_out)
{
    hook *h = user;
    note(h->name);
    h->n_in = *n_in;
    h->n_out = n_out;
    h->absent = 0;
    for (int i = 0; i < *n_in; i++) {
        h->absent += grads[i] == NULL;
        if (grads[i] != NULL && h->factor != 1)
            grads[i] = weft_scale(grads[i], h->factor);
    }
    *n_in += h->count;
    return WEFT_OK;
}

static weft_tensor *trainable(float value)
{
    weft_tensor *t = tensor(value);
    assert_int_equal(weft_set_requires_grad(t, true), WEFT_OK);
    return t;
}

/* x * w, two elements. */
typedef struct scaled {
    weft_module base;
    weft_tensor *w;
} scaled;
static weft_tensor *scaled_forward(weft_module *m, weft_tensor *x)
{
    return weft_mul(x, ((scaled *)m)->w);
}
static const weft_module_class scaled_class = {
    .name = "Scaled", .size = sizeof(scaled), .forward = scaled_forward};

static weft_module *scaled_create(float w)
{
    scaled *s = weft_module_create(ctx, &scaled_class, NULL);
    weft_register_parameter(&s->base, "w", &s->w, tensor(w));
    return weft_module_ok(s);
}

static weft_status backward(weft_tensor *y)
{
    log_text[0] = '\0';
    return weft_backward(weft_sum(y, WEFT_ALL_DIMS, false));
}

static void prehooks_replace_grad_output_and_hooks_grad_input(void **state)
{
    weft_module *m = scaled_create(3);
    weft_tensor *x = trainable(5), *w = weft_get_parameter(m, "w");
    hook before = {'p', 2}, after = {'h', 10};
    weft_register_backward_hook(m, post, &after, 0);
    weft_register_backward_pre_hook(m, pre, &before, 0);
    assert_int_equal(backward(weft_call(m, x)), WEFT_OK);
    assert_string_equal(log_text, "ph");
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_true(first(weft_grad(w)) == 10); /* 2 x: hooked before the rule */
    assert_true(first(weft_grad(x)) == 60); /* 2 w, and then by 10 */
    assert_true(after.n_in == 1 && after.n_out == 1 && after.absent == 0 && before.n_out == 1);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void a_hooked_call_gives_the_bits_of_one_without_hooks(void **state)
{
    float grads[2][27 * 4];
    for (int hooked = 0; hooked < 2; hooked++) {
        weft_conv2d_layer_opts plain = {.no_bias = true};
        weft_module *m =
            WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 3, 4, 3, &plain),
                            weft_batch_norm2d_create(ctx, 4, NULL), weft_relu_create(ctx));
        weft_tensor *w = weft_get_parameter(m, "0.weight"),
                    *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 6, 6));
        float *values = weft_tensor_data(w), *in = weft_tensor_data(x);
        for (int i = 0; i < 27 * 4; i++)
            values[i] = 0.1f * (float)(i % 7 - 3);
        for (int i = 0; i < 216; i++)
            in[i] = 0.3f * (float)(i % 11 - 5);
        hook h = {'x', 1};
        for (int i = 0; i < 3 && hooked; i++) {
            char name[2] = {(char)('0' + i), 0};
            weft_register_backward_hook(weft_get_module(m, name), post, &h, 0);
        }
        weft_tensor *y = weft_call(m, x);
        assert_int_equal(backward(weft_mul(y, y)), WEFT_OK);
        assert_string_equal(log_text, hooked ? "xxx" : "");
        assert_int_equal(weft_read(weft_grad(w), grads[hooked], sizeof(grads[0])), WEFT_OK);
        weft_sync(ctx);
        weft_tensor_unref(x);
        weft_module_unref(m);
    }
    assert_memory_equal(grads[0], grads[1], sizeof(grads[0]));
}

static void hooks_see_nulls_where_no_input_requires_a_gradient(void **state)
{
    weft_module *m = scaled_create(3);
    weft_tensor *x = tensor(5);
    hook before = {'p', 2}, after = {'h', 10};
    weft_register_backward_pre_hook(m, pre, &before, 0);
    weft_register_backward_hook(m, post, &after, 0);
    assert_int_equal(backward(weft_call(m, x)), WEFT_OK);
    assert_string_equal(log_text, "ph");
    assert_true(after.n_in == 1 && after.absent == 1 && after.n_out == 1);
    assert_true(first(weft_grad(weft_get_parameter(m, "w"))) == 10);
    weft_sync(ctx);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static weft_status give_one(void *user, weft_module *m, int *n_in, weft_tensor **grads, int n_out,
                            weft_tensor *const *grad_out)
{
    grads[0] = weft_scale(grad_out[0], 1);
    return WEFT_OK;
}

static weft_status give_sum(void *user, weft_module *m, int *n_in, weft_tensor **grads, int n_out,
                            weft_tensor *const *grad_out)
{
    grads[0] = weft_sum(grads[0], WEFT_ALL_DIMS, false);
    return WEFT_OK;
}

static weft_status fail_hook(void *user, weft_module *m, int *n_out, weft_tensor **grads)
{
    return WEFT_ERR_UNSUPPORTED;
}

static void what_a_hook_does_wrong_is_an_error(void **state)
{
    weft_module *m = scaled_create(3);
    weft_tensor *x = trainable(5), *constant = tensor(5);
    hook wrong = {'w', 1, .count = 1};

    uint64_t handle = weft_register_backward_pre_hook(m, pre, &wrong, 0);
    assert_int_equal(backward(weft_call(m, x)), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID,
                 "Scaled: a backward pre-hook gave 2 gradients; there are 1 outputs");
    weft_discard(ctx);
    weft_hook_remove(m, handle);

    handle = weft_register_backward_hook(m, post, &wrong, 0);
    assert_int_equal(backward(weft_call(m, x)), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "Scaled: a backward hook gave 2 gradients; there are 1 inputs");
    weft_discard(ctx);
    weft_hook_remove(m, handle);

    handle = weft_register_backward_hook(m, give_sum, NULL, 0);
    assert_int_equal(backward(weft_call(m, x)), WEFT_ERR_SHAPE);
    assert_error(WEFT_ERR_SHAPE, "a backward hook gave f32 [] for a gradient of f32 [2]");
    weft_discard(ctx);
    weft_hook_remove(m, handle);

    handle = weft_register_backward_hook(m, give_one, NULL, 0);
    assert_int_equal(backward(weft_call(m, constant)), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "no input requires one");
    weft_discard(ctx);
    weft_hook_remove(m, handle);

    weft_register_backward_pre_hook(m, fail_hook, NULL, 0);
    assert_int_equal(backward(weft_call(m, x)), WEFT_ERR_UNSUPPORTED);
    assert_error(WEFT_ERR_UNSUPPORTED, "Scaled: a backward pre-hook failed");
    weft_discard(ctx);
    weft_tensor_unref(x);
    weft_tensor_unref(constant);
    weft_module_unref(m);
}

static void global_hooks_run_before_local_ones_in_order_until_removed(void **state)
{
    weft_module *m = scaled_create(3);
    weft_tensor *x = trainable(5);
    hook a = {'a', 1}, b = {'b', 1}, c = {'c', 1}, g = {'G', 1}, h = {'H', 1};
    weft_register_backward_hook(m, post, &b, 0);
    uint64_t last = weft_register_backward_hook(m, post, &c, 0);
    weft_register_backward_hook(m, post, &a, WEFT_HOOK_PREPEND);
    weft_register_global_backward_hook(ctx, post, &g);
    uint64_t global = weft_register_global_backward_pre_hook(ctx, pre, &h);
    assert_int_equal(backward(weft_call(m, x)), WEFT_OK);
    assert_string_equal(log_text, "HGabc");
    weft_hook_remove(m, last);
    weft_global_hook_remove(ctx, global);
    assert_int_equal(backward(weft_call(m, x)), WEFT_OK);
    assert_string_equal(log_text, "Gab");
    weft_sync(ctx);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

/* (a, b) to (a + b, b, a): its input is its output too. */
static weft_status swap_forward(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                                weft_tensor **out)
{
    out[0] = weft_add(in[0], in[1]);
    out[1] = in[1];
    out[2] = in[0];
    *n_out = 3;
    return WEFT_OK;
}
static const weft_module_class swap_class = {
    .name = "Swap", .size = sizeof(weft_module), .forward_many = swap_forward};

static void gradients_of_several_tensors_arrive_together(void **state)
{
    weft_module *m = weft_module_create(ctx, &swap_class, NULL);
    weft_tensor *in[2] = {trainable(5), tensor(7)}, *out[3];
    hook before = {'p', 2}, after = {'h', 3};
    weft_register_backward_pre_hook(m, pre, &before, 0);
    weft_register_backward_hook(m, post, &after, 0);
    int n = 3;
    assert_int_equal(weft_call_many(m, 2, in, &n, out), WEFT_OK);
    /* The input is used beside the module as well, which its hooks do not see. */
    weft_tensor *y = weft_add(weft_scale(out[0], 10), weft_scale(in[0], 1000));
    assert_int_equal(backward(y), WEFT_OK);
    assert_string_equal(log_text, "ph");
    assert_true(before.n_out == 3 && after.n_in == 2 && after.n_out == 3 && after.absent == 1);
    assert_true(first(weft_grad(in[0])) == 10 * 2 * 3 + 1000);
    weft_sync(ctx);
    weft_tensor_unref(in[0]);
    weft_tensor_unref(in[1]);
    weft_module_unref(m);
}

static void they_hold_for_each_backward_pass_and_only_where_one_arrives(void **state)
{
    weft_module *m = scaled_create(3);
    weft_tensor *x = trainable(5);
    hook after = {'h', 1};
    weft_register_backward_hook(m, post, &after, 0);
    weft_tensor *loss = weft_sum(weft_call(m, x), WEFT_ALL_DIMS, false);
    log_text[0] = '\0';
    assert_int_equal(weft_backward_with(loss, NULL, true), WEFT_OK);
    assert_int_equal(weft_backward_with(loss, NULL, false), WEFT_OK);
    assert_string_equal(log_text, "hh");
    bool was = weft_no_grad_begin(ctx);
    weft_call(m, x);
    weft_no_grad_end(ctx, was);
    weft_call(m, x); /* the loss does not depend on it */
    assert_int_equal(backward(weft_scale(x, 2)), WEFT_OK);
    assert_string_equal(log_text, "");
    weft_sync(ctx);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void a_module_lives_until_its_hooks_have_run(void **state)
{
    weft_module *m = scaled_create(3);
    weft_tensor *x = trainable(5);
    hook after = {'h', 2};
    weft_register_backward_hook(m, post, &after, 0);
    weft_tensor *y = weft_call(m, x);
    weft_module_unref(m);
    assert_int_equal(backward(y), WEFT_OK);
    assert_string_equal(log_text, "h");
    assert_true(first(weft_grad(x)) == 6);
    weft_sync(ctx);
    weft_tensor_unref(x);
}

typedef struct remover {
    uint64_t self, other;
} remover;

static weft_status remove_both(void *user, weft_module *m, int *n_out, weft_tensor **grads)
{
    static hook late = {'n', 1};
    remover *r = user;
    note('r');
    weft_hook_remove(m, r->self);
    weft_hook_remove(m, r->other);
    for (int i = 0; i < 8; i++) /* moves the list */
        weft_register_backward_pre_hook(m, pre, &late, 0);
    return WEFT_OK;
}

static void hooks_may_remove_and_register_hooks(void **state)
{
    weft_module *m = scaled_create(3);
    weft_tensor *x = trainable(5);
    hook other = {'o', 1};
    remover r;
    r.self = weft_register_backward_pre_hook(m, remove_both, &r, 0);
    r.other = weft_register_backward_pre_hook(m, pre, &other, 0);
    assert_int_equal(backward(weft_call(m, x)), WEFT_OK);
    assert_string_equal(log_text, "r");
    assert_int_equal(backward(weft_call(m, x)), WEFT_OK);
    assert_string_equal(log_text, "nnnnnnnn");
    weft_sync(ctx);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(prehooks_replace_grad_output_and_hooks_grad_input),
        TEST(a_hooked_call_gives_the_bits_of_one_without_hooks),
        TEST(hooks_see_nulls_where_no_input_requires_a_gradient),
        TEST(what_a_hook_does_wrong_is_an_error),
        TEST(global_hooks_run_before_local_ones_in_order_until_removed),
        TEST(gradients_of_several_tensors_arrive_together),
        TEST(they_hold_for_each_backward_pass_and_only_where_one_arrives),
        TEST(a_module_lives_until_its_hooks_have_run),
        TEST(hooks_may_remove_and_register_hooks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
