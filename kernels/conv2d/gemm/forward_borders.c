/* Implicit im2col and matrix product, forward and backward-data: which products with padding are left out,
 * Note [Borders]. Pure functions. */
#include "kernels/conv2d/gemm/forward.h"

/* What the product leaves out of pixels [first, first + n) of a row, through tap s. */
static gemm_border border_of(const gemm_axis *w, int s, int first, int n)
{
    int before = 0, after = 0;
    for (int i = 0; i < 2 && i < n; i++) {
        before += w->offset[s] + (first + i) * w->input_step < 0;
        after += w->offset[s] + (first + n - 1 - i) * w->input_step >= w->inputs;
    }
    return before && after ? GEMM_NO_BORDER
           : before        ? before > 1 ? GEMM_FIRST_TWO : GEMM_FIRST
           : after         ? after > 1 ? GEMM_LAST_TWO : GEMM_LAST
                           : GEMM_NO_BORDER;
}

bool gemm_find_borders(const gemm_axis *w, int first, int n, gemm_border border[GEMM_MAX_BORDERS])
{
    bool any = false;
    if (w->taps > GEMM_MAX_BORDERS)
        return false;
    for (int s = 0; s < w->taps; s++) {
        border[s] = border_of(w, s, first, n);
        any |= border[s] != GEMM_NO_BORDER;
    }
    return any;
}

gemm_row_run gemm_rows_at(const gemm_residue_class *c, gemm_region region, int vectors, int i)
{
    gemm_row_run run = {.rows = 1};
    if (c->contiguous && c->w->outputs * vectors < GEMM_MIN_SUMS)
        return (gemm_row_run){region.rows - i, 0, c->h->taps};
    gemm_taps_met(c->h, region.row_begin + i, &run.taps_begin, &run.taps_end);
    for (; c->contiguous && i + run.rows < region.rows; run.rows++) {
        int begin, end;
        gemm_taps_met(c->h, region.row_begin + i + run.rows, &begin, &end);
        if (begin != run.taps_begin || end != run.taps_end)
            break;
    }
    return run;
}

void gemm_take_taps(gemm_product *p, const gemm_residue_class *c, gemm_region region, int begin,
                    int end)
{
    const size_t columns = (size_t)c->w->taps;
    p->run_begin = (size_t)begin * columns;
    p->run = (size_t)(end - begin) * columns;
    p->period = gemm_class_taps(c);
    p->terms = (size_t)(region.vector_end - region.vector_begin) * p->run;
}
