/* Batch normalisation as recorded: values against plain C in double, running statistics as torch's,
 * the fused op's bits, errors. Gradients: test_ops_gradcheck.c, test_ops_samples.c.
 * Letters: N minibatch, C channels, P pixels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/graph/ops/batch_norm.h"
#include "engine/graph/ops/reorder.h"
#include "weft/weft.h"

enum { MAX = 20000, MAX_C = 40 };

static weft_context *context(weft_executor executor, int threads)
{
    weft_options options = {.threads = threads, .executor = executor, .schedule_seed = 5};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    return ctx;
}

/* f32 values center +- 1, dense and never twice the same; seed tells tensors apart. */
static weft_tensor *values(weft_context *ctx, weft_shape shape, double seed, double center,
                           float *copy)
{
    static float x[MAX];
    int64_t n = weft_shape_count(shape);
    assert_true(n <= MAX);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(center + 2 * fmod(0.6180339887 * (double)(i + 1) + seed, 1.0) - 1);
    if (copy)
        memcpy(copy, x, (size_t)n * sizeof *x);
    weft_tensor *t = weft_tensor_from(ctx, WEFT_F32, shape, x);
    assert_non_null(t);
    return t;
}

static weft_tensor *blocked(weft_tensor *x)
{
    wf_reorder_attrs a = {wf_isa_block(weft_context_isa(weft_tensor_context(x)))};
    return weft_tensor_shape(x).rank == 4 ? wf_record(&wf_op_reorder, &a, NULL, 1, &x, NULL) : x;
}

static void read_all(weft_context *ctx, weft_tensor *t, float *out)
{
    if (!t || weft_read(t, out, (size_t)weft_shape_count(weft_tensor_shape(t)) * sizeof *out))
        fail_msg("%s", weft_error_text(ctx));
}

/* Mean and biased variance of channel c of x (N, C, P). */
static void moments(const float *x, int64_t N, int64_t C, int64_t P, int64_t c, double *mean,
                    double *var)
{
    double sum = 0, m2 = 0;
    for (int64_t n = 0; n < N; n++)
        for (int64_t p = 0; p < P; p++)
            sum += (double)x[(n * C + c) * P + p];
    *mean = sum / (double)(N * P);
    for (int64_t n = 0; n < N; n++)
        for (int64_t p = 0; p < P; p++)
            m2 += pow((double)x[(n * C + c) * P + p] - *mean, 2);
    *var = m2 / (double)(N * P);
}

static const weft_shape SHAPES[] = {{4, {3, 19, 5, 4}}, {4, {2, 8, 1, 1}}, {4, {1, 3, 9, 17}},
                                    {2, {7, 5}},        {2, {200, 33}},    {2, {2, 1}}};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

static int64_t pixels(weft_shape s)
{
    return s.rank == 4 ? s.dim[2] * s.dim[3] : 1;
}

/* ---- values --------------------------------------------------------------------------------- */

static void check_values(weft_shape shape, bool training, bool affine, bool in_blocks)
{
    static float x[MAX], y[MAX];
    float g[MAX_C], b[MAX_C], rm[MAX_C], rv[MAX_C];
    const int64_t N = shape.dim[0], C = shape.dim[1], P = pixels(shape);
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL, 2);
    weft_tensor *tx = values(ctx, shape, 0.1, 3, x);
    weft_tensor *gamma = values(ctx, WEFT_SHAPE(C), 0.2, 0.5, g);
    weft_tensor *beta = values(ctx, WEFT_SHAPE(C), 0.3, 0, b);
    weft_tensor *mean = values(ctx, WEFT_SHAPE(C), 0.4, 3, rm);
    weft_tensor *var = values(ctx, WEFT_SHAPE(C), 0.5, 1.5, rv);
    weft_batch_norm_opts opts = {.training = training, .eps = 1e-3, .momentum = 0.1};
    weft_tensor *in = in_blocks ? blocked(tx) : tx;
    read_all(
        ctx,
        weft_batch_norm(in, affine ? gamma : NULL, affine ? beta : NULL, mean, var, NULL, &opts),
        y);
    for (int64_t c = 0; c < C; c++) {
        double m = (double)rm[c], v = (double)rv[c];
        if (training)
            moments(x, N, C, P, c, &m, &v);
        const double scale = (affine ? (double)g[c] : 1) / sqrt(v + 1e-3);
        for (int64_t n = 0; n < N; n++)
            for (int64_t p = 0; p < P; p++) {
                const int64_t i = (n * C + c) * P + p;
                const double want = ((double)x[i] - m) * scale + (affine ? (double)b[c] : 0);
                /* ranges of 64 in float: 21 roundings of values up to 4 in the mean, of up to 4 in
                 * the variance, a few in scale and shift */
                const double bound = 40 * 0x1p-24 * (4 * fabs(scale) * (1 + fabs(scale)) + 1);
                if (!(fabs((double)y[i] - want) <= bound))
                    fail_msg("%s rank %d: %.9g, expected %.9g",
                             training ? "training" : "evaluation", shape.rank, (double)y[i], want);
            }
    }
    weft_tensor *all[] = {tx, gamma, beta, mean, var};
    for (int i = 0; i < 5; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

static void values_match_plain_c(void **state)
{
    for (int s = 0; s < N_SHAPES; s++)
        for (int k = 0; k < 8; k++)
            check_values(SHAPES[s], k & 1, k & 2, k & 4);
}

/* ---- running statistics --------------------------------------------------------------------- */

/* Three batches, whose outputs nobody reads: the statistics are updated all the same, once each. */
static void check_running(weft_shape shape, double momentum, bool tracked, weft_executor executor)
{
    static float x[MAX];
    const int64_t N = shape.dim[0], C = shape.dim[1], P = pixels(shape);
    double want_mean[MAX_C], want_var[MAX_C];
    float got_mean[MAX_C], got_var[MAX_C];
    weft_context *ctx = context(executor, 2);
    weft_tensor *mean = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(C), 0);
    weft_tensor *var = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(C), 1);
    weft_tensor *count = tracked ? weft_tensor_create(ctx, WEFT_I64, WEFT_SCALAR) : NULL;
    for (int64_t c = 0; c < C; c++) {
        want_mean[c] = 0;
        want_var[c] = 1;
    }
    for (int step = 0; step < 3; step++) {
        weft_tensor *tx = values(ctx, shape, 0.1 * step, step, x);
        weft_batch_norm_opts opts = {.training = true, .eps = 1e-5, .momentum = momentum};
        assert_non_null(weft_batch_norm(blocked(tx), NULL, NULL, mean, var, count, &opts));
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        weft_tensor_unref(tx);
        const double m = momentum < 0 ? 1.0 / (step + 1) : momentum;
        for (int64_t c = 0; c < C; c++) {
            double batch_mean, batch_var;
            moments(x, N, C, P, c, &batch_mean, &batch_var);
            batch_var *= (double)(N * P) / (double)(N * P - 1);
            want_mean[c] = (1 - m) * want_mean[c] + m * batch_mean;
            want_var[c] = (1 - m) * want_var[c] + m * batch_var;
        }
    }
    read_all(ctx, mean, got_mean);
    read_all(ctx, var, got_var);
    for (int64_t c = 0; c < C; c++) { /* 21 roundings a batch, values up to 3 */
        const double bound = 3 * 24 * 0x1p-24 * 3;
        if (!(fabs((double)got_mean[c] - want_mean[c]) <= bound))
            fail_msg("mean: %.9g, expected %.9g", (double)got_mean[c], want_mean[c]);
        if (!(fabs((double)got_var[c] - want_var[c]) <= bound))
            fail_msg("var: %.9g, expected %.9g", (double)got_var[c], want_var[c]);
    }
    if (count)
        assert_true(weft_item(count) == 3);
    weft_tensor_unref(mean);
    weft_tensor_unref(var);
    weft_tensor_unref(count);
    weft_context_destroy(ctx);
}

static void running_statistics_are_updated_once_a_batch(void **state)
{
    static const double momentum[] = {0, 0.3, 1, -1};
    for (int s = 0; s < N_SHAPES; s++)
        for (int m = 0; m < 4; m++)
            for (int e = 0; e < 3; e++)
                check_running(SHAPES[s], momentum[m], m % 2 || momentum[m] < 0, (weft_executor)e);
}

static void a_layer_used_twice_in_a_step_counts_twice(void **state)
{
    float x[24], got[3];
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL, 2);
    weft_tensor *mean = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(3));
    weft_tensor *var = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3), 1);
    weft_tensor *count = weft_tensor_create(ctx, WEFT_I64, WEFT_SCALAR);
    weft_tensor *tx = values(ctx, WEFT_SHAPE(2, 3, 2, 2), 0.7, 2, x);
    weft_batch_norm_opts opts = {.training = true, .eps = 1e-5, .momentum = 0.5};
    for (int i = 0; i < 2; i++)
        assert_non_null(weft_batch_norm(tx, NULL, NULL, mean, var, count, &opts));
    /* evaluation later in the same step sees the update */
    weft_batch_norm_opts eval = WEFT_BATCH_NORM_OPTS_INIT;
    float y[24];
    read_all(ctx, weft_batch_norm(tx, NULL, NULL, mean, var, count, &eval), y);
    read_all(ctx, mean, got);
    assert_true(weft_item(count) == 2);
    for (int c = 0; c < 3; c++) {
        double m, v;
        moments(x, 2, 3, 4, c, &m, &v);
        assert_true(fabs((double)got[c] - 0.75 * m) <= 1e-6 * 3);
        const double scale = 1 / sqrt(0.25 + 0.75 * v * 8 / 7 + 1e-5);
        assert_true(fabs((double)y[c * 4] - ((double)x[c * 4] - 0.75 * m) * scale) <= 1e-5 * 4);
    }
    weft_tensor_unref(tx);
    weft_tensor_unref(mean);
    weft_tensor_unref(var);
    weft_tensor_unref(count);
    weft_context_destroy(ctx);
}

/* Note [Commit phase]. */
static void a_failed_step_leaves_running_statistics_alone(void **state)
{
    float got[3];
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL, 2);
    weft_tensor *mean = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3), 0.25);
    weft_tensor *var = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3), 1);
    weft_tensor *x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 2, 2), (double)NAN);
    weft_batch_norm_opts opts = {.training = true, .eps = 1e-5, .momentum = 0.1};
    weft_tensor *y = weft_batch_norm(x, NULL, NULL, mean, var, NULL, &opts);
    assert_non_null(weft_check_finite(y));
    assert_int_equal(weft_sync(ctx), WEFT_ERR_NUMERIC);
    weft_error_clear(ctx);
    read_all(ctx, mean, got);
    for (int c = 0; c < 3; c++)
        assert_true(got[c] == 0.25f);
    weft_tensor_unref(x);
    weft_tensor_unref(mean);
    weft_tensor_unref(var);
    weft_context_destroy(ctx);
}

/* ---- the fused op --------------------------------------------------------------------------- */

typedef struct outcome {
    float y[MAX], dx[MAX], dres[MAX], dgamma[MAX_C], dbeta[MAX_C], mean[MAX_C];
} outcome;

static weft_tensor *apart(wf_norm_f f, weft_tensor *z)
{
    switch (f) {
    case WF_NORM_RELU6: return weft_relu6(z);
    case WF_NORM_SILU: return weft_silu(z);
    case WF_NORM_HARDSWISH: return weft_hardswish(z);
    default: return weft_relu(z);
    }
}

/* recorded: bn_act by name; else the ops apart, which the plan fuses where passes_off lets it. */
static void step(weft_shape shape, wf_norm_f f, bool training, bool residual, bool recorded,
                 unsigned passes_off, weft_executor executor, int threads, outcome *o)
{
    const weft_shape channels = WEFT_SHAPE(shape.dim[1]);
    weft_options options = {
        .threads = threads, .executor = executor, .schedule_seed = 5, .passes_off = passes_off};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    weft_tensor *x = values(ctx, shape, 0.1, 1, NULL), *res = values(ctx, shape, 0.9, 0, NULL);
    weft_tensor *gamma = values(ctx, channels, 0.2, 5, NULL); /* to reach the kinks at 3 and 6 */
    weft_tensor *beta = values(ctx, channels, 0.3, 0, NULL);
    weft_tensor *mean = values(ctx, channels, 0.4, 1, NULL);
    weft_tensor *var = values(ctx, channels, 0.5, 2, NULL),
                *seed = values(ctx, shape, 0.6, 0, NULL);
    weft_tensor *trained[] = {x, res, gamma, beta};
    for (int i = 0; i < 4; i++)
        weft_set_requires_grad(trained[i], true);
    weft_batch_norm_opts opts = {.training = training, .eps = 1e-5, .momentum = 0.1};
    weft_tensor *in = blocked(x), *skip = residual ? blocked(res) : NULL, *y;
    if (recorded) {
        y = wf_record_batch_norm_act(in, gamma, beta, mean, var, NULL, skip, f, &opts);
    } else {
        y = weft_batch_norm(in, gamma, beta, mean, var, NULL, &opts);
        y = apart(f, skip ? weft_add(y, skip) : y);
    }
    weft_tensor *kept = weft_keep(y);
    if (weft_backward_with(y, seed, false) != WEFT_OK || weft_sync(ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    memset(o, 0, sizeof *o);
    read_all(ctx, kept, o->y);
    read_all(ctx, weft_grad(x), o->dx);
    read_all(ctx, weft_grad(gamma), o->dgamma);
    read_all(ctx, weft_grad(beta), o->dbeta);
    read_all(ctx, mean, o->mean);
    if (residual)
        read_all(ctx, weft_grad(res), o->dres);
    weft_tensor *all[] = {x, res, gamma, beta, mean, var, seed, kept};
    for (int i = 0; i < 8; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

/* Of the op recorded by name and of the one the plan makes, beside the ops apart. */
static void the_fused_op_computes_the_same_bits(void **state)
{
    outcome *want = malloc(sizeof *want), *got = malloc(sizeof *got);
    assert_true(want && got);
    for (int s = 0; s < N_SHAPES; s++)
        for (int k = 0; k < 16; k++) {
            const bool training = k & 1, residual = k & 2;
            const wf_norm_f f = WF_NORM_RELU + (wf_norm_f)(k / 4);
            if (residual && wf_norm_recomputes(f))
                continue;
            step(SHAPES[s], f, training, residual, false, WEFT_PASS_FUSE, WEFT_EXECUTOR_INTERPRETER,
                 1, want);
            for (int e = 0; e < 3; e++) {
                const int threads = e == WEFT_EXECUTOR_RANDOM ? 3 : 1 + (k & 1);
                step(SHAPES[s], f, training, residual, false, 0, (weft_executor)e, threads, got);
                if (memcmp(want, got, sizeof *want) != 0)
                    fail_msg("shape %d, variant %d, executor %d, planned", s, k, e);
            }
            step(SHAPES[s], f, training, residual, true, 0, WEFT_EXECUTOR_PARALLEL, 3, got);
            if (memcmp(want, got, sizeof *want) != 0)
                fail_msg("shape %d, variant %d, recorded", s, k);
        }
    free(want);
    free(got);
}

/* relu(bn(x0) + bn(x1)), as where a residual block has a convolution in its shortcut. Bits of
 * `variant`: either BatchNorm is in training, has a frozen scale and shift, has an input that takes
 * no gradient. The gradients of x0, x1, gamma0, gamma1, ...: 0 where there are none. */
enum { JOINED = 2 * (5 * 3 * 4 + 2 * 5), JOINED_VARIANTS = 64 };

static void joined(int variant, weft_executor executor, unsigned passes_off, float grads[JOINED])
{
    weft_options options = {.threads = 1, .executor = executor, .passes_off = passes_off};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    weft_tensor *t[10], *y[2];
    for (int i = 0; i < 2; i++) {
        weft_tensor **own = t + 5 * i;
        const double seed = 0.3 * i;
        own[0] = values(ctx, WEFT_SHAPE(1, 5, 3, 4), seed, 0.5, NULL);
        own[1] = values(ctx, WEFT_SHAPE(5), seed + 0.1, 1, NULL);
        own[2] = values(ctx, WEFT_SHAPE(5), seed + 0.2, 0, NULL);
        own[3] = values(ctx, WEFT_SHAPE(5), seed + 0.3, 0, NULL);
        own[4] = values(ctx, WEFT_SHAPE(5), seed + 0.4, 2, NULL);
        weft_set_requires_grad(own[0], !(variant >> i & 16));
        weft_set_requires_grad(own[1], !(variant >> i & 4));
        weft_set_requires_grad(own[2], !(variant >> i & 4));
        weft_batch_norm_opts opts = WEFT_BATCH_NORM_OPTS_INIT;
        opts.training = variant >> i & 1;
        weft_tensor *x = blocked(own[0]);
        y[i] = weft_batch_norm(x, own[1], own[2], own[3], own[4], NULL, &opts);
    }
    weft_tensor *w = values(ctx, WEFT_SHAPE(1, 5, 3, 4), 0.7, 0, NULL);
    weft_tensor *loss =
        weft_sum(weft_mul(weft_relu(weft_add(y[0], y[1])), blocked(w)), WEFT_ALL_DIMS, false);
    assert_non_null(loss);
    memset(grads, 0, JOINED * sizeof *grads);
    if ((variant & 60) != 60 && weft_backward(loss) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    if (weft_sync(ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    for (int i = 0; i < 10; i++) {
        weft_tensor *g = i % 5 < 3 ? weft_grad(t[i]) : NULL;
        int64_t n = weft_shape_count(weft_tensor_shape(t[i]));
        if (g)
            read_all(ctx, g, grads);
        grads += i % 5 < 3 ? n : 0;
    }
    for (int i = 0; i < 10; i++)
        weft_tensor_unref(t[i]);
    weft_tensor_unref(w);
    weft_context_destroy(ctx);
}

static void two_that_meet_in_an_add_are_told_apart(void **state)
{
    float want[JOINED], got[JOINED];
    for (int variant = 0; variant < JOINED_VARIANTS; variant++) {
        joined(variant, WEFT_EXECUTOR_INTERPRETER, WEFT_PASS_ALL, want);
        joined(variant, WEFT_EXECUTOR_PARALLEL, 0, got);
        if (memcmp(want, got, JOINED * sizeof *want) != 0)
            fail_msg("variant %d", variant);
    }
}

/* ---- errors --------------------------------------------------------------------------------- */

static void errors_name_the_numbers(void **state)
{
    enum {
        ROWS1,
        RANK3,
        WEIGHT,
        BIAS,
        MEAN,
        VAR,
        ONE,
        DTYPE,
        TRACKED,
        CUMULATIVE,
        EPS,
        EPS0,
        NONE,
        TYPE,
        N
    };
    static const char *const texts[N] = {
        [ROWS1] = ("batch_norm: expected more than 1 value per channel when training, got input "
                   "size [1, 3]"),
        [RANK3] = "batch_norm: input is [2, 3, 4], expected (N, C) or (N, C, H, W)",
        [WEIGHT] = "batch_norm: weight has shape [4], input has 3 channels",
        [BIAS] = "batch_norm: bias has shape [4], input has 3 channels",
        [MEAN] = "batch_norm: running_mean has shape [4], input has 3 channels",
        [VAR] = "batch_norm: running_var has shape [4], input has 3 channels",
        [ONE] = "batch_norm: running_mean and running_var must both be given, or neither",
        [DTYPE] = "batch_norm: weight is f64, input is f32",
        [TRACKED] = "batch_norm: num_batches_tracked must be an i64 scalar",
        [CUMULATIVE] = "batch_norm: a cumulative average needs num_batches_tracked",
        [EPS] = "batch_norm: eps -1 must not be negative, momentum 0.1 not above 1",
        [EPS0] = "batch_norm: eps 0 must be above 0 in training, momentum is 0.1 "
                 "(WEFT_BATCH_NORM_OPTS_INIT has the defaults)",
        [NONE] = "batch_norm: eps 0 must be above 0 in training, momentum is 0 "
                 "(WEFT_BATCH_NORM_OPTS_INIT has the defaults)",
        [TYPE] = "batch_norm: input 0 is i64, expected f32 or f64",
    };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL, 1);
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4, 4));
    weft_tensor *row = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(1, 3));
    weft_tensor *rank3 = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4));
    weft_tensor *three = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(3));
    weft_tensor *four = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(4));
    weft_tensor *d = weft_tensor_create(ctx, WEFT_F64, WEFT_SHAPE(3));
    weft_tensor *ints = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(2, 3));
    const weft_batch_norm_opts train = {.training = true, .eps = 1e-5, .momentum = 0.1};
    const weft_batch_norm_opts eps = {.training = true, .eps = -1, .momentum = 0.1};
    const weft_batch_norm_opts cumulative = {.training = true, .eps = 1e-5, .momentum = -1};
    const weft_batch_norm_opts eps0 = {.training = true, .momentum = 0.1}, none = {0};
    for (int i = 0; i < N; i++) {
        weft_tensor *y = x;
        weft_error_clear(ctx);
        switch (i) {
        case ROWS1: y = weft_batch_norm(row, NULL, NULL, NULL, NULL, NULL, &train); break;
        case RANK3: y = weft_batch_norm(rank3, NULL, NULL, NULL, NULL, NULL, &train); break;
        case WEIGHT: y = weft_batch_norm(x, four, three, NULL, NULL, NULL, &train); break;
        case BIAS: y = weft_batch_norm(x, three, four, NULL, NULL, NULL, &train); break;
        case MEAN: y = weft_batch_norm(x, NULL, NULL, four, three, NULL, NULL); break;
        case VAR: y = weft_batch_norm(x, NULL, NULL, three, four, NULL, NULL); break;
        case ONE: y = weft_batch_norm(x, NULL, NULL, three, NULL, NULL, NULL); break;
        case DTYPE: y = weft_batch_norm(x, d, d, NULL, NULL, NULL, &train); break;
        case TRACKED: y = weft_batch_norm(x, NULL, NULL, three, three, four, &train); break;
        case CUMULATIVE: y = weft_batch_norm(x, NULL, NULL, three, three, NULL, &cumulative); break;
        case EPS: y = weft_batch_norm(x, NULL, NULL, NULL, NULL, NULL, &eps); break;
        case EPS0: y = weft_batch_norm(x, NULL, NULL, NULL, NULL, NULL, &eps0); break;
        case NONE: y = weft_batch_norm(x, NULL, NULL, three, three, NULL, &none); break;
        case TYPE: y = weft_batch_norm(ints, NULL, NULL, NULL, NULL, NULL, &train); break;
        }
        assert_null(y);
        assert_string_equal(weft_error_text(ctx), texts[i]);
    }
    weft_error_clear(ctx);
    assert_null(weft_batch_norm(NULL, NULL, NULL, NULL, NULL, NULL, &train));
    /* one value per channel is fine in evaluation */
    assert_non_null(weft_batch_norm(row, NULL, NULL, three, three, NULL, NULL));
    weft_tensor *all[] = {x, row, rank3, three, four, d, ints};
    for (int i = 0; i < 7; i++)
        weft_tensor_unref(all[i]);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_match_plain_c),
        cmocka_unit_test(running_statistics_are_updated_once_a_batch),
        cmocka_unit_test(a_layer_used_twice_in_a_step_counts_twice),
        cmocka_unit_test(a_failed_step_leaves_running_statistics_alone),
        cmocka_unit_test(the_fused_op_computes_the_same_bits),
        cmocka_unit_test(two_that_meet_in_an_add_are_told_apart),
        cmocka_unit_test(errors_name_the_numbers),
    };
    return cmocka_run_group_tests_name("op batch_norm", tests, NULL, NULL);
}
