/* The element type of images: one source, compiled for f32 and for bf16.
 *
 * Note [Elements]
 * A file listed under kernel_element_src is compiled for each instruction set twice: as it is, for images
 * of f32, and with WF_ELEMENT_BF16, for images of bf16. It declares images as wf_element, reads and
 * writes them by the functions below, and names what it exports by WF_ELEMENT_FN, which gives
 * name_avx2 and name_bf16_avx2, or by WF_ELEMENT (f32 or bf16). Arithmetic is in f32 both times;
 * per-channel arrays, sums and scalars are f32 both times. A bf16 image is rounded to nearest even once,
 * where it is stored. A kernel that does what several recorded ops do rounds between them by
 * wf_eround, so that fused and unfused execution give the same bits.
 *
 * wf_estore_exact is a cheaper store of what is an element already: loaded, chosen among
 * loaded ones, or rounded by wf_eround. Lane counts n of the _n functions: 0..WF_LANES. */
#ifndef WF_SIMD_ELEMENT_H
#define WF_SIMD_ELEMENT_H

#include "kernels/simd/simd.h"

#if defined(WF_ELEMENT_BF16)
#define WF_ELEMENT bf16
#define WF_ELEMENT_BYTES 2
#define WF_ELEMENT_NAME "bf16"
#define WF_ELEMENT_TAG ":bf16" /* behind names that say nothing of f32 */
#define WF_ELEMENT_DTYPE WEFT_BF16
#define WF_ELEMENT_FN(name) WF_ISA_FN(WF_CAT(name, _bf16))
typedef uint16_t wf_element;

WF_INLINE wf_vf wf_eload(const wf_element *p)
{
    return wf_vload_bf16(p);
}
WF_INLINE wf_vf wf_eload_n(const wf_element *p, int n)
{
    return wf_vload_bf16_n(p, n);
}
WF_INLINE void wf_estore(wf_element *p, wf_vf v)
{
    wf_vstore_bf16(p, v);
}
WF_INLINE void wf_estore_n(wf_element *p, wf_vf v, int n)
{
    wf_vstore_bf16_n(p, v, n);
}
WF_INLINE void wf_estore_exact(wf_element *p, wf_vf v)
{
    wf_vstore_bf16_exact(p, v);
}
WF_INLINE void wf_estore_exact_n(wf_element *p, wf_vf v, int n)
{
    wf_vstore_bf16_exact_n(p, v, n);
}
WF_INLINE wf_vf wf_eround(wf_vf v)
{
    return wf_vround_bf16(v);
}
#else
#define WF_ELEMENT f32
#define WF_ELEMENT_BYTES 4
#define WF_ELEMENT_NAME "f32"
#define WF_ELEMENT_TAG ""
#define WF_ELEMENT_DTYPE WEFT_F32
#define WF_ELEMENT_FN(name) WF_ISA_FN(name)
typedef float wf_element;

WF_INLINE wf_vf wf_eload(const wf_element *p)
{
    return wf_vload(p);
}
WF_INLINE wf_vf wf_eload_n(const wf_element *p, int n)
{
    return wf_vload_n(p, n);
}
WF_INLINE void wf_estore(wf_element *p, wf_vf v)
{
    wf_vstore(p, v);
}
WF_INLINE void wf_estore_n(wf_element *p, wf_vf v, int n)
{
    wf_vstore_n(p, v, n);
}
WF_INLINE void wf_estore_exact(wf_element *p, wf_vf v)
{
    wf_vstore(p, v);
}
WF_INLINE void wf_estore_exact_n(wf_element *p, wf_vf v, int n)
{
    wf_vstore_n(p, v, n);
}
WF_INLINE wf_vf wf_eround(wf_vf v)
{
    return v;
}
#endif

#endif
