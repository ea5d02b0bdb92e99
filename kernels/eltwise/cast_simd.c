/* f32 to bf16 and back by vectors, one source for every ISA. Pure functions, any thread. */
#include "kernels/simd/simd.h"

#include "kernels/eltwise/cast.h"

static void f32_bf16(size_t n, const void *vx, void *vy)
{
    const float *x = vx;
    uint16_t *y = vy;
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_vstore_bf16(y + i, wf_vload(x + i));
    if (i < n)
        wf_vstore_bf16_n(y + i, wf_vload_n(x + i, (int)(n - i)), (int)(n - i));
}

static void bf16_f32(size_t n, const void *vx, void *vy)
{
    const uint16_t *x = vx;
    float *y = vy;
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_vstore(y + i, wf_vload_bf16(x + i));
    if (i < n)
        wf_vstore_n(y + i, wf_vload_bf16_n(x + i, (int)(n - i)), (int)(n - i));
}

const wf_casts WF_ISA_FN(wf_casts) = {WF_ISA, f32_bf16, bf16_f32};
