/* The table of a network's layers and its totals. */
#include <stdio.h>

#include "tests/modules/fixture.h"
#include "weft/models.h"

static char text[8192];

static weft_status summarise(weft_module *m, weft_shape input, int depth)
{
    memset(text, 0, sizeof(text));
    FILE *f = fmemopen(text, sizeof(text), "w");
    weft_status status =
        weft_module_summary_with(m, input, &(weft_summary_opts){.depth = depth}, f);
    fclose(f);
    return status;
}

#define assert_text(want)                                                                          \
    do {                                                                                           \
        if (strcmp(text, want) != 0)                                                               \
            fail_msg("%s\nis not\n%s", text, want);                                                \
    } while (0)

/* A list that is never called itself, a layer that is called three times, one that never is, and a
 * scale of its own. */
typedef struct odd {
    weft_module base;
    weft_module *twice, *list, *spare, *last;
    weft_tensor *scale;
} odd;

static weft_tensor *odd_forward(weft_module *m, weft_tensor *x)
{
    odd *self = (odd *)m;
    x = weft_call(self->twice, weft_call(self->twice, x));
    for (int i = 0; i < 2; i++)
        x = weft_call(weft_at(self->list, i), x);
    return weft_call(self->last, weft_mul(x, self->scale));
}

static void odd_init(weft_module *m, const void *args)
{
    odd *self = (odd *)m;
    weft_register_parameter(m, "scale", &self->scale,
                            weft_tensor_full(m->ctx, WEFT_F32, WEFT_SHAPE(4), 1));
    weft_register_module(m, "twice", &self->twice, weft_linear_create(m->ctx, 4, 4, NULL));
    weft_register_module(m, "list", &self->list, weft_module_list_create(m->ctx, 0, NULL));
    weft_append(self->list, WEFT_SEQUENTIAL(m->ctx, weft_linear_create(m->ctx, 4, 4, NULL),
                                            weft_relu_create(m->ctx)));
    weft_append(self->list, weft_module_ref(self->twice));
    weft_register_module(m, "spare", &self->spare,
                         WEFT_SEQUENTIAL(m->ctx, weft_linear_create(m->ctx, 4, 1000, NULL)));
    weft_register_module(m, "last", &self->last, weft_linear_create(m->ctx, 4, 2, NULL));
}

static const weft_module_class odd_class = {
    .name = "Odd", .size = sizeof(odd), .init = odd_init, .forward = odd_forward};

static void the_table_shows_every_call_and_what_is_not_called(void **state)
{
    weft_module *m = weft_module_create(ctx, &odd_class, NULL);
    assert_int_equal(weft_module_freeze(m, "list.0", NULL), WEFT_OK);
    assert_int_equal(summarise(m, WEFT_SHAPE(3, 4), 3), WEFT_OK);
    assert_text("==============================================================================\n"
                "Layer (name): depth-index    Input Shape  Output Shape      Param #  Mult-Adds\n"
                "==============================================================================\n"
                "Odd                          [3, 4]       [3, 2]                  4         --\n"
                "├─Linear (twice): 1-1        [3, 4]       [3, 4]                 20         48\n"
                "├─Linear (twice): 1-2        [3, 4]       [3, 4]        (recursive)         48\n"
                "├─ModuleList (list): 1-3     --           --                     --         --\n"
                "│    └─Sequential (0): 2-1   [3, 4]       [3, 4]                 --         --\n"
                "│    │    └─Linear (0): 3-1  [3, 4]       [3, 4]               (20)         48\n"
                "│    │    └─ReLU (1): 3-2    [3, 4]       [3, 4]                 --         --\n"
                "├─Linear (twice): 1-4        [3, 4]       [3, 4]        (recursive)         48\n"
                "├─Linear (last): 1-5         [3, 4]       [3, 2]                 10         24\n"
                "├─Sequential (spare): 1-6    --           (not called)        5,000         --\n"
                "==============================================================================\n"
                "Total params: 5,054\n"
                "Trainable params: 5,034\n"
                "Non-trainable params: 20\n"
                "Total mult-adds (M): 0.00\n"
                "==============================================================================\n"
                "Input size (MB): 0.00\n"
                "Forward/backward pass size (MB): 0.00\n"
                "Params size (MB): 0.02\n"
                "Estimated total size (MB): 0.02\n"
                "==============================================================================\n");
    weft_module_unref(m);
}

static void depth_folds_what_lies_deeper(void **state)
{
    weft_module *m = weft_module_create(ctx, &odd_class, NULL);
    assert_int_equal(summarise(m, WEFT_SHAPE(3, 4), 0), WEFT_OK); /* the network alone */
    assert_non_null(strstr(text, "Odd "));
    assert_null(strstr(text, "1-1"));
    assert_int_equal(summarise(m, WEFT_SHAPE(3, 4), 1), WEFT_OK);
    static const char row[] =
        "├─ModuleList (list): 1-3   --           --                     20         48";
    static const char totals[] = "Total params: 5,054\n";
    if (strstr(text, row) == NULL || strstr(text, totals) == NULL || strstr(text, "2-1") != NULL)
        fail_msg("%s", text);
    weft_module_unref(m);
}

/* torchinfo's figures for torchvision's models. */
static void totals_are_the_published_ones(void **state)
{
    static const struct {
        const char *model;
        int64_t parameters, macs;
        double input, activations, weights; /* MB */
    } cases[] = {
        {"resnet18", 11689512, 1814073344, 0.60, 39.75, 46.76},
        {"resnet50", 25557032, 4089184256, 0.60, 177.83, 102.23},
        {"vgg16", 138357544, 15470264320, 0.60, 108.45, 553.43},
    };
    bool was = weft_init_skip_begin(ctx);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_totals t;
        weft_module *m = weft_model_create(ctx, cases[i].model, NULL);
        assert_int_equal(weft_module_totals(m, WEFT_SHAPE(1, 3, 224, 224), &t), WEFT_OK);
        assert_int_equal(t.parameters, cases[i].parameters);
        assert_int_equal(t.trainable, cases[i].parameters);
        assert_int_equal(t.macs, cases[i].macs);
        const double mb[] = {(double)t.input_bytes, (double)t.activation_bytes,
                             (double)t.parameter_bytes};
        const double want[] = {cases[i].input, cases[i].activations, cases[i].weights};
        for (int k = 0; k < 3; k++)
            if (mb[k] * 1e-6 < want[k] - 0.005 || mb[k] * 1e-6 > want[k] + 0.005)
                fail_msg("%s: %g MB, not %g", cases[i].model, mb[k] * 1e-6, want[k]);
        weft_module_unref(m);
    }
    weft_init_skip_end(ctx, was);
}

static void a_summary_leaves_the_network_as_it_was(void **state)
{
    weft_module *m = weft_model_create(ctx, "fmnist_cnn", NULL);
    weft_module_eval(weft_get_module(m, "bn2"));
    weft_totals one, many;
    assert_int_equal(weft_module_totals(m, WEFT_SHAPE(1, 1, 28, 28), &one), WEFT_OK);
    assert_int_equal(weft_module_totals(m, WEFT_SHAPE(64, 1, 28, 28), &many), WEFT_OK);
    /* conv1: 28*28 pixels * 32 * 9; conv2: 14*14 * 64 * 32*9; conv3: 7*7 * 128 * 64*9; fc: 10 *
     * 1152. */
    assert_int_equal(one.macs, 225792 + 3612672 + 3612672 + 11520);
    assert_int_equal(many.macs, 64 * one.macs);
    assert_int_equal(many.parameters, one.parameters);
    assert_true(m->training && !weft_get_module(m, "bn2")->training);
    assert_true(weft_get_module(m, "bn1")->training);
    assert_true(weft_item(weft_get_buffer(m, "bn1.num_batches_tracked")) == 0);
    assert_int_equal(weft_module_to(m, WEFT_F64), WEFT_OK);
    assert_int_equal(weft_module_totals(m, WEFT_SHAPE(64, 1, 28, 28), &one), WEFT_OK);
    assert_int_equal(one.parameter_bytes, 2 * many.parameter_bytes);
    assert_int_equal(one.activation_bytes, 2 * many.activation_bytes);
    weft_module_unref(m);
}

static void the_summary_of_a_wrong_input_is_an_error_with_the_path(void **state)
{
    weft_module *m = WEFT_SEQUENTIAL(ctx, weft_linear_create(ctx, 4, 3, NULL),
                                     weft_linear_create(ctx, 9, 2, NULL));
    assert_int_equal(summarise(m, WEFT_SHAPE(1, 4), 0), WEFT_ERR_SHAPE);
    assert_error(WEFT_ERR_SHAPE, "1: linear: ");
    assert_text("");
    assert_true(m->training && weft_at(m, 1)->training);
    assert_int_equal(summarise(m, WEFT_SHAPE(1, 4), -1), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "depth -1");
    weft_module_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_table_shows_every_call_and_what_is_not_called),
        TEST(depth_folds_what_lies_deeper),
        TEST(totals_are_the_published_ones),
        TEST(a_summary_leaves_the_network_as_it_was),
        TEST(the_summary_of_a_wrong_input_is_an_error_with_the_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
