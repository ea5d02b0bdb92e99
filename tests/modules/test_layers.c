/* Layers and containers: shapes, initial values, texts, refused arguments. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/modules/fixture.h"

/* What `m` prints, in a static buffer; drops m. */
static const char *printed(weft_module *m)
{
    static char text[4096];
    FILE *f = fmemopen(text, sizeof(text), "w");
    assert_int_equal(weft_module_print(m, f), WEFT_OK);
    fclose(f);
    weft_module_unref(m);
    return text;
}

static void texts_are_pytorchs(void **state)
{
    weft_conv2d_layer_opts conv = {.kernel_w = 5,
                                   .stride = {2, 2},
                                   .padding = {1, 2},
                                   .dilation = {2, 1},
                                   .groups = 2,
                                   .no_bias = true};
    weft_conv_transpose2d_layer_opts up = {.kernel_w = 3,
                                           .stride = {2, 2},
                                           .padding = {0, 1},
                                           .output_padding = {1, 0},
                                           .dilation = {1, 2},
                                           .groups = 2,
                                           .no_bias = true};
    weft_pool2d_opts pool = {.stride = {2, 2}, .padding = {1, 1}};
    weft_pool2d_opts wide = {.kernel = {2, 4}};
    assert_string_equal(printed(weft_linear_create(ctx, 10, 20, NULL)),
                        "Linear(in_features=10, out_features=20, bias=True)");
    assert_string_equal(printed(weft_linear_create(ctx, 10, 20, &(weft_linear_opts){true})),
                        "Linear(in_features=10, out_features=20, bias=False)");
    assert_string_equal(printed(weft_conv2d_create(ctx, 1, 32, 3, NULL)),
                        "Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1))");
    assert_string_equal(printed(weft_conv2d_create(ctx, 4, 8, 3, &conv)),
                        "Conv2d(4, 8, kernel_size=(3, 5), stride=(2, 2), padding=(1, 2), "
                        "dilation=(2, 1), groups=2, bias=False)");
    assert_string_equal(printed(weft_conv_transpose2d_create(ctx, 8, 4, 2, &up)),
                        "ConvTranspose2d(8, 4, kernel_size=(2, 3), stride=(2, 2), padding=(0, 1), "
                        "dilation=(1, 2), output_padding=(1, 0), groups=2, bias=False)");
    assert_string_equal(printed(weft_conv_transpose2d_create(ctx, 8, 4, 2, NULL)),
                        "ConvTranspose2d(8, 4, kernel_size=(2, 2), stride=(1, 1))");
    assert_string_equal(printed(weft_batch_norm2d_create(ctx, 8, NULL)),
                        "BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, "
                        "track_running_stats=True)");
    assert_string_equal(
        printed(weft_batch_norm2d_create(
            ctx, 8, &(weft_batch_norm2d_opts){.eps = 1e-5, .momentum = -1, .no_affine = true})),
        "BatchNorm2d(8, eps=1e-05, momentum=None, affine=False, bias=False, "
        "track_running_stats=True)");
    assert_string_equal(printed(weft_relu_create(ctx)), "ReLU()");
    assert_string_equal(printed(weft_identity_create(ctx)), "Identity()");
    assert_string_equal(printed(weft_max_pool2d_create(ctx, 3, &pool)),
                        "MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, "
                        "ceil_mode=False)");
    assert_string_equal(printed(weft_avg_pool2d_create(ctx, 0, &wide)),
                        "AvgPool2d(kernel_size=(2, 4), stride=(2, 4), padding=0)");
    assert_string_equal(printed(weft_adaptive_avg_pool2d_create(ctx, 7, 7)),
                        "AdaptiveAvgPool2d(output_size=(7, 7))");
    assert_string_equal(printed(weft_dropout_create(ctx, 0.5)), "Dropout(p=0.5, inplace=False)");
    assert_string_equal(printed(weft_stochastic_depth_create(ctx, 0.2)),
                        "StochasticDepth(p=0.2, mode=row)");
    assert_string_equal(printed(weft_flatten_create(ctx)), "Flatten(start_dim=1, end_dim=-1)");
    assert_string_equal(printed(weft_softmax_create(ctx, 1)), "Softmax(dim=1)");
    assert_string_equal(printed(weft_group_norm_create(ctx, 3, 6, NULL)),
                        "GroupNorm(3, 6, eps=1e-05, affine=True, bias=True)");
    assert_string_equal(printed(weft_layer_norm_create(ctx, WEFT_SHAPE(5), NULL)),
                        "LayerNorm((5,), eps=1e-05, elementwise_affine=True, bias=True)");
    assert_string_equal(
        printed(weft_layer_norm_create(ctx, WEFT_SHAPE(4, 5),
                                       &(weft_layer_norm_opts){.eps = 1e-3, .no_affine = true})),
        "LayerNorm((4, 5), eps=0.001, elementwise_affine=False, bias=False)");
    assert_string_equal(printed(weft_relu6_create(ctx)), "ReLU6()");
    assert_string_equal(printed(weft_silu_create(ctx)), "SiLU()");
    assert_string_equal(printed(weft_hardswish_create(ctx)), "Hardswish()");
    assert_string_equal(printed(weft_sigmoid_create(ctx)), "Sigmoid()");
    assert_string_equal(printed(weft_tanh_create(ctx)), "Tanh()");
    assert_string_equal(printed(weft_leaky_relu_create(ctx, 0.01)),
                        "LeakyReLU(negative_slope=0.01)");
    assert_string_equal(printed(weft_elu_create(ctx, 1)), "ELU(alpha=1.0)");
    assert_string_equal(printed(weft_mish_create(ctx)), "Mish()");
    assert_string_equal(printed(weft_softplus_create(ctx, 0.5, 20)),
                        "Softplus(beta=0.5, threshold=20.0)");
    assert_string_equal(printed(weft_prelu_create(ctx, 3, 0.25)), "PReLU(num_parameters=3)");
    assert_string_equal(printed(weft_alpha_dropout_create(ctx, 0.5)),
                        "AlphaDropout(p=0.5, inplace=False)");
    assert_string_equal(printed(weft_dropout_create(ctx, 1)), "Dropout(p=1.0, inplace=False)");
    assert_string_equal(printed(weft_gelu_create(ctx, false)), "GELU(approximate='none')");
    assert_string_equal(printed(weft_gelu_create(ctx, true)), "GELU(approximate='tanh')");
}

static void trees_print_as_pytorchs(void **state)
{
    weft_module *m = bare();
    weft_register_module(
        m, "features", NULL,
        WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 2, 3, NULL), weft_relu_create(ctx)));
    weft_register_module(m, "downsample", NULL, NULL);
    weft_register_module(m, "act", NULL, weft_relu_create(ctx));
    assert_string_equal(printed(m), "Bare(\n"
                                    "  (features): Sequential(\n"
                                    "    (0): Linear(in_features=2, out_features=3, bias=True)\n"
                                    "    (1): ReLU()\n"
                                    "  )\n"
                                    "  (downsample): None\n"
                                    "  (act): ReLU()\n"
                                    ")");
}

static void equal_neighbours_in_a_list_are_folded(void **state)
{
    weft_module *list[] = {weft_relu_create(ctx), weft_relu_create(ctx), weft_identity_create(ctx),
                           weft_relu_create(ctx)};
    assert_string_equal(printed(weft_module_list_create(ctx, 4, list)), "ModuleList(\n"
                                                                        "  (0-1): 2 x ReLU()\n"
                                                                        "  (2): Identity()\n"
                                                                        "  (3): ReLU()\n"
                                                                        ")");
    assert_string_equal(printed(weft_module_list_create(ctx, 0, NULL)), "ModuleList()");
}

static void refused_arguments_say_why(void **state)
{
    weft_conv2d_layer_opts groups = {.groups = 3}, stride = {.stride = {-1, 1}};
    weft_pool2d_opts padding = {.padding = {2, 2}};
    assert_null(weft_linear_create(ctx, -1, 3, NULL));
    assert_error(WEFT_ERR_INVALID, "Linear(-1, 3)");
    assert_null(weft_conv2d_create(ctx, 4, 6, 3, &groups));
    assert_error(WEFT_ERR_INVALID, "do not divide by 3 groups");
    assert_null(weft_conv2d_create(ctx, 4, 6, 3, &stride));
    assert_error(WEFT_ERR_INVALID, "stride -1");
    assert_null(weft_conv2d_create(ctx, 4, 6, 0, NULL));
    assert_error(WEFT_ERR_INVALID, "kernel must be at least 1");
    assert_null(weft_conv_transpose2d_create(
        ctx, 4, 6, 3, &(weft_conv_transpose2d_layer_opts){.output_padding = {0, 1}}));
    assert_error(WEFT_ERR_INVALID,
                 "ConvTranspose2d: output padding 1, stride 1, dilation 1: output padding must be");
    assert_null(weft_conv_transpose2d_create(ctx, 4, 6, 3,
                                             &(weft_conv_transpose2d_layer_opts){.groups = 4}));
    assert_error(WEFT_ERR_INVALID, "ConvTranspose2d(4, 6): channels do not divide by 4 groups");
    assert_null(weft_batch_norm2d_create(ctx, 0, NULL));
    assert_error(WEFT_ERR_INVALID,
                 "BatchNorm2d(0, eps=1e-05, momentum=0.1): there must be a channel");
    assert_null(weft_batch_norm2d_create(ctx, 8, &(weft_batch_norm2d_opts){INFINITY, 0.1}));
    assert_error(WEFT_ERR_INVALID, "eps must be finite and at least 0");
    assert_null(weft_batch_norm2d_create(ctx, 8, &(weft_batch_norm2d_opts){.no_affine = true}));
    assert_error(WEFT_ERR_INVALID, "begin options with WEFT_BATCH_NORM2D_OPTS_INIT");
    assert_null(weft_group_norm_create(ctx, 2, 8, &(weft_group_norm_opts){.no_affine = true}));
    assert_error(WEFT_ERR_INVALID, "WEFT_GROUP_NORM_OPTS_INIT");
    assert_null(weft_group_norm_create(ctx, 4, 6, NULL));
    assert_error(WEFT_ERR_INVALID,
                 "GroupNorm(4, 6, eps=1e-05): the channels must divide by the groups");
    assert_null(weft_group_norm_create(ctx, 0, 6, NULL));
    assert_error(WEFT_ERR_INVALID, "groups and channels must be at least 1");
    assert_null(weft_layer_norm_create(ctx, WEFT_SHAPE(4), &(weft_layer_norm_opts){.eps = 0}));
    assert_error(WEFT_ERR_INVALID, "LayerNorm([4], eps=0)");
    assert_null(weft_layer_norm_create(ctx, WEFT_SCALAR, NULL));
    assert_error(WEFT_ERR_INVALID, "the shape must hold something");
    assert_null(weft_max_pool2d_create(ctx, 3, &padding));
    assert_error(WEFT_ERR_INVALID, "at most half the kernel");
    assert_null(weft_adaptive_avg_pool2d_create(ctx, 0, 1));
    assert_error(WEFT_ERR_INVALID, "AdaptiveAvgPool2d(0, 1)");
    assert_null(weft_dropout_create(ctx, 1.5));
    assert_error(WEFT_ERR_INVALID, "not in [0, 1]");
    assert_null(weft_elu_create(ctx, INFINITY));
    assert_error(WEFT_ERR_INVALID, "ELU: alpha must be finite, is inf");
    assert_null(weft_softplus_create(ctx, 0, 20));
    assert_error(WEFT_ERR_INVALID, "Softplus: beta 0");
    assert_null(weft_prelu_create(ctx, 0, 0.25));
    assert_error(WEFT_ERR_INVALID, "PReLU(0, 0.25)");
    assert_null(weft_alpha_dropout_create(ctx, -0.5));
    assert_error(WEFT_ERR_INVALID, "AlphaDropout: the probability -0.5 is not in [0, 1]");
    assert_null(weft_dropout_create(ctx, NAN));
    assert_error(WEFT_ERR_INVALID, "not in [0, 1]");
}

/* All values within the bound, and the largest close to it: for n uniform values the chance that
 * none exceeds 0.97 of the bound is 0.97^n, below 1e-6 from n = 460 on. */
static void assert_uniform(weft_tensor *t, double bound)
{
    const float *v = weft_tensor_data(t);
    int64_t n = weft_shape_count(weft_tensor_shape(t));
    double largest = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(v[i]));
        sum += v[i];
    }
    assert_true(largest <= bound * (1 + 1e-6));
    assert_true(n < 460 || largest > 0.97 * bound);
    /* the mean's standard deviation is bound/sqrt(3 n) */
    assert_true(fabs(sum / (double)n) < 6 * bound / sqrt(3.0 * (double)n));
}

static void linear_and_conv2d_start_as_torchs(void **state)
{
    weft_module *linear = weft_linear_create(ctx, 50, 500, NULL);
    assert_uniform(weft_get_parameter(linear, "weight"), 1 / sqrt(50.0));
    assert_uniform(weft_get_parameter(linear, "bias"), 1 / sqrt(50.0));
    weft_conv2d_layer_opts groups = {.groups = 2};
    weft_module *conv = weft_conv2d_create(ctx, 8, 64, 3, &groups);
    weft_shape shape = weft_tensor_shape(weft_get_parameter(conv, "weight"));
    assert_true(weft_shape_equal(shape, WEFT_SHAPE(64, 4, 3, 3)));
    assert_uniform(weft_get_parameter(conv, "weight"), 1 / sqrt(36.0));
    assert_uniform(weft_get_parameter(conv, "bias"), 1 / sqrt(36.0));
    weft_module *up = weft_conv_transpose2d_create(
        ctx, 64, 8, 3, &(weft_conv_transpose2d_layer_opts){.groups = 2});
    shape = weft_tensor_shape(weft_get_parameter(up, "weight"));
    assert_true(weft_shape_equal(shape, WEFT_SHAPE(64, 4, 3, 3)));
    assert_uniform(weft_get_parameter(up, "weight"), 1 / sqrt(36.0));
    assert_uniform(weft_get_parameter(up, "bias"), 1 / sqrt(36.0));
    weft_module_unref(linear);
    weft_module_unref(conv);
    weft_module_unref(up);
}

static void batch_norm_starts_with_ones_and_zeros(void **state)
{
    weft_module *m = weft_batch_norm2d_create(ctx, 3, NULL);
    assert_true(first(weft_get_parameter(m, "weight")) == 1);
    assert_true(first(weft_get_parameter(m, "bias")) == 0);
    assert_true(first(weft_get_buffer(m, "running_mean")) == 0);
    assert_true(first(weft_get_buffer(m, "running_var")) == 1);
    assert_true(weft_item(weft_get_buffer(m, "num_batches_tracked")) == 0);
    weft_module_unref(m);
}

static void layers_differ_and_a_seed_repeats_them(void **state)
{
    weft_options options = {.threads = 1, .seed = 7};
    weft_context *again;
    assert_int_equal(weft_context_create(&again, &options, NULL), WEFT_OK);
    weft_module *a = weft_linear_create(ctx, 9, 9, NULL), *b = weft_linear_create(ctx, 9, 9, NULL);
    weft_module *c = weft_linear_create(again, 9, 9, NULL);
    const float *x = weft_tensor_data(weft_get_parameter(a, "weight"));
    const float *y = weft_tensor_data(weft_get_parameter(b, "weight"));
    const float *z = weft_tensor_data(weft_get_parameter(c, "weight"));
    assert_memory_not_equal(x, y, 81 * sizeof(float));
    assert_memory_equal(x, z, 81 * sizeof(float));
    weft_module_unref(a);
    weft_module_unref(b);
    weft_module_unref(c);
    weft_context_destroy(again);
}

/* Large enough that the threads share it, and no multiple of their number. */
static void initial_values_do_not_depend_on_the_number_of_threads(void **state)
{
    enum { LARGE = 40001 };
    static float one[LARGE], many[LARGE];
    for (int kind = 0; kind < 3; kind++) {
        for (int threads = 1; threads <= 3; threads++) {
            weft_options options = {.threads = threads, .seed = 7};
            weft_context *other = NULL;
            assert_int_equal(weft_context_create(&other, &options, NULL), WEFT_OK);
            weft_tensor *t = weft_tensor_create(other, WEFT_F32, WEFT_SHAPE(LARGE));
            weft_status status = kind == 0   ? weft_init_normal(t, 0, 0.5)
                                 : kind == 1 ? weft_init_uniform(t, -1, 1)
                                             : weft_init_trunc_normal(t, 0, 1, -1, 2);
            assert_int_equal(status, WEFT_OK);
            memcpy(threads == 1 ? one : many, weft_tensor_data(t), sizeof(one));
            assert_true(threads == 1 || memcmp(one, many, sizeof(one)) == 0);
            weft_tensor_unref(t);
            weft_context_destroy(other);
        }
        assert_true(one[LARGE - 1] != 0 && one[LARGE - 1] != one[LARGE - 2]);
    }
}

static void initialisers_have_the_moments_they_promise(void **state)
{
    enum { N = 40000 };
    weft_tensor *t = weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(200, 50, 2, 2));
    static const struct {
        int which;
        double std;
    } cases[] = {{0, 0.5},          {1, 0.0721687836}, {2, 0.1},
                 {3, 0.0353553391}, {4, 0.0447213595}, {5, 0.0447213595}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        switch (cases[i].which) {
        case 0: weft_init_normal(t, 0, 0.5); break;
        case 1: weft_init_uniform(t, -0.125, 0.125); break; /* 0.25/sqrt(12) */
        case 2: weft_init_kaiming_normal(t, 0, WEFT_FAN_IN, WEFT_GAIN_RELU); break; /* fan 200 */
        case 3: weft_init_kaiming_uniform(t, 0, WEFT_FAN_OUT, WEFT_GAIN_LINEAR); break; /* 800 */
        case 4: weft_init_xavier_normal(t, 1); break; /* sqrt(2/1000) */
        default: weft_init_xavier_uniform(t, 1); break;
        }
        const double *v = weft_tensor_data(t);
        double sum = 0, squares = 0;
        for (int k = 0; k < N; k++) {
            sum += v[k];
            squares += v[k] * v[k];
        }
        /* standard errors: std/sqrt(N) of the mean, at most std/sqrt(2N) of the deviation */
        double mean = sum / N, std = sqrt(squares / N - mean * mean), want = cases[i].std;
        assert_true(fabs(mean) < 5 * want / sqrt(N));
        assert_true(fabs(std - want) < 5 * want / sqrt(2.0 * N));
    }
    /* cut off at one deviation: sqrt(1 - 2 phi(1)/(2 Phi(1) - 1)) of it is left, uniformly spread
     * errors below 5/sqrt(2 N) */
    assert_int_equal(weft_init_trunc_normal(t, 3, 0.5, 2.5, 3.5), WEFT_OK);
    const double *cut = weft_tensor_data(t);
    double squares = 0;
    for (int k = 0; k < N; k++) {
        assert_true(cut[k] >= 2.5 && cut[k] <= 3.5);
        squares += (cut[k] - 3) * (cut[k] - 3);
    }
    assert_true(fabs(sqrt(squares / N) - 0.5 * 0.539560) < 5 * 0.27 / sqrt(2.0 * N));
    /* a cut that is out of reach: torchvision's, of networks with a deviation of 0.1 */
    assert_int_equal(weft_init_trunc_normal(t, 0, 0.1, -2, 2), WEFT_OK);
    squares = 0;
    for (int k = 0; k < N; k++)
        squares += cut[k] * cut[k];
    assert_true(fabs(sqrt(squares / N) - 0.1) < 5 * 0.1 / sqrt(2.0 * N));
    assert_int_equal(weft_init_trunc_normal(t, 0, 1, 50, 60), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID,
                 "[50, 60] has no values of a normal distribution with mean 0, deviation 1");
    weft_tensor_unref(t);
    weft_tensor *flat = tensor(1);
    assert_int_equal(weft_init_kaiming_uniform(flat, 0, WEFT_FAN_IN, WEFT_GAIN_RELU),
                     WEFT_ERR_SHAPE);
    assert_error(WEFT_ERR_SHAPE, "fans need at least 2");
    weft_tensor_unref(flat);
}

static void skipped_initial_values_are_zero_and_move_no_later_ones(void **state)
{
    weft_options options = {.threads = 1, .seed = 7};
    weft_context *again;
    assert_int_equal(weft_context_create(&again, &options, NULL), WEFT_OK);
    bool was = weft_init_skip_begin(ctx);
    assert_false(was);
    weft_module *skipped = weft_conv2d_create(ctx, 2, 3, 3, NULL);
    weft_module *norm = weft_batch_norm2d_create(ctx, 3, NULL);
    weft_tensor *w = weft_get_parameter(skipped, "weight");
    assert_int_equal(weft_init_trunc_normal(w, 1, 1, 0.5, 2), WEFT_OK);
    assert_true(weft_init_skip_begin(ctx));
    weft_init_skip_end(ctx, true);
    const float *zero = weft_tensor_data(w);
    for (int i = 0; i < 3 * 2 * 3 * 3; i++)
        assert_true(zero[i] == 0);
    assert_true(first(weft_get_parameter(norm, "weight")) == 1); /* nothing is drawn for it */
    weft_init_skip_end(ctx, was);

    weft_module *drawn = weft_conv2d_create(again, 2, 3, 3, NULL);
    weft_init_trunc_normal(weft_get_parameter(drawn, "weight"), 1, 1, 0.5, 2);
    weft_module *a = weft_linear_create(ctx, 9, 9, NULL),
                *b = weft_linear_create(again, 9, 9, NULL);
    assert_memory_equal(weft_tensor_data(weft_get_parameter(a, "weight")),
                        weft_tensor_data(weft_get_parameter(b, "weight")), 81 * sizeof(float));
    weft_module *all[] = {skipped, norm, drawn, a, b};
    for (int i = 0; i < 5; i++)
        weft_module_unref(all[i]);
    weft_context_destroy(again);
}

/* ---- containers ---- */

/* "10 20": the inputs of a container's Linear children, in order. */
static const char *order(weft_module *m)
{
    static char text[64];
    text[0] = '\0';
    for (int i = 0; i < weft_length(m); i++) {
        weft_shape s = weft_tensor_shape(weft_get_parameter(weft_at(m, i), "weight"));
        size_t n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "%s%d", i > 0 ? " " : "", (int)s.dim[1]);
    }
    return text;
}

static weft_module *linear(int in)
{
    return weft_linear_create(ctx, in, 2, NULL);
}

static void sequential_appends_inserts_indexes_and_removes(void **state)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, linear(1), linear(2));
    assert_int_equal(weft_append(m, linear(3)), WEFT_OK);
    assert_int_equal(weft_insert(m, 1, linear(4)), WEFT_OK);
    assert_string_equal(order(m), "1 4 2 3");
    assert_int_equal(weft_insert(m, -1, linear(5)), WEFT_OK);
    assert_string_equal(order(m), "1 4 2 5 3");
    assert_int_equal(weft_insert(m, 5, linear(6)), WEFT_OK);
    assert_string_equal(order(m), "1 4 2 5 3 6");
    assert_int_equal(weft_tensor_shape(weft_get_parameter(m, "3.weight")).dim[1], 5);
    assert_ptr_equal(weft_at(m, -1), weft_at(m, 5));
    assert_int_equal(weft_remove(m, 1), WEFT_OK);
    assert_int_equal(weft_remove(m, -1), WEFT_OK);
    assert_string_equal(order(m), "1 2 5 3");
    assert_null(weft_at(m, 4));
    assert_error(WEFT_ERR_NOT_FOUND, "index 4 is out of range for 4");
    assert_int_equal(weft_insert(m, 5, linear(7)), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "index 5 is out of range for 4");
    assert_int_equal(weft_remove(m, -5), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "index -5 is out of range for 4");
    assert_int_equal(weft_append(m, NULL), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "the module is NULL");
    weft_module *half = WEFT_SEQUENTIAL(ctx, linear(1));
    assert_int_equal(weft_append(half, linear(-1)), WEFT_ERR_INVALID);
    assert_null(
        weft_module_ok(half)); /* what could not be appended fails the list, as a part would */
    assert_error(WEFT_ERR_INVALID, "Linear(-1, 2)");
    assert_null(WEFT_SEQUENTIAL(ctx, linear(1), linear(-1), linear(2)));
    assert_error(WEFT_ERR_INVALID, "Linear(-1, 2)");
    weft_module_unref(m);
}

static void a_sequential_calls_its_children_in_order(void **state)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 4, 7, NULL),
                                     weft_relu_create(ctx), weft_linear_create(ctx, 7, 3, NULL));
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(5, 4));
    weft_tensor *y = weft_call(m, x);
    assert_non_null(y);
    assert_true(weft_shape_equal(weft_tensor_shape(y), WEFT_SHAPE(5, 3)));
    weft_module *empty = weft_sequential_create(ctx, 0, NULL);
    assert_ptr_equal(weft_call(empty, x), x);
    weft_tensor_unref(x);
    weft_module_unref(empty);
    weft_module_unref(m);
}

static void lists_and_dicts_hold_modules_but_have_no_forward(void **state)
{
    weft_module *children[] = {linear(1), linear(2)};
    weft_module *list = weft_module_list_create(ctx, 2, children);
    weft_module *dict = weft_module_dict_create(ctx);
    assert_string_equal(order(list), "1 2");
    assert_int_equal(weft_register_module(dict, "conv", NULL, linear(3)), WEFT_OK);
    assert_int_equal(weft_register_module(dict, "pool", NULL, linear(4)), WEFT_OK);
    assert_int_equal(weft_length(dict), 2);
    assert_non_null(weft_get_module(dict, "pool"));
    assert_int_equal(weft_dict_remove(dict, "conv"), WEFT_OK);
    assert_int_equal(weft_dict_remove(dict, "conv"), WEFT_ERR_NOT_FOUND);
    assert_error(WEFT_ERR_NOT_FOUND, "no module 'conv'");
    assert_int_equal(weft_append(dict, linear(5)), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "ModuleDict is neither");
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(1, 1));
    assert_null(weft_call(list, x));
    assert_error(WEFT_ERR_STATE, "ModuleList has no forward");
    weft_tensor_unref(x);
    weft_module_unref(list);
    weft_module_unref(dict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(texts_are_pytorchs),
        TEST(trees_print_as_pytorchs),
        TEST(equal_neighbours_in_a_list_are_folded),
        TEST(refused_arguments_say_why),
        TEST(linear_and_conv2d_start_as_torchs),
        TEST(batch_norm_starts_with_ones_and_zeros),
        TEST(layers_differ_and_a_seed_repeats_them),
        TEST(initial_values_do_not_depend_on_the_number_of_threads),
        TEST(initialisers_have_the_moments_they_promise),
        TEST(skipped_initial_values_are_zero_and_move_no_later_ones),
        TEST(sequential_appends_inserts_indexes_and_removes),
        TEST(a_sequential_calls_its_children_in_order),
        TEST(lists_and_dicts_hold_modules_but_have_no_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
