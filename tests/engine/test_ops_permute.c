/* permute and transpose: every order of up to four dimensions and some of six, against plain C, in
 * every type and layout, by every executor; the gradient; what is refused. */
#include "tests/engine/values.h"

enum { MAX = 1 << 17 };

/* Element i of the result comes from element source(i) of x. */
static int64_t source(const weft_shape *x, const int *dims, int64_t i)
{
    int64_t at = 0, stride[WEFT_MAX_RANK], step = 1;
    for (int d = x->rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= x->dim[d];
    }
    for (int d = x->rank - 1; d >= 0; d--) {
        const int64_t n = x->dim[dims[d]];
        at += i % n * stride[dims[d]];
        i /= n;
    }
    return at;
}

static void check(weft_context *ctx, weft_shape shape, const int *dims, weft_dtype dtype,
                  bool block)
{
    const int64_t n = weft_shape_count(shape);
    double *x = malloc(MAX * sizeof(*x)), *y = malloc(MAX * sizeof(*y));
    assert_true(n <= MAX);
    make_input(0, shape, x);
    weft_tensor *t = stored(ctx, dtype, shape, x);
    weft_dims order = {.n = shape.rank};
    memcpy(order.dim, dims, (size_t)shape.rank * sizeof *dims);
    weft_tensor *p = weft_permute(block ? blocked(t) : t, order);
    read_all(ctx, p, y);
    for (int64_t i = 0; i < n; i++)
        if (y[i] != x[source(&shape, dims, i)])
            fail_msg("rank %d (%d %d %d %d), %s%s, element %lld", shape.rank, dims[0], dims[1],
                     dims[2], dims[3], weft_dtype_name(dtype), block ? " blocked" : "",
                     (long long)i);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_tensor_unref(t);
    free(x);
    free(y);
}

static void check_all(weft_context *ctx, weft_shape shape, const int *dims)
{
    check(ctx, shape, dims, WEFT_F32, false);
    check(ctx, shape, dims, WEFT_F32, true);
    check(ctx, shape, dims, WEFT_F64, false);
}

static void every_order_of_up_to_four_dimensions(void **state)
{
    static const weft_shape shapes[] = {
        {0, {0}},         {1, {19}},          {2, {37, 50}},     {2, {1, 7}},
        {3, {5, 18, 33}}, {4, {3, 19, 4, 6}}, {4, {2, 1, 5, 1}},
    };
    for (int e = 0; e < 3; e++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
        for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++)
            for (int code = 0; code < 256; code++) {
                int dims[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6};
                unsigned seen = 0;
                for (int i = 0; i < shapes[s].rank; i++)
                    seen |= 1u << dims[i];
                const bool rest = shapes[s].rank < 4 && code >> 2 * shapes[s].rank != 0;
                if (seen == (1u << shapes[s].rank) - 1 && !rest)
                    check_all(ctx, shapes[s], dims);
            }
        weft_context_destroy(ctx);
    }
}

static void six_dimensions_and_large_planes(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    check_all(ctx, WEFT_SHAPE(2, 3, 4, 1, 5, 6), (const int[]){5, 3, 1, 0, 2, 4});
    check_all(ctx, WEFT_SHAPE(2, 3, 4, 1, 5, 6), (const int[]){1, 0, 2, 3, 4, 5});
    check_all(ctx, WEFT_SHAPE(300, 401), (const int[]){1, 0, 0, 0});
    check_all(ctx, WEFT_SHAPE(2, 301, 200), (const int[]){0, 2, 1, 0});
    weft_context_destroy(ctx);
}

static void a_gradient_goes_back_the_way_it_came(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    const weft_shape shape = WEFT_SHAPE(2, 3, 4), turned = WEFT_SHAPE(4, 2, 3);
    double x[24], dy[24], dx[24];
    make_input(0, shape, x);
    make_input(1, turned, dy);
    weft_tensor *t = stored(ctx, WEFT_F32, shape, x), *seed = stored(ctx, WEFT_F32, turned, dy);
    assert_int_equal(weft_set_requires_grad(t, true), WEFT_OK);
    weft_tensor *y = weft_permute(t, WEFT_DIMS(2, -3, 1));
    assert_int_equal(weft_backward_with(y, seed, false), WEFT_OK);
    read_all(ctx, weft_grad(t), dx);
    for (int64_t i = 0; i < 24; i++)
        assert_true(dx[source(&shape, (const int[]){2, 0, 1}, i)] == dy[i]);
    weft_tensor_unref(t);
    weft_tensor_unref(seed);
    weft_context_destroy(ctx);
}

static void transpose_swaps_two(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    double x[24], y[24];
    make_input(0, WEFT_SHAPE(2, 3, 4), x);
    weft_tensor *t = stored(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4), x);
    weft_tensor *p = weft_transpose(t, 0, -1);
    assert_true(weft_shape_equal(weft_tensor_shape(p), WEFT_SHAPE(4, 3, 2)));
    read_all(ctx, p, y);
    for (int i = 0; i < 24; i++)
        assert_true(y[i] == x[i % 2 * 12 + i / 2 % 3 * 4 + i / 6]);
    weft_tensor_unref(t);
    weft_context_destroy(ctx);
}

static void orders_that_are_none_are_refused(void **state)
{
    static const struct {
        weft_dims dims;
        const char *text;
    } cases[] = {
        {{1, {0}}, "permute: 1 dimensions given for a tensor of rank 2"},
        {{2, {0, 0}}, "permute: dimension 0 of [2, 3] is named twice"},
        {{2, {0, -2}}, "permute: dimension 0 of [2, 3] is named twice"},
        {{2, {0, 2}}, "permute: dimension 2 is out of range for a tensor of rank 2"},
        {{7, {0}}, "permute: 7 dimensions"},
        {{-1, {0}}, "permute: -1 dimensions"},
    };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *t = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_null(weft_permute(t, cases[i].dims));
        assert_string_equal(weft_error_text(ctx), cases[i].text);
        weft_discard(ctx);
        weft_error_clear(ctx);
    }
    assert_null(weft_transpose(t, 0, 2));
    assert_string_equal(weft_error_text(ctx),
                        "transpose: 0 and 2 are not both dimensions of a tensor of rank 2");
    weft_discard(ctx);
    weft_error_clear(ctx);
    weft_tensor_unref(t);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_up_to_four_dimensions),
        cmocka_unit_test(six_dimensions_and_large_planes),
        cmocka_unit_test(a_gradient_goes_back_the_way_it_came),
        cmocka_unit_test(transpose_swaps_two),
        cmocka_unit_test(orders_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
