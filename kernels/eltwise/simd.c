/* The vector element-by-element kernels, f32 and bf16 (Note [Elements] in element.h): one source for
 * every ISA over kernels/simd, with one lane for bf16 on CPUs without any. Pure functions, any thread. */
#include "kernels/simd/element.h"

#include "kernels/eltwise/eltwise.h"

static void add(size_t n, const void *va, const void *vb, void *vy)
{
    const wf_element *a = va, *b = vb;
    wf_element *y = vy;
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore(y + i, wf_vadd(wf_eload(a + i), wf_eload(b + i)));
    int rest = (int)(n - i);
    if (rest)
        wf_estore_n(y + i, wf_vadd(wf_eload_n(a + i, rest), wf_eload_n(b + i, rest)), rest);
}

static void mul(size_t n, const void *va, const void *vb, void *vy)
{
    const wf_element *a = va, *b = vb;
    wf_element *y = vy;
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore(y + i, wf_vmul(wf_eload(a + i), wf_eload(b + i)));
    int rest = (int)(n - i);
    if (rest)
        wf_estore_n(y + i, wf_vmul(wf_eload_n(a + i, rest), wf_eload_n(b + i, rest)), rest);
}

static void scale_by(size_t n, const wf_element *x, wf_vf f, wf_element *y)
{
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore(y + i, wf_vmul(wf_eload(x + i), f));
    int rest = (int)(n - i);
    if (rest)
        wf_estore_n(y + i, wf_vmul(wf_eload_n(x + i, rest), f), rest);
}

static void scale(size_t n, const void *x, double factor, void *y)
{
    scale_by(n, x, wf_vset1((float)factor), y);
}

static void add_scalar(size_t n, const void *vx, double value, void *vy)
{
    const wf_element *x = vx;
    wf_element *y = vy;
    wf_vf v = wf_vset1((float)value);
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore(y + i, wf_vadd(wf_eload(x + i), v));
    int rest = (int)(n - i);
    if (rest)
        wf_estore_n(y + i, wf_vadd(wf_eload_n(x + i, rest), v), rest);
}

static void relu(size_t n, const void *vx, void *vy)
{
    const wf_element *x = vx;
    wf_element *y = vy;
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore_exact(y + i, wf_vmax(wf_vzero(), wf_eload(x + i))); /* x second: NaN stays */
    int rest = (int)(n - i);
    if (rest)
        wf_estore_exact_n(y + i, wf_vmax(wf_vzero(), wf_eload_n(x + i, rest)), rest);
}

static void relu_backward(size_t n, const void *vy, const void *vdy, void *vdx)
{
    const wf_element *y = vy, *dy = vdy;
    wf_element *dx = vdx;
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore_exact(dx + i, wf_vmaskz(wf_vnle(wf_eload(y + i), wf_vzero()), wf_eload(dy + i)));
    int rest = (int)(n - i);
    if (rest) {
        wf_vm on = wf_vnle(wf_eload_n(y + i, rest), wf_vzero());
        wf_estore_exact_n(dx + i, wf_vmaskz(on, wf_eload_n(dy + i, rest)), rest);
    }
}

static void fill(size_t n, double value, void *vy)
{
    wf_element *y = vy;
    wf_vf v = wf_vset1((float)value);
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore(y + i, v);
    if (i < n)
        wf_estore_n(y + i, v, (int)(n - i));
}

/* Plain: one channel is one run of pixels. */
static void bias_plain(wf_act a, const wf_element *x, const float *b, wf_element *y)
{
    size_t pixels = (size_t)a.H * (size_t)a.W;
    for (int c = 0; c < a.C; c++, x += pixels, y += pixels) {
        wf_vf bc = wf_vset1(b[c]);
        size_t i = 0;
        for (; i + WF_LANES <= pixels; i += WF_LANES)
            wf_estore(y + i, wf_vadd(wf_eload(x + i), bc));
        int rest = (int)(pixels - i);
        if (rest)
            wf_estore_n(y + i, wf_vadd(wf_eload_n(x + i, rest), bc), rest);
    }
}

/* One group of at most WF_LANES channels, `lanes` of which exist; pixels lie `block` apart. */
static void bias_lanes(size_t pixels, int block, int width, int lanes, const wf_element *x,
                       const float *b, wf_element *y)
{
    wf_vf bc = wf_vload_n(b, lanes);
    if (lanes == WF_LANES) { /* masked stores are slow on some CPUs */
        for (size_t p = 0; p < pixels; p++, x += block, y += block)
            wf_estore(y, wf_vadd(wf_eload(x), bc));
        return;
    }
    wf_vm real = wf_vm_first(lanes);
    for (size_t p = 0; p < pixels; p++, x += block, y += block)
        wf_estore_n(y, wf_vmaskz(real, wf_vadd(wf_eload_n(x, width), bc)), width);
}

static void bias(wf_act a, const void *vx, const void *vb, void *vy)
{
    const wf_element *x = vx;
    const float *b = vb;
    wf_element *y = vy;
    if (a.block == 1) {
        bias_plain(a, x, b, y);
        return;
    }
    size_t pixels = (size_t)a.H * (size_t)a.W;
    for (int c0 = 0; c0 < a.C; c0 += a.block)
        for (int j = 0; j < a.block; j += WF_LANES) {
            int width = a.block - j < WF_LANES ? a.block - j : WF_LANES;
            int lanes = a.C - c0 - j < width ? a.C - c0 - j : width;
            size_t at = (size_t)c0 * pixels + (size_t)j;
            bias_lanes(pixels, a.block, width, lanes < 0 ? 0 : lanes, x + at,
                       lanes > 0 ? b + c0 + j : b, y + at);
        }
}

/* One group of `width` channels, as above. */
static void mul_lanes(size_t pixels, size_t block, int width, const wf_element *x, const float *s,
                      wf_element *y)
{
    wf_vf by = wf_vload_n(s, width);
    if (width == WF_LANES) {
        for (size_t at = 0; at < pixels * block; at += block)
            wf_estore(y + at, wf_vmul(wf_eload(x + at), by));
        return;
    }
    for (size_t at = 0; at < pixels * block; at += block)
        wf_estore_n(y + at, wf_vmul(wf_eload_n(x + at, width), by), width);
}

static void mul_channels(wf_act a, const void *vx, const void *vs, void *vy)
{
    const wf_element *x = vx;
    const float *s = vs;
    wf_element *y = vy;
    const size_t pixels = (size_t)a.H * (size_t)a.W;
    for (int c = 0; c < a.C && a.block == 1; c++)
        scale_by(pixels, x + (size_t)c * pixels, wf_vset1(s[c]), y + (size_t)c * pixels);
    for (int c0 = 0; c0 < a.C && a.block > 1; c0 += a.block)
        for (int j = 0; j < a.block; j += WF_LANES) {
            const int width = a.block - j < WF_LANES ? a.block - j : WF_LANES;
            const size_t at = (size_t)c0 * pixels + (size_t)j;
            mul_lanes(pixels, (size_t)a.block, width, x + at, s + c0 + j, y + at);
        }
}

/* What a PReLU reads and writes; dy: NULL for the forward pass, whose y is dx then. */
typedef struct prelu_of {
    const wf_element *x, *dy;
    wf_element *y, *products;
} prelu_of;

/* n lanes at `at`, whose weights are w. */
WF_INLINE void prelu_lanes(const prelu_of *o, wf_vf w, size_t at, int n)
{
    const bool full = n == WF_LANES;
    const wf_vf x = full ? wf_eload(o->x + at) : wf_eload_n(o->x + at, n);
    const wf_vm on = wf_vgt(x, wf_vzero());
    wf_vf d = x, products = x;
    if (o->dy) {
        d = full ? wf_eload(o->dy + at) : wf_eload_n(o->dy + at, n);
        products = wf_vmaskz(wf_vm_not(on), wf_vmul(x, d));
    }
    d = wf_vblend(on, d, wf_vmul(w, d));
    if (full)
        wf_estore(o->y + at, d);
    else
        wf_estore_n(o->y + at, d, n);
    if (o->dy && full)
        wf_estore(o->products + at, products);
    else if (o->dy)
        wf_estore_n(o->products + at, products, n);
}

/* Plain: a channel is a run of pixels. Else groups of lanes go through the pixels. */
WF_INLINE void prelu_image(wf_act a, const float *w, const prelu_of *o)
{
    const size_t pixels = (size_t)a.H * (size_t)a.W;
    for (int c = 0; c < a.C && a.block == 1; c++) {
        const wf_vf wc = wf_vset1(w[c]);
        for (size_t i = 0; i < pixels; i += WF_LANES)
            prelu_lanes(o, wc, (size_t)c * pixels + i,
                        pixels - i < WF_LANES ? (int)(pixels - i) : WF_LANES);
    }
    for (int c0 = 0; c0 < a.C && a.block > 1; c0 += a.block)
        for (int j = 0; j < a.block; j += WF_LANES) {
            const int width = a.block - j < WF_LANES ? a.block - j : WF_LANES;
            const int lanes = a.C - c0 - j < width ? a.C - c0 - j : width;
            const wf_vf wc = lanes > 0 ? wf_vload_n(w + c0 + j, lanes) : wf_vzero();
            size_t at = (size_t)c0 * pixels + (size_t)j;
            for (size_t p = 0; p < pixels; p++, at += (size_t)a.block)
                prelu_lanes(o, wc, at, width);
        }
}

static void prelu(wf_act a, const void *x, const void *w, void *y)
{
    prelu_image(a, w, &(prelu_of){.x = x, .y = y});
}

static void prelu_backward(wf_act a, const void *x, const void *w, const void *dy, void *dx,
                           void *products)
{
    prelu_image(a, w, &(prelu_of){.x = x, .dy = dy, .y = dx, .products = products});
}

extern const wf_eltwise WF_ISA_FN(WF_CAT(wf_eltwise_, WF_ELEMENT));
const wf_eltwise WF_ISA_FN(WF_CAT(wf_eltwise_, WF_ELEMENT)) = {
    .name = "eltwise:" WF_ISA_NAME ":" WF_ELEMENT_NAME,
    .add = add,
    .mul = mul,
    .scale = scale,
    .add_scalar = add_scalar,
    .relu = relu,
    .relu_backward = relu_backward,
    .fill = fill,
    .bias = bias,
    .mul_channels = mul_channels,
    .prelu = prelu,
    .prelu_backward = prelu_backward,
};
