/* Winograd F(4x4, 3x3), forward and backward-data with a large filter: Note [Rows of points]. Reads images and
 * the packed filter, writes the tile's outputs and the worker's scratch.
 *
 * Note [Rows of points]
 * V of enough patches at all 36 points does not fit L2 where there are many channels, and to write it to L3
 * and read it again takes a fifth of the time. So this order takes one row of six points after another:
 *   1. transform the input to the row's six points: V of a row, which stays in L2;
 *   2. for each pair of output blocks: multiply at the six points over all input channels, and transform the
 *      products along the row. Six numbers become four, which wait in L3;
 *   3. after six rows, transform these in the other direction, and store the outputs.
 * The input is read six times, most of them from a cache, and each time only those image rows of a patch that
 * the row of points needs. The packed filter is read once for the patches, in the order in which the kernel
 * wants it; the products prefetch it.
 *
 * V: [block of channels][6 points][patch][WINO_CHANNELS_BLOCK_SIZE].
 * M: [6 points][patch][2 blocks][L]. Halves: [pair of output blocks][6 rows][4 values][patch][2 blocks][L]. */
#include "kernels/conv2d/winograd/forward.h"

/* Transforms the inputs of the patches from *at on, as many as are taken at once of n images, to a row of
 * points. Moves *at behind them and returns how many there are. */
static int transform_row(const wino_forward_plan *p, const wf_conv2d_io *io, int row, int n,
                         wino_rows *at, float *v)
{
    int patches = 0;
    while (at->image < n && patches + p->cut.columns <= p->capacity) {
        const char *x = (const char *)io->in + (size_t)at->image * io->in_stride;
        const wino_rows r = wino_take(&p->cut, *at, p->capacity - patches);
        float *to = v + (size_t)patches * WINO_CHANNELS_BLOCK_SIZE;
        wino_transform_row(p->in_bf16, row, &p->cut, r, x, p->g.H, p->g.W, p->g.padding, p->I, to,
                           p->v_point, p->v_channels_block);
        patches += r.n * p->cut.columns;
        *at = wino_after(&p->cut, r);
    }
    return patches;
}

/* Multiplies a row of points by output blocks [begin, end), pair by pair. */
static void multiply_row(const wino_forward_plan *p, const float *filter, int row, int patches,
                         int begin, int end, const float *v, float *m, float *half)
{
    const size_t halves_of_row = (size_t)row * WINO_OUT * p->half_value;
    for (int b = begin; b < end; b += WINO_PAIR) {
        const int blocks = end - b < WINO_PAIR ? 1 : WINO_PAIR;
        for (int j = 0; j < WINO_IN; j++) {
            const float *u =
                filter + (size_t)b * p->u_block + (size_t)(row * WINO_IN + j) * p->u_point;
            const float *ahead = j + 1 < WINO_IN ? u + p->u_point
                                 : b + WINO_PAIR < end
                                     ? u + WINO_PAIR * p->u_block - (WINO_IN - 1) * p->u_point
                                     : NULL;
            const wino_operands a = {v + (size_t)j * p->v_point,
                                     u,
                                     p->v_channels_block,
                                     p->u_block,
                                     p->I,
                                     false,
                                     {ahead, ahead ? ahead + p->u_block : NULL}};
            wino_multiply(patches, blocks, &a, m + (size_t)j * p->m_point);
        }
        wino_half_output(p, patches, m,
                         half + (size_t)((b - begin) / WINO_PAIR) * p->half_pair + halves_of_row);
    }
}

static size_t v_count(const wino_forward_plan *p)
{
    const int blocks = (p->I + WINO_CHANNELS_BLOCK_SIZE - 1) / WINO_CHANNELS_BLOCK_SIZE;
    return (size_t)blocks * p->v_channels_block;
}

size_t wino_rows_scratch(const wino_forward_plan *p)
{
    const int pairs = (p->group + WINO_PAIR - 1) / WINO_PAIR;
    return v_count(p) + WINO_IN * p->m_point + (size_t)pairs * p->half_pair;
}

void wino_run_by_rows(const wino_forward_plan *p, const wf_conv2d_io *io, int n, int begin, int end,
                      float *scratch)
{
    float *v = scratch, *m = v + v_count(p), *half = m + WINO_IN * p->m_point;
    for (wino_rows at = {0}, next = at; at.image < n; at = next) {
        int patches = 0;
        for (int row = 0; row < WINO_IN; row++) {
            next = at;
            patches = transform_row(p, io, row, n, &next, v);
            multiply_row(p, io->weights, row, patches, begin, end, v, m, half);
        }
        wino_output_blocks(p, io, at, patches, begin, end - begin, half);
    }
}
