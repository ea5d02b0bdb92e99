/* Values of one type loaded as another, scalars as vectors of one element, and arrays of files that
 * Weft has no type for. */
#include <math.h>
#include <stdio.h>

#include "tests/modules/state.h"
#include "tests/scratch.h"

/* ---- whole numbers ---- */

/* The loading of one value into a buffer of type `to`, from memory and from a file. */
static void check_value(weft_dtype from, weft_shape shape, const void *value, weft_dtype to,
                        weft_shape own, double want, const char *misfit)
{
    for (int from_file = 0; from_file < 2; from_file++) {
        weft_module *m = bare();
        weft_register_buffer(m, "b", NULL, weft_tensor_full(ctx, to, own, 3), true);
        weft_status status;
        if (from_file) {
            weft_safetensors_entry e = {"b", from, shape, value};
            assert_int_equal(weft_safetensors_write(scratch_file, &e, 1, NULL, 0, NULL), WEFT_OK);
            status = weft_module_load(m, scratch_file, true);
        } else {
            weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
            weft_tensor *t = weft_tensor_from(ctx, from, shape, value);
            weft_tensor_list_add(&list, "b", t);
            status = weft_load_state_dict(m, &list, true);
            weft_tensor_unref(t);
            weft_tensor_list_done(&list);
        }
        if (misfit != NULL) {
            assert_int_equal(status, WEFT_ERR_DTYPE);
            assert_error(WEFT_ERR_DTYPE, "nothing was loaded: 1 with a value that does not fit");
        } else if (status != WEFT_OK) {
            fail_msg("%s", weft_error_text(ctx));
        }
        const void *data = weft_tensor_data(weft_get_buffer(m, "b"));
        double got = to == WEFT_I64   ? (double)*(const int64_t *)data
                     : to == WEFT_I32 ? *(const int32_t *)data
                     : to == WEFT_U8  ? *(const uint8_t *)data
                                      : (double)*(const float *)data;
        assert_true(got == want);
        weft_module_unref(m);
    }
}

static void a_counter_loads_from_any_numeric_type_and_from_a_vector(void **state)
{
    static const uint16_t f16 = 0x4900, bf16 = 0x4120; /* 10 */
    static const float f32 = 10;
    static const double f64 = 10;
    static const int32_t i32 = 10;
    static const int64_t i64 = 10;
    static const uint8_t u8 = 10;
    const struct {
        weft_dtype dtype;
        const void *value;
    } cases[] = {{WEFT_F16, &f16}, {WEFT_BF16, &bf16}, {WEFT_F32, &f32}, {WEFT_F64, &f64},
                 {WEFT_I32, &i32}, {WEFT_I64, &i64},   {WEFT_U8, &u8}};
    const weft_shape shapes[] = {WEFT_SCALAR, WEFT_SHAPE(1)};
    const weft_dtype targets[] = {WEFT_I64, WEFT_I32, WEFT_U8, WEFT_F32};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int from = 0; from < 2; from++)
            for (int to = 0; to < 2; to++)
                for (int k = 0; k < 4; k++)
                    check_value(cases[i].dtype, shapes[from], cases[i].value, targets[k],
                                shapes[to], 10, NULL);
    /* The network that asked for it. */
    weft_module *m = weft_batch_norm2d_create(ctx, 2, NULL);
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    weft_tensor *t = weft_tensor_from(ctx, WEFT_F16, WEFT_SHAPE(1), &f16);
    weft_tensor_list_add(&list, "num_batches_tracked", t);
    assert_int_equal(weft_load_state_dict(m, &list, false), WEFT_OK);
    assert_int_equal(*(int64_t *)weft_tensor_data(weft_get_buffer(m, "num_batches_tracked")), 10);
    weft_tensor_unref(t);
    weft_tensor_list_done(&list);
    weft_module_unref(m);
}

static void a_value_that_does_not_fit_is_refused(void **state)
{
    const double large = 0x1p63, below = -0x1p63, half = 1.5, nan = NAN, infinite = INFINITY;
    const double top_i32 = 2147483647, over_i32 = 2147483648.0, minus = -1, b255 = 255, b256 = 256;
    const int64_t wide = INT64_C(1) << 31, negative = -1, top = INT64_MAX;
    const uint16_t f16_infinite = 0x7c00; /* a counter past 65504, saved in half precision */
    const struct {
        weft_dtype from;
        const void *value;
        weft_dtype to;
        double want; /* 3: it stays what it was */
    } cases[] = {{WEFT_F64, &large, WEFT_I64, 3},
                 {WEFT_F64, &below, WEFT_I64, -0x1p63},
                 {WEFT_F64, &half, WEFT_I64, 3},
                 {WEFT_F64, &nan, WEFT_I64, 3},
                 {WEFT_F64, &infinite, WEFT_I32, 3},
                 {WEFT_F64, &top_i32, WEFT_I32, 2147483647},
                 {WEFT_F64, &over_i32, WEFT_I32, 3},
                 {WEFT_F64, &minus, WEFT_U8, 3},
                 {WEFT_F64, &b255, WEFT_U8, 255},
                 {WEFT_F64, &b256, WEFT_U8, 3},
                 {WEFT_I64, &wide, WEFT_I32, 3},
                 {WEFT_I64, &negative, WEFT_U8, 3},
                 {WEFT_I64, &negative, WEFT_I32, -1},
                 {WEFT_I64, &top, WEFT_F32, 0x1p63}, /* rounds, as in C */
                 {WEFT_F16, &f16_infinite, WEFT_I64, 3}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_value(cases[i].from, WEFT_SCALAR, cases[i].value, cases[i].to, WEFT_SCALAR,
                    cases[i].want, cases[i].want == 3 ? "misfit" : NULL);
}

static void what_does_not_fit_is_told_by_name_and_value(void **state)
{
    static const float counters[] = {1, 2, 2.5f, 7};
    static const int64_t large[] = {INT64_C(4294967296), 1};
    weft_module *m = bare();
    weft_register_buffer(m, "counters", NULL, weft_tensor_full(ctx, WEFT_I64, WEFT_SHAPE(4), 3),
                         true);
    weft_register_buffer(m, "b", NULL, weft_tensor_full(ctx, WEFT_I32, WEFT_SHAPE(2), 3), true);
    weft_safetensors_entry e[] = {{"counters", WEFT_F32, WEFT_SHAPE(4), counters},
                                  {"b", WEFT_I64, WEFT_SHAPE(2), large}};
    assert_int_equal(weft_safetensors_write(scratch_file, e, 2, NULL, 0, NULL), WEFT_OK);
    assert_int_equal(weft_module_load(m, scratch_file, true), WEFT_ERR_DTYPE);
    assert_string_equal(strstr(weft_error_text(ctx), " does not fit"),
                        " does not fit Bare, nothing was loaded: 2 with a value that does not fit\n"
                        "  value       b         i32 in the network, 4294967296 given (element 0)\n"
                        "  value       counters  i64 in the network, 2.5 given (element 2)");
    weft_error_clear(ctx);
    assert_int_equal(*(int64_t *)weft_tensor_data(weft_get_buffer(m, "counters")), 3);
    weft_module_unref(m);
}

/* Only a single element goes either way: what else differs in shape is another tensor. */
static void longer_vectors_and_matrices_are_no_scalars(void **state)
{
    static const float two[] = {1, 2};
    const struct {
        weft_shape given, own;
    } cases[] = {{WEFT_SHAPE(2), WEFT_SCALAR},
                 {WEFT_SHAPE(1, 1), WEFT_SCALAR},
                 {WEFT_SCALAR, WEFT_SHAPE(1, 1)},
                 {WEFT_SHAPE(1, 1), WEFT_SHAPE(1)},
                 {WEFT_SCALAR, WEFT_SHAPE(2)}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_module *m = bare();
        weft_register_buffer(m, "b", NULL, weft_tensor_full(ctx, WEFT_F32, cases[i].own, 3), true);
        weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
        weft_tensor *t = weft_tensor_from(ctx, WEFT_F32, cases[i].given, two);
        weft_tensor_list_add(&list, "b", t);
        assert_int_equal(weft_load_state_dict(m, &list, true), WEFT_ERR_SHAPE);
        weft_error_clear(ctx);
        weft_tensor_unref(t);
        weft_tensor_list_done(&list);
        weft_module_unref(m);
    }
}

/* ---- arrays that Weft has no type for ---- */

/* A file with "w" (f32, [2]: 5, 6) and the entry "odd" of two bytes. */
static void write_odd(const char *name, const char *dtype, const char *shape, int bytes)
{
    static const float values[] = {5, 6};
    char header[512];
    int n = snprintf(header, sizeof(header),
                     "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                     "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[8,%d]}}",
                     name, dtype, shape, 8 + bytes);
    uint64_t length = (uint64_t)n;
    FILE *f = fopen(scratch_file, "wb");
    assert_non_null(f);
    fwrite(&length, 8, 1, f);
    fwrite(header, (size_t)n, 1, f);
    fwrite(values, sizeof(values), 1, f);
    fwrite("\1\2\3\4\5\6\7\10", (size_t)bytes, 1, f);
    fclose(f);
}

static void what_nobody_asks_for_may_be_of_any_type(void **state)
{
    static const struct {
        const char *dtype, *shape, *what;
        int bytes;
    } cases[] = {{"BOOL", "[2]", "BOOL", 2},
                 {"I8", "[2]", "I8", 2},
                 {"U16", "[]", "U16", 2},
                 {"U32", "[2]", "U32", 8},
                 {"U64", "[1]", "U64", 8},
                 {"F8_E4M3", "[2,1]", "F8_E4M3", 2},
                 {"F8_E5M2", "[2]", "F8_E5M2", 2},
                 {"F32", "[1,1,1,1,1,1,1]", "a tensor of more than 6 dimensions", 4}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_module *m = bare(), *asks = bare();
        weft_register_parameter(m, "w", NULL, tensor(1));
        weft_register_parameter(asks, "w", NULL, tensor(1));
        weft_register_buffer(asks, "odd", NULL, tensor(2), true);
        write_odd("odd", cases[i].dtype, cases[i].shape, cases[i].bytes);
        /* Not asked for: left alone, and strictly unexpected as anything else. */
        assert_int_equal(weft_module_load(m, scratch_file, true), WEFT_ERR_NOT_FOUND);
        assert_error(WEFT_ERR_NOT_FOUND, "nothing was loaded: 1 unexpected\n  unexpected  odd");
        assert_true(first(weft_get_parameter(m, "w")) == 1);
        assert_int_equal(weft_module_load(m, scratch_file, false), WEFT_OK);
        assert_true(first(weft_get_parameter(m, "w")) == 5);
        weft_load_opts without[] = {{.optional = "odd"}, {.except = "odd"}};
        for (int k = 0; k < 2; k++)
            assert_int_equal(weft_module_load_with(m, scratch_file, &without[k]), WEFT_OK);
        /* Asked for: an error with its type, strict or not, and nothing else has changed. */
        for (int strict = 0; strict < 2; strict++) {
            char line[128];
            snprintf(line, sizeof(line),
                     "nothing was loaded: 1 of another type\n"
                     "  type        odd  f32 in the network, %s given",
                     cases[i].what);
            assert_int_equal(weft_module_load(asks, scratch_file, strict), WEFT_ERR_DTYPE);
            assert_error(WEFT_ERR_DTYPE, line);
            assert_true(first(weft_get_parameter(asks, "w")) == 1);
        }
        weft_module_unref(m);
        weft_module_unref(asks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_counter_loads_from_any_numeric_type_and_from_a_vector),
        TEST(a_value_that_does_not_fit_is_refused),
        TEST(what_does_not_fit_is_told_by_name_and_value),
        TEST(longer_vectors_and_matrices_are_no_scalars),
        TEST(what_nobody_asks_for_may_be_of_any_type),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
