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

static void scale(size_t n, const void *vx, double factor, void *vy)
{
    const wf_element *x = vx;
    wf_element *y = vy;
    const wf_vf f = wf_vset1((float)factor);
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore(y + i, wf_vmul(wf_eload(x + i), f));
    int rest = (int)(n - i);
    if (rest)
        wf_estore_n(y + i, wf_vmul(wf_eload_n(x + i, rest), f), rest);
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

/* ---- a number a channel ---- */

/* Computes n lanes at element `at` of an image, whose channels' numbers are w. */
typedef void (*lanes_fn)(const void *of, wf_vf w, size_t at, int n);

/* Calls fn over an image (a), numbers w (C). Plain: a channel is a run of pixels. Else groups of lanes
 * go through the pixels; channels of padding have the number 0. Whole vectors have a loop of their
 * own: masked stores are slow on some CPUs. */
WF_INLINE void by_channels(wf_act a, const float *w, lanes_fn fn, const void *of)
{
    const size_t pixels = (size_t)a.H * (size_t)a.W, block = (size_t)a.block;
    for (int c = 0; c < a.C && a.block == 1; c++) {
        const wf_vf wc = wf_vset1(w[c]);
        size_t i = 0, at = (size_t)c * pixels;
        for (; i + WF_LANES <= pixels; i += WF_LANES)
            fn(of, wc, at + i, WF_LANES);
        if (i < pixels)
            fn(of, wc, at + i, (int)(pixels - i));
    }
    for (int c0 = 0; c0 < a.C && a.block > 1; c0 += a.block)
        for (int j = 0; j < a.block; j += WF_LANES) {
            const int width = a.block - j < WF_LANES ? a.block - j : WF_LANES;
            const int lanes = a.C - c0 - j < width ? a.C - c0 - j : width;
            const wf_vf wc = lanes > 0 ? wf_vload_n(w + c0 + j, lanes) : wf_vzero();
            const size_t first = (size_t)c0 * pixels + (size_t)j, end = first + pixels * block;
            if (width == WF_LANES)
                for (size_t at = first; at < end; at += block)
                    fn(of, wc, at, WF_LANES);
            else
                for (size_t at = first; at < end; at += block)
                    fn(of, wc, at, width);
        }
}

WF_INLINE wf_vf load_lanes(const wf_element *x, int n)
{
    return n == WF_LANES ? wf_eload(x) : wf_eload_n(x, n);
}

WF_INLINE void store_lanes(wf_element *y, wf_vf v, int n)
{
    if (n == WF_LANES)
        wf_estore(y, v);
    else
        wf_estore_n(y, v, n);
}

/* What these kernels read and write; dy, products: of prelu_backward, whose y is dx. */
typedef struct images {
    const wf_element *x, *dy;
    wf_element *y, *products;
} images;

/* Padding, which is 0, gets 0 added. */
WF_INLINE void bias_lanes(const void *of, wf_vf b, size_t at, int n)
{
    const images *o = of;
    store_lanes(o->y + at, wf_vadd(load_lanes(o->x + at, n), b), n);
}

WF_INLINE void mul_lanes(const void *of, wf_vf s, size_t at, int n)
{
    const images *o = of;
    store_lanes(o->y + at, wf_vmul(load_lanes(o->x + at, n), s), n);
}

WF_INLINE void prelu_lanes(const void *of, wf_vf w, size_t at, int n)
{
    const images *o = of;
    const wf_vf x = load_lanes(o->x + at, n);
    store_lanes(o->y + at, wf_vblend(wf_vgt(x, wf_vzero()), x, wf_vmul(w, x)), n);
}

WF_INLINE void prelu_backward_lanes(const void *of, wf_vf w, size_t at, int n)
{
    const images *o = of;
    const wf_vf x = load_lanes(o->x + at, n), dy = load_lanes(o->dy + at, n);
    const wf_vm on = wf_vgt(x, wf_vzero());
    const wf_vf products = wf_vmaskz(wf_vm_not(on), wf_vmul(x, dy));
    store_lanes(o->y + at, wf_vblend(on, dy, wf_vmul(w, dy)), n);
    store_lanes(o->products + at, products, n);
}

static void bias(wf_act a, const void *x, const void *b, void *y)
{
    by_channels(a, b, bias_lanes, &(images){.x = x, .y = y});
}

static void mul_channels(wf_act a, const void *x, const void *s, void *y)
{
    by_channels(a, s, mul_lanes, &(images){.x = x, .y = y});
}

static void prelu(wf_act a, const void *x, const void *w, void *y)
{
    by_channels(a, w, prelu_lanes, &(images){.x = x, .y = y});
}

static void prelu_backward(wf_act a, const void *x, const void *w, const void *dy, void *dx,
                           void *products)
{
    by_channels(a, w, prelu_backward_lanes,
                &(images){.x = x, .dy = dy, .y = dx, .products = products});
}

extern const wf_eltwise WF_ISA_FN(WF_CAT(wf_eltwise_, WF_ELEMENT));
const wf_eltwise WF_ISA_FN(WF_CAT(wf_eltwise_, WF_ELEMENT)) = {
    .name = "eltwise:" WF_ISA_NAME ":" WF_ELEMENT_NAME,
    .add = add,
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
