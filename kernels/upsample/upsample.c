/* Resampling of images in channel blocks, a multiple of WF_LANES wide, f32: one source for every ISA
 * over kernels/simd, with the reference's operations in its order. Pure functions, any thread. */
#include "kernels/simd/simd.h"

#include "kernels/upsample/upsample.h"

/* Where output element q of a row takes from: two columns of two rows. */
typedef struct corners {
    size_t at0, at1;
    wf_vf c0, c1;
} corners;

WF_INLINE corners corners_of(const wf_upsample_tap *k, size_t block)
{
    return (corners){(size_t)k->from[0] * block, (size_t)k->from[1] * block,
                     wf_vset1((float)k->w[0]), wf_vset1((float)k->w[1])};
}

WF_INLINE wf_vf mix(corners k, const float *row, size_t l)
{
    return wf_vadd(wf_vmul(k.c0, wf_vload(row + k.at0 + l)),
                   wf_vmul(k.c1, wf_vload(row + k.at1 + l)));
}

static void forward_row(const wf_upsample *g, const wf_upsample_tap *r, const float *x, float *y)
{
    const size_t b = (size_t)g->in.block, row = (size_t)g->in.W * b;
    const float *low = x + (size_t)r->from[0] * row, *high = x + (size_t)r->from[1] * row;
    const wf_vf r0 = wf_vset1((float)r->w[0]), r1 = wf_vset1((float)r->w[1]);
    for (int q = 0; q < g->Q; q++, y += b) {
        const corners k = corners_of(&g->cols[q], b);
        for (size_t l = 0; l < b; l += WF_LANES)
            wf_vstore(y + l, g->nearest ? wf_vload(low + k.at0 + l)
                                        : wf_vadd(wf_vmul(r0, mix(k, low, l)),
                                                  wf_vmul(r1, mix(k, high, l))));
    }
}

static void forward(const wf_upsample *g, const void *vx, void *vy)
{
    const size_t b = (size_t)g->in.block, image = (size_t)g->in.H * (size_t)g->in.W * b;
    const float *x = vx;
    float *y = vy;
    for (int c = 0; c < wf_round_up(g->in.C, g->in.block); c += g->in.block, x += image)
        for (int p = 0; p < g->P; p++, y += (size_t)g->Q * b)
            forward_row(g, &g->rows[p], x, y);
}

WF_INLINE void add_to(float *to, wf_vf v)
{
    wf_vstore(to, wf_vadd(wf_vload(to), v));
}

static void backward_row(const wf_upsample *g, const wf_upsample_tap *r, const float *dy, float *dx)
{
    const size_t b = (size_t)g->in.block, row = (size_t)g->in.W * b;
    float *low = dx + (size_t)r->from[0] * row, *high = dx + (size_t)r->from[1] * row;
    const wf_vf r0 = wf_vset1((float)r->w[0]), r1 = wf_vset1((float)r->w[1]);
    for (int q = 0; q < g->Q; q++, dy += b) {
        const corners k = corners_of(&g->cols[q], b);
        for (size_t l = 0; l < b; l += WF_LANES) {
            const wf_vf d = wf_vload(dy + l);
            if (g->nearest) {
                add_to(low + k.at0 + l, d);
                continue;
            }
            const wf_vf d0 = wf_vmul(r0, d), d1 = wf_vmul(r1, d);
            add_to(low + k.at0 + l, wf_vmul(k.c0, d0));
            add_to(low + k.at1 + l, wf_vmul(k.c1, d0));
            add_to(high + k.at0 + l, wf_vmul(k.c0, d1));
            add_to(high + k.at1 + l, wf_vmul(k.c1, d1));
        }
    }
}

static void backward(const wf_upsample *g, const void *vdy, void *vdx)
{
    const size_t b = (size_t)g->in.block, image = (size_t)g->in.H * (size_t)g->in.W * b;
    const float *dy = vdy;
    float *dx = vdx;
    memset(dx, 0, wf_act_count(g->in) * sizeof(*dx));
    for (int c = 0; c < wf_round_up(g->in.C, g->in.block); c += g->in.block, dx += image)
        for (int p = 0; p < g->P; p++, dy += (size_t)g->Q * b)
            backward_row(g, &g->rows[p], dy, dx);
}

extern const wf_upsample_fns WF_ISA_FN(wf_upsample);
const wf_upsample_fns WF_ISA_FN(wf_upsample) = {.name = "upsample:" WF_ISA_NAME,
                                                .isa = WF_ISA,
                                                .dtype = WEFT_F32,
                                                .lanes = WF_LANES,
                                                .forward = forward,
                                                .backward = backward};
