/* Parameters frozen by pattern, and the layers that fine-tuning replaces. */
#include <stdio.h>

#include "tests/modules/fixture.h"
#include "weft/models.h"

/* The names of the parameters that do not require a gradient. */
static const char *frozen(weft_module *m, char *text, size_t size)
{
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT, still = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(m, 0, &all), WEFT_OK);
    for (int i = 0; i < all.n; i++)
        if (!weft_requires_grad(all.item[i].tensor))
            weft_tensor_list_add(&still, all.item[i].name, all.item[i].tensor);
    names(&still, text, size);
    weft_tensor_list_done(&all);
    weft_tensor_list_done(&still);
    return text;
}

static void patterns_freeze_what_they_name(void **state)
{
    static const struct {
        const char *pattern, *frozen;
        int n;
    } cases[] = {
        {"w", "w", 1},
        {"left", "left.w left.deep.w", 2},
        {"left.*", "left.w left.deep.w", 2},
        {"left.w", "left.w", 1},
        {"*.w", "left.w left.deep.w right.w", 3},
        {"*", "w left.w left.deep.w right.w", 4},
        {"[rx]ight", "right.w", 1},
        {"?eft.deep", "left.deep.w", 1},
        {"*deep", "left.deep.w", 1},
        {"lef", "", 0},
        {"b", "", 0}, /* a buffer */
        {"", "", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_module *m = tree();
        char text[128];
        int n = -1;
        assert_int_equal(weft_module_freeze(m, cases[i].pattern, &n), WEFT_OK);
        assert_string_equal(frozen(m, text, sizeof(text)), cases[i].frozen);
        assert_int_equal(n, cases[i].n);
        assert_int_equal(weft_module_freeze(m, cases[i].pattern, NULL), WEFT_OK);
        weft_module_unref(m);
    }
    weft_module *m = tree();
    assert_int_equal(weft_module_freeze(m, NULL, NULL), WEFT_ERR_INVALID);
    assert_error(WEFT_ERR_INVALID, "no pattern");
    weft_module_unref(m);
}

static void a_shared_parameter_is_frozen_by_any_of_its_names(void **state)
{
    weft_module *m = tree();
    weft_register_parameter(m, "tied", NULL, weft_tensor_ref(weft_get_parameter(m, "left.w")));
    char text[64];
    assert_int_equal(weft_module_freeze(m, "left", NULL), WEFT_OK);
    assert_string_equal(frozen(m, text, sizeof(text)), "tied left.deep.w");
    weft_module_unref(m);
}

/* The head's weight has as many rows as there are classes, whatever the model. */
static void every_model_has_a_head(void **state)
{
    int n;
    const weft_model_info *infos = weft_models(&n);
    bool was = weft_init_skip_begin(ctx);
    for (int i = 0; i < n; i++) {
        weft_model_opts opts = {.num_classes = 37};
        weft_named_modules heads = WEFT_NAMED_MODULES_INIT;
        weft_module *m = weft_model_create(ctx, infos[i].name, &opts);
        assert_non_null(m);
        assert_int_equal(weft_model_heads(m, infos[i].name, &heads), WEFT_OK);
        assert_int_equal(heads.n, 1);
        weft_tensor *weight = weft_get_parameter(heads.item[0].module, "weight");
        assert_int_equal(weft_tensor_shape(weight).dim[0], 37);
        assert_ptr_equal(weft_get_module(m, heads.item[0].name), heads.item[0].module);
        weft_named_modules_done(&heads);
        weft_module_unref(m);
    }
    weft_init_skip_end(ctx, was);
}

static void heads_of_an_unknown_model_are_an_error(void **state)
{
    weft_module *m = tree();
    weft_named_modules heads = WEFT_NAMED_MODULES_INIT;
    assert_int_equal(weft_model_heads(m, "no_such", &heads), WEFT_ERR_NOT_FOUND);
    assert_error(WEFT_ERR_NOT_FOUND, "unknown model 'no_such'");
    /* A network without a layer of the kind has none. */
    assert_int_equal(weft_model_heads(m, "lenet", &heads), WEFT_OK);
    assert_int_equal(heads.n, 0);
    weft_module_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(patterns_freeze_what_they_name),
        TEST(a_shared_parameter_is_frozen_by_any_of_its_names),
        TEST(every_model_has_a_head),
        TEST(heads_of_an_unknown_model_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
