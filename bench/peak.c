/* Chooses among the arithmetic loops; see peak.h. */
#include "bench/peak.h"
#include "bench/peak_loops.h"

bench_peak_fn bench_peak_f32(weft_isa isa)
{
    switch (isa) {
    case WEFT_ISA_AVX512: return bench_peak_f32_avx512;
    case WEFT_ISA_AVX2: return bench_peak_f32_avx2;
    case WEFT_ISA_SCALAR: break;
    }
    return bench_peak_f32_scalar;
}

bench_peak_fn bench_peak_bf16(weft_isa isa)
{
    return isa == WEFT_ISA_AVX512 && __builtin_cpu_supports("avx512bf16") ? bench_peak_bf16_avx512
                                                                          : NULL;
}
