/* The reference reorder, for elements of any size. Pure functions, any thread. */
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

static void reorder_1(wf_act a, int to_block, const void *x, void *y)
{
    reorder(1, a, to_block, x, y);
}

static void reorder_2(wf_act a, int to_block, const void *x, void *y)
{
    reorder(2, a, to_block, x, y);
}

static void reorder_4(wf_act a, int to_block, const void *x, void *y)
{
    reorder(4, a, to_block, x, y);
}

static void reorder_8(wf_act a, int to_block, const void *x, void *y)
{
    reorder(8, a, to_block, x, y);
}

extern const wf_layout wf_layout_1_ref, wf_layout_2_ref, wf_layout_4_ref, wf_layout_8_ref;
const wf_layout wf_layout_1_ref = {"reorder:ref", reorder_1};
const wf_layout wf_layout_2_ref = {"reorder:ref", reorder_2};
const wf_layout wf_layout_4_ref = {"reorder:ref", reorder_4};
const wf_layout wf_layout_8_ref = {"reorder:ref", reorder_8};
