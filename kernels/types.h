/* What every kernel family shares: instruction sets, activation geometry, blocks.
 *
 * Kernels know pointers, sizes, strides and tiles. They allocate nothing, start no threads and
 * report no errors; what they cannot do they say when asked whether they fit, and what fails all the
 * same, as a library's kernel may, by a status that fails the run. */
#ifndef WF_KERNELS_TYPES_H
#define WF_KERNELS_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/types.h"

/* Of functions that run a kernel: a status that nobody looks at would let wrong numbers through. */
#define WF_MUST_CHECK __attribute__((warn_unused_result))

/* The best instruction set this CPU has, capped by WEFT_MAX_ISA (scalar, avx2, avx512; the two names
 * beyond cap nothing here) and by the class that WEFT_MACHINE names (machine.h). avx2 asks for
 * AVX2+FMA, avx512 for F, BW, DQ, VL. Read once. */
weft_isa wf_cpu_isa(void);
weft_isa wf_cpu_best_isa(void); /* the same without the caps; for reports */

/* What arithmetic there is on bf16. Every level stores bf16; storage computes in f32. Each level has
 * bits of its own: VDPBF16PS and TDPBF16PS round differently (kernels/simd/README.md), so what
 * depends on the level must say so in explain and in wisdom's problems. Which one is the fastest
 * does not follow from the order. */
typedef enum wf_bf16 {
    WF_BF16_STORAGE, /* no instructions */
    WF_BF16_DOT,     /* AVX512_BF16: VDPBF16PS, VCVTNE2PS2BF16 */
    WF_BF16_AMX,     /* AMX-BF16 tiles as well: TDPBF16PS */
} wf_bf16;
const char *wf_bf16_name(wf_bf16 level); /* "storage", "avx512_bf16", "amx" */

/* The level to use: storage unless wf_cpu_isa() is avx512; capped by WEFT_MAX_ISA (avx512,
 * avx512_bf16, amx). Where nothing caps AMX, the first call asks the operating system for the tile
 * registers on behalf of the whole process; if it refuses, the level is WF_BF16_DOT. With the
 * permission, alternate signal stacks must be at least getauxval(AT_MINSIGSTKSZ) bytes. Read once. */
wf_bf16 wf_cpu_bf16(void);
wf_bf16 wf_cpu_best_bf16(void); /* what CPU and XCR0 have, without caps or asking; for reports */
/* errno with which the operating system refused the tile registers; 0: it did not, or nobody asked. */
int wf_cpu_amx_refused(void);

/* What a byte can be: the entries of a table of what bytes stand for. */
#define WF_BYTE_VALUES 256

/* Channels per block of the blocked layout: 16 on AVX-512, 8 elsewhere. f64 stays plain (1). */
static inline int wf_isa_block(weft_isa isa)
{
    return isa == WEFT_ISA_AVX512 ? 16 : 8;
}

/* One image of a 4-D activation. block 1 is plain CHW; block b is (C/b) x H x W x b with the
 * channels padded to a multiple of b. Padding channels are zero and stay zero. */
typedef struct wf_act {
    int C, H, W;
    int block;
} wf_act;

static inline int wf_round_up(int x, int to)
{
    return (x + to - 1) / to * to;
}

/* Elements of one image, padding channels included. */
static inline size_t wf_act_count(wf_act a)
{
    return (size_t)wf_round_up(a.C, a.block) * (size_t)a.H * (size_t)a.W;
}

/* Element offset of (c, h, w) inside the image; holds for plain (block 1) and blocked alike. */
static inline size_t wf_act_index(wf_act a, int c, int h, int w)
{
    size_t pixel = ((size_t)(c / a.block) * (size_t)a.H + (size_t)h) * (size_t)a.W + (size_t)w;
    return pixel * (size_t)a.block + (size_t)(c % a.block);
}

/* What a bf16 number is: the upper half of a float. */
static inline float wf_bf16_value(uint16_t bits)
{
    const union {
        uint32_t u;
        float f;
    } x = {(uint32_t)bits << 16};
    return x.f;
}

/* Element i of an array of f32 or f64, where speed does not matter. */
static inline double wf_float_get(weft_dtype dtype, const void *p, int64_t i)
{
    return dtype == WEFT_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}
static inline void wf_float_set(weft_dtype dtype, void *p, int64_t i, double x)
{
    if (dtype == WEFT_F64)
        ((double *)p)[i] = x;
    else
        ((float *)p)[i] = (float)x;
}

#define WF_CAT_(a, b) a##b
#define WF_CAT(a, b) WF_CAT_(a, b)
#define WF_ALIGN                                                                                   \
    64 /* bytes: every buffer a kernel is given starts on such a boundary, unless the
                       family's header says otherwise; images inside it need not */
#endif
