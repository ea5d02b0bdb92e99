/* Wrong use that once crashed or was not told: parts of modules that the caller has freed, modules within
 * modules without end, lists with bad names, hooks that hand in what is not theirs, runs within runs. */
#include "tests/modules/fixture.h"
#include "tests/scratch.h"

static void a_freed_parameter_is_named_by_changes_of_type_and_by_loading(void **state)
{
    weft_module *good = weft_linear_create(ctx, 2, 2, NULL);
    weft_module *net = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 2, 2, NULL));
    weft_module *saved = WEFT_SEQUENTIAL(ctx, good);
    assert_int_equal(weft_module_save(saved, scratch_file), WEFT_OK);
    weft_tensor_unref(weft_get_parameter(net, "0.weight")); /* not ours */
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "weft_module_to: 0.weight: this tensor was freed");
    assert_int_equal(weft_module_load(net, scratch_file, true), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "0.weight: this tensor was freed");
    weft_module_unref(saved);
    weft_module_unref(net);
}

static void a_freed_gradient_is_named_and_a_gradient_keeps_its_type(void **state)
{
    weft_tensor *p = tensor(2);
    assert_int_equal(weft_set_requires_grad(p, true), WEFT_OK);
    assert_int_equal(weft_backward(weft_sum(p, WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_int_equal(weft_tensor_to(weft_grad(p), WEFT_F64), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "weft_tensor_to: the tensor is a gradient");
    weft_tensor_unref(weft_grad(p)); /* not ours */
    assert_int_equal(weft_tensor_to(p, WEFT_F64), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE,
                 "weft_tensor_to: the gradient of the tensor: this tensor was freed");
    assert_int_equal(weft_tensor_dtype(p), WEFT_F32);
    weft_tensor_unref(p);
}

static weft_status call_again(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    return weft_call(m, in[0]) ? WEFT_OK : WEFT_ERR_STATE;
}

static void a_module_that_calls_itself_without_end_is_an_error(void **state)
{
    weft_module *m = weft_linear_create(ctx, 2, 2, NULL);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 2), 1);
    uint64_t hook = weft_register_forward_pre_hook(m, call_again, NULL, 0);
    assert_null(weft_call(m, x));
    assert_error(WEFT_ERR_STATE, "are left on this thread's stack");
    weft_discard(ctx);
    weft_hook_remove(m, hook);
    weft_tensor *kept = weft_keep(weft_call(m, x)); /* it can be used as before */
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void lists_without_names_or_with_a_name_twice_are_refused(void **state)
{
    weft_module *m = weft_linear_create(ctx, 2, 2, NULL);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(m, &list), WEFT_OK);
    char *name = list.item[1].name;
    list.item[1].name = NULL;
    assert_int_equal(weft_load_state_dict(m, &list, false), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "weft_load_state_dict: entry 1 of the list has no name");
    assert_null(weft_tensor_list_find(&list, "none"));
    list.item[1].name = list.item[0].name;
    assert_int_equal(weft_load_state_dict(m, &list, true), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "weft_load_state_dict: the list has 'weight' twice");
    list.item[1].name = name;
    assert_int_equal(weft_load_state_dict(m, &list, true), WEFT_OK);
    weft_tensor_list_done(&list);
    weft_module_unref(m);
}

static weft_status hand_in(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    in[0] = user;
    return WEFT_OK;
}

static weft_status odd_status(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    return (weft_status)9999;
}

static void hooks_may_neither_hand_in_others_tensors_nor_invent_a_status(void **state)
{
    weft_context *other;
    assert_int_equal(weft_context_create(&other, NULL, NULL), WEFT_OK);
    weft_tensor *theirs = weft_tensor_full(other, WEFT_F32, WEFT_SHAPE(1, 2), 1);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 2), 1);
    weft_module *m = weft_linear_create(ctx, 2, 2, NULL);
    uint64_t hook = weft_register_forward_pre_hook(m, hand_in, theirs, 0);
    assert_null(weft_call(m, x));
    assert_error(WEFT_ERR_INVALID, "Linear: input 0 belongs to another context");
    assert_int_equal(weft_error_status(other), WEFT_OK);
    weft_discard(ctx);
    weft_hook_remove(m, hook);
    weft_register_forward_pre_hook(m, odd_status, NULL, 0);
    assert_null(weft_call(m, x));
    assert_error(WEFT_ERR_STATE, "Linear: a forward pre-hook failed");
    weft_discard(ctx);
    weft_module_unref(m);
    weft_tensor_unref(x);
    weft_tensor_unref(theirs);
    weft_context_destroy(other);
}

static void a_child_whose_last_reference_the_caller_dropped_does_no_harm(void **state)
{
    weft_module *child = weft_relu_create(ctx), *net = WEFT_SEQUENTIAL(ctx, child);
    weft_module_unref(child); /* not ours */
    weft_module_unref(net);
    weft_error_clear(ctx);
}

static weft_status odd_for_one(weft_module *m, void *user)
{
    return m == user ? (weft_status)-5 : WEFT_OK;
}

static void a_child_that_the_caller_destroyed_is_named_by_every_function(void **state)
{
    static const char said[] =
        "Sequential: module '1' was destroyed: its last reference was dropped";
    weft_module *child = weft_relu_create(ctx);
    weft_module *net = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 2, 2, NULL), child);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 2), 1);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_named_modules all = WEFT_NAMED_MODULES_INIT;
    weft_totals totals;
    weft_module_unref(child); /* not ours */
    assert_int_equal(weft_parameters(net, 0, &list), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_int_equal(weft_modules(net, 0, &all), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_int_equal(weft_children(net, &all), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_int_equal(list.n + all.n, 0);
    assert_int_equal(weft_state_dict(net, &list), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_int_equal(weft_module_apply(net, odd_for_one, NULL), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_null(weft_module_clone(net));
    assert_error(WEFT_ERR_STATE, said);
    assert_null(weft_get_module(net, "1"));
    assert_error(WEFT_ERR_STATE, said);
    assert_null(weft_get_parameter(net, "1.weight"));
    assert_error(WEFT_ERR_STATE, said);
    assert_false(weft_has_module(net, "1"));
    assert_int_equal(weft_module_print(net, stdout), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_int_equal(weft_module_totals(net, WEFT_SHAPE(1, 2), &totals), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_int_equal(weft_module_requires_grad(net, false), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    weft_module_eval(net);
    assert_error(WEFT_ERR_STATE, said);
    weft_module_zero_grad(net);
    assert_error(WEFT_ERR_STATE, said);
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_int_equal(weft_module_freeze(net, "*", NULL), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_null(weft_sgd_create(ctx, net, NULL));
    assert_error(WEFT_ERR_STATE, said);
    assert_int_equal(weft_module_save(net, scratch_file), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, said);
    assert_null(weft_at(net, -1));
    assert_error(WEFT_ERR_STATE, said);
    assert_null(weft_call(net, x));
    assert_error(WEFT_ERR_STATE, "the module was destroyed");
    assert_null(weft_call(child, NULL));
    assert_error(WEFT_ERR_STATE, "weft_call: the module was destroyed");
    weft_discard(ctx);
    weft_tensor_unref(x);
    weft_module_unref(net);
}

static weft_status odd_forward(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                               weft_tensor **out)
{
    return (weft_status)-5;
}

static weft_tensor *handed_out;

static weft_tensor *hand_out(weft_module *m, weft_tensor *x)
{
    return handed_out;
}

static void what_a_forward_gives_is_a_tensor_of_this_step_and_context(void **state)
{
    const weft_module_class cls = {.name = "Odd", .size = sizeof(weft_module), .forward = hand_out};
    weft_context *other;
    assert_int_equal(weft_context_create(&other, NULL, NULL), WEFT_OK);
    weft_tensor *theirs = weft_tensor_full(other, WEFT_F32, WEFT_SHAPE(1, 2), 1);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 2), 1), *gone = tensor(2);
    weft_module *net = WEFT_SEQUENTIAL(ctx, weft_module_create(ctx, &cls, NULL));
    weft_totals totals;
    weft_tensor_unref(gone);
    handed_out = theirs;
    assert_null(weft_call(net, x));
    assert_error(WEFT_ERR_INVALID, "0: Odd: output 0 belongs to another context");
    weft_discard(ctx);
    handed_out = gone;
    assert_null(weft_call(net, x));
    assert_error(WEFT_ERR_STATE, "0: Odd: this tensor was freed");
    weft_discard(ctx);
    assert_int_equal(weft_module_totals(net, WEFT_SHAPE(1, 2), &totals), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "0: Odd: this tensor was freed");
    handed_out = weft_relu(x);
    weft_discard(ctx);
    assert_null(weft_call(net, x));
    assert_error(WEFT_ERR_STATE, "0: Odd: this tensor belongs to a step that has ended");
    weft_discard(ctx);
    weft_tensor_unref(theirs);
    weft_context_destroy(other);
    weft_tensor_unref(x);
    weft_module_unref(net);
}

static void functions_of_the_caller_cannot_invent_a_status(void **state)
{
    const weft_module_class odd = {
        .name = "Odd", .size = sizeof(weft_module), .forward_many = odd_forward};
    weft_module *m = weft_module_create(ctx, &odd, NULL);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 2), 1), *out;
    weft_totals totals;
    int n = 1;
    assert_int_equal(weft_call_many(m, 1, &x, &n, &out), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "Odd: forward failed without saying why");
    weft_discard(ctx);
    assert_int_equal(weft_module_totals(m, WEFT_SHAPE(1, 2), &totals), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "Odd: forward failed without saying why");
    assert_int_equal(weft_module_apply(m, odd_for_one, m), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "weft_module_apply: the function failed for Odd");
    weft_discard(ctx);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void initialisers_refuse_what_is_no_tensor_where_they_skip_too(void **state)
{
    weft_tensor *gone = tensor(2), *flat = tensor(2);
    weft_tensor_unref(gone);
    for (int i = 0; i < 2; i++) {
        const bool was = i == 1 && weft_init_skip_begin(ctx);
        assert_int_equal(weft_init_uniform(gone, 0, 1), WEFT_ERR_STATE);
        assert_error(WEFT_ERR_STATE, "weft_init_uniform: this tensor was freed");
        assert_int_equal(weft_init_trunc_normal(gone, 0, 1, -2, 2), WEFT_ERR_STATE);
        assert_error(WEFT_ERR_STATE, "weft_init_trunc_normal: this tensor was freed");
        assert_int_equal(weft_init_xavier_normal(gone, 1), WEFT_ERR_STATE);
        assert_error(WEFT_ERR_STATE, "weft_init_xavier_normal: this tensor was freed");
        assert_int_equal(weft_init_normal(weft_relu(flat), 0, 1), WEFT_ERR_STATE);
        assert_error(WEFT_ERR_STATE, "weft_init_normal: the tensor is the result of an op");
        assert_int_equal(weft_init_normal(NULL, 0, 1), WEFT_ERR_INVALID);
        assert_string_equal(weft_error_text(NULL), "weft_init_normal: the tensor is NULL");
        if (i == 1)
            weft_init_skip_end(ctx, was);
    }
    weft_tensor *w = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 2));
    assert_int_equal(weft_init_kaiming_normal(w, 0, (weft_fan)2, WEFT_GAIN_RELU), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "weft_init_kaiming_normal: fan 2, gain 1");
    assert_int_equal(weft_init_kaiming_uniform(w, 0, WEFT_FAN_IN, (weft_gain)-1), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "weft_init_kaiming_uniform: fan 0, gain -1");
    weft_discard(ctx);
    weft_tensor_unref(w);
    weft_tensor_unref(flat);
}

static weft_status run_within(const weft_custom_call *c)
{
    return weft_sync(ctx);
}

static int64_t too_many_tiles(const weft_custom_call *c)
{
    return INT64_MAX;
}

static void a_custom_op_may_neither_run_a_step_nor_have_endless_tiles(void **state)
{
    weft_custom_op op = {.name = "nested", .n_in = 1, .n_out = 1, .forward = run_within};
    weft_tensor *x = tensor(2), *kept = weft_keep(weft_custom(&op, NULL, &x, NULL));
    assert_int_equal(weft_sync(ctx), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "a run: not possible inside an op's function");
    weft_tensor_unref(kept);
    op.forward_tiles = too_many_tiles;
    kept = weft_keep(weft_custom(&op, NULL, &x, NULL));
    assert_int_equal(weft_sync(ctx), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "9223372036854775807 tiles; 1 to");
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
}

static void an_optimizer_that_is_none_says_so(void **state)
{
    assert_int_equal(weft_optimizer_step(NULL), WEFT_ERR_INVALID);
    assert_non_null(strstr(weft_error_text(NULL), "weft_optimizer_step: the optimizer is NULL"));
    assert_int_equal(weft_ema_update(NULL), WEFT_ERR_INVALID);
    assert_non_null(strstr(weft_error_text(NULL), "weft_ema_update: the averages are NULL"));
    assert_null(weft_clip_grad_norm(NULL, 1, false));
    assert_non_null(strstr(weft_error_text(NULL), "clip_grad_norm: the list is NULL"));
    weft_schedule s = WEFT_SCHEDULE_INIT;
    s.kind = WEFT_SCHEDULE_ONE_CYCLE;
    s.lr = 0.1;
    s.total_steps = 10;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_schedule_check(&s, &err), WEFT_OK);
    s.div_factor = 1e-310;
    assert_int_equal(weft_schedule_check(&s, &err), WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "no finite learning rate"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_freed_parameter_is_named_by_changes_of_type_and_by_loading),
        TEST(a_freed_gradient_is_named_and_a_gradient_keeps_its_type),
        TEST(a_module_that_calls_itself_without_end_is_an_error),
        TEST(lists_without_names_or_with_a_name_twice_are_refused),
        TEST(hooks_may_neither_hand_in_others_tensors_nor_invent_a_status),
        TEST(a_child_whose_last_reference_the_caller_dropped_does_no_harm),
        TEST(a_child_that_the_caller_destroyed_is_named_by_every_function),
        TEST(what_a_forward_gives_is_a_tensor_of_this_step_and_context),
        TEST(functions_of_the_caller_cannot_invent_a_status),
        TEST(initialisers_refuse_what_is_no_tensor_where_they_skip_too),
        TEST(a_custom_op_may_neither_run_a_step_nor_have_endless_tiles),
        TEST(an_optimizer_that_is_none_says_so),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
