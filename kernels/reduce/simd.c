/* The vector sums, f32 and bf16 (Note [Elements] in element.h): one source for every ISA over
 * kernels/simd, the same bits as the reference (Note [Fixed reduction trees]), which for bf16 is this
 * source with one lane. Pure functions, any thread. */
#include "kernels/simd/element.h"

#include "kernels/reduce/reduce.h"

enum {
    REGS = WF_ACCUMULATORS / WF_LANES
}; /* registers that hold a range's accumulators: 2 or 1; 16 of one lane */

/* n values of x, or products where there is a z. */
WF_INLINE wf_vf values(const wf_element *x, const wf_element *z, size_t at, int n)
{
    if (n == WF_LANES)
        return z ? wf_vmul(wf_eload(x + at), wf_eload(z + at)) : wf_eload(x + at);
    return z ? wf_vmul(wf_eload_n(x + at, n), wf_eload_n(z + at, n)) : wf_eload_n(x + at, n);
}

/* One range of n <= WF_RANGE contiguous values. */
WF_INLINE double range(size_t n, const wf_element *x, const wf_element *z)
{
    wf_vf acc[REGS];
    for (int k = 0; k < REGS; k++)
        acc[k] = wf_vzero();
    size_t i = 0;
    for (; i + WF_ACCUMULATORS <= n; i += WF_ACCUMULATORS)
        for (int k = 0; k < REGS; k++)
            acc[k] = wf_vadd(acc[k], values(x, z, i + (size_t)k * WF_LANES, WF_LANES));
    for (int k = 0; k < REGS && i < n; k++, i += WF_LANES)
        acc[k] = wf_vadd(acc[k], values(x, z, i, n - i < WF_LANES ? (int)(n - i) : WF_LANES));
    for (int half = REGS / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            acc[k] = wf_vadd(acc[k], acc[k + half]);
    return (double)wf_vsum(acc[0]); /* by halves, as simd.h promises */
}

WF_INLINE double run_of(size_t n, const wf_element *x, const wf_element *z)
{
    wf_tree tree;
    wf_tree_init(&tree);
    size_t i = 0;
    for (; i + WF_RANGE <= n; i += WF_RANGE)
        wf_tree_push(&tree, range(WF_RANGE, x + i, z ? z + i : NULL));
    if (i < n)
        wf_tree_push(&tree, range(n - i, x + i, z ? z + i : NULL));
    return wf_tree_sum(&tree);
}

static double run(size_t n, const void *x)
{
    return run_of(n, x, NULL);
}

/* The trees of WF_LANES neighbouring columns or channels at once. */
typedef struct lanes_tree {
    uint64_t ranges;
    double sum[64][WF_LANES];
} lanes_tree;

static void lanes_push(lanes_tree *t, wf_vf ranges)
{
    wf_vd v = wf_vd_from(ranges);
    int k = 0;
    for (; t->ranges >> k & 1; k++)
        v = wf_vd_add(wf_vd_load(t->sum[k]), v);
    wf_vd_store(t->sum[k], v);
    t->ranges++;
}

static void lanes_sum(const lanes_tree *t, int n, double *y)
{
    wf_vd v = wf_vd_set1(0.0);
    for (int k = 0; t->ranges >> k; k++)
        if (t->ranges >> k & 1)
            v = wf_vd_add(wf_vd_load(t->sum[k]), v);
    double all[WF_LANES];
    wf_vd_store(all, v);
    for (int j = 0; j < n; j++)
        y[j] = all[j];
}

enum { GROUPS = 4 }; /* of neighbouring vectors of columns, which are added up in one pass */

static void columns(size_t rows, size_t stride, size_t n, const void *vx, double *y)
{
    const wf_element *x = vx;
    for (size_t j0 = 0; j0 < n; j0 += GROUPS * WF_LANES) {
        const size_t left = n - j0, most = (left + WF_LANES - 1) / WF_LANES;
        const int groups = most < GROUPS ? (int)most : GROUPS;
        int lanes[GROUPS];
        lanes_tree tree[GROUPS]; /* not zeroed: they are large */
        for (int g = 0; g < groups; g++) {
            const size_t rest = left - (size_t)g * WF_LANES;
            lanes[g] = rest < WF_LANES ? (int)rest : WF_LANES;
            tree[g].ranges = 0;
        }
        for (size_t r0 = 0; r0 < rows; r0 += WF_RANGE) {
            const size_t end = rows - r0 < WF_RANGE ? rows : r0 + WF_RANGE;
            wf_vf sum[GROUPS];
            WF_UNROLL for (int g = 0; g < GROUPS; g++) sum[g] = wf_vzero();
            for (size_t r = r0; r < end; r++)
                WF_UNROLL for (int g = 0; g < GROUPS; g++) if (g < groups) sum[g] = wf_vadd(
                    sum[g], values(x, NULL, r * stride + j0 + (size_t)g * WF_LANES, lanes[g]));
            for (int g = 0; g < groups; g++)
                lanes_push(&tree[g], sum[g]);
        }
        for (int g = 0; g < groups; g++)
            lanes_sum(&tree[g], lanes[g], y + j0 + (size_t)g * WF_LANES);
    }
}

/* One range of n <= WF_RANGE pixels of WF_LANES channels (or `lanes`), `block` elements apart. */
WF_INLINE wf_vf range_blocked(size_t n, size_t block, int lanes, const wf_element *x,
                              const wf_element *z)
{
    wf_vf acc[WF_ACCUMULATORS];
    for (size_t j = 0; j < WF_ACCUMULATORS; j++)
        acc[j] = j < n ? wf_vadd(wf_vzero(), values(x, z, j * block, lanes)) : wf_vzero();
    for (size_t i = WF_ACCUMULATORS; i < n; i += WF_ACCUMULATORS)
        for (size_t j = 0; j < WF_ACCUMULATORS && i + j < n; j++)
            acc[j] = wf_vadd(acc[j], values(x, z, (i + j) * block, lanes));
    for (int half = WF_ACCUMULATORS / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            acc[j] = wf_vadd(acc[j], acc[j + half]);
    return acc[0];
}

WF_INLINE void channels_of(wf_act a, const wf_element *x, const wf_element *z, double *y)
{
    size_t pixels = (size_t)a.H * (size_t)a.W, block = (size_t)a.block;
    if (a.block == 1) {
        for (size_t c = 0; c < (size_t)a.C; c++)
            y[c] = run_of(pixels, x + c * pixels, z ? z + c * pixels : NULL);
        return;
    }
    for (int c0 = 0; c0 < a.C; c0 += a.block)
        for (int j = 0; j < a.block && c0 + j < a.C; j += WF_LANES) {
            int width = a.block - j < WF_LANES ? a.block - j : WF_LANES;
            int real = a.C - c0 - j < width ? a.C - c0 - j : width;
            const size_t from = (size_t)c0 * pixels + (size_t)j;
            lanes_tree tree;
            tree.ranges = 0;
            for (size_t p = 0; p < pixels; p += WF_RANGE) {
                const size_t n = pixels - p < WF_RANGE ? pixels - p : WF_RANGE;
                const size_t at = from + p * block;
                lanes_push(&tree, range_blocked(n, block, width, x + at, z ? z + at : NULL));
            }
            lanes_sum(&tree, real, y + c0 + j);
        }
}

static void channels(wf_act a, const void *x, double *y)
{
    channels_of(a, x, NULL, y);
}

static void channels_dot(wf_act a, const void *x, const void *z, double *y)
{
    channels_of(a, x, z, y);
}

#define TABLE WF_ISA_FN(WF_CAT(wf_reduce_, WF_ELEMENT))
extern const wf_reduce TABLE;
const wf_reduce TABLE = {
    .name = "reduce:" WF_ISA_NAME ":" WF_ELEMENT_NAME,
    .run = run,
    .columns = columns,
    .channels = channels,
    .channels_dot = channels_dot,
#if !defined(WF_ELEMENT_BF16)
    .extreme = WF_ISA_FN(wf_extreme),
    .arg = wf_arg_f32,
#endif
};
