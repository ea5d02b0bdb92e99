/* Convolution kernels over bf16 images, Note [Images of bf16], against plain formulas in double, over
 * tests/shapes/conv2d_small and odd, or the file WEFT_TEST_SHAPES names: every pass, layout, mixture of
 * types and implementation that fits and that WEFT_AVOID does not name.
 *
 * Images, weights and bias hold bf16 numbers, so that it does not matter whether a kernel rounds its
 * weights. Small integers must come out to the bit: sums are exact, and rounded once. Random numbers
 * must lie within (L + 2) * eps * sum |a*b| of an accumulation of length L in f32, in any order; an
 * output of bf16 within half a unit in its last place of that, 2^-8 of the number. Memory is guarded
 * as in test_conv2d.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/select.h"
#include "tests/kernels/conv2d_bf16_run.h"
#include "tests/kernels/conv2d_shapes.h"

/* 16 lanes in plain C, in place of AVX512_BF16: the same bits. */
extern const wf_conv2d_impl wf_conv2d_dot_emul, wf_conv2d_dot_weights_emul, wf_conv2d_winograd_emul,
    wf_conv2d_winograd_weights_emul, wf_conv2d_depthwise_bf16_emul;

/* ---- all of them ---------------------------------------------------------------------------- */

static int n_complete, n_large;
static const struct {
    const wf_conv2d_impl *impl;
    const char *native;
} emul[] = {{&wf_conv2d_dot_emul, "dot:avx512_bf16"},
            {&wf_conv2d_dot_weights_emul, "dot:avx512_bf16"},
            {&wf_conv2d_winograd_emul, "winograd:avx512"},
            {&wf_conv2d_winograd_weights_emul, "winograd:avx512"},
            {&wf_conv2d_depthwise_bf16_emul, "depthwise:avx512:bf16"}};
enum { N_EMUL = sizeof emul / sizeof *emul };
static int tried[32][3], tried_emul[N_EMUL][3];

static void check_types(const wf_shape_case *c, const problem *t, wf_conv2d_desc d, bool exact)
{
    uint64_t bits[3];
    for (int i = 0; i < wf_conv2d_n_impls; i++)
        if (!wf_select_avoids(wf_conv2d_impls[i]->name))
            check_passes(wf_conv2d_impls[i], wf_cpu_isa(), tried[i], t, d, exact, c->name, bits);
}

/* Emulated kernels, which need AVX2, and the bits of those that they stand for. */
static void check_emul(const wf_shape_case *c, const problem *t, wf_conv2d_desc d, bool exact)
{
    uint64_t bits[3], native[3];
    if (wf_cpu_isa() == WEFT_ISA_SCALAR)
        return;
    for (int i = 0; i < N_EMUL; i++) {
        check_passes(emul[i].impl, WEFT_ISA_AVX512, tried_emul[i], t, d, exact, c->name, bits);
        for (int j = 0; j < wf_conv2d_n_impls; j++) {
            int other[3];
            if (strcmp(wf_conv2d_impls[j]->name, emul[i].native) != 0)
                continue;
            check_passes(wf_conv2d_impls[j], wf_cpu_isa(), other, t, d, exact, c->name, native);
            for (int pass = 0; pass < 3; pass++)
                if (bits[pass] && native[pass] && bits[pass] != native[pass])
                    fail_msg("%s %s \"%s\": emulated, it gives other bits",
                             wf_conv2d_impls[j]->name, wf_conv2d_pass_name(pass), c->name);
        }
    }
}

static void check_shape(const wf_shape_case *c, bool integers)
{
    static const weft_dtype types[][2] = {
        {WEFT_BF16, WEFT_BF16}, {WEFT_BF16, WEFT_F32}, {WEFT_F32, WEFT_BF16}};
    const int block = wf_isa_block(wf_cpu_isa());
    problem t;
    wf_conv2d_desc d = c->desc;
    d.bias = (c - shapes + integers) % 2; /* each shape once with, once without */
    random_state = (uint64_t)d.C * 1000003u + (uint64_t)d.H;
    problem_create(&t, &d, integers ? INTEGERS : BF16S);
    /* Of a shape that takes seconds, bf16 to bf16 only; smaller shapes of its kind have the rest. */
    const bool large = wf_conv2d_flops(&d) > 1e8;
    n_large += large;
    for (int i = 0; i < (large ? 1 : 3); i++) {
        d.src_type = types[i][0];
        d.dst_type = types[i][1];
        d.src_block = d.dst_block = block;
        check_types(c, &t, d, integers);
        d.src_block = d.dst_block = 16;
        check_emul(c, &t, d, integers);
    }
    d.src_block = 1; /* a network's input */
    d.dst_block = block;
    d.dst_type = WEFT_BF16;
    for (int i = 0; i < 2 && !large; i++) {
        d.src_type = i ? WEFT_U8 : WEFT_F32;
        check_types(c, &t, d, integers);
    }
    problem_destroy(&t);
    n_complete++;
}

static void integers_are_exact_and_rounded_once(void **unused)
{
    for (int i = 0; i < n_shapes; i++)
        check_shape(&shapes[i], true);
}

static void random_numbers_are_within_the_bound(void **unused)
{
    for (int i = 0; i < n_shapes; i++)
        check_shape(&shapes[i], false);
}

static void the_reference_takes_every_shape(void **unused)
{
    if (getenv("WEFT_AVOID") || n_complete < 2 * n_shapes)
        skip(); /* not all was to be tried, or a test above has failed */
    const int ref = wf_conv2d_n_impls - 1;
    for (int pass = 0; pass < 3; pass++) /* bytes have no gradient */
        assert_int_equal(tried[ref][pass], n_large + (2 * n_shapes - n_large) *
                                                         (pass == WF_CONV2D_BACKWARD_DATA ? 4 : 5));
}

/* Note [Admitted kernels] */
static void what_onednn_may_run_of_bf16_was_tried(void **unused)
{
    if (getenv("WEFT_TEST_SHAPES") || getenv("WEFT_AVOID") || n_complete < 2 * n_shapes ||
        !knows_this_onednn(true))
        skip();
    check_tried_onednn(true);
}

static void dot_products_and_depthwise_were_tried(void **unused)
{
    if (getenv("WEFT_TEST_SHAPES") || getenv("WEFT_AVOID") || n_complete < 2 * n_shapes)
        skip();
    for (int pass = 0; pass < 3 && wf_cpu_isa() > WEFT_ISA_SCALAR; pass++) {
        int listed = 0;
        assert_true(tried_emul[N_EMUL - 1][pass] > 20); /* depthwise */
        for (int i = 0; i < wf_conv2d_n_impls; i++)
            if (strstr(wf_conv2d_impls[i]->name, wf_cpu_isa() == WEFT_ISA_AVX512
                                                     ? "depthwise:avx512:bf16"
                                                     : "depthwise:avx2:bf16"))
                listed += tried[i][pass];
        assert_true(listed > 20);
    }
    for (int pass = 0; pass < 3; pass++)
        assert_true(wf_cpu_isa() == WEFT_ISA_SCALAR || tried_emul[pass / 2][pass] > n_shapes);
    for (int i = 0; i < wf_conv2d_n_impls && wf_cpu_bf16() >= WF_BF16_DOT; i++)
        if (strcmp(wf_conv2d_impls[i]->name, "dot:avx512_bf16") == 0)
            assert_true(tried[i][0] + tried[i][1] + tried[i][2] > n_shapes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_exact_and_rounded_once),
        cmocka_unit_test(random_numbers_are_within_the_bound),
        cmocka_unit_test(the_reference_takes_every_shape),
        cmocka_unit_test(what_onednn_may_run_of_bf16_was_tried),
        cmocka_unit_test(dot_products_and_depthwise_were_tried),
    };
    return cmocka_run_group_tests_name("conv2d_bf16", tests, read_shapes, free_shapes);
}
