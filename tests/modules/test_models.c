/* The model zoo: names, part names, sizes. */
#include <math.h>

#include "tests/modules/fixture.h"

static void an_unknown_model_lists_the_known_ones(void **state)
{
    assert_null(weft_model_create(ctx, "resnet", NULL));
    assert_error(WEFT_ERR_NOT_FOUND, "unknown model 'resnet'; the models are: fmnist_cnn, lenet");
    assert_null(weft_model_find("resnet"));
    assert_int_equal(weft_model_find("lenet")->defaults.num_classes, 10);
}

/* ---- every model ---- */

/* Without initial values: shapes and counts do not depend on them. */
static weft_module *create_empty(const char *name, const weft_model_opts *opts)
{
    bool was = weft_init_skip_begin(ctx);
    weft_module *m = weft_model_create(ctx, name, opts);
    weft_init_skip_end(ctx, was);
    if (m == NULL)
        fail_msg("%s", weft_error_text(ctx));
    return m;
}

static double gmacs_of(weft_module *m, const weft_model_opts *o)
{
    weft_totals totals;
    if (weft_module_totals(m, WEFT_SHAPE(1, o->in_channels, o->height, o->width), &totals))
        fail_msg("%s", weft_error_text(ctx));
    return (double)totals.macs * 1e-9;
}

/* Of the default image and number of classes. torchvision's where it has the network; the others
 * by hand. */
static const struct {
    const char *model;
    int64_t parameters;
    double gmacs; /* to three decimals */
    weft_model_arg arg;
} published[] = {
    /* clang-format off */
    {"fmnist_cnn", 104426, 0.007, {0}},
    {"lenet", 61706, 0.000, {0}},
    {"resnet18", 11689512, 1.814, {0}},
    {"resnet34", 21797672, 3.664, {0}},
    {"resnet50", 25557032, 4.089, {0}},
    {"resnet101", 44549160, 7.801, {0}},
    {"wide_resnet50_2", 68883240, 11.398, {0}},
    {"resnext50_32x4d", 25028904, 4.230, {0}},
    {"cifar_resnet18", 11173962, 0.555, {0}},
    {"cifar_resnet20", 272474, 0.041, {0}},
    {"cifar_resnet56", 855770, 0.126, {0}},
    {"alexnet", 61100840, 0.714, {0}},
    {"vgg11", 132863336, 7.609, {0}},
    {"vgg13", 133047848, 11.308, {0}},
    {"vgg16", 138357544, 15.470, {0}},
    {"vgg19", 143667240, 19.632, {0}},
    {"vgg11_bn", 132868840, 7.609, {0}},
    {"vgg13_bn", 133053736, 11.308, {0}},
    {"vgg16_bn", 138365992, 15.470, {0}},
    {"vgg19_bn", 143678248, 19.632, {0}},
    {"squeezenet1_1", 1235496, 0.349, {0}},
    {"mobilenet_v2", 3504872, 0.301, {0}},
    {"mobilenet_v2", 6108776, 0.582, {"width_mult", "1.4"}},
    {"mobilenet_v3_small", 2542856, 0.057, {0}},
    {"mobilenet_v3_large", 5483032, 0.217, {0}},
    {"densenet121", 7978856, 2.834, {0}},
    {"densenet169", 14149480, 3.360, {0}},
    {"shufflenet_v2_x1_0", 2278604, 0.145, {0}},
    {"efficientnet_b0", 5288548, 0.386, {0}},
    {"googlenet", 6624904, 1.498, {0}},
    {"googlenet", 13004888, 1.498, {"aux_logits", "true"}},
    {"inception_v3", 23834568, 5.713, {0}},
    {"inception_v3", 27161264, 5.713, {"aux_logits", "true"}},
    /* clang-format on */
};
enum { PUBLISHED = sizeof(published) / sizeof(published[0]) };

static void every_model_is_as_large_as_published(void **state)
{
    int n;
    const weft_model_info *infos = weft_models(&n);
    for (int i = 0; i < n; i++) {
        int rows = 0;
        for (int k = 0; k < PUBLISHED; k++) {
            if (strcmp(published[k].model, infos[i].name) != 0)
                continue;
            weft_model_opts opts = infos[i].defaults;
            opts.args = &published[k].arg;
            opts.n_args = published[k].arg.key != NULL;
            weft_module *m = create_empty(infos[i].name, &opts);
            int64_t parameters = weft_parameter_count(m, false);
            double gmacs = gmacs_of(m, &opts);
            if (parameters != published[k].parameters || fabs(gmacs - published[k].gmacs) > 0.0005)
                fail_msg("%s: %lld parameters, %.6f GMACs; published: %lld, %.3f", infos[i].name,
                         (long long)parameters, gmacs, (long long)published[k].parameters,
                         published[k].gmacs);
            weft_module_unref(m);
            rows++;
        }
        if (rows == 0)
            fail_msg("%s: nothing published", infos[i].name);
    }
}

/* Whether m takes images of (2, 2, h, w) and gives (2, 3). */
static bool runs_on(weft_module *m, int h, int w)
{
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 2, h, w));
    weft_tensor *y = weft_call(m, x);
    bool fits = y != NULL && weft_shape_equal(weft_tensor_shape(y), WEFT_SHAPE(2, 3));
    weft_tensor_unref(x);
    return fits;
}

static void every_model_takes_the_smallest_image_it_states_and_none_smaller(void **state)
{
    int n;
    const weft_model_info *infos = weft_models(&n);
    for (int i = 0; i < n; i++) {
        int h = infos[i].smallest, w = h + 1;
        weft_model_opts opts = {.num_classes = 3, .in_channels = 2, .height = h, .width = w};
        weft_module *m = create_empty(infos[i].name, &opts);
        if (!runs_on(m, h, w))
            fail_msg("%s: %s", infos[i].name, weft_error_text(ctx));
        opts.height--;
        if (h > 1) {
            if (runs_on(m, opts.height, w))
                fail_msg("%s takes images of %dx%d", infos[i].name, opts.height, w);
            weft_error_clear(ctx);
            assert_null(weft_model_create(ctx, infos[i].name, &opts));
            assert_error(WEFT_ERR_SHAPE, "are too small; it needs at least");
        }
        weft_module_unref(m);
    }
}

/* The standard deviation of a parameter's initial values, and their mean 0. A uniform
 * distribution's is its reach over sqrt(3); biases with 0 are zero. */
static const struct {
    const char *model, *parameter;
    double deviation;
    weft_model_arg arg;
} initial[] = {
    {"mobilenet_v2", "features.18.0.weight", 0.0395285}, /* sqrt(2/1280): He, fan out */
    {"mobilenet_v2", "classifier.1.weight", 0.01},
    {"mobilenet_v2", "classifier.1.bias", 0},
    {"mobilenet_v3_small", "features.4.block.2.fc1.bias", 0},
    {"densenet121", "features.denseblock1.denselayer1.conv1.weight", 0.176777}, /* sqrt(2/64) */
    {"densenet121", "classifier.weight", 0.0180422},                            /* 1/sqrt(3*1024) */
    {"densenet121", "classifier.bias", 0},
    {"shufflenet_v2_x1_0", "conv5.0.weight", 0.0268028}, /* 1/sqrt(3*464) */
    {"shufflenet_v2_x1_0", "fc.weight", 0.0180422},
    {"efficientnet_b0", "features.8.0.weight", 0.0395285},
    {"efficientnet_b0", "classifier.1.weight", 0.0182574}, /* 1/sqrt(3*1000) */
    {"efficientnet_b0", "classifier.1.bias", 0},
    {"squeezenet1_1", "features.3.expand3x3.weight", 0.117851}, /* sqrt(2/(16*9)): He, fan in */
    {"squeezenet1_1", "features.3.expand3x3.bias", 0},
    {"squeezenet1_1", "classifier.1.weight", 0.01},
    {"squeezenet1_1", "classifier.1.bias", 0},
    {"googlenet", "inception3a.branch2.1.conv.weight", 0.01, {"aux_logits", "true"}},
    {"googlenet", "aux1.fc1.weight", 0.01, {"aux_logits", "true"}},
    {"googlenet", "aux1.fc1.bias", 0.0127578, {"aux_logits", "true"}}, /* 1/sqrt(3*2048) */
    {"googlenet", "fc.weight", 0.01, {"aux_logits", "true"}},
    {"inception_v3", "Mixed_5b.branch1x1.conv.weight", 0.1, {"aux_logits", "true"}},
    {"inception_v3", "AuxLogits.conv1.conv.weight", 0.1, {"aux_logits", "true"}},
    {"inception_v3", "AuxLogits.fc.weight", 0.001, {"aux_logits", "true"}},
    {"inception_v3", "fc.weight", 0.1, {"aux_logits", "true"}},
    {"inception_v3", "fc.bias", 0.0127578, {"aux_logits", "true"}},
};

static void initial_values_are_torchvisions(void **state)
{
    weft_module *m = NULL;
    const char *made = "";
    for (size_t i = 0; i < sizeof(initial) / sizeof(initial[0]); i++) {
        if (strcmp(made, initial[i].model) != 0) {
            weft_module_unref(m);
            weft_model_opts opts = {.args = &initial[i].arg, .n_args = initial[i].arg.key != NULL};
            m = weft_model_create(ctx, made = initial[i].model, &opts);
        }
        weft_tensor *t = weft_get_parameter(m, initial[i].parameter);
        assert_non_null(t);
        const int64_t n = weft_shape_count(weft_tensor_shape(t));
        const float *x = weft_tensor_data(t);
        double sum = 0, squares = 0;
        for (int64_t k = 0; k < n; k++) {
            sum += (double)x[k];
            squares += (double)x[k] * (double)x[k];
        }
        const double want = initial[i].deviation, got = sqrt(squares / (double)n);
        /* five standard errors: want/sqrt(n) of the mean, at most
         * want/sqrt(2 n) of the deviation */
        if (!(fabs(got - want) <= 5 * want / sqrt(2 * (double)n) + 1e-6 * want) ||
            !(fabs(sum / (double)n) <= 5 * want / sqrt((double)n)))
            fail_msg("%s %s: mean %g, deviation %g, expected 0, %g", initial[i].model,
                     initial[i].parameter, sum / (double)n, got, want);
    }
    weft_module_unref(m);
}

static void images_that_are_too_small_are_an_error(void **state)
{
    assert_null(weft_model_create(ctx, "fmnist_cnn", &(weft_model_opts){.height = 7, .width = 40}));
    assert_error(WEFT_ERR_SHAPE, "fmnist_cnn: images of 7x40 are too small; it needs at least 8x8");
    assert_null(weft_model_create(ctx, "lenet", &(weft_model_opts){.height = 40, .width = 11}));
    assert_error(WEFT_ERR_SHAPE, "lenet: images of 40x11 are too small; it needs at least 12x12");
    assert_null(weft_model_create(ctx, "lenet", &(weft_model_opts){.height = -1}));
    assert_error(WEFT_ERR_INVALID, "must be at least 1");
}

static void what_an_option_cannot_be_is_an_error(void **state)
{
    static const struct {
        const char *model;
        weft_model_arg arg;
        int channels, size;
        weft_status status;
        const char *text;
    } cases[] = {
        {"vgg11",
         {"aux_logits", "true"},
         3,
         32,
         WEFT_ERR_INVALID,
         "vgg11: has no option 'aux_logits'; its options: dropout"},
        {"lenet", {"dropout", "0"}, 3, 32, WEFT_ERR_INVALID, "its options: none"},
        {"alexnet", {"dropout", "1"}, 3, 64, WEFT_ERR_INVALID, "dropout: '1' is not a number"},
        {"vgg11", {"dropout", "x"}, 3, 32, WEFT_ERR_INVALID, "dropout: 'x' is not a number"},
        {"squeezenet1_1", {"dropout", "-0.1"}, 3, 32, WEFT_ERR_INVALID, "dropout: '-0.1' is not"},
        {"googlenet",
         {"aux_logits", "maybe"},
         3,
         32,
         WEFT_ERR_INVALID,
         "aux_logits: 'maybe' is neither true nor false"},
        {"googlenet",
         {"transform_input", "true"},
         1,
         32,
         WEFT_ERR_INVALID,
         "transform_input: images have 1 channels, not 3"},
        {"inception_v3",
         {"aux_logits", "true"},
         3,
         298,
         WEFT_ERR_SHAPE,
         "inception_v3: images of 298x298 are too small for aux_logits, which needs at least "
         "299x299"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_model_opts opts = {.num_classes = 3,
                                .in_channels = cases[i].channels,
                                .height = cases[i].size,
                                .width = cases[i].size,
                                .args = &cases[i].arg,
                                .n_args = 1};
        bool was = weft_init_skip_begin(ctx);
        assert_null(weft_model_create(ctx, cases[i].model, &opts));
        weft_init_skip_end(ctx, was);
        assert_error(cases[i].status, cases[i].text);
    }
}

/* ---- one of them ---- */

/* The place of a name in m's state; -1: it is not there. */
static int place_of(weft_module *m, const char *name)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_state_dict(m, &list), WEFT_OK);
    int place = list.n - 1;
    while (place >= 0 && strcmp(list.item[place].name, name) != 0)
        place--;
    weft_tensor_list_done(&list);
    return place;
}

static void auxiliary_classifiers_have_their_place_in_the_state(void **state)
{
    static const struct {
        const char *model, *before, *first, *last, *after;
    } cases[] = {
        {"googlenet", "inception5b.branch4.1.bn.num_batches_tracked", "aux1.conv.conv.weight",
         "aux2.fc2.bias", "fc.weight"},
        {"inception_v3", "Mixed_6e.branch_pool.bn.num_batches_tracked",
         "AuxLogits.conv0.conv.weight", "AuxLogits.fc.bias", "Mixed_7a.branch3x3_1.conv.weight"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_model_arg arg = {"aux_logits", "true"};
        weft_module *with =
            create_empty(cases[i].model, &(weft_model_opts){.args = &arg, .n_args = 1});
        weft_module *without = create_empty(cases[i].model, NULL);
        int first = place_of(with, cases[i].first), last = place_of(with, cases[i].last);
        assert_true(first > 0 && last > first);
        assert_int_equal(place_of(with, cases[i].before), first - 1);
        assert_int_equal(place_of(with, cases[i].after), last + 1);
        assert_int_equal(place_of(without, cases[i].before), first - 1);
        assert_int_equal(place_of(without, cases[i].after), first);
        weft_module_unref(with);
        weft_module_unref(without);
    }
}

static weft_status keep_input(void *user, weft_module *m, int n_in, weft_tensor **in)
{
    *(weft_tensor **)user = weft_keep(in[0]);
    return WEFT_OK;
}

enum { TRANSFORMED = 3 * 15 * 15 };

/* The image (1, 3, 15, 15) that a googlenet's first convolution gets. */
static void first_input(weft_module *m, weft_dtype dtype, const double *image, double *got)
{
    float f[TRANSFORMED];
    weft_tensor *seen = NULL, *x = weft_tensor_create(ctx, dtype, WEFT_SHAPE(1, 3, 15, 15));
    for (int i = 0; i < TRANSFORMED; i++) {
        if (dtype == WEFT_F64)
            ((double *)weft_tensor_data(x))[i] = image[i];
        else
            ((float *)weft_tensor_data(x))[i] = (float)image[i];
    }
    weft_module *conv1 = weft_get_module(m, "conv1");
    uint64_t hook = weft_register_forward_pre_hook(conv1, keep_input, &seen, 0);
    assert_non_null(weft_call(m, x));
    weft_hook_remove(conv1, hook);
    void *to = dtype == WEFT_F64 ? (void *)got : f;
    assert_int_equal(weft_read(seen, to, TRANSFORMED * weft_dtype_size(dtype)), WEFT_OK);
    for (int i = 0; dtype == WEFT_F32 && i < TRANSFORMED; i++)
        got[i] = (double)f[i];
    weft_tensor_unref(seen);
    weft_tensor_unref(x);
}

/* transform_input: images of ImageNet's mean and deviation become ones of 0.5 and 0.5. */
static void a_transformed_input_is_the_image_normalised_otherwise(void **state)
{
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    static const weft_dtype dtypes[] = {WEFT_F32, WEFT_F64, WEFT_F32};
    weft_model_arg arg = {"transform_input", "true"};
    weft_module *m = create_empty(
        "googlenet", &(weft_model_opts){.height = 15, .width = 15, .args = &arg, .n_args = 1});
    assert_int_equal(place_of(m, "conv1.conv.weight"), 0); /* the numbers are not state */
    weft_module_eval(m);
    for (int d = 0; d < 3; d++) {
        double image[TRANSFORMED], got[TRANSFORMED];
        for (int i = 0; i < TRANSFORMED; i++)
            image[i] = (i * 37 % 101) / 25.0 - 2;
        assert_int_equal(weft_module_to(m, dtypes[d]), WEFT_OK);
        first_input(m, dtypes[d], image, got);
        for (int i = 0; i < TRANSFORMED; i++) {
            int c = i / (15 * 15);
            double scaled = image[i] * std[c] / 0.5, want = scaled + (mean[c] - 0.5) / 0.5;
            /* three rounded numbers, a product and a sum */
            double eps = dtypes[d] == WEFT_F64 ? 0x1p-53 : 0x1p-24;
            if (!(fabs(got[i] - want) <= 4 * eps * (fabs(scaled) + fabs(want) + 0.2)))
                fail_msg("%s: element %d is %.17g, not %.17g", weft_dtype_name(dtypes[d]), i,
                         got[i], want);
        }
    }
    weft_module_unref(m);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unknown_model_lists_the_known_ones),
        TEST(every_model_is_as_large_as_published),
        TEST(every_model_takes_the_smallest_image_it_states_and_none_smaller),
        TEST(initial_values_are_torchvisions),
        TEST(images_that_are_too_small_are_an_error),
        TEST(what_an_option_cannot_be_is_an_error),
        TEST(auxiliary_classifiers_have_their_place_in_the_state),
        TEST(a_transformed_input_is_the_image_normalised_otherwise),
        TEST(fmnist_cnn_is_torch_models_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
