/* Mixed precision: what is stored as bf16, and that a planned run still equals the interpreter's bit
 * for bit, whatever is fused, cast or read mid-step. */
#include <math.h>

#include "engine/graph/ops/common.h"
#include "engine/run/run.h"
#include "engine/step/execute.h"
#include "kernels/simd/bf16_emul.h"
#include "small_net.h"

enum { STEPS = 3 };

static const weft_options oracle = {
    .seed = 11, .executor = WEFT_EXECUTOR_INTERPRETER, .threads = 1, .amp = WEFT_AMP_BF16};

/* That training under these options ends as in the interpreter. */
static void expect_oracle(const weft_options *options, void (*probe)(small_net *, weft_tensor *))
{
    static char *want;
    static size_t want_size;
    size_t size;
    if (!want)
        want = net_train(&oracle, STEPS, &want_size, NULL);
    char *got = net_train(options, STEPS, &size, probe);
    assert_int_equal(size, want_size);
    for (size_t i = 0; i < size; i += sizeof(float))
        if (memcmp(want + i, got + i, sizeof(float)) != 0)
            fail_msg("state differs at float %zu", i / sizeof(float));
    free(got);
}

static void equals_the_interpreter_with_any_number_of_threads(void **state)
{
    const int threads[] = {1, 2, 3, 7, 16};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        weft_options o = {.seed = 11, .threads = threads[i], .amp = WEFT_AMP_BF16};
        expect_oracle(&o, NULL);
    }
}

static void equals_the_interpreter_with_any_pass_off(void **state)
{
    for (unsigned off = 0; off <= WEFT_PASS_ALL; off++) {
        weft_options o = {.seed = 11, .threads = 2, .passes_off = off, .amp = WEFT_AMP_BF16};
        expect_oracle(&o, NULL);
    }
}

static void equals_the_interpreter_in_random_order_over_poisoned_memory(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        weft_options o = {.seed = 11,
                          .threads = 3,
                          .executor = WEFT_EXECUTOR_RANDOM,
                          .schedule_seed = seed,
                          .amp = WEFT_AMP_BF16};
        expect_oracle(&o, NULL);
    }
}

static void read_it(small_net *net, weft_tensor *t)
{
    size_t bytes = wf_type_bytes(t->type);
    char *data = malloc(bytes);
    if (weft_read(t, data, bytes) != WEFT_OK)
        fail_msg("%s", weft_error_text(net->ctx));
    free(data);
}

static void reading_after_every_op_gives_the_same_bits(void **state)
{
    weft_options o = {.seed = 11, .threads = 2, .amp = WEFT_AMP_BF16};
    expect_oracle(&o, read_it);
}

/* ---- networks of the zoo --------------------------------------------------------------------- */

/* A sum of all parameters' bits after two steps of a network, and the first loss. */
static uint64_t trained(const char *model, int size, const weft_options *options, double *loss)
{
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, options, NULL), WEFT_OK);
    weft_model_opts opts = weft_model_find(model)->defaults;
    opts.height = opts.width = size;
    opts.num_classes = 10;
    weft_module *net = weft_model_create(ctx, model, &opts);
    weft_sgd_opts sgd = {.lr = 0.01, .momentum = 0.9};
    weft_optimizer *optimizer = weft_sgd_create(ctx, net, &sgd);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, opts.in_channels, size, size));
    weft_tensor *labels = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(4), (int64_t[]){3, 1, 4, 1});
    if (!net || !optimizer || !labels)
        fail_msg("%s", weft_error_text(ctx));
    for (int i = 0; i < 2; i++) {
        weft_optimizer_zero_grad(optimizer);
        weft_tensor *l = weft_training_loss(net, x, labels, NULL, NULL);
        if (!l || weft_backward(l) || weft_optimizer_step(optimizer))
            fail_msg("%s", weft_error_text(ctx));
        if (i == 0)
            *loss = weft_item(l);
    }
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(net, 0, &all), WEFT_OK);
    uint64_t sum = 0;
    for (int i = 0; i < all.n; i++) {
        const uint32_t *bits = weft_tensor_const_data(all.item[i].tensor);
        const int64_t n = weft_shape_count(weft_tensor_shape(all.item[i].tensor));
        for (int64_t j = 0; j < n; j++)
            sum = sum * 6364136223846793005u + bits[j];
    }
    weft_tensor_list_done(&all);
    weft_optimizer_destroy(optimizer);
    weft_module_unref(net);
    weft_tensor_unref(x);
    weft_tensor_unref(labels);
    weft_context_destroy(ctx);
    return sum;
}

static void networks_equal_the_interpreter(void **state)
{
    static const struct {
        const char *model;
        int size;
    } nets[] = {{"resnet18", 33},        {"mobilenet_v3_small", 32},
                {"efficientnet_b0", 32}, {"shufflenet_v2_x1_0", 32},
                {"googlenet", 32},       {"densenet121", 32},
                {"vgg11", 32},           {"squeezenet1_1", 48}};
    const size_t n = wf_cpu_isa() == WEFT_ISA_SCALAR ? 2 : sizeof nets / sizeof nets[0]; /* slow */
    for (size_t i = 0; i < n; i++) {
        weft_options o = {.seed = 3, .threads = 2, .amp = WEFT_AMP_BF16}, in_order = oracle;
        double want, got;
        in_order.seed = 3;
        const uint64_t a = trained(nets[i].model, nets[i].size, &in_order, &want);
        const uint64_t b = trained(nets[i].model, nets[i].size, &o, &got);
        if (a != b)
            fail_msg("%s: losses %.9g and %.9g", nets[i].model, want, got);
        if (!isfinite(got))
            fail_msg("%s: loss %g", nets[i].model, got);
    }
}

/* ---- what is stored how ---------------------------------------------------------------------- */

static void images_are_bf16_and_all_else_is_as_recorded(void **state)
{
    weft_options o = {.threads = 2, .amp = WEFT_AMP_BF16};
    small_net net;
    net_init(&net, &o);
    assert_int_equal(weft_backward(net_loss(&net)), WEFT_OK);
    net_update(&net);
    wf_plan *plan;
    assert_int_equal(wf_plan_of_recorded(net.ctx, &plan), WEFT_OK);
    int images = 0;
    for (int v = 0; v < plan->n_values; v++) {
        const wf_ir_value *value = &plan->values[v];
        const weft_shape *s = &value->type.shape;
        if (value->storage == value->type.dtype)
            continue;
        images++;
        assert_int_equal(value->storage, WEFT_BF16);
        assert_int_equal(value->type.dtype, WEFT_F32);
        assert_int_equal(value->kind, WF_IR_NODE);
        assert_int_equal(s->rank, 4);
        assert_int_equal(s->dim[0], NET_N); /* no weights, no gradients of weights */
        assert_true(s->dim[2] * s->dim[3] > 1);
    }
    assert_true(images >= 12);
    for (int i = 0; i < plan->n_assigns; i++)
        assert_int_equal(plan->values[plan->assigns[i].value].storage,
                         plan->values[plan->assigns[i].value].type.dtype);
    wf_plan_destroy(plan);
    net_done(&net);
}

/* x (2, 3, 2, 2) of halves: what an op of f32 alone gives, then one that follows it. */
static void a_wide_input_of_f32_keeps_an_op_in_f32(void **state)
{
    weft_options o = {.threads = 1, .amp = WEFT_AMP_BF16};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 2, 2), 1 + 0x1p-12);
    float got[24];
    assert_int_equal(weft_read(weft_relu(weft_scale(x, 2)), got, sizeof got), WEFT_OK);
    assert_true(got[0] == 2 + 0x1p-11f); /* an image that a user gives is no activation */
    weft_sync(ctx);
    weft_tensor *w = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3, 3, 1, 1), 1);
    float once[24], sum[24];
    weft_tensor *y = weft_conv2d(x, w, NULL, NULL); /* 3 (1 + 2^-12): bf16 gives 3 */
    weft_tensor *z = weft_add(y, x);                /* of bf16 and f32: f32 */
    assert_int_equal(weft_read(y, once, sizeof once), WEFT_OK);
    assert_int_equal(weft_read(z, sum, sizeof sum), WEFT_OK);
    assert_true(once[0] == 3 && sum[0] == 4 + 0x1p-12f);
    weft_tensor_unref(x);
    weft_tensor_unref(w);
    weft_context_destroy(ctx);
}

/* The seconds that a step of resnet18 is expected to take on one thread. */
static double forecast_of(weft_context *ctx, weft_module *net, weft_tensor *x)
{
    wf_plan *plan;
    double seconds = 0;
    weft_sum(weft_call(net, x), WEFT_ALL_DIMS, false);
    assert_int_equal(wf_plan_of_recorded(ctx, &plan), WEFT_OK);
    wf_forecast *f = calloc((size_t)plan->n_tasks, sizeof *f);
    assert_true(wf_forecast_plan(plan, f));
    for (int i = 0; i < plan->n_tasks; i++)
        seconds += f[i].seconds;
    free(f);
    wf_plan_destroy(plan);
    weft_discard(ctx);
    return seconds;
}

static void auto_decides_by_expected_cost_once_and_others_are_refused(void **state)
{
    double seconds[2];
    weft_context *ctx;
    for (int i = 0; i < 3; i++) {
        weft_options o = {.threads = i < 2 ? 1 : 3, .amp = (weft_amp)i};
        assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
        const weft_model_opts opts = {.num_classes = 10};
        weft_module *net = weft_model_create(ctx, "resnet18", &opts);
        weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, 3, 96, 96));
        assert_int_equal(weft_context_amp(ctx), o.amp);
        weft_item(
            weft_sum(weft_relu(x), WEFT_ALL_DIMS, false)); /* no products: nothing to decide */
        assert_int_equal(weft_context_amp(ctx), o.amp);
        const double expected = forecast_of(ctx, net, x);
        if (i < 2)
            seconds[i] = expected;
        else
            assert_int_equal(weft_context_amp(ctx),
                             seconds[1] < 0.95 * seconds[0] ? WEFT_AMP_BF16 : WEFT_AMP_OFF);
        weft_tensor_unref(x);
        weft_module_unref(net);
        weft_context_destroy(ctx);
    }
    weft_options o = {0};
    weft_error err = WEFT_ERROR_INIT;
    o.amp = (weft_amp)3;
    assert_int_equal(weft_context_create(&ctx, &o, &err), WEFT_ERR_INVALID);
    assert_string_equal(err.text, "context: 3 is no value of weft_amp");
    assert_int_equal(weft_context_amp(NULL), WEFT_AMP_OFF);
}

/* bf16 has f32's range, so what overflows overflows in f32, too; 3.4e38 rounds up to infinity. */
static void anomaly_mode_names_the_op_that_overflows(void **state)
{
    weft_options o = {.threads = 2, .amp = WEFT_AMP_BF16, .anomaly = true};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 1, 2, 2), 0x1.ffffp127);
    weft_tensor *w = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(1, 1, 1, 1), 1);
    weft_tensor *y = weft_keep(weft_relu(weft_conv2d(x, w, NULL, NULL)));
    assert_int_equal(weft_sync(ctx), WEFT_ERR_NUMERIC);
    assert_string_equal(weft_error_text(ctx),
                        "anomaly: conv2d (forward) gave infinity, output of shape [1, 1, 2, 2]");
    weft_tensor_unref(y);
    weft_tensor_unref(x);
    weft_tensor_unref(w);
    weft_context_destroy(ctx);
}

/* Two convolutions whose gradient is finite as f32, and infinite where it is stored as bf16:
 * (181/128)^2 is 1.9996, and the largest bf16 is 1.992 times 2^127. The forward pass is of zeros. */
static const char *batch_that_overflows(weft_amp amp, double scale, char *text, size_t size)
{
    weft_options o = {.threads = 2, .amp = amp, .anomaly = true};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
    const weft_conv2d_layer_opts plain = {.no_bias = true};
    weft_module *parts[] = {weft_conv2d_create(ctx, 1, 1, 1, &plain), weft_relu_create(ctx),
                            weft_conv2d_create(ctx, 1, 1, 1, &plain)};
    weft_module *net = weft_sequential_create(ctx, 3, parts);
    assert_int_equal(weft_init_constant(weft_get_parameter(net, "2.weight"), 181.0 / 128 * 0x1p64),
                     WEFT_OK);
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 1, 4, 4));
    weft_tensor *loss = weft_scale(weft_sum(weft_call(net, x), WEFT_ALL_DIMS, false), scale);
    assert_int_equal(weft_backward(loss), WEFT_OK);
    const weft_status status = weft_sync(ctx);
    snprintf(text, size, "%s", weft_error_text(ctx));
    assert_int_equal(status, *text ? WEFT_ERR_NUMERIC : WEFT_OK);
    weft_tensor_unref(x);
    weft_module_unref(net);
    weft_context_destroy(ctx);
    return text;
}

static void anomaly_mode_names_op_and_path_of_a_gradient_that_overflows_as_bf16(void **state)
{
    char text[WEFT_ERROR_TEXT];
    const double fits = 181.0 / 128 * 0x1p63, large = 0x1.ffp127;
    assert_string_equal(batch_that_overflows(WEFT_AMP_OFF, fits, text, sizeof text), "");
    assert_string_equal(
        batch_that_overflows(WEFT_AMP_BF16, fits, text, sizeof text),
        "anomaly: 2: conv2d_backward_data (backward of conv2d) gave infinity, output "
        "of shape [2, 1, 4, 4]");
    /* of an op without a bf16 kernel, whose output a cast stores */
    assert_string_equal(
        batch_that_overflows(WEFT_AMP_BF16, large, text, sizeof text),
        "anomaly: expand (backward of sum) gave infinity as it was rounded to bf16, "
        "output of shape [2, 1, 4, 4]");
}

/* docs/amp.md, "The rule of each op". A new op has kernels for bf16, or is put here, where it has a
 * reason to compute on f32. */
static void every_op_has_kernels_for_bf16_or_a_reason(void **state)
{
    static const struct {
        const char *reason, *names;
    } in_f32[] = {
        {"constants and checks", " fill of_nothing check_finite "},
        {"layouts, behind the precision pass", " reorder "},
        {"comparisons", " eq ne lt le gt ge "},
        {"autocast's list of f32",
         " pow_tensor pow_tensor_base pow_tensor_log pow_tensor_both softmax "
         "softmax_backward log_softmax log_softmax_backward "
         "cross_entropy cross_entropy_backward nll_loss "},
        {"reductions whose result is an element", " max min argmax argmin "},
        {"the network's input", " normalize_images byte_table one_hot "},
        {"operands of one pixel; products round them as they pack", " matmul "},
        {"metrics and gradients of parameters",
         " count_correct sum_squares clip_coefficient scale_by clip_value "},
        {"parameters and their state", " sgd_update adam_update rmsprop_update adagrad_update "
                                       "lamb_direction lamb_update lars_update lion_update "
                                       "ema_update "},
        {"statistics", " bn_invstd bn_running "},
    };
    const wf_op *const ops[] = {
#define WF_OP(name) &wf_op_##name,
#include "engine/graph/ops/ops.def"
#undef WF_OP
    };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        char name[80];
        int reasons = 0;
        snprintf(name, sizeof name, " %s ", ops[i]->name);
        for (size_t r = 0; r < sizeof in_f32 / sizeof *in_f32; r++)
            reasons += strstr(in_f32[r].names, name) != NULL;
        const bool kernels = ops[i]->flags & (WF_OP_BF16 | WF_OP_ALL_BF16);
        if (kernels + reasons != 1 || (reasons && ops[i]->precision != WF_PRECISION_F32))
            fail_msg("%s: bf16 kernels %d, reasons %d, rule %d", ops[i]->name, kernels, reasons,
                     ops[i]->precision);
    }
}

/* ---- norms, which widen bf16 images in scratch ------------------------------------------------ */

enum {
    NORM_N = 2,
    NORM_C = 24,
    NORM_H = 13,
    NORM_W = 11,
    NORM_COUNT = NORM_N * NORM_C * NORM_H * NORM_W
};

typedef struct norm_results {
    float y[NORM_COUNT], dx[NORM_COUNT], dgamma[NORM_COUNT], dbeta[NORM_COUNT];
} norm_results;

/* What a norm between two 1x1 convolutions by the identity, which are exact, computes of images and of
 * a gradient that bf16 holds. */
static void run_norm(weft_amp amp, bool layer, norm_results *r)
{
    weft_context *ctx;
    weft_options options = {.threads = 2, .amp = amp};
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    const weft_shape shape = WEFT_SHAPE(NORM_N, NORM_C, NORM_H, NORM_W);
    const weft_shape affine = layer ? WEFT_SHAPE(NORM_W) : WEFT_SHAPE(NORM_C);
    static float values[NORM_COUNT], seeds[NORM_COUNT], identity[NORM_C * NORM_C];
    for (int i = 0; i < NORM_COUNT; i++) {
        values[i] = (float)(i * 37 % 101) / 16 - 2;
        seeds[i] = (float)(i * 53 % 67) / 32 - 1;
    }
    for (int i = 0; i < NORM_C; i++)
        identity[i * NORM_C + i] = 1;
    weft_tensor *x = weft_tensor_from(ctx, WEFT_F32, shape, values);
    weft_tensor *seed = weft_tensor_from(ctx, WEFT_F32, shape, seeds);
    weft_tensor *w = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(NORM_C, NORM_C, 1, 1), identity);
    weft_tensor *gamma = weft_tensor_from(ctx, WEFT_F32, affine, values + 7);
    weft_tensor *beta = weft_tensor_from(ctx, WEFT_F32, affine, seeds + 7);
    weft_tensor *trained[] = {x, gamma, beta};
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_set_requires_grad(trained[i], true), WEFT_OK);
    weft_tensor *a = weft_conv2d(x, w, NULL, NULL);
    weft_tensor *y =
        layer ? weft_layer_norm(a, 1, gamma, beta, 1e-5) : weft_group_norm(a, 3, gamma, beta, 1e-5);
    weft_tensor *z = weft_conv2d(y, w, NULL, NULL);
    float *const to[] = {r->dx, r->dgamma, r->dbeta};
    weft_tensor *kept = weft_keep(y);
    if (weft_backward_with(z, seed, false) || weft_sync(ctx) || weft_read(kept, r->y, sizeof r->y))
        fail_msg("%s", weft_error_text(ctx));
    for (int i = 0; i < 3; i++) {
        weft_tensor *grad = weft_grad(trained[i]);
        assert_int_equal(weft_read(grad, to[i], wf_type_bytes(grad->type)), WEFT_OK);
    }
    weft_tensor *all[] = {x, seed, w, gamma, beta, kept};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

/* The f32 kernels run on what bf16 images hold, and an image is rounded once. */
static void norms_of_bf16_are_those_of_f32_rounded_once(void **state)
{
    static norm_results f32, bf16;
    for (int layer = 0; layer < 2; layer++) {
        const int n = layer ? NORM_W : NORM_C;
        run_norm(WEFT_AMP_OFF, layer, &f32);
        run_norm(WEFT_AMP_BF16, layer, &bf16);
        for (int i = 0; i < NORM_COUNT; i++) {
            if (bf16.y[i] != wf_from_bf16(wf_to_bf16(f32.y[i])))
                fail_msg("layer %d: y[%d] is %a, in f32 %a", layer, i, bf16.y[i], f32.y[i]);
            if (bf16.dx[i] != wf_from_bf16(wf_to_bf16(f32.dx[i])))
                fail_msg("layer %d: dx[%d] is %a, in f32 %a", layer, i, bf16.dx[i], f32.dx[i]);
        }
        assert_memory_equal(bf16.dgamma, f32.dgamma, (size_t)n * sizeof(float));
        assert_memory_equal(bf16.dbeta, f32.dbeta, (size_t)n * sizeof(float));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_interpreter_with_any_number_of_threads),
        cmocka_unit_test(equals_the_interpreter_with_any_pass_off),
        cmocka_unit_test(equals_the_interpreter_in_random_order_over_poisoned_memory),
        cmocka_unit_test(reading_after_every_op_gives_the_same_bits),
        cmocka_unit_test(networks_equal_the_interpreter),
        cmocka_unit_test(images_are_bf16_and_all_else_is_as_recorded),
        cmocka_unit_test(a_wide_input_of_f32_keeps_an_op_in_f32),
        cmocka_unit_test(every_op_has_kernels_for_bf16_or_a_reason),
        cmocka_unit_test(norms_of_bf16_are_those_of_f32_rounded_once),
        cmocka_unit_test(auto_decides_by_expected_cost_once_and_others_are_refused),
        cmocka_unit_test(anomaly_mode_names_the_op_that_overflows),
        cmocka_unit_test(anomaly_mode_names_op_and_path_of_a_gradient_that_overflows_as_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
