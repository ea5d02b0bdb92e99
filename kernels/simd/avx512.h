/* The vector layer on AVX-512 (F, BW, DQ, VL): 16 lanes. Included by simd.h only; simd.h documents
 * the semantics. */
#include <immintrin.h>

typedef __m512 wf_vf;
typedef __m512i wf_vi;
typedef __mmask16 wf_vm;
typedef struct wf_vd {
    __m512d lo, hi;
} wf_vd;

/* masks */
WF_INLINE wf_vm wf_vm_first(int n)
{
    return (wf_vm)((1u << n) - 1);
}
WF_INLINE wf_vm wf_vgt(wf_vf a, wf_vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
WF_INLINE wf_vm wf_vge(wf_vf a, wf_vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}
WF_INLINE wf_vm wf_vnle(wf_vf a, wf_vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ);
}
WF_INLINE wf_vm wf_veq(wf_vf a, wf_vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
WF_INLINE wf_vm wf_vne(wf_vf a, wf_vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);
}
WF_INLINE wf_vf wf_vblend(wf_vm m, wf_vf a, wf_vf b)
{
    return _mm512_mask_blend_ps(m, b, a);
}
WF_INLINE wf_vi wf_vi_blend(wf_vm m, wf_vi a, wf_vi b)
{
    return _mm512_mask_blend_epi32(m, b, a);
}
WF_INLINE wf_vm wf_vm_and(wf_vm a, wf_vm b)
{
    return (wf_vm)(a & b);
}
WF_INLINE wf_vm wf_vm_or(wf_vm a, wf_vm b)
{
    return (wf_vm)(a | b);
}
WF_INLINE wf_vm wf_vm_not(wf_vm a)
{
    return (wf_vm)~a;
}
WF_INLINE unsigned wf_vm_bits(wf_vm m)
{
    return m;
}
WF_INLINE wf_vm wf_vm_from_bits(unsigned bits)
{
    return (wf_vm)bits;
}

/* memory */
WF_INLINE wf_vf wf_vload(const float *p)
{
    return _mm512_loadu_ps(p);
}
WF_INLINE wf_vf wf_vload_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(wf_vm_first(n), p);
}
WF_INLINE wf_vf wf_vload_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
/* One permutation of words in place of a conversion and a shift. */
WF_INLINE wf_vf wf_bf16_widened(__m256i h)
{
    const __m512i word = _mm512_set_epi16(15, 15, 14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8,
                                          8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_castsi512_ps(
        _mm512_maskz_permutexvar_epi16(0xaaaaaaaa, word, _mm512_castsi256_si512(h)));
}
WF_INLINE wf_vf wf_vload_bf16(const uint16_t *p)
{
    return wf_bf16_widened(_mm256_loadu_si256((const __m256i *)p));
}
WF_INLINE wf_vf wf_vload_bf16_n(const uint16_t *p, int n)
{
    return wf_bf16_widened(_mm256_maskz_loadu_epi16(wf_vm_first(n), p));
}
WF_INLINE void wf_vstore(float *p, wf_vf a)
{
    _mm512_storeu_ps(p, a);
}
WF_INLINE void wf_vstore_n(float *p, wf_vf a, int n)
{
    _mm512_mask_storeu_ps(p, wf_vm_first(n), a);
}
/* Past the caches; p on a 64-byte boundary. wf_vstream_end() before anyone else reads. */
WF_INLINE void wf_vstream(float *p, wf_vf a)
{
    _mm512_stream_ps(p, a);
}
WF_INLINE void wf_vstream_end(void)
{
    _mm_sfence();
}
/* The rounded bf16 in the upper half of each lane, whatever in the lower. */
WF_INLINE __m512i wf_bf16_above(wf_vf a)
{
    __m512i u = _mm512_castps_si512(a);
    __mmask16 odd = _mm512_test_epi32_mask(u, _mm512_set1_epi32(0x10000));
    __m512i even = _mm512_add_epi32(u, _mm512_set1_epi32(0x7fff));
    even = _mm512_mask_add_epi32(even, odd, u, _mm512_set1_epi32(0x8000));
    /* Where a is a quiet or signalling NaN, classes 0 and 1 of the table: 2, a made quiet. */
    return _mm512_castps_si512(
        _mm512_fixupimm_ps(_mm512_castsi512_ps(even), a, _mm512_set1_epi32(0x22), 0));
}
WF_INLINE __m256i wf_upper_halves(__m512i a)
{
    const __m512i word = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31, 29,
                                          27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return _mm512_castsi512_si256(_mm512_permutexvar_epi16(word, a));
}
WF_INLINE void wf_vstore_bf16(uint16_t *p, wf_vf a)
{
    _mm256_storeu_si256((__m256i *)p, wf_upper_halves(wf_bf16_above(a)));
}
WF_INLINE void wf_vstore_bf16_exact(uint16_t *p, wf_vf a)
{
    _mm256_storeu_si256((__m256i *)p, wf_upper_halves(_mm512_castps_si512(a)));
}
WF_INLINE void wf_vstore_bf16_n(uint16_t *p, wf_vf a, int n)
{
    _mm256_mask_storeu_epi16(p, wf_vm_first(n), wf_upper_halves(wf_bf16_above(a)));
}
WF_INLINE void wf_vstore_bf16_exact_n(uint16_t *p, wf_vf a, int n)
{
    _mm256_mask_storeu_epi16(p, wf_vm_first(n), wf_upper_halves(_mm512_castps_si512(a)));
}
WF_INLINE wf_vf wf_vround_bf16(wf_vf a)
{
    __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    return _mm512_castsi512_ps(_mm512_and_si512(wf_bf16_above(a), upper));
}

/* arithmetic */
WF_INLINE wf_vf wf_vzero(void)
{
    return _mm512_setzero_ps();
}
WF_INLINE wf_vf wf_vset1(float x)
{
    return _mm512_set1_ps(x);
}
WF_INLINE wf_vf wf_vadd(wf_vf a, wf_vf b)
{
    return _mm512_add_ps(a, b);
}
WF_INLINE wf_vf wf_vsub(wf_vf a, wf_vf b)
{
    return _mm512_sub_ps(a, b);
}
WF_INLINE wf_vf wf_vmul(wf_vf a, wf_vf b)
{
    return _mm512_mul_ps(a, b);
}
WF_INLINE wf_vf wf_vdiv(wf_vf a, wf_vf b)
{
    return _mm512_div_ps(a, b);
}
WF_INLINE wf_vf wf_vfma(wf_vf a, wf_vf b, wf_vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
WF_INLINE wf_vf wf_vfnma(wf_vf a, wf_vf b, wf_vf c)
{
    return _mm512_fnmadd_ps(a, b, c);
}
WF_INLINE wf_vf wf_vmax(wf_vf a, wf_vf b)
{
    return _mm512_max_ps(a, b);
}
WF_INLINE wf_vf wf_vmin(wf_vf a, wf_vf b)
{
    return _mm512_min_ps(a, b);
}
WF_INLINE wf_vf wf_vsqrt(wf_vf a)
{
    return _mm512_sqrt_ps(a);
}
WF_INLINE wf_vf wf_vand(wf_vf a, wf_vf b)
{
    return _mm512_and_ps(a, b);
}
WF_INLINE wf_vf wf_vandnot(wf_vf a, wf_vf b)
{
    return _mm512_andnot_ps(a, b);
}
WF_INLINE wf_vf wf_vor(wf_vf a, wf_vf b)
{
    return _mm512_or_ps(a, b);
}
WF_INLINE wf_vf wf_vxor(wf_vf a, wf_vf b)
{
    return _mm512_xor_ps(a, b);
}
WF_INLINE float wf_vsum(wf_vf a)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
WF_INLINE float wf_vhmax(wf_vf a)
{
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* integers */
WF_INLINE wf_vi wf_vi_load(const int32_t *p)
{
    return _mm512_loadu_si512((const __m512i *)p);
}
WF_INLINE wf_vi wf_vi_load_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
WF_INLINE wf_vi wf_vi_load_u8_two(const uint8_t *p, const uint8_t *q)
{
    return _mm512_cvtepu8_epi32(_mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)p),
                                                   _mm_loadl_epi64((const __m128i *)q)));
}
WF_INLINE void wf_vi_store(int32_t *p, wf_vi a)
{
    _mm512_storeu_si512((__m512i *)p, a);
}
/* The low byte of each lane. */
WF_INLINE void wf_vi_store_u8(uint8_t *p, wf_vi a)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a));
}
/* Each lane, clipped to 0 .. 255. */
WF_INLINE void wf_vi_store_u8_clip(uint8_t *p, wf_vi a)
{
    a = _mm512_max_epi32(a, _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)p, _mm512_cvtusepi32_epi8(a));
}
WF_INLINE wf_vi wf_vi_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}
WF_INLINE wf_vi wf_vi_iota(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
WF_INLINE wf_vi wf_vi_add(wf_vi a, wf_vi b)
{
    return _mm512_add_epi32(a, b);
}
WF_INLINE wf_vi wf_vi_sub(wf_vi a, wf_vi b)
{
    return _mm512_sub_epi32(a, b);
}
WF_INLINE wf_vi wf_vi_mul(wf_vi a, wf_vi b)
{
    return _mm512_mullo_epi32(a, b);
}
WF_INLINE wf_vi wf_vi_shl(wf_vi a, int by)
{
    return _mm512_slli_epi32(a, (unsigned)by);
}
WF_INLINE wf_vi wf_vi_sar(wf_vi a, int by)
{
    return _mm512_srai_epi32(a, (unsigned)by);
}
WF_INLINE wf_vm wf_vi_eq(wf_vi a, wf_vi b)
{
    return _mm512_cmpeq_epi32_mask(a, b);
}
WF_INLINE wf_vm wf_vi_gt(wf_vi a, wf_vi b)
{
    return _mm512_cmpgt_epi32_mask(a, b);
}
WF_INLINE wf_vi wf_vcvt_i(wf_vf a) /* to nearest, ties to even */
{
    return _mm512_cvtps_epi32(a);
}
WF_INLINE wf_vi wf_vcvt_i_trunc(wf_vf a)
{
    return _mm512_cvttps_epi32(a);
}
WF_INLINE wf_vf wf_vcvt_f(wf_vi a)
{
    return _mm512_cvtepi32_ps(a);
}
WF_INLINE wf_vf wf_vi_as_f(wf_vi a)
{
    return _mm512_castsi512_ps(a);
}
/* Lane i is lane from[i] of a; from is in 0..WF_LANES - 1. */
WF_INLINE wf_vf wf_vpermute(wf_vf a, wf_vi from)
{
    return _mm512_permutexvar_ps(from, a);
}
/* Lane i is table[from[i] mod 8]. */
WF_INLINE wf_vf wf_vlookup8(const float *table, wf_vi from)
{
    return _mm512_permutexvar_ps(from, _mm512_broadcast_f32x8(_mm256_loadu_ps(table)));
}
/* Lane i is table[from[i] mod 16]. */
WF_INLINE wf_vf wf_vlookup16(const float *table, wf_vi from)
{
    return _mm512_permutexvar_ps(from, _mm512_loadu_ps(table));
}
WF_INLINE wf_vi wf_vf_as_i(wf_vf a)
{
    return _mm512_castps_si512(a);
}

#if defined(WF_SIMD_DOT)
/* dot products of pairs of bf16 */
#define WF_HAS_DOT
WF_INLINE wf_vf wf_vdot_bf16(wf_vf acc, wf_vi a, wf_vi b)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}
#endif

/* doubles: as many as there are float lanes */
WF_INLINE wf_vd wf_vd_load(const double *p)
{
    return (wf_vd){_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)};
}
WF_INLINE void wf_vd_store(double *p, wf_vd a)
{
    _mm512_storeu_pd(p, a.lo);
    _mm512_storeu_pd(p + 8, a.hi);
}
WF_INLINE wf_vd wf_vd_set1(double x)
{
    return (wf_vd){_mm512_set1_pd(x), _mm512_set1_pd(x)};
}
WF_INLINE wf_vd wf_vd_from(wf_vf a)
{
    return (wf_vd){_mm512_cvtps_pd(_mm512_castps512_ps256(a)),
                   _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1))};
}
WF_INLINE wf_vf wf_vd_to_f(wf_vd a)
{
    __m512 lo = _mm512_castps256_ps512(_mm512_cvtpd_ps(a.lo));
    return _mm512_insertf32x8(lo, _mm512_cvtpd_ps(a.hi), 1);
}
WF_INLINE wf_vd wf_vd_add(wf_vd a, wf_vd b)
{
    return (wf_vd){_mm512_add_pd(a.lo, b.lo), _mm512_add_pd(a.hi, b.hi)};
}
WF_INLINE wf_vd wf_vd_sub(wf_vd a, wf_vd b)
{
    return (wf_vd){_mm512_sub_pd(a.lo, b.lo), _mm512_sub_pd(a.hi, b.hi)};
}
WF_INLINE wf_vd wf_vd_mul(wf_vd a, wf_vd b)
{
    return (wf_vd){_mm512_mul_pd(a.lo, b.lo), _mm512_mul_pd(a.hi, b.hi)};
}
WF_INLINE wf_vd wf_vd_div(wf_vd a, wf_vd b)
{
    return (wf_vd){_mm512_div_pd(a.lo, b.lo), _mm512_div_pd(a.hi, b.hi)};
}
WF_INLINE wf_vd wf_vd_fma(wf_vd a, wf_vd b, wf_vd c)
{
    return (wf_vd){_mm512_fmadd_pd(a.lo, b.lo, c.lo), _mm512_fmadd_pd(a.hi, b.hi, c.hi)};
}
WF_INLINE double wf_vd_sum(wf_vd a)
{
    __m512d e = _mm512_add_pd(a.lo, a.hi);
    __m256d s = _mm256_add_pd(_mm512_castpd512_pd256(e), _mm512_extractf64x4_pd(e, 1));
    __m128d t = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(t, _mm_unpackhi_pd(t, t)));
}
