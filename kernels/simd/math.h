/* Exponential, logarithm and power of one vector, the same bits on every ISA. For kernel files only.
 *
 * Note [Logarithms by a table]
 * x = m 2^e, m from 0.7083 to twice that. The bits of m behind the exponent, counted from 0.7083, choose
 * one of 16 segments, and the segment a number c near 1/m. Then f = m c - 1 lies within 0.043, and
 *     log x = e ln2 - log c + log(1 + f).
 * c is a multiple of 1/16 where m < 1 and of 1/32 elsewhere, so f is a multiple of 2^-28 below 2^-4: one
 * multiply-add gives it exactly. For m from 0.958 to 1.041, c is 1, so that the result keeps its relative precision
 * there. ln2 and -log c are in two parts; the first ones are multiples of 2^-16, so e ln2 - log c is
 * exact in them. Method: Tang, "Table-driven implementation of the logarithm function in IEEE
 * floating-point arithmetic" (1990). No division, and no step in double. */
#ifndef WF_SIMD_MATH_H
#define WF_SIMD_MATH_H

#include "kernels/simd/simd.h"

#define WF_LN2_HIGH 0x1.62e4p-1f /* 15 leading bits of ln2 */
#define WF_LN2_LOW 0x1.7f7d1cp-20f
#define WF_LN2 0x1.62e43p-1f /* rounded, and what it lacks */
#define WF_LN2_REST -0x1.05c61p-29f
#define WF_LOG2_E 1.44269504f

/* exp(r) for |r| <= 0.3466: a polynomial fitted to 2^-28 of it. */
WF_INLINE wf_vf wf_vexp_series(wf_vf r)
{
    wf_vf p = wf_vset1(0x1.6a2438p-10f);
    p = wf_vfma(p, r, wf_vset1(0x1.1239ep-7f));
    p = wf_vfma(p, r, wf_vset1(0x1.5558f2p-5f));
    p = wf_vfma(p, r, wf_vset1(0x1.555492p-3f));
    p = wf_vfma(p, r, wf_vset1(0x1.fffffcp-2f));
    p = wf_vfma(p, r, wf_vset1(1.0f));
    return wf_vfma(p, r, wf_vset1(1.0f));
}

/* exp(x) within 2 ulp; overflows to infinity, underflows to denormals and 0 (0 under FTZ), NaN
 * stays NaN. Range reduction x = n ln2 + r, |r| <= ln2/2, after Cody and Waite, "Software Manual
 * for the Elementary Functions" (1980), with ln2 split in two so that n*hi is exact. Adding
 * 1.5 * 2^23 rounds to a whole number. */
WF_INLINE wf_vf wf_vexp(wf_vf x)
{
    x = wf_vmax(wf_vset1(-105.0f), wf_vmin(wf_vset1(90.0f), x)); /* x second: NaN stays */
    const wf_vf magic = wf_vset1(0x1.8p23f), shifted = wf_vfma(x, wf_vset1(WF_LOG2_E), magic);
    const wf_vi n = wf_vi_sub(wf_vf_as_i(shifted), wf_vf_as_i(magic));
    const wf_vf nf = wf_vsub(shifted, magic);
    wf_vf r = wf_vfnma(nf, wf_vset1(WF_LN2_HIGH), x);
    r = wf_vfnma(nf, wf_vset1(WF_LN2_LOW), r);
    return wf_vscale2(wf_vexp_series(r), n, nf);
}

/* Of functions for rare cases, which inlining would make the usual one pay for. */
#define WF_COLD static __attribute__((noinline, cold, unused))

static const float wf_log_c[16] = {
    0x1.6p+0f, 0x1.5p+0f, 0x1.4p+0f, 0x1.4p+0f, 0x1.3p+0f, 0x1.2p+0f, 0x1.2p+0f, 0x1.1p+0f,
    1,         1,         0x1.ep-1f, 0x1.cp-1f, 0x1.bp-1f, 0x1.9p-1f, 0x1.8p-1f, 0x1.7p-1f,
};
/* -log c to a multiple of 2^-16, and the rest. */
static const float wf_log_high[16] = {
    -0x1.4618p-2f, -0x1.1674p-2f, -0x1.c9p-3f,  -0x1.c9p-3f, -0x1.5ffp-3f,
    -0x1.e27p-4f,  -0x1.e27p-4f,  -0x1.f0ap-5f, 0,           0,
    0x1.086p-4f,   0x1.1178p-3f,  0x1.5bf8p-3f, 0x1.f99p-3f, 0x1.2698p-2f,
    0x1.522cp-2f,
};
static const float wf_log_low[16] = {
    -0x1.78438cp-19f,
    -0x1.cababap-18f,
    0x1.070cacp-20f,
    0x1.070cacp-20f,
    -0x1.83853cp-18f,
    -0x1.db8abcp-22f,
    -0x1.db8abcp-22f,
    -0x1.86008cp-20f,
    0,
    0,
    -0x1.9d2988p-18f,
    0x1.d044fcp-20f,
    -0x1.fca55ep-18f,
    0x1.c6cb3cp-19f,
    -0x1.deecb2p-18f,
    -0x1.1f8c76p-18f,
};

/* log x = high + log(1 + f) + low for positive normal x, but for 2^by: by is subtracted from e. */
WF_INLINE wf_vf wf_vlog_reduce(wf_vf x, wf_vf by, wf_vf *high, wf_vf *low)
{
    const wf_vi bits = wf_vf_as_i(x), d = wf_vi_sub(bits, wf_vi_set1(0x3f355000));
    const wf_vi n = wf_vi_sar(d, 23), segment = wf_vi_sar(d, 19);
    const wf_vf m = wf_vi_as_f(wf_vi_sub(bits, wf_vi_shl(n, 23)));
    const wf_vf e = wf_vsub(wf_vcvt_f(n), by);
    *high = wf_vfma(e, wf_vset1(WF_LN2_HIGH), wf_vlookup16(wf_log_high, segment));
    *low = wf_vfma(e, wf_vset1(WF_LN2_LOW), wf_vlookup16(wf_log_low, segment));
    return wf_vfma(m, wf_vlookup16(wf_log_c, segment), wf_vset1(-1.0f));
}

/* 2 (log(1 + f) - f + f^2/2) / f^2 for |f| <= 0.043; fitted so that log(1 + f) is within 2^-34 of itself. */
WF_INLINE wf_vf wf_vlog_series(wf_vf f)
{
    wf_vf p = wf_vset1(-0x1.561fa2p-2f);
    p = wf_vfma(p, f, wf_vset1(0x1.9a52dep-2f));
    p = wf_vfma(p, f, wf_vset1(-0x1.ffffdap-2f));
    p = wf_vfma(p, f, wf_vset1(0x1.555548p-1f));
    return wf_vmul(p, f);
}

/* Positive, neither denormal nor infinite nor NaN: as bits, from 0x00800000 to 0x7f7fffff. The sum
 * wraps around, so that these become the least numbers. */
WF_INLINE wf_vm wf_vnormal(wf_vf x)
{
    const wf_vi shifted = wf_vi_add(wf_vf_as_i(x), wf_vi_set1((int32_t)0x7f800000));
    return wf_vi_gt(wf_vi_set1(INT32_MIN + 0x7f000000), shifted);
}
WF_INLINE bool wf_vm_all(wf_vm m)
{
    return wf_vm_bits(m) == (1u << WF_LANES) - 1;
}
/* Denormals times 2^25, so that they have an exponent; *by is 25 there and else 0. */
WF_INLINE wf_vf wf_vraise_tiny(wf_vf x, wf_vf *by)
{
    const wf_vm tiny = wf_vgt(wf_vset1(0x1p-126f), x);
    *by = wf_vmaskz(tiny, wf_vset1(25.0f));
    return wf_vblend(tiny, wf_vmul(x, wf_vset1(0x1p25f)), x);
}

/* Note [Logarithms by eight segments]
 * As above, but c is one of 8 and has 24 bits, chosen so that log2 c is within 2^-32.9 of -h, a
 * multiple of 2^-16. Then s = e + h is exact, f = m c - 1 lies within 0.0575, and
 *     log2 x = s + log2(1 + f).
 * c is 1 for m from 0.958 to 1.041. */
static const float wf_log2_c[8] = {
    0x1.5a9546p+0f, 0x1.3f1f24p+0f, 0x1.28cc0ep+0f, 0x1.13f19cp+0f, 1,
    0x1.d0226p-1f,  0x1.a029aap-1f, 0x1.7ade3ap-1f,
};
static const float wf_log2_h[8] = {
    -0x1.bf8cp-2f, -0x1.4598p-2f, -0x1.b4e8p-3f, -0x1.bb5p-4f, 0,
    0x1.22p-3f,    0x1.322cp-2f,  0x1.bcep-2f,
};

/* f and *s of positive normal x, but for 2^by. by is subtracted from e if `tiny`. */
WF_INLINE wf_vf wf_vlog2_reduce(wf_vf x, bool tiny, wf_vf by, wf_vf *s)
{
    const wf_vi least = wf_vi_set1(0x3f355000), d = wf_vi_sub(wf_vf_as_i(x), least);
    const wf_vf fraction = wf_vand(wf_vi_as_f(d), wf_vi_as_f(wf_vi_set1(0x007fffff)));
    const wf_vi m = wf_vi_add(wf_vf_as_i(fraction), least);
    const wf_vi segment = wf_vi_sar(d, 20);
    const wf_vf e = wf_vcvt_f(wf_vi_sar(d, 23));
    *s = wf_vadd(tiny ? wf_vsub(e, by) : e, wf_vlookup8(wf_log2_h, segment));
    return wf_vfma(wf_vi_as_f(m), wf_vlookup8(wf_log2_c, segment), wf_vset1(-1.0f));
}

/* log x = s ln2 + log(1 + f), log(1 + f) = f + f^2 q(f), q of degree 3, fitted to 2^-27.1 of it. */
WF_INLINE wf_vf wf_vlog_of(wf_vf x, bool tiny, wf_vf by)
{
    wf_vf s, f = wf_vlog2_reduce(x, tiny, by, &s);
    wf_vf q = wf_vfma(wf_vset1(0x1.9b356ap-3f), f, wf_vset1(-0x1.00b4ccp-2f));
    q = wf_vfma(q, f, wf_vset1(0x1.55551p-2f));
    q = wf_vfma(q, f, wf_vset1(-0x1.ffffdap-2f));
    q = wf_vfma(q, wf_vmul(f, f), f);
    return wf_vfma(s, wf_vset1(WF_LN2), wf_vfma(s, wf_vset1(WF_LN2_REST), q));
}

/* Natural logarithm within 2 ulp: -inf at 0 (and at denormals where the CPU reads them as 0), NaN
 * below, infinity and NaN stay. Where c and 2^e are 1, f is exact, and so is s ln2 = 0: what remains
 * is the rounding of the last step, and f^2 q's, which is below 0.1 ulp. Next to that the result
 * is at least 0.0408, where an ulp is 2^-28, and f is off by 2^-29, log(1 + f) by 2^-29 and 2^-31.3,
 * the last step by half an ulp: together 1.7. */
WF_INLINE wf_vf wf_vlog(wf_vf x)
{
    if (wf_vm_all(wf_vnormal(x)))
        return wf_vlog_of(x, false, wf_vzero());
    wf_vf by;
    const wf_vf raised = wf_vraise_tiny(x, &by);
    wf_vf y = wf_vlog_of(raised, true, by);
    y = wf_vblend(wf_veq(x, wf_vset1(__builtin_inff())), x, y);
    y = wf_vblend(wf_veq(x, wf_vzero()), wf_vset1(-__builtin_inff()), y);
    return wf_vblend(wf_vge(x, wf_vzero()), y, wf_vset1(__builtin_nanf("")));
}

/* Note [Powers]
 * x^a = exp(t), t = a log x, positive normal x. An error of t is a relative error of the power, and |t|
 * goes up to 104, so log x takes some 32 bits: the sum s of its large parts and l, what s lacks.
 *     h = f - f^2/2 and its rounding error by a second multiply-add; s = high + h, whose
 *     error Dekker's sum gives, since |high| is 0 or above |f|.
 * l is then right to 2^-24 of f^3/3 (f^2/3 < 2^-10.8 of f), so the logarithm to about 2^-33 of itself
 * where e and log c are 0, and to less elsewhere; the fit adds 2^-34. That is 2^-25.7 of t. a s is exact in
 * two parts. r = t - n ln2, |r| <= 0.3466, is off by 2^-26 once more, and exp(r) by
 * a polynomial of degree 6 by 2^-28.3 and the roundings of its last two steps, 0.35 and 0.5 ulp. Together
 * less than 1.5 ulp.
 *
 * exp(*t) is p 2^n with n in the low bits of *n, if |*t| is at most 105. */
WF_INLINE wf_vf wf_vpow_parts(wf_vf x, wf_vf by, wf_vf a, wf_vf *t, wf_vi *n, wf_vf *nf)
{
    wf_vf high, low, f = wf_vlog_reduce(x, by, &high, &low);
    const wf_vf half = wf_vmul(f, wf_vset1(0.5f)), h = wf_vfnma(half, f, f);
    const wf_vf lost = wf_vfnma(half, f, wf_vsub(f, h));
    const wf_vf s = wf_vadd(high, h), short_of = wf_vadd(wf_vsub(high, s), h);
    const wf_vf tail = wf_vfma(wf_vlog_series(f), wf_vmul(half, f), lost);
    const wf_vf l = wf_vadd(short_of, wf_vadd(tail, low));
    *t = wf_vmul(a, s);
    const wf_vf more = wf_vfma(a, l, wf_vfma(a, s, wf_vneg(*t)));

    const wf_vf magic = wf_vset1(0x1.8p23f); /* makes the sum's unit 1 */
    const wf_vf shifted = wf_vfma(*t, wf_vset1(WF_LOG2_E), magic);
    *n = wf_vf_as_i(shifted);
    *nf = wf_vsub(shifted, magic);
    const wf_vf r = wf_vadd(wf_vfnma(*nf, wf_vset1(WF_LN2_HIGH), *t),
                            wf_vfnma(*nf, wf_vset1(WF_LN2_LOW), more));
    return wf_vexp_series(r);
}

/* Note [Powers of two by eighths]
 * 2^y = 2^(n/8) 2^r, n = 8y rounded to a whole number, |r| <= 1/16. Adding 1.5 * 2^20 rounds to eighths, so the
 * low bits of that sum are n: its three lowest choose T = 2^((n mod 8)/8), and n's others, shifted by 20, are the
 * exponent. n << 20 adds n mod 8 to the significand as well, so the table holds T's bits less that much. One
 * addition of integers then gives s = 2^(n/8): 0 for y = -127 and infinity for y = 128, where callers
 * clamp y; below 2^-126 s is right to 2^-126 only, which is why wf_vexp is something else.
 * T is off by 0.34 ulp, the polynomial by 2^-25.2, the last two operations by half an ulp each: together
 * 1.6 ulp, and whatever r is off by. */
#define WF_EIGHTHS 0x1.8p20f
static const float wf_two_to_eighths[8] = {
    1,
    0x1.f72b84p-1f,
    0x1.f06fep-1f,
    0x1.ebfdaep-1f,
    0x1.ea09e6p-1f,
    0x1.eace54p-1f,
    0x1.ee89fap-1f,
    0x1.f5818ep-1f,
};

/* 2^(n/8), shifted being WF_EIGHTHS + n/8. */
WF_INLINE wf_vf wf_veighths(wf_vf shifted)
{
    const wf_vi n = wf_vf_as_i(shifted);
    return wf_vi_as_f(wf_vi_add(wf_vf_as_i(wf_vlookup8(wf_two_to_eighths, n)), wf_vi_shl(n, 20)));
}
/* (2^r - 1) / r for |r| <= 1/16. */
WF_INLINE wf_vf wf_veighths_series(wf_vf r)
{
    wf_vf p = wf_vfma(wf_vset1(0x1.c690c6p-5f), r, wf_vset1(0x1.ec0c22p-3f));
    return wf_vfma(p, r, wf_vset1(0x1.62e432p-1f));
}

/* Note [Small powers]
 * For |a| <= 3 a shorter way, in powers of two, with Note [Logarithms by eight segments]:
 *     y = a log2 x = a s + a l, l = log2(1 + f) = f (log2 e + f q(f)), q of degree 3, fitted to 2^-30.4.
 * a s is exact in two parts. Errors of y for a = 3, in units of 2^-25: 0.27 from the rounding of f, 0.38 from that
 * of l, 0.12 from log2 e, 0.25 from a l plus the second part, 0.1 from all others; together 1.12, which is
 * 0.78 2^-25 of the power.
 *     2^y = T (1 + r p(r)) 2^k, T = 2^(j/8), 8k + j = 8y rounded to a whole number, |r| <= 1/16.
 * Note [Powers of two by eighths] has T 2^k. p of degree 2 leaves 2^-25.2, T is off by 0.34 ulp or less, the last
 * step by half an ulp, the ones before it by 0.06. The sum is largest for j = 6, 1.49 ulp: 0.22 from T, 0.38 from p,
 * 0.34 from y. */
#define WF_SMALL_POWER 3.0f

/* y = a log2 x as *low and the result. tiny, by: as in wf_vlog2_reduce. */
WF_INLINE wf_vf wf_vpow_small_log(wf_vf x, bool tiny, wf_vf by, wf_vf a, wf_vf *low)
{
    wf_vf s;
    const wf_vf f = wf_vlog2_reduce(x, tiny, by, &s);
    const wf_vf f2 = wf_vmul(f, f), high = wf_vmul(a, s);
    wf_vf q = wf_vfma(wf_vset1(0x1.27031ap-2f), f, wf_vset1(-0x1.72937ap-2f));
    q = wf_vfma(q, f, wf_vset1(0x1.ec733p-2f));
    q = wf_vfma(q, f, wf_vset1(-0x1.71544cp-1f));
    const wf_vf l = wf_vfma(f, wf_vset1(WF_LOG2_E), wf_vmul(q, f2));
    *low = wf_vfma(a, l, wf_vfma(a, s, wf_vneg(high)));
    return high;
}
/* T (1 + r p(r)), T being 2^(n/8) and *r and *shifted those of 2^(high + low). */
WF_INLINE wf_vf wf_vpow_small_times(wf_vf T, wf_vf r)
{
    return wf_vfma(wf_vmul(T, r), wf_veighths_series(r), T);
}
WF_INLINE wf_vf wf_vpow_small_split(wf_vf high, wf_vf low, wf_vf *shifted)
{
    const wf_vf magic = wf_vset1(WF_EIGHTHS);
    *shifted = wf_vadd(wf_vadd(high, low), magic);
    return wf_vadd(wf_vadd(high, wf_vsub(magic, *shifted)), low);
}
/* 2^(high + low) where that is at least 2^-100, and a number: times r it is then normal, or r does not count. */
WF_INLINE wf_vf wf_vpow_small_exp(wf_vf high, wf_vf low)
{
    wf_vf shifted;
    const wf_vf r = wf_vpow_small_split(high, low, &shifted);
    return wf_vpow_small_times(wf_veighths(shifted), r);
}
/* Negative in lanes where y is not within 100, or x is not wf_vnormal. |y| as bits, so NaN is above. */
WF_INLINE wf_vi wf_vpow_small_fails(wf_vf x, wf_vf y)
{
    const wf_vi bits = wf_vf_as_i(x), size = wf_vf_as_i(wf_vabs(y));
    const wf_vi below = wf_vi_sub(bits, wf_vi_set1(0x00800000));
    const wf_vi above = wf_vi_sub(wf_vi_set1(0x7f7fffff), bits);
    const wf_vi far = wf_vi_sub(wf_vi_set1(0x42c80000), size);
    const wf_vf any = wf_vor(wf_vi_as_f(below), wf_vi_as_f(above));
    return wf_vf_as_i(wf_vor(wf_vor(any, x), wf_vi_as_f(far)));
}

/* p 2^n where that is a normal number. */
WF_INLINE wf_vf wf_vpow_scaled(wf_vf p, wf_vi n)
{
    return wf_vi_as_f(wf_vi_add(wf_vf_as_i(p), wf_vi_shl(n, 23)));
}

/* Where wf_vpow_scaled is right: exp(87) and exp(-87) are normal numbers. */
WF_INLINE wf_vm wf_vpow_in_range(wf_vf t)
{
    return wf_vge(wf_vset1(87.0f), wf_vabs(t));
}

/* x^a for every x and a, see wf_vpow_each. */
WF_COLD wf_vf wf_vpow_careful(wf_vf x, wf_vf a)
{
    const wf_vf one = wf_vset1(1.0f), zero = wf_vzero(), inf = wf_vset1(__builtin_inff());
    const wf_vf size = wf_vabs(x), half = wf_vmul(a, wf_vset1(0.5f)), square = wf_vmul(x, x);
    const wf_vm large =
        wf_vge(wf_vabs(a), wf_vset1(0x1p24f)); /* an even whole number, or infinite */
    const wf_vm whole = wf_vm_or(large, wf_veq(wf_vcvt_f(wf_vcvt_i_trunc(a)), a));
    const wf_vm odd = wf_vm_and(wf_vm_and(whole, wf_vm_not(large)),
                                wf_vne(wf_vcvt_f(wf_vcvt_i_trunc(half)), half));
    const wf_vm rises = wf_vgt(a, zero);
    wf_vf by, t, nf, low, shifted;
    wf_vi n;
    const wf_vf raised = wf_vraise_tiny(size, &by);
    wf_vf y = wf_vpow_parts(raised, by, a, &t, &n, &nf);
    y = wf_vscale2(y, wf_vcvt_i(nf), nf);
    y = wf_vblend(wf_vgt(t, wf_vset1(89.0f)), inf, y);
    y = wf_vblend(wf_vgt(wf_vset1(-104.5f), t), zero, y);
    /* T 2^k with a k of any size: n mod 8 first. */
    const wf_vf high = wf_vpow_small_log(raised, true, by, a, &low);
    const wf_vf r = wf_vpow_small_split(high, low, &shifted);
    const wf_vi k = wf_vi_sar(wf_vi_sub(wf_vf_as_i(shifted), wf_vf_as_i(wf_vset1(WF_EIGHTHS))), 3);
    const wf_vf j = wf_vand(shifted, wf_vi_as_f(wf_vi_set1(7)));
    wf_vf z = wf_vscale2(wf_vpow_small_times(wf_veighths(j), r), k, wf_vcvt_f(k));
    t = wf_vadd(high, low);
    z = wf_vblend(wf_vgt(t, wf_vset1(129.0f)), inf, z);
    z = wf_vblend(wf_vgt(wf_vset1(-151.0f), t), zero, z);
    y = wf_vblend(wf_vge(wf_vset1(WF_SMALL_POWER), wf_vabs(a)), z, y);
    y = wf_vblend(wf_veq(size, one), one, y); /* the logarithm is 0, times an infinity perhaps */
    y = wf_vblend(wf_veq(size, zero), wf_vblend(rises, zero, inf), y);
    y = wf_vblend(wf_veq(size, inf), wf_vblend(rises, inf, zero), y);
    /* The sign bit of x, -0 included, where a is odd. */
    y = wf_vblend(odd, wf_vor(y, wf_vand(x, wf_vset1(-0.0f))), y);
    const wf_vm root = wf_vm_and(wf_vm_not(whole), wf_vm_and(wf_vgt(zero, x), wf_vgt(inf, size)));
    y = wf_vblend(root, wf_vset1(__builtin_nanf("")), y);
    y = wf_vblend(wf_visnan(a), a, wf_vblend(wf_visnan(x), x, y));
    y = wf_vblend(wf_veq(a, one), x, y);
    y = wf_vblend(wf_veq(a, wf_vset1(2.0f)), square, y);
    y = wf_vblend(wf_veq(a, wf_vset1(3.0f)), wf_vmul(square, x), y);
    y = wf_vblend(wf_veq(a, wf_vset1(-1.0f)), wf_vdiv(one, x), y);
    return wf_vblend(wf_vm_or(wf_veq(x, one), wf_veq(a, zero)), one, y);
}

/* x^a within 1.5 ulp (denormal results: of the least denormal); C's pow decides for zeros, infinities, NaN and
 * negative x: x^0 and 1^a are 1 whatever the other one is; a negative x to a power that is no whole
 * number is NaN. Whole powers of up to 3 are what multiplying gives. A vector of positive normal
 * numbers, powers that are not whole, and normal results takes the short way, with the same bits. */
WF_COLD wf_vf wf_vpow_large(wf_vf x, wf_vf a)
{
    wf_vf t, nf;
    wf_vi n;
    const wf_vf p = wf_vpow_parts(x, wf_vzero(), a, &t, &n, &nf);
    const wf_vm broken = wf_vm_and(wf_vgt(wf_vabs(a), wf_vset1(WF_SMALL_POWER)),
                                   wf_vne(wf_vcvt_f(wf_vcvt_i_trunc(a)), a));
    const wf_vm easy = wf_vm_and(wf_vm_and(wf_vnormal(x), broken), wf_vpow_in_range(t));
    return wf_vm_all(easy) ? wf_vpow_scaled(p, n) : wf_vpow_careful(x, a);
}
WF_INLINE wf_vf wf_vpow_each(wf_vf x, wf_vf a)
{
    wf_vf low;
    const wf_vf high = wf_vpow_small_log(x, false, wf_vzero(), a, &low);
    const wf_vf large = wf_vi_as_f(
        wf_vi_sub(wf_vf_as_i(wf_vset1(WF_SMALL_POWER)), wf_vf_as_i(wf_vabs(a)))); /* negative */
    const wf_vf fails = wf_vor(wf_vi_as_f(wf_vpow_small_fails(x, wf_vadd(high, low))), large);
    const wf_vm hard = wf_vm_or(wf_vi_gt(wf_vf_as_i(wf_vzero()), wf_vf_as_i(fails)),
                                wf_veq(wf_vcvt_f(wf_vcvt_i_trunc(a)), a));
    return wf_vm_bits(hard) ? wf_vpow_large(x, a) : wf_vpow_small_exp(high, low);
}

/* The same, a finite and in every lane the same; but powers 1/2 and -1/2 are wf_vsqrt(x) and
 * 1 / wf_vsqrt(x), as in PyTorch: NaN of -infinity, where C's pow has infinity and 0, and -infinity of
 * -0 to -1/2. wf_pow_is_short says whether a is one of the powers that take an operation or two, which
 * wf_vpow_short computes; wf_vpow_uniform is for the others. There zeros, and negative numbers to whole
 * powers, take the short way, too. Loops choose between the two once. */
WF_INLINE bool wf_pow_is_short(float a)
{
    return a == 0 || a == 1 || a == 2 || a == 3 || a == -1 || a == 0.5f || a == -0.5f;
}

WF_INLINE bool wf_pow_is_small(float a)
{
    return a >= -WF_SMALL_POWER && a <= WF_SMALL_POWER;
}

WF_INLINE wf_vf wf_vpow_short(wf_vf x, wf_vf a)
{
    const wf_vf one = wf_vset1(1.0f);
    if (wf_vm_bits(wf_veq(a, wf_vzero())))
        return one;
    if (wf_vm_bits(wf_veq(a, one)))
        return x;
    if (wf_vm_bits(wf_veq(a, wf_vset1(2.0f))))
        return wf_vmul(x, x);
    if (wf_vm_bits(wf_veq(a, wf_vset1(3.0f))))
        return wf_vmul(wf_vmul(x, x), x);
    if (wf_vm_bits(wf_veq(a, wf_vset1(-1.0f))))
        return wf_vdiv(one, x);
    const wf_vf root = wf_vsqrt(x);
    return wf_vm_bits(wf_veq(a, wf_vset1(0.5f))) ? root : wf_vdiv(one, root);
}

/* Right where *hard is not set. wf_pow_is_small says what `is_small`, a constant, is. */
WF_INLINE wf_vf wf_vpow_try(wf_vf x, wf_vf a, bool is_small, wf_vm *hard)
{
    const wf_vf half = wf_vmul(a, wf_vset1(0.5f));
    const wf_vm small = wf_vgt(wf_vset1(0x1p24f), wf_vabs(a));
    const wf_vm whole = wf_vm_and(small, wf_veq(wf_vcvt_f(wf_vcvt_i_trunc(a)), a));
    const wf_vm odd = wf_vm_and(whole, wf_vne(wf_vcvt_f(wf_vcvt_i_trunc(half)), half));
    const wf_vf sign_in = wf_vmaskz(whole, wf_vset1(-0.0f)), sign_out = wf_vmaskz(odd, sign_in);
    const wf_vf of_zero = wf_vblend(wf_vgt(a, wf_vzero()), wf_vzero(), wf_vset1(__builtin_inff()));
    const wf_vf base = wf_vandnot(sign_in, x);
    wf_vf t, nf;
    wf_vi n;
    const wf_vm none = wf_veq(x, wf_vzero());
    wf_vf p;
    wf_vm fails;
    if (is_small) {
        const wf_vf high = wf_vpow_small_log(base, false, wf_vzero(), a, &t);
        fails = wf_vi_gt(wf_vf_as_i(wf_vzero()), wf_vpow_small_fails(base, wf_vadd(high, t)));
        p = wf_vpow_small_exp(high, t);
    } else {
        p = wf_vpow_parts(base, wf_vzero(), a, &t, &n, &nf);
        fails = wf_vm_not(wf_vm_and(wf_vnormal(base), wf_vpow_in_range(t)));
        p = wf_vpow_scaled(p, n);
    }
    *hard = wf_vm_and(fails, wf_vm_not(none));
    return wf_vor(wf_vblend(none, of_zero, p), wf_vand(x, sign_out));
}
WF_INLINE wf_vf wf_vpow_uniform(wf_vf x, wf_vf a, bool is_small)
{
    wf_vm hard;
    const wf_vf y = wf_vpow_try(x, a, is_small, &hard);
    return wf_vm_bits(hard) ? wf_vpow_careful(x, a) : y;
}

#endif
