/* The vector layer on AVX2 and FMA: 8 lanes. Included by simd.h only; simd.h documents the
 * semantics. */
#include <immintrin.h>

typedef __m256 wf_vf;
typedef __m256i wf_vi;
typedef __m256 wf_vm; /* all bits of a lane set, or none */
typedef struct wf_vd {
    __m256d lo, hi;
} wf_vd;

/* masks */
WF_INLINE wf_vm wf_vm_first(int n)
{
    __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), iota));
}
WF_INLINE wf_vm wf_vgt(wf_vf a, wf_vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}
WF_INLINE wf_vm wf_vge(wf_vf a, wf_vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_GE_OQ);
}
WF_INLINE wf_vm wf_vnle(wf_vf a, wf_vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_NLE_UQ);
}
WF_INLINE wf_vm wf_veq(wf_vf a, wf_vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
WF_INLINE wf_vm wf_vne(wf_vf a, wf_vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ);
}
WF_INLINE wf_vf wf_vblend(wf_vm m, wf_vf a, wf_vf b)
{
    return _mm256_blendv_ps(b, a, m);
}
WF_INLINE wf_vi wf_vi_blend(wf_vm m, wf_vi a, wf_vi b)
{
    return _mm256_blendv_epi8(b, a, _mm256_castps_si256(m));
}
WF_INLINE wf_vm wf_vm_and(wf_vm a, wf_vm b)
{
    return _mm256_and_ps(a, b);
}
WF_INLINE wf_vm wf_vm_or(wf_vm a, wf_vm b)
{
    return _mm256_or_ps(a, b);
}
WF_INLINE wf_vm wf_vm_not(wf_vm a)
{
    return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1)));
}
WF_INLINE unsigned wf_vm_bits(wf_vm m)
{
    return (unsigned)_mm256_movemask_ps(m);
}
WF_INLINE wf_vm wf_vm_from_bits(unsigned bits)
{
    __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i set = _mm256_and_si256(_mm256_set1_epi32((int)bits), lane);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane));
}

/* memory */
WF_INLINE wf_vf wf_vload(const float *p)
{
    return _mm256_loadu_ps(p);
}
WF_INLINE wf_vf wf_vload_n(const float *p, int n)
{
    return _mm256_maskload_ps(p, _mm256_castps_si256(wf_vm_first(n)));
}
WF_INLINE wf_vf wf_vload_u8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
WF_INLINE wf_vf wf_vload_bf16(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
WF_INLINE wf_vf wf_vload_bf16_n(const uint16_t *p, int n)
{
    uint16_t all[8] = {0};
    memcpy(all, p, (size_t)n * sizeof *p);
    return wf_vload_bf16(all);
}
WF_INLINE void wf_vstore(float *p, wf_vf a)
{
    _mm256_storeu_ps(p, a);
}
WF_INLINE void wf_vstore_n(float *p, wf_vf a, int n)
{
    _mm256_maskstore_ps(p, _mm256_castps_si256(wf_vm_first(n)), a);
}
/* Past the caches; p on a 32-byte boundary. wf_vstream_end() before anyone else reads. */
WF_INLINE void wf_vstream(float *p, wf_vf a)
{
    _mm256_stream_ps(p, a);
}
WF_INLINE void wf_vstream_end(void)
{
    _mm_sfence();
}
/* The rounded bf16 in the upper half of each lane, whatever in the lower. */
WF_INLINE __m256i wf_bf16_above(wf_vf a)
{
    __m256i u = _mm256_castps_si256(a);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i even = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i nan = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    return wf_vi_blend(wf_vne(a, a), nan, even);
}
WF_INLINE __m128i wf_upper_halves(__m256i a)
{
    __m256i wide = _mm256_srli_epi32(a, 16);
    wide = _mm256_packus_epi32(wide, wide); /* quads 0 and 2 hold the values */
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(wide, 0x08));
}
WF_INLINE void wf_vstore_bf16(uint16_t *p, wf_vf a)
{
    _mm_storeu_si128((__m128i *)p, wf_upper_halves(wf_bf16_above(a)));
}
WF_INLINE void wf_vstore_bf16_exact(uint16_t *p, wf_vf a)
{
    _mm_storeu_si128((__m128i *)p, wf_upper_halves(_mm256_castps_si256(a)));
}
WF_INLINE void wf_vstore_bf16_n(uint16_t *p, wf_vf a, int n)
{
    uint16_t all[8];
    wf_vstore_bf16(all, a);
    memcpy(p, all, (size_t)n * sizeof *p);
}
WF_INLINE void wf_vstore_bf16_exact_n(uint16_t *p, wf_vf a, int n)
{
    uint16_t all[8];
    wf_vstore_bf16_exact(all, a);
    memcpy(p, all, (size_t)n * sizeof *p);
}
WF_INLINE wf_vf wf_vround_bf16(wf_vf a)
{
    __m256i upper = _mm256_set1_epi32((int)0xffff0000);
    return _mm256_castsi256_ps(_mm256_and_si256(wf_bf16_above(a), upper));
}

/* arithmetic */
WF_INLINE wf_vf wf_vzero(void)
{
    return _mm256_setzero_ps();
}
WF_INLINE wf_vf wf_vset1(float x)
{
    return _mm256_set1_ps(x);
}
WF_INLINE wf_vf wf_vadd(wf_vf a, wf_vf b)
{
    return _mm256_add_ps(a, b);
}
WF_INLINE wf_vf wf_vsub(wf_vf a, wf_vf b)
{
    return _mm256_sub_ps(a, b);
}
WF_INLINE wf_vf wf_vmul(wf_vf a, wf_vf b)
{
    return _mm256_mul_ps(a, b);
}
WF_INLINE wf_vf wf_vdiv(wf_vf a, wf_vf b)
{
    return _mm256_div_ps(a, b);
}
WF_INLINE wf_vf wf_vfma(wf_vf a, wf_vf b, wf_vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
WF_INLINE wf_vf wf_vfnma(wf_vf a, wf_vf b, wf_vf c)
{
    return _mm256_fnmadd_ps(a, b, c);
}
WF_INLINE wf_vf wf_vmax(wf_vf a, wf_vf b)
{
    return _mm256_max_ps(a, b);
}
WF_INLINE wf_vf wf_vmin(wf_vf a, wf_vf b)
{
    return _mm256_min_ps(a, b);
}
WF_INLINE wf_vf wf_vsqrt(wf_vf a)
{
    return _mm256_sqrt_ps(a);
}
WF_INLINE wf_vf wf_vand(wf_vf a, wf_vf b)
{
    return _mm256_and_ps(a, b);
}
WF_INLINE wf_vf wf_vandnot(wf_vf a, wf_vf b)
{
    return _mm256_andnot_ps(a, b);
}
WF_INLINE wf_vf wf_vor(wf_vf a, wf_vf b)
{
    return _mm256_or_ps(a, b);
}
WF_INLINE wf_vf wf_vxor(wf_vf a, wf_vf b)
{
    return _mm256_xor_ps(a, b);
}
WF_INLINE float wf_vsum(wf_vf a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
WF_INLINE float wf_vhmax(wf_vf a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* integers */
WF_INLINE wf_vi wf_vi_load(const int32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
WF_INLINE wf_vi wf_vi_load_u8(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
WF_INLINE wf_vi wf_vi_load_u8_two(const uint8_t *p, const uint8_t *q)
{
    return wf_vi_load_u8(p);
}
WF_INLINE void wf_vi_store(int32_t *p, wf_vi a)
{
    _mm256_storeu_si256((__m256i *)p, a);
}
/* The low byte of each lane. */
WF_INLINE void wf_vi_store_u8(uint8_t *p, wf_vi a)
{
    a = _mm256_and_si256(a, _mm256_set1_epi32(0xff));
    __m128i w = _mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(w, w));
}
/* Each lane, clipped to 0 .. 255. */
WF_INLINE void wf_vi_store_u8_clip(uint8_t *p, wf_vi a)
{
    __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(w, w));
}
WF_INLINE wf_vi wf_vi_set1(int32_t x)
{
    return _mm256_set1_epi32(x);
}
WF_INLINE wf_vi wf_vi_iota(void)
{
    return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}
WF_INLINE wf_vi wf_vi_add(wf_vi a, wf_vi b)
{
    return _mm256_add_epi32(a, b);
}
WF_INLINE wf_vi wf_vi_sub(wf_vi a, wf_vi b)
{
    return _mm256_sub_epi32(a, b);
}
WF_INLINE wf_vi wf_vi_mul(wf_vi a, wf_vi b)
{
    return _mm256_mullo_epi32(a, b);
}
WF_INLINE wf_vi wf_vi_shl(wf_vi a, int by)
{
    return _mm256_slli_epi32(a, by);
}
WF_INLINE wf_vi wf_vi_sar(wf_vi a, int by)
{
    return _mm256_srai_epi32(a, by);
}
WF_INLINE wf_vm wf_vi_eq(wf_vi a, wf_vi b)
{
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b));
}
WF_INLINE wf_vm wf_vi_gt(wf_vi a, wf_vi b)
{
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b));
}
WF_INLINE wf_vi wf_vcvt_i(wf_vf a) /* to nearest, ties to even */
{
    return _mm256_cvtps_epi32(a);
}
WF_INLINE wf_vi wf_vcvt_i_trunc(wf_vf a)
{
    return _mm256_cvttps_epi32(a);
}
WF_INLINE wf_vf wf_vcvt_f(wf_vi a)
{
    return _mm256_cvtepi32_ps(a);
}
WF_INLINE wf_vf wf_vi_as_f(wf_vi a)
{
    return _mm256_castsi256_ps(a);
}
/* Lane i is lane from[i] of a; from is in 0..WF_LANES - 1. */
WF_INLINE wf_vf wf_vpermute(wf_vf a, wf_vi from)
{
    return _mm256_permutevar8x32_ps(a, from);
}
/* Lane i is table[from[i] mod 8]. */
WF_INLINE wf_vf wf_vlookup8(const float *table, wf_vi from)
{
    return _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), from);
}
/* Lane i is table[from[i] mod 16]. */
WF_INLINE wf_vf wf_vlookup16(const float *table, wf_vi from)
{
    __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), from);
    __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), from);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(from, 28)));
}
WF_INLINE wf_vi wf_vf_as_i(wf_vf a)
{
    return _mm256_castps_si256(a);
}

/* doubles: as many as there are float lanes */
WF_INLINE wf_vd wf_vd_load(const double *p)
{
    return (wf_vd){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)};
}
WF_INLINE void wf_vd_store(double *p, wf_vd a)
{
    _mm256_storeu_pd(p, a.lo);
    _mm256_storeu_pd(p + 4, a.hi);
}
WF_INLINE wf_vd wf_vd_set1(double x)
{
    return (wf_vd){_mm256_set1_pd(x), _mm256_set1_pd(x)};
}
WF_INLINE wf_vd wf_vd_from(wf_vf a)
{
    return (wf_vd){_mm256_cvtps_pd(_mm256_castps256_ps128(a)),
                   _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))};
}
WF_INLINE wf_vf wf_vd_to_f(wf_vd a)
{
    return _mm256_set_m128(_mm256_cvtpd_ps(a.hi), _mm256_cvtpd_ps(a.lo));
}
WF_INLINE wf_vd wf_vd_add(wf_vd a, wf_vd b)
{
    return (wf_vd){_mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi)};
}
WF_INLINE wf_vd wf_vd_sub(wf_vd a, wf_vd b)
{
    return (wf_vd){_mm256_sub_pd(a.lo, b.lo), _mm256_sub_pd(a.hi, b.hi)};
}
WF_INLINE wf_vd wf_vd_mul(wf_vd a, wf_vd b)
{
    return (wf_vd){_mm256_mul_pd(a.lo, b.lo), _mm256_mul_pd(a.hi, b.hi)};
}
WF_INLINE wf_vd wf_vd_div(wf_vd a, wf_vd b)
{
    return (wf_vd){_mm256_div_pd(a.lo, b.lo), _mm256_div_pd(a.hi, b.hi)};
}
WF_INLINE wf_vd wf_vd_fma(wf_vd a, wf_vd b, wf_vd c)
{
    return (wf_vd){_mm256_fmadd_pd(a.lo, b.lo, c.lo), _mm256_fmadd_pd(a.hi, b.hi, c.hi)};
}
WF_INLINE double wf_vd_sum(wf_vd a)
{
    __m256d s = _mm256_add_pd(a.lo, a.hi);
    __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}
