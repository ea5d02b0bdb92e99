/* What the files of pooling over blocked images share: one channel block's planes, and where its
 * indices lie. */
#ifndef WF_POOL_SIMD_H
#define WF_POOL_SIMD_H

#include "kernels/pool/pool.h"
#include "kernels/simd/element.h"

/* The indices of a vector's channels: one group of eight, or two that lie `groups` bytes apart
 * (Note [Groups of eight], norm.h). */
typedef struct wf_index_place {
    size_t apart;
    bool two;
} wf_index_place;

WF_INLINE void wf_put_index(uint8_t *at, wf_index_place place, wf_vi k)
{
    uint8_t bytes[WF_LANES];
    if (WF_LANES == 8) {
        wf_vi_store_u8(at, k);
        return;
    }
    wf_vi_store_u8(bytes, k);
    memcpy(at, bytes, 8);
    if (place.two)
        memcpy(at + place.apart, bytes + WF_LANES - 8, 8);
}
/* Without a second group its lanes are padding, whose gradient is 0 whatever the index. */
WF_INLINE wf_vi wf_get_index(const uint8_t *at, wf_index_place place)
{
    return wf_vi_load_u8_two(at, place.two ? at + place.apart : at);
}

/* Windows of 3x3 without dilation, of any stride and padding: pool_3x3.c. */
static inline bool wf_pool_is_3x3(const wf_pool *g)
{
    return !g->adaptive && g->kernel[0] == 3 && g->kernel[1] == 3 && g->dilation[0] == 1 &&
           g->dilation[1] == 1;
}
/* One channel block of each of the four. index may be NULL: not wanted. `lowest` is what a maximum
 * starts from. */
void WF_ELEMENT_FN(wf_pool_3x3_max_forward)(const wf_pool *g, const wf_element *x, wf_vf lowest,
                                            wf_element *y, uint8_t *index, wf_index_place place);
void WF_ELEMENT_FN(wf_pool_3x3_max_backward)(const wf_pool *g, const wf_element *dy,
                                             const uint8_t *index, wf_index_place place,
                                             wf_element *dx);
void WF_ELEMENT_FN(wf_pool_3x3_avg_forward)(const wf_pool *g, const wf_element *x, wf_element *y);
void WF_ELEMENT_FN(wf_pool_3x3_avg_backward)(const wf_pool *g, const wf_element *dy,
                                             wf_element *dx);

#endif
