/* stack, split, chunk, slice and one_hot against plain C: every dimension, in every type and layout, by every
 * executor; what comes back as a gradient. What they refuse: test_ops_errors.c. */
#include "tests/engine/values.h"

enum { MAX = 4096, PARTS = 23 };

/* x as (outer, K, inner) around dimension d */
typedef struct view {
    int64_t outer, K, inner;
} view;

static view around(weft_shape s, int d)
{
    view v = {1, s.dim[d], 1};
    for (int i = 0; i < s.rank; i++) {
        v.outer *= i < d ? s.dim[i] : 1;
        v.inner *= i > d ? s.dim[i] : 1;
    }
    return v;
}

static const weft_shape shapes[] = {{1, {23}},           {2, {5, 7}},        {3, {3, 4, 6}},
                                    {4, {3, 19, 2, 5}},  {4, {2, 32, 3, 3}}, {4, {4, 1, 5, 6}},
                                    {5, {2, 3, 4, 2, 3}}};

/* `check` for every shape, dimension, layout and executor. */
static void everywhere(void (*check)(weft_context *ctx, weft_tensor *x, const double *value, int d))
{
    double value[MAX];
    for (int e = 0; e < 3; e++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int k = 0; k < 3 * shapes[s].rank; k++) {
                make_input(0, shapes[s], value);
                weft_tensor *x = stored(ctx, k % 3 == 2 ? WEFT_F64 : WEFT_F32, shapes[s], value);
                weft_set_requires_grad(x, true);
                check(ctx, k % 3 == 1 ? blocked(x) : x, value, k / 3);
                weft_discard(ctx);
                weft_tensor_unref(x);
            }
        weft_context_destroy(ctx);
    }
}

/* t is x[first::step][:K] */
static void assert_taken(weft_context *ctx, weft_tensor *t, const double *x, view of, int64_t first,
                         int64_t step, int64_t K)
{
    double got[MAX];
    read_all(ctx, t, got);
    assert_int_equal(weft_shape_count(weft_tensor_shape(t)), of.outer * K * of.inner);
    for (int64_t o = 0; o < of.outer; o++)
        for (int64_t k = 0; k < K; k++)
            for (int64_t i = 0; i < of.inner; i++)
                assert_true(got[(o * K + k) * of.inner + i] ==
                            x[(o * of.K + first + k * step) * of.inner + i]);
}

static void split_at(weft_context *ctx, weft_tensor *x, const double *value, int d)
{
    const view v = around(weft_tensor_shape(x), d);
    weft_tensor *part[PARTS * PARTS];
    int64_t size[PARTS * PARTS];
    int done = 0;
    for (int n = 1; n <= v.K && n <= PARTS; done += n, n += n > 4 ? 3 : 1) {
        for (int i = 0; i < n; i++) /* one each, but one has the rest */
            size[done + i] = i == (n - 1) / 2 ? v.K - n + 1 : 1;
        assert_int_equal(weft_split_with_sizes(x, n, size + done, d, part + done), WEFT_OK);
        for (int i = 0; i < n; i++)
            part[done + i] = weft_keep(part[done + i]);
    }
    int64_t first = 0;
    for (int i = 0; i < done; i++) {
        assert_taken(ctx, part[i], value, v, first, 1, size[i]);
        first = (first + size[i]) % v.K;
        weft_tensor_unref(part[i]);
    }
}

static void split_gives_parts_of_any_sizes(void **state)
{
    everywhere(split_at);
}

static void slice_at(weft_context *ctx, weft_tensor *x, const double *value, int d)
{
    const weft_shape shape = weft_tensor_shape(x);
    const view v = around(shape, d);
    weft_tensor *taken[64];
    int64_t first[64], step[64], K[64];
    int n = 0;
    for (int64_t s = 1; s <= 3; s++)
        for (int64_t start = -v.K - 1; start < v.K && n < 60; start += 3)
            for (int64_t stop = v.K + 2; stop >= -v.K && n < 60; stop -= 5) {
                const int64_t from = start < -v.K ? 0 : start < 0 ? start + v.K : start;
                const int64_t to = stop < 0 ? stop + v.K : stop < v.K ? stop : v.K;
                if (from >= to)
                    continue;
                first[n] = from;
                step[n] = s;
                K[n] = (to - from + s - 1) / s;
                taken[n] = weft_slice(x, d - (n & 1 ? shape.rank : 0), start, stop, s);
                taken[n] = weft_keep(taken[n]);
                n++;
            }
    for (int i = 0; i < n; i++) {
        assert_taken(ctx, taken[i], value, v, first[i], step[i], K[i]);
        weft_tensor_unref(taken[i]);
    }
}

static void slice_takes_what_python_takes(void **state)
{
    everywhere(slice_at);
}

/* Dimension 0 in more than one tile, and its gradient. */
static void a_long_vector_is_sliced_in_tiles(void **state)
{
    enum { LONG = 100003 };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    double *x = malloc(LONG * sizeof *x), *y = malloc(LONG * sizeof *y);
    make_input(0, WEFT_SHAPE(LONG), x);
    for (int step = 2; step < 40000; step = step * 7 + 1) {
        weft_tensor *t = stored(ctx, WEFT_F32, WEFT_SHAPE(LONG), x);
        assert_int_equal(weft_set_requires_grad(t, true), WEFT_OK);
        const int n = (LONG - 10 - 5 - 1) / step + 1;
        weft_tensor *kept = weft_keep(weft_slice(t, 0, 5, -10, step));
        assert_int_equal(weft_backward(weft_sum(weft_mul(kept, kept), WEFT_ALL_DIMS, false)),
                         WEFT_OK);
        read_all(ctx, kept, y);
        for (int i = 0; i < n; i++)
            assert_true(y[i] == x[5 + i * step]);
        read_all(ctx, weft_grad(t), y);
        for (int i = 0; i < LONG; i++)
            assert_true(y[i] == (i >= 5 && i < LONG - 10 && (i - 5) % step == 0 ? 2 * x[i] : 0));
        weft_tensor_unref(kept);
        weft_tensor_unref(t);
    }
    free(x);
    free(y);
    weft_context_destroy(ctx);
}

/* torch: sizes of ceil(size / n); torch.arange(6).chunk(4) has three parts. */
static void chunk_divides_as_torch(void **state)
{
    static const struct {
        int size, n, sizes[7];
    } cases[] = {{6, 2, {3, 3}},       {6, 4, {2, 2, 2}},
                 {7, 3, {3, 3, 1}},    {7, 7, {1, 1, 1, 1, 1, 1, 1}},
                 {7, 5, {2, 2, 2, 1}}, {5, 1, {5}}};
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    double value[MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const weft_shape shape = WEFT_SHAPE(2, cases[i].size, 3, 1);
        weft_tensor *part[7];
        make_input(0, shape, value);
        weft_tensor *x = stored(ctx, WEFT_F32, shape, value);
        assert_int_equal(weft_chunk(x, cases[i].n, -3, part), WEFT_OK);
        int64_t first = 0;
        for (int k = 0; k < cases[i].n; k++)
            part[k] = part[k] ? weft_keep(part[k]) : NULL;
        for (int k = 0; k < cases[i].n; first += cases[i].sizes[k++]) {
            if (cases[i].sizes[k] == 0) {
                assert_null(part[k]);
                continue;
            }
            assert_taken(ctx, part[k], value, around(shape, 1), first, 1, cases[i].sizes[k]);
            weft_tensor_unref(part[k]);
        }
        weft_sync(ctx);
        weft_tensor_unref(x);
    }
    weft_context_destroy(ctx);
}

static void stack_at(weft_context *ctx, weft_tensor *x, const double *value, int d)
{
    const weft_shape shape = weft_tensor_shape(x);
    double got[3 * MAX];
    for (int after = 0; after < (d == shape.rank - 1 ? 2 : 1); after++) {
        const int dim = d + after;
        int64_t outer = 1;
        for (int i = 0; i < dim; i++)
            outer *= shape.dim[i];
        const int64_t inner = weft_shape_count(shape) / outer;
        weft_tensor *in[3] = {x, weft_scale(x, 2), weft_scale(x, -1)};
        weft_tensor *y = weft_stack(in, 3, dim - (after ? 0 : shape.rank + 1));
        y = weft_keep(y);
        assert_non_null(y);
        assert_int_equal(weft_tensor_shape(y).dim[dim], 3);
        assert_int_equal(weft_tensor_shape(y).rank, shape.rank + 1);
        read_all(ctx, y, got);
        for (int64_t o = 0; o < outer; o++)
            for (int k = 0; k < 3; k++)
                for (int64_t i = 0; i < inner; i++)
                    assert_true(got[(o * 3 + k) * inner + i] == value[o * inner + i] * (k == 0 ? 1
                                                                                        : k == 1
                                                                                            ? 2
                                                                                            : -1));
        weft_tensor_unref(y);
    }
}

static void stack_makes_a_new_dimension(void **state)
{
    everywhere(stack_at);
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *one = weft_tensor_full(ctx, WEFT_I64, WEFT_SCALAR, 7);
    int64_t got[2];
    weft_tensor *y = weft_stack((weft_tensor *[]){one, one}, 2, -1);
    assert_true(weft_shape_equal(weft_tensor_shape(y), WEFT_SHAPE(2)));
    assert_int_equal(weft_read(y, got, sizeof got), WEFT_OK);
    assert_true(got[0] == 7 && got[1] == 7);
    weft_tensor_unref(one);
    weft_context_destroy(ctx);
}

/* Each element of x counts what its part counts, in eleven parts and in one that is left out. */
static void the_gradient_of_a_split_is_whole(void **state)
{
    enum { N = 11 };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    double value[MAX], got[MAX];
    for (int d = 0; d < 4; d++) {
        weft_shape shape = WEFT_SHAPE(3, 2, 4, 5);
        shape.dim[d] = 2 * N - 1;
        weft_tensor *part[N], *sum = NULL;
        make_input(0, shape, value);
        weft_tensor *x = stored(ctx, WEFT_F32, shape, value);
        assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
        assert_int_equal(weft_chunk(x, N, d, part), WEFT_OK);
        for (int i = 0; i < N; i++) {
            if (i == 3)
                continue;
            weft_tensor *s = weft_scale(weft_sum(part[i], WEFT_ALL_DIMS, false), 1 + i);
            sum = sum ? weft_add(sum, s) : s;
        }
        assert_int_equal(weft_backward(sum), WEFT_OK);
        read_all(ctx, weft_grad(x), got);
        const view v = around(shape, d);
        for (int64_t i = 0; i < weft_shape_count(shape); i++) {
            const int64_t k = i / v.inner % v.K / 2;
            assert_true(got[i] == (k == 3 ? 0 : (double)(1 + k)));
        }
        weft_tensor_unref(x);
    }
    weft_context_destroy(ctx);
}

/* Labels of any rank, in more than one tile, and one out of range. */
static void one_hot_is_one_at_the_label(void **state)
{
    static const weft_dtype types[] = {WEFT_F32, WEFT_F64, WEFT_I64, WEFT_I32, WEFT_U8};
    static const weft_shape labels[] = {{0, {0}}, {1, {5000}}, {3, {2, 3, 4}}};
    enum { K = 7, MOST = 5000 };
    static int64_t label[MOST];
    static unsigned char raw[MOST * K * 8];
    for (int e = 0; e < 3; e++) {
        weft_context *ctx = context((weft_executor)(WEFT_EXECUTOR_PARALLEL + e));
        for (int i = 0; i < MOST; i++)
            label[i] = (i * 5 + 3) % K;
        for (int k = 0; k < 15; k++) {
            const weft_dtype type = types[k % 5];
            const weft_shape shape = labels[k / 5];
            const int64_t n = weft_shape_count(shape) * K;
            weft_tensor *t = weft_tensor_from(ctx, WEFT_I64, shape, label);
            weft_tensor *y = weft_one_hot(t, K, type);
            assert_non_null(y);
            assert_int_equal(weft_tensor_shape(y).rank, shape.rank + 1);
            assert_int_equal(weft_read(y, raw, (size_t)n * weft_dtype_size(type)), WEFT_OK);
            for (int64_t i = 0; i < n; i++) {
                const double got = type == WEFT_F32   ? (double)((float *)raw)[i]
                                   : type == WEFT_F64 ? ((double *)raw)[i]
                                   : type == WEFT_I64 ? (double)((int64_t *)raw)[i]
                                   : type == WEFT_I32 ? ((int32_t *)raw)[i]
                                                      : raw[i];
                assert_true(got == (label[i / K] == i % K));
            }
            weft_tensor_unref(t);
        }
        label[17] = K;
        for (int k = 1; k < 3; k++) {
            weft_tensor *t = weft_tensor_from(ctx, WEFT_I64, labels[k], label);
            const size_t bytes = (size_t)weft_shape_count(labels[k]) * K;
            assert_int_equal(weft_read(weft_one_hot(t, K, WEFT_U8), raw, bytes), WEFT_ERR_INVALID);
            assert_non_null(strstr(weft_error_text(ctx),
                                   k == 1 ? "one_hot: label 7 at row 17 is outside [0, 7)"
                                          : "one_hot: label 7 at [1, 1, 1] is outside [0, 7)"));
            weft_discard(ctx);
            weft_error_clear(ctx);
            weft_tensor_unref(t);
        }
        weft_context_destroy(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_gives_parts_of_any_sizes),
        cmocka_unit_test(slice_takes_what_python_takes),
        cmocka_unit_test(a_long_vector_is_sliced_in_tiles),
        cmocka_unit_test(chunk_divides_as_torch),
        cmocka_unit_test(stack_makes_a_new_dimension),
        cmocka_unit_test(the_gradient_of_a_split_is_whole),
        cmocka_unit_test(one_hot_is_one_at_the_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
