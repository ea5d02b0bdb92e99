/* alpha_dropout: torch's formula with dropout's mask, in every type and layout, by every executor, to
 * the same bits; its gradient; dropout and alpha_dropout with p = 1. */
#include "tests/engine/values.h"

#include "weft/autograd.h"

enum { COUNT = 2 * 21 * 5 * 7 };
static const weft_shape shape = {4, {2, 21, 5, 7}};

typedef weft_tensor *(*drop_fn)(weft_tensor *x, double p, bool training);

/* drop(x, p) and its gradient, as the first node but for a reorder of a new context. */
static void run(drop_fn drop, weft_executor executor, weft_dtype dtype, bool block, double p,
                const double *value, double *y, double *dx)
{
    weft_context *ctx = context(executor);
    weft_tensor *x = stored(ctx, dtype, shape, value);
    assert_int_equal(weft_set_requires_grad(x, true), WEFT_OK);
    weft_tensor *kept = weft_keep(drop(block ? blocked(x) : x, p, true));
    assert_int_equal(weft_backward(weft_sum(kept, WEFT_ALL_DIMS, false)), WEFT_OK);
    read_all(ctx, kept, y);
    read_all(ctx, weft_grad(x), dx);
    weft_tensor_unref(kept);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

static void it_is_torchs_formula_with_dropouts_mask(void **state)
{
    static double x[COUNT], y[COUNT], dx[COUNT], mask[COUNT], unused[COUNT], first[COUNT];
    const double p = 0.3, alpha = 1.7580993408473766,
                 a = 1 / sqrt((alpha * alpha * p + 1) * (1 - p));
    make_input(0, shape, x);
    for (int k = 0; k < 9; k++) {
        const weft_dtype dtype = k % 3 == 2 ? WEFT_F64 : WEFT_F32;
        const weft_executor executor = (weft_executor)(WEFT_EXECUTOR_PARALLEL + k / 3);
        const double bound = 16 * (dtype == WEFT_F32 ? 0x1p-24 : 0x1p-52) * 4;
        int dropped = 0;
        run(weft_dropout, executor, dtype, k % 3 == 1, p, x, unused, mask);
        run(weft_alpha_dropout, executor, dtype, k % 3 == 1, p, x, y, dx);
        for (int i = 0; i < COUNT; i++) {
            const double noise = mask[i] != 0;
            assert_true(fabs(y[i] - (x[i] * noise * a + alpha * a * (noise - 1) + alpha * a * p)) <=
                        bound);
            assert_true(fabs(dx[i] - noise * a) <= bound);
            dropped += noise == 0;
        }
        assert_true(fabs(dropped - p * COUNT) < 5 * sqrt(p * (1 - p) * COUNT));
        if (k < 3 && k % 3 == 0)
            memcpy(first, y, sizeof first);
        else if (k % 3 == 0) /* another executor, the same layout */
            assert_memory_equal(first, y, sizeof first);
    }
}

static void dropping_everything_gives_zeros_and_a_gradient_of_zeros(void **state)
{
    static const drop_fn drops[] = {weft_dropout, weft_alpha_dropout, weft_stochastic_depth};
    static double x[COUNT], y[COUNT], dx[COUNT];
    make_input(0, shape, x);
    for (int k = 0; k < 6; k++) {
        run(drops[k / 2], WEFT_EXECUTOR_PARALLEL, WEFT_F32, k % 2, 1, x, y, dx);
        for (int i = 0; i < COUNT; i++)
            assert_true(y[i] == 0 && dx[i] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_torchs_formula_with_dropouts_mask),
        cmocka_unit_test(dropping_everything_gives_zeros_and_a_gradient_of_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
