/* Fills frames: Note [Frames] in amx.h. Writes the caller's memory only. */
#include "kernels/conv2d/amx/amx.h"

/* What is copied: cells of one channel block, or of two, the second of which may be zero. */
typedef struct source {
    const uint16_t *x;
    size_t stride; /* bytes from image to image */
    bool both;
    size_t second; /* elements from block to block; 0: there is none */
} source;

static size_t cell_of(const source *s)
{
    return s->both ? 2 * L : L;
}

static void put_zeros(const source *s, int n, uint16_t *to)
{
    memset(to, 0, (size_t)n * cell_of(s) * sizeof *to);
}

/* A cell of two channel blocks. */
WF_INLINE void put_both(const uint16_t *first, const uint16_t *second, uint16_t *to)
{
#if defined(WF_SIMD_DOT)
    const __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)first));
    const __m256i high = _mm256_loadu_si256((const __m256i *)second);
    _mm512_storeu_si512(to, _mm512_inserti64x4(low, high, 1));
#else
    memcpy(to, first, L * sizeof *to);
    memcpy(to + L, second, L * sizeof *to);
#endif
}

/* Copies n pixels from `from` on, `step` pixels apart. */
static void put_pixels(const source *s, const uint16_t *from, int step, int n, uint16_t *to)
{
    const size_t next = (size_t)step * L;
    if (!s->both && step == 1) {
        memcpy(to, from, (size_t)n * L * sizeof *to);
    } else if (!s->both) {
        for (int i = 0; i < n; i++, from += next, to += L)
            memcpy(to, from, L * sizeof *to);
    } else if (s->second == 0) {
        for (int i = 0; i < n; i++, from += next, to += 2 * L) {
            memcpy(to, from, L * sizeof *to);
            memset(to + L, 0, L * sizeof *to);
        }
    } else {
        const uint16_t *other = from + s->second;
        for (int i = 0; i < n; i++, from += next, other += next, to += 2 * L)
            put_both(from, other, to);
    }
}

/* The rows, or columns, of phase j that lie in the image, from the extent's first on. */
static int present(const amx_axis *a, const amx_extent *e, int j)
{
    const int rows =
        a->inputs > a->remainder[j] ? (a->inputs - a->remainder[j] - 1) / a->step + 1 : 0;
    const int n = rows - e->first;
    return n < 0 ? 0 : n < e->count ? n : e->count;
}

/* Fills the plane of row phase i and column phase j. */
static void fill_plane(const amx_frame *f, amx_rows b, const source *s, int i, int j, int zeros,
                       uint16_t *to)
{
    const amx_axis *h = f->h, *w = f->w;
    const int rows = f->whole ? b.images * f->image_rows + f->rows.lead : b.rows + f->rows.span;
    const int has_rows = present(h, &f->rows, i), n = present(w, &f->columns, j);
    const size_t W = (size_t)f->in.W, cell = cell_of(s);
    const size_t column = (size_t)(f->columns.first * w->step + w->remainder[j]);
    for (int r = 0; r < rows; r++, to += (size_t)f->pitch * cell) {
        const int image = f->whole ? r / f->image_rows : 0;
        const int at = b.row + f->origin + (f->whole ? r % f->image_rows : r) - f->rows.first;
        if (at < 0 || at >= has_rows) { /* behind the last image, too */
            put_zeros(s, f->pitch, to);
            continue;
        }
        const size_t row = (size_t)((at + f->rows.first) * h->step + h->remainder[i]);
        const uint16_t *from = (const uint16_t *)((const char *)s->x + (size_t)image * s->stride) +
                               (row * W + column) * L;
        const int lead = f->columns.lead;
        put_zeros(s, lead, to);
        put_pixels(s, from, w->step, n, to + (size_t)lead * cell);
        put_zeros(s, f->pitch - lead - n, to + (size_t)(lead + n) * cell);
    }
    put_zeros(s, f->columns.lead + zeros, to);
}

void amx_fill(const amx_frame *f, amx_rows b, const uint16_t *x, size_t stride, bool both,
              size_t second, int zeros, uint16_t *frame)
{
    const source s = {x, stride, both, second};
    for (int i = 0; i < f->h->phases; i++)
        for (int j = 0; j < f->w->phases; j++)
            fill_plane(f, b, &s, i, j, zeros,
                       frame + (size_t)(i * f->w->phases + j) * f->plane_cells * cell_of(&s));
}

/* ---- patches --------------------------------------------------------------------------------- */

enum { SHORT = 8 /* numbers of a row of a patch that one load brings */ };

void amx_plan_patches(amx_patches *p, const wf_conv2d_desc *d)
{
    const int pixels = (d->Q - 1) * d->stride[1] + (d->S - 1) * d->dilation[1] + 1;
    *p = (amx_patches){.d = d,
                       .numbers = d->C * d->R * d->S,
                       .row_pixels = pixels,
                       .row_numbers = (size_t)(pixels + 2 * L)};
}

static size_t converted_rows(const wf_conv2d_desc *d, int rows)
{
    return (size_t)((rows - 1) * d->stride[0] + (d->R - 1) * d->dilation[0] + 1);
}

size_t amx_patch_scratch(const amx_patches *p, int rows)
{
    const size_t converted = (size_t)p->d->C * converted_rows(p->d, rows) * p->row_numbers;
    return amx_aligned((converted + (size_t)p->numbers + 2 * AMX_STEP) * sizeof(uint16_t));
}

/* Rounds n pixels of a channel to bf16. */
static void convert(const wf_conv2d_desc *d, const void *x, size_t at, int n, const float *table,
                    uint16_t *to)
{
    if (d->src_type == WEFT_U8) {
        const uint8_t *bytes = (const uint8_t *)x + at;
        for (int i = 0; i < n; i++)
            to[i] = wf_to_bf16(table[bytes[i]]);
        return;
    }
    const float *from = (const float *)x + at;
    int i = 0;
    for (; i + L <= n; i += L)
        wf_vstore_bf16(to + i, wf_vload(from + i));
    wf_vstore_bf16_n(to + i, wf_vload_n(from + i, n - i), n - i);
}

/* Converts what the outputs of rows [row, row + rows) read of an image: [C][row][row_numbers]. */
static void convert_rows(const amx_patches *p, const void *x, const float *table, int row, int rows,
                         uint16_t *to)
{
    const wf_conv2d_desc *d = p->d;
    const int first = row * d->stride[0] - d->padding[0], n = (int)converted_rows(d, rows);
    const int left = d->padding[1] < p->row_pixels ? d->padding[1] : p->row_pixels;
    const int room = p->row_pixels - left, inside = room < d->W ? room : d->W;
    for (int c = 0; c < d->C; c++)
        for (int i = 0; i < n; i++, to += p->row_numbers) {
            const int h = first + i;
            memset(to, 0, p->row_numbers * sizeof *to);
            if (h >= 0 && h < d->H)
                convert(d, x, ((size_t)c * (size_t)d->H + (size_t)h) * (size_t)d->W, inside,
                        table ? table + (size_t)c * WF_BYTE_VALUES : NULL, to + left);
        }
}

/* Gathers one patch from the converted rows that it begins with; `channel`: from channel to channel. */
static void gather(const amx_patches *p, const uint16_t *from, size_t channel, uint16_t *patch)
{
    const wf_conv2d_desc *d = p->d;
    const size_t row = (size_t)d->dilation[0] * p->row_numbers;
    const int S = d->S;
    for (int c = 0; c < d->C; c++)
        for (int r = 0; r < d->R; r++, patch += S) {
            const uint16_t *at = from + (size_t)c * channel + (size_t)r * row;
            if (d->dilation[1] == 1 &&
                S <= SHORT) /* what it writes too much, the next row replaces */
                memcpy(patch, at, SHORT * sizeof *patch);
            else
                for (int s = 0; s < S; s++)
                    patch[s] = at[s * d->dilation[1]];
        }
    memset(patch, 0, AMX_STEP * sizeof *patch);
}

void amx_fill_patches(const amx_patches *p, amx_rows b, const void *x, size_t stride,
                      const float *table, int width, size_t block, void *scratch, uint16_t *frame)
{
    const wf_conv2d_desc *d = p->d;
    const size_t channel = converted_rows(d, b.rows) * p->row_numbers;
    uint16_t *rows = scratch, *patch = rows + (size_t)d->C * channel;
    for (int i = 0; i < b.images; i++) {
        convert_rows(p, (const char *)x + (size_t)i * stride, table, b.row, b.rows, rows);
        for (int r = 0; r < b.rows; r++)
            for (int q = 0; q < d->Q; q++, frame += width) {
                gather(p,
                       rows + (size_t)(r * d->stride[0]) * p->row_numbers +
                           (size_t)(q * d->stride[1]),
                       channel, patch);
                for (int k = 0; k < p->numbers; k += width)
                    memcpy(frame + (size_t)(k / width) * block, patch + k,
                           (size_t)width * sizeof *frame);
            }
    }
}
