/* What runs but is hardly meant is told: once, by name, with the reason; or is an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weft/weft.h"

static weft_context *ctx;
static char heard[4096]; /* one line a message */

static void hear(void *user, const char *text)
{
    strncat(heard, text, sizeof(heard) - strlen(heard) - 2);
    strcat(heard, "\n");
}

static void open_context(weft_lint lint)
{
    weft_options options = {.threads = 1, .seed = 2, .lint = lint};
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    weft_set_message_handler(ctx, hear, NULL);
    heard[0] = '\0';
}

#define assert_heard(text)                                                                         \
    do {                                                                                           \
        assert_string_equal(heard, (text));                                                        \
        heard[0] = '\0';                                                                           \
    } while (0)

static void expect_error(const char *part)
{
    if (weft_error_status(ctx) != WEFT_ERR_STATE || !strstr(weft_error_text(ctx), part))
        fail_msg("status %d, text \"%s\": expected \"%s\"", weft_error_status(ctx),
                 weft_error_text(ctx), part);
    weft_error_clear(ctx);
}

static weft_tensor *trainable(void)
{
    weft_tensor *t = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1);
    assert_int_equal(weft_set_requires_grad(t, true), WEFT_OK);
    return t;
}

/* A module that multiplies by a tensor it has forgotten to register. */
typedef struct forgetful {
    weft_module base;
    weft_tensor *w, *forgotten;
} forgetful;
static weft_tensor *forgetful_forward(weft_module *m, weft_tensor *x)
{
    forgetful *self = (forgetful *)m;
    return weft_add(weft_mul(x, self->w), weft_scale(self->forgotten, 2));
}
static const weft_module_class forgetful_class = {
    .name = "Forgetful", .size = sizeof(forgetful), .forward = forgetful_forward};

/* Sequential(Forgetful): parameter "0.w"; the forgotten tensor belongs to the caller. */
static weft_module *forgetful_net(weft_tensor *forgotten)
{
    forgetful *f = weft_module_create(ctx, &forgetful_class, NULL);
    weft_register_parameter(&f->base, "w", &f->w, trainable());
    f->forgotten = forgotten;
    return WEFT_SEQUENTIAL(ctx, weft_module_ok(f));
}

static weft_status step(weft_optimizer *o, weft_module *net, weft_tensor *x)
{
    weft_optimizer_zero_grad(o);
    assert_int_equal(weft_backward(weft_sum(weft_call(net, x), WEFT_ALL_DIMS, false)), WEFT_OK);
    return weft_optimizer_step(o);
}

static const char unregistered[] =
    "a tensor of shape [2, 3] (f32) that requires a gradient reaches the loss through scale in "
    "module 0, but no optimizer has it\n";

static void a_tensor_that_no_optimizer_has_is_told_by_shape_and_place(void **state)
{
    open_context(WEFT_LINT_WARN);
    weft_tensor *forgotten = trainable(), *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    weft_module *net = forgetful_net(forgotten);
    weft_optimizer *o = weft_sgd_create(ctx, net, NULL);
    assert_int_equal(step(o, net, x), WEFT_OK);
    assert_heard(unregistered);
    assert_int_equal(step(o, net, x), WEFT_OK); /* once */
    assert_heard("");
    /* An input whose gradient is asked for is meant so. */
    weft_set_requires_grad(x, true);
    weft_set_requires_grad(forgotten, false);
    weft_optimizer_zero_grad(o);
    assert_int_equal(weft_backward(weft_sum(weft_call(net, x), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_non_null(weft_grad(x));
    assert_int_equal(weft_optimizer_step(o), WEFT_OK);
    assert_heard("");
    weft_optimizer_destroy(o);
    weft_module_unref(net);
    weft_tensor_unref(forgotten);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void a_second_optimizer_may_have_it(void **state)
{
    open_context(WEFT_LINT_WARN);
    weft_tensor *forgotten = trainable(), *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    weft_module *net = forgetful_net(forgotten);
    weft_optimizer *o = weft_sgd_create(ctx, net, NULL), *p = weft_sgd_create(ctx, NULL, NULL);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_tensor_list_add(&list, "extra", forgotten);
    assert_int_equal(weft_optimizer_add_group(p, &list, NAN, NAN), WEFT_OK);
    weft_tensor_list_done(&list);
    assert_int_equal(step(o, net, x), WEFT_OK);
    assert_heard("");
    weft_optimizer_destroy(p); /* and now nobody has it */
    assert_int_equal(step(o, net, x), WEFT_OK);
    assert_heard(unregistered);
    weft_optimizer_destroy(o);
    weft_module_unref(net);
    weft_tensor_unref(forgotten);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void a_learning_rate_that_was_left_out_is_told(void **state)
{
    open_context(WEFT_LINT_WARN);
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3)), *w = trainable();
    weft_module *net = forgetful_net(w);
    weft_set_requires_grad(w, false);
    weft_optimizer *o = weft_sgd_create(ctx, net, &(weft_sgd_opts){.momentum = 0.9});
    assert_int_equal(step(o, net, x), WEFT_OK);
    assert_heard("optimizer SGD: its learning rate is 0 and was never set: it trains nothing\n");
    assert_int_equal(step(o, net, x), WEFT_OK); /* once */
    assert_heard("");
    weft_optimizer_destroy(o);
    o = weft_sgd_create(ctx, net, &(weft_sgd_opts){.momentum = 0.9});
    assert_int_equal(weft_optimizer_set_lr(o, -1, 0), WEFT_OK); /* as a warm-up may */
    assert_int_equal(step(o, net, x), WEFT_OK);
    assert_heard("");
    weft_optimizer_destroy(o);
    weft_module_unref(net);
    weft_tensor_unref(w);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

/* Parameters that miss their gradients for one reason each. */
typedef struct gaps {
    weft_module base;
    weft_tensor *good, *frozen, *unused, *unreached, *no_grad, *detached, *counted;
} gaps;
static weft_tensor *gaps_forward(weft_module *m, weft_tensor *x)
{
    gaps *g = (gaps *)m;
    weft_context *c = m->ctx;
    int64_t zeros[2] = {0};
    weft_tensor *labels = weft_tensor_from(c, WEFT_I64, WEFT_SHAPE(2), zeros);
    weft_mul(x, g->unreached);
    weft_count_correct(g->counted, labels, NULL, NULL);
    weft_tensor_unref(labels);
    bool was = weft_no_grad_begin(c);
    weft_tensor *inside = weft_relu(g->no_grad);
    weft_no_grad_end(c, was);
    x = weft_add(weft_mul(x, g->good), weft_add(inside, weft_detach(weft_relu(g->detached))));
    return weft_add(x, g->frozen);
}
static const weft_module_class gaps_class = {
    .name = "Gaps", .size = sizeof(gaps), .forward = gaps_forward};

static weft_module *gaps_net(void)
{
    gaps *g = weft_module_create(ctx, &gaps_class, NULL);
    weft_module *m = &g->base;
    weft_register_parameter(m, "good", &g->good, trainable());
    weft_register_parameter(m, "frozen", &g->frozen, trainable());
    weft_register_parameter(m, "unused", &g->unused, trainable());
    weft_register_parameter(m, "unreached", &g->unreached, trainable());
    weft_register_parameter(m, "no_grad", &g->no_grad, trainable());
    weft_register_parameter(m, "detached", &g->detached, trainable());
    weft_register_parameter(m, "counted", &g->counted, trainable());
    weft_set_requires_grad(g->frozen, false);
    return weft_module_ok(g);
}

static const char all_gaps[] =
    "optimizer SGD: no gradient for frozen (frozen: requires_grad is off)\n"
    "optimizer SGD: no gradient for no_grad (cut by no_grad: used inside weft_no_grad_begin)\n"
    "optimizer SGD: no gradient for detached (cut by weft_detach)\n"
    "optimizer SGD: no gradient for counted (used only by ops without a gradient)\n"
    "optimizer SGD: no gradient for unreached (not reached: no loss of a backward pass depends on "
    "it)\n"
    "optimizer SGD: no gradient for unused (not reached: not used in the step's forward)\n";

static void a_parameter_without_a_gradient_is_told_with_the_reason(void **state)
{
    open_context(WEFT_LINT_WARN);
    weft_module *net = gaps_net();
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    weft_optimizer *o = weft_sgd_create(ctx, net, NULL);
    assert_int_equal(step(o, net, x), WEFT_OK);
    assert_heard(all_gaps);
    assert_int_equal(step(o, net, x), WEFT_OK); /* once */
    assert_heard("");
    weft_optimizer_zero_grad(o);
    assert_int_equal(weft_optimizer_step(o), WEFT_OK); /* no backward pass at all */
    assert_heard("optimizer SGD: no gradient for good (not reached: no loss of a backward pass "
                 "depends on it)\n");
    weft_optimizer_destroy(o);
    weft_module_unref(net);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void many_names_share_one_message(void **state)
{
    open_context(WEFT_LINT_WARN);
    weft_module *net = WEFT_SEQUENTIAL(
        ctx, weft_linear_create(ctx, 3, 3, NULL), weft_linear_create(ctx, 3, 3, NULL),
        weft_linear_create(ctx, 3, 3, NULL), weft_linear_create(ctx, 3, 3, NULL),
        weft_linear_create(ctx, 3, 3, NULL), weft_linear_create(ctx, 3, 3, NULL));
    for (int i = 0; i < 5; i++) {
        char name[2] = {(char)('0' + i), 0};
        weft_module_requires_grad(weft_get_module(net, name), false);
    }
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    weft_optimizer *o = weft_adamw_create(ctx, net, NULL);
    assert_int_equal(step(o, net, x), WEFT_OK);
    assert_heard("optimizer AdamW: no gradient for 0.weight, 0.bias, 1.weight, 1.bias, 2.weight, "
                 "2.bias, 3.weight, 3.bias and 2 more (frozen: requires_grad is off)\n");
    weft_optimizer_destroy(o);
    weft_module_unref(net);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static weft_module *loaded_net(void)
{
    weft_module *net = WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 3, 4, 1, NULL),
                                       weft_batch_norm2d_create(ctx, 4, NULL),
                                       weft_batch_norm2d_create(ctx, 4, NULL));
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(net, &list), WEFT_OK);
    assert_int_equal(weft_load_state_dict(net, &list, true), WEFT_OK);
    weft_tensor_list_done(&list);
    return net;
}

static weft_tensor *evaluate(weft_module *net, weft_tensor *x)
{
    bool was = weft_no_grad_begin(ctx);
    weft_tensor *y = weft_call(net, x);
    weft_no_grad_end(ctx, was);
    return y;
}

static const char batch_norm[] =
    "1: BatchNorm2d is in training mode under no_grad, after its state was loaded: it uses the "
    "batch's statistics and changes the running ones; call weft_module_eval\n";

static void batch_norm_in_training_mode_when_a_loaded_model_is_evaluated(void **state)
{
    open_context(WEFT_LINT_WARN);
    weft_module *fresh = weft_batch_norm2d_create(ctx, 3, NULL), *net = loaded_net();
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4, 4));
    assert_non_null(evaluate(fresh, x)); /* nothing was loaded */
    assert_non_null(weft_call(net, x));  /* fine-tuning */
    weft_module_eval(net);
    assert_non_null(evaluate(net, x));
    assert_heard("");
    weft_module_train(net, true);
    assert_non_null(evaluate(net, x));
    assert_heard(batch_norm); /* the first one stands for all */
    assert_non_null(evaluate(net, x));
    assert_heard("");
    weft_sync(ctx);
    weft_module_unref(fresh);
    weft_module_unref(net);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void a_switch_turns_all_of_them_into_errors(void **state)
{
    setenv("WEFT_LINT", "error", 1);
    open_context(WEFT_LINT_DEFAULT);
    unsetenv("WEFT_LINT");
    weft_tensor *forgotten = trainable(), *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    weft_module *net = forgetful_net(forgotten);
    weft_optimizer *o = weft_sgd_create(ctx, net, NULL);
    float before[6], after[6];
    weft_read(weft_get_parameter(net, "0.w"), before, sizeof(before));
    for (int i = 0; i < 2; i++) { /* each time */
        assert_int_equal(step(o, net, x), WEFT_ERR_STATE);
        expect_error("no optimizer has it (WEFT_LINT makes this an error)");
    }
    weft_read(weft_get_parameter(net, "0.w"), after, sizeof(after));
    assert_memory_equal(before, after, sizeof(before));
    assert_null(weft_grad(weft_get_parameter(net, "0.w"))); /* the step is over */
    weft_optimizer_destroy(o);
    weft_module_unref(net);

    net = gaps_net();
    o = weft_sgd_create(ctx, net, NULL);
    assert_int_equal(step(o, net, x), WEFT_ERR_STATE);
    expect_error("no gradient for frozen (frozen: requires_grad is off)");
    weft_optimizer_destroy(o);
    weft_module_unref(net);

    weft_tensor *images = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4, 4));
    net = loaded_net();
    assert_null(evaluate(net, images));
    expect_error("1: BatchNorm2d is in training mode");
    assert_heard("");
    weft_module_unref(net);
    weft_tensor_unref(images);
    weft_tensor_unref(forgotten);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void nothing_is_told_when_it_is_off_or_nobody_listens(void **state)
{
    for (int off = 0; off < 2; off++) {
        open_context(off ? WEFT_LINT_OFF : WEFT_LINT_WARN);
        if (!off)
            weft_set_message_handler(ctx, NULL, NULL);
        weft_module *net = gaps_net();
        weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
        weft_optimizer *o = weft_sgd_create(ctx, net, NULL);
        assert_int_equal(step(o, net, x), WEFT_OK);
        assert_heard("");
        if (!off) { /* but whoever listens later hears it */
            weft_set_message_handler(ctx, hear, NULL);
            assert_int_equal(step(o, net, x), WEFT_OK);
            assert_heard(all_gaps);
        }
        weft_optimizer_destroy(o);
        weft_module_unref(net);
        weft_tensor_unref(x);
        weft_context_destroy(ctx);
    }
}

/* What weft_add(weft_call(bn, a), weft_call(bn, b)) does under a compiler that begins at the right. */
static void a_module_called_for_a_later_operand_first_is_told(void **state)
{
    open_context(WEFT_LINT_WARN);
    weft_module *bn = weft_batch_norm2d_create(ctx, 3, NULL);
    weft_module *fc = weft_linear_create(ctx, 2, 3, NULL);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 2, 2), 1);
    weft_tensor *v = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(4, 2), 1);
    weft_tensor *b = weft_call(bn, x), *a = weft_call(bn, x);
    assert_non_null(weft_add(b, a));
    assert_heard("");
    assert_non_null(weft_add(a, b));
    assert_heard("add: a module was called for operand 1 before operand 0; C does not order "
                 "arguments: give each call a statement of its own\n");
    weft_discard(ctx);
    /* maximum's gradient rule names its operands the other way round. */
    b = weft_call(bn, x);
    weft_tensor *most = weft_maximum(b, weft_call(bn, x));
    assert_int_equal(weft_backward(weft_sum(most, WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_heard("");
    weft_discard(ctx);
    weft_module_eval(bn); /* nothing depends on the order */
    b = weft_call(bn, x), a = weft_call(bn, x);
    assert_non_null(weft_add(a, b));
    b = weft_call(fc, v), a = weft_call(fc, v);
    assert_non_null(weft_sub(a, b));
    assert_heard("");
    weft_discard(ctx);
    weft_tensor_unref(x);
    weft_tensor_unref(v);
    weft_module_unref(bn);
    weft_module_unref(fc);
    weft_context_destroy(ctx);
}

static void a_freeze_pattern_that_matches_nothing_is_told(void **state)
{
    open_context(WEFT_LINT_WARN);
    weft_module *net = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 2, 3, NULL));
    int n = -1;
    assert_int_equal(weft_module_freeze(net, "fc.*", &n), WEFT_OK);
    assert_int_equal(n, 0); /* the caller knows */
    assert_heard("");
    assert_int_equal(weft_module_freeze(net, "fc.*", NULL), WEFT_OK);
    assert_heard("weft_module_freeze: 'fc.*' matches nothing in Sequential\n");
    assert_int_equal(weft_module_freeze(net, "0.*", &n), WEFT_OK);
    assert_heard("");
    weft_module_unref(net);
    weft_context_destroy(ctx);
}

int main(void)
{
    unsetenv("WEFT_LINT");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_freeze_pattern_that_matches_nothing_is_told),
        cmocka_unit_test(a_module_called_for_a_later_operand_first_is_told),
        cmocka_unit_test(a_tensor_that_no_optimizer_has_is_told_by_shape_and_place),
        cmocka_unit_test(a_second_optimizer_may_have_it),
        cmocka_unit_test(a_learning_rate_that_was_left_out_is_told),
        cmocka_unit_test(a_parameter_without_a_gradient_is_told_with_the_reason),
        cmocka_unit_test(many_names_share_one_message),
        cmocka_unit_test(batch_norm_in_training_mode_when_a_loaded_model_is_evaluated),
        cmocka_unit_test(a_switch_turns_all_of_them_into_errors),
        cmocka_unit_test(nothing_is_told_when_it_is_off_or_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
