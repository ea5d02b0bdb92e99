/* Checks of kernels/simd against plain C, on the instruction set this file is compiled for.
 * cmocka's asserts report from here. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "kernels/bf16_edges.h"
#include "kernels/simd/bf16_emul.h"
#include "kernels/simd/math.h"
#include "simd_cases.h"

#define L WF_LANES
#define EACH(i) for (int i = 0; i < L; i++)

/* Values with every trap: zeros of both signs, infinities, NaN, denormals, large and small. */
static const float SPECIAL[] = {0.0f,      -0.0f,   1.0f,   -1.0f,  0.5f,        -2.5f,
                                3.5f,      1e30f,   -1e30f, 1e-30f, NAN,         INFINITY,
                                -INFINITY, 1e-42f,  7.25f,  -0.75f, 16777216.0f, 2.5f,
                                123.4f,    -1e-42f, 0.1f,   100.0f, -3.0f};
enum { N_SPECIAL = sizeof SPECIAL / sizeof *SPECIAL };

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* Equal to the bit, any NaN equal to any. */
static void same(float got, float want)
{
    if (isnan(want) && isnan(got))
        return;
    if (bits_of(got) != bits_of(want))
        fail_msg("got %a, want %a", (double)got, (double)want);
}

static void memory(void)
{
    float in[3 * L], out[3 * L];
    for (int i = 0; i < 3 * L; i++)
        in[i] = (float)(i + 1);
    for (int n = 0; n <= L; n++) {
        float a[L];
        wf_vstore(a, wf_vload_n(in + 1, n)); /* unaligned */
        EACH(i) same(a[i], i < n ? in[i + 1] : 0.0f);
        for (int i = 0; i < 3 * L; i++)
            out[i] = -7.0f;
        wf_vstore_n(out + L, wf_vload(in), n);
        for (int i = 0; i < 3 * L; i++)
            same(out[i], i >= L && i < L + n ? in[i - L] : -7.0f);
    }
    _Alignas(64) float aligned[L];
    wf_vstream(aligned, wf_vload(in + 1));
    wf_vstream_end();
    EACH(i) same(aligned[i], in[i + 1]);

    uint8_t u8[L + 1];
    for (int i = 0; i <= L; i++)
        u8[i] = (uint8_t)(i % 2 ? 255 - i : i * 9);
    float a[L];
    wf_vstore(a, wf_vload_u8(u8 + 1));
    EACH(i) same(a[i], (float)u8[i + 1]);
    for (int n = 0; n <= L; n++) {
        wf_vstore(a, wf_vload_u8_n(u8, n));
        EACH(i) same(a[i], i < n ? (float)u8[i] : 0.0f);
    }
}

static void arithmetic(void)
{
    for (int s = 0; s < N_SPECIAL; s++)
        for (int t = 0; t < N_SPECIAL; t++) {
            float a[L], b[L], c[L], y[L];
            EACH(i)
            {
                a[i] = SPECIAL[(s + i) % N_SPECIAL];
                b[i] = SPECIAL[(t + 3 * i) % N_SPECIAL];
                c[i] = SPECIAL[(s + t + i) % N_SPECIAL];
            }
            wf_vf va = wf_vload(a), vb = wf_vload(b), vc = wf_vload(c);
#define CHECK(expr, plain)                                                                         \
    wf_vstore(y, expr);                                                                            \
    EACH(i) same(y[i], plain)
            CHECK(wf_vadd(va, vb), a[i] + b[i]);
            CHECK(wf_vsub(va, vb), a[i] - b[i]);
            CHECK(wf_vmul(va, vb), a[i] * b[i]);
            CHECK(wf_vdiv(va, vb), a[i] / b[i]);
            CHECK(wf_vfma(va, vb, vc), fmaf(a[i], b[i], c[i]));
            CHECK(wf_vfnma(va, vb, vc), fmaf(-a[i], b[i], c[i]));
            CHECK(wf_vmax(va, vb), a[i] > b[i] ? a[i] : b[i]);
            CHECK(wf_vmin(va, vb), a[i] < b[i] ? a[i] : b[i]);
            CHECK(wf_vsqrt(va), sqrtf(a[i]));
            CHECK(wf_vneg(va), -a[i]);
            CHECK(wf_vabs(va), fabsf(a[i]));
            CHECK(wf_vset1(a[0]), a[0]);
            CHECK(wf_vzero(), 0.0f);
#undef CHECK
#define CHECK(expr, plain)                                                                         \
    wf_vstore(y, expr);                                                                            \
    EACH(i) assert_int_equal(bits_of(y[i]), plain)
            CHECK(wf_vand(va, vb), bits_of(a[i]) & bits_of(b[i]));
            CHECK(wf_vandnot(va, vb), ~bits_of(a[i]) & bits_of(b[i]));
            CHECK(wf_vor(va, vb), bits_of(a[i]) | bits_of(b[i]));
            CHECK(wf_vxor(va, vb), bits_of(a[i]) ^ bits_of(b[i]));
#undef CHECK
        }
}

static void masks(void)
{
    unsigned all = L == 1 ? 1 : (1u << L) - 1;
    for (int s = 0; s < N_SPECIAL; s++)
        for (int t = 0; t < N_SPECIAL; t++) {
            float a[L], b[L], y[L];
            unsigned gt = 0, ge = 0, nle = 0, eq = 0, ne = 0, nan = 0;
            EACH(i)
            {
                a[i] = SPECIAL[(s + i) % N_SPECIAL];
                b[i] = SPECIAL[(t + (i % 3 ? 5 * i : i + s - t + N_SPECIAL)) % N_SPECIAL];
                gt |= (unsigned)(a[i] > b[i]) << i;
                ge |= (unsigned)(a[i] >= b[i]) << i;
                nle |= (unsigned)!(a[i] <= b[i]) << i;
                eq |= (unsigned)(a[i] == b[i]) << i;
                ne |= (unsigned)(a[i] != b[i]) << i;
                nan |= (unsigned)(a[i] != a[i]) << i;
            }
            wf_vf va = wf_vload(a), vb = wf_vload(b);
            assert_int_equal(wf_vm_bits(wf_vgt(va, vb)), gt);
            assert_int_equal(wf_vm_bits(wf_vge(va, vb)), ge);
            assert_int_equal(wf_vm_bits(wf_vnle(va, vb)), nle);
            assert_int_equal(wf_vm_bits(wf_veq(va, vb)), eq);
            assert_int_equal(wf_vm_bits(wf_vne(va, vb)), ne);
            assert_int_equal(wf_vm_bits(wf_visnan(va)), nan);
            wf_vstore(y, wf_vblend(wf_vgt(va, vb), va, vb));
            EACH(i) same(y[i], gt >> i & 1 ? a[i] : b[i]);
            wf_vstore(y, wf_vmaskz(wf_vge(va, vb), va));
            EACH(i) same(y[i], ge >> i & 1 ? a[i] : 0.0f);
        }
    for (unsigned k = 0; k < 300; k++) {
        unsigned x = k * 2654435761u >> 7 & all, z = k * 40503u >> 3 & all;
        wf_vm m = wf_vm_from_bits(x), o = wf_vm_from_bits(z);
        assert_int_equal(wf_vm_bits(m), x);
        assert_int_equal(wf_vm_bits(wf_vm_and(m, o)), x & z);
        assert_int_equal(wf_vm_bits(wf_vm_or(m, o)), x | z);
        assert_int_equal(wf_vm_bits(wf_vm_not(m)), ~x & all);
        uint8_t stored[3] = {0xa5, 0xa5, 0xa5};
        wf_vm_store(stored, m);
        assert_int_equal(stored[L > 8 ? 2 : 1], 0xa5);
        assert_int_equal(stored[0] | (L > 8 ? stored[1] << 8 : 0), x);
        assert_int_equal(wf_vm_bits(wf_vm_load(stored)), x);
    }
    for (int n = 0; n <= L; n++)
        assert_int_equal(wf_vm_bits(wf_vm_first(n)), (1u << n) - 1);
}

/* 1e8 and 1 cancel differently in every other order. */
static void sums(void)
{
    float a[L], tree[L];
    double d[L], dtree[L];
    EACH(i)
    {
        a[i] = tree[i] = (i % 3 == 1 ? 1e8f : 1.0f) * (i % 2 ? 1 : -1) * (float)(i + 1);
        d[i] = dtree[i] = (i % 3 == 1 ? 1e17 : 1.0) * (i % 2 ? 1 : -1) * (i + 1);
    }
    float max = a[0];
    EACH(i) max = a[i] > max ? a[i] : max;
    for (int h = L / 2; h; h /= 2)
        for (int i = 0; i < h; i++) {
            tree[i] += tree[i + h];
            dtree[i] += dtree[i + h];
        }
    same(wf_vsum(wf_vload(a)), tree[0]);
    same(wf_vhmax(wf_vload(a)), max);
    assert_true(wf_vd_sum(wf_vd_load(d)) == dtree[0]);
}

static void integers(void)
{
    static const int32_t VALUE[] = {0, 1, -1, 255, 256, -256, INT32_MAX, INT32_MIN, 12345678, -77};
    enum { N = sizeof VALUE / sizeof *VALUE };
    for (int s = 0; s < N * N; s++) {
        int32_t a[L], b[L], y[L];
        float f[L];
        uint8_t u[L];
        unsigned eq = 0, gt = 0;
        EACH(i)
        {
            a[i] = VALUE[(s + i) % N];
            b[i] = VALUE[(s / N + 3 * i) % N];
            eq |= (unsigned)(a[i] == b[i]) << i;
            gt |= (unsigned)(a[i] > b[i]) << i;
        }
        wf_vi va = wf_vi_load(a), vb = wf_vi_load(b);
#define CHECK(expr, plain)                                                                         \
    wf_vi_store(y, expr);                                                                          \
    EACH(i) assert_int_equal(y[i], (int32_t)(plain))
        CHECK(wf_vi_add(va, vb), (uint32_t)a[i] + (uint32_t)b[i]);
        CHECK(wf_vi_sub(va, vb), (uint32_t)a[i] - (uint32_t)b[i]);
        CHECK(wf_vi_mul(va, vb), (uint32_t)a[i] * (uint32_t)b[i]);
        CHECK(wf_vi_shl(va, 5), (uint32_t)a[i] << 5);
        CHECK(wf_vi_sar(va, 5), a[i] >> 5);
        CHECK(wf_vi_blend(wf_vi_gt(va, vb), va, vb), a[i] > b[i] ? a[i] : b[i]);
        CHECK(wf_vi_set1(a[0]), a[0]);
        CHECK(wf_vi_iota(), i);
        CHECK(wf_vf_as_i(wf_vi_as_f(va)), a[i]);
        assert_int_equal(wf_vm_bits(wf_vi_eq(va, vb)), eq);
        assert_int_equal(wf_vm_bits(wf_vi_gt(va, vb)), gt);
        wf_vstore(f, wf_vcvt_f(va));
        EACH(i) same(f[i], (float)a[i]);
        int32_t from[L];
        EACH(i) from[i] = (s * 5 + i * i) % L;
        wf_vstore(f, wf_vpermute(wf_vcvt_f(va), wf_vi_load(from)));
        EACH(i) same(f[i], (float)a[from[i]]);
        float table[16];
        for (int i = 0; i < 16; i++)
            table[i] = (float)(i * i) - 7.5f;
        wf_vstore(f, wf_vlookup16(table, va));
        EACH(i) same(f[i], table[a[i] & 15]);
        wf_vi_store_u8(u, va);
        EACH(i) assert_int_equal(u[i], (uint8_t)a[i]);
        CHECK(wf_vi_load_u8(u), (uint8_t)a[i]);
        wf_vi_store_u8_clip(u, va);
        EACH(i) assert_int_equal(u[i], a[i] < 0 ? 0 : a[i] > 255 ? 255 : a[i]);
        EACH(i) u[i] = (uint8_t)a[i];
        uint8_t low[8] = {0}, high[8] = {0};
        EACH(i) * (i < 8 ? &low[i] : &high[i - 8]) = u[i];
        CHECK(wf_vi_load_u8_two(low, high), (uint8_t)a[i]);
    }
    for (int s = 0; s < N_SPECIAL; s++) {
        float f[L];
        int32_t y[L];
        EACH(i) f[i] = SPECIAL[(s + i) % N_SPECIAL];
        bool fits[L];
        EACH(i) fits[i] = fabsf(f[i]) < 0x1p31f;
        CHECK(wf_vcvt_i(wf_vload(f)), fits[i] ? (int32_t)nearbyintf(f[i]) : INT32_MIN);
        CHECK(wf_vcvt_i_trunc(wf_vload(f)), fits[i] ? (int32_t)f[i] : INT32_MIN);
#undef CHECK
    }
}

static void doubles(void)
{
    double a[L], b[L], c[L], y[L];
    float f[L], g[L];
    EACH(i)
    {
        a[i] = 1.0 / (i + 3);
        b[i] = -7.0 * (i + 1) / 11;
        c[i] = i * 1e-9;
        f[i] = 1.0f / (float)(i + 7);
    }
    wf_vd va = wf_vd_load(a), vb = wf_vd_load(b), vc = wf_vd_load(c);
#define CHECK(expr, plain)                                                                         \
    wf_vd_store(y, expr);                                                                          \
    EACH(i) assert_true(y[i] == (plain))
    CHECK(wf_vd_add(va, vb), a[i] + b[i]);
    CHECK(wf_vd_sub(va, vb), a[i] - b[i]);
    CHECK(wf_vd_mul(va, vb), a[i] * b[i]);
    CHECK(wf_vd_div(va, vb), a[i] / b[i]);
    CHECK(wf_vd_fma(va, vb, vc), fma(a[i], b[i], c[i]));
    CHECK(wf_vd_set1(0.1), 0.1);
    CHECK(wf_vd_from(wf_vload(f)), (double)f[i]);
#undef CHECK
    wf_vstore(g, wf_vd_to_f(va));
    EACH(i) same(g[i], (float)a[i]);
}

/* Nearest bf16 of a number that is no NaN, ties to even, by plain arithmetic: the numbers between two
 * bf16 lie on one line, also where the upper one is infinity (2^128 stands for it). */
static uint32_t nearest_bf16(uint32_t u)
{
    uint32_t below = u >> 16, low = u & 0xffff;
    double lower = 0, upper = 0x1p16, x = (double)low;
    if (x - lower == upper - x)
        return below + (below & 1);
    return x - lower < upper - x ? below : below + 1;
}

/* Every bf16 with every neighbourhood above it where rounding changes. */
static void bf16(void)
{
    static const uint32_t LOW[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    uint16_t h[L], exact[L];
    float f[L], back[L], rounded[L];
    for (size_t k = 0; k < sizeof LOW / sizeof *LOW; k++)
        for (uint32_t base = 0; base < 0x10000; base += L) {
            EACH(i)
            {
                uint32_t u = (base + (uint32_t)i) << 16 | LOW[k];
                memcpy(&f[i], &u, sizeof u);
            }
            wf_vstore_bf16(h, wf_vload(f));
            wf_vstore(back, wf_vload_bf16(h));
            wf_vstore(rounded, wf_vround_bf16(wf_vload(f)));
            wf_vstore_bf16_exact(exact, wf_vload(rounded));
            EACH(i)
            {
                const uint32_t u = bits_of(f[i]), is_nan = (u & 0x7fffffff) > 0x7f800000;
                assert_int_equal(h[i], is_nan ? (u >> 16 | 0x40) : nearest_bf16(u));
                assert_int_equal(bits_of(back[i]), (uint32_t)h[i] << 16);
                assert_int_equal(bits_of(rounded[i]), (uint32_t)h[i] << 16);
                assert_int_equal(exact[i], h[i]);
                assert_int_equal(wf_to_bf16(f[i]), h[i]);
                assert_int_equal(bits_of(wf_from_bf16(h[i])), bits_of(back[i]));
            }
        }
    uint16_t in[3 * L], out[3 * L];
    for (int i = 0; i < 3 * L; i++)
        in[i] = (uint16_t)(0x3f80 + i);
    for (int n = 0; n <= L; n++) {
        wf_vstore(back, wf_vload_bf16_n(in + 1, n));
        EACH(i) same(back[i], i < n ? wf_from_bf16(in[i + 1]) : 0.0f);
        for (int i = 0; i < 3 * L; i++)
            out[i] = 7;
        wf_vstore_bf16_n(out + L, wf_vload_bf16(in), n);
        for (int i = 0; i < 3 * L; i++)
            assert_int_equal(out[i], i >= L && i < L + n ? in[i - L] : 7);
        for (int i = 0; i < 3 * L; i++)
            out[i] = 7;
        wf_vstore_bf16_exact_n(out + L, wf_vload_bf16(in), n);
        for (int i = 0; i < 3 * L; i++)
            assert_int_equal(out[i], i >= L && i < L + n ? in[i - L] : 7);
    }
}

#if defined(WF_HAS_DOT)
/* One lane as Intel's manual has it; MXCSR has EDGES_DAZ_FTZ. */
static float manual_dot(float acc, uint32_t a, uint32_t b)
{
    acc = edges_fma(wf_float_of(a & 0xffff0000), wf_float_of(b & 0xffff0000), acc);
    return edges_fma(wf_float_of(a << 16), wf_float_of(b << 16), acc);
}

/* Beside the least normal number, where x86 tells too small by a rounding of its own: sums of
 * +-2^-126 and products that reach far below or just over half of the last place. */
static void check_dot(const uint32_t *acc, const uint32_t *a, const uint32_t *b)
{
    float want[L], got[2][L], from[L];
    int32_t as[L], bs[L];
    EACH(i)
    {
        from[i] = wf_float_of(acc[i]);
        as[i] = (int32_t)a[i];
        bs[i] = (int32_t)b[i];
    }
    const unsigned mxcsr = _mm_getcsr();
    /* Denormals are zero whatever MXCSR says. */
    _mm_setcsr(mxcsr & ~(unsigned)EDGES_DAZ_FTZ);
    wf_vstore(got[0], wf_vdot_bf16(wf_vload(from), wf_vi_load(as), wf_vi_load(bs)));
    _mm_setcsr(mxcsr | EDGES_DAZ_FTZ);
    wf_vstore(got[1], wf_vdot_bf16(wf_vload(from), wf_vi_load(as), wf_vi_load(bs)));
    EACH(i) want[i] = manual_dot(from[i], a[i], b[i]);
    _mm_setcsr(mxcsr);
    for (int k = 0; k < 2; k++)
        EACH(i)
    if (bits_of(got[k][i]) != bits_of(want[i]) && !(isnan(got[k][i]) && isnan(want[i])))
        fail_msg("%08x + %08x . %08x: got %a, want %a", acc[i], a[i], b[i], (double)got[k][i],
                 (double)want[i]);
}

static void dots(void)
{
    enum { RANDOM = 3000000 };
    uint64_t state = 88172645463325252u;
    uint32_t acc[L], a[L], b[L];
    if (!__builtin_cpu_supports("fma"))
        return;
    for (int k = 0; k < RANDOM / L; k++) {
        EACH(i)
        {
            acc[i] = edges_f32(&state);
            a[i] = edges_bf16_pair(&state);
            b[i] = edges_bf16_pair(&state);
        }
        check_dot(acc, a, b);
    }
    /* The least normal number and products from 2^-252 to 2^-120, of each significand once. */
    for (uint32_t exponent = 1; exponent < 134; exponent += L)
        for (uint32_t significand = 0; significand < 128; significand++)
            for (uint32_t signs = 0; signs < 4; signs++)
                for (uint32_t low = 0; low < 2; low++) {
                    EACH(i)
                    {
                        const uint32_t e = exponent + (uint32_t)i;
                        acc[i] = (signs & 1) << 31 | 0x00800000 | low;
                        a[i] = e / 2 << 7 | significand;
                        b[i] = (signs & 2) << 14 | (e + 1) / 2 << 7 | (significand * 7 & 127);
                        if (low) { /* the odd pair */
                            a[i] <<= 16;
                            b[i] <<= 16;
                        }
                    }
                    check_dot(acc, a, b);
                }
}
#endif

static float exp1(float x)
{
    float y[L];
    wf_vstore(y, wf_vexp(wf_vset1(x)));
    EACH(i) same(y[i], y[0]);
    return y[0];
}

static void exponential(void)
{
    double worst = 0, at = 0;
    for (double x = -87.0; x < 88.7; x += 0.00137 * L) {
        float in[L], out[L];
        EACH(i) in[i] = (float)(x + 0.00137 * i);
        wf_vstore(out, wf_vexp(wf_vload(in)));
        EACH(i)
        {
            double want = exp((double)in[i]);
            if (want > 3.4028234e38)
                continue;
            double ulp = ldexp(1, ilogb(want) - 23);
            double error = fabs((double)out[i] - want) / ulp;
            if (error > worst) {
                worst = error;
                at = (double)in[i];
            }
        }
    }
    if (worst > 2)
        fail_msg("%g ulp at %a", worst, at);
    same(exp1(0.0f), 1.0f);
    same(exp1(-0.0f), 1.0f);
    same(exp1(INFINITY), INFINITY);
    same(exp1(89.0f), INFINITY);
    same(exp1(-INFINITY), 0.0f);
    same(exp1(-104.5f), 0.0f);
    same(exp1(NAN), NAN);
    float denormal = exp1(-90.0f);
    assert_true(fabs((double)denormal - exp(-90.0)) <= 2 * 0x1p-149);
}

const simd_cases WF_ISA_FN(simd_cases) = {.lanes = L,
                                          .memory = memory,
                                          .arithmetic = arithmetic,
                                          .masks = masks,
                                          .sums = sums,
                                          .integers = integers,
                                          .doubles = doubles,
                                          .bf16 = bf16,
#if defined(WF_HAS_DOT)
                                          .dots = dots,
#endif
                                          .exponential = exponential};
