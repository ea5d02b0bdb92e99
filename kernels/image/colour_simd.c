/* The vector arithmetic on bytes: one source for every ISA over kernels/simd, the reference's bits.
 * The last pixels, fewer than lanes, go through a buffer of whole vectors. */
#include "kernels/simd/simd.h"

#include "kernels/image/colour.h"

/* The f32 numbers of up to WF_LANES bytes; those beyond n are 0. */
WF_INLINE wf_vf load(const uint8_t *p, size_t n)
{
    return n >= WF_LANES ? wf_vload_u8(p) : wf_vload_u8_n(p, (int)n);
}

WF_INLINE void store(uint8_t *p, wf_vi v, size_t n)
{
    if (n >= WF_LANES) {
        wf_vi_store_u8_clip(p, v);
    } else {
        uint8_t all[WF_LANES];
        wf_vi_store_u8_clip(all, v);
        memcpy(p, all, n);
    }
}

static void mix(size_t n, float own, float other, const uint8_t *x, uint8_t *y)
{
    const wf_vf a = wf_vset1(own), b = wf_vset1(other);
    for (size_t i = 0; i < n; i += WF_LANES) {
        const wf_vf v = wf_vadd(wf_vmul(load(y + i, n - i), a), wf_vmul(load(x + i, n - i), b));
        store(y + i, wf_vcvt_i(v), n - i);
    }
}

WF_INLINE wf_vi blended(wf_vf base, wf_vf factor, wf_vf y)
{
    return wf_vcvt_i_trunc(wf_vadd(base, wf_vmul(factor, wf_vsub(y, base))));
}

static void blend(size_t n, float factor, const uint8_t *base, uint8_t *y)
{
    const wf_vf f = wf_vset1(factor);
    for (size_t i = 0; i < n; i += WF_LANES)
        store(y + i, blended(load(base + i, n - i), f, load(y + i, n - i)), n - i);
}

static void blend_level(size_t n, float factor, uint8_t base, uint8_t *y)
{
    const wf_vf f = wf_vset1(factor), b = wf_vset1((float)base);
    for (size_t i = 0; i < n; i += WF_LANES)
        store(y + i, blended(b, f, load(y + i, n - i)), n - i);
}

/* All products and sums are integers below 2^24, which f32 holds. */
static void grey(size_t n, const uint8_t *r, const uint8_t *g, const uint8_t *b, uint8_t *y)
{
    const wf_vf kr = wf_vset1(19595), kg = wf_vset1(38470), kb = wf_vset1(7471);
    for (size_t i = 0; i < n; i += WF_LANES) {
        wf_vf s = wf_vadd(wf_vmul(load(r + i, n - i), kr), wf_vmul(load(g + i, n - i), kg));
        s = wf_vadd(wf_vadd(s, wf_vmul(load(b + i, n - i), kb)), wf_vset1(0x8000));
        store(y + i, wf_vi_sar(wf_vcvt_i(s), 16), n - i);
    }
}

/* left * a + middle * m + right * a of the row at p. */
WF_INLINE wf_vf three(const uint8_t *p, wf_vf a, wf_vf m)
{
    const wf_vf s = wf_vadd(wf_vmul(wf_vload_u8(p - 1), a), wf_vmul(wf_vload_u8(p), m));
    return wf_vadd(s, wf_vmul(wf_vload_u8(p + 1), a));
}

WF_INLINE void smooth_lanes(int W, const uint8_t *p, uint8_t *y)
{
    const wf_vf a = wf_vset1(1.0f / 13.0f), m = wf_vset1(5.0f / 13.0f);
    wf_vf s = wf_vadd(wf_vset1(0.5f), three(p + W, a, a));
    s = wf_vadd(s, three(p, a, m));
    s = wf_vadd(s, three(p - W, a, a));
    wf_vi_store_u8_clip(y, wf_vcvt_i_trunc(s));
}

static float three_at(const uint8_t *p, float a, float m)
{
    return (float)p[-1] * a + (float)p[0] * m + (float)p[1] * a;
}

static void smooth(int H, int W, const uint8_t *x, uint8_t *y)
{
    const float a = 1.0f / 13.0f, m = 5.0f / 13.0f;
    memcpy(y, x, (size_t)H * (size_t)W);
    for (int h = 1; h < H - 1; h++) {
        const uint8_t *p = x + (size_t)h * (size_t)W;
        uint8_t *q = y + (size_t)h * (size_t)W;
        int w = 1;
        for (; w + WF_LANES <= W - 1; w += WF_LANES)
            smooth_lanes(W, p + w, q + w);
        for (; w < W - 1; w++) {
            float s = 0.5f + three_at(p + w + W, a, a);
            s += three_at(p + w, a, m);
            s += three_at(p + w - W, a, a);
            q[w] = (uint8_t)(s >= 255.0f ? 255.0f : s);
        }
    }
}

static uint64_t sum(size_t n, const uint8_t *x)
{
    const size_t CHUNK = (size_t)WF_LANES << 20; /* so many bytes do not overflow a lane */
    uint64_t s = 0;
    while (n >= WF_LANES) {
        const size_t some = (n < CHUNK ? n : CHUNK) / WF_LANES * WF_LANES;
        wf_vi v = wf_vi_set1(0);
        for (size_t i = 0; i < some; i += WF_LANES)
            v = wf_vi_add(v, wf_vi_load_u8(x + i));
        int32_t lane[WF_LANES];
        wf_vi_store(lane, v);
        for (int i = 0; i < WF_LANES; i++)
            s += (uint32_t)lane[i];
        x += some;
        n -= some;
    }
    for (size_t i = 0; i < n; i++)
        s += x[i];
    return s;
}

static int mirrored(int i, int n)
{
    return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i;
}

static void blur(int H, int W, int taps, const float *weights, const uint8_t *x, void *scratch,
                 uint8_t *y)
{
    float *across = scratch, *line = across + (size_t)H * (size_t)W; /* W + taps - 1 */
    const int half = taps / 2;
    for (int h = 0; h < H; h++) {
        const uint8_t *p = x + (size_t)h * (size_t)W;
        float *q = across + (size_t)h * (size_t)W;
        for (int w = 0; w < W + taps - 1; w++)
            line[w] = (float)p[mirrored(w - half, W)];
        for (int w = 0; w < W; w += WF_LANES) {
            const int n = W - w < WF_LANES ? W - w : WF_LANES;
            wf_vf s = wf_vzero();
            for (int t = 0; t < taps; t++)
                s = wf_vadd(
                    s, wf_vmul(n < WF_LANES ? wf_vload_n(line + w + t, n) : wf_vload(line + w + t),
                               wf_vset1(weights[t])));
            wf_vstore_n(q + w, s, n);
        }
    }
    for (int h = 0; h < H; h++)
        for (int w = 0; w < W; w += WF_LANES) {
            const int n = W - w < WF_LANES ? W - w : WF_LANES;
            wf_vf s = wf_vzero();
            for (int t = 0; t < taps; t++) {
                const float *q = across + (size_t)mirrored(h + t - half, H) * (size_t)W + w;
                s = wf_vadd(s, wf_vmul(n < WF_LANES ? wf_vload_n(q, n) : wf_vload(q),
                                       wf_vset1(weights[t])));
            }
            store(y + (size_t)h * (size_t)W + w, wf_vcvt_i(s), (size_t)n);
        }
}

extern const wf_colour_kernels WF_ISA_FN(wf_colour);
const wf_colour_kernels WF_ISA_FN(wf_colour) = {
    "colour:" WF_ISA_NAME, mix, blend, blend_level, grey, smooth, sum, blur};
