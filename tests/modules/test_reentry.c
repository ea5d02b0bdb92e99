/* Code of the user's that runs inside the library, such as hooks, walks and handlers, may do what it
 * likes: what it cannot be allowed is refused with an error, everything else is safe. Also runs under
 * the address sanitizer. */
#include <stdlib.h>

#include "tests/modules/fixture.h"

/* ---- ending the step inside a backward pass ---- */

static weft_module *net;
static weft_tensor *input;
static weft_optimizer *optimizer;

static weft_tensor *no_function(void *user, weft_tensor *const *inputs, int n)
{
    return weft_sum(inputs[0], WEFT_ALL_DIMS, false);
}

static weft_tensor_list parameters(void)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(net, 0, &list), WEFT_OK);
    return list;
}

static void call_discard(void)
{
    weft_discard(ctx);
}
static void call_sync(void)
{
    assert_int_equal(weft_sync(ctx), WEFT_ERR_STATE);
}
static void call_step(void)
{
    assert_int_equal(weft_optimizer_step(optimizer), WEFT_ERR_STATE);
}
static void call_record(void)
{
    assert_int_equal(weft_optimizer_record(optimizer), WEFT_ERR_STATE);
}
static void call_clip_norm(void)
{
    weft_tensor_list list = parameters();
    assert_null(weft_clip_grad_norm(&list, 1, false));
    weft_tensor_list_done(&list);
}
static void call_clip_value(void)
{
    weft_tensor_list list = parameters();
    assert_int_equal(weft_clip_grad_value(&list, 1), WEFT_ERR_STATE);
    weft_tensor_list_done(&list);
}
static void call_summary(void)
{
    assert_int_equal(weft_module_summary(net, WEFT_SHAPE(2, 3), stdout), WEFT_ERR_STATE);
}
static void call_totals(void)
{
    weft_totals totals;
    assert_int_equal(weft_module_totals(net, WEFT_SHAPE(2, 3), &totals), WEFT_ERR_STATE);
}
static void call_gradcheck(void)
{
    assert_int_equal(weft_gradcheck(ctx, no_function, NULL, &input, 1, NULL), WEFT_ERR_STATE);
}
static void call_tune(void)
{
    assert_int_equal(weft_tune(ctx, NULL, NULL), WEFT_ERR_STATE);
}
static void call_destroy(void)
{
    weft_context_destroy(ctx);
}

static const struct {
    const char *name;
    void (*call)(void);
} enders[] = {
    {"sync", call_sync},
    {"optimizer_step", call_step},
    {"optimizer_record", call_record},
    {"clip_grad_norm", call_clip_norm},
    {"clip_grad_value", call_clip_value},
    {"summary", call_summary},
    {"summary", call_totals},
    {"gradcheck", call_gradcheck},
    {"tune", call_tune},
    {"context_destroy", call_destroy},
    {"discard", call_discard},
};
enum { ENDERS = sizeof(enders) / sizeof(enders[0]), DISCARD = ENDERS - 1 };

static int ender, hooks_run;

static weft_status end_it(void)
{
    char want[96];
    hooks_run++;
    enders[ender].call();
    snprintf(want, sizeof(want), "%s: a hook cannot end the step", enders[ender].name);
    assert_error(WEFT_ERR_STATE, want);
    return WEFT_OK;
}

static weft_status grad_hook(void *user, weft_tensor *t, weft_tensor **grad)
{
    return end_it();
}
static weft_status backward_pre_hook(void *user, weft_module *m, int *n_out, weft_tensor **grads)
{
    return end_it();
}
static weft_status backward_hook(void *user, weft_module *m, int *n_in, weft_tensor **grads,
                                 int n_out, weft_tensor *const *grad_out)
{
    return end_it();
}

enum { ON_PARAMETER, ON_RECORDED, PRE, POST, GLOBAL_PRE, GLOBAL_POST, PLACES };

static weft_status backward_with_hook_at(int place)
{
    uint64_t handle = 0, global = 0;
    weft_tensor *weight = weft_get_parameter(net, "0.weight");
    if (place == ON_PARAMETER)
        handle = weft_register_grad_hook(weight, grad_hook, NULL);
    if (place == PRE)
        handle = weft_register_backward_pre_hook(net, backward_pre_hook, NULL, 0);
    if (place == POST)
        handle = weft_register_backward_hook(net, backward_hook, NULL, 0);
    if (place == GLOBAL_PRE)
        global = weft_register_global_backward_pre_hook(ctx, backward_pre_hook, NULL);
    if (place == GLOBAL_POST)
        global = weft_register_global_backward_hook(ctx, backward_hook, NULL);
    weft_tensor *y = weft_call(net, input);
    if (place == ON_RECORDED)
        assert_int_not_equal(weft_register_grad_hook(y, grad_hook, NULL), 0);
    weft_optimizer_zero_grad(optimizer);
    weft_status status = weft_backward(weft_sum(y, WEFT_ALL_DIMS, false));
    if (place == ON_PARAMETER)
        weft_grad_hook_remove(weight, handle);
    else if (handle != 0)
        weft_hook_remove(net, handle);
    weft_global_hook_remove(ctx, global);
    return status;
}

static void a_backward_hook_cannot_end_the_step_by_any_call(void **state)
{
    net = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 3, 2, NULL), weft_relu_create(ctx));
    optimizer = weft_sgd_create(ctx, net, NULL);
    float values[6] = {1, 2, 3, 4, 5, 6};
    input = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(2, 3), values);
    for (int place = 0; place < PLACES; place++) {
        for (ender = 0; ender < ENDERS; ender++) {
            hooks_run = 0;
            weft_status status = backward_with_hook_at(place);
            assert_true(hooks_run > 0);
            /* Who wants the step to end ends the backward pass, and the step with it. */
            assert_int_equal(status, ender == DISCARD ? WEFT_ERR_STATE : WEFT_OK);
            weft_error_clear(ctx);
            if (ender == DISCARD)
                assert_null(weft_grad(weft_get_parameter(net, "0.weight")));
            weft_discard(ctx);
            assert_no_error();
        }
    }
    assert_int_equal(weft_backward(weft_sum(weft_call(net, input), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_optimizer_step(optimizer), WEFT_OK);
    assert_no_error();
    weft_optimizer_destroy(optimizer);
    weft_tensor_unref(input);
    weft_module_unref(net);
}

/* ---- inside handlers of messages and progress ---- */

static int messages;

static void handler(void *user, const char *text)
{
    messages++;
    weft_discard(ctx);
    assert_error(WEFT_ERR_STATE, "discard: not possible inside a callback");
    weft_context_destroy(ctx);
    assert_error(WEFT_ERR_STATE, "context_destroy: not possible inside a callback");
    assert_int_equal(weft_optimizer_step(optimizer), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "optimizer_step: not possible inside a callback");
    weft_optimizer_destroy(optimizer);
    assert_error(WEFT_ERR_STATE, "optimizer_destroy: not possible inside a callback");
    weft_tensor_list none = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_optimizer_add_group(optimizer, &none, 0.1, 0), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "optimizer_add_group: not possible inside a callback");
    for (weft_tensor **t = user; *t != NULL; t++)
        weft_grad(*t); /* drops what would be told of it */
}

static void a_message_handler_cannot_end_the_step_that_it_hears_of(void **state)
{
    net = weft_linear_create(ctx, 3, 2, NULL);
    optimizer = weft_sgd_create(ctx, net, NULL);
    input = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1);
    weft_tensor *loose[4] = {NULL};
    weft_tensor *loss = weft_sum(weft_call(net, input), WEFT_ALL_DIMS, false);
    for (int i = 0; i < 3; i++) { /* tensors that no optimizer has, of three shapes */
        loose[i] = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(i + 1), 1);
        assert_int_equal(weft_set_requires_grad(loose[i], true), WEFT_OK);
        loss = weft_add(loss, weft_sum(loose[i], WEFT_ALL_DIMS, false));
    }
    messages = 0;
    weft_set_message_handler(ctx, handler, loose);
    assert_int_equal(weft_backward(loss), WEFT_OK);
    assert_int_equal(weft_optimizer_step(optimizer), WEFT_OK);
    assert_true(messages > 0);
    assert_no_error();
    for (int i = 0; i < 3; i++)
        weft_tensor_unref(loose[i]);
    weft_optimizer_destroy(optimizer);
    weft_tensor_unref(input);
    weft_module_unref(net);
}

static bool progress(void *user, const weft_tune_progress *p)
{
    weft_discard(ctx);
    assert_error(WEFT_ERR_STATE, "discard: not possible inside a callback");
    assert_int_equal(weft_sync(ctx), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "sync: not possible inside a callback");
    ++*(int *)user;
    return false;
}

static void tunings_progress_cannot_end_the_step_being_tuned(void **state)
{
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 16, 8, 8), 1);
    weft_tensor *w = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(16, 16, 3, 3), 1);
    weft_tensor *y = weft_keep(weft_conv2d(x, w, NULL, NULL));
    int calls = 0;
    weft_tune_opts opts = {.again = true, .progress = progress, .user = &calls};
    weft_status status = weft_tune(ctx, &opts, NULL);
    assert_int_equal(status, calls > 0 ? WEFT_ERR_INTERRUPTED : WEFT_OK); /* scalar: no choice */
    weft_error_clear(ctx);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_tensor_unref(x);
    weft_tensor_unref(w);
    weft_tensor_unref(y);
}

/* ---- walks ---- */

static int applied;

/* Takes everything away from every module that it meets. */
static weft_status strip(weft_module *m, void *user)
{
    applied++;
    if (m == user) {
        while (weft_length(m) > 0)
            weft_remove(m, 0);
    }
    return WEFT_OK;
}

static weft_status cut_root(weft_module *m, void *user)
{
    applied++;
    while (weft_length(user) > 0)
        weft_remove(user, 0);
    return WEFT_OK;
}

static weft_status unref_root(weft_module *m, void *user)
{
    applied++;
    weft_module **root = user;
    weft_module_unref(*root);
    *root = NULL;
    return WEFT_OK;
}

static weft_module *nested(void)
{
    return WEFT_SEQUENTIAL(ctx, WEFT_SEQUENTIAL(ctx, weft_relu_create(ctx), weft_tanh_create(ctx)),
                           weft_linear_create(ctx, 2, 2, NULL), weft_relu_create(ctx));
}

static void apply_meets_every_module_that_was_there_whatever_its_function_removes(void **state)
{
    weft_module *root = nested();
    applied = 0;
    assert_int_equal(weft_module_apply(root, strip, weft_at(root, 0)), WEFT_OK);
    assert_int_equal(applied, 6);
    applied = 0;
    assert_int_equal(weft_module_apply(root, cut_root, root), WEFT_OK);
    assert_int_equal(applied, 4);
    assert_int_equal(weft_length(root), 0);
    weft_module_unref(root);
    root = nested();
    applied = 0;
    weft_module *held = root;
    assert_int_equal(weft_module_apply(held, unref_root, &root), WEFT_OK);
    assert_int_equal(applied, 6);
    assert_no_error();
}

/* A module whose class's functions take its sibling, or itself, away. */
typedef struct restless {
    weft_module base;
    weft_module *parent;
} restless;

static void leave_parent(weft_module *m)
{
    weft_module *parent = ((restless *)m)->parent;
    while (parent != NULL && weft_length(parent) > 0)
        weft_remove(parent, 0);
}

static weft_status get_extra(weft_module *m, weft_tensor **extra)
{
    *extra = weft_tensor_create(ctx, WEFT_U8, WEFT_SHAPE(1));
    leave_parent(m);
    return WEFT_OK;
}

static weft_status set_extra(weft_module *m, weft_tensor *extra)
{
    leave_parent(m);
    return WEFT_OK;
}

static const weft_module_class restless_class = {.name = "Restless",
                                                 .size = sizeof(restless),
                                                 .get_extra_state = get_extra,
                                                 .set_extra_state = set_extra};

static weft_module *restless_tree(void)
{
    restless *child = weft_module_create(ctx, &restless_class, NULL);
    weft_module *parent = weft_module_list_create(
        ctx, 2, (weft_module *[]){&child->base, weft_linear_create(ctx, 2, 2, NULL)});
    child->parent = parent;
    return parent;
}

static void a_state_may_be_listed_and_loaded_while_modules_leave(void **state)
{
    weft_module *a = restless_tree(), *b = restless_tree();
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(a, &list), WEFT_OK);
    assert_int_equal(weft_length(a), 0);
    weft_tensor *w = tensor(1), *bias = tensor(2);
    weft_tensor *weight = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 2), 3);
    weft_tensor_list whole = WEFT_TENSOR_LIST_INIT;
    weft_tensor_list_add(&whole, "0._extra_state", w);
    weft_tensor_list_add(&whole, "1.weight", weight);
    weft_tensor_list_add(&whole, "1.bias", bias);
    assert_int_equal(weft_load_state_dict(b, &whole, true), WEFT_OK);
    assert_int_equal(weft_length(b), 0);
    assert_no_error();
    weft_tensor_list_done(&list);
    weft_tensor_list_done(&whole);
    weft_tensor_unref(w);
    weft_tensor_unref(bias);
    weft_tensor_unref(weight);
    weft_module_unref(a);
    weft_module_unref(b);
}

/* ---- forward hooks ---- */

static weft_status drop_pre(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    weft_module_unref(m);
    return WEFT_OK;
}

static weft_status drop_post(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                             int n_out, weft_tensor **out)
{
    weft_module_unref(m);
    return WEFT_OK;
}

static weft_status discard_post(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                                int n_out, weft_tensor **out)
{
    weft_discard(ctx);
    return WEFT_OK;
}

static void a_forward_hook_may_drop_the_last_reference_to_its_module(void **state)
{
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 3), 1);
    weft_module *m = weft_linear_create(ctx, 3, 2, NULL);
    weft_register_forward_pre_hook(m, drop_pre, NULL, 0);
    assert_non_null(weft_call(m, x));
    m = weft_linear_create(ctx, 3, 2, NULL);
    weft_register_backward_hook(m, backward_hook, NULL, 0);
    weft_register_forward_hook(m, drop_post, NULL, 0);
    assert_non_null(weft_call(m, x));
    assert_no_error();
    weft_discard(ctx);
    weft_tensor_unref(x);
}

static void a_forward_hook_that_discards_the_step_makes_its_output_stale(void **state)
{
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 3), 1);
    weft_module *m = weft_linear_create(ctx, 3, 2, NULL);
    weft_register_backward_hook(m, backward_hook, NULL, 0);
    weft_register_forward_hook(m, discard_post, NULL, 0);
    assert_null(weft_relu(weft_call(m, x)));
    assert_error(WEFT_ERR_STATE, "a step that has ended");
    weft_module_unref(m);
    weft_tensor_unref(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_backward_hook_cannot_end_the_step_by_any_call),
        TEST(a_message_handler_cannot_end_the_step_that_it_hears_of),
        TEST(tunings_progress_cannot_end_the_step_being_tuned),
        TEST(apply_meets_every_module_that_was_there_whatever_its_function_removes),
        TEST(a_state_may_be_listed_and_loaded_while_modules_leave),
        TEST(a_forward_hook_may_drop_the_last_reference_to_its_module),
        TEST(a_forward_hook_that_discards_the_step_makes_its_output_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
