/* Convolution by AMX tiles: the emulated kernels against plain formulas in double, and against plain C with the
 * same order of sums, bit by bit; the kernels on the instructions, where the CPU has them, against the emulated
 * ones. Numbers and bounds are those of test_conv2d_bf16.c, which also tries the instructions' kernels over all its
 * shapes. Emulated tiles are slow, so the shapes here are few and small: each reaches a corner of the kernels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define WF_SIMD_AVX512
#define WF_SIMD_EMULATE
#include "tests/kernels/conv2d_amx_order.h"
#include "tests/kernels/conv2d_bf16_run.h"

/* In plain C; and, where the CPU has AVX512_BF16, with only the tiles emulated. */
extern const wf_conv2d_impl wf_conv2d_amx_emul, wf_conv2d_amx_weights_emul, wf_conv2d_amx_tile_emul,
    wf_conv2d_amx_weights_tile_emul;
static const wf_conv2d_impl *const emul[] = {&wf_conv2d_amx_emul, &wf_conv2d_amx_weights_emul};
static const wf_conv2d_impl *const tile_emul[] = {&wf_conv2d_amx_tile_emul,
                                                  &wf_conv2d_amx_weights_tile_emul};
static const char native_name[] = "amx:avx512_bf16";

typedef struct shape {
    const char *what;
    int N, C, H, W, K, R, S, stride[2], padding[2], dilation[2], groups;
} shape;

/* clang-format off */
static const shape shapes[] = {
    {"1x1",                     1, 32, 6, 6, 32,    1, 1,   {1, 1}, {0, 0}, {1, 1}, 1},
    {"1x1, odd channels",       2, 35, 5, 7, 20,    1, 1,   {1, 1}, {0, 0}, {1, 1}, 1},
    {"1x1, stride 2",           1, 48, 9, 8, 33,    1, 1,   {2, 2}, {0, 0}, {1, 1}, 1},
    {"1x1, padding",            1, 16, 3, 4, 16,    1, 1,   {2, 1}, {1, 2}, {1, 1}, 1},
    {"3x3",                     1, 64, 9, 11, 64,   3, 3,   {1, 1}, {1, 1}, {1, 1}, 1},
    {"3x3 at 7x7, images",      9, 32, 7, 7, 32,    3, 3,   {1, 1}, {1, 1}, {1, 1}, 1},
    {"3x3 at 14x14",            2, 48, 14, 14, 16,  3, 3,   {1, 1}, {1, 1}, {1, 1}, 1},
    {"3x3, stride 2",           2, 32, 12, 13, 40,  3, 3,   {2, 2}, {1, 1}, {1, 1}, 1},
    {"3x3, strides",            1, 17, 11, 12, 16,  3, 3,   {2, 3}, {1, 0}, {1, 1}, 1},
    {"3x3, dilation 2",         1, 32, 9, 10, 32,   3, 3,   {1, 1}, {2, 2}, {2, 2}, 1},
    {"3x3, both",               1, 32, 13, 12, 32,  3, 3,   {2, 2}, {3, 1}, {3, 2}, 1},
    {"3x3, no padding",         1, 16, 8, 9, 48,    3, 3,   {1, 1}, {0, 0}, {1, 1}, 1},
    {"5x5, wide padding",       1, 32, 4, 3, 32,    5, 5,   {1, 1}, {4, 4}, {1, 1}, 1},
    {"7x7, stride 2",           1, 16, 15, 14, 16,  7, 7,   {2, 2}, {3, 3}, {1, 1}, 1},
    {"stride above the kernel", 1, 32, 11, 11, 32,  2, 2,   {3, 4}, {0, 1}, {1, 1}, 1},
    {"kernel above the image",  2, 20, 2, 3, 33,    6, 7,   {1, 2}, {3, 4}, {1, 1}, 1},
    {"one pixel",               3, 33, 1, 1, 16,    3, 3,   {1, 1}, {1, 1}, {1, 1}, 1},
    {"taps that meet nothing",  1, 16, 1, 2, 16,    3, 1,   {2, 1}, {4, 1}, {4, 1}, 1},
    {"groups of 16",            2, 48, 6, 7, 48,    3, 3,   {1, 1}, {1, 1}, {1, 1}, 3},
    {"groups of 48 and 32",     1, 96, 5, 6, 64,    3, 3,   {2, 2}, {1, 1}, {1, 1}, 2},
    {"1x3",                     1, 32, 9, 9, 32,    1, 3,   {1, 1}, {0, 1}, {1, 1}, 1},
    {"7x1",                     1, 32, 9, 9, 32,    7, 1,   {1, 1}, {3, 0}, {1, 1}, 1},
    {"3x3, dilation 8",         2, 16, 17, 19, 16,  3, 3,   {1, 1}, {8, 8}, {8, 8}, 1},
    {"3x3, dilation 40",        1, 16, 4, 90, 16,   1, 3,   {1, 1}, {0, 40}, {1, 40}, 1},
    {"1x1 in the padding",      1, 32, 1, 1, 32,    1, 1,   {4, 4}, {1, 1}, {1, 1}, 1},
    {"17x17",                   1, 16, 6, 5, 16,    17, 17, {1, 1}, {8, 8}, {1, 1}, 1},
    {"first layer",             2, 3, 20, 19, 48,   7, 7,   {2, 2}, {3, 3}, {1, 1}, 1},
    {"first layer, 3x3",        3, 3, 8, 8, 16,     3, 3,   {1, 1}, {1, 1}, {1, 1}, 1},
    {"first layer, 11x11",      1, 4, 25, 22, 64,   11, 11, {4, 4}, {2, 1}, {1, 1}, 1},
    {"first layer, few numbers", 2, 2, 9, 10, 48,  2, 2,   {1, 1}, {0, 1}, {1, 1}, 1},
    {"first layer, many rows",  1, 3, 92, 93, 16,   3, 3,   {1, 1}, {1, 1}, {1, 1}, 1},
    {"first layer, dilation",   1, 1, 9, 12, 20,    3, 3,   {1, 2}, {5, 9}, {2, 3}, 1},
    {"images together",         3, 16, 3, 4, 512,   3, 3,   {1, 1}, {1, 1}, {1, 1}, 1},
    {"images together, data",   4, 512, 4, 5, 16,   3, 3,   {2, 2}, {1, 1}, {1, 1}, 1},
    {"zeros above and below",   3, 16, 1, 2, 512,   2, 2,   {1, 1}, {3, 3}, {1, 1}, 1},
    {"1x1, more outputs",       2, 32, 8, 8, 80,    1, 1,   {1, 1}, {0, 0}, {1, 1}, 1},
    {"1x1, stride, outputs",    1, 20, 9, 8, 64,    1, 1,   {2, 1}, {1, 1}, {1, 1}, 1},
    {"1x1, groups, outputs",    3, 32, 4, 8, 96,    1, 1,   {1, 1}, {0, 0}, {1, 1}, 2},
    {"one tap, a row below",    1, 16, 5, 32, 16,   3, 1,   {1, 1}, {3, 0}, {4, 1}, 1},
    {"splits",                  3, 16, 34, 31, 16,  1, 1,   {1, 1}, {0, 0}, {1, 1}, 1},
    {"many rows",               1, 256, 33, 31, 16, 3, 3,   {1, 1}, {1, 1}, {1, 1}, 1},
};
/* clang-format on */
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static wf_conv2d_desc desc_of(const shape *s)
{
    wf_conv2d_desc d = {
        .N = s->N, .C = s->C, .H = s->H, .W = s->W, .K = s->K, .R = s->R, .S = s->S};
    memcpy(d.stride, s->stride, sizeof d.stride);
    memcpy(d.padding, s->padding, sizeof d.padding);
    memcpy(d.dilation, s->dilation, sizeof d.dilation);
    d.groups = s->groups;
    d.src_block = d.dst_block = 16;
    d.src_type = d.dst_type = WEFT_BF16;
    d.weights_type = WEFT_F32;
    assert_true(wf_conv2d_output(&d));
    return d;
}

/* ---- against formulas in double --------------------------------------------------------------- */

static int tried[3], compared[2][3]; /* with emulated tiles; on the instructions */

/* Compares the bits of another build with those of plain C. */
static void compare(const wf_conv2d_impl *impl, const shape *s, const problem *t, wf_conv2d_desc d,
                    bool exact, const uint64_t bits[3], int count[3])
{
    int other[3] = {0};
    uint64_t same[3];
    check_passes(impl, WEFT_ISA_AVX512, other, t, d, exact, s->what, same);
    for (int pass = 0; pass < 3; pass++) {
        count[pass] += bits[pass] && same[pass];
        if (bits[pass] && same[pass] && bits[pass] != same[pass])
            fail_msg("%s %s \"%s\": gives other bits than plain C", impl->name,
                     wf_conv2d_pass_name(pass), s->what);
    }
}

/* The emulated build does. */
static void needs_avx2(void)
{
    if (wf_cpu_isa() == WEFT_ISA_SCALAR)
        skip();
}

static void check_impls(const shape *s, const problem *t, wf_conv2d_desc d, bool exact)
{
    for (int i = 0; i < (int)(sizeof emul / sizeof *emul); i++) {
        uint64_t bits[3];
        check_passes(emul[i], WEFT_ISA_AVX512, tried, t, d, exact, s->what, bits);
        if (wf_cpu_bf16() >= WF_BF16_DOT)
            compare(tile_emul[i], s, t, d, exact, bits, compared[0]);
        for (int j = 0; j < wf_conv2d_n_impls && wf_cpu_bf16() == WF_BF16_AMX; j++)
            if (strcmp(wf_conv2d_impls[j]->name, native_name) == 0)
                compare(wf_conv2d_impls[j], s, t, d, exact, bits, compared[1]);
    }
}

static void check_shape(const shape *s, bool integers)
{
    wf_conv2d_desc d = desc_of(s);
    problem t;
    d.bias = (s - shapes + integers) % 2;
    random_state = (uint64_t)d.C * 1000003u + (uint64_t)d.H;
    problem_create(&t, &d, integers ? INTEGERS : BF16S);
    if (d.C < 16) { /* a network's input */
        d.src_block = 1;
        d.src_type = integers ? WEFT_U8 : WEFT_F32;
        check_impls(s, &t, d, integers);
        d.src_type = integers ? WEFT_F32 : WEFT_U8;
        check_impls(s, &t, d, integers);
    } else {
        check_impls(s, &t, d, integers);
        if (integers) { /* gradients, or outputs, of f32 */
            d.dst_type = WEFT_F32;
            check_impls(s, &t, d, integers);
            d.src_type = WEFT_F32, d.dst_type = WEFT_BF16;
            check_impls(s, &t, d, integers);
        }
    }
    problem_destroy(&t);
}

static void integers_are_exact(void **unused)
{
    needs_avx2();
    for (int i = 0; i < N_SHAPES; i++)
        check_shape(&shapes[i], true);
}

static void random_numbers_are_within_the_bound(void **unused)
{
    needs_avx2();
    for (int i = 0; i < N_SHAPES; i++)
        check_shape(&shapes[i], false);
}

/* ---- in the same order of sums ---------------------------------------------------------------- */

/* Replaces the answers by what plain C computes in the kernels' order; each must come out to the bit. */
static void check_order(const shape *s)
{
    wf_conv2d_desc d = desc_of(s);
    char why[160];
    uint64_t bits[3];
    int count[3] = {0};
    problem t;
    d.bias = (s - shapes) % 2;
    if (d.C < 16) {
        d.src_block = 1;
        d.src_type = WEFT_F32;
    }
    random_state = (uint64_t)d.K * 1000003u + (uint64_t)d.W;
    problem_create(&t, &d, BF16S);
    order_images(&t, t.y, t.dx);
    wf_conv2d_desc w = d;
    w.bias = 0;
    wf_conv2d *k =
        wf_conv2d_create_impl(&wf_conv2d_amx_weights_emul, &w, WF_CONV2D_BACKWARD_WEIGHTS,
                              WEFT_ISA_AVX512, 2, why, sizeof why);
    assert_non_null(k);
    order_weights(&t, k, t.dw);
    wf_conv2d_destroy(k);
    for (int i = 0; i < (int)(sizeof emul / sizeof *emul); i++)
        check_passes(emul[i], WEFT_ISA_AVX512, count, &t, d, true, s->what, bits);
    assert_int_equal(count[0] + count[1] + count[2], d.src_block == 1 ? 2 : 3);
    problem_destroy(&t);
}

static void sums_have_the_order_that_the_notes_say(void **unused)
{
    needs_avx2();
    for (int i = 0; i < N_SHAPES; i++)
        check_order(&shapes[i]);
}

static void every_pass_was_tried(void **unused)
{
    needs_avx2();
    for (int pass = 0; pass < 3; pass++) {
        assert_true(tried[pass] >= N_SHAPES);
        assert_true(wf_cpu_bf16() < WF_BF16_DOT || compared[0][pass] >= N_SHAPES);
        assert_true(wf_cpu_bf16() < WF_BF16_AMX || compared[1][pass] >= N_SHAPES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(random_numbers_are_within_the_bound),
        cmocka_unit_test(sums_have_the_order_that_the_notes_say),
        cmocka_unit_test(every_pass_was_tried),
    };
    return cmocka_run_group_tests_name("conv2d_amx", tests, NULL, NULL);
}
