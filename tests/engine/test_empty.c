/* Note [Empty tensors] in engine/graph/op.h: tensors without elements through recording, gradients, a
 * training step and files, by every executor; and what is refused. Every op against PyTorch:
 * tests/parity/sweep_empty.py. */
#include "tests/engine/values.h"
#include "tests/scratch.h"

static weft_tensor *none(weft_context *ctx, weft_shape shape)
{
    weft_tensor *t = weft_tensor_create(ctx, WEFT_F32, shape);
    if (!t)
        fail_msg("%s", weft_error_text(ctx));
    return t;
}

static void reading_and_writing(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = none(ctx, WEFT_SHAPE(2, 0, 3));
    float y = 5;
    assert_int_equal(weft_write(x, &y, 0), WEFT_OK);
    assert_int_equal(weft_read(x, &y, 0), WEFT_OK);
    assert_int_equal(weft_read(x, &y, sizeof(y)), WEFT_ERR_INVALID);
    weft_error_clear(ctx);
    assert_true(isnan(weft_item(x)));
    assert_int_not_equal(weft_error_status(ctx), WEFT_OK);
    weft_error_clear(ctx);
    assert_non_null(weft_tensor_const_data(x));
    weft_tensor *kept = weft_keep(weft_relu(x));
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_int_equal(weft_read(kept, &y, 0), WEFT_OK);
    assert_int_equal(weft_shape_count(weft_tensor_shape(kept)), 0);
    assert_null(weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, -1)));
    assert_string_equal(weft_error_text(ctx), "tensor: dimension 1 of [2, -1] is negative");
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void reductions_of_nothing(void **state)
{
    for (int e = 0; e < 3; e++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
        weft_tensor *x = none(ctx, WEFT_SHAPE(0, 3));
        double y[3];
        assert_true(weft_item(weft_sum(x, WEFT_ALL_DIMS, false)) == 0);
        weft_discard(ctx);
        assert_true(isnan(weft_item(weft_mean(x, WEFT_ALL_DIMS, false))));
        weft_discard(ctx);
        read_all(ctx, weft_add_scalar(weft_sum(x, WEFT_DIMS(0), false), 2), y);
        assert_true(y[0] == 2 && y[1] == 2 && y[2] == 2);
        weft_discard(ctx);
        assert_int_equal(weft_tensor_shape(weft_max(x, WEFT_DIMS(1), false)).dim[0], 0);
        assert_null(weft_max(x, WEFT_ALL_DIMS, false));
        assert_string_equal(weft_error_text(ctx), "max: [0, 3] has no elements along dimension 0");
        weft_tensor_unref(x);
        weft_context_destroy(ctx);
    }
}

/* A network sees no images: its loss is a sum of nothing, and nothing but decay moves its weights. */
static void a_step_of_no_images(void **state)
{
    for (int e = 0; e < 3; e++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
        weft_module *net =
            WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 3, 20, 3, NULL), weft_relu_create(ctx),
                            weft_max_pool2d_create(ctx, 2, NULL), weft_flatten_create(ctx),
                            weft_linear_create(ctx, 20 * 9, 4, NULL));
        weft_optimizer *o =
            weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.5, .weight_decay = 0.5});
        weft_tensor *w = weft_get_parameter(net, "0.weight"),
                    *x = none(ctx, WEFT_SHAPE(0, 3, 8, 8));
        static double before[540], after[540], grad[540];
        read_all(ctx, w, before);
        weft_tensor *y = weft_call(net, x);
        if (!y)
            fail_msg("%s", weft_error_text(ctx));
        assert_true(weft_shape_equal(weft_tensor_shape(y), WEFT_SHAPE(0, 4)));
        weft_tensor *loss = weft_sum(weft_mul(y, y), WEFT_ALL_DIMS, false);
        assert_int_equal(weft_backward(loss), WEFT_OK);
        if (weft_optimizer_step(o) != WEFT_OK)
            fail_msg("%s", weft_error_text(ctx));
        assert_true(weft_item(loss) == 0);
        read_all(ctx, w, after);
        read_all(ctx, weft_grad(w), grad);
        for (int i = 0; i < 540; i++) {
            assert_true(grad[i] == 0);
            assert_true(after[i] == (double)((float)before[i] - 0.5f * (0.5f * (float)before[i])));
        }
        weft_optimizer_destroy(o);
        weft_tensor_unref(x);
        weft_module_unref(net);
        weft_context_destroy(ctx);
    }
}

/* The empty parts of a concatenation do not count, and get empty gradients. */
static void concatenation(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    double numbers[12], y[12];
    make_input(1, WEFT_SHAPE(2, 6), numbers);
    weft_tensor *a = none(ctx, WEFT_SHAPE(2, 0)),
                *b = stored(ctx, WEFT_F32, WEFT_SHAPE(2, 6), numbers);
    weft_set_requires_grad(a, true);
    weft_set_requires_grad(b, true);
    weft_tensor *joined = weft_concat((weft_tensor *[]){a, b, a}, 3, 1), *kept = weft_keep(joined);
    assert_int_equal(weft_backward(weft_sum(joined, WEFT_ALL_DIMS, false)), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    read_all(ctx, kept, y);
    assert_memory_equal(y, numbers, sizeof(y));
    assert_int_equal(weft_shape_count(weft_tensor_shape(weft_grad(a))), 0);
    read_all(ctx, weft_grad(b), y);
    for (int i = 0; i < 12; i++)
        assert_true(y[i] == 1);
    weft_tensor_unref(kept);
    weft_tensor_unref(a);
    weft_tensor_unref(b);
    weft_context_destroy(ctx);
}

/* A batch of nothing is counted, also by a cumulative average, and leaves the running statistics. */
static void batch_statistics_of_nothing(void **state)
{
    static const weft_shape shapes[] = {{2, {0, 3}}, {4, {0, 3, 2, 2}}, {4, {2, 3, 0, 2}}};
    for (int i = 0; i < 3 * 3 * 2; i++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + i % 3));
        const weft_batch_norm_opts opts = {
            .training = true, .eps = 1e-5, .momentum = i / 9 ? -1.0 : 0.5};
        const float numbers[] = {-0.0f, 2, 3};
        float y[3];
        weft_tensor *x = none(ctx, shapes[i / 3 % 3]);
        weft_tensor *mean = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(3), numbers),
                    *var = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(3), numbers),
                    *gamma = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(3), numbers),
                    *tracked = weft_tensor_create(ctx, WEFT_I64, WEFT_SCALAR);
        weft_set_requires_grad(x, true);
        weft_set_requires_grad(gamma, true);
        weft_tensor *z = weft_batch_norm(x, gamma, gamma, mean, var, tracked, &opts);
        assert_int_equal(weft_backward(weft_sum(z, WEFT_ALL_DIMS, false)), WEFT_OK);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        assert_true(weft_item(tracked) == 1);
        assert_int_equal(weft_read(mean, y, sizeof(y)), WEFT_OK);
        assert_memory_equal(y, numbers, sizeof(y));
        assert_int_equal(weft_read(var, y, sizeof(y)), WEFT_OK);
        assert_memory_equal(y, numbers, sizeof(y));
        assert_int_equal(weft_read(weft_grad(gamma), y, sizeof(y)), WEFT_OK);
        assert_true(y[0] == 0 && y[1] == 0 && y[2] == 0);
        weft_tensor_unref(x);
        weft_tensor_unref(mean);
        weft_tensor_unref(var);
        weft_tensor_unref(gamma);
        weft_tensor_unref(tracked);
        weft_context_destroy(ctx);
    }
}

/* mean: the sum of x, and n + 1: what a custom op makes of nothing is its author's to say. */
static weft_status count_infer(const weft_custom_infer *f)
{
    f->out[1].shape = WEFT_SCALAR;
    return WEFT_OK;
}

static weft_status count(const weft_custom_call *c)
{
    const int64_t n = weft_shape_count(c->in[0].shape);
    for (int64_t i = 0; i < n; i++)
        ((float *)c->out[0].data)[i] = ((const float *)c->in[0].data)[i];
    *(float *)c->out[1].data = (float)n + 1;
    return WEFT_OK;
}

static weft_status count_backward(const weft_custom_call *c)
{
    for (int64_t i = 0; i < weft_shape_count(c->in[0].shape); i++)
        ((float *)c->din[0].data)[i] = 1;
    for (int64_t i = 0; c->din[1].data && i < weft_shape_count(c->in[1].shape); i++)
        ((float *)c->din[1].data)[i] = 7;
    return WEFT_OK;
}

static void custom_ops_run(void **state)
{
    static const weft_custom_op op = {.name = "count",
                                      .n_in = 2,
                                      .n_out = 2,
                                      .infer = count_infer,
                                      .forward = count,
                                      .backward = count_backward};
    for (int e = 0; e < 3; e++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
        weft_tensor *x = none(ctx, WEFT_SHAPE(2, 0)),
                    *b = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2), 3), *out[4];
        double y[2];
        weft_set_requires_grad(x, true);
        weft_set_requires_grad(b, true);
        /* Empty on the way, too. */
        weft_tensor *in[] = {weft_relu(x), weft_scale(b, 2)};
        assert_non_null(weft_custom(&op, NULL, in, out));
        weft_tensor *n = weft_keep(out[1]);
        assert_int_equal(weft_backward(out[1]), WEFT_OK);
        if (weft_sync(ctx) != WEFT_OK)
            fail_msg("%s", weft_error_text(ctx));
        assert_true(weft_item(n) == 1);
        read_all(ctx, weft_grad(b), y);
        assert_true(y[0] == 14 && y[1] == 14);
        assert_int_equal(weft_shape_count(weft_tensor_shape(weft_grad(x))), 0);
        weft_tensor_unref(n);
        weft_tensor_unref(x);
        weft_tensor_unref(b);
        weft_context_destroy(ctx);
    }
}

static void told(void *user, const char *text)
{
    snprintf(user, 200, "%s", text);
}

/* Linear(0, 2) gives its bias; the empty weight is updated, clipped, saved and loaded. */
static void empty_parameters(void **state)
{
    char text[200] = "";
    for (int e = 0; e < 6; e++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e % 3));
        weft_set_message_handler(ctx, told, text);
        weft_module *net = weft_linear_create(ctx, 0, 2, NULL);
        assert_string_equal(text, "weft_init_kaiming_uniform: the tensor has no elements");
        weft_set_message_handler(ctx, NULL, NULL);
        weft_optimizer *o =
            e < 3 ? weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.5, .momentum = 0.5})
                  : weft_adamw_create(ctx, net, NULL);
        weft_tensor *x = none(ctx, WEFT_SHAPE(3, 0)), *bias = weft_get_parameter(net, "bias");
        double y[2];
        for (int step = 0; step < 2; step++) {
            weft_optimizer_zero_grad(o);
            assert_int_equal(weft_backward(weft_sum(weft_call(net, x), WEFT_ALL_DIMS, false)),
                             WEFT_OK);
            weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
            assert_int_equal(weft_parameters(net, 0, &all), WEFT_OK);
            weft_tensor *norm = weft_clip_grad_norm(&all, 1.0, false);
            weft_tensor_list_done(&all);
            if (!norm)
                fail_msg("%s", weft_error_text(ctx));
            norm = weft_keep(norm);
            if (weft_optimizer_step(o) != WEFT_OK)
                fail_msg("%s", weft_error_text(ctx));
            assert_true(fabs(weft_item(norm) - sqrt(18)) < 1e-5);
            weft_tensor_unref(norm);
        }
        read_all(ctx, bias, y);
        if (e < 3) /* 0 - 0.5 g - 0.5 (0.5 g + g), g = 1/sqrt(2) */
            assert_true(fabs(y[0] + 1.25 * sqrt(0.5)) < 1e-5 && y[1] == y[0]);
        else
            assert_true(y[0] < 0);
        assert_int_equal(weft_module_save(net, scratch_file), WEFT_OK);
        assert_int_equal(weft_init_constant(bias, 9), WEFT_OK);
        if (weft_module_load(net, scratch_file, true) != WEFT_OK)
            fail_msg("%s", weft_error_text(ctx));
        assert_true(weft_read(bias, (float[2]){0}, 8) == WEFT_OK);
        read_all(ctx, bias, y);
        assert_true(y[0] < 0);
        weft_optimizer_destroy(o);
        weft_tensor_unref(x);
        weft_module_unref(net);
        weft_context_destroy(ctx);
    }
}

typedef struct refusal {
    const char *text;
    weft_shape x, w; /* w: rank 0 where there is none */
    weft_tensor *(*call)(weft_tensor *x, weft_tensor *w);
} refusal;

#define CALL(name, ...)                                                                            \
    static weft_tensor *call_##name(weft_tensor *x, weft_tensor *w)                                \
    {                                                                                              \
        return weft_##name(__VA_ARGS__);                                                           \
    }
CALL(batch_norm, x, NULL, NULL, NULL, NULL, NULL, NULL)
CALL(argmax, x, WEFT_ALL_DIMS, false)
CALL(max, x, WEFT_DIMS(0), false)
CALL(reshape, x, WEFT_SHAPE(-1, 0))
CALL(cross_entropy, x, w, NULL)
CALL(conv2d, x, w, NULL, &(weft_conv2d_opts){.padding = {2, 2}})
CALL(conv_transpose2d, x, w, NULL, NULL)
CALL(max_pool2d, x, &(weft_pool2d_opts){.kernel = {2, 2}, .padding = {1, 1}})
CALL(adaptive_avg_pool2d, x, 2, 2)
CALL(upsample2d, x, 2, 2, WEFT_UPSAMPLE_BILINEAR, false)
CALL(narrow, x, 0, 1, 0)
CALL(concat, (weft_tensor *[]){x, w}, 2, 0)

static void what_is_not_defined_is_refused(void **state)
{
#define S(...)                                                                                     \
    {                                                                                              \
        sizeof((int[]){__VA_ARGS__}) / sizeof(int),                                                \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
    static const refusal table[] = {
        {"batch_norm: input is [2, 0], which has no channels", S(2, 0), S(0), call_batch_norm},
        {"argmax: [0, 3] has no elements along dimension 0", S(0, 3), S(0), call_argmax},
        {"max: [0, 3] has no elements along dimension 0", S(0, 3), S(0), call_max},
        {"reshape: [0, 3] has 0 elements, which do not fit [-1, 0]", S(0, 3), S(0), call_reshape},
        {"cross_entropy: logits are [2, 0]: there are labels but no classes", S(2, 0), S(2, 0),
         call_cross_entropy},
        {"conv2d: cannot have 1 images, 0 input and 4 output channels", S(1, 0, 5, 5),
         S(4, 0, 3, 3), call_conv2d},
        {"conv2d: cannot have 1 images, 4 input and 0 output channels", S(1, 4, 5, 5),
         S(0, 4, 3, 3), call_conv2d},
        {"conv2d: height of the input is 0, of the kernel 3", S(1, 3, 0, 5), S(4, 3, 3, 3),
         call_conv2d},
        {"conv_transpose2d: input [1, 0, 5, 5] and weight [0, 4, 3, 3]: only N may be 0",
         S(1, 0, 5, 5), S(0, 4, 3, 3), call_conv_transpose2d},
        {"conv_transpose2d: input [1, 3, 5, 0] and weight [3, 4, 3, 3]: only N may be 0",
         S(1, 3, 5, 0), S(3, 4, 3, 3), call_conv_transpose2d},
        {"max_pool2d: input is [2, 0, 4, 4]: only N may be 0", S(2, 0, 4, 4), S(0),
         call_max_pool2d},
        {"adaptive_avg_pool2d: input is [2, 3, 0, 4]: only N may be 0", S(2, 3, 0, 4), S(0),
         call_adaptive_avg_pool2d},
        {"upsample2d: input is [2, 3, 4, 0]: only N may be 0", S(2, 3, 4, 0), S(0),
         call_upsample2d},
        {"narrow: 0 elements from 1 on are not all in dimension 0, which has 0", S(0, 2), S(0),
         call_narrow},
        {"concat: input 1 is [2, 3], input 0 is [0]: they may differ in dimension 0 only", S(0),
         S(2, 3), call_concat},
    };
#undef S
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        weft_tensor *x = none(ctx, table[i].x), *w = none(ctx, table[i].w);
        assert_null(table[i].call(x, w));
        assert_string_equal(weft_error_text(ctx), table[i].text);
        weft_discard(ctx);
        weft_error_clear(ctx);
        weft_tensor_unref(w);
        weft_tensor_unref(x);
    }
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_and_writing),
        cmocka_unit_test(reductions_of_nothing),
        cmocka_unit_test(a_step_of_no_images),
        cmocka_unit_test(concatenation),
        cmocka_unit_test(batch_statistics_of_nothing),
        cmocka_unit_test(custom_ops_run),
        cmocka_unit_test(empty_parameters),
        cmocka_unit_test(what_is_not_defined_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
