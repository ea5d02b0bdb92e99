/* Gathering of channels in blocks of WF_LANES, elements of 4 and 2 bytes (Note [Elements] in element.h;
 * what the elements are does not matter): a vector of the result is put
 * together from the few source vectors that its channels lie in, each permuted and masked. Pure
 * functions, any thread.
 *
 * Concatenation and slices at any channel have two sources a vector, a shuffle of two groups four:
 * their loops are instantiated with constant counts. */
#include "kernels/simd/element.h"

#include "kernels/layout/layout.h"

/* One source of a block: where its pixels begin, for each lane of the result the source's lane, and
 * all bits set where the lane is wanted. */
typedef struct source {
    const wf_element *x;
    int32_t lane[WF_LANES], wanted[WF_LANES];
} source;

/* The sources of channels [c0, c0 + WF_LANES); returns how many, 0 for zeros only. */
static int find_sources(wf_act a, const wf_channel_from *from, int c0, const void *const *x,
                        source *s)
{
    int n = 0;
    for (int i = 0; i < WF_LANES && c0 + i < a.C; i++) {
        const wf_channel_from *f = &from[c0 + i];
        if (f->image < 0)
            continue;
        const int lane = f->channel % WF_LANES;
        const wf_element *block =
            (const wf_element *)x[f->image] + wf_act_index(a, f->channel - lane, 0, 0);
        int k = 0;
        while (k < n && s[k].x != block)
            k++;
        if (k == n) {
            memset(&s[n], 0, sizeof(s[n]));
            s[n++].x = block;
        }
        s[k].lane[i] = lane;
        s[k].wanted[i] = -1;
    }
    return n;
}

/* Whether the only source is copied as it is. Its padding lanes are zero, as the result's are. */
static bool is_copy(const source *s, int real)
{
    for (int i = 0; i < real; i++)
        if (!s->wanted[i] || s->lane[i] != i)
            return false;
    return real == WF_LANES;
}

WF_INLINE void blend(const source *s, int n, size_t pixels, wf_element *y)
{
    const wf_element *x[WF_LANES]; /* in locals: stores to y might change what s points to */
    wf_vi lane[WF_LANES];
    wf_vf wanted[WF_LANES];
    for (int k = 0; k < n; k++) {
        x[k] = s[k].x;
        lane[k] = wf_vi_load(s[k].lane);
        wanted[k] = wf_vi_as_f(wf_vi_load(s[k].wanted));
    }
    for (size_t p = 0; p < pixels * WF_LANES; p += WF_LANES) {
        wf_vf v = wf_vzero();
        for (int k = 0; k < n; k++)
            v = wf_vor(v, wf_vand(wf_vpermute(wf_eload(x[k] + p), lane[k]), wanted[k]));
        wf_estore_exact(y + p, v);
    }
}

void WF_ISA_FN(WF_CAT(wf_gather_, WF_ELEMENT_BYTES))(wf_act a, const wf_channel_from *from,
                                                     const void *const *x, void *y);
void WF_ISA_FN(WF_CAT(wf_gather_, WF_ELEMENT_BYTES))(wf_act a, const wf_channel_from *from,
                                                     const void *const *x, void *vy)
{
    if (a.block != WF_LANES) {
        wf_gather_any(WF_ELEMENT_BYTES, a, from, x, vy);
        return;
    }
    const size_t pixels = (size_t)a.H * (size_t)a.W;
    wf_element *y = vy;
    for (int c0 = 0; c0 < a.C; c0 += WF_LANES, y += pixels * WF_LANES) {
        source s[WF_LANES];
        const int n = find_sources(a, from, c0, x, s);
        const int real = a.C - c0 < WF_LANES ? a.C - c0 : WF_LANES;
        if (n == 1 && is_copy(s, real))
            memcpy(y, s[0].x, pixels * WF_LANES * sizeof(*y));
        else if (n == 1)
            blend(s, 1, pixels, y);
        else if (n == 2)
            blend(s, 2, pixels, y);
        else if (n == 3)
            blend(s, 3, pixels, y);
        else if (n == 4)
            blend(s, 4, pixels, y);
        else
            blend(s, n, pixels, y);
    }
}
