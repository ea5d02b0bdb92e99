/* Forward and backward-data over bf16: frames and panels, Note [Terms] in forward.h. Writes what it is
 * given. */
#include "kernels/conv2d/dot/forward.h"

static const uint16_t zero[L];

/* Where each tap of n pixels from `first` on is in the input's plane, DOT_N for a tap; negative: nowhere.
 * Returns whether all are somewhere. */
static bool place(const dot_phase *f, int first, int n, int32_t *at)
{
    const int R = f->h->taps, S = f->w->taps;
    int row = first / f->w->n, column = first % f->w->n;
    int32_t least = 0;
    for (int i = 0; i < n; i++) {
        int32_t *to = at + i;
        for (int r = 0; r < R; r++) {
            const int32_t y = f->row[r * f->h->n + row];
            for (int t = 0; t < S; t++, to += DOT_N) {
                *to = y + f->column[t * f->w->n + column];
                least = *to < least ? *to : least;
            }
        }
        if (++column == f->w->n) {
            column = 0;
            row++;
        }
    }
    return least >= 0;
}

void dot_fill_panel(const dot_forward *s, const dot_phase *f, const uint16_t *x, int first, int n,
                    int32_t *at, uint16_t *panel)
{
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L;
    const bool inside = place(f, first, n, at);
    for (int v = 0; v < s->vectors; v++, x += plane)
        for (int t = 0; t < f->taps; t++, panel += DOT_N * L) {
            const int32_t *from = at + t * DOT_N;
            if (inside)
                for (int i = 0; i < n; i++)
                    dot_copy(panel + i * L, x + from[i]);
            else
                for (int i = 0; i < n; i++)
                    dot_copy(panel + i * L, from[i] < 0 ? zero : x + from[i]);
        }
}

void dot_fill_row(const dot_forward *s, const dot_phase *f, const uint16_t *x, int row,
                  uint16_t *frame)
{
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L;
    const int first = f->first_column, columns = (int)(f->pitch / L);
    const int begin = first < 0 ? -first < columns ? -first : columns : 0;
    const int stop = s->in.W - first < columns ? s->in.W - first : columns;
    const bool inside = row >= 0 && row < s->in.H && begin < stop;
    for (int v = 0; v < s->vectors; v++, x += plane, frame += f->vector) {
        if (!inside) {
            memset(frame, 0, f->pitch * sizeof *frame);
            continue;
        }
        const uint16_t *from = x + ((ptrdiff_t)row * s->in.W + first + begin) * L;
        memset(frame, 0, (size_t)begin * L * sizeof *frame);
        memcpy(frame + (size_t)begin * L, from, (size_t)(stop - begin) * L * sizeof *frame);
        memset(frame + (size_t)stop * L, 0, (size_t)(columns - stop) * L * sizeof *frame);
    }
}
