/* Broadcasting by NumPy's rules (https://numpy.org/doc/stable/user/basics.broadcasting.html), up to six
 * dimensions: every pattern of dimensions against a walk over the indices, values and both gradients,
 * exactly; and every pair of sizes that do not fit is refused. */
#include "values.h"

#include <stdio.h>

enum { RANK = 6, MOST = 2 * 3 * 2 * 3 * 2 * 3 };

/* What one dimension of the two operands looks like; of an operand that lacks it the shape is shorter. */
enum { BOTH, A_ONE, B_ONE, BOTH_ONE, N_KINDS };

typedef struct pair {
    weft_shape a, b, y;
} pair;

/* Pattern p of a result of `rank` dimensions, the first `missing` of which b lacks. */
static pair pattern(int rank, int p, int missing)
{
    pair r = {{rank, {0}}, {rank - missing, {0}}, {rank, {0}}};
    for (int d = 0; d < rank; d++, p /= N_KINDS) {
        const int kind = p % N_KINDS, full = 2 + d % 2;
        const int64_t a = kind == A_ONE || kind == BOTH_ONE ? 1 : full;
        const int64_t b = kind == B_ONE || kind == BOTH_ONE ? 1 : full;
        r.a.dim[d] = a;
        if (d >= missing)
            r.b.dim[d - missing] = b;
        r.y.dim[d] = d >= missing && b > a ? b : a;
    }
    return r;
}

/* Where element i of y lies in x, whose shape broadcasts to y's. */
static int64_t source(int64_t i, weft_shape y, weft_shape x)
{
    int64_t at = 0, stride = 1;
    for (int d = y.rank - 1, e = x.rank - 1; d >= 0; d--, e--) {
        const int64_t index = i % y.dim[d];
        i /= y.dim[d];
        if (e < 0)
            continue;
        at += x.dim[e] == 1 ? 0 : index * stride;
        stride *= x.dim[e];
    }
    return at;
}

/* Whole numbers below 2^11, so that every sum below is exact in f32, in any order. */
static weft_tensor *counted_up(weft_context *ctx, weft_shape shape, int first)
{
    static double x[2 * MOST];
    for (int64_t i = 0; i < weft_shape_count(shape); i++)
        x[i] = (double)(first + i);
    weft_tensor *t = stored(ctx, WEFT_F32, shape, x);
    weft_set_requires_grad(t, true);
    return t;
}

static void check(pair p, weft_tensor *y, weft_tensor *a, weft_tensor *b, weft_context *ctx)
{
    static double got[MOST], da[MOST], db[MOST], want_a[MOST], want_b[MOST];
    const int64_t n = weft_shape_count(p.y), n_a = weft_shape_count(p.a),
                  n_b = weft_shape_count(p.b);
    char text[3][64];
    weft_shape_format(p.a, text[0], sizeof text[0]);
    weft_shape_format(p.b, text[1], sizeof text[1]);
    if (!weft_shape_equal(weft_tensor_shape(y), p.y)) {
        weft_shape_format(weft_tensor_shape(y), text[2], sizeof text[2]);
        fail_msg("%s and %s: %s", text[0], text[1], text[2]);
    }
    read_all(ctx, y, got);
    read_all(ctx, weft_grad(a), da);
    read_all(ctx, weft_grad(b), db);
    memset(want_a, 0, sizeof want_a);
    memset(want_b, 0, sizeof want_b);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = source(i, p.y, p.a), bt = source(i, p.y, p.b);
        const double va = 1 + (double)at, vb = 3 + (double)bt;
        if (got[i] < va * vb || got[i] > va * vb)
            fail_msg("%s times %s: element %lld is %g, not %g", text[0], text[1], (long long)i,
                     got[i], va * vb);
        want_a[at] += vb;
        want_b[bt] += va;
    }
    assert_memory_equal(da, want_a, (size_t)n_a * sizeof *da);
    assert_memory_equal(db, want_b, (size_t)n_b * sizeof *db);
}

/* a * b for every pattern of each rank, b with all its dimensions and with fewer; a and b change
 * places every other time. */
static void every_pattern_equals_a_walk_over_the_indices(void **state)
{
    enum { AT_ONCE = 64 };
    static pair pairs[AT_ONCE];
    weft_tensor *a[AT_ONCE], *b[AT_ONCE], *y[AT_ONCE];
    int n_checked = 0;
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    for (int rank = 0, patterns = 1; rank <= RANK; rank++, patterns *= N_KINDS) {
        for (int missing = 0; missing <= rank; missing++) {
            /* Of all six dimensions with some missing, every seventh pattern. */
            const int step = rank == RANK && missing > 0 ? 7 : 1;
            for (int p = 0; p < patterns;) {
                int n = 0;
                weft_tensor *sum = NULL;
                for (; n < AT_ONCE && p < patterns; n++, p += step) {
                    pairs[n] = pattern(rank, p, missing);
                    a[n] = counted_up(ctx, pairs[n].a, 1);
                    b[n] = counted_up(ctx, pairs[n].b, 3);
                    weft_tensor *product = n % 2 ? weft_mul(b[n], a[n]) : weft_mul(a[n], b[n]);
                    y[n] = weft_keep(product);
                    weft_tensor *all = weft_sum(product, WEFT_ALL_DIMS, false);
                    sum = sum ? weft_add(sum, all) : all;
                }
                if (weft_backward(sum) != WEFT_OK || weft_sync(ctx) != WEFT_OK)
                    fail_msg("%s", weft_error_text(ctx));
                for (int i = 0; i < n; i++) {
                    check(pairs[i], y[i], a[i], b[i], ctx);
                    weft_tensor_unref(a[i]);
                    weft_tensor_unref(b[i]);
                    weft_tensor_unref(y[i]);
                }
                n_checked += n;
            }
        }
    }
    weft_context_destroy(ctx);
    assert_true(n_checked > 12000);
}

static void sizes_that_do_not_fit_are_named(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    for (int rank = 1; rank <= RANK; rank++)
        for (int d = 0; d < rank; d++) {
            pair p = pattern(rank, 0, 0);
            p.b.dim[d] = p.a.dim[d] == 2 ? 3 : 2;
            weft_tensor *a = counted_up(ctx, p.a, 1), *b = counted_up(ctx, p.b, 1);
            char want[64];
            snprintf(want, sizeof want, "do not broadcast (%d and %d)", (int)p.a.dim[d],
                     (int)p.b.dim[d]);
            assert_null(weft_mul(a, b));
            if (!strstr(weft_error_text(ctx), want))
                fail_msg("%s: no \"%s\"", weft_error_text(ctx), want);
            weft_error_clear(ctx);
            weft_tensor_unref(a);
            weft_tensor_unref(b);
        }
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_equals_a_walk_over_the_indices),
        cmocka_unit_test(sizes_that_do_not_fit_are_named),
    };
    return cmocka_run_group_tests_name("broadcast", tests, NULL, NULL);
}
