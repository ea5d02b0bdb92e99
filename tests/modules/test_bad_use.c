/* Wrong use of modules and tensors is an error that says so, and never undefined: everything here
 * also runs under the address sanitizer. */
#include <math.h>

#include "tests/modules/fixture.h"

/* ---- modules after their last unref ---- */

static weft_module *dead_module(void)
{
    weft_module *m = weft_linear_create(ctx, 2, 3, NULL);
    assert_non_null(m);
    weft_module_unref(m);
    return m;
}

static weft_status count_one(weft_module *m, void *user)
{
    ++*(int *)user;
    return WEFT_OK;
}

static weft_status pass_pre(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    return WEFT_OK;
}

static void a_destroyed_module_is_reported_by_every_function(void **state)
{
    weft_module *m = dead_module(), *parent = bare();
    weft_tensor *x = tensor(1);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_named_modules modules = WEFT_NAMED_MODULES_INIT;
    int visited = 0;
#define REPORTED(call, name)                                                                       \
    do {                                                                                           \
        call;                                                                                      \
        assert_error(WEFT_ERR_STATE, name ": the module was destroyed");                           \
    } while (0)
    REPORTED(assert_null(weft_call(m, x)), "weft_call");
    REPORTED(assert_null(weft_module_ref(m)), "weft_module_ref");
    REPORTED(weft_module_unref(m), "weft_module_unref");
    REPORTED(assert_null(weft_module_clone(m)), "weft_module_clone");
    REPORTED(assert_null(weft_module_ok(m)), "weft_module_ok");
    REPORTED(assert_int_equal(weft_register_parameter(m, "w", NULL, tensor(1)), WEFT_ERR_STATE),
             "weft_register_parameter");
    REPORTED(assert_int_equal(weft_register_buffer(m, "b", NULL, tensor(1), true), WEFT_ERR_STATE),
             "weft_register_buffer");
    REPORTED(assert_int_equal(weft_register_module(m, "m", NULL, bare()), WEFT_ERR_STATE),
             "weft_register_module");
    REPORTED(assert_null(weft_get_parameter(m, "weight")), "weft_get_parameter");
    REPORTED(assert_null(weft_get_buffer(m, "b")), "weft_get_buffer");
    REPORTED(assert_null(weft_get_module(m, "")), "weft_get_module");
    REPORTED(assert_int_equal(weft_parameters(m, 0, &list), WEFT_ERR_STATE), "weft_parameters");
    REPORTED(assert_int_equal(weft_buffers(m, 0, &list), WEFT_ERR_STATE), "weft_buffers");
    REPORTED(assert_int_equal(weft_modules(m, 0, &modules), WEFT_ERR_STATE), "weft_modules");
    REPORTED(assert_int_equal(weft_children(m, &modules), WEFT_ERR_STATE), "weft_children");
    REPORTED(assert_int_equal(weft_module_apply(m, count_one, &visited), WEFT_ERR_STATE),
             "weft_module_apply");
    REPORTED(weft_module_eval(m), "weft_module_train");
    REPORTED(assert_int_equal(weft_module_requires_grad(m, true), WEFT_ERR_STATE),
             "weft_module_requires_grad");
    REPORTED(weft_module_zero_grad(m), "weft_module_zero_grad");
    REPORTED(assert_int_equal(weft_module_to(m, WEFT_F64), WEFT_ERR_STATE), "weft_module_to");
    REPORTED(assert_true(weft_register_forward_pre_hook(m, pass_pre, NULL, 0) == 0),
             "weft_register_forward_pre_hook");
    REPORTED(assert_int_equal(weft_state_dict(m, &list), WEFT_ERR_STATE), "weft_state_dict");
    REPORTED(assert_int_equal(weft_load_state_dict(m, &list, true), WEFT_ERR_STATE),
             "weft_load_state_dict");
    REPORTED(assert_int_equal(weft_module_save(m, "/nonexistent/x"), WEFT_ERR_STATE),
             "weft_module_save");
    REPORTED(assert_int_equal(weft_module_print(m, stdout), WEFT_ERR_STATE), "weft_module_print");
    REPORTED(assert_int_equal(weft_module_summary(m, WEFT_SHAPE(1, 2), stdout), WEFT_ERR_STATE),
             "weft_module_summary");
    REPORTED(assert_int_equal(weft_append(m, bare()), WEFT_ERR_STATE), "weft_append");
    REPORTED(assert_null(weft_at(m, 0)), "weft_at");
#undef REPORTED
    assert_int_equal(visited, 0);
    assert_int_equal(weft_register_module(parent, "child", NULL, m), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "module 'child' was destroyed");
    assert_string_equal(weft_module_name(m), "");
    weft_tensor_unref(x);
    weft_module_unref(parent);
}

static void a_hook_without_a_function_is_an_error_that_names_the_call(void **state)
{
    weft_module *m = weft_linear_create(ctx, 2, 3, NULL);
    weft_tensor *x = tensor(1);
    assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
#define REFUSED(name, ...)                                                                         \
    do {                                                                                           \
        assert_true(name(__VA_ARGS__) == 0);                                                       \
        assert_error(WEFT_ERR_INVALID, #name ": an argument is NULL");                             \
    } while (0)
    REFUSED(weft_register_forward_pre_hook, m, NULL, NULL, 0);
    REFUSED(weft_register_forward_hook, m, NULL, NULL, 0);
    REFUSED(weft_register_backward_pre_hook, m, NULL, NULL, 0);
    REFUSED(weft_register_backward_hook, m, NULL, NULL, 0);
    REFUSED(weft_register_global_forward_pre_hook, ctx, NULL, NULL);
    REFUSED(weft_register_global_forward_hook, ctx, NULL, NULL, 0);
    REFUSED(weft_register_global_backward_pre_hook, ctx, NULL, NULL);
    REFUSED(weft_register_global_backward_hook, ctx, NULL, NULL);
#undef REFUSED
    assert_true(weft_register_grad_hook(x, NULL, NULL) == 0);
    assert_error(WEFT_ERR_INVALID, "register_grad_hook: no function");
    assert_int_not_equal(weft_state_dict(m, NULL), WEFT_OK);
    assert_error(WEFT_ERR_INVALID, "weft_state_dict: an argument is NULL");
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void a_destroyed_module_stays_known_while_many_others_come_and_go(void **state)
{
    weft_module *m = dead_module();
    for (int i = 0; i < 200; i++)
        weft_module_unref(weft_linear_create(ctx, 2, 3, NULL));
    weft_tensor *x = tensor(1);
    assert_null(weft_call(m, x));
    assert_error(WEFT_ERR_STATE, "was destroyed");
    weft_tensor_unref(x);
}

static void a_parent_that_was_destroyed_takes_its_children_along(void **state)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_relu_create(ctx)), *child = weft_at(m, 0);
    weft_tensor *x = tensor(1);
    weft_module_unref(m);
    assert_null(weft_call(child, x));
    assert_error(WEFT_ERR_STATE, "was destroyed");
    weft_tensor_unref(x);
}

static void an_uninitialised_module_cannot_be_called(void **state)
{
    weft_module raw;
    weft_tensor *x = tensor(1);
    memset(&raw, 0x5a, sizeof(raw));
    assert_null(weft_call(&raw, x));
    assert_error(WEFT_ERR_STATE, "weft_call: the module is not initialised");
    weft_module_unref(&raw);
    weft_module_train(&raw, true);
    assert_int_equal(weft_module_init(&raw, ctx, &bare_class), WEFT_OK);
    weft_module_unref(&raw); /* memory of the caller's: uninitialised again */
    assert_null(weft_call(&raw, x));
    assert_error(WEFT_ERR_STATE, "not initialised");
    weft_tensor_unref(x);
}

static weft_tensor *suicidal_forward(weft_module *m, weft_tensor *x)
{
    weft_module_unref(m);
    return weft_relu(x);
}
static const weft_module_class suicidal_class = {
    .name = "Suicidal", .size = sizeof(weft_module), .forward = suicidal_forward};

static void a_module_may_drop_its_last_reference_in_its_own_forward(void **state)
{
    weft_module *m = weft_module_create(ctx, &suicidal_class, NULL);
    weft_tensor *x = tensor(1);
    assert_non_null(weft_call(m, x));
    assert_no_error();
    assert_null(weft_call(m, x));
    assert_error(WEFT_ERR_STATE, "was destroyed");
    weft_tensor_unref(x);
}

static void reviving_destroy(weft_module *m)
{
    weft_module_unref(weft_module_ref(m));
}
static const weft_module_class reviving_class = {
    .name = "Reviving", .size = sizeof(weft_module), .destroy = reviving_destroy};

static void a_destroy_that_refs_and_unrefs_its_module_runs_once(void **state)
{
    weft_module *m = weft_module_create(ctx, &reviving_class, NULL);
    weft_module_unref(m);
    assert_no_error();
    assert_null(weft_module_ref(m));
    assert_error(WEFT_ERR_STATE, "was destroyed");
}

/* ---- tensors after their last unref, or their step ---- */

static void a_freed_tensor_is_reported_by_every_function(void **state)
{
    weft_module *m = weft_relu_create(ctx), *holder = bare();
    weft_tensor *t = tensor(1), *alive = tensor(2);
    float data[2];
    weft_tensor_unref(t);
#define REPORTED(call)                                                                             \
    do {                                                                                           \
        call;                                                                                      \
        assert_error(WEFT_ERR_STATE, "this tensor was freed");                                     \
    } while (0)
    REPORTED(assert_null(weft_relu(t)));
    REPORTED(assert_null(weft_add(alive, t)));
    REPORTED(assert_null(weft_call(m, t)));
    REPORTED(assert_null(weft_tensor_ref(t)));
    REPORTED(weft_tensor_unref(t));
    REPORTED(assert_int_equal(weft_read(t, data, sizeof(data)), WEFT_ERR_STATE));
    REPORTED(assert_int_equal(weft_write(t, data, sizeof(data)), WEFT_ERR_STATE));
    REPORTED(assert_null(weft_tensor_data(t)));
    REPORTED(assert_int_not_equal(weft_set_requires_grad(t, true), WEFT_OK));
    REPORTED(assert_null(weft_grad(t)));
    REPORTED(weft_zero_grad(t));
    REPORTED(assert_int_not_equal(weft_backward(t), WEFT_OK));
    REPORTED(assert_int_equal(weft_register_parameter(holder, "w", NULL, t), WEFT_ERR_STATE));
    REPORTED(assert_int_equal(weft_register_buffer(holder, "b", NULL, t, true), WEFT_ERR_STATE));
#undef REPORTED
    assert_false(weft_tensor_is_stored(t));
    weft_tensor_unref(alive);
    weft_module_unref(m);
    weft_module_unref(holder);
}

static void a_freed_tensor_stays_known_while_many_others_come_and_go(void **state)
{
    weft_tensor *t = tensor(1);
    weft_tensor_unref(t);
    for (int i = 0; i < 200; i++)
        weft_tensor_unref(tensor(2));
    assert_null(weft_relu(t));
    assert_error(WEFT_ERR_STATE, "this tensor was freed");
}

static void a_tensor_of_a_step_that_ended_is_refused(void **state)
{
    weft_module *m = weft_relu_create(ctx), *holder = bare();
    weft_tensor *x = tensor(1), *y = weft_relu(x);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_null(weft_call(m, y));
    assert_error(WEFT_ERR_STATE, "a step that has ended");
    assert_int_not_equal(weft_register_buffer(holder, "b", NULL, y, true), WEFT_OK);
    assert_error(WEFT_ERR_STATE, "a step that has ended");
    weft_tensor_unref(x);
    weft_module_unref(m);
    weft_module_unref(holder);
}

static void a_freed_handles_memory_is_used_again(void **state)
{
    enum { N = 4096 };
    static weft_tensor *seen[N];
    int distinct = 0;
    for (int i = 0; i < N; i++) {
        weft_tensor *t = tensor(1);
        bool known = false;
        for (int k = 0; k < distinct && !known; k++)
            known = seen[k] == t;
        if (!known)
            seen[distinct++] = t;
        weft_tensor_unref(t);
    }
    assert_true(distinct > 200);   /* rested before */
    assert_true(distinct < N / 4); /* but did not grow */
}

/* ---- two contexts, wrong counts, bad forwards ---- */

static void a_tensor_of_another_context_is_refused_by_name(void **state)
{
    weft_context *other;
    assert_int_equal(weft_context_create(&other, &(weft_options){.threads = 1}, NULL), WEFT_OK);
    weft_module *m = weft_relu_create(ctx);
    weft_tensor *x = weft_tensor_create(other, WEFT_F32, WEFT_SHAPE(2));
    assert_null(weft_call(m, x));
    assert_error(WEFT_ERR_INVALID, "ReLU: input 0 belongs to another context");
    assert_int_equal(weft_error_status(other), WEFT_OK);
    weft_tensor_unref(x);
    weft_module_unref(m);
    weft_context_destroy(other);
}

static void a_forward_of_one_tensor_refuses_two_and_none(void **state)
{
    weft_module *m = weft_linear_create(ctx, 2, 2, NULL);
    weft_tensor *x = tensor(1), *in[2] = {x, x}, *out = NULL;
    int n = 1;
    assert_int_equal(weft_call_many(m, 2, in, &n, &out), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "Linear takes one tensor and gives one; called with 2");
    assert_int_equal(weft_call_many(m, 0, NULL, &n, &out), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "called with 0");
    assert_int_equal(weft_call_many(m, 1, NULL, &n, &out), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "invalid arguments");
    assert_int_equal(weft_call_many(m, 1, in, NULL, &out), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "invalid arguments");
    assert_null(out);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static int claimed;
static weft_status claim_forward(weft_module *m, int n_in, weft_tensor *const *in, int *n_out,
                                 weft_tensor **out)
{
    *n_out = claimed;
    if (claimed > 0)
        out[0] = in[0];
    return WEFT_OK;
}
static const weft_module_class claim_class = {
    .name = "Claim", .size = sizeof(weft_module), .forward_many = claim_forward};

static void a_forward_with_an_impossible_count_of_outputs_is_an_error(void **state)
{
    weft_module *m = weft_module_create(ctx, &claim_class, NULL);
    weft_tensor *x = tensor(1), *out[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        int n = 2;
        claimed = i == 0 ? 100000 : -1;
        assert_int_equal(weft_call_many(m, 1, &x, &n, out), WEFT_ERR_INVALID);
        assert_error(WEFT_ERR_INVALID, "Claim: forward says it gives");
    }
    claimed = 2; /* the second one stays NULL */
    int n = 2;
    assert_int_not_equal(weft_call_many(m, 1, &x, &n, out), WEFT_OK);
    assert_error(WEFT_ERR_STATE, "Claim: forward failed without saying why");
    claimed = 0;
    assert_null(weft_call(m, x));
    assert_error(WEFT_ERR_INVALID, "Claim gives no tensor");
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void a_class_without_a_name_or_a_size_or_with_two_forwards_is_refused(void **state)
{
    const weft_module_class bad[] = {
        {.size = sizeof(weft_module)},
        {.name = "Small", .size = sizeof(weft_module) - 1},
        {.name = "Two",
         .size = sizeof(weft_module),
         .forward = suicidal_forward,
         .forward_many = claim_forward},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(weft_module_create(ctx, &bad[i], NULL));
        assert_error(WEFT_ERR_INVALID, "it needs a name, the size");
    }
}

/* ---- values that never came ---- */

static void a_kept_value_of_a_discarded_step_cannot_be_read(void **state)
{
    weft_tensor *x = tensor(3);
    weft_tensor *kept = weft_keep(weft_scale(x, 2));
    float data[2];
    weft_discard(ctx);
    assert_int_equal(weft_read(kept, data, sizeof(data)), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE,
                 "read: the tensor has no value: the step in which it was kept failed or");
    assert_null(weft_relu(kept));
    assert_error(WEFT_ERR_STATE, "the tensor has no value");
    weft_discard(ctx);
    weft_tensor *one = weft_keep(weft_sum(x, WEFT_ALL_DIMS, false));
    weft_discard(ctx);
    assert_true(weft_item(one) != weft_item(one)); /* NaN */
    assert_error(WEFT_ERR_STATE, "the tensor has no value");
    /* A value that is given is there. */
    assert_int_equal(weft_write(kept, (float[]){1, 2}, sizeof(data)), WEFT_OK);
    assert_int_equal(weft_read(kept, data, sizeof(data)), WEFT_OK);
    weft_tensor_unref(kept);
    kept = weft_keep(weft_scale(x, 2));
    assert_int_equal(weft_read(kept, data, sizeof(data)), WEFT_OK); /* in the middle of a step */
    assert_true(data[0] == 6);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_int_equal(weft_read(kept, data, sizeof(data)), WEFT_OK);
    assert_no_error();
    weft_tensor_unref(kept);
    weft_tensor_unref(one);
    weft_tensor_unref(x);
}

static void a_kept_value_of_a_step_that_failed_cannot_be_read(void **state)
{
    weft_tensor *x = tensor(3), *bad = tensor(1);
    weft_write(bad, (float[]){1, INFINITY}, 8);
    weft_tensor *kept = weft_keep(weft_scale(x, 2)), *checked = weft_keep(weft_check_finite(bad));
    float data[2];
    assert_int_equal(weft_sync(ctx), WEFT_ERR_NUMERIC);
    weft_error_clear(ctx);
    assert_int_equal(weft_read(kept, data, sizeof(data)), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "the tensor has no value");
    weft_tensor_unref(kept);
    weft_tensor_unref(checked);
    weft_tensor_unref(x);
    weft_tensor_unref(bad);
}

static void what_outlives_its_context_makes_nothing_more(void **state)
{
    weft_context *other;
    assert_int_equal(weft_context_create(&other, &(weft_options){.threads = 1}, NULL), WEFT_OK);
    weft_module *m = weft_linear_create(other, 2, 2, NULL);
    weft_optimizer *sgd = weft_sgd_create(other, m, NULL);
    weft_tensor *x = weft_tensor_create(other, WEFT_F32, WEFT_SHAPE(1, 2));
    weft_context_destroy(other); /* its memory lives as long as they do */
#define REFUSED(call)                                                                              \
    do {                                                                                           \
        if (call)                                                                                  \
            fail_msg("%s succeeded", #call);                                                       \
        assert_int_equal(weft_error_status(other), WEFT_ERR_STATE);                                \
        assert_non_null(strstr(weft_error_text(other), "context was destroyed"));                  \
        weft_error_clear(other);                                                                   \
    } while (0)
    REFUSED(weft_optimizer_step(sgd) == WEFT_OK);
    REFUSED(weft_optimizer_record(sgd) == WEFT_OK);
    REFUSED(weft_sync(other) == WEFT_OK);
    REFUSED(weft_explain(other, stdout) == WEFT_OK);
    REFUSED(weft_tune(other, NULL, NULL) == WEFT_OK);
    REFUSED(weft_tensor_create(other, WEFT_F32, WEFT_SHAPE(1)) != NULL);
    REFUSED(weft_relu_create(other) != NULL);
    REFUSED(weft_sgd_create(other, m, NULL) != NULL);
    REFUSED(weft_call(m, x) != NULL);
#undef REFUSED
    weft_discard(other);
    weft_context_destroy(other);
    weft_tensor_unref(x);
    weft_optimizer_destroy(sgd);
    weft_module_unref(m);
}

/* ---- errors of values name the op and the module ---- */

static weft_tensor *check_forward(weft_module *m, weft_tensor *x)
{
    return weft_check_finite(x);
}
static const weft_module_class check_class = {
    .name = "Check", .size = sizeof(weft_module), .forward = check_forward};

static weft_tensor *loss_forward(weft_module *m, weft_tensor *x)
{
    int64_t labels[2] = {0, 2};
    weft_tensor *y = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(2), labels);
    weft_tensor *loss = weft_cross_entropy(x, y, NULL);
    weft_tensor_unref(y);
    return loss;
}
static const weft_module_class loss_class = {
    .name = "Loss", .size = sizeof(weft_module), .forward = loss_forward};

static void a_value_that_is_refused_is_refused_by_op_and_module(void **state)
{
    weft_module *net = bare(), *inner = bare();
    weft_module *check = weft_module_create(ctx, &check_class, NULL);
    weft_module *loss = weft_module_create(ctx, &loss_class, NULL);
    weft_register_module(net, "inner", NULL, inner);
    weft_register_module(inner, "check", NULL, check);
    weft_register_module(inner, "loss", NULL, loss);
    weft_module *path = WEFT_SEQUENTIAL(ctx, weft_module_ref(check), weft_module_ref(loss));
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 2), 1);
    weft_tensor *kept = weft_keep(weft_call(path, x));
    assert_int_equal(weft_sync(ctx), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "loss: cross_entropy: label 2 at row 1 is outside [0, 2)");
    weft_tensor_unref(kept);
    weft_write(x, (float[]){1, 2, NAN, 1}, 16);
    kept = weft_keep(weft_call(check, x));
    assert_int_equal(weft_sync(ctx), WEFT_ERR_NUMERIC);
    assert_error(WEFT_ERR_NUMERIC, "check: check_finite: a value is NaN");
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_module_unref(path);
    weft_module_unref(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hook_without_a_function_is_an_error_that_names_the_call),
        TEST(a_destroyed_module_is_reported_by_every_function),
        TEST(a_destroyed_module_stays_known_while_many_others_come_and_go),
        TEST(a_parent_that_was_destroyed_takes_its_children_along),
        TEST(an_uninitialised_module_cannot_be_called),
        TEST(a_module_may_drop_its_last_reference_in_its_own_forward),
        TEST(a_destroy_that_refs_and_unrefs_its_module_runs_once),
        TEST(a_freed_tensor_is_reported_by_every_function),
        TEST(a_freed_tensor_stays_known_while_many_others_come_and_go),
        TEST(a_tensor_of_a_step_that_ended_is_refused),
        TEST(a_freed_handles_memory_is_used_again),
        TEST(a_tensor_of_another_context_is_refused_by_name),
        TEST(a_forward_of_one_tensor_refuses_two_and_none),
        TEST(a_forward_with_an_impossible_count_of_outputs_is_an_error),
        TEST(a_class_without_a_name_or_a_size_or_with_two_forwards_is_refused),
        TEST(a_kept_value_of_a_discarded_step_cannot_be_read),
        TEST(a_kept_value_of_a_step_that_failed_cannot_be_read),
        TEST(what_outlives_its_context_makes_nothing_more),
        TEST(a_value_that_is_refused_is_refused_by_op_and_module),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
