/* matmul and its kin as ops: values and gradients of every rank against loops in double, the same bits
 * from every executor and number of threads, and the messages of mistakes. What
 * PyTorch makes of the same: tests/parity/test_matmul.py. */
#include "tests/engine/values.h"

#include "engine/graph/ops/matmul_lower.h"

extern const wf_op wf_op_matmul;

enum { MOST = 64 * 50 * 50 };

typedef struct product_case {
    const char *name;
    weft_shape a, b;
    bool ta, tb;
} product_case;

static const product_case cases[] = {
    {"two matrices", {2, {30, 70}}, {2, {70, 50}}, 0, 0},
    {"vectors", {1, {700}}, {1, {700}}, 0, 0},
    {"matrix by vector", {2, {300, 70}}, {1, {70}}, 0, 0},
    {"matrixT by vector", {2, {70, 300}}, {1, {70}}, 1, 0},
    {"vector by matrix", {1, {70}}, {2, {70, 300}}, 0, 0},
    {"vector by batch", {1, {33}}, {3, {9, 33, 40}}, 0, 0},
    {"batch by vector", {3, {9, 33, 40}}, {1, {40}}, 0, 0},
    {"batch", {4, {3, 4, 49, 20}}, {4, {3, 4, 20, 49}}, 0, 0},
    {"batch, bT", {3, {12, 49, 20}}, {3, {12, 49, 20}}, 0, 1},
    {"batch, aT", {3, {12, 20, 49}}, {3, {12, 20, 49}}, 1, 0},
    {"batch, aT bT", {3, {12, 20, 49}}, {3, {12, 33, 20}}, 1, 1},
    {"batch by one", {4, {3, 5, 17, 20}}, {2, {20, 33}}, 0, 0},
    {"batch, aT, by one", {3, {15, 20, 17}}, {2, {20, 33}}, 1, 0},
    {"one by batch", {2, {40, 40}}, {3, {64, 40, 40}}, 0, 0},
    {"oneT by batchT", {2, {40, 40}}, {3, {64, 33, 40}}, 1, 1},
    {"both broadcast", {4, {7, 1, 9, 20}}, {4, {1, 6, 20, 11}}, 0, 0},
    {"outer dimension shared", {4, {20, 3, 40, 40}}, {3, {3, 40, 40}}, 0, 0},
    {"inner dimension shared", {4, {20, 3, 40, 40}}, {4, {20, 1, 40, 40}}, 0, 0},
    {"many small ones", {3, {2000, 3, 4}}, {3, {2000, 4, 2}}, 0, 0},
    {"rank 6", {6, {2, 1, 2, 1, 9, 8}}, {6, {1, 3, 2, 2, 8, 7}}, 0, 0},
    {"rank 6 by vector", {6, {2, 1, 2, 3, 9, 8}}, {1, {8}}, 0, 0},
};
enum { N_CASES = sizeof cases / sizeof *cases };

typedef struct outcome {
    int64_t n[3];
    double *value[3]; /* y, and the gradients of a and b for the loss sum(w y), w as make_input's */
} outcome;

/* amp: the factors are rounded to bf16 where the CPU has arithmetic on it. */
static outcome run_case(const product_case *c, weft_dtype dtype, weft_amp amp, int threads,
                        weft_executor executor)
{
    weft_options options = {
        .threads = threads, .executor = executor, .schedule_seed = 5, .amp = amp};
    static double x[3][MOST];
    weft_context *ctx;
    outcome o;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    make_input(0, c->a, x[0]);
    make_input(1, c->b, x[1]);
    weft_tensor *a = stored(ctx, dtype, c->a, x[0]), *b = stored(ctx, dtype, c->b, x[1]);
    weft_set_requires_grad(a, true);
    weft_set_requires_grad(b, true);
    weft_tensor *y = weft_matmul(a, b, c->ta, c->tb), *kept = weft_keep(y);
    if (!kept)
        fail_msg("%s: %s", c->name, weft_error_text(ctx));
    const weft_shape shape = weft_tensor_shape(y);
    make_input(2, shape, x[2]);
    weft_tensor *dy = stored(ctx, dtype, shape, x[2]);
    if (weft_backward_with(y, dy, false) || weft_sync(ctx))
        fail_msg("%s: %s", c->name, weft_error_text(ctx));
    weft_tensor *out[3] = {kept, weft_grad(a), weft_grad(b)}, *own[4] = {a, b, kept, dy};
    for (int i = 0; i < 3; i++) {
        o.n[i] = weft_shape_count(weft_tensor_shape(out[i]));
        o.value[i] = malloc((size_t)o.n[i] * sizeof(double));
        read_all(ctx, out[i], o.value[i]);
    }
    for (int i = 0; i < 4; i++)
        weft_tensor_unref(own[i]);
    weft_context_destroy(ctx);
    return o;
}

static void outcome_done(outcome *o)
{
    for (int i = 0; i < 3; i++)
        free(o->value[i]);
}

/* ---- by the formula ---- */

/* Matrix number i of the batch that `full` counts, in an operand of which each is rows x columns. */
static int64_t matrix_at(const weft_shape *s, int own_batch, const weft_shape *full, int64_t i,
                         int64_t size)
{
    int64_t at = 0, step = size;
    for (int d = 0; d < full->rank; d++) {
        int64_t all = full->dim[full->rank - 1 - d],
                have = d < own_batch ? s->dim[own_batch - 1 - d] : 1;
        at += have == 1 ? 0 : i % all * step;
        i /= all;
        step *= have;
    }
    return at;
}

/* Adds to y, da and db, and to `sum` the absolute values, in double. */
static void expect(const product_case *c, outcome *want, outcome *sum)
{
    static double a[MOST], b[MOST], dy[MOST];
    const int ra = c->a.rank > 1 ? c->a.rank - 2 : 0, rb = c->b.rank > 1 ? c->b.rank - 2 : 0;
    const bool va = c->a.rank == 1, vb = c->b.rank == 1;
    const int64_t *da = c->a.dim + ra, *db = c->b.dim + rb;
    const int64_t M = va ? 1 : da[c->ta], K = va ? da[0] : da[!c->ta], N = vb ? 1 : db[!c->tb];
    weft_shape full = {.rank = ra > rb ? ra : rb};
    int64_t items = 1;
    for (int d = 0; d < full.rank; d++) {
        int64_t x = d < ra ? c->a.dim[ra - 1 - d] : 1, y = d < rb ? c->b.dim[rb - 1 - d] : 1;
        items *= full.dim[full.rank - 1 - d] = x > y ? x : y;
    }
    const int64_t n[3] = {items * M * N, weft_shape_count(c->a), weft_shape_count(c->b)};
    for (int i = 0; i < 3; i++) {
        want->n[i] = sum->n[i] = n[i];
        want->value[i] = calloc((size_t)n[i], sizeof(double));
        sum->value[i] = calloc((size_t)n[i], sizeof(double));
    }
    make_input(0, c->a, a);
    make_input(1, c->b, b);
    make_input(2, WEFT_SHAPE(n[0]), dy);
    for (int64_t i = 0; i < items; i++) {
        const int64_t a0 = matrix_at(&c->a, ra, &full, i, M * K),
                      b0 = matrix_at(&c->b, rb, &full, i, K * N);
        for (int64_t m = 0; m < M; m++)
            for (int64_t j = 0; j < N; j++)
                for (int64_t k = 0; k < K; k++) {
                    const int64_t at[3] = {i * M * N + m * N + j,
                                           a0 + (c->ta ? k * M + m : m * K + k),
                                           b0 + (c->tb || vb ? j * K + k : k * N + j)};
                    const double p[3] = {a[at[1]] * b[at[2]], dy[at[0]] * b[at[2]],
                                         dy[at[0]] * a[at[1]]};
                    for (int t = 0; t < 3; t++) {
                        want->value[t][at[t]] += p[t];
                        sum->value[t][at[t]] += fabs(p[t]);
                    }
                }
    }
}

/* gamma_n sum |a||b| for sums of n, in any order; twice in f64, where the loop rounds as well. A sum by AMX rounds
 * n * 17 / 16 + 2 times. With amp both factors may be rounded, each by 2^-8 of it. */
static void compare(const product_case *c, const outcome *got, weft_dtype dtype, weft_amp amp)
{
    outcome want, sum;
    expect(c, &want, &sum);
    const double u = dtype == WEFT_F64 ? 0x1p-53 : 0x1p-24;
    const int64_t K = c->a.rank == 1 ? c->a.dim[0] : c->a.dim[c->a.rank - (c->ta ? 2 : 1)];
    for (int t = 0; t < 3; t++) {
        assert_int_equal(got->n[t], want.n[t]);
        const double n = (double)(want.n[0] * K / want.n[t]), gamma = n * u / (1 - n * u);
        const double rounded = amp == WEFT_AMP_BF16 && dtype == WEFT_F32 ? 1 + 0x1p-8 : 1;
        const double bound = (1 + 2 * gamma) * rounded * rounded - 1;
        for (int64_t i = 0; i < want.n[t]; i++)
            if (!(fabs(got->value[t][i] - want.value[t][i]) <= bound * sum.value[t][i]))
                fail_msg("%s, %s, result %d [%d]: %.17g instead of %.17g", c->name,
                         weft_dtype_name(dtype), t, (int)i, got->value[t][i], want.value[t][i]);
    }
    outcome_done(&want);
    outcome_done(&sum);
}

static void values_and_gradients_follow_the_formula(void **unused)
{
    for (int i = 0; i < N_CASES; i++)
        for (int way = 0; way < 3; way++) {
            const weft_dtype dtype = way == 1 ? WEFT_F64 : WEFT_F32;
            const weft_amp amp = way == 2 ? WEFT_AMP_BF16 : WEFT_AMP_OFF;
            outcome o = run_case(&cases[i], dtype, amp, 2, WEFT_EXECUTOR_PARALLEL);
            compare(&cases[i], &o, dtype, amp);
            outcome_done(&o);
        }
}

static void bits_do_not_depend_on_threads_or_executor(void **unused)
{
    for (int i = 0; i < 2 * N_CASES; i++) {
        const product_case *c = &cases[i / 2];
        const weft_amp amp = i % 2 ? WEFT_AMP_BF16 : WEFT_AMP_OFF;
        outcome first = run_case(c, WEFT_F32, amp, 1, WEFT_EXECUTOR_INTERPRETER);
        for (int threads = 1; threads <= 5; threads += 2) {
            outcome o = run_case(c, WEFT_F32, amp, threads, WEFT_EXECUTOR_PARALLEL);
            for (int t = 0; t < 3; t++)
                if (memcmp(o.value[t], first.value[t], (size_t)o.n[t] * sizeof(double)) != 0)
                    fail_msg("%s: %d threads give other bits of result %d", c->name, threads, t);
            outcome_done(&o);
        }
        outcome_done(&first);
    }
}

/* ---- a sum over the batch, which gradients record: its own gradient ---- */

static void gradients_of(weft_tensor *y, weft_tensor *a, weft_tensor *b, weft_tensor *seed,
                         double *out)
{
    weft_context *ctx = weft_tensor_context(a);
    if (!y || weft_backward_with(y, seed, false) || weft_sync(ctx))
        fail_msg("%s", weft_error_text(ctx));
    read_all(ctx, weft_grad(a), out);
    read_all(ctx, weft_grad(b), out + weft_shape_count(weft_tensor_shape(a)));
    weft_zero_grad(a);
    weft_zero_grad(b);
}

static void sums_over_the_batch_have_gradients(void **unused)
{
    static const weft_shape factors[][2] = {{{3, {4, 2, 3}}, {3, {4, 3, 2}}},
                                            {{3, {4, 2, 3}}, {3, {1, 3, 2}}},
                                            {{2, {2, 3}}, {4, {5, 4, 3, 2}}}};
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) {
        double x[200], got[200], want[200];
        make_input(3, WEFT_SHAPE(200), x);
        weft_tensor *a = stored(ctx, WEFT_F64, factors[i][0], x),
                    *b = stored(ctx, WEFT_F64, factors[i][1], x + 50),
                    *seed = stored(ctx, WEFT_F64, WEFT_SHAPE(2, 2), x + 190);
        const int64_t n = weft_shape_count(factors[i][0]) + weft_shape_count(factors[i][1]);
        weft_set_requires_grad(a, true);
        weft_set_requires_grad(b, true);
        const wf_matmul_attrs summed = {.dims = {2, 2, 2}};
        gradients_of(wf_record(&wf_op_matmul, &summed, NULL, 2, (weft_tensor *[]){a, b}, NULL), a,
                     b, seed, got);
        weft_tensor *all = weft_matmul(a, b, false, false);
        weft_dims front = {.n = weft_tensor_shape(all).rank - 2, .dim = {0, 1}};
        gradients_of(weft_sum(all, front, false), a, b, seed, want);
        for (int64_t j = 0; j < n; j++)
            assert_true(fabs(got[j] - want[j]) < 1e-13);
        weft_tensor_unref(a);
        weft_tensor_unref(b);
        weft_tensor_unref(seed);
    }
    weft_context_destroy(ctx);
}

/* ---- mistakes ---- */

typedef weft_tensor *(*pair)(weft_tensor *a, weft_tensor *b);

static weft_tensor *plain(weft_tensor *a, weft_tensor *b)
{
    return weft_matmul(a, b, false, false);
}
static weft_tensor *transposed_a(weft_tensor *a, weft_tensor *b)
{
    return weft_matmul(a, b, true, false);
}
static weft_tensor *transposed_b(weft_tensor *a, weft_tensor *b)
{
    return weft_matmul(a, b, false, true);
}

static void mistakes_are_named(void **unused)
{
    static const struct {
        pair apply;
        weft_shape a, b;
        const char *text;
    } wrong[] = {
        {plain,
         {0, {0}},
         {1, {3}},
         "matmul: factors need at least 1 dimension, have shapes [] and [3]"},
        {plain, {1, {3}}, {1, {4}}, "matmul: cannot multiply [3] by [4]: 3 is not 4"},
        {plain, {2, {2, 3}}, {1, {2}}, "matmul: cannot multiply [2, 3] by [2]: 3 is not 2"},
        {plain, {1, {3}}, {3, {5, 2, 3}}, "matmul: cannot multiply [3] by [5, 2, 3]: 3 is not 2"},
        {plain,
         {3, {5, 2, 3}},
         {3, {5, 2, 3}},
         "matmul: cannot multiply [5, 2, 3] by [5, 2, 3]: 3 is not 2"},
        {transposed_b,
         {3, {5, 2, 3}},
         {3, {5, 3, 4}},
         "matmul: cannot multiply [5, 2, 3] by [5, 3, 4] transposed: 3 is not 4"},
        {transposed_a,
         {3, {5, 2, 3}},
         {3, {5, 3, 4}},
         "matmul: cannot multiply [5, 2, 3] transposed by [5, 3, 4]: 2 is not 3"},
        {plain,
         {3, {2, 2, 3}},
         {3, {5, 3, 4}},
         "matmul: batch dimensions of [2, 2, 3] and [5, 3, 4] do not broadcast (2 and 5)"},
        {plain,
         {4, {3, 2, 2, 3}},
         {4, {4, 1, 3, 4}},
         "matmul: batch dimensions of [3, 2, 2, 3] and [4, 1, 3, 4] do not broadcast (3 and 4)"},
        {transposed_a,
         {1, {3}},
         {2, {3, 4}},
         "matmul: a vector cannot be transposed: the first factor has shape [3]"},
        {transposed_b,
         {2, {4, 3}},
         {1, {3}},
         "matmul: a vector cannot be transposed: the second factor has shape [3]"},
        {weft_dot,
         {2, {2, 3}},
         {1, {3}},
         "dot: factors of ranks 1 and 1 expected, have shapes [2, 3] and [3]"},
        {weft_mv,
         {1, {3}},
         {1, {3}},
         "mv: factors of ranks 2 and 1 expected, have shapes [3] and [3]"},
        {weft_outer,
         {1, {3}},
         {2, {3, 1}},
         "outer: factors of ranks 1 and 1 expected, have shapes [3] and [3, 1]"},
        {weft_bmm,
         {2, {2, 3}},
         {3, {1, 3, 2}},
         "bmm: factors of ranks 3 and 3 expected, have shapes [2, 3] and [1, 3, 2]"},
        {weft_bmm, {3, {2, 2, 3}}, {3, {1, 3, 2}}, "bmm: 2 matrices by 1; weft_matmul broadcasts"},
    };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        weft_tensor *a = weft_tensor_create(ctx, WEFT_F32, wrong[i].a),
                    *b = weft_tensor_create(ctx, WEFT_F32, wrong[i].b);
        assert_null(wrong[i].apply(a, b));
        if (!strstr(weft_error_text(ctx), wrong[i].text))
            fail_msg("\"%s\" lacks \"%s\"", weft_error_text(ctx), wrong[i].text);
        weft_error_clear(ctx);
        weft_tensor_unref(a);
        weft_tensor_unref(b);
    }
    weft_context_destroy(ctx);
}

static void types_must_agree(void **unused)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL);
    weft_tensor *a = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3)),
                *b = weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(3)),
                *i = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(3));
    assert_null(weft_mv(a, b));
    assert_non_null(
        strstr(weft_error_text(ctx), "mv: the second factor is f64, the first factor is f32"));
    weft_error_clear(ctx);
    assert_null(weft_mv(a, i));
    assert_non_null(strstr(weft_error_text(ctx), "mv: input 1 is i64, expected f32 or f64"));
    weft_tensor *all[] = {a, b, i};
    for (int k = 0; k < 3; k++)
        weft_tensor_unref(all[k]);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_gradients_follow_the_formula),
        cmocka_unit_test(bits_do_not_depend_on_threads_or_executor),
        cmocka_unit_test(sums_over_the_batch_have_gradients),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(types_must_agree),
    };
    return cmocka_run_group_tests_name("op_matmul", tests, NULL, NULL);
}
