/* The pointwise functions in float, over images of f32 and bf16 (Note [Elements] in element.h):
 * one source for every ISA over kernels/simd, and with one lane for CPUs without any. Formulas of
 * pointwise.def. Pure functions, any thread.
 *
 * wf_vmax(a, b) is b where either is NaN (simd.h), so maximum takes a where a is NaN. */
#include "kernels/simd/element.h"
#include "kernels/simd/math.h"

#include "kernels/eltwise/pointwise.h"

/* z: the second result, of functions that have one; c and d are 0 where they have fewer operands. */
typedef wf_vf (*lane_fn)(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z);

WF_INLINE wf_vf truth(wf_vm m)
{
    return wf_vmaskz(m, wf_vset1(1.0f));
}

WF_INLINE wf_vf lane_add(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vadd(a, b);
}
WF_INLINE wf_vf lane_sub(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vsub(a, b);
}
WF_INLINE wf_vf lane_mul(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vmul(a, b);
}
WF_INLINE wf_vf lane_mul_both(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    *z = wf_vmul(c, a);
    return wf_vmul(c, b);
}
WF_INLINE wf_vf lane_div(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vdiv(a, b);
}
WF_INLINE wf_vf lane_div_both(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    *z = wf_vneg(wf_vmul(c, wf_vdiv(a, b)));
    return wf_vdiv(c, b);
}
WF_INLINE wf_vf lane_maximum(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vblend(wf_visnan(a), a, wf_vmax(a, b));
}
WF_INLINE wf_vf lane_minimum(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vblend(wf_visnan(a), a, wf_vmin(a, b));
}
/* a's part of the gradient dy: 0 where a lost, half where neither operand won. */
WF_INLINE wf_vf shared(wf_vm lost, wf_vf a, wf_vf b, wf_vf dy)
{
    wf_vf won = wf_vblend(wf_veq(a, b), wf_vmul(dy, wf_vset1(0.5f)), dy);
    return wf_vblend(lost, wf_vzero(), won);
}
WF_INLINE wf_vf lane_maximum_share(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return shared(wf_vgt(b, a), a, b, c);
}
WF_INLINE wf_vf lane_minimum_share(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return shared(wf_vgt(a, b), a, b, c);
}
WF_INLINE wf_vf lane_maximum_both(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    *z = shared(wf_vgt(a, b), a, b, c);
    return shared(wf_vgt(b, a), a, b, c);
}
WF_INLINE wf_vf lane_minimum_both(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    *z = shared(wf_vgt(b, a), a, b, c);
    return shared(wf_vgt(a, b), a, b, c);
}
WF_INLINE wf_vf lane_pow(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vpow_each(a, b);
}
WF_INLINE wf_vf lane_pow_base(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    const wf_vf power = wf_vpow_each(a, wf_vsub(b, wf_vset1(1.0f)));
    return wf_vmaskz(wf_vne(b, wf_vzero()), wf_vmul(c, wf_vmul(b, power)));
}
WF_INLINE wf_vf lane_pow_log(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    const wf_vm flat = wf_vm_and(wf_veq(a, wf_vzero()), wf_vge(b, wf_vzero()));
    return wf_vblend(flat, wf_vzero(), wf_vmul(c, wf_vlog(a)));
}
WF_INLINE wf_vf lane_pow_both(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    *z = wf_vmul(c, lane_pow_log(a, b, d, d, z));
    return lane_pow_base(a, b, c, d, z);
}
WF_INLINE wf_vf lane_eq(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return truth(wf_veq(a, b));
}
WF_INLINE wf_vf lane_ne(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return truth(wf_vne(a, b));
}
WF_INLINE wf_vf lane_lt(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return truth(wf_vgt(b, a));
}
WF_INLINE wf_vf lane_le(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return truth(wf_vge(b, a));
}
WF_INLINE wf_vf lane_gt(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return truth(wf_vgt(a, b));
}
WF_INLINE wf_vf lane_ge(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return truth(wf_vge(a, b));
}
WF_INLINE wf_vf lane_where(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vblend(wf_vne(a, wf_vzero()), b, c);
}
WF_INLINE wf_vf lane_where_true(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vmaskz(wf_vne(a, wf_vzero()), b);
}
WF_INLINE wf_vf lane_where_false(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    return wf_vblend(wf_vne(a, wf_vzero()), wf_vzero(), b);
}
WF_INLINE wf_vf lane_where_both(wf_vf a, wf_vf b, wf_vf c, wf_vf d, wf_vf *z)
{
    *z = lane_where_false(a, b, c, d, z);
    return lane_where_true(a, b, c, d, z);
}

/* `operands` and `results` are constants of each caller. An operand with one element for a row is
 * read from a vector of its copies, again and again: one loop serves every mixture. */
WF_INLINE void run(lane_fn f, int operands, int results, const wf_pointwise_rows *r,
                   const void *const *in, void *const *out)
{
    _Alignas(64) wf_element copies[WF_PW_OPERANDS][WF_LANES];
    wf_element *y = out[0], *z = results > 1 ? out[1] : NULL;
    for (size_t row = 0; row < r->rows; row++) {
        const wf_element *x[WF_PW_OPERANDS];
        size_t step[WF_PW_OPERANDS];
        for (int k = 0; k < operands; k++) {
            x[k] = (const wf_element *)in[k] + row * r->row[k];
            step[k] = r->one[k] ? 0 : WF_LANES;
            for (int j = 0; j < WF_LANES && r->one[k]; j++)
                copies[k][j] = *x[k];
            x[k] = r->one[k] ? copies[k] : x[k];
        }
        size_t left = r->n;
        for (; left >= WF_LANES; left -= WF_LANES, y += WF_LANES) {
            wf_vf v[WF_PW_OPERANDS] = {wf_vzero(), wf_vzero(), wf_vzero(), wf_vzero()}, second;
            for (int k = 0; k < operands; k++) {
                v[k] = wf_eload(x[k]);
                x[k] += step[k];
            }
            wf_estore(y, f(v[0], v[1], v[2], v[3], &second));
            if (results > 1) {
                wf_estore(z, second);
                z += WF_LANES;
            }
        }
        if (left == 0)
            continue;
        wf_vf v[WF_PW_OPERANDS] = {wf_vzero(), wf_vzero(), wf_vzero(), wf_vzero()}, second;
        for (int k = 0; k < operands; k++)
            v[k] = wf_eload_n(x[k], (int)left);
        wf_estore_n(y, f(v[0], v[1], v[2], v[3], &second), (int)left);
        y += left;
        if (results > 1) {
            wf_estore_n(z, second, (int)left);
            z += left;
        }
    }
}

#define WF_POINTWISE(name, operands, results, zero)                                                \
    static void name##_rows(const wf_pointwise_rows *r, const void *const *in, void *const *out)   \
    {                                                                                              \
        run(lane_##name, operands, results, r, in, out);                                           \
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
#define WF_POINTWISE(name, operands, results, zero) name##_rows,
#include "kernels/eltwise/pointwise.def"
#undef WF_POINTWISE
        },
};
