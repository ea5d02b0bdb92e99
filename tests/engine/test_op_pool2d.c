/* Pooling as recorded: output shapes, errors, indices only where a gradient wants them, ties and
 * NaN, in every layout and by every executor. The kernels' arithmetic: kernels/test_pool.c;
 * gradients: test_ops_gradcheck.c, test_ops_samples.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/graph/ops/pool2d.h"
#include "engine/graph/ops/reorder.h"
#include "weft/weft.h"

static weft_context *context(weft_executor executor, int threads)
{
    weft_options options = {.threads = threads, .executor = executor, .schedule_seed = 5};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    return ctx;
}

static weft_tensor *blocked(weft_tensor *x)
{
    wf_reorder_attrs a = {wf_isa_block(weft_context_isa(weft_tensor_context(x)))};
    return wf_record(&wf_op_reorder, &a, NULL, 1, &x, NULL);
}

static void read_all(weft_context *ctx, weft_tensor *t, float *out)
{
    if (!t || weft_read(t, out, (size_t)weft_shape_count(weft_tensor_shape(t)) * sizeof *out))
        fail_msg("%s", weft_error_text(ctx));
}

/* ---- shapes and errors ---------------------------------------------------------------------- */

typedef struct shape_case {
    weft_pool2d_opts opts;
    int64_t H, W, P, Q;
    const char *max_error, *avg_error; /* NULL: none */
} shape_case;

static void outputs_are_shaped_as_torchs_and_errors_name_the_numbers(void **state)
{
    static const shape_case CASES[] = {
        {{.kernel = {2, 2}}, 7, 8, 3, 4, NULL, NULL},
        {{.kernel = {2, 2}, .ceil_mode = true}, 7, 9, 4, 5, NULL, NULL},
        {{.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}}, 112, 112, 56, 56, NULL, NULL},
        {{.kernel = {3, 2}, .stride = {2, 1}, .ceil_mode = true}, 10, 4, 5, 3, NULL, NULL},
        {{.kernel = {2, 2}, .stride = {3, 3}, .ceil_mode = true}, 4, 3, 2, 1, NULL, NULL},
        {{.kernel = {2, 2}, .padding = {2, 0}},
         8,
         8,
         0,
         0,
         "max_pool2d: padding 2 is more than half of the kernel's height 2",
         "avg_pool2d: padding 2 is more than half of the kernel's height 2"},
        {{.kernel = {2, 9}, .padding = {1, 1}},
         8,
         6,
         0,
         0,
         "max_pool2d: the output is empty: width 6 with padding 1 is smaller than the kernel's 9",
         "avg_pool2d: the output is empty: width 6 with padding 1 is smaller than the kernel's 9"},
        {{.kernel = {0, 2}},
         8,
         6,
         0,
         0,
         "max_pool2d: the options have no kernel (height): expected at least 1",
         "avg_pool2d: the options have no kernel (height): expected at least 1"},
        {{.kernel = {2, 2}, .stride = {1, -1}},
         8,
         6,
         0,
         0,
         "max_pool2d: kernel 2, stride -1 and dilation 1 must be at least 1, padding 0 at least 0 "
         "(width)",
         "avg_pool2d: kernel 2, stride -1 and dilation 1 must be at least 1, padding 0 at least 0 "
         "(width)"},
        {{.kernel = {2, 2}, .dilation = {8, 1}},
         8,
         8,
         4,
         4,
         "max_pool2d: the output is empty: height 8 with padding 0 is smaller than the kernel's 9",
         NULL}, /* average pooling has no dilation */
        {{.kernel = {1 << 30, 2}, .stride = {1, 1}},
         8,
         8,
         0,
         0,
         "max_pool2d: height 8, kernel 1073741824, stride 1 or dilation 1 is too large",
         "avg_pool2d: height 8, kernel 1073741824, stride 1 or dilation 1 is too large"},
    };
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL, 1);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const shape_case *k = &CASES[i];
        weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3, k->H, k->W));
        for (int average = 0; average < 2; average++) {
            const char *error = average ? k->avg_error : k->max_error;
            weft_error_clear(ctx);
            weft_tensor *y = average ? weft_avg_pool2d(x, &k->opts) : weft_max_pool2d(x, &k->opts);
            if (error) {
                assert_null(y);
                assert_string_equal(weft_error_text(ctx), error);
            } else {
                if (!y)
                    fail_msg("%s", weft_error_text(ctx));
                weft_shape s = weft_tensor_shape(y);
                assert_true(weft_shape_equal(s, WEFT_SHAPE(2, 3, k->P, k->Q)));
            }
        }
        weft_tensor_unref(x);
    }
    weft_context_destroy(ctx);
}

static void operands_are_checked(void **state)
{
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL, 1);
    weft_tensor *flat = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(3, 4));
    weft_tensor *ints = weft_tensor_create(ctx, WEFT_I64, WEFT_SHAPE(2, 3, 4, 4));
    weft_tensor *x = weft_tensor_create(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4, 4));
    const weft_pool2d_opts two = {.kernel = {2, 2}};
    static const char *const texts[] = {
        "max_pool2d: input is [3, 4], expected (N, C, H, W) or (C, H, W)",
        "avg_pool2d: input 0 is i64, expected f32 or f64",
        "adaptive_avg_pool2d: input is [3, 4], expected (N, C, H, W) or (C, H, W)",
        "adaptive_avg_pool2d: output width 0 must be at least 1",
        ("max_pool2d: the options have no kernel (height): expected at least 1"),
    };
    for (int i = 0; i < 5; i++) {
        weft_tensor *y = x;
        weft_error_clear(ctx);
        switch (i) {
        case 0: y = weft_max_pool2d(flat, &two); break;
        case 1: y = weft_avg_pool2d(ints, &two); break;
        case 2: y = weft_adaptive_avg_pool2d(flat, 1, 1); break;
        case 3: y = weft_adaptive_avg_pool2d(x, 1, 0); break;
        case 4: y = weft_max_pool2d(x, NULL); break;
        }
        assert_null(y);
        assert_string_equal(weft_error_text(ctx), texts[i]);
    }
    weft_error_clear(ctx);
    assert_null(weft_max_pool2d(NULL, &two));
    assert_int_equal(weft_error_status(ctx), WEFT_OK); /* NULL passes through */
    weft_tensor_unref(flat);
    weft_tensor_unref(ints);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
}

/* ---- ties, NaN, layouts, executors ------------------------------------------------------------
 */

enum { C = 11, H = 4, W = 6, P = 2, Q = 3, N_IN = 2 * C * H * W, N_OUT = 2 * C * P * Q };

/* Windows of 2x2: all equal; the maximum twice, second and fourth; a NaN before a number; ... */
static float pixel(int c, int h, int w)
{
    const int window = (h / 2 * Q + w / 2 + c) % 4, at = h % 2 * 2 + w % 2;
    static const float kinds[4][4] = {
        {2, 2, 2, 2}, {1, 5, 0, 5}, {-1, NAN, 9, 3}, {-INFINITY, -INFINITY, -INFINITY, -INFINITY}};
    return kinds[window][at];
}
static int winner(int c, int p, int q)
{
    static const int first[4] = {0, 1, 1, 0};
    return first[(p * Q + q + c) % 4];
}

static void check_ties(weft_executor executor, int threads, bool in_blocks)
{
    float x[N_IN], y[N_OUT], seed[N_OUT], dx[N_IN];
    weft_context *ctx = context(executor, threads);
    for (int i = 0; i < N_IN; i++)
        x[i] = pixel(i / (H * W) % C, i / W % H, i % W);
    for (int i = 0; i < N_OUT; i++)
        seed[i] = (float)(i + 1);
    weft_tensor *tx = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(2, C, H, W), x);
    weft_tensor *ts = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(2, C, P, Q), seed);
    weft_set_requires_grad(tx, true);
    const weft_pool2d_opts two = {.kernel = {2, 2}};
    weft_tensor *out = weft_max_pool2d(in_blocks ? blocked(tx) : tx, &two), *kept = weft_keep(out);
    if (weft_backward_with(out, ts, false) != WEFT_OK || weft_sync(ctx) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    read_all(ctx, kept, y);
    read_all(ctx, weft_grad(tx), dx);
    for (int i = 0; i < N_IN; i++) {
        const int n = i / (C * H * W), c = i / (H * W) % C, h = i / W % H, w = i % W;
        const int o = ((n * C + c) * P + h / 2) * Q + w / 2, k = winner(c, h / 2, w / 2);
        const float max = pixel(c, h / 2 * 2 + k / 2, w / 2 * 2 + k % 2);
        assert_true(isnan(max) ? isnan(y[o]) : y[o] == max);
        assert_true(dx[i] == (h % 2 * 2 + w % 2 == k ? seed[o] : 0.0f));
    }
    weft_tensor_unref(tx);
    weft_tensor_unref(ts);
    weft_tensor_unref(kept);
    weft_context_destroy(ctx);
}

static void the_first_maximum_and_nan_take_the_gradient(void **state)
{
    for (int e = 0; e < 3; e++)
        for (int threads = 1; threads <= 3; threads++)
            for (int in_blocks = 0; in_blocks < 2; in_blocks++)
                check_ties((weft_executor)e, threads, in_blocks);
}

/* Evaluation need not remember positions. */
static void without_a_gradient_values_are_the_same(void **state)
{
    float x[N_IN], with[N_OUT], without[N_OUT];
    weft_context *ctx = context(WEFT_EXECUTOR_PARALLEL, 2);
    for (int i = 0; i < N_IN; i++)
        x[i] = (float)fmod(0.618 * (i + 1), 1.0);
    weft_tensor *tx = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(2, C, H, W), x);
    const weft_pool2d_opts two = {.kernel = {2, 2}};
    read_all(ctx, weft_max_pool2d(blocked(tx), &two), without);
    weft_set_requires_grad(tx, true);
    read_all(ctx, weft_max_pool2d(blocked(tx), &two), with);
    assert_memory_equal(with, without, sizeof with);
    weft_tensor_unref(tx);
    weft_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_shaped_as_torchs_and_errors_name_the_numbers),
        cmocka_unit_test(operands_are_checked),
        cmocka_unit_test(the_first_maximum_and_nan_take_the_gradient),
        cmocka_unit_test(without_a_gradient_values_are_the_same),
    };
    return cmocka_run_group_tests_name("op pool2d", tests, NULL, NULL);
}
