/* The model zoo: names, part names, sizes, summaries. */
#include <stdio.h>

#include "tests/modules/fixture.h"

static void an_unknown_model_lists_the_known_ones(void **state)
{
    assert_null(weft_model_create(ctx, "resnet", NULL));
    assert_error(WEFT_ERR_NOT_FOUND, "unknown model 'resnet'; the models are: fmnist_cnn, lenet");
    assert_null(weft_model_find("resnet"));
    assert_int_equal(weft_model_find("lenet")->defaults.num_classes, 10);
}

static void every_model_runs_on_its_default_input(void **state)
{
    int n;
    const weft_model_info *infos = weft_models(&n);
    for (int i = 0; i < n; i++) {
        const weft_model_opts *d = &infos[i].defaults;
        weft_module *m = weft_model_create(ctx, infos[i].name, NULL);
        assert_non_null(m);
        weft_tensor *x =
            weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, d->in_channels, d->height, d->width));
        weft_tensor *y = weft_call(m, x);
        assert_non_null(y);
        assert_true(weft_shape_equal(weft_tensor_shape(y), WEFT_SHAPE(2, d->num_classes)));
        weft_tensor_unref(x);
        weft_module_unref(m);
    }
}

static void fmnist_cnn_is_torch_models_twin(void **state)
{
    weft_module *m = weft_model_create(ctx, "fmnist_cnn", NULL);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    char text[1024];
    assert_int_equal(weft_state_dict(m, &list), WEFT_OK);
    assert_string_equal(
        names(&list, text, sizeof(text)),
        "conv1.weight bn1.weight bn1.bias bn1.running_mean bn1.running_var bn1.num_batches_tracked "
        "conv2.weight bn2.weight bn2.bias bn2.running_mean bn2.running_var bn2.num_batches_tracked "
        "conv3.weight bn3.weight bn3.bias bn3.running_mean bn3.running_var bn3.num_batches_tracked "
        "fc.weight fc.bias");
    assert_int_equal(weft_parameter_count(m, false), 104426);
    weft_tensor_list_done(&list);
    weft_module_unref(m);
}

static void options_change_the_size(void **state)
{
    weft_model_opts opts = {.num_classes = 7, .in_channels = 3, .height = 32, .width = 40};
    int n;
    const weft_model_info *infos = weft_models(&n);
    for (int i = 0; i < n; i++) {
        weft_module *m = weft_model_create(ctx, infos[i].name, &opts);
        weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(1, 3, 32, 40));
        weft_tensor *y = weft_call(m, x);
        assert_non_null(y);
        assert_int_equal(weft_tensor_shape(y).dim[1], 7);
        weft_tensor_unref(x);
        weft_module_unref(m);
    }
    opts.height = 7;
    assert_null(weft_model_create(ctx, "fmnist_cnn", &opts));
    assert_error(WEFT_ERR_SHAPE, "fmnist_cnn: images of 7x40 are too small; it needs at least 8x8");
    opts.height = -1;
    assert_null(weft_model_create(ctx, "lenet", &opts));
    assert_error(WEFT_ERR_INVALID, "must be at least 1");
}

static void the_summary_counts_parameters_and_multiply_adds(void **state)
{
    char text[4096] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");
    weft_module *m = weft_model_create(ctx, "fmnist_cnn", NULL);
    assert_int_equal(weft_module_summary(m, WEFT_SHAPE(64, 1, 28, 28), f), WEFT_OK);
    fclose(f);
    /* conv1: 64*28*28 pixels * 32 * 9; conv2: 64*14*14 * 64 * 32*9; conv3: 64*7*7 * 128 * 64*9;
     * fc: 64 * 10 * 1152; together 0.477610 G. */
    static const char *const parts[] = {"FashionMnistCnn, input [64, 1, 28, 28]",
                                        "[64, 32, 28, 28]",
                                        "[64, 10]",
                                        "104,426",
                                        "0.014451",
                                        "0.231211",
                                        "0.000737",
                                        "0.477610"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strstr(text, parts[i]) == NULL)
            fail_msg("no \"%s\" in:\n%s", parts[i], text);
    }
    assert_true(m->training);
    assert_true(weft_item(weft_get_buffer(m, "bn1.num_batches_tracked")) == 0);
    weft_module_unref(m);
}

static void the_summary_of_a_wrong_input_is_an_error_with_the_path(void **state)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 4, 3, NULL),
                                     weft_linear_create(ctx, 9, 2, NULL));
    char text[256] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");
    assert_int_equal(weft_module_summary(m, WEFT_SHAPE(1, 4), f), WEFT_ERR_SHAPE);
    fclose(f);
    assert_error(WEFT_ERR_SHAPE, "1: linear: ");
    assert_string_equal(text, "");
    assert_true(m->training && weft_at(m, 1)->training);
    weft_module_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unknown_model_lists_the_known_ones),
        TEST(every_model_runs_on_its_default_input),
        TEST(fmnist_cnn_is_torch_models_twin),
        TEST(options_change_the_size),
        TEST(the_summary_counts_parameters_and_multiply_adds),
        TEST(the_summary_of_a_wrong_input_is_an_error_with_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
