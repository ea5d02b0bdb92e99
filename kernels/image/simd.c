/* The vector image kernels: one source for every ISA over kernels/simd, the reference's bits. */
#include "kernels/simd/simd.h"

#include "kernels/image/image.h"

static void normalize(int C, size_t pixels, const float *mean, const float *std, const uint8_t *x,
                      float *y)
{
    const wf_vf full = wf_vset1(255.0f);
    for (int c = 0; c < C; c++, x += pixels, y += pixels) {
        const wf_vf m = wf_vset1(mean[c]), s = wf_vset1(std[c]);
        size_t i = 0;
        for (; i + WF_LANES <= pixels; i += WF_LANES)
            wf_vstore(y + i, wf_vdiv(wf_vsub(wf_vdiv(wf_vload_u8(x + i), full), m), s));
        int rest = (int)(pixels - i);
        if (rest) {
            wf_vf v = wf_vdiv(wf_vload_u8_n(x + i, rest), full);
            wf_vstore_n(y + i, wf_vdiv(wf_vsub(v, m), s), rest);
        }
    }
}

extern const wf_image_kernels WF_ISA_FN(wf_image);
const wf_image_kernels WF_ISA_FN(wf_image) = {
    "image:" WF_ISA_NAME,
    normalize,
};
