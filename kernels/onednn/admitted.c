/* See admitted.h. */
#include "kernels/onednn/admitted.h"

#include <stdio.h>
#include <string.h>

enum {
    POINT = WF_DNNL_POINT,
    WINDOW = WF_DNNL_WINDOW,
    STRIDED = WF_DNNL_STRIDED,
    DILATED = WF_DNNL_DILATED,
    PADDED = WF_DNNL_PADDED,
    OVERHANG = WF_DNNL_OVERHANG,
    GROUPED = WF_DNNL_GROUPED,
    DEPTHWISE = WF_DNNL_DEPTHWISE,
    BIAS = WF_DNNL_BIAS,
};

enum { V2_6 = 1 << 0, V3_7 = 1 << 1 };
static const struct {
    int number; /* 100 major + minor */
    unsigned bit;
} versions[] = {{206, V2_6}, {307, V3_7}};

/* Any convolution of one group that has neither dilation nor bias. */
#define DENSE (POINT | WINDOW | STRIDED | PADDED | OVERHANG)

const wf_dnnl_entry wf_dnnl_admitted[] = {
    {V2_6 | V3_7,
     WEFT_ISA_AVX2,
     WF_DNNL_BLOCKED,
     "jit:avx2",
     {DENSE | DILATED | GROUPED | BIAS, DENSE | DILATED | GROUPED, DENSE | GROUPED}},
    {V2_6 | V3_7,
     WEFT_ISA_AVX2,
     WF_DNNL_BLOCKED,
     "jit_1x1:avx2",
     {POINT | STRIDED | BIAS, POINT | STRIDED, POINT | STRIDED}},
    {V2_6 | V3_7,
     WEFT_ISA_AVX2,
     WF_DNNL_BLOCKED,
     "jit_dw:avx2",
     {DENSE | DILATED | DEPTHWISE | BIAS, DENSE | DEPTHWISE,
      POINT | WINDOW | STRIDED | PADDED | DEPTHWISE}},
    {V2_6 | V3_7,
     WEFT_ISA_AVX2,
     WF_DNNL_FROM_PLAIN,
     "jit:avx2",
     {DENSE | DILATED | BIAS, 0, DENSE}},
    {V2_6 | V3_7,
     WEFT_ISA_AVX2,
     WF_DNNL_PLAIN,
     "x64:gemm:jit",
     {DENSE | DILATED | GROUPED | DEPTHWISE | BIAS, DENSE | DILATED | GROUPED | DEPTHWISE,
      DENSE | DILATED | GROUPED | DEPTHWISE}},
    {V2_6 | V3_7,
     WEFT_ISA_AVX512,
     WF_DNNL_BLOCKED,
     "jit:avx512_core",
     {DENSE | DILATED | GROUPED | BIAS, DENSE | DILATED | GROUPED, DENSE | DILATED | GROUPED}},
    {V2_6 | V3_7,
     WEFT_ISA_AVX512,
     WF_DNNL_BLOCKED,
     "jit_1x1:avx512_core",
     {POINT | STRIDED | BIAS, POINT | STRIDED, POINT | STRIDED}},
    {V2_6 | V3_7,
     WEFT_ISA_AVX512,
     WF_DNNL_BLOCKED,
     "jit_dw:avx512_core",
     {DENSE | DILATED | DEPTHWISE | BIAS, DENSE | DEPTHWISE,
      POINT | WINDOW | STRIDED | PADDED | DEPTHWISE}},
    {V2_6 | V3_7,
     WEFT_ISA_AVX512,
     WF_DNNL_FROM_PLAIN,
     "jit:avx512_core",
     {DENSE | DILATED | BIAS, 0, DENSE | DILATED}},
    {V2_6, /* 3.7 has jit_uni_ncsp_convolution there, which is wrong at times: README.md */
     WEFT_ISA_AVX512,
     WF_DNNL_PLAIN,
     "x64:gemm:jit",
     {DENSE | DILATED | GROUPED | DEPTHWISE | BIAS, DENSE | DILATED | GROUPED | DEPTHWISE,
      DENSE | DILATED | GROUPED | DEPTHWISE}},
    {V2_6,
     WEFT_ISA_AVX512,
     WF_DNNL_BLOCKED,
     "jit_bf16:avx512_core_bf16",
     /* weight gradients with overhang read scratch that was never written: README.md */
     {DENSE | DILATED | BIAS, DENSE | DILATED, POINT | WINDOW | STRIDED | PADDED | DILATED},
     .bf16 = true},
    {V2_6,
     WEFT_ISA_AVX512,
     WF_DNNL_BLOCKED,
     "jit_bf16_1x1:avx512_core_bf16",
     {POINT | STRIDED | BIAS, POINT | STRIDED, POINT | STRIDED},
     .bf16 = true},
};
const int wf_dnnl_n_admitted = sizeof wf_dnnl_admitted / sizeof *wf_dnnl_admitted;

static const char *const feature_names[] = {"1x1",      "window",  "strided",   "dilated", "padded",
                                            "overhang", "grouped", "depthwise", "bias"};

const char *wf_dnnl_feature_name(unsigned features)
{
    return feature_names[__builtin_ctz(features)];
}

static bool overhangs(int image, int kernel, int dilation)
{
    return (int64_t)(kernel - 1) * dilation >= image;
}

unsigned wf_dnnl_features(const wf_conv2d_desc *d)
{
    unsigned f = d->R == 1 && d->S == 1 ? POINT : WINDOW;
    if (d->stride[0] > 1 || d->stride[1] > 1)
        f |= STRIDED;
    if ((d->R > 1 && d->dilation[0] > 1) || (d->S > 1 && d->dilation[1] > 1))
        f |= DILATED;
    if (d->padding[0] > 0 || d->padding[1] > 0)
        f |= PADDED;
    if (overhangs(d->H, d->R, d->dilation[0]) || overhangs(d->W, d->S, d->dilation[1]))
        f |= OVERHANG;
    if (d->groups > 1)
        f |= d->groups == d->C && d->groups == d->K ? DEPTHWISE : GROUPED;
    return d->bias ? f | BIAS : f;
}

wf_dnnl_layout wf_dnnl_layout_of(const wf_conv2d_desc *d, weft_isa isa)
{
    const int block = wf_isa_block(isa);
    if (d->src_block == 1 && d->dst_block == 1)
        return WF_DNNL_PLAIN;
    if (d->dst_block != block)
        return WF_DNNL_OTHER;
    return d->src_block == block ? WF_DNNL_BLOCKED
           : d->src_block == 1   ? WF_DNNL_FROM_PLAIN
                                 : WF_DNNL_OTHER;
}

unsigned wf_dnnl_version_bit(int major, int minor)
{
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        if (versions[i].number == 100 * major + minor)
            return versions[i].bit;
    return 0;
}

const char *wf_dnnl_version_note(int major, int minor)
{
    return wf_dnnl_version_bit(major, minor) ? "" : " (not used: Weft is not tested with it)";
}

bool wf_dnnl_admits(int major, int minor, weft_isa isa, const char *name, const wf_conv2d_desc *d,
                    wf_conv2d_pass pass, char *why, size_t size)
{
    const unsigned version = wf_dnnl_version_bit(major, minor), features = wf_dnnl_features(d);
    const wf_dnnl_layout layout = wf_dnnl_layout_of(d, isa);
    const bool bf16 = d->dst_type == WEFT_BF16;
    if (!version) {
        snprintf(why, size, "oneDNN %d.%d is not a version that Weft has been tested with", major,
                 minor);
        return false;
    }
    snprintf(why, size, "%s of oneDNN %d.%d is not tested for %s in these layouts", name, major,
             minor, wf_conv2d_pass_name(pass));
    for (int i = 0; i < wf_dnnl_n_admitted; i++) {
        const wf_dnnl_entry *e = &wf_dnnl_admitted[i];
        if (!(e->versions & version) || e->isa != isa || e->layout != layout || e->bf16 != bf16 ||
            !e->features[pass] || strcmp(e->name, name) != 0)
            continue;
        const unsigned missing = features & ~e->features[pass];
        if (!missing)
            return true;
        snprintf(why, size, "%s of oneDNN %d.%d is not tested for %s of kind \"%s\"", name, major,
                 minor, wf_conv2d_pass_name(pass), wf_dnnl_feature_name(missing));
    }
    return false;
}
