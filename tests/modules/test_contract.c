/* What a module promises beyond what the files beside this one show: a custom module gets all of
 * it for nothing, calls and their errors, modes, copies, and the check of gradients. The table of
 * all promises and their tests: docs/modules.md. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/modules/fixture.h"

/* ---- a custom module ---- */

typedef struct gate {
    weft_module base;
    int channels;
    weft_module *conv, *bn;
    weft_tensor *gain, *seen;
} gate;

static weft_tensor *gate_forward(weft_module *m, weft_tensor *x)
{
    gate *self = (gate *)m;
    return weft_mul(weft_call(self->bn, weft_call(self->conv, x)), self->gain);
}

static void gate_repr(const weft_module *m, char *text, size_t size)
{
    snprintf(text, size, "channels=%d", ((const gate *)m)->channels);
}

static const weft_module_class gate_class = {
    .name = "Gate", .size = sizeof(gate), .forward = gate_forward, .extra_repr = gate_repr};

static weft_module *gate_create(int channels)
{
    gate *self = weft_module_create(ctx, &gate_class, NULL);
    assert_non_null(self);
    self->channels = channels;
    weft_module *m = &self->base;
    weft_register_module(
        m, "conv", &self->conv,
        weft_conv2d_create(ctx, channels, channels, 1, &(weft_conv2d_layer_opts){.no_bias = true}));
    weft_register_module(m, "bn", &self->bn, weft_batch_norm2d_create(ctx, channels, NULL));
    weft_register_parameter(m, "gain", &self->gain,
                            weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(channels, 1, 1), 2));
    weft_register_buffer(m, "seen", &self->seen, weft_tensor_create(ctx, WEFT_I64, WEFT_SCALAR),
                         true);
    m = weft_module_ok(m);
    assert_non_null(m);
    return m;
}

static char *printed(weft_module *m)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    assert_int_equal(weft_module_print(m, f), WEFT_OK);
    fclose(f);
    return text;
}

/* ---- init ---- */

static void pair_init(weft_module *m, const void *args)
{
    weft_register_module(m, "fc", NULL, weft_linear_create(m->ctx, 3, 2, NULL));
    weft_register_parameter(m, "gain", NULL, weft_tensor_full(m->ctx, WEFT_F32, WEFT_SHAPE(2), 1));
}

static void bad_init(weft_module *m, const void *args)
{
    weft_register_module(m, "fc", NULL, weft_linear_create(m->ctx, 3, 2, NULL));
    weft_register_parameter(m, "a.b", NULL, weft_tensor_full(m->ctx, WEFT_F32, WEFT_SHAPE(2), 1));
}

static void a_class_may_register_its_parts_in_init(void **state)
{
    static const weft_module_class pair = {"Pair", sizeof(weft_module), .init = pair_init};
    weft_module *m = weft_module_create(ctx, &pair, NULL);
    assert_non_null(m);
    assert_int_equal(weft_parameter_count(m, false), 3 * 2 + 2 + 2);
    weft_module *copy = weft_module_clone(m); /* init is not run again over the copied parts */
    assert_non_null(copy);
    assert_int_equal(weft_parameter_count(copy, false), 3 * 2 + 2 + 2);
    weft_module_unref(copy);
    weft_module_unref(m);
}

static void a_registration_that_fails_in_init_fails_the_module(void **state)
{
    static const weft_module_class bad = {"Bad", sizeof(weft_module), .init = bad_init};
    assert_null(weft_module_create(ctx, &bad, NULL));
    assert_non_null(strstr(weft_error_text(ctx), "a.b"));
    weft_error_clear(ctx);
}

static void a_custom_module_gets_everything_for_nothing(void **state)
{
    char path[] = "/tmp/weft-contract-XXXXXX", text[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    weft_module *m = WEFT_SEQUENTIAL(ctx, gate_create(3), weft_relu_create(ctx));
    gate *g = (gate *)weft_at(m, 0);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(m, &list), WEFT_OK);
    assert_string_equal(names(&list, text, sizeof(text)),
                        "0.gain 0.seen 0.conv.weight 0.bn.weight 0.bn.bias 0.bn.running_mean "
                        "0.bn.running_var 0.bn.num_batches_tracked");
    weft_tensor_list_done(&list);
    char *repr = printed(m);
    assert_non_null(strstr(repr, "  (0): Gate(\n    channels=3\n    (conv): Conv2d(3, 3, "));
    free(repr);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(2, 3, 4, 4));
    assert_int_equal(weft_backward(weft_sum(weft_call(m, x), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_non_null(weft_grad(g->gain));
    assert_non_null(weft_grad(weft_get_parameter(m, "0.conv.weight")));
    weft_module_eval(m);
    assert_false(g->base.training || g->bn->training);
    /* The members follow: a change of type, a clone, a file. */
    assert_int_equal(weft_module_to(m, WEFT_F64), WEFT_OK);
    assert_ptr_equal(g->gain, weft_get_parameter(m, "0.gain"));
    assert_int_equal(weft_tensor_dtype(g->gain), WEFT_F64);
    assert_int_equal(weft_module_to(m, WEFT_F32), WEFT_OK);
    weft_module *copy = weft_module_clone(m);
    gate *h = (gate *)weft_at(copy, 0);
    assert_int_equal(h->channels, 3);
    assert_ptr_equal(h->conv, weft_get_module(copy, "0.conv"));
    assert_ptr_not_equal(h->conv, g->conv);
    weft_init_constant(g->gain, 9);
    assert_int_equal(weft_module_save(m, path), WEFT_OK);
    assert_int_equal(weft_module_load(copy, path, true), WEFT_OK);
    assert_true(first(h->gain) == 9);
    unlink(path);
    weft_tensor_unref(x);
    weft_module_unref(copy);
    weft_module_unref(m);
}

/* ---- registration ---- */

static void registering_a_buffer_again_changes_whether_it_is_saved(void **state)
{
    weft_module *m = bare();
    for (int i = 0; i < 4; i++) {
        bool persistent = i % 2 == 0;
        assert_int_equal(weft_register_buffer(m, "b", NULL, tensor((float)i), persistent), WEFT_OK);
        weft_tensor_list list = WEFT_TENSOR_LIST_INIT, all = WEFT_TENSOR_LIST_INIT;
        assert_int_equal(weft_state_dict(m, &list), WEFT_OK);
        assert_int_equal(weft_buffers(m, 0, &all), WEFT_OK);
        assert_int_equal(list.n, persistent ? 1 : 0);
        assert_int_equal(all.n, 1); /* listed all the same */
        assert_true(first(all.item[0].tensor) == (float)i);
        weft_tensor_list_done(&list);
        weft_tensor_list_done(&all);
    }
    weft_module_unref(m);
}

static void a_refused_registration_leaves_the_field_and_the_part(void **state)
{
    weft_module *m = bare();
    weft_tensor *field = NULL, *other = NULL, *x = tensor(4);
    weft_register_parameter(m, "w", &field, tensor(1));
    assert_int_equal(weft_register_parameter(m, "w", &field, weft_relu(x)), WEFT_ERR_INVALID);
    weft_error_clear(ctx);
    assert_int_equal(weft_register_buffer(m, "w", &other, tensor(2), true), WEFT_ERR_STATE);
    weft_error_clear(ctx);
    assert_null(other);
    assert_true(first(field) == 1);
    assert_ptr_equal(weft_get_parameter(m, "w"), field);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static void a_diamond_is_no_cycle(void **state)
{
    weft_module *top = bare(), *a = bare(), *b = bare(), *shared = bare();
    weft_register_module(a, "s", NULL, weft_module_ref(shared));
    weft_register_module(b, "s", NULL, shared);
    assert_int_equal(weft_register_module(top, "a", NULL, a), WEFT_OK);
    assert_int_equal(weft_register_module(top, "b", NULL, b), WEFT_OK);
    assert_int_equal(weft_register_module(shared, "t", NULL, weft_module_ref(top)), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "would close a cycle");
    weft_module_unref(top);
}

/* ---- calls ---- */

static int ran;

static weft_status count_calls(void *user, weft_module *m, int n_in, weft_tensor *const *in,
                               int n_out, weft_tensor **out)
{
    ran++;
    assert_int_equal(n_out, *(int *)user);
    return WEFT_OK;
}

static void an_always_hook_runs_after_a_failed_forward(void **state)
{
    int none = 0, one = 1;
    weft_module *m = weft_linear_create(ctx, 3, 2, NULL);
    weft_tensor *right = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(1, 3)), *wrong = tensor(1);
    uint64_t h = weft_register_forward_hook(m, count_calls, &none, WEFT_HOOK_ALWAYS);
    ran = 0;
    assert_null(weft_call(m, wrong));
    assert_error(WEFT_ERR_SHAPE, "linear");
    assert_int_equal(ran, 1);
    weft_hook_remove(m, h);
    weft_register_forward_hook(m, count_calls, &one, WEFT_HOOK_ALWAYS);
    assert_non_null(weft_call(m, right));
    assert_int_equal(ran, 2);
    weft_tensor_unref(right);
    weft_tensor_unref(wrong);
    weft_module_unref(m);
}

static weft_tensor *failing_forward(weft_module *m, weft_tensor *x)
{
    weft_matmul(x, x, false, false);
    return NULL;
}
static const weft_module_class failing_class = {
    .name = "Failing", .size = sizeof(weft_module), .forward = failing_forward};

static void a_forward_that_gives_null_keeps_the_error_that_stands(void **state)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_module_create(ctx, &failing_class, NULL));
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    assert_null(weft_call(m, x));
    assert_null(strstr(weft_error_text(ctx), "without saying why"));
    assert_error(WEFT_ERR_SHAPE, "0: matmul: ");
    weft_tensor_unref(x);
    weft_module_unref(m);
}

/* ---- copies ---- */

static void a_clone_has_no_hooks_and_no_gradients_and_stays_as_frozen(void **state)
{
    int one = 1;
    weft_module *m = weft_linear_create(ctx, 3, 2, NULL);
    weft_register_buffer(m, "b", NULL, tensor(5), false);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 3), 1);
    weft_register_forward_hook(m, count_calls, &one, 0);
    assert_int_equal(weft_backward(weft_sum(weft_call(m, x), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_set_requires_grad(weft_get_parameter(m, "bias"), false);
    weft_module *copy = weft_module_clone(m);
    ran = 0;
    assert_non_null(weft_call(copy, x));
    assert_int_equal(ran, 0);
    assert_non_null(weft_grad(weft_get_parameter(m, "weight")));
    assert_null(weft_grad(weft_get_parameter(copy, "weight")));
    assert_true(weft_requires_grad(weft_get_parameter(copy, "weight")));
    assert_false(weft_requires_grad(weft_get_parameter(copy, "bias")));
    weft_init_constant(weft_get_buffer(m, "b"), 6);
    assert_true(first(weft_get_buffer(copy, "b")) == 5);
    weft_tensor_list state_list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(copy, &state_list), WEFT_OK);
    assert_null(weft_tensor_list_find(&state_list, "b")); /* still not persistent */
    weft_tensor_list_done(&state_list);
    weft_tensor_unref(x);
    weft_module_unref(copy);
    weft_module_unref(m);
}

/* ---- gradcheck ---- */

/* 1: right; 2: half of the gradient is cut; 3: another function every time. */
static weft_tensor *checked(void *user, weft_tensor *const *inputs, int n)
{
    weft_tensor *x = inputs[0];
    switch (*(int *)user) {
    case 1: return weft_mul(x, x);
    case 2: return weft_mul(x, weft_detach(x));
    default: return weft_scale(x, ++ran);
    }
}

static void gradcheck_finds_wrong_and_unrepeatable_gradients(void **state)
{
    int right = 1, cut = 2, moving = 3;
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F64, WEFT_SHAPE(3), 1.5);
    assert_int_equal(weft_gradcheck(ctx, checked, &right, &x, 1, NULL), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "no input requires a gradient");
    weft_set_requires_grad(x, true);
    assert_int_equal(weft_gradcheck(ctx, checked, &right, &x, 1, NULL), WEFT_OK);
    assert_int_equal(weft_gradcheck(ctx, checked, &cut, &x, 1, NULL), WEFT_ERR_NUMERIC);
    assert_error(WEFT_ERR_NUMERIC, "gradcheck: input 0 [3], element 0: recorded gradient");
    ran = 0;
    assert_int_equal(weft_gradcheck(ctx, checked, &moving, &x, 1, NULL), WEFT_ERR_NUMERIC);
    assert_error(WEFT_ERR_NUMERIC, "two runs give input 0 different gradients");
    assert_true(((double *)weft_tensor_data(x))[0] == 1.5); /* inputs are put back */
    weft_tensor_unref(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_class_may_register_its_parts_in_init),
        TEST(a_registration_that_fails_in_init_fails_the_module),
        TEST(a_custom_module_gets_everything_for_nothing),
        TEST(registering_a_buffer_again_changes_whether_it_is_saved),
        TEST(a_refused_registration_leaves_the_field_and_the_part),
        TEST(a_diamond_is_no_cycle),
        TEST(an_always_hook_runs_after_a_failed_forward),
        TEST(a_forward_that_gives_null_keeps_the_error_that_stands),
        TEST(a_clone_has_no_hooks_and_no_gradients_and_stays_as_frozen),
        TEST(gradcheck_finds_wrong_and_unrepeatable_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
