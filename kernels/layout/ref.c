/* The reference reorder and gather, for elements of any size. Pure functions, any thread. */
#include <string.h>

#include "kernels/layout/layout.h"

void wf_zero_padding(size_t size, wf_act a, void *vy)
{
    size_t pixels = (size_t)a.H * (size_t)a.W, block = (size_t)a.block;
    size_t used = (size_t)(a.C % a.block);
    if (used == 0)
        return;
    char *y = (char *)vy + wf_act_index(a, a.C - (int)used, 0, 0) * size;
    for (size_t p = 0; p < pixels; p++)
        memset(y + (p * block + used) * size, 0, (block - used) * size);
}

static inline __attribute__((always_inline)) void reorder(size_t size, wf_act a, int to_block,
                                                          const void *vx, void *vy)
{
    const char *x = vx;
    char *y = vy;
    if (a.block == to_block) {
        memcpy(y, x, wf_act_count(a) * size);
        return;
    }
    wf_act to = a;
    to.block = to_block;
    size_t pixels = (size_t)a.H * (size_t)a.W, from_step = (size_t)a.block * size;
    size_t to_step = (size_t)to_block * size;
    for (int c = 0; c < a.C; c++) {
        const char *from = x + wf_act_index(a, c, 0, 0) * size;
        char *at = y + wf_act_index(to, c, 0, 0) * size;
        for (size_t p = 0; p < pixels; p++)
            memcpy(at + p * to_step, from + p * from_step, size);
    }
    wf_zero_padding(size, to, y);
}

void wf_reorder_any(size_t size, wf_act a, int to_block, const void *x, void *y)
{
    reorder(size, a, to_block, x, y);
}

static inline __attribute__((always_inline)) void
gather(size_t size, wf_act a, const wf_channel_from *from, const void *const *x, void *vy)
{
    size_t pixels = (size_t)a.H * (size_t)a.W, step = (size_t)a.block * size;
    for (int c = 0; c < wf_round_up(a.C, a.block); c++) {
        char *y = (char *)vy + wf_act_index(a, c, 0, 0) * size;
        if (c < a.C && from[c].image >= 0) {
            const char *channel =
                (const char *)x[from[c].image] + wf_act_index(a, from[c].channel, 0, 0) * size;
            if (a.block == 1)
                memcpy(y, channel, pixels * size);
            else
                for (size_t p = 0; p < pixels; p++)
                    memcpy(y + p * step, channel + p * step, size);
        } else {
            for (size_t p = 0; p < pixels; p++)
                memset(y + p * step, 0, size);
        }
    }
}

void wf_gather_any(size_t size, wf_act a, const wf_channel_from *from, const void *const *x,
                   void *y)
{
    gather(size, a, from, x, y);
}

#define BY_SIZE(bytes)                                                                             \
    static void reorder_##bytes(wf_act a, int to_block, const void *x, void *y)                    \
    {                                                                                              \
        reorder(bytes, a, to_block, x, y);                                                         \
    }                                                                                              \
    static void gather_##bytes(wf_act a, const wf_channel_from *from, const void *const *x,        \
                               void *y)                                                            \
    {                                                                                              \
        gather(bytes, a, from, x, y);                                                              \
    }                                                                                              \
    extern const wf_layout wf_layout_##bytes##_ref;                                                \
    const wf_layout wf_layout_##bytes##_ref = {"reorder:ref", reorder_##bytes, "gather:ref",       \
                                               gather_##bytes};
BY_SIZE(1)
BY_SIZE(2)
BY_SIZE(4)
BY_SIZE(8)
