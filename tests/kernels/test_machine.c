/* Classes of machines: which one is nearest, which one is used, and that costs follow from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/conv2d/conv2d.h"
#include "kernels/machine.h"
#include "kernels/matmul/matmul.h"
#include "tests/shapes/shapes.h"

#define KIB ((size_t)1 << 10)

static void the_nearest_class_is_chosen_by_its_rule(void **unused)
{
    static const struct {
        weft_isa isa;
        size_t l1, l2;
        const char *name;
    } cases[] = {
        {WEFT_ISA_AVX512, 32 * KIB, 1024 * KIB, "avx512-l2-1m"}, /* Skylake-X, Zen 4 */
        {WEFT_ISA_AVX512, 48 * KIB, 1024 * KIB, "avx512-l2-1m"}, /* Zen 5 */
        {WEFT_ISA_AVX512, 48 * KIB, 1280 * KIB, "avx512-l2-1m"}, /* Ice Lake */
        {WEFT_ISA_AVX512, 48 * KIB, 2048 * KIB, "avx512-l2-2m"}, /* Sapphire Rapids, Xeon 6 */
        {WEFT_ISA_AVX512, 48 * KIB, 8192 * KIB, "avx512-l2-2m"},
        {WEFT_ISA_AVX512, 32 * KIB, 256 * KIB, "avx512-l2-1m"},
        {WEFT_ISA_AVX512, 48 * KIB, 0, "avx512-l2-2m"}, /* by the first-level cache */
        {WEFT_ISA_AVX512, 0, 0, "avx512-l2-1m"},        /* the first listed */
        {WEFT_ISA_AVX2, 32 * KIB, 256 * KIB, "avx2-l2-512k"},
        {WEFT_ISA_AVX2, 48 * KIB, 2048 * KIB, "avx2-l2-512k"},
        {WEFT_ISA_SCALAR, 32 * KIB, 1024 * KIB, "scalar"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(wf_machine_class_nearest(cases[i].isa, cases[i].l1, cases[i].l2)->name,
                            cases[i].name);
}

static void classes_have_names_and_every_constant(void **unused)
{
    const wf_machine_class *c;
    int n = 0;
    for (; (c = wf_machine_class_at(n)); n++) {
        const char *name;
        wf_costs costs = *c->cost;
        assert_ptr_equal(wf_machine_class_named(c->name), c);
        assert_ptr_equal(wf_machine_class_nearest(c->isa, c->l1_bytes, c->l2_bytes), c);
        assert_true(strncmp(c->name, weft_isa_name(c->isa), strlen(weft_isa_name(c->isa))) == 0);
        int constants = 0;
        for (double *x; (x = wf_cost_at(&costs, constants, &name)); constants++)
            if (!(*x > 0))
                fail_msg("%s of %s is %g", name, c->name, *x);
        assert_int_equal((size_t)constants * sizeof(double), sizeof costs);
        const int *size = (const int *)c->blocking;
        for (size_t i = 0; i < sizeof *c->blocking / sizeof *size; i++)
            assert_true(size[i] > 0);
    }
    assert_int_equal(n, 4);
    assert_null(wf_machine_class_named("avx512"));
    assert_null(wf_machine_class_at(-1));
}

static void every_instruction_set_finds_a_class_of_its_own(void **unused)
{
    for (int i = 0; wf_machine_class_at(i); i++) {
        wf_machine_class_use(wf_machine_class_at(i));
        assert_ptr_equal(wf_machine_class_now(), wf_machine_class_at(i));
        assert_ptr_equal(wf_machine_class_of(wf_machine_class_at(i)->isa), wf_machine_class_at(i));
        for (weft_isa isa = WEFT_ISA_SCALAR; isa <= WEFT_ISA_AVX512; isa++)
            assert_int_equal(wf_machine_class_of(isa)->isa, isa);
    }
    wf_machine_class_use(NULL);
    assert_int_equal(wf_machine_class_now()->isa, wf_cpu_isa());
}

static void what_is_told_first_counts(void **unused)
{
    wf_machine_tell(48 * KIB, 2048 * KIB);
    const wf_machine_class *first = wf_machine_class_now();
    wf_machine_tell(32 * KIB, 1024 * KIB);
    assert_ptr_equal(wf_machine_class_now(), first);
    const wf_machine_class *asked = wf_machine_class_asked();
    assert_ptr_equal(first,
                     asked ? asked : wf_machine_class_nearest(wf_cpu_isa(), 48 * KIB, 2048 * KIB));
}

/* The sum of what everything that fits expects. */
static double expected_of(const wf_shape_case *c, int n)
{
    char why[160];
    double sum = 0;
    for (int s = 0; s < n; s++) {
        wf_conv2d_desc d = c[s].desc;
        const int block = wf_isa_block(wf_cpu_isa());
        d.dst_block = block;
        d.src_block = d.C < block ? 1 : block;
        for (int i = 0; i < 2 * wf_conv2d_n_impls; i++)
            for (wf_conv2d_pass p = WF_CONV2D_FORWARD; p <= WF_CONV2D_BACKWARD_WEIGHTS; p++) {
                const wf_conv2d_impl *impl = wf_conv2d_impls[i / 2];
                d.dst_type = i % 2 ? WEFT_BF16 : WEFT_F32;
                d.src_type = d.src_block > 1 ? d.dst_type : c[s].desc.src_type;
                if (wf_conv2d_fits(impl, &d, p, wf_cpu_isa(), why, sizeof why))
                    sum += wf_conv2d_cycles(impl, &d, p, wf_cpu_isa());
            }
    }
    for (int i = 0; i < wf_matmul_n_impls; i++)
        for (int kind = 0; kind < 2; kind++) {
            const wf_matmul_desc m = {
                .M = 4, .N = 64, .K = 64, .transpose_b = kind, .type = WEFT_F32, .bf16 = 1};
            if (wf_matmul_fits(wf_matmul_impls[i], &m, wf_cpu_isa(), why, sizeof why))
                sum += wf_matmul_cycles(wf_matmul_impls[i], &m, wf_cpu_isa());
        }
    return sum;
}

/* Whether the machine has a kernel that a constant is for. */
static bool has_kernel(const char *constant)
{
    if (strncmp(constant, "onednn_bf16_", 12) == 0)
        return wf_cpu_bf16() == WF_BF16_DOT;
    const wf_bf16 least = strncmp(constant, "dot_", 4) == 0   ? WF_BF16_DOT
                          : strncmp(constant, "amx_", 4) == 0 ? WF_BF16_AMX
                                                              : WF_BF16_STORAGE;
    return wf_cpu_bf16() >= least;
}

/* A constant that changes nothing is no constant: over the networks' layers each is used; dot_* where there
 * are dot products, onednn_bf16_* where these are the best, amx_* where there are tiles. */
static void every_constant_counts(void **unused)
{
    if (wf_cpu_isa() == WEFT_ISA_SCALAR)
        skip(); /* one kernel, one cost */
    char why[160];
    const char *name;
    wf_machine_class mine = *wf_machine_class_of(wf_cpu_isa());
    wf_costs costs = *mine.cost;
    mine.cost = &costs;
    bool counts[sizeof(wf_costs) / sizeof(double)] = {false};
    wf_machine_class_use(&mine);
    for (int f = WF_SHAPES_SMALL; wf_shapes_files[f]; f++) {
        int n;
        wf_shape_case *c = wf_shapes_read(wf_shapes_files[f], &n, why, sizeof why);
        assert_non_null(c);
        const double before = expected_of(c, n);
        for (int i = 0; wf_cost_at(&costs, i, &name); i++) {
            double *x = wf_cost_at(&costs, i, &name), was = *x;
            *x *= 1.25;
            counts[i] |= expected_of(c, n) != before;
            *x = was;
        }
        free(c);
    }
    wf_machine_class_use(NULL);
    for (int i = 0; wf_cost_at(&costs, i, &name); i++)
        if (!counts[i] && has_kernel(name))
            fail_msg("%s counts nowhere", name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_class_is_chosen_by_its_rule),
        cmocka_unit_test(classes_have_names_and_every_constant),
        cmocka_unit_test(every_instruction_set_finds_a_class_of_its_own),
        cmocka_unit_test(every_constant_counts),
        cmocka_unit_test(what_is_told_first_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
