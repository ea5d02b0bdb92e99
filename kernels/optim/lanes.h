/* What the vector updates share: loads and stores of full vectors and of tails. Each update is one
 * source for every ISA over kernels/simd, operation for operation the reference's (no fused
 * multiply-add), so the bits are equal. */
#ifndef WF_KERNELS_OPTIM_LANES_H
#define WF_KERNELS_OPTIM_LANES_H

#include "kernels/simd/simd.h"

#include <math.h>

#include "kernels/optim/optim.h"

/* Masked stores are slow on some CPUs, so only tails use them. */
WF_INLINE wf_vf wf_lanes_load(const float *p, int lanes)
{
    return lanes == WF_LANES ? wf_vload(p) : wf_vload_n(p, lanes);
}

WF_INLINE void wf_lanes_store(float *p, wf_vf v, int lanes)
{
    if (lanes == WF_LANES)
        wf_vstore(p, v);
    else
        wf_vstore_n(p, v, lanes);
}

/* The lanes of the vector that begins at element i of n. */
WF_INLINE int wf_lanes_at(size_t i, size_t n)
{
    return n - i < WF_LANES ? (int)(n - i) : WF_LANES;
}

/* The vector updates of this ISA, one a file. */
#define WF_UPDATE(name)                                                                            \
    void WF_ISA_FN(wf_update_##name)(size_t n, const void *settings, const void *const *in,        \
                                     void *const *out);
#include "kernels/optim/updates.def"
#undef WF_UPDATE

#endif
