/* Modules stored as bf16, for inference: what becomes of parameters, buffers and gradients, that a
 * forward pass has the bits of one over the rounded f32 parameters, files, and what is refused. */
#include <math.h>
#include <stdlib.h>

#include "tests/modules/fixture.h"
#include "tests/scratch.h"

/* The bf16 nearest to x, as f32; ties go to the even one. For finite x. */
static float rounded(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x7fff + (bits >> 16 & 1);
    bits &= 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static weft_module *small_net(void)
{
    const weft_conv2d_layer_opts conv = {.padding = {1, 1}};
    weft_module *parts[] = {weft_conv2d_create(ctx, 3, 20, 3, &conv),
                            weft_batch_norm2d_create(ctx, 20, NULL),
                            weft_relu_create(ctx),
                            weft_conv2d_create(ctx, 20, 9, 1, NULL),
                            weft_prelu_create(ctx, 9, 0.2),
                            weft_group_norm_create(ctx, 3, 9, NULL),
                            weft_adaptive_avg_pool2d_create(ctx, 2, 2),
                            weft_flatten_create(ctx),
                            weft_linear_create(ctx, 36, 7, NULL)};
    weft_module *net = weft_sequential_create(ctx, sizeof parts / sizeof *parts, parts);
    assert_non_null(net);
    return net;
}

static weft_tensor *images(int size)
{
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(2, 3, size, size));
    assert_non_null(x);
    return x;
}

/* The output of a forward pass, owned by the caller. */
static float *output(weft_module *net, weft_tensor *x, int64_t *n)
{
    const bool was = weft_no_grad_begin(ctx);
    weft_tensor *y = weft_call(net, x);
    weft_no_grad_end(ctx, was);
    if (!y)
        fail_msg("%s", weft_error_text(ctx));
    *n = weft_shape_count(weft_tensor_shape(y));
    float *values = malloc((size_t)*n * sizeof *values);
    if (weft_read(y, values, (size_t)*n * sizeof *values) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    weft_discard(ctx);
    return values;
}

static void expect_equal_outputs(weft_module *a, weft_module *b, weft_tensor *x, const char *what)
{
    int64_t n, m;
    float *one = output(a, x, &n), *other = output(b, x, &m);
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++)
        if (memcmp(one + i, other + i, sizeof *one) != 0)
            fail_msg("%s: output %lld is %a, of rounded f32 %a", what, (long long)i, (double)one[i],
                     (double)other[i]);
    free(one);
    free(other);
}

/* ---- what is converted ---- */

static void parameters_are_rounded_and_buffers_stay(void **state)
{
    weft_module *net = small_net(), *was = weft_module_clone(net);
    const float mean = 1.00001f; /* no bf16 */
    weft_tensor *running = weft_get_buffer(net, "1.running_mean");
    assert_int_equal(weft_init_constant(running, (double)mean), WEFT_OK);
    weft_tensor *held = weft_get_parameter(net, "0.weight");
    assert_int_equal(weft_module_to(net, WEFT_BF16), WEFT_OK);
    assert_ptr_equal(weft_get_parameter(net, "0.weight"), held);
    assert_int_equal(weft_tensor_dtype(running), WEFT_F32);
    assert_true(((const float *)weft_tensor_const_data(running))[0] == mean);
    assert_int_equal(weft_tensor_dtype(weft_get_buffer(net, "1.num_batches_tracked")), WEFT_I64);

    weft_tensor_list before = WEFT_TENSOR_LIST_INIT, after = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(was, 0, &before), WEFT_OK);
    assert_int_equal(weft_parameters(net, 0, &after), WEFT_OK);
    assert_int_equal(before.n, after.n);
    for (int i = 0; i < after.n; i++)
        assert_int_equal(weft_tensor_dtype(after.item[i].tensor), WEFT_BF16);
    assert_int_equal(weft_module_to(net, WEFT_BF16), WEFT_OK); /* changes nothing */
    assert_int_equal(weft_module_to(net, WEFT_F32), WEFT_OK);
    for (int i = 0; i < after.n; i++) {
        const float *old = weft_tensor_const_data(before.item[i].tensor);
        const float *new = weft_tensor_const_data(after.item[i].tensor);
        assert_true(weft_requires_grad(after.item[i].tensor));
        for (int64_t j = weft_shape_count(weft_tensor_shape(after.item[i].tensor)) - 1; j >= 0; j--)
            assert_true(new[j] == rounded(old[j]));
    }
    weft_tensor_list_done(&before);
    weft_tensor_list_done(&after);
    weft_module_unref(was);
    weft_module_unref(net);
}

static void f64_goes_both_ways_too(void **state)
{
    weft_module *net = small_net();
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_OK);
    double *bias = weft_tensor_data(weft_get_parameter(net, "8.bias"));
    bias[0] = 1 + 0x1p-8 + 0x1p-40; /* by way of f32 it would be a tie, and round to 1 */
    assert_int_equal(weft_module_to(net, WEFT_BF16), WEFT_OK);
    assert_int_equal(weft_tensor_dtype(weft_get_buffer(net, "1.running_var")), WEFT_F32);
    assert_int_equal(weft_module_to(net, WEFT_F64), WEFT_OK);
    assert_int_equal(weft_tensor_dtype(weft_get_buffer(net, "1.running_var")), WEFT_F64);
    assert_true(((const double *)weft_tensor_const_data(weft_get_parameter(net, "8.bias")))[0] ==
                1 + 0x1p-7);
    weft_module_unref(net);
}

static void a_tensor_of_bf16_is_an_operand(void **state)
{
    weft_tensor *t = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3), 1.00390625 + 0x1p-12);
    assert_int_equal(weft_tensor_to(t, WEFT_BF16), WEFT_OK);
    weft_tensor *sum = weft_sum(weft_add(t, t), WEFT_ALL_DIMS, false);
    assert_int_equal(weft_tensor_dtype(sum), WEFT_F32);
    assert_true(weft_item(sum) == 6 * 1.0078125);
    weft_tensor *kept = weft_keep(t);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    assert_int_equal(weft_tensor_dtype(kept), WEFT_F32);
    assert_true(((const float *)weft_tensor_const_data(kept))[2] == 1.0078125f);
    weft_tensor_unref(kept);
    weft_tensor_unref(t);
    t = weft_tensor_full(ctx, WEFT_BF16, WEFT_SHAPE(1), 1e-3);
    assert_true(weft_item(t) == (double)rounded(1e-3f));
    weft_tensor_unref(t);
    assert_null(weft_tensor_full(ctx, WEFT_BF16, WEFT_SHAPE(1), 3.4e38));
    assert_error(WEFT_ERR_INVALID, "tensor_full: 3.4e+38 does not fit bf16");
    t = weft_tensor_full(ctx, WEFT_I64, WEFT_SHAPE(1), 1);
    assert_int_equal(weft_tensor_to(t, WEFT_BF16), WEFT_ERR_DTYPE);
    assert_error(WEFT_ERR_DTYPE, "weft_tensor_to: the tensor is i64, not f32, f64 or bf16");
    assert_int_equal(weft_tensor_to(t, WEFT_U8), WEFT_ERR_DTYPE);
    assert_error(WEFT_ERR_DTYPE, "weft_tensor_to: u8 is not f32, f64 or bf16");
    assert_int_equal(weft_tensor_to(weft_relu(weft_randn(ctx, WEFT_SHAPE(1))), WEFT_BF16),
                     WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "weft_tensor_to: the tensor is the result of an op");
    assert_int_equal(weft_tensor_to(NULL, WEFT_BF16), WEFT_ERR_INVALID);
    weft_tensor_unref(t);
}

/* ---- forward passes ---- */

static void other_context(weft_amp amp, int threads)
{
    weft_options o = {.threads = threads, .seed = 7, .amp = amp};
    weft_context_destroy(ctx);
    assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
}

static void check_forward(weft_module *net, int size, const char *what)
{
    weft_module_train(net, false);
    assert_int_equal(weft_module_to(net, WEFT_BF16), WEFT_OK);
    weft_module *twin = weft_module_clone(net);
    assert_int_equal(
        weft_tensor_dtype(weft_get_parameter(twin, what[0] == 's' ? "0.weight" : "conv1.weight")),
        WEFT_BF16);
    assert_int_equal(weft_module_to(twin, WEFT_F32), WEFT_OK);
    weft_tensor *x = images(size);
    expect_equal_outputs(net, twin, x, what);
    assert_int_equal(weft_tensor_to(x, WEFT_BF16), WEFT_OK); /* images of bf16 */
    int64_t n;
    float *y = output(net, x, &n);
    for (int64_t i = 0; i < n; i++)
        assert_true(isfinite(y[i]));
    free(y);
    weft_tensor_unref(x);
    weft_module_unref(twin);
    weft_module_unref(net);
}

static void a_forward_pass_has_the_bits_of_the_rounded_parameters(void **state)
{
    const weft_amp amps[] = {WEFT_AMP_OFF, WEFT_AMP_BF16};
    for (int i = 0; i < 2; i++) {
        other_context(amps[i], 1 + i);
        check_forward(small_net(), 9, "small");
        weft_model_opts opts = {.num_classes = 11};
        check_forward(weft_model_create(ctx, "resnet18", &opts), 32, "resnet18");
    }
}

static void a_changed_type_gets_a_plan_of_its_own(void **state)
{
    weft_module *net = small_net();
    weft_module_train(net, false);
    weft_tensor *x = images(9);
    int64_t n;
    float *before = output(net, x, &n);
    assert_int_equal(weft_module_to(net, WEFT_BF16), WEFT_OK);
    float *low = output(net, x, &n);
    assert_int_equal(weft_module_to(net, WEFT_F32), WEFT_OK);
    float *after = output(net, x, &n);
    assert_memory_equal(low, after, (size_t)n * sizeof *low);
    assert_true(memcmp(before, low, (size_t)n * sizeof *low) != 0);
    free(before);
    free(low);
    free(after);
    weft_tensor_unref(x);
    weft_module_unref(net);
}

/* ---- training ---- */

static weft_tensor *loss_of(weft_module *net, weft_tensor *x)
{
    weft_tensor *y = weft_call(net, x);
    return weft_mean(weft_mul(y, y), WEFT_ALL_DIMS, false);
}

static void training_it_is_refused(void **state)
{
    weft_module *net = small_net();
    weft_tensor *x = images(9);
    weft_optimizer *sgd = weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.1});
    assert_int_equal(weft_module_to(net, WEFT_BF16), WEFT_OK);
    assert_int_equal(weft_backward(loss_of(net, x)), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "is stored as bf16, which is for inference; convert its module");
    weft_discard(ctx);
    assert_null(weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.1}));
    assert_error(WEFT_ERR_DTYPE,
                 "optimizer: '0.weight' is bf16; it must be f32 or f64 (bf16 is for");

    assert_int_equal(weft_module_to(net, WEFT_F32), WEFT_OK); /* the old optimizer goes on */
    assert_int_equal(weft_backward(loss_of(net, x)), WEFT_OK);
    assert_int_equal(weft_module_to(net, WEFT_BF16), WEFT_OK); /* with gradients, which are f32 */
    assert_int_equal(weft_tensor_dtype(weft_grad(weft_get_parameter(net, "0.weight"))), WEFT_F32);
    assert_int_equal(weft_optimizer_step(sgd), WEFT_ERR_STATE);
    assert_error(WEFT_ERR_STATE, "optimizer: '0.weight' became bf16");
    assert_int_equal(weft_module_to(net, WEFT_F32), WEFT_OK);
    assert_int_equal(weft_optimizer_step(sgd), WEFT_OK);
    weft_optimizer_destroy(sgd);
    weft_tensor_unref(x);
    weft_module_unref(net);
}

/* The gradient of the last layer's weight where all before it is frozen. */
static float *head_gradient(weft_module *net, weft_tensor *x, weft_dtype body)
{
    assert_int_equal(weft_module_freeze(net, "[0-7]", NULL), WEFT_OK);
    for (int i = 0; i < 8; i++) {
        const char name[] = {(char)('0' + i), '\0'};
        assert_int_equal(weft_module_to(weft_get_module(net, name), body), WEFT_OK);
    }
    assert_int_equal(weft_backward(loss_of(net, x)), WEFT_OK);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    float *g = malloc(7 * 36 * sizeof *g);
    assert_int_equal(
        weft_read(weft_grad(weft_get_parameter(net, "8.weight")), g, 7 * 36 * sizeof *g), WEFT_OK);
    return g;
}

static void frozen_parts_may_be_bf16_while_others_are_trained(void **state)
{
    weft_module *net = small_net();
    weft_tensor *x = images(9);
    assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK); /* through the frozen layers */
    float *low = head_gradient(net, x, WEFT_BF16);
    float dx_low[2 * 3 * 81], dx[2 * 3 * 81];
    assert_int_equal(weft_read(weft_grad(x), dx_low, sizeof dx_low), WEFT_OK);
    weft_module_zero_grad(net);
    weft_zero_grad(x);
    float *high = head_gradient(net, x, WEFT_F32);
    assert_int_equal(weft_read(weft_grad(x), dx, sizeof dx), WEFT_OK);
    assert_memory_equal(low, high, 7 * 36 * sizeof *low);
    assert_memory_equal(dx_low, dx, sizeof dx);
    free(low);
    free(high);
    weft_tensor_unref(x);
    weft_module_unref(net);
}

/* ---- files ---- */

static void a_file_of_bf16_loads_and_is_saved(void **state)
{
    weft_module *net = small_net(), *f32 = small_net(), *low = small_net();
    weft_module_train(net, false);
    weft_module_train(f32, false);
    weft_module_train(low, false);
    weft_tensor *x = images(9);
    assert_int_equal(weft_module_save(net, scratch_file), WEFT_OK); /* f32 into bf16: rounds */
    assert_int_equal(weft_module_to(low, WEFT_BF16), WEFT_OK);
    assert_int_equal(weft_module_load(low, scratch_file, true), WEFT_OK);
    assert_int_equal(weft_module_to(net, WEFT_BF16), WEFT_OK);
    expect_equal_outputs(low, net, x, "f32 into bf16");

    assert_int_equal(weft_module_save(net, scratch_file), WEFT_OK);
    weft_safetensors *file;
    assert_int_equal(weft_safetensors_open(scratch_file, &file, NULL), WEFT_OK);
    assert_int_equal(weft_safetensors_find(file, "0.weight")->dtype, WEFT_BF16);
    assert_int_equal(weft_safetensors_find(file, "1.running_mean")->dtype, WEFT_F32);
    assert_int_equal(weft_safetensors_find(file, "1.num_batches_tracked")->dtype, WEFT_I64);
    weft_safetensors_close(file);
    assert_int_equal(weft_module_load(f32, scratch_file, true), WEFT_OK); /* bf16 into f32 */
    expect_equal_outputs(net, f32, x, "bf16 into f32");
    assert_int_equal(weft_module_load(low, scratch_file, true), WEFT_OK); /* bf16 into bf16 */
    expect_equal_outputs(low, f32, x, "bf16 into bf16");
    weft_tensor_unref(x);
    weft_module_unref(net);
    weft_module_unref(f32);
    weft_module_unref(low);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parameters_are_rounded_and_buffers_stay),
        TEST(f64_goes_both_ways_too),
        TEST(a_tensor_of_bf16_is_an_operand),
        TEST(a_forward_pass_has_the_bits_of_the_rounded_parameters),
        TEST(a_changed_type_gets_a_plan_of_its_own),
        TEST(training_it_is_refused),
        TEST(frozen_parts_may_be_bf16_while_others_are_trained),
        TEST(a_file_of_bf16_loads_and_is_saved),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
