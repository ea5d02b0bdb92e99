/* Broadcast operands that element-wise ops read where they lie (engine/plan/spread.c): the plan against
 * the interpreter, which expands them, to the bit; forward and gradients, in f32 and f64, as long runs,
 * short runs, repeating rows, one element, and through all six dimensions. */
#include "tests/engine/values.h"

#define S(...)                                                                                     \
    {                                                                                              \
        sizeof((int[]){__VA_ARGS__}) / sizeof(int),                                                \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const struct {
    weft_shape a, b;
} pairs[] = {
    {S(3, 5, 50, 70), S(5, 1, 1)},      /* a run of 3500 elements a channel */
    {S(3, 5, 50, 70), S(3, 5, 1, 1)},   /* tile by tile */
    {S(3, 5, 50, 70), S(3, 1, 1, 1)},   /* one element an image */
    {S(3, 5, 50, 70), S(70)},           /* a row, again and again */
    {S(3, 5, 50, 70), S(50, 1)},        /* runs of 70 */
    {S(3, 5, 50, 70), S(3, 1, 50, 70)}, /* an image, again and again */
    {S(3, 5, 50, 70), S(1, 5, 1, 70)},  /* rows apart */
    {S(3, 5, 50, 70), S(1)},            /* one element */
    {S(3, 1, 50, 1), S(1, 5, 1, 70)},   /* both */
    {S(9000), S(1)},
    {S(40, 3000), S(3000)}, /* a period longer than a piece of f64 */
    {S(40, 2), S(40, 1)},
    {S(7, 1, 9, 11, 1, 13), S(3, 1, 11, 5, 1)}, /* six dimensions, both ways */
    {S(2, 3, 2, 3, 2, 37), S(2, 1, 2, 1, 2, 1)},
};
#undef S
enum { N_PAIRS = sizeof pairs / sizeof *pairs, N_OPS = 9, MOST = 400000 };

static weft_tensor *apply(int op, weft_tensor *a, weft_tensor *b)
{
    switch (op) {
    case 0: return weft_add(a, b);
    case 1: return weft_sub(b, a);
    case 2: return weft_mul(a, b);
    case 3: return weft_div(a, b);
    case 4: return weft_maximum(a, b);
    case 5: return weft_minimum(b, a);
    case 6: return weft_where(weft_lt(a, b), a, weft_scale(b, 3));
    case 7: return weft_pow_tensor(weft_abs(a), b);
    default: return weft_where(b, weft_ge(b, a), weft_mul(a, b)); /* its condition is spread, too */
    }
}

/* y, da, db one behind the other; how many. */
static int64_t run(weft_executor executor, weft_dtype dtype, int op, int pair, bool recorded,
                   double *out)
{
    static double numbers[MOST];
    weft_context *ctx = context(executor);
    weft_tensor *x[2];
    for (int i = 0; i < 2; i++) {
        const weft_shape shape = i ? pairs[pair].b : pairs[pair].a;
        make_input(op + 2 * i, shape, numbers);
        x[i] = stored(ctx, dtype, shape, numbers);
        weft_set_requires_grad(x[i], true);
    }
    /* Operands made in the same step, image by image, and stored ones. */
    weft_tensor *a = recorded ? weft_scale(x[0], 2) : x[0], *b = recorded ? weft_relu(x[1]) : x[1];
    weft_tensor *y = apply(op, a, b), *kept = weft_keep(y);
    if (!kept || weft_backward(weft_sum(weft_mul(y, y), WEFT_ALL_DIMS, false)) != WEFT_OK ||
        weft_sync(ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    int64_t n = 0;
    weft_tensor *results[] = {kept, weft_grad(x[0]), weft_grad(x[1])};
    for (int i = 0; i < 3; i++) {
        read_all(ctx, results[i], out + n);
        n += weft_shape_count(weft_tensor_shape(results[i]));
        assert_true(n <= MOST);
    }
    weft_tensor_unref(kept);
    weft_tensor_unref(x[0]);
    weft_tensor_unref(x[1]);
    weft_context_destroy(ctx);
    return n;
}

static void the_plan_equals_the_interpreter(void **state)
{
    static double want[MOST], got[MOST];
    for (int i = 0; i < N_PAIRS * N_OPS * 2; i++) {
        const int pair = i % N_PAIRS, op = i / N_PAIRS % N_OPS;
        const weft_dtype dtype = i / N_PAIRS / N_OPS ? WEFT_F64 : WEFT_F32;
        const bool recorded = (pair + op) % 2;
        const int64_t n = run(WEFT_EXECUTOR_INTERPRETER, dtype, op, pair, recorded, want);
        assert_int_equal(run(WEFT_EXECUTOR_PARALLEL, dtype, op, pair, recorded, got), n);
        for (int64_t k = 0; k < n; k++)
            if (memcmp(&got[k], &want[k], sizeof *got) != 0)
                fail_msg("pair %d, op %d, type %d: element %lld of all is %.17g, not %.17g", pair,
                         op, (int)dtype, (long long)k, got[k], want[k]);
    }
}

/* What broadcasts costs no memory: nothing of the size of an image is in the arena. */
static void nothing_is_expanded(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3, 5, 50, 70), 2),
                *b = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(5, 1, 1), 3);
    char text[4096] = "";
    FILE *f = fmemopen(text, sizeof text, "w");
    weft_tensor *kept = weft_keep(weft_mul(x, weft_sub(b, x)));
    assert_int_equal(weft_explain(ctx, f), WEFT_OK);
    fclose(f);
    assert_non_null(strstr(text, "sub"));
    assert_null(strstr(text, "broadcast"));
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_tensor_unref(b);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_equals_the_interpreter),
        cmocka_unit_test(nothing_is_expanded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
