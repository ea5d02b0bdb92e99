/* Every function of the vector layer equals plain C, on each instruction set that is compiled and
 * that this CPU has; the emulated 16 lanes run everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/types.h"
#include "simd_cases.h"

int wf_simd_lanes_avx2(void);
int wf_simd_lanes_avx512(void);
int wf_simd_lanes_avx512_bf16(void);

/* The sets to run, by what the CPU has under WEFT_MAX_ISA. Returns how many. */
static int variants(const simd_cases *out[5])
{
    int n = 0;
    weft_isa isa = wf_cpu_isa();
    out[n++] = &simd_cases_scalar;
    if (isa >= WEFT_ISA_AVX2) {
        out[n++] = &simd_cases_emul; /* compiled with FMA */
        out[n++] = &simd_cases_avx2;
    }
    if (isa >= WEFT_ISA_AVX512)
        out[n++] = &simd_cases_avx512;
    if (wf_cpu_bf16() >= WF_BF16_DOT)
        out[n++] = &simd_cases_avx512_bf16;
    return n;
}

#define TEST(name)                                                                                 \
    static void name(void **state)                                                                 \
    {                                                                                              \
        const simd_cases *v[5];                                                                    \
        for (int i = 0, n = variants(v); i < n; i++)                                               \
            if (v[i]->name)                                                                        \
                v[i]->name();                                                                      \
    }
TEST(memory)
TEST(arithmetic)
TEST(masks)
TEST(sums)
TEST(integers)
TEST(doubles)
TEST(bf16)
TEST(dots)
TEST(exponential)

static void lanes_are_those_of_the_instruction_set(void **state)
{
    assert_int_equal(simd_cases_scalar.lanes, 1);
    assert_int_equal(simd_cases_emul.lanes, 16);
    assert_int_equal(simd_cases_avx2.lanes, 8);
    assert_int_equal(simd_cases_avx512.lanes, 16);
    assert_int_equal(simd_cases_avx512_bf16.lanes, 16);
    assert_non_null(simd_cases_avx512_bf16.dots);
    assert_non_null(simd_cases_emul.dots);
    if (wf_cpu_isa() >= WEFT_ISA_AVX2)
        assert_int_equal(wf_simd_lanes_avx2(), wf_isa_block(WEFT_ISA_AVX2));
    if (wf_cpu_isa() >= WEFT_ISA_AVX512)
        assert_int_equal(wf_simd_lanes_avx512(), wf_isa_block(WEFT_ISA_AVX512));
    if (wf_cpu_bf16() >= WF_BF16_DOT)
        assert_int_equal(wf_simd_lanes_avx512_bf16(), wf_isa_block(WEFT_ISA_AVX512));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_are_those_of_the_instruction_set),
        cmocka_unit_test(memory),
        cmocka_unit_test(arithmetic),
        cmocka_unit_test(masks),
        cmocka_unit_test(sums),
        cmocka_unit_test(integers),
        cmocka_unit_test(doubles),
        cmocka_unit_test(bf16),
        cmocka_unit_test(dots),
        cmocka_unit_test(exponential),
    };
    return cmocka_run_group_tests_name("simd", tests, NULL, NULL);
}
