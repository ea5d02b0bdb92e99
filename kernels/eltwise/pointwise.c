/* The pointwise functions in float, over images of f32 and bf16 (Note [Elements] in element.h):
 * one source for every ISA over kernels/simd, and with one lane for CPUs without any. Formulas of
 * pointwise.def. Pure functions, any thread.
 *
 * wf_vmax(a, b) is b where either is NaN (simd.h), so maximum takes a where a is NaN. */
#include "kernels/simd/element.h"
#include "kernels/simd/math.h"

#include "kernels/eltwise/pointwise.h"

typedef wf_vf (*lane_fn)(wf_vf a, wf_vf b, wf_vf c);

WF_INLINE wf_vf truth(wf_vm m)
{
    return wf_vmaskz(m, wf_vset1(1.0f));
}

WF_INLINE wf_vf lane_sub(wf_vf a, wf_vf b, wf_vf c)
{
    return wf_vsub(a, b);
}
WF_INLINE wf_vf lane_div(wf_vf a, wf_vf b, wf_vf c)
{
    return wf_vdiv(a, b);
}
WF_INLINE wf_vf lane_maximum(wf_vf a, wf_vf b, wf_vf c)
{
    return wf_vblend(wf_visnan(a), a, wf_vmax(a, b));
}
WF_INLINE wf_vf lane_minimum(wf_vf a, wf_vf b, wf_vf c)
{
    return wf_vblend(wf_visnan(a), a, wf_vmin(a, b));
}
/* a's part of the gradient dy: 0 where a lost, half where neither operand won. */
WF_INLINE wf_vf shared(wf_vm lost, wf_vf a, wf_vf b, wf_vf dy)
{
    wf_vf won = wf_vblend(wf_veq(a, b), wf_vmul(dy, wf_vset1(0.5f)), dy);
    return wf_vblend(lost, wf_vzero(), won);
}
WF_INLINE wf_vf lane_maximum_share(wf_vf a, wf_vf b, wf_vf c)
{
    return shared(wf_vgt(b, a), a, b, c);
}
WF_INLINE wf_vf lane_minimum_share(wf_vf a, wf_vf b, wf_vf c)
{
    return shared(wf_vgt(a, b), a, b, c);
}
WF_INLINE wf_vf lane_pow(wf_vf a, wf_vf b, wf_vf c)
{
    return wf_vpow_each(a, b);
}
WF_INLINE wf_vf lane_pow_base(wf_vf a, wf_vf b, wf_vf c)
{
    const wf_vf power = wf_vpow_each(a, wf_vsub(b, wf_vset1(1.0f)));
    return wf_vmaskz(wf_vne(b, wf_vzero()), wf_vmul(c, wf_vmul(b, power)));
}
WF_INLINE wf_vf lane_pow_log(wf_vf a, wf_vf b, wf_vf c)
{
    const wf_vm flat = wf_vm_and(wf_veq(a, wf_vzero()), wf_vge(b, wf_vzero()));
    return wf_vblend(flat, wf_vzero(), wf_vmul(c, wf_vlog(a)));
}
WF_INLINE wf_vf lane_eq(wf_vf a, wf_vf b, wf_vf c)
{
    return truth(wf_veq(a, b));
}
WF_INLINE wf_vf lane_ne(wf_vf a, wf_vf b, wf_vf c)
{
    return truth(wf_vne(a, b));
}
WF_INLINE wf_vf lane_lt(wf_vf a, wf_vf b, wf_vf c)
{
    return truth(wf_vgt(b, a));
}
WF_INLINE wf_vf lane_le(wf_vf a, wf_vf b, wf_vf c)
{
    return truth(wf_vge(b, a));
}
WF_INLINE wf_vf lane_gt(wf_vf a, wf_vf b, wf_vf c)
{
    return truth(wf_vgt(a, b));
}
WF_INLINE wf_vf lane_ge(wf_vf a, wf_vf b, wf_vf c)
{
    return truth(wf_vge(a, b));
}
WF_INLINE wf_vf lane_where(wf_vf a, wf_vf b, wf_vf c)
{
    return wf_vblend(wf_vne(a, wf_vzero()), b, c);
}
WF_INLINE wf_vf lane_where_true(wf_vf a, wf_vf b, wf_vf c)
{
    return wf_vmaskz(wf_vne(a, wf_vzero()), b);
}
WF_INLINE wf_vf lane_where_false(wf_vf a, wf_vf b, wf_vf c)
{
    return wf_vblend(wf_vne(a, wf_vzero()), wf_vzero(), b);
}

/* `operands` is a constant of each caller: with two, c is not read. */
WF_INLINE void run(lane_fn f, int operands, size_t n, const wf_element *a, const wf_element *b,
                   const wf_element *c, wf_element *y)
{
    size_t i = 0;
    for (; i + WF_LANES <= n; i += WF_LANES)
        wf_estore(y + i,
                  f(wf_eload(a + i), wf_eload(b + i), operands > 2 ? wf_eload(c + i) : wf_vzero()));
    int rest = (int)(n - i);
    if (rest)
        wf_estore_n(y + i,
                    f(wf_eload_n(a + i, rest), wf_eload_n(b + i, rest),
                      operands > 2 ? wf_eload_n(c + i, rest) : wf_vzero()),
                    rest);
}

#define WF_POINTWISE(name, operands, zero)                                                         \
    static void name##_run(size_t n, const void *a, const void *b, const void *c, void *y)         \
    {                                                                                              \
        run(lane_##name, operands, n, a, b, c, y);                                                 \
    }
#include "kernels/eltwise/pointwise.def"
#undef WF_POINTWISE

extern const wf_pointwise_table WF_ISA_FN(WF_CAT(wf_pointwise_, WF_ELEMENT));
const wf_pointwise_table WF_ISA_FN(WF_CAT(wf_pointwise_, WF_ELEMENT)) = {
    .name = "pointwise:" WF_ISA_NAME ":" WF_ELEMENT_NAME,
    .isa = WF_ISA,
    .dtype = WF_ELEMENT_DTYPE,
    .fn =
        {
#define WF_POINTWISE(name, operands, zero) name##_run,
#include "kernels/eltwise/pointwise.def"
#undef WF_POINTWISE
        },
};
