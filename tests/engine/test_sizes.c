/* Sizes and numbers that do not fit: refused when they are recorded or given, never cut. Nothing
 * here allocates what it describes: large values are recorded, and never run. */
#include "tests/engine/values.h"

#include <limits.h>

#include "weft/init.h"

enum { BIG = INT_MAX };

static weft_tensor *expanded(weft_context *ctx, weft_shape shape)
{
    weft_shape ones = {.rank = shape.rank};
    for (int i = 0; i < shape.rank; i++)
        ones.dim[i] = 1;
    weft_tensor *one = weft_tensor_full(ctx, WEFT_F32, ones, 1.0);
    weft_tensor *y = weft_expand(one, shape);
    weft_tensor_unref(one);
    return y;
}

static void what_an_int_cannot_count_is_refused_when_recorded(void **state)
{
    static const struct {
        weft_shape shape;
        const char *text; /* NULL: possible */
    } cases[] = {
        {{2, {1, 4294967312}}, "expand: [1, 4294967312] is too large: dimension 1 has 4294967312"},
        {{1, {(int64_t)BIG + 1}}, "dimension 0 has 2147483648 elements, at most 2147483647"},
        {{1, {BIG}}, NULL},
        {{2, {1, BIG}}, NULL},
        {{2, {BIG, BIG}}, "more bytes than can be counted"},
        {{2, {BIG, 1 << 20}}, NULL},
        {{3, {1, 65536, 32768}}, "at most 2147483647 elements behind dimension 0"},
        {{3, {1, 65536, 32767}}, NULL},
        {{5, {1, BIG, BIG, BIG, 4}}, "expand: "},
        {{4, {1, 1, 46341, 46341}}, "at most 2147483647 elements behind dimension 0 are possible"},
        {{4, {1, 1, 46340, 46340}}, NULL},
        {{4, {BIG, 16, 11585, 11585}}, "too"}, /* 2^64 bytes and more */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *y = expanded(ctx, cases[i].shape);
        if (!cases[i].text != !!y)
            fail_msg("case %zu: %s", i, weft_error_text(ctx));
        if (cases[i].text && !strstr(weft_error_text(ctx), cases[i].text))
            fail_msg("case %zu: %s", i, weft_error_text(ctx));
        weft_discard(ctx);
        weft_context_destroy(ctx);
    }
}

/* Parts that are possible, and a whole that is not. */
static void what_an_op_makes_of_possible_sizes_is_checked(void **state)
{
    for (int op = 0; op < 4; op++) {
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        weft_tensor *x = expanded(ctx, WEFT_SHAPE(65536, 1 << 30));
        weft_tensor *rows = expanded(ctx, WEFT_SHAPE(1 << 30, 2));
        weft_tensor *y = NULL;
        assert_true(x && rows);
        switch (op) {
        case 0: y = weft_concat((weft_tensor *[]){x, x}, 2, 1); break;
        case 1: y = weft_flatten(x, 0); break;
        case 2: y = weft_concat((weft_tensor *[]){rows, rows}, 2, 0); break;
        case 3: y = weft_reshape(rows, WEFT_SHAPE(1, -1)); break;
        }
        assert_null(y);
        assert_int_equal(weft_error_status(ctx), WEFT_ERR_SHAPE);
        assert_non_null(strstr(weft_error_text(ctx), "too large"));
        weft_discard(ctx);
        weft_context_destroy(ctx);
    }
}

static void numbers_that_do_not_fit_the_type_are_refused(void **state)
{
    static const struct {
        weft_dtype dtype;
        double value, expected; /* NAN: refused */
    } cases[] = {
        {WEFT_U8, 300, NAN},      {WEFT_U8, 256, NAN},
        {WEFT_U8, -1, NAN},       {WEFT_U8, 255.9, 255},
        {WEFT_U8, -0.5, 0},       {WEFT_U8, (double)NAN, NAN},
        {WEFT_I32, 0x1p31, NAN},  {WEFT_I32, -0x1p31, -0x1p31},
        {WEFT_I32, -0x1p32, NAN}, {WEFT_I32, (double)INFINITY, NAN},
        {WEFT_I64, 0x1p63, NAN},  {WEFT_I64, -0x1p63, -0x1p63},
        {WEFT_I64, 1e300, NAN},   {WEFT_F32, 1e300, NAN},
        {WEFT_F32, -1e39, NAN},   {WEFT_F32, (double)INFINITY, (double)INFINITY},
        {WEFT_F64, 1e300, 1e300}, {WEFT_F64, -0.25, -0.25},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
        const bool refused = isnan(cases[i].expected);
        weft_tensor *t = weft_tensor_full(ctx, cases[i].dtype, WEFT_SHAPE(3), cases[i].value);
        if (refused != !t)
            fail_msg("case %zu: %s", i, weft_error_text(ctx));
        weft_error_clear(ctx);
        weft_discard(ctx);
        weft_tensor *scalar = weft_tensor_full(ctx, cases[i].dtype, WEFT_SCALAR, 1);
        weft_status status = weft_init_constant(scalar, cases[i].value);
        assert_int_equal(status, refused ? WEFT_ERR_INVALID : WEFT_OK);
        if (refused)
            assert_non_null(strstr(weft_error_text(ctx), "does not fit"));
        assert_true(weft_item(scalar) == (refused ? 1 : cases[i].expected));
        weft_tensor_unref(t);
        weft_tensor_unref(scalar);
        weft_context_destroy(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_int_cannot_count_is_refused_when_recorded),
        cmocka_unit_test(what_an_op_makes_of_possible_sizes_is_checked),
        cmocka_unit_test(numbers_that_do_not_fit_the_type_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
