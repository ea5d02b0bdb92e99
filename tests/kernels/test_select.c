/* How kernels are chosen: of those that fit, the least expected cost, the same each time.
 * Everything that is not chosen has a cost or a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/conv2d/conv2d.h"
#include "kernels/matmul/matmul.h"
#include "kernels/onednn/admitted.h"
#include "kernels/select.h"
#include "tests/shapes/shapes.h"

/* Every file's: networks' layers are where the order of the list and that of the costs differ. */
static wf_shape_case *shapes;
static int n_shapes;

static int read_shapes(void **unused)
{
    for (int i = 0; wf_shapes_files[i]; i++) {
        char why[400];
        int n;
        wf_shape_case *some = wf_shapes_read(wf_shapes_files[i], &n, why, sizeof why);
        if (!some)
            return -1;
        shapes = realloc(shapes, (size_t)(n_shapes + n) * sizeof *shapes);
        if (shapes)
            memcpy(shapes + n_shapes, some, (size_t)n * sizeof *shapes);
        n_shapes += n;
        free(some);
        if (!shapes)
            return -1;
    }
    return 0;
}

static int free_shapes(void **unused)
{
    free(shapes);
    return 0;
}

static wf_conv2d_desc laid_out(const wf_shape_case *c)
{
    wf_conv2d_desc d = c->desc;
    d.dst_block = wf_isa_block(wf_cpu_isa());
    d.src_block = d.C < d.dst_block ? 1 : d.dst_block;
    return d;
}

/* Every implementation's own words on one problem; the least cost of those that can be created. */
static double least_cost(const wf_conv2d_desc *d, wf_conv2d_pass pass, const char *shape)
{
    double least = INFINITY;
    for (int i = 0; i < wf_conv2d_n_impls; i++) {
        const wf_conv2d_impl *impl = wf_conv2d_impls[i];
        char why[160] = "";
        wf_conv2d *k = wf_conv2d_create_impl(impl, d, pass, wf_cpu_isa(), 1, why, sizeof why);
        if (!k && !*why)
            fail_msg("%s: %s does not fit and does not say why", shape, impl->name);
        if (!k)
            continue;
        if (!isfinite(k->cycles) || k->cycles <= 0)
            fail_msg("%s: %s expects %g cycles", shape, impl->name, k->cycles);
        least = k->cycles < least ? k->cycles : least;
        wf_conv2d_destroy(k);
    }
    return least;
}

static void the_least_expected_cost_is_chosen(void **unused)
{
    for (int i = 0; i < n_shapes; i++)
        for (int pass = 0; pass < 3; pass++) {
            wf_conv2d_desc d = laid_out(&shapes[i]);
            double least = least_cost(&d, pass, shapes[i].name);
            wf_conv2d *k = wf_conv2d_create(&d, pass, wf_cpu_isa(), 1, NULL);
            assert_non_null(k);
            if (k->cycles != least)
                fail_msg("%s %s: %s expects %g cycles, the least is %g", shapes[i].name,
                         wf_conv2d_pass_name(pass), k->name, k->cycles, least);
            double share = wf_conv2d_expected_share(k);
            assert_true(share > 0 && share < 4); /* F(4x4, 3x3) saves three quarters at most */
            wf_conv2d_destroy(k);
        }
}

/* Bits must not depend on the number of workers, so the choice must not. */
static void the_choice_depends_on_nothing_else(void **unused)
{
    for (int i = 0; i < n_shapes; i++)
        for (int pass = 0; pass < 3; pass++) {
            wf_conv2d_desc d = laid_out(&shapes[i]);
            wf_conv2d *one = wf_conv2d_create(&d, pass, wf_cpu_isa(), 1, NULL);
            wf_conv2d *many = wf_conv2d_create(&d, pass, wf_cpu_isa(), 7, NULL);
            assert_ptr_equal(one->impl, many->impl);
            assert_string_equal(one->name, many->name);
            assert_int_equal(one->splits, many->splits);
            wf_conv2d_destroy(one);
            wf_conv2d_destroy(many);
        }
}

static void what_is_asked_for_by_name_is_chosen_where_it_fits(void **unused)
{
    wf_conv2d_desc d = laid_out(&shapes[0]);
    wf_conv2d *k = wf_conv2d_create(&d, WF_CONV2D_FORWARD, wf_cpu_isa(), 1, "ref");
    assert_string_equal(k->name, "ref");
    wf_conv2d_destroy(k);
    wf_conv2d *free_choice = wf_conv2d_create(&d, WF_CONV2D_FORWARD, wf_cpu_isa(), 1, NULL);
    const char *const useless[] = {"no such kernel", "",
                                   "depthwise:avx2"}; /* the last: does not fit */
    for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
        k = wf_conv2d_create(&d, WF_CONV2D_FORWARD, wf_cpu_isa(), 1, useless[i]);
        assert_ptr_equal(k->impl, free_choice->impl);
        wf_conv2d_destroy(k);
    }
    wf_conv2d_destroy(free_choice);
}

/* Layouts, types, a bias and the pass make problems of their own. */
static void different_problems_have_different_texts(void **unused)
{
    enum { MANY = 8 };
    wf_conv2d_desc d[MANY];
    char text[MANY][WF_CONV2D_TEXT];
    for (int i = 0; i < MANY; i++)
        d[i] = laid_out(&shapes[0]);
    d[1].bias = 1;
    d[2].src_block = 1;
    d[3].padding[1] = 0;
    d[4].dst_type = WEFT_F64;
    d[5].N++;
    d[6].dilation[0] = 2;
    for (int i = 0; i < MANY; i++) {
        wf_conv2d_pass pass = i == 7 ? WF_CONV2D_BACKWARD_DATA : WF_CONV2D_FORWARD;
        wf_conv2d_describe(&d[i], pass, text[i], sizeof text[i]);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(text[i], text[j]);
    }
}

static void matmuls_are_chosen_alike(void **unused)
{
    const wf_matmul_desc problems[] = {
        {64, 10, 128, 0, 1, WEFT_F32},   {1, 1000, 512, 0, 1, WEFT_F32}, {7, 3, 5, 1, 0, WEFT_F32},
        {512, 512, 512, 1, 1, WEFT_F32}, {16, 16, 16, 0, 0, WEFT_F64},
    };
    for (size_t p = 0; p < sizeof problems / sizeof *problems; p++) {
        const wf_matmul_desc *d = &problems[p];
        const wf_matmul_impl *chosen = wf_matmul_select(d, wf_cpu_isa(), NULL);
        assert_ptr_equal(chosen, wf_matmul_select(d, wf_cpu_isa(), "no such kernel"));
        for (int i = 0; i < wf_matmul_n_impls; i++) {
            const wf_matmul_impl *k = wf_matmul_impls[i];
            char why[80] = "";
            if (!wf_matmul_fits(k, d, wf_cpu_isa(), why, sizeof why)) {
                assert_string_not_equal(why, "");
                continue;
            }
            double cycles = wf_matmul_cycles(k, d, wf_cpu_isa());
            assert_true(isfinite(cycles) && cycles > 0);
            assert_true(wf_matmul_cycles(chosen, d, wf_cpu_isa()) <= cycles);
            assert_ptr_equal(wf_matmul_select(d, wf_cpu_isa(), k->name), k);
        }
    }
}

static void avoided_kernels_are_passed_over(void **unused)
{
    for (int i = 0; i < n_shapes; i++)
        for (int pass = 0; pass < 3; pass++) {
            wf_conv2d_desc d = laid_out(&shapes[i]);
            setenv("WEFT_AVOID", "winograd,gemm,depthwise,onednn,ref", 1);
            wf_conv2d *k = wf_conv2d_create(&d, pass, wf_cpu_isa(), 1, NULL);
            unsetenv("WEFT_AVOID");
            assert_non_null(k);
            assert_string_equal(k->name, "ref");
            wf_conv2d_destroy(k);
        }
    setenv("WEFT_AVOID", "wino,x", 1);
    assert_true(wf_select_avoids("winograd:avx2"));
    assert_false(wf_select_avoids("gemm:avx2"));
    setenv("WEFT_AVOID", "", 1);
    assert_false(wf_select_avoids("gemm:avx2"));
    unsetenv("WEFT_AVOID");
}

/* Note [Admitted kernels] */
static void of_onednn_only_what_was_tested_is_admitted(void **unused)
{
    static const struct {
        int major, minor;
        weft_isa isa;
        const char *name;
        int src_block, dst_block, dilation;
        wf_conv2d_pass pass;
        const char *reason; /* NULL: admitted */
    } cases[] = {
        {2, 6, WEFT_ISA_AVX2, "jit:avx2", 8, 8, 1, WF_CONV2D_FORWARD, NULL},
        {3, 7, WEFT_ISA_AVX2, "jit:avx2", 8, 8, 1, WF_CONV2D_BACKWARD_WEIGHTS, NULL},
        {3, 7, WEFT_ISA_AVX2, "jit:avx2", 8, 8, 2, WF_CONV2D_FORWARD, NULL},
        {3, 7, WEFT_ISA_AVX2, "jit:avx2", 8, 8, 2, WF_CONV2D_BACKWARD_WEIGHTS, "dilated"},
        {3, 8, WEFT_ISA_AVX2, "jit:avx2", 8, 8, 1, WF_CONV2D_FORWARD, "oneDNN 3.8"},
        {2, 7, WEFT_ISA_AVX2, "jit:avx2", 8, 8, 1, WF_CONV2D_FORWARD, "oneDNN 2.7"},
        {3, 7, WEFT_ISA_AVX2, "jit:avx512_core", 8, 8, 1, WF_CONV2D_FORWARD, "not tested"},
        {3, 7, WEFT_ISA_AVX512, "jit:avx2", 16, 16, 1, WF_CONV2D_FORWARD, "not tested"},
        {3, 7, WEFT_ISA_AVX512, "jit:avx512_core", 16, 16, 1, WF_CONV2D_FORWARD, NULL},
        {3, 7, WEFT_ISA_AVX512, "jit:avx512_core", 16, 1, 1, WF_CONV2D_FORWARD, "not tested"},
        /* wrong numbers: tests/shapes/odd, "kernel larger than the image" */
        {3, 7, WEFT_ISA_AVX512, "jit_uni_ncsp_convolution:conv+brgconv:avx512_core", 1, 1, 1,
         WF_CONV2D_FORWARD, "not tested"},
        {3, 7, WEFT_ISA_AVX512, "ref:any", 16, 16, 1, WF_CONV2D_FORWARD, "not tested"},
        /* f32 and bf16 have entries of their own */
        {2, 6, WEFT_ISA_AVX512, "jit_bf16:avx512_core_bf16", 16, 16, 1, WF_CONV2D_FORWARD,
         "not tested"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int dilation = cases[i].dilation;
        char why[160] = "";
        wf_conv2d_desc d = {.N = 1,
                            .C = 32,
                            .H = 9,
                            .W = 9,
                            .K = 32,
                            .R = 3,
                            .S = 3,
                            .stride = {1, 1},
                            .padding = {1, 1},
                            .dilation = {dilation, dilation},
                            .groups = 1,
                            .src_block = cases[i].src_block,
                            .dst_block = cases[i].dst_block};
        assert_true(wf_conv2d_output(&d));
        const bool admitted = wf_dnnl_admits(cases[i].major, cases[i].minor, cases[i].isa,
                                             cases[i].name, &d, cases[i].pass, why, sizeof why);
        if (admitted != !cases[i].reason || (!admitted && !strstr(why, cases[i].reason)))
            fail_msg("case %zu: %s, \"%s\"", i, admitted ? "admitted" : "refused", why);
    }
}

/* oneDNN 2.6 reads scratch that it never wrote where a kernel of bf16 overhangs its image, in weight gradients: a NaN
 * left there gets into all sums. */
static void of_onednns_bf16_no_weight_gradient_overhangs(void **unused)
{
    static const struct {
        int major, minor, side;
        const char *name;
        wf_conv2d_pass pass;
        weft_dtype type;
        const char *reason; /* NULL: admitted */
    } cases[] = {
        {2, 6, 3, "jit_bf16:avx512_core_bf16", WF_CONV2D_FORWARD, WEFT_BF16, NULL},
        {2, 6, 3, "jit_bf16:avx512_core_bf16", WF_CONV2D_BACKWARD_WEIGHTS, WEFT_BF16, NULL},
        {2, 6, 2, "jit_bf16:avx512_core_bf16", WF_CONV2D_BACKWARD_DATA, WEFT_BF16, NULL},
        {2, 6, 2, "jit_bf16:avx512_core_bf16", WF_CONV2D_BACKWARD_WEIGHTS, WEFT_BF16, "overhang"},
        {2, 6, 1, "jit_bf16:avx512_core_bf16", WF_CONV2D_BACKWARD_WEIGHTS, WEFT_BF16, "overhang"},
        {2, 6, 3, "jit_bf16_1x1:avx512_core_bf16", WF_CONV2D_FORWARD, WEFT_BF16, "window"},
        {2, 6, 3, "jit:avx512_core", WF_CONV2D_FORWARD, WEFT_BF16, "not tested"},
        {3, 7, 3, "jit_bf16:avx512_core_bf16", WF_CONV2D_FORWARD, WEFT_BF16, "not tested"},
        {2, 6, 3, "brgconv:avx512_core_bf16", WF_CONV2D_FORWARD, WEFT_BF16, "not tested"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[160] = "";
        wf_conv2d_desc d = {.N = 1,
                            .C = 32,
                            .H = cases[i].side,
                            .W = cases[i].side,
                            .K = 32,
                            .R = 3,
                            .S = 3,
                            .stride = {1, 1},
                            .padding = {1, 1},
                            .dilation = {1, 1},
                            .groups = 1,
                            .src_block = 16,
                            .dst_block = 16,
                            .src_type = cases[i].type,
                            .weights_type = WEFT_F32,
                            .dst_type = cases[i].type};
        assert_true(wf_conv2d_output(&d));
        const bool admitted = wf_dnnl_admits(cases[i].major, cases[i].minor, WEFT_ISA_AVX512,
                                             cases[i].name, &d, cases[i].pass, why, sizeof why);
        if (admitted != !cases[i].reason || (!admitted && !strstr(why, cases[i].reason)))
            fail_msg("case %zu: %s, \"%s\"", i, admitted ? "admitted" : "refused", why);
    }
}

static void an_unknown_onednn_is_told(void **unused)
{
    assert_string_equal(wf_dnnl_version_note(2, 6), "");
    assert_string_equal(wf_dnnl_version_note(3, 7), "");
    assert_non_null(strstr(wf_dnnl_version_note(3, 8), "not used"));
    assert_non_null(strstr(wf_dnnl_version_note(2, 7), "not used"));
}

/* 32-bit offsets: the descriptor alone decides, so that nothing so large is made here. */
static void images_of_two_gigabytes_are_not_onednns(void **unused)
{
    if (wf_cpu_isa() == WEFT_ISA_SCALAR)
        skip();
    wf_conv2d_desc d = {.N = 1,
                        .C = 512,
                        .H = 1024,
                        .W = 1024,
                        .K = 16,
                        .R = 1,
                        .S = 1,
                        .stride = {1, 1},
                        .dilation = {1, 1},
                        .groups = 1,
                        .src_block = wf_isa_block(wf_cpu_isa()),
                        .dst_block = wf_isa_block(wf_cpu_isa()),
                        .src_type = WEFT_F32,
                        .weights_type = WEFT_F32,
                        .dst_type = WEFT_F32};
    assert_true(wf_conv2d_output(&d));
    for (int i = 0; i < wf_conv2d_n_impls; i++) {
        char why[160] = "";
        if (strcmp(wf_conv2d_impls[i]->name, "onednn") != 0)
            continue;
        assert_false(wf_conv2d_fits(wf_conv2d_impls[i], &d, WF_CONV2D_FORWARD, wf_cpu_isa(), why,
                                    sizeof why));
        assert_non_null(strstr(why, "2 GiB"));
        d.H /= 2;
        assert_true(wf_conv2d_output(&d));
        assert_true(wf_conv2d_fits(wf_conv2d_impls[i], &d, WF_CONV2D_FORWARD, wf_cpu_isa(), why,
                                   sizeof why));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_expected_cost_is_chosen),
        cmocka_unit_test(the_choice_depends_on_nothing_else),
        cmocka_unit_test(what_is_asked_for_by_name_is_chosen_where_it_fits),
        cmocka_unit_test(different_problems_have_different_texts),
        cmocka_unit_test(matmuls_are_chosen_alike),
        cmocka_unit_test(avoided_kernels_are_passed_over),
        cmocka_unit_test(of_onednn_only_what_was_tested_is_admitted),
        cmocka_unit_test(of_onednns_bf16_no_weight_gradient_overhangs),
        cmocka_unit_test(an_unknown_onednn_is_told),
        cmocka_unit_test(images_of_two_gigabytes_are_not_onednns),
    };
    return cmocka_run_group_tests(tests, read_shapes, free_shapes);
}
