/* Winograd F(4x4, 3x3), forward and backward-data: the products' way back to outputs. Reads products, writes
 * the tile's outputs. */
#include "kernels/conv2d/winograd/forward.h"

/* Transforms the products of a patch back: 36 of them, `point` floats apart. */
WF_INLINE void back_from_points(const float *m, size_t point, wf_vf o[WINO_OUT * WINO_OUT])
{
    wf_vf p[WINO_POINTS], t[WINO_OUT * WINO_IN];
    for (int i = 0; i < WINO_POINTS; i++)
        p[i] = wf_vload(m + (size_t)i * point);
    for (int j = 0; j < WINO_IN; j++)
        wino_output(p + j, t + j, WINO_IN, WINO_IN);
    for (int i = 0; i < WINO_OUT; i++)
        wino_output(t + i * WINO_IN, o + i * WINO_OUT, 1, 1);
}

/* The same from what wino_half_output made of the six rows: 6 x 4 values. */
WF_INLINE void back_from_halves(const float *half, size_t value, wf_vf o[WINO_OUT * WINO_OUT])
{
    wf_vf p[WINO_IN * WINO_OUT];
    for (int i = 0; i < WINO_IN * WINO_OUT; i++)
        p[i] = wf_vload(half + (size_t)i * value);
    for (int j = 0; j < WINO_OUT; j++)
        wino_output(p + j, o + j, WINO_OUT, WINO_OUT);
}

/* Transforms one patch back, adds the bias, and stores the outputs that lie inside the image. y_row: bytes of
 * an image's row. */
WF_INLINE void patch_output(const bool BF16, const bool ROWS, const bool whole, const float *m,
                            size_t point, wf_vf bias, char *y, int rows, int columns, size_t y_row)
{
    wf_vf o[WINO_OUT * WINO_OUT];
    if (ROWS)
        back_from_halves(m, point, o);
    else
        back_from_points(m, point, o);
    for (int i = 0; i < WINO_OUT; i++)
        for (int j = 0; j < WINO_OUT; j++) {
            char *to = y + (size_t)i * y_row + j * WINO_VECTOR(BF16);
            const wf_vf value = wf_vadd(o[i * WINO_OUT + j], bias);
            if (!whole && (i >= rows || j >= columns))
                continue;
            if (BF16)
                wf_vstore_bf16((uint16_t *)to, value);
            else
                wf_vstore((float *)to, value);
        }
}

/* Prefetches the lines that the outputs two patches to the right of y will be stored in. */
WF_INLINE void prefetch_output(const bool BF16, const char *y, size_t y_row)
{
    const char *p = (const char *)((uintptr_t)y + 2 * WINO_OUT * WINO_VECTOR(BF16));
    for (int i = 0; i < WINO_OUT; i++, p += y_row)
        for (ptrdiff_t j = 0; j < WINO_OUT * WINO_VECTOR(BF16); j += 64)
            __builtin_prefetch(p + j, 1);
}

/* Transforms the products of rows r of patches of an image y back; m has those of the first patch. */
WF_INLINE void output_rows(const bool BF16, const bool ROWS, const wino_forward_plan *p,
                           wino_rows r, const float *m, wf_vf bias, char *y)
{
    const size_t point = ROWS ? p->half_value : p->m_point;
    const size_t y_row = (size_t)p->g.Q * WINO_VECTOR(BF16);
    for (int i = 0; i < r.n; i++)
        for (int j = 0; j < p->cut.columns; j++, m += WINO_PAIR * L) {
            int top = (r.first + i) * WINO_OUT, left = j * WINO_OUT;
            char *at = y + (size_t)top * y_row + left * WINO_VECTOR(BF16);
            prefetch_output(BF16, at, y_row);
            if (top + WINO_OUT <= p->g.P && left + WINO_OUT <= p->g.Q)
                patch_output(BF16, ROWS, true, m, point, bias, at, WINO_OUT, WINO_OUT, y_row);
            else
                patch_output(BF16, ROWS, false, m, point, bias, at, p->g.P - top, p->g.Q - left,
                             y_row);
        }
}

WF_INLINE void output_any(const bool ROWS, const wino_forward_plan *p, wino_rows r, const float *m,
                          wf_vf bias, char *y)
{
    if (p->out_bf16)
        output_rows(true, ROWS, p, r, m, bias, y);
    else
        output_rows(false, ROWS, p, r, m, bias, y);
}

void wino_output_blocks(const wino_forward_plan *p, const wf_conv2d_io *io, wino_rows at,
                        int patches, int block, int n, const float *m)
{
    const size_t y_plane =
        (size_t)p->g.P * (size_t)p->g.Q * (p->out_bf16 ? WINO_VECTOR(true) : WINO_VECTOR(false));
    const size_t pair = p->by_rows ? p->half_pair : p->m_pair;
    for (int done = 0; done < patches;
         done += at.n * p->cut.columns, at = wino_after(&p->cut, at)) {
        at = wino_take(&p->cut, at, patches - done);
        char *y = (char *)io->out + (size_t)at.image * io->out_stride;
        for (int b = 0; b < n; b++) {
            int o = (block + b) * L, inside = p->g.O - o < L ? p->g.O - o : L;
            wf_vf add = io->bias ? wf_vload_n((const float *)io->bias + o, inside) : wf_vzero();
            const float *from =
                m + (size_t)(b / WINO_PAIR) * pair + (size_t)(done * WINO_PAIR + b % WINO_PAIR) * L;
            char *to = y + (size_t)(block + b) * y_plane;
            if (p->by_rows)
                output_any(true, p, at, from, add, to);
            else
                output_any(false, p, at, from, add, to);
        }
    }
}

void wino_half_output(const wino_forward_plan *p, int patches, const float *m, float *half)
{
    for (int t = 0; t < patches * WINO_PAIR; t++, m += L, half += L) {
        wf_vf points[WINO_IN], o[WINO_OUT];
        for (int j = 0; j < WINO_IN; j++)
            points[j] = wf_vload(m + (size_t)j * p->m_point);
        wino_output(points, o, 1, 1);
        for (int j = 0; j < WINO_OUT; j++)
            wf_vstore(half + (size_t)j * p->half_value, o[j]);
    }
}
