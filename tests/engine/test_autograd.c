/* Recording's traps and autograd's rules, each by a test named after it. Values are small integers,
 * so that they are exact. */
#include "tests/engine/autograd.h"

static void gradients_add_up_until_zeroed(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(weft_backward(total(weft_mul(w, w))), WEFT_OK);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        expect(weft_grad(w), 2 * i, 4 * i, 6 * i);
    }
    weft_zero_grad(w);
    assert_null(weft_grad(w)); /* absent, not zero */
    assert_int_equal(weft_backward(total(w)), WEFT_OK);
    expect(weft_grad(w), 1, 1, 1);
    weft_tensor_unref(w);
}

static void two_backward_passes_in_one_step_add_up(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    weft_tensor *y = weft_mul(w, w);
    assert_int_equal(weft_backward(total(y)), WEFT_OK);
    assert_int_equal(weft_backward(total(weft_scale(w, 10))), WEFT_OK);
    expect(weft_grad(w), 12, 14, 16);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    expect(weft_grad(w), 12, 14, 16);
    weft_tensor_unref(w);
}

static void a_second_forward_recorded_before_the_first_backward_stays_usable(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    weft_tensor *a = total(weft_mul(w, w)), *b = total(weft_scale(w, 5));
    assert_int_equal(weft_backward(a), WEFT_OK);
    assert_int_equal(weft_backward(b), WEFT_OK);
    expect(weft_grad(w), 7, 9, 11);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_tensor_unref(w);
}

static void walking_a_graph_twice_needs_retain(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    weft_tensor *loss = total(weft_mul(w, w));
    assert_int_equal(weft_backward_with(loss, NULL, true), WEFT_OK);
    assert_int_equal(weft_backward_with(loss, NULL, false), WEFT_OK);
    expect(weft_grad(w), 4, 8, 12);
    assert_int_equal(weft_backward(loss), WEFT_ERR_STATE);
    assert_non_null(strstr(weft_error_text(ctx), "already walked"));
    weft_error_clear(ctx);
    weft_sync(ctx);
    weft_tensor_unref(w);
}

static void a_non_scalar_loss_needs_a_seed(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true), *seed = vec(1, 10, 100, false);
    weft_tensor *y = weft_mul(w, w);
    assert_int_equal(weft_backward(y), WEFT_ERR_SHAPE);
    assert_non_null(strstr(weft_error_text(ctx), "seed"));
    weft_error_clear(ctx);
    assert_int_equal(weft_backward_with(y, seed, false), WEFT_OK);
    expect(weft_grad(w), 2, 40, 600);
    weft_sync(ctx);
    weft_tensor_unref(w);
    weft_tensor_unref(seed);
}

static void a_leafs_gradient_is_the_seed(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true), *seed = vec(1, 10, 100, false);
    assert_int_equal(weft_backward_with(w, seed, false), WEFT_OK);
    expect(weft_grad(w), 1, 10, 100);
    weft_sync(ctx);
    weft_tensor_unref(w);
    weft_tensor_unref(seed);
}

static void a_loss_without_trainable_inputs_is_an_error(void **state)
{
    weft_tensor *w = vec(1, 2, 3, false);
    assert_int_equal(weft_backward(total(w)), WEFT_ERR_STATE);
    weft_error_clear(ctx);
    bool was = weft_no_grad_begin(ctx);
    assert_int_equal(weft_set_requires_grad(w, true), WEFT_OK);
    weft_tensor *loss = total(w);
    weft_no_grad_end(ctx, was);
    assert_int_equal(weft_backward(loss), WEFT_ERR_STATE);
    weft_error_clear(ctx);
    weft_sync(ctx);
    weft_tensor_unref(w);
}

static void detach_cuts_the_graph(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    assert_int_equal(weft_backward(total(weft_mul(w, weft_detach(w)))), WEFT_OK);
    expect(weft_grad(w), 1, 2, 3);
    weft_sync(ctx);
    weft_tensor_unref(w);
}

static void gradients_that_meet_are_summed(void **state)
{
    weft_tensor *w = vec(1, -2, 3, true);
    weft_tensor *y = weft_add(weft_relu(w), weft_add(w, weft_scale(w, 4)));
    assert_int_equal(weft_backward(total(y)), WEFT_OK);
    expect(weft_grad(w), 6, 5, 6);
    weft_sync(ctx);
    weft_tensor_unref(w);
}

static void writing_a_tensor_runs_its_pending_readers_first(void **state)
{
    weft_tensor *x = vec(1, 2, 3, false);
    float other[3] = {7, 8, 9};
    weft_tensor *y = weft_scale(x, 2);
    assert_int_equal(weft_write(x, other, sizeof other), WEFT_OK);
    weft_tensor *z = weft_scale(x, 2);
    expect(y, 2, 4, 6);
    expect(z, 14, 16, 18);
    weft_sync(ctx);
    weft_tensor_unref(x);
}

static void a_gradient_through_overwritten_content_is_an_error(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    float other[3] = {7, 8, 9};
    weft_tensor *loss = total(weft_mul(w, w));
    assert_int_equal(weft_write(w, other, sizeof other), WEFT_OK);
    assert_int_equal(weft_backward(loss), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_ERR_STATE);
    assert_non_null(strstr(weft_error_text(ctx), "overwritten"));
    weft_error_clear(ctx);
    weft_zero_grad(w);
    weft_tensor_unref(w);
}

static void an_assigned_value_is_what_later_reads_see(void **state)
{
    weft_tensor *w = vec(1, 2, 3, false);
    weft_tensor *before = weft_keep(weft_scale(w, 1));
    assert_int_equal(wf_assign_all(1, &w, (weft_tensor *[]){weft_scale(w, 2)}), WEFT_OK);
    weft_tensor *after = weft_keep(weft_scale(w, 1));
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    expect(before, 1, 2, 3);
    expect(after, 2, 4, 6);
    expect(w, 2, 4, 6);
    weft_tensor_unref(before);
    weft_tensor_unref(after);
    weft_tensor_unref(w);
}

/* Of a parameter that the step updates, weft_keep keeps the content of before; once the update is
 * recorded, that of after it. So do views of the parameter. */
static void a_kept_parameter_is_the_one_of_its_place_in_the_step(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_tensor_list_add(&all, "w", w), WEFT_OK);
    const weft_sgd_opts half = {.lr = 0.5};
    weft_optimizer *opt = weft_sgd_create(ctx, NULL, &half);
    assert_int_equal(weft_optimizer_add_group(opt, &all, NAN, NAN), WEFT_OK);
    weft_tensor *before[] = {weft_keep(w), weft_keep(weft_detach(w)),
                             weft_keep(weft_reshape(w, WEFT_SHAPE(1, 3)))};
    assert_int_equal(weft_backward(total(weft_mul(w, w))), WEFT_OK); /* 2 w, so w - w is left */
    assert_int_equal(weft_optimizer_record(opt), WEFT_OK);
    weft_tensor *after = weft_keep(w);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    for (int i = 0; i < 3; i++) {
        expect(before[i], 1, 2, 3);
        weft_tensor_unref(before[i]);
    }
    expect(after, 0, 0, 0);
    expect(w, 0, 0, 0);
    weft_tensor_unref(after);
    weft_optimizer_destroy(opt);
    weft_tensor_list_done(&all);
    weft_tensor_unref(w);
}

static void a_stale_handle_is_a_clear_error(void **state)
{
    weft_tensor *w = vec(1, 2, 3, false);
    weft_tensor *y = weft_scale(w, 2);
    for (int i = 0; i < 4; i++) { /* of the last step, and of pages given back */
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        assert_null(weft_relu(y));
        assert_int_equal(weft_error_status(ctx), WEFT_ERR_STATE);
        assert_non_null(strstr(weft_error_text(ctx), "step that has ended"));
        weft_error_clear(ctx);
    }
    weft_tensor_unref(w);
}

static void the_loss_stays_readable_for_one_step(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    weft_tensor *loss = total(weft_mul(w, w));
    assert_int_equal(weft_backward(loss), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_true(weft_item(loss) == 14);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        assert_true(isnan(weft_item(loss)));
        assert_int_equal(weft_error_status(ctx), WEFT_ERR_STATE);
        weft_error_clear(ctx);
    }
    weft_tensor_unref(w);
}

static void the_first_error_stays_and_null_passes_through(void **state)
{
    weft_tensor *a = vec(1, 2, 3, false);
    weft_tensor *b = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(4));
    wf_path_push(ctx, "layer2");
    wf_path_push(ctx, "0");
    weft_tensor *y = weft_relu(weft_add(a, b));
    wf_path_pop(ctx);
    wf_path_pop(ctx);
    assert_null(y);
    assert_int_equal(weft_error_status(ctx), WEFT_ERR_SHAPE);
    assert_memory_equal(weft_error_text(ctx), "layer2.0: add: ", 15);
    char first[WEFT_ERROR_TEXT];
    strcpy(first, weft_error_text(ctx));
    assert_null(weft_add(b, a));
    assert_string_equal(weft_error_text(ctx), first);
    weft_error_clear(ctx);
    weft_tensor_unref(a);
    weft_tensor_unref(b);
}

static void tensors_outlive_their_context(void **state)
{
    weft_context *other = NULL;
    assert_int_equal(weft_context_create(&other, NULL, NULL), WEFT_OK);
    weft_tensor *t = weft_tensor_full(other, WEFT_F32, WEFT_SHAPE(3), 2);
    weft_context_destroy(other);
    assert_null(weft_relu(t));
    weft_tensor_unref(t);
}

static void a_failed_step_commits_nothing(void **state)
{
    weft_tensor *w = vec(1, 2, 3, true);
    int64_t bad[1] = {7};
    weft_tensor *labels = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(1), bad);
    weft_tensor *loss = weft_cross_entropy(weft_reshape(w, WEFT_SHAPE(1, 3)), labels, NULL);
    assert_int_equal(weft_backward(loss), WEFT_OK);
    wf_sgd_update_opts o = {.lr = 1};
    assert_int_equal(wf_record_sgd_update(w, weft_grad(w), NULL, &o), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_ERR_INVALID);
    assert_non_null(strstr(weft_error_text(ctx), "7"));
    weft_error_clear(ctx);
    expect(w, 1, 2, 3);
    assert_null(weft_grad(w));
    weft_tensor_unref(w);
    weft_tensor_unref(labels);
}

static void item_needs_one_element(void **state)
{
    weft_tensor *w = vec(1, 2, 3, false);
    assert_true(isnan(weft_item(w)));
    assert_int_equal(weft_error_status(ctx), WEFT_ERR_SHAPE);
    weft_error_clear(ctx);
    weft_tensor_unref(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gradients_add_up_until_zeroed),
        TEST(two_backward_passes_in_one_step_add_up),
        TEST(a_second_forward_recorded_before_the_first_backward_stays_usable),
        TEST(walking_a_graph_twice_needs_retain),
        TEST(a_non_scalar_loss_needs_a_seed),
        TEST(a_leafs_gradient_is_the_seed),
        TEST(a_loss_without_trainable_inputs_is_an_error),
        TEST(detach_cuts_the_graph),
        TEST(gradients_that_meet_are_summed),
        TEST(writing_a_tensor_runs_its_pending_readers_first),
        TEST(a_gradient_through_overwritten_content_is_an_error),
        TEST(an_assigned_value_is_what_later_reads_see),
        TEST(a_kept_parameter_is_the_one_of_its_place_in_the_step),
        TEST(a_stale_handle_is_a_clear_error),
        TEST(the_loss_stays_readable_for_one_step),
        TEST(the_first_error_stays_and_null_passes_through),
        TEST(tensors_outlive_their_context),
        TEST(a_failed_step_commits_nothing),
        TEST(item_needs_one_element),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
