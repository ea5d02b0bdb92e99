/* Files of states: what is saved comes back, what does not fit is told whole, half precision and
 * wider types, values that are no numbers, versions. */
#include <math.h>
#include <stdio.h>

#include "tests/modules/state.h"
#include "tests/scratch.h"

static void a_file_gives_back_what_was_saved(void **state)
{
    weft_module *a = net(), *b = net();
    weft_tensor_list from = state_of(a), to = state_of(b);
    number(&from, 3);
    assert_int_equal(weft_module_save(a, scratch_file), WEFT_OK);
    assert_int_equal(weft_module_load(b, scratch_file, true), WEFT_OK);
    assert_same_values(&from, &to);
    weft_module *other = weft_linear_create(ctx, 2, 2, NULL);
    assert_int_equal(weft_module_load(other, scratch_file, true), WEFT_ERR_NOT_FOUND);
    assert_string_equal(strstr(weft_error_text(ctx), " does not fit"),
                        " does not fit Linear, nothing was loaded: 2 missing, 9 unexpected\n"
                        "  missing     bias\n"
                        "  missing     weight\n"
                        "  unexpected  0.bias\n"
                        "  unexpected  0.weight\n"
                        "  unexpected  1.bias\n"
                        "  unexpected  1.num_batches_tracked\n"
                        "  unexpected  1.running_mean\n"
                        "  unexpected  1.running_var\n"
                        "  unexpected  1.weight\n"
                        "  unexpected  3.bias\n"
                        "  unexpected  3.weight");
    assert_error(WEFT_ERR_NOT_FOUND, scratch_file);
    weft_status status = weft_module_load(a, "/nonexistent/file", true);
    assert_int_not_equal(status, WEFT_OK);
    assert_error(status, "/nonexistent/file");
    status = weft_module_save(a, "/nonexistent/file");
    assert_int_not_equal(status, WEFT_OK);
    assert_error(status, "/nonexistent/file");
    weft_tensor_list_done(&from);
    weft_tensor_list_done(&to);
    weft_module_unref(a);
    weft_module_unref(b);
    weft_module_unref(other);
}

static void every_key_at_fault_is_told_however_many(void **state)
{
    weft_module *m = bare(), *other = weft_linear_create(ctx, 2, 3, NULL);
    for (int i = 0; i < 300; i++) {
        char name[64];
        snprintf(name, sizeof(name), "a_parameter_with_quite_a_long_name_%03d", i);
        weft_register_parameter(m, name, NULL, tensor(1));
    }
    assert_int_equal(weft_module_save(other, scratch_file), WEFT_OK);
    assert_int_equal(weft_module_load(m, scratch_file, true), WEFT_ERR_NOT_FOUND);
    const char *at = weft_error_text(ctx);
    assert_non_null(strstr(at, "300 missing, 2 unexpected"));
    for (int i = 0; i < 300; i++) { /* sorted, one a line */
        char line[80];
        snprintf(line, sizeof(line), "\n  missing     a_parameter_with_quite_a_long_name_%03d\n",
                 i);
        at = strstr(at, line);
        assert_non_null(at);
    }
    assert_non_null(strstr(at, "\n  unexpected  bias\n  unexpected  weight"));
    /* A later error is told by itself. */
    weft_error_clear(ctx);
    assert_string_equal(weft_error_text(ctx), "");
    assert_null(weft_get_parameter(m, "none"));
    assert_error(WEFT_ERR_NOT_FOUND, "none");
    weft_module_unref(m);
    weft_module_unref(other);
}

/* What others write: half precision, and what a wider type holds. Each case is -2.5 and the third
 * number of the list, in the type's own bits. */
static void files_of_any_floating_type_load(void **state)
{
    static const uint16_t f16[] = {0xc100, 0x3555, 0x0001, 0x83ff, 0x7bff, 0x8000};
    static const float of_f16[] = {-2.5f, 0.333251953125f, 0x1p-24f, -1023 * 0x1p-24f, 65504.0f,
                                   -0.0f};
    static const uint16_t bf16[] = {0xc020, 0x3eab, 0x0001, 0x8080, 0x7f7f, 0x8000};
    static const float of_bf16[] = {-2.5f, 0.333984375f, 0x1p-133f, -0x1p-126f, 0x1.fep127f, -0.0f};
    static const double f64[] = {-2.5, 1.0 / 3, 0x1p-149, -0x1p-126, 0x1.fffffep127, -0.0};
    static const float of_f64[] = {-2.5f,      (float)(1.0 / 3), 0x1p-149f,
                                   -0x1p-126f, 0x1.fffffep127f,  -0.0f};
    const struct {
        weft_dtype dtype;
        const void *data;
        const float *want;
    } cases[] = {{WEFT_F16, f16, of_f16}, {WEFT_BF16, bf16, of_bf16}, {WEFT_F64, f64, of_f64}};
    weft_module *m = bare();
    weft_register_parameter(m, "w", NULL, weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(6)));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_safetensors_entry e = {"w", cases[i].dtype, WEFT_SHAPE(6), cases[i].data};
        assert_int_equal(weft_safetensors_write(scratch_file, &e, 1, NULL, 0, NULL), WEFT_OK);
        assert_int_equal(weft_module_load(m, scratch_file, true), WEFT_OK);
        assert_memory_equal(weft_tensor_data(weft_get_parameter(m, "w")), cases[i].want,
                            6 * sizeof(float));
    }
    weft_module_unref(m);
}

static void values_that_are_not_finite_are_refused_by_name(void **state)
{
    static const float good[] = {1, 2, 3}, nans[] = {NAN, 2, -INFINITY};
    static const double large[] = {1e39, 0, 0};
    static const uint16_t half[] = {0x7c00, 0x7e01, 0x3c00};
    weft_safetensors_entry e[] = {{"b", WEFT_F32, WEFT_SHAPE(3), nans},
                                  {"a", WEFT_F64, WEFT_SHAPE(3), large},
                                  {"c", WEFT_F32, WEFT_SHAPE(3), good},
                                  {"longer", WEFT_F16, WEFT_SHAPE(3), half}};
    weft_module *m = bare();
    for (int i = 0; i < 4; i++)
        weft_register_parameter(m, e[i].name, NULL,
                                weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3), 7));
    assert_int_equal(weft_safetensors_write(scratch_file, e, 4, NULL, 0, NULL), WEFT_OK);
    assert_int_equal(weft_module_load(m, scratch_file, true), WEFT_ERR_NUMERIC);
    assert_string_equal(strstr(weft_error_text(ctx), " is no state"),
                        " is no state for Bare, nothing was loaded: 3 with NaN or infinite values\n"
                        "  values      a       1 of 3 not finite\n"
                        "  values      b       2 of 3 not finite\n"
                        "  values      longer  2 of 3 not finite");
    weft_error_clear(ctx);
    assert_true(first(weft_get_parameter(m, "c")) == 7);
    weft_load_opts opts = {.allow_nan = true};
    assert_int_equal(weft_module_load_with(m, scratch_file, &opts), WEFT_OK);
    assert_true(isnan(first(weft_get_parameter(m, "b"))) &&
                isinf(first(weft_get_parameter(m, "a"))));
    assert_true(first(weft_get_parameter(m, "c")) == 1);
    /* What is left alone, or not asked for, may hold anything. */
    opts = (weft_load_opts){.except = "a b longer"};
    assert_int_equal(weft_module_load_with(m, scratch_file, &opts), WEFT_OK);
    /* In f64 the large number is one; a state in memory is torch's: taken as it is. */
    assert_int_equal(weft_module_to(m, WEFT_F64), WEFT_OK);
    opts.except = "b longer";
    assert_int_equal(weft_module_load_with(m, scratch_file, &opts), WEFT_OK);
    weft_tensor_list list = state_of(m);
    assert_int_equal(weft_load_state_dict(m, &list, true), WEFT_OK);
    weft_tensor_list_done(&list);
    weft_module_unref(m);
}

static void what_is_optional_or_excepted_is_left_out(void **state)
{
    weft_module *whole = tree(), *part = bare(), *left = bare();
    weft_register_parameter(left, "w", NULL, tensor(20));
    weft_register_parameter(part, "w", NULL, tensor(10));
    weft_register_buffer(part, "b", NULL, tensor(11), true);
    weft_register_module(part, "left", NULL, left);
    assert_int_equal(weft_module_save(whole, scratch_file), WEFT_OK);
    assert_int_equal(weft_module_load(part, scratch_file, true), WEFT_ERR_NOT_FOUND);
    assert_error(WEFT_ERR_NOT_FOUND,
                 "2 unexpected\n  unexpected  left.deep.w\n  unexpected  right.w");
    int left_out = -1;
    weft_load_opts opts = {.optional = "righ left right.", .left_out = &left_out};
    assert_int_equal(weft_module_load_with(part, scratch_file, &opts), WEFT_OK);
    assert_int_equal(left_out, 2);
    assert_true(first(weft_get_parameter(part, "left.w")) == 2);
    /* Exceptions may be of another shape, missing, or more than there is. */
    weft_register_parameter(part, "w", NULL, weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(5), 30));
    weft_register_parameter(left, "missing", NULL, tensor(40));
    opts = (weft_load_opts){.except = "w left.missing left.deep right"};
    assert_int_equal(weft_module_load_with(part, scratch_file, &opts), WEFT_OK);
    assert_true(first(weft_get_parameter(part, "w")) == 30);
    assert_true(first(weft_get_parameter(part, "left.missing")) == 40);
    weft_module_unref(whole);
    weft_module_unref(part);
}

/* ---- versions ---- */

/* Version 1 called its parameter "old". */
static weft_status rename_old(weft_module *m, int version, const char *prefix,
                              weft_tensor_list *list)
{
    if (version != 1)
        return WEFT_ERR_UNSUPPORTED;
    for (int i = 0; i < list->n; i++) {
        char *name = list->item[i].name;
        size_t n = strlen(prefix);
        if (strncmp(name, prefix, n) == 0 && strcmp(name + n, "old") == 0)
            memcpy(name + n, "new", 3);
    }
    return WEFT_OK;
}

static const weft_module_class versions[] = {
    {.name = "Versioned", .size = sizeof(weft_module)}, /* 0 reads as 1 */
    {.name = "Versioned", .size = sizeof(weft_module), .version = 2, .upgrade = rename_old},
    {.name = "Versioned", .size = sizeof(weft_module), .version = 3, .upgrade = rename_old},
};

static weft_module *versioned(int version, const char *name, float value)
{
    weft_module *m = bare(), *child = weft_module_create(ctx, &versions[version - 1], NULL);
    weft_register_parameter(child, name, NULL, tensor(value));
    weft_register_module(m, "c", NULL, child);
    assert_no_error();
    return m;
}

static void a_file_has_the_version_of_each_module(void **state)
{
    weft_module *m = net();
    weft_safetensors *file;
    assert_int_equal(weft_module_save(m, scratch_file), WEFT_OK);
    assert_int_equal(weft_safetensors_open(scratch_file, &file, NULL), WEFT_OK);
    const char *text = weft_safetensors_meta_find(file, "weft.versions");
    assert_non_null(text);
    assert_string_equal(text, "{\"\":1,\"0\":1,\"1\":2,\"2\":1,\"3\":1}");
    assert_string_equal(weft_safetensors_meta_find(file, "format"), "pt");
    weft_safetensors_close(file);
    weft_module_unref(m);
}

static void a_file_of_an_earlier_version_is_upgraded_and_of_a_later_one_refused(void **state)
{
    weft_module *first_version = versioned(1, "old", 7), *second = versioned(2, "new", 1);
    weft_module *third = versioned(3, "new", 9);
    assert_int_equal(weft_module_save(first_version, scratch_file), WEFT_OK);
    assert_int_equal(weft_module_load(second, scratch_file, true), WEFT_OK);
    assert_true(first(weft_get_parameter(second, "c.new")) == 7);
    assert_int_equal(weft_module_save(third, scratch_file), WEFT_OK);
    assert_int_equal(weft_module_load(second, scratch_file, true), WEFT_ERR_UNSUPPORTED);
    assert_error(WEFT_ERR_UNSUPPORTED,
                 "'c' was saved by version 3 of Versioned, this is version 2");
    assert_true(first(weft_get_parameter(second, "c.new")) == 7);
    assert_int_equal(weft_module_load(second, scratch_file, false), WEFT_OK);
    assert_true(first(weft_get_parameter(second, "c.new")) == 9);
    assert_int_equal(weft_module_save(second, scratch_file), WEFT_OK); /* 2 to 3: no way known */
    assert_int_equal(weft_module_load(third, scratch_file, true), WEFT_ERR_UNSUPPORTED);
    assert_error(WEFT_ERR_UNSUPPORTED, "'c': version 2 of Versioned cannot be loaded");
    weft_module_unref(first_version);
    weft_module_unref(second);
    weft_module_unref(third);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_gives_back_what_was_saved),
        TEST(every_key_at_fault_is_told_however_many),
        TEST(files_of_any_floating_type_load),
        TEST(values_that_are_not_finite_are_refused_by_name),
        TEST(what_is_optional_or_excepted_is_left_out),
        TEST(a_file_has_the_version_of_each_module),
        TEST(a_file_of_an_earlier_version_is_upgraded_and_of_a_later_one_refused),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
