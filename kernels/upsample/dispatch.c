/* Which implementation of resampling runs, and the taps of one dimension. Any thread. */
#include <math.h>

#include "kernels/upsample/upsample.h"

extern const wf_upsample_fns wf_upsample_avx512, wf_upsample_avx2, wf_upsample_scalar,
    wf_upsample_f32, wf_upsample_bf16_avx512, wf_upsample_bf16_avx2, wf_upsample_bf16_scalar,
    wf_upsample_f64;

const wf_upsample_fns *const wf_upsample_list[] = {
    &wf_upsample_avx512,      &wf_upsample_avx2,        &wf_upsample_scalar,
    &wf_upsample_f32,         &wf_upsample_bf16_avx512, &wf_upsample_bf16_avx2,
    &wf_upsample_bf16_scalar, &wf_upsample_f64,         NULL};

const wf_upsample_fns *wf_upsample_find(weft_isa isa, weft_dtype dtype, int block)
{
    for (int i = 0; wf_upsample_list[i]; i++) {
        const wf_upsample_fns *f = wf_upsample_list[i];
        if (f->dtype == dtype && f->isa <= isa && block % f->lanes == 0)
            return f;
    }
    return NULL;
}

static wf_upsample_tap nearest_tap(weft_dtype dtype, int in, int out, int o)
{
    const int at = dtype == WEFT_F64 ? (int)floor((double)o * ((double)in / (double)out))
                                     : (int)floorf((float)o * ((float)in / (float)out));
    const int from = at < in - 1 ? at : in - 1;
    return (wf_upsample_tap){{from, from}, {1, 0}, {1, 0}};
}

static wf_upsample_tap bilinear_tap(bool align_corners, int in, int out, int o)
{
    double at = align_corners ? out > 1 ? (double)o * (double)(in - 1) / (double)(out - 1) : 0
                              : ((double)o + 0.5) * (double)in / (double)out - 0.5;
    if (at < 0)
        at = 0;
    const int low = (int)at < in - 1 ? (int)at : in - 1, high = low < in - 1 ? low + 1 : low;
    const double w = at - (double)low;
    return (wf_upsample_tap){{low, high}, {1 - w, w}, {(float)(1 - w), (float)w}};
}

void wf_upsample_taps(bool nearest, bool align_corners, weft_dtype dtype, int in, int out,
                      wf_upsample_tap *taps)
{
    for (int o = 0; o < out; o++)
        taps[o] =
            nearest ? nearest_tap(dtype, in, out, o) : bilinear_tap(align_corners, in, out, o);
}
