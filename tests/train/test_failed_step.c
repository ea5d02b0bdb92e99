/* A recording that fails fails its step: nothing of it runs, nothing is committed, and what asks
 * only fails nothing. The loops here are README's: they check once, at their end. */
#include <math.h>

#include "tests/modules/fixture.h"

enum { N = 4, C = 3, SIDE = 5, K = 10 };

/* A convolution, BatchNorm and a classifier. */
typedef struct net {
    weft_module *model;
    weft_tensor *x, *y;
    weft_optimizer *opt;
} net;

static net net_create(void)
{
    net n = {.model = weft_sequential_create(
                 ctx, 5,
                 (weft_module *[]){weft_conv2d_create(ctx, C, 4, 3, NULL),
                                   weft_batch_norm2d_create(ctx, 4, NULL), weft_relu_create(ctx),
                                   weft_flatten_create(ctx), weft_linear_create(ctx, 36, K, NULL)}),
             .x = weft_randn(ctx, WEFT_SHAPE(N, C, SIDE, SIDE)),
             .y = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(N))};
    n.opt = weft_sgd_create(ctx, n.model, &(weft_sgd_opts){.lr = 0.1, .momentum = 0.9});
    assert_non_null(n.opt);
    return n;
}

static void net_done(net *n)
{
    weft_optimizer_destroy(n->opt);
    weft_tensor_unref(n->x);
    weft_tensor_unref(n->y);
    weft_module_unref(n->model);
}

/* Everything that a step may change, as a hash. */
static uint64_t state_of(net *n)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(n->model, &list), WEFT_OK);
    uint64_t hash = (uint64_t)weft_optimizer_steps(n->opt);
    for (int i = 0; i < list.n; i++) {
        unsigned char bytes[4096];
        weft_tensor *t = list.item[i].tensor;
        size_t size =
            (size_t)weft_shape_count(weft_tensor_shape(t)) * weft_dtype_size(weft_tensor_dtype(t));
        assert_true(size <= sizeof(bytes));
        assert_int_equal(weft_read(t, bytes, size), WEFT_OK);
        for (size_t k = 0; k < size; k++)
            hash = (hash ^ bytes[k]) * UINT64_C(0x100000001b3);
    }
    weft_tensor_list_done(&list);
    return hash;
}

static int64_t batches_seen(net *n)
{
    return (int64_t)weft_item(weft_get_buffer(n->model, "1.num_batches_tracked"));
}

static weft_status step(net *n, weft_tensor *labels)
{
    weft_optimizer_zero_grad(n->opt);
    weft_backward(weft_cross_entropy(weft_call(n->model, n->x), labels, NULL));
    return weft_optimizer_step(n->opt);
}

/* ---- the loop ---- */

static void a_loss_that_cannot_be_recorded_stops_the_loop(void **state)
{
    net n = net_create();
    weft_tensor *wrong = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(N + 1));
    assert_int_equal(step(&n, n.y), WEFT_OK);
    uint64_t before = state_of(&n);
    for (int i = 0; i < 3; i++) {
        weft_optimizer_zero_grad(n.opt);
        weft_tensor *loss = weft_cross_entropy(weft_call(n.model, n.x), wrong, NULL);
        assert_null(loss);
        assert_int_equal(weft_backward(loss), WEFT_ERR_INVALID);
        assert_int_equal(weft_optimizer_step(n.opt), WEFT_ERR_SHAPE);
        assert_true(isnan(weft_item(loss)));
    }
    assert_int_equal(weft_sync(ctx), WEFT_ERR_SHAPE);
    assert_int_equal(weft_error_status(ctx), WEFT_ERR_SHAPE);
    assert_string_equal(
        weft_error_text(ctx),
        "cross_entropy: logits are [4, 10] and labels [5], expected (N, K) and (N)");
    weft_discard(ctx);
    assert_int_equal(weft_error_status(ctx),
                     WEFT_ERR_SHAPE); /* the error stays, the step is gone */
    assert_true(state_of(&n) == before);
    assert_int_equal(batches_seen(&n), 1);
    assert_int_equal(weft_optimizer_steps(n.opt), 1);
    assert_int_equal(step(&n, n.y), WEFT_OK);
    assert_int_equal(batches_seen(&n), 2);
    weft_error_clear(ctx);
    weft_tensor_unref(wrong);
    net_done(&n);
}

/* What fails in the middle of a network names its module, and the loop's step with it. */
static void an_op_that_fails_in_a_module_fails_the_step(void **state)
{
    net n = net_create();
    weft_register_module(n.model, "4", NULL, weft_linear_create(ctx, 35, K, NULL));
    uint64_t before = state_of(&n);
    assert_int_equal(step(&n, n.y), WEFT_ERR_SHAPE);
    assert_string_equal(weft_error_text(ctx),
                        "4: linear: input has 36 features, weight expects 35");
    weft_discard(ctx);
    weft_error_clear(ctx);
    assert_true(state_of(&n) == before);
    net_done(&n);
}

static void clearing_the_error_goes_on_with_the_step(void **state)
{
    net n = net_create();
    weft_tensor *logits = weft_call(n.model, n.x);
    assert_null(weft_add(logits, n.x));
    assert_null(weft_relu(logits)); /* nothing is recorded in a step that failed */
    assert_int_equal(weft_sync(ctx), WEFT_ERR_SHAPE);
    weft_error_clear(ctx);
    assert_int_equal(weft_backward(weft_cross_entropy(logits, n.y, NULL)), WEFT_OK);
    assert_int_equal(weft_optimizer_step(n.opt), WEFT_OK);
    assert_int_equal(batches_seen(&n), 1);
    assert_no_error();
    net_done(&n);
}

/* ---- what fails a step ---- */

static net *at; /* of the case that runs */

static void no_context_for_null(void)
{
    weft_backward(weft_cross_entropy(NULL, at->y, NULL));
}
static void null_weight(void)
{
    weft_linear(weft_flatten(at->x, 1), NULL, NULL);
}
static void null_in_concat(void)
{
    weft_concat((weft_tensor *[]){NULL, at->x}, 2, 0);
}
static void null_into_a_module(void)
{
    weft_call(at->model, NULL);
}
static void loss_without_gradient(void)
{
    weft_backward(weft_sum(at->x, WEFT_ALL_DIMS, false));
}
static void stale_loss(void)
{
    static weft_tensor *stale;
    stale = weft_sum(weft_call(at->model, at->x), WEFT_ALL_DIMS, false);
    weft_discard(ctx);
    weft_call(at->model, at->x);
    weft_backward(stale);
}
static void walked_twice(void)
{
    weft_tensor *loss = weft_sum(weft_call(at->model, at->x), WEFT_ALL_DIMS, false);
    weft_backward(loss);
    weft_backward(loss);
}
static void stale_kept(void)
{
    weft_tensor *stale = weft_relu(at->x);
    weft_discard(ctx);
    weft_call(at->model, at->x);
    assert_null(weft_keep(stale));
}
static void clip_by_nan(void)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_parameters(at->model, 0, &list);
    weft_backward(weft_sum(weft_call(at->model, at->x), WEFT_ALL_DIMS, false));
    assert_null(weft_clip_grad_norm(&list, NAN, false));
    weft_tensor_list_done(&list);
}
static void clip_by_less_than_nothing(void)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_parameters(at->model, 0, &list);
    weft_backward(weft_sum(weft_call(at->model, at->x), WEFT_ALL_DIMS, false));
    weft_clip_grad_value(&list, -1);
    weft_tensor_list_done(&list);
}
static weft_status refuse(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    return WEFT_ERR_UNSUPPORTED;
}
static void failing_hook(void)
{
    uint64_t hook = weft_register_forward_pre_hook(at->model, refuse, NULL, 0);
    weft_call(at->model, at->x);
    weft_hook_remove(at->model, hook);
}
static weft_status refuse_gradient(void *user, weft_tensor *t, weft_tensor **grad)
{
    return WEFT_ERR_UNSUPPORTED;
}
static void failing_gradient_hook(void)
{
    weft_tensor *bias = weft_get_parameter(at->model, "4.bias");
    uint64_t hook = weft_register_grad_hook(bias, refuse_gradient, NULL);
    weft_backward(weft_sum(weft_call(at->model, at->x), WEFT_ALL_DIMS, false));
    weft_grad_hook_remove(bias, hook);
}
static weft_tensor *silent_forward(weft_module *m, weft_tensor *x)
{
    return NULL;
}
static void silent_module(void)
{
    static const weft_module_class silent = {
        .name = "Silent", .size = sizeof(weft_module), .forward = silent_forward};
    weft_module *m = weft_module_create(ctx, &silent, NULL);
    weft_call(m, at->x);
    weft_module_unref(m);
}
static void not_a_module(void)
{
    weft_call(NULL, at->x);
}
static void another_contexts_tensor(void)
{
    weft_context *other = weft_context_default();
    weft_tensor *x = weft_randn(other, WEFT_SHAPE(N, C, SIDE, SIDE));
    weft_call(at->model, x);
    weft_tensor_unref(x);
    weft_context_destroy(other);
}
static void dropout_of_more_than_everything(void)
{
    weft_dropout(at->x, 2, true);
}
static void chunks_of_no_parts(void)
{
    weft_tensor *parts[4];
    weft_chunk(at->x, 0, 1, parts);
}

static void whatever_cannot_be_recorded_fails_the_step(void **state)
{
    static const struct {
        void (*record)(void);
        weft_status status;
    } cases[] = {
        {no_context_for_null, WEFT_ERR_INVALID},
        {null_weight, WEFT_ERR_INVALID},
        {null_in_concat, WEFT_ERR_INVALID},
        {null_into_a_module, WEFT_ERR_INVALID},
        {loss_without_gradient, WEFT_ERR_STATE},
        {stale_loss, WEFT_ERR_STATE},
        {walked_twice, WEFT_ERR_STATE},
        {stale_kept, WEFT_ERR_STATE},
        {clip_by_nan, WEFT_ERR_INVALID},
        {clip_by_less_than_nothing, WEFT_ERR_INVALID},
        {failing_hook, WEFT_ERR_UNSUPPORTED},
        {failing_gradient_hook, WEFT_ERR_UNSUPPORTED},
        {silent_module, WEFT_ERR_STATE},
        {not_a_module, WEFT_ERR_STATE},
        {another_contexts_tensor, WEFT_ERR_INVALID},
        {dropout_of_more_than_everything, WEFT_ERR_INVALID},
        {chunks_of_no_parts, WEFT_ERR_SHAPE},
    };
    net n = net_create();
    at = &n;
    const uint64_t before = state_of(&n);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_non_null(weft_call(n.model, n.x)); /* moves BatchNorm's statistics, if it runs */
        cases[i].record();
        weft_status first = weft_error_status(ctx), again = weft_optimizer_step(n.opt);
        if (first != cases[i].status || again != first || weft_sync(ctx) != first)
            fail_msg("case %zu: status %d, then %d; %d expected (%s)", i, first, again,
                     cases[i].status, weft_error_text(ctx));
        weft_discard(ctx);
        weft_error_clear(ctx);
        if (state_of(&n) != before)
            fail_msg("case %zu: something was committed", i);
    }
    net_done(&n);
}

/* ---- operands that failed are not operands that were left out ---- */

static void optional_operands_that_failed_are_refused(void **state)
{
    weft_tensor *x4 = weft_randn(ctx, WEFT_SHAPE(2, 3, 4, 4));
    weft_tensor *x2 = weft_randn(ctx, WEFT_SHAPE(2, 3)), *w = weft_randn(ctx, WEFT_SHAPE(3, 3));
    weft_tensor *w4 = weft_randn(ctx, WEFT_SHAPE(3, 3, 1, 1)), *c = weft_randn(ctx, WEFT_SHAPE(3));
    weft_tensor *five = weft_randn(ctx, WEFT_SHAPE(5));
    weft_tensor *labels = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(2));
    const weft_batch_norm_opts training = {.training = true};
    weft_set_requires_grad(w, true);
    for (int i = 0;; i++) {
        weft_tensor *loss = weft_linear(x2, w, NULL);
        weft_tensor *failed = weft_add(c, five); /* the operand: NULL */
        assert_null(failed);
        weft_tensor *y = NULL;
        weft_status status = WEFT_ERR_SHAPE;
        switch (i) {
        case 0: y = weft_conv2d(x4, w4, failed, NULL); break;
        case 1: y = weft_linear(x2, w, failed); break;
        case 2: y = weft_batch_norm(x4, failed, c, NULL, NULL, NULL, &training); break;
        case 3: y = weft_batch_norm(x4, c, failed, NULL, NULL, NULL, &training); break;
        case 4: y = weft_batch_norm(x4, c, c, failed, failed, NULL, &training); break;
        case 5: y = weft_group_norm(x4, 3, failed, c, 0); break;
        case 6: y = weft_group_norm(x4, 3, c, failed, 0); break;
        case 7:
            y = weft_cross_entropy(x2, labels, &(weft_cross_entropy_opts){.weight = failed});
            break;
        case 8: y = weft_nll_loss(x2, labels, &(weft_nll_opts){.weight = failed}); break;
        case 9: y = weft_bce_with_logits(x2, x2, &(weft_bce_opts){.weight = failed}); break;
        case 10: y = weft_bce_with_logits(x2, x2, &(weft_bce_opts){.pos_weight = failed}); break;
        case 11:
            status = weft_backward_with(weft_sum(loss, WEFT_ALL_DIMS, false), failed, false);
            break;
        default:
            for (int k = 0; k < 7; k++)
                weft_tensor_unref((weft_tensor *[]){x4, x2, w, w4, c, five, labels}[k]);
            weft_discard(ctx);
            weft_error_clear(ctx);
            return;
        }
        if (y != NULL || status == WEFT_OK || weft_sync(ctx) != WEFT_ERR_SHAPE)
            fail_msg("case %d was recorded", i);
        weft_discard(ctx);
        assert_error(WEFT_ERR_SHAPE, "add: [3] and [5] do not broadcast");
    }
}

/* ---- what only asks fails nothing ---- */

static void older_errors_of_other_calls_fail_no_step(void **state)
{
    net n = net_create();
    float few[1];
    assert_null(weft_get_buffer(n.model, "x"));
    assert_null(weft_get_parameter(n.model, "0.scale"));
    assert_null(weft_get_module(n.model, "7"));
    assert_int_equal(weft_read(n.x, few, sizeof(few)), WEFT_ERR_INVALID);
    assert_int_equal(weft_write(n.x, few, sizeof(few)), WEFT_ERR_INVALID);
    assert_int_equal(weft_set_requires_grad(n.y, true), WEFT_ERR_DTYPE);
    assert_true(isnan(weft_item(n.x)));
    assert_null(weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(-1)));
    assert_int_equal(weft_module_load(n.model, "/nowhere/at/all", true), WEFT_ERR_NOT_FOUND);
    assert_int_equal(step(&n, n.y), WEFT_OK); /* BatchNorm among others */
    assert_int_equal(batches_seen(&n), 1);
    assert_error(WEFT_ERR_NOT_FOUND, "no buffer 'x'");
    net_done(&n);
}

/* A class whose constructor leaves a name empty. */
static void init_without_bias(weft_module *m, const void *args)
{
    weft_register_parameter(m, "weight", NULL, weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2), 1));
    weft_register_parameter(m, "bias", NULL, NULL);
}
static void init_that_fails(weft_module *m, const void *args)
{
    weft_register_parameter(m, "bias", NULL, weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(-1)));
}

static void older_errors_fail_no_constructor(void **state)
{
    static const weft_module_class good = {
        .name = "Good", .size = sizeof(weft_module), .init = init_without_bias};
    static const weft_module_class bad = {
        .name = "Bad", .size = sizeof(weft_module), .init = init_that_fails};
    weft_module *relu = weft_relu_create(ctx);
    assert_null(weft_get_buffer(relu, "x"));
    weft_module *m = weft_module_create(ctx, &good, NULL);
    assert_non_null(m);
    assert_true(weft_has_parameter(m, "weight") && !weft_has_parameter(m, "bias"));
    assert_null(weft_module_create(ctx, &bad, NULL));
    weft_module_unref(m);
    m = weft_model_create(ctx, "squeezenet1_1", NULL);
    assert_non_null(m);
    weft_module_unref(m);
    weft_model_opts wrong = {.args = (weft_model_arg[]){{"dropout", "all"}}, .n_args = 1};
    assert_null(weft_model_create(ctx, "squeezenet1_1", &wrong));
    assert_error(WEFT_ERR_NOT_FOUND, "no buffer 'x'"); /* the first stays */
    weft_module_unref(relu);
}

/* Networks with several outputs. */
static void older_errors_fail_no_call(void **state)
{
    weft_model_opts with_heads = {.args = (weft_model_arg[]){{"aux_logits", "true"}}, .n_args = 1};
    weft_module *m = weft_model_create(ctx, "googlenet", &with_heads);
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 64, 64));
    weft_tensor *out[3], *in[] = {x};
    int n = 3;
    assert_null(weft_get_buffer(m, "x"));
    assert_int_equal(weft_call_many(m, 1, in, &n, out), WEFT_OK);
    assert_int_equal(n, 3);
    weft_discard(ctx);
    weft_error_clear(ctx);
    weft_tensor_unref(x);
    weft_module_unref(m);
}

static weft_tensor *no_tensor(void *user, weft_tensor *const *in, int n)
{
    return user ? weft_add(in[0], user) : NULL;
}

static void gradcheck_and_summary_leave_no_failed_step(void **state)
{
    net n = net_create();
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F64, WEFT_SHAPE(2), 1), *in[] = {x};
    assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
    assert_int_equal(weft_gradcheck(ctx, no_tensor, NULL, in, 1, NULL), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "gradcheck: the function gave no tensor");
    assert_int_equal(weft_gradcheck(ctx, no_tensor, n.x, in, 1, NULL), WEFT_ERR_SHAPE);
    weft_totals totals;
    assert_int_equal(weft_module_totals(n.model, WEFT_SHAPE(1, C + 1, SIDE, SIDE), &totals),
                     WEFT_ERR_SHAPE);
    assert_int_equal(step(&n, n.y), WEFT_OK);
    weft_error_clear(ctx);
    weft_tensor_unref(x);
    net_done(&n);
}

/* A hook that asks for what is not there, in the forward and in the backward pass. */
static weft_status ask(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    assert_null(weft_get_buffer(m, "x"));
    return WEFT_OK;
}
static weft_status ask_in_backward(void *user, weft_tensor *t, weft_tensor **grad)
{
    assert_null(weft_get_buffer(user, "x"));
    return WEFT_OK;
}

static void hooks_may_ask_for_what_is_not_there(void **state)
{
    net n = net_create();
    weft_register_forward_pre_hook(weft_get_module(n.model, "1"), ask, NULL, 0);
    weft_register_grad_hook(weft_get_parameter(n.model, "4.weight"), ask_in_backward, n.model);
    assert_int_equal(step(&n, n.y), WEFT_OK);
    assert_non_null(weft_grad(weft_get_parameter(n.model, "0.weight")));
    assert_error(WEFT_ERR_NOT_FOUND, "no buffer 'x'");
    net_done(&n);
}

static void stored_tensors_stay_readable_in_a_failed_step(void **state)
{
    net n = net_create();
    float x[N * C * SIDE * SIDE];
    weft_tensor *logits = weft_call(n.model, n.x);
    assert_null(weft_add(logits, n.x));
    assert_int_equal(weft_read(n.x, x, sizeof(x)), WEFT_OK);
    assert_int_equal(weft_write(n.y, (int64_t[N]){1, 2, 3, 4}, N * sizeof(int64_t)), WEFT_OK);
    assert_int_equal(weft_write(n.x, x, sizeof(x)), WEFT_ERR_SHAPE); /* the step reads it */
    assert_int_equal(weft_read(logits, x, N * K * sizeof(*x)), WEFT_ERR_SHAPE);
    /* Its new content is the step's. */
    assert_true(isnan(weft_item(weft_get_buffer(n.model, "1.num_batches_tracked"))));
    weft_discard(ctx);
    assert_int_equal(weft_write(n.x, x, sizeof(x)), WEFT_OK);
    assert_int_equal(batches_seen(&n), 0);
    weft_error_clear(ctx);
    net_done(&n);
}

static void has_asks_without_an_error(void **state)
{
    net n = net_create();
    assert_true(weft_has_parameter(n.model, "0.weight"));
    assert_true(weft_has_buffer(n.model, "1.running_mean"));
    assert_true(weft_has_module(n.model, "1") && weft_has_module(n.model, ""));
    assert_false(weft_has_parameter(n.model, "1.running_mean")); /* of another kind */
    assert_false(weft_has_buffer(n.model, "0.weight"));
    assert_false(weft_has_parameter(n.model, "7.weight"));
    assert_false(weft_has_parameter(n.model, "0"));
    assert_false(weft_has_parameter(n.model, "0.weight.deep"));
    assert_false(weft_has_buffer(n.model, ""));
    assert_false(weft_has_module(n.model, "0.weight"));
    assert_false(weft_has_module(n.model, "7"));
    assert_false(weft_has_module(n.model, NULL) || weft_has_buffer(n.model, NULL));
    assert_false(weft_has_module(NULL, "") || weft_has_parameter(NULL, "w"));
    weft_module *plain =
        weft_conv2d_create(ctx, C, 4, 3, &(weft_conv2d_layer_opts){.no_bias = true});
    assert_false(weft_has_parameter(plain, "bias")); /* a name with nothing in it */
    weft_module_unref(plain);
    assert_no_error();
    net_done(&n);
}

/* ---- gradients that are there already ---- */

/* w's gradient becomes `first`, in a step of its own. */
static weft_tensor *with_gradient(float first)
{
    weft_tensor *w = tensor(1);
    assert_int_equal(weft_set_requires_grad(w, true), WEFT_OK);
    assert_int_equal(weft_backward(weft_sum(weft_scale(w, first), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    return w;
}

static void an_accumulated_gradient_outlives_a_step_that_fails(void **state)
{
    weft_tensor *bad = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(1));
    assert_int_equal(weft_write(bad, &(int64_t){7}, sizeof(int64_t)), WEFT_OK);
    for (int how = 0; how < 5; how++) {
        weft_tensor *w = with_gradient(3);
        weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
        assert_int_equal(weft_tensor_list_add(&list, "w", w), WEFT_OK);
        weft_tensor *rows = weft_reshape(w, WEFT_SHAPE(1, 2));
        if (how == 0) { /* the run fails */
            assert_int_equal(weft_backward(weft_cross_entropy(rows, bad, NULL)), WEFT_OK);
            assert_int_equal(weft_sync(ctx), WEFT_ERR_INVALID);
        } else {
            assert_int_equal(weft_backward(weft_sum(weft_scale(rows, 2), WEFT_ALL_DIMS, false)),
                             WEFT_OK);
        }
        if (how == 2) { /* an op after it fails */
            assert_null(weft_add(w, bad));
            assert_int_equal(weft_sync(ctx), WEFT_ERR_DTYPE);
        }
        if (how == 3) { /* the clipped one is dropped too */
            assert_non_null(weft_clip_grad_norm(&list, 1, false));
        }
        if (how == 4) { /* a third pass fails, once it has run the second one */
            uint64_t hook = weft_register_grad_hook(w, refuse_gradient, NULL);
            assert_int_equal(weft_backward(weft_sum(w, WEFT_ALL_DIMS, false)),
                             WEFT_ERR_UNSUPPORTED);
            weft_grad_hook_remove(w, hook);
        }
        weft_discard(ctx); /* case 1: this is all that happens to it */
        weft_error_clear(ctx);
        const float stays = how == 4 ? 5 : 3;
        assert_non_null(weft_grad(w));
        if (first(weft_grad(w)) != stays)
            fail_msg("case %d: the gradient is %g", how, (double)first(weft_grad(w)));
        /* It goes on from there. */
        assert_int_equal(weft_backward(weft_sum(weft_scale(w, 4), WEFT_ALL_DIMS, false)), WEFT_OK);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        assert_true(first(weft_grad(w)) == stays + 4);
        weft_tensor_list_done(&list);
        weft_tensor_unref(w);
    }
    weft_tensor_unref(bad);
}

static void the_first_pass_of_a_step_outlives_the_second_once_it_has_run(void **state)
{
    weft_tensor *w = tensor(1);
    assert_int_equal(weft_set_requires_grad(w, true), WEFT_OK);
    assert_int_equal(weft_backward(weft_sum(weft_scale(w, 3), WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_backward(weft_sum(weft_scale(w, 2), WEFT_ALL_DIMS, false)), WEFT_OK);
    weft_discard(ctx);
    assert_non_null(weft_grad(w));
    assert_true(first(weft_grad(w)) == 3);
    weft_zero_grad(w); /* and one that was zeroed before is absent */
    assert_int_equal(weft_backward(weft_sum(weft_scale(w, 2), WEFT_ALL_DIMS, false)), WEFT_OK);
    weft_discard(ctx);
    assert_null(weft_grad(w));
    assert_no_error();
    weft_tensor_unref(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_loss_that_cannot_be_recorded_stops_the_loop),
        TEST(an_op_that_fails_in_a_module_fails_the_step),
        TEST(clearing_the_error_goes_on_with_the_step),
        TEST(whatever_cannot_be_recorded_fails_the_step),
        TEST(optional_operands_that_failed_are_refused),
        TEST(older_errors_of_other_calls_fail_no_step),
        TEST(older_errors_fail_no_constructor),
        TEST(older_errors_fail_no_call),
        TEST(gradcheck_and_summary_leave_no_failed_step),
        TEST(hooks_may_ask_for_what_is_not_there),
        TEST(stored_tensors_stay_readable_in_a_failed_step),
        TEST(has_asks_without_an_error),
        TEST(an_accumulated_gradient_outlives_a_step_that_fails),
        TEST(the_first_pass_of_a_step_outlives_the_second_once_it_has_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
