/* Keeps each per-ISA library non-empty and says what it was compiled for (a test compares). */
#include "kernels/simd/simd.h"

int WF_ISA_FN(wf_simd_lanes)(void);
int WF_ISA_FN(wf_simd_lanes)(void)
{
    return WF_LANES;
}
