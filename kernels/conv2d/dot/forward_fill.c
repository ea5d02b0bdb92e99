/* Forward and backward-data over bf16: copies the input into a packed input or panels, Note [Terms] in
 * forward.h. Writes the caller's memory only. */
#include "kernels/conv2d/dot/forward.h"

static const uint16_t zero[L];

/* Writes where a plane of the input has what each tap of n pixels from `first` on meets, DOT_MAX_PIXELS
 * places for each tap; negative: padding. Returns whether none meets padding. */
static bool place(const dot_residue_class *c, int first, int n, int32_t *at)
{
    const int R = c->h->taps, S = c->w->taps;
    int row = first / c->w->outputs, column = first % c->w->outputs;
    int32_t least = 0;
    for (int i = 0; i < n; i++) {
        int32_t *to = at + i;
        for (int r = 0; r < R; r++) {
            const int32_t y = c->row[r * c->h->outputs + row];
            for (int t = 0; t < S; t++, to += DOT_MAX_PIXELS) {
                *to = y + c->column[t * c->w->outputs + column];
                least = *to < least ? *to : least;
            }
        }
        if (++column == c->w->outputs) {
            column = 0;
            row++;
        }
    }
    return least >= 0;
}

void dot_fill_panel(const dot_forward *s, const dot_residue_class *c, const uint16_t *x, int first,
                    int n, int32_t *at, uint16_t *panel)
{
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L;
    const bool inside = place(c, first, n, at);
    for (int v = 0; v < s->input_blocks; v++, x += plane)
        for (int t = 0; t < c->taps; t++, panel += DOT_MAX_PIXELS * L) {
            const int32_t *from = at + t * DOT_MAX_PIXELS;
            if (inside)
                for (int i = 0; i < n; i++)
                    dot_copy(panel + i * L, x + from[i]);
            else
                for (int i = 0; i < n; i++)
                    dot_copy(panel + i * L, from[i] < 0 ? zero : x + from[i]);
        }
}

void dot_fill_row(const dot_forward *s, const dot_residue_class *c, const uint16_t *x, int row,
                  uint16_t *packed)
{
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L;
    const int first = c->column_origin, columns = (int)(c->row_stride / L);
    const int begin = first < 0 ? -first < columns ? -first : columns : 0;
    const int stop = s->in.W - first < columns ? s->in.W - first : columns;
    const bool inside = row >= 0 && row < s->in.H && begin < stop;
    for (int v = 0; v < s->input_blocks; v++, x += plane, packed += c->block_stride) {
        if (!inside) {
            memset(packed, 0, c->row_stride * sizeof *packed);
            continue;
        }
        const uint16_t *from = x + ((ptrdiff_t)row * s->in.W + first + begin) * L;
        memset(packed, 0, (size_t)begin * L * sizeof *packed);
        memcpy(packed + (size_t)begin * L, from, (size_t)(stop - begin) * L * sizeof *packed);
        memset(packed + (size_t)stop * L, 0, (size_t)(columns - stop) * L * sizeof *packed);
    }
}
