/* The vector sums, f32: one source for every ISA over kernels/simd, the same bits as the
 * reference (Note [Fixed reduction trees]). Pure functions, any thread. */
#include "kernels/simd/simd.h"

#include "kernels/reduce/reduce.h"

enum { REGS = WF_LEAF_SLOTS / WF_LANES }; /* registers that hold a leaf's slots: 2 or 1 */

/* One leaf of n <= WF_LEAF contiguous values. */
static double leaf(size_t n, const float *x)
{
    wf_vf slot[REGS];
    for (int k = 0; k < REGS; k++)
        slot[k] = wf_vzero();
    size_t i = 0;
    for (; i + WF_LEAF_SLOTS <= n; i += WF_LEAF_SLOTS)
        for (int k = 0; k < REGS; k++)
            slot[k] = wf_vadd(slot[k], wf_vload(x + i + k * WF_LANES));
    for (int k = 0; k < REGS && i < n; k++, i += WF_LANES)
        slot[k] = wf_vadd(slot[k], wf_vload_n(x + i, n - i < WF_LANES ? (int)(n - i) : WF_LANES));
    for (int k = 1; k < REGS; k++)
        slot[0] = wf_vadd(slot[0], slot[k]);
    return (double)wf_vsum(slot[0]); /* by halves, as simd.h promises */
}

static double run(size_t n, const void *vx)
{
    const float *x = vx;
    wf_tree tree;
    wf_tree_init(&tree);
    size_t i = 0;
    for (; i + WF_LEAF <= n; i += WF_LEAF)
        wf_tree_push(&tree, leaf(WF_LEAF, x + i));
    if (i < n)
        wf_tree_push(&tree, leaf(n - i, x + i));
    return wf_tree_sum(&tree);
}

/* The trees of WF_LANES neighbouring columns or channels at once. */
typedef struct lanes_tree {
    uint64_t leaves;
    double sum[64][WF_LANES];
} lanes_tree;

static void lanes_push(lanes_tree *t, wf_vf leaves)
{
    wf_vd v = wf_vd_from(leaves);
    int k = 0;
    for (; t->leaves >> k & 1; k++)
        v = wf_vd_add(wf_vd_load(t->sum[k]), v);
    wf_vd_store(t->sum[k], v);
    t->leaves++;
}

static void lanes_sum(const lanes_tree *t, int n, double *y)
{
    wf_vd v = wf_vd_set1(0.0);
    for (int k = 0; t->leaves >> k; k++)
        if (t->leaves >> k & 1)
            v = wf_vd_add(wf_vd_load(t->sum[k]), v);
    double all[WF_LANES];
    wf_vd_store(all, v);
    for (int j = 0; j < n; j++)
        y[j] = all[j];
}

static void columns(size_t rows, size_t stride, size_t n, const void *vx, double *y)
{
    const float *x = vx;
    for (size_t j = 0; j < n; j += WF_LANES) {
        int lanes = n - j < WF_LANES ? (int)(n - j) : WF_LANES;
        lanes_tree tree; /* not zeroed: it is large */
        tree.leaves = 0;
        for (size_t r0 = 0; r0 < rows; r0 += WF_LEAF) {
            size_t end = rows - r0 < WF_LEAF ? rows : r0 + WF_LEAF;
            wf_vf sum = wf_vzero();
            for (size_t r = r0; r < end; r++)
                sum = wf_vadd(sum, wf_vload_n(x + r * stride + j, lanes));
            lanes_push(&tree, sum);
        }
        lanes_sum(&tree, lanes, y + j);
    }
}

/* One leaf of n <= WF_LEAF pixels of WF_LANES channels (or `lanes`), `block` elements apart. */
static wf_vf leaf_blocked(size_t n, int block, int lanes, const float *x)
{
    wf_vf slot[WF_LEAF_SLOTS];
    for (int j = 0; j < WF_LEAF_SLOTS; j++)
        slot[j] =
            (size_t)j < n ? wf_vadd(wf_vzero(), wf_vload_n(x + j * block, lanes)) : wf_vzero();
    for (size_t i = WF_LEAF_SLOTS; i < n; i += WF_LEAF_SLOTS)
        for (size_t j = 0; j < WF_LEAF_SLOTS && i + j < n; j++)
            slot[j] = wf_vadd(slot[j], wf_vload_n(x + (i + j) * (size_t)block, lanes));
    for (int half = WF_LEAF_SLOTS / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            slot[j] = wf_vadd(slot[j], slot[j + half]);
    return slot[0];
}

static void channels(wf_act a, const void *vx, double *y)
{
    const float *x = vx;
    size_t pixels = (size_t)a.H * (size_t)a.W;
    if (a.block == 1) {
        for (int c = 0; c < a.C; c++)
            y[c] = run(pixels, x + (size_t)c * pixels);
        return;
    }
    for (int c0 = 0; c0 < a.C; c0 += a.block)
        for (int j = 0; j < a.block && c0 + j < a.C; j += WF_LANES) {
            int width = a.block - j < WF_LANES ? a.block - j : WF_LANES;
            int real = a.C - c0 - j < width ? a.C - c0 - j : width;
            const float *from = x + (size_t)c0 * pixels + j;
            lanes_tree tree;
            tree.leaves = 0;
            for (size_t p = 0; p < pixels; p += WF_LEAF)
                lanes_push(&tree, leaf_blocked(pixels - p < WF_LEAF ? pixels - p : WF_LEAF, a.block,
                                               width, from + p * (size_t)a.block));
            lanes_sum(&tree, real, y + c0 + j);
        }
}

extern const wf_reduce WF_ISA_FN(wf_reduce_f32);
const wf_reduce WF_ISA_FN(wf_reduce_f32) = {
    .name = WF_LANES == 16 ? "reduce:avx512:f32" : "reduce:avx2:f32",
    .run = run,
    .columns = columns,
    .channels = channels,
};
