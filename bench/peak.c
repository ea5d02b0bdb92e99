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

bench_peak_fn bench_peak_bf16(wf_bf16 level)
{
    switch (level) {
    case WF_BF16_AMX: return bench_peak_bf16_amx;
    case WF_BF16_DOT: return bench_peak_bf16_avx512;
    case WF_BF16_STORAGE: break;
    }
    return NULL;
}

const char *bench_peak_bf16_name(wf_bf16 level)
{
    return level == WF_BF16_AMX ? "TDPBF16PS" : "VDPBF16PS";
}
