/* The vector layer's checks, compiled once per instruction set (simd_cases.c) and run by
 * test_simd.c where the CPU has the set. */
#ifndef WF_TEST_SIMD_CASES_H
#define WF_TEST_SIMD_CASES_H

typedef struct simd_cases {
    int lanes;
    void (*memory)(void);
    void (*arithmetic)(void);
    void (*masks)(void);
    void (*sums)(void);
    void (*integers)(void);
    void (*doubles)(void);
    void (*bf16)(void);
    void (*dots)(void); /* NULL: the set has none */
    void (*exponential)(void);
} simd_cases;

extern const simd_cases simd_cases_scalar, simd_cases_avx2, simd_cases_avx512, simd_cases_emul,
    simd_cases_avx512_bf16;
#endif
