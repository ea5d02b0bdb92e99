/* Implicit im2col and matrix product, forward and backward-data: which lines of the input the products of a
 * part bring in for the next one. Reads no operand itself. */
#include "kernels/conv2d/gemm/forward.h"

gemm_source gemm_source_of(const gemm_image *m, const gemm_phase *f, gemm_part part)
{
    const gemm_plan *p = m->p;
    const gemm_axis *h = f->h;
    const size_t row = (size_t)p->in.W * L;
    gemm_source s = {.plane = (size_t)p->in.H * row, .left = part.v1 - part.v0};
    int first = p->in.H, end = 0;
    for (int r = 0; r < h->taps && part.rows > 0; r++) {
        int from = h->offset[r] + part.first_row * h->in_step;
        int to = from + (part.rows - 1) * h->in_step + 1;
        first = from < first ? from : first;
        end = to > end ? to : end;
    }
    first = first > 0 ? first : 0;
    end = end < p->in.H ? end : p->in.H;
    if (first >= end) {
        s.left = 0;
        return s;
    }
    const bool all = h->taps > 1 || h->in_step == 1; /* rows */
    s.x = (const float *)m->in.x + (size_t)(gemm_channel(p, part.set, part.v0, 0) / L) * s.plane +
          (size_t)first * row;
    s.run = all ? (size_t)(end - first) * row : row;
    s.step = row * (size_t)h->in_step;
    s.rows = all ? 1 : (end - first + h->in_step - 1) / h->in_step;
    return s;
}

const float *gemm_lines_after(gemm_source *s, size_t n, const float *none)
{
    if (s->left == 0)
        return none;
    const float *x = s->x + (size_t)s->row * s->step + s->at;
    s->at += n * 16;
    if (s->at >= s->run) {
        s->at = 0;
        if (++s->row == s->rows) {
            s->row = 0;
            s->x += s->plane;
            s->left--;
        }
    }
    return x;
}

int64_t gemm_calls_for(const gemm_source *s, size_t n)
{
    return (int64_t)((s->run / 16 + n - 1) / n) * s->rows * s->left;
}
