/* weft_module_to keeps every tensor what it is to whoever holds it: an optimizer, a sharing module,
 * the caller. */
#include "tests/modules/fixture.h"

static weft_module *net;
static weft_tensor *x;
static weft_optimizer *optimizer;

static void make(bool adam, weft_dtype dtype)
{
    net = weft_linear_create(ctx, 2, 1, NULL);
    x = weft_tensor_full(ctx, dtype, WEFT_SHAPE(3, 2), 1);
    weft_adamw_opts adamw = WEFT_ADAMW_OPTS_INIT;
    adamw.lr = 0.25;
    optimizer = adam ? weft_adamw_create(ctx, net, &adamw)
                     : weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.25, .momentum = 0.5});
    assert_no_error();
}

static void input_of(weft_dtype dtype)
{
    weft_tensor_unref(x);
    x = weft_tensor_full(ctx, dtype, WEFT_SHAPE(3, 2), 1);
}

static void end(void)
{
    weft_optimizer_destroy(optimizer);
    weft_tensor_unref(x);
    weft_module_unref(net);
}

static void step(void)
{
    weft_optimizer_zero_grad(optimizer);
    assert_int_equal(weft_backward(weft_mean(weft_call(net, x), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_optimizer_step(optimizer), WEFT_OK);
    assert_no_error();
}

static double bias(void)
{
    double value = weft_item(weft_get_parameter(net, "bias"));
    assert_no_error();
    return value;
}

static void an_optimizer_made_before_goes_on_with_its_state(void **state)
{
    make(false, WEFT_F32);
    weft_tensor *held = weft_get_parameter(net, "bias");
    step(); /* gradient 1: velocity 1, then 1.5, then 1.75 */
    double start = bias();
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_OK);
    assert_ptr_equal(weft_get_parameter(net, "bias"), held);
    assert_int_equal(weft_tensor_dtype(held), WEFT_F64);
    assert_true(bias() == start);
    input_of(WEFT_F64);
    step();
    assert_true(bias() == start - 0.25 * 1.5);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_optimizer_state(optimizer, &list), WEFT_OK);
    weft_tensor *velocity = weft_tensor_list_find(&list, "bias.momentum_buffer");
    assert_int_equal(weft_tensor_dtype(velocity), WEFT_F64);
    assert_true(weft_item(velocity) == 1.5);
    weft_tensor_list_done(&list);
    assert_int_equal(weft_module_to(net, WEFT_F32), WEFT_OK);
    input_of(WEFT_F32);
    step();
    assert_true((float)(start - 0.25 * 1.5 - 0.25 * 1.75) == (float)bias());
    end();
}

static void adamw_goes_on_too_and_its_state_is_listed_in_the_new_type(void **state)
{
    make(true, WEFT_F32);
    step();
    double start = bias();
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_OK);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_optimizer_state(optimizer, &list), WEFT_OK);
    assert_int_equal(weft_tensor_dtype(weft_tensor_list_find(&list, "bias.exp_avg_sq")), WEFT_F64);
    weft_tensor_list_done(&list);
    input_of(WEFT_F64);
    step();
    assert_true(bias() < start - 0.2); /* with equal gradients each step is about lr */
    end();
}

static void a_state_saved_in_the_other_type_loads(void **state)
{
    make(false, WEFT_F32);
    step();
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_optimizer_state(optimizer, &list), WEFT_OK);
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_OK);
    weft_optimizer *other = weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 1, .momentum = 0.5});
    assert_int_equal(weft_optimizer_load_state(other, &list), WEFT_OK);
    weft_tensor_list_done(&list);
    assert_int_equal(weft_optimizer_state(other, &list), WEFT_OK);
    assert_true(weft_item(weft_tensor_list_find(&list, "bias.momentum_buffer")) == 1);
    weft_tensor_list_done(&list);
    weft_optimizer_destroy(other);
    end();
}

static weft_status count_hook(void *user, weft_tensor *t, weft_tensor **grad)
{
    ++*(int *)user;
    return WEFT_OK;
}

static void gradients_hooks_and_sharing_stay(void **state)
{
    weft_module *a = bare(), *b = bare();
    weft_tensor *w = tensor(3);
    int hooks = 0;
    weft_register_parameter(a, "w", NULL, weft_tensor_ref(w));
    weft_register_parameter(b, "w", NULL, weft_tensor_ref(w));
    assert_int_not_equal(weft_register_grad_hook(w, count_hook, &hooks), 0);
    assert_int_equal(weft_backward(weft_sum(weft_mul(w, w), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_module_to(a, WEFT_F64), WEFT_OK); /* runs what is recorded */
    assert_ptr_equal(weft_get_parameter(b, "w"), w);
    weft_tensor *grad = weft_grad(w);
    assert_int_equal(weft_tensor_dtype(grad), WEFT_F64);
    double values[2];
    assert_int_equal(weft_read(grad, values, sizeof(values)), WEFT_OK);
    assert_true(values[0] == 6 && values[1] == 6);
    assert_int_equal(weft_backward(weft_sum(w, WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_int_equal(weft_read(weft_grad(w), values, sizeof(values)), WEFT_OK);
    assert_true(values[0] == 7 && hooks == 2);
    assert_true(weft_requires_grad(w));
    weft_tensor_unref(w);
    weft_module_unref(a);
    weft_module_unref(b);
}

static void a_backward_pass_over_what_was_read_in_the_other_type_is_refused(void **state)
{
    make(false, WEFT_F32);
    weft_tensor *loss =
        weft_mean(weft_mul(weft_call(net, x), weft_call(net, x)), WEFT_ALL_DIMS, false);
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_OK);
    assert_int_equal(weft_backward(loss), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "became f64 after recorded work had read it as f32");
    weft_discard(ctx);
    input_of(WEFT_F64);
    step();
    end();
}

static weft_status to_hook(void *user, weft_tensor *t, weft_tensor **grad)
{
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE,
                 "weft_module_to: a hook cannot change the type of what the step uses");
    return WEFT_OK;
}

static void a_hook_cannot_change_types(void **state)
{
    make(false, WEFT_F32);
    weft_register_grad_hook(weft_get_parameter(net, "bias"), to_hook, NULL);
    step();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_optimizer_made_before_goes_on_with_its_state),
        TEST(adamw_goes_on_too_and_its_state_is_listed_in_the_new_type),
        TEST(a_state_saved_in_the_other_type_loads),
        TEST(gradients_hooks_and_sharing_stay),
        TEST(a_backward_pass_over_what_was_read_in_the_other_type_is_refused),
        TEST(a_hook_cannot_change_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
