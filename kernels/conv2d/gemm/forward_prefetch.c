/* Implicit im2col and matrix product, forward and backward-data: which input lines the products of one
 * region prefetch for the next region. Computes addresses only, and reads no operand. */
#include "kernels/conv2d/gemm/forward.h"

gemm_input_lines gemm_input_lines_of(const gemm_image_part *m, const gemm_residue_class *c,
                                     gemm_region region)
{
    const gemm_geometry *g = m->g;
    const gemm_axis *h = c->h;
    const size_t row = (size_t)g->in.W * L;
    gemm_input_lines s = {.vector_stride = (size_t)g->in.H * row,
                          .vectors_left = region.vector_end - region.vector_begin};
    int first = g->in.H, end = 0;
    for (int r = 0; r < h->taps && region.rows > 0; r++) {
        int from = h->offset[r] + region.row_begin * h->input_step;
        int to = from + (region.rows - 1) * h->input_step + 1;
        first = from < first ? from : first;
        end = to > end ? to : end;
    }
    first = first > 0 ? first : 0;
    end = end < g->in.H ? end : g->in.H;
    if (first >= end) {
        s.vectors_left = 0;
        return s;
    }
    /* One tap with a stride skips rows; else all rows are one run. */
    const bool all = h->taps > 1 || h->input_step == 1;
    s.x = (const float *)m->in.x +
          (size_t)(gemm_channel(g, region.set, region.vector_begin, 0) / L) * s.vector_stride +
          (size_t)first * row;
    s.run_floats = all ? (size_t)(end - first) * row : row;
    s.run_stride = row * (size_t)h->input_step;
    s.runs = all ? 1 : (end - first + h->input_step - 1) / h->input_step;
    return s;
}

const float *gemm_take_lines(gemm_input_lines *s, size_t n, const float *none)
{
    if (s->vectors_left == 0)
        return none;
    const float *x = s->x + (size_t)s->run * s->run_stride + s->at;
    s->at += n * 16;
    if (s->at >= s->run_floats) {
        s->at = 0;
        if (++s->run == s->runs) {
            s->run = 0;
            s->x += s->vector_stride;
            s->vectors_left--;
        }
    }
    return x;
}

int64_t gemm_calls_for(const gemm_input_lines *s, size_t n)
{
    return (int64_t)((s->run_floats / 16 + n - 1) / n) * s->runs * s->vectors_left;
}
