/* Batch normalisation of a small batch of large images, which the plan cuts into parts: ranges of
 * channels. Channels do not meet, so 16 of them by themselves, which make no parts, have the same
 * bits: y, the statistics and all gradients. Letters: N minibatch, C channels, P pixels. */
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

enum { MAX_C = 72, ALONE = 16 };

typedef struct numbers {
    float *x, *residual, *seed; /* (N, C, H, W) */
    float *y, *dx, *dresidual;
    float gamma[MAX_C], beta[MAX_C], dgamma[MAX_C], dbeta[MAX_C], mean[MAX_C], var[MAX_C];
} numbers;

static float *values(int64_t n, double seed)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(2 * fmod(0.6180339887 * (double)(i + 1) + seed, 1.0) - 1);
    return x;
}

static numbers numbers_of(int64_t n)
{
    numbers a = {.x = values(n, 0.1),
                 .residual = values(n, 0.4),
                 .seed = values(n, 0.7),
                 .y = values(n, 0),
                 .dx = values(n, 0),
                 .dresidual = values(n, 0)};
    for (int c = 0; c < MAX_C; c++) {
        a.gamma[c] = (float)(1 + 0.01 * c);
        a.beta[c] = (float)(0.3 - 0.01 * c);
    }
    return a;
}

static void numbers_done(numbers *a)
{
    float *all[] = {a->x, a->residual, a->seed, a->y, a->dx, a->dresidual};
    for (int i = 0; i < 6; i++)
        free(all[i]);
}

/* Copies channels [c0, c0 + C) of every image: out of `from`, which has `all` of them, or into it. */
static void copy_channels(float *from, float *to, weft_shape s, int64_t all, int64_t c0, bool into)
{
    const int64_t count = s.dim[1] * s.dim[2] * s.dim[3], whole = all * s.dim[2] * s.dim[3];
    for (int64_t n = 0; n < s.dim[0]; n++) {
        float *a = from + n * whole + c0 * s.dim[2] * s.dim[3], *b = to + n * count;
        memcpy(into ? a : b, into ? b : a, (size_t)count * sizeof *a);
    }
}

static void read_all(weft_context *ctx, weft_tensor *t, float *out)
{
    if (!t || weft_read(t, out, (size_t)weft_shape_count(weft_tensor_shape(t)) * sizeof *out))
        fail_msg("%s", weft_error_text(ctx));
}

static weft_tensor *blocked(weft_tensor *x)
{
    wf_reorder_attrs a = {wf_isa_block(weft_context_isa(weft_tensor_context(x)))};
    return wf_record(&wf_op_reorder, &a, NULL, 1, &x, NULL);
}

/* What a case does with the normalised images. */
typedef struct work {
    bool training, residual, in_blocks;
    wf_norm_f f;
    weft_executor executor;
} work;

/* Runs channels [c0, c0 + s.dim[1]) of `all` forward and backward, and puts what comes out into a. */
static void run(const work *w, weft_shape s, int64_t all, int64_t c0, numbers *a)
{
    const int64_t n = weft_shape_count(s), C = s.dim[1];
    weft_options options = {.threads = 2, .executor = w->executor, .schedule_seed = 5};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    float *images[] = {a->x, a->residual, a->seed}, *outputs[] = {a->y, a->dx, a->dresidual};
    weft_tensor *t[7], *out[3];
    for (int i = 0; i < 3; i++) {
        float *part = values(n, 0);
        copy_channels(images[i], part, s, all, c0, false);
        t[i] = weft_tensor_from(ctx, WEFT_F32, s, part);
        free(part);
    }
    t[3] = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(C), a->gamma + c0);
    t[4] = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(C), a->beta + c0);
    t[5] = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(C), 0.1);
    t[6] = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(C), 1.3);
    for (int i = 0; i < 5; i++)
        if (i != 2)
            assert_int_equal(weft_set_requires_grad(t[i], true), WEFT_OK);
    const weft_batch_norm_opts opts = {.training = w->training, .eps = 1e-3, .momentum = 1};
    weft_tensor *x = w->in_blocks ? blocked(t[0]) : t[0];
    weft_tensor *r = !w->residual ? NULL : w->in_blocks ? blocked(t[1]) : t[1];
    out[0] = w->f == WF_NORM_LINEAR
                 ? weft_batch_norm(x, t[3], t[4], t[5], t[6], NULL, &opts)
                 : wf_record_batch_norm_act(x, t[3], t[4], t[5], t[6], NULL, r, w->f, &opts);
    assert_non_null(out[0]);
    weft_tensor *kept = weft_keep(out[0]);
    if (weft_backward_with(out[0], t[2], false))
        fail_msg("%s", weft_error_text(ctx));
    out[0] = kept;
    out[1] = weft_grad(t[0]);
    out[2] = w->residual ? weft_grad(t[1]) : out[0];
    for (int i = 0; i < 3; i++) {
        float *part = values(n, 0);
        read_all(ctx, out[i], part);
        copy_channels(outputs[i], part, s, all, c0, true);
        free(part);
    }
    read_all(ctx, weft_grad(t[3]), a->dgamma + c0);
    read_all(ctx, weft_grad(t[4]), a->dbeta + c0);
    read_all(ctx, t[5], a->mean + c0);
    read_all(ctx, t[6], a->var + c0);
    weft_tensor_unref(kept);
    for (int i = 0; i < 7; i++)
        weft_tensor_unref(t[i]);
    weft_context_destroy(ctx);
}

static void check(const work *w, weft_shape s)
{
    const int64_t n = weft_shape_count(s), C = s.dim[1];
    numbers a = numbers_of(n), b = numbers_of(n);
    run(w, s, C, 0, &a);
    for (int64_t c = 0; c < C; c += ALONE) {
        weft_shape part = s;
        part.dim[1] = C - c < ALONE ? C - c : ALONE;
        run(w, part, C, c, &b);
    }
    const size_t bytes = (size_t)n * sizeof(float), channels = (size_t)C * sizeof(float);
    assert_memory_equal(a.y, b.y, bytes);
    assert_memory_equal(a.dx, b.dx, bytes);
    assert_memory_equal(a.dresidual, b.dresidual, bytes);
    assert_memory_equal(a.dgamma, b.dgamma, channels);
    assert_memory_equal(a.dbeta, b.dbeta, channels);
    assert_memory_equal(a.mean, b.mean, channels);
    assert_memory_equal(a.var, b.var, channels);
    numbers_done(&a);
    numbers_done(&b);
}

/* 16 channels of an image have 60 KiB: less than two parts. */
static void parts_have_the_bits_of_their_channels(void **state)
{
    static const work works[] = {
        {.training = true, .f = WF_NORM_RELU, .residual = true, .in_blocks = true},
        {.training = true, .f = WF_NORM_RELU, .executor = WEFT_EXECUTOR_RANDOM, .in_blocks = true},
        {.training = true, .f = WF_NORM_SILU, .in_blocks = true},
        {.training = true, .f = WF_NORM_LINEAR, .executor = WEFT_EXECUTOR_INTERPRETER},
        {.training = false, .f = WF_NORM_RELU6, .residual = true, .in_blocks = true},
        {.training = false, .f = WF_NORM_RELU},
    };
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        for (int n = 1; n <= 3; n++)
            if (i == 0 || n == (int)i % 3 + 1)
                check(&works[i], WEFT_SHAPE(n, n == 2 ? 72 : 41, 32, 30));
}

static wf_operand images(int64_t n, int C, int edge, int block)
{
    const wf_act act = {C, edge, edge, block};
    return (wf_operand){.dtype = WEFT_F32,
                        .shape = WEFT_SHAPE(n, C, edge, edge),
                        .N = n,
                        .act = act,
                        .image_bytes = wf_act_count(act) * sizeof(float)};
}

/* Parts are whole blocks of channels and cover all of them. A batch of enough images has none. */
static void only_a_small_batch_of_large_images_has_parts(void **state)
{
    const int blocks[] = {1, 8, 16};
    for (int b = 0; b < 3; b++)
        for (int n = 1; n <= 8; n++)
            for (int C = 1; C <= 200; C += 13) {
                const wf_operand x = images(n, C, 56, blocks[b]);
                const wf_bn_splits s = wf_bn_splits_of(&x);
                assert_int_equal(s.n, n);
                assert_true(n < 4 || s.parts == 1);
                assert_true(s.parts == 1 || s.part_channels % 16 == 0);
                assert_true((s.parts - 1) * s.part_channels < C && s.parts * s.part_channels >= C);
                assert_int_equal(s.access, s.parts > 1 ? WF_PIECES : WF_TILED);
            }
    const wf_operand one = images(1, 256, 56, 16), small = images(1, 256, 7, 16);
    assert_int_equal(wf_bn_splits_of(&one).parts, 8);
    assert_int_equal(wf_bn_splits_of(&small).parts, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_have_the_bits_of_their_channels),
        cmocka_unit_test(only_a_small_batch_of_large_images_has_parts),
    };
    return cmocka_run_group_tests_name("op batch_norm parts", tests, NULL, NULL);
}
