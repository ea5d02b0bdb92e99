/* What both bf16 kernels ask of a shape, and its axes: see dot.h. Pure functions. */
#include <stdlib.h>

#include "kernels/conv2d/dot/dot.h"
#include "kernels/machine.h"
#include "kernels/select.h"

const char *dot_misfit(const wf_conv2d_desc *d)
{
#if !defined(WF_SIMD_EMULATE)
    if (wf_cpu_bf16() < WF_BF16_DOT)
        return "needs avx512_bf16";
#endif
    if (d->src_block != L || d->dst_block != L)
        return "needs src and dst in blocks of 16 channels";
    if (d->weights_type != WEFT_F32)
        return "needs weights of f32";
    if (d->groups > 1 && (d->C / d->groups % L || d->K / d->groups % L))
        return "groups of no whole blocks: pairs of channels would cross them";
    if ((int64_t)d->H * d->W >= DOT_MAX_PLANE_ELEMENTS / L ||
        (int64_t)d->P * d->Q >= DOT_MAX_PLANE_ELEMENTS / L)
        return "planes of 2^28 elements or more";
    return NULL;
}

double dot_expect(const wf_conv2d_desc *d, double products, double share)
{
    return wf_expect_fmas(products, WEFT_ISA_AVX512, share) + wf_conv2d_expect_traffic(d);
}

static void add_tap(dot_axis *a, int tap, int offset)
{
    const int last =
        offset + (a->outputs - 1) * a->input_step; /* input that the last output meets */
    if (a->outputs == 0 || last < 0 || offset >= a->inputs)
        return;
    /* A stride may step over the whole input. */
    const int first = offset < 0 ? (-offset + a->input_step - 1) / a->input_step : 0;
    if (first >= a->outputs || offset + first * a->input_step >= a->inputs)
        return;
    a->tap[a->taps] = tap;
    a->offset[a->taps++] = offset;
}

dot_axis *dot_axes(wf_conv2d_pass pass, int in, int out, int kernel, int stride, int padding,
                   int dilation)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int count = data ? stride : 1;
    dot_axis *axes =
        malloc((size_t)count * (sizeof *axes + 2 * (size_t)kernel * sizeof *axes->tap));
    int *store = (int *)(axes + count);
    if (!axes)
        return NULL;
    for (int i = 0; i < count; i++, store += 2 * kernel) {
        dot_axis *a = &axes[i];
        *a = (dot_axis){.outputs = i < out ? (out - i + count - 1) / count : 0,
                        .first_output = i,
                        .output_step = count,
                        .inputs = in,
                        .input_step = data ? 1 : stride,
                        .tap = store,
                        .offset = store + kernel};
        for (int j = 0; j < kernel;
             j++) { /* in the order of offsets, so that products read memory forward */
            const int t = data ? kernel - 1 - j : j;
            const int offset = data ? i + padding - t * dilation : t * dilation - padding;
            if (!data)
                add_tap(a, t, offset);
            else if (offset % stride == 0)
                add_tap(a, t, offset / stride);
        }
    }
    return axes;
}
