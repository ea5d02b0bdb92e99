/* One image (C, H, W): every op and layer that takes it gives, to the bit, what it gives for a minibatch
 * of that image, gradients of the image and of the parameters too. */
#include "tests/engine/values.h"

enum { C = 6, H = 7, W = 8, MAX = 4096, PARAMS = 2 };

typedef weft_module *(*make_fn)(weft_context *ctx);

static weft_module *conv(weft_context *ctx)
{
    return weft_conv2d_create(
        ctx, C, 9, 3, &(weft_conv2d_layer_opts){.stride = {2, 1}, .padding = {1, 0}, .groups = 3});
}
static weft_module *conv_3x3(weft_context *ctx)
{
    return weft_conv2d_create(ctx, C, 8, 3, &(weft_conv2d_layer_opts){.padding = {1, 1}});
}
static weft_module *transposed(weft_context *ctx)
{
    return weft_conv_transpose2d_create(
        ctx, C, 4, 3,
        &(weft_conv_transpose2d_layer_opts){.stride = {2, 2}, .output_padding = {1, 0}});
}
static weft_module *max_pool(weft_context *ctx)
{
    return weft_max_pool2d_create(
        ctx, 3, &(weft_pool2d_opts){.stride = {2, 2}, .padding = {1, 1}, .ceil_mode = true});
}
static weft_module *avg_pool(weft_context *ctx)
{
    return weft_avg_pool2d_create(ctx, 2, NULL);
}
static weft_module *adaptive(weft_context *ctx)
{
    return weft_adaptive_avg_pool2d_create(ctx, 3, 2);
}
static const make_fn layers[] = {conv, conv_3x3, transposed, max_pool, avg_pool, adaptive};

typedef struct results {
    weft_shape shape;
    double y[MAX], dx[MAX], dp[PARAMS][MAX];
    int n_params;
} results;

static void run(weft_context *ctx, weft_module *m, weft_dtype dtype, weft_shape shape, results *r)
{
    static double numbers[MAX];
    memset(r, 0, sizeof(*r));
    make_input(1, shape, numbers);
    weft_tensor *x = stored(ctx, dtype, shape, numbers);
    weft_set_requires_grad(x, true);
    weft_tensor *y = weft_call(m, x);
    if (!y)
        fail_msg("%s", weft_error_text(ctx));
    r->shape = weft_tensor_shape(y);
    make_input(2, r->shape, numbers);
    weft_tensor *dy = stored(ctx, dtype, r->shape, numbers), *kept = weft_keep(y);
    assert_int_equal(weft_backward_with(y, dy, false), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    read_all(ctx, kept, r->y);
    read_all(ctx, weft_grad(x), r->dx);
    weft_tensor_list params = WEFT_TENSOR_LIST_INIT;
    weft_parameters(m, 0, &params);
    r->n_params = params.n;
    for (int i = 0; i < params.n; i++) {
        read_all(ctx, weft_grad(params.item[i].tensor), r->dp[i]);
        weft_zero_grad(params.item[i].tensor);
    }
    weft_tensor_list_done(&params);
    weft_tensor_unref(kept);
    weft_tensor_unref(dy);
    weft_tensor_unref(x);
}

static void one_image_is_a_minibatch_of_one(void **state)
{
    static results one, batch;
    for (int e = 0; e < 3; e++)
        for (int f64 = 0; f64 < 2; f64++)
            for (size_t i = 0; i < sizeof(layers) / sizeof(*layers); i++) {
                const weft_dtype dtype = f64 ? WEFT_F64 : WEFT_F32;
                weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
                weft_module *m = layers[i](ctx);
                assert_int_equal(weft_module_to(m, dtype), WEFT_OK);
                run(ctx, m, dtype, WEFT_SHAPE(C, H, W), &one);
                run(ctx, m, dtype, WEFT_SHAPE(1, C, H, W), &batch);
                assert_int_equal(one.shape.rank, 3);
                assert_int_equal(batch.shape.rank, 4);
                assert_memory_equal(one.shape.dim, batch.shape.dim + 1, 3 * sizeof(int64_t));
                assert_memory_equal(one.y, batch.y, sizeof(one.y));
                assert_memory_equal(one.dx, batch.dx, sizeof(one.dx));
                assert_memory_equal(one.dp, batch.dp, sizeof(one.dp));
                assert_int_equal(one.n_params, i < 3 ? 2 : 0);
                weft_module_unref(m);
                weft_context_destroy(ctx);
            }
}

/* As in PyTorch, where (C, H, W) would be (N, C, W) to these. */
static void others_want_a_minibatch(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(C, H, W));
    assert_null(weft_upsample2d(x, 4, 4, WEFT_UPSAMPLE_NEAREST, false));
    assert_string_equal(weft_error_text(ctx),
                        "upsample2d: input is [6, 7, 8], expected (N, C, H, W)");
    weft_discard(ctx);
    weft_error_clear(ctx);
    weft_module *bn = weft_batch_norm2d_create(ctx, H, NULL);
    assert_null(weft_call(bn, x));
    assert_int_equal(weft_error_status(ctx), WEFT_ERR_SHAPE);
    weft_module_unref(bn);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_image_is_a_minibatch_of_one),
        cmocka_unit_test(others_want_a_minibatch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
