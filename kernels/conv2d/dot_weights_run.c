/* Backward-weights over bf16: the loops around the products, from a part of a slot down to a tap of an input
 * block. A worker writes what no other does: its part of a slot, and its scratch, which holds the panels of
 * Note [Panels of pixel pairs] and where their pixels are. */
#include "kernels/conv2d/dot_weights.h"

typedef struct chunk {
    const wf_conv2d_desc *d;
    const dot_weights *s;
    const wf_conv2d_gradient_io *io;
    int image, images, row, rows; /* of the slot's */
    bool first;                   /* sums start with zero */
    int u0, u1, v0, v1;           /* units, through all groups, and input blocks */
    float *slot;
    uint16_t *src, *ddst;     /* panels */
    const uint16_t **at;      /* where pixels are in the first block of an operand; NULL: zero */
    size_t x_plane, dy_plane; /* elements */
} chunk;

/* Pairs [begin, end) of a panel, `step` elements apart, from pixels that lie `shift` elements behind c->at. */
static void gather(const chunk *c, size_t shift, int begin, int end, size_t step, uint16_t *panel)
{
    static const uint16_t zero[L];
    const uint16_t *const *at = c->at + 2 * begin;
    for (int i = begin; i < end; i++, at += 2, panel += step) {
        const uint16_t *a = at[0] ? at[0] + shift : zero, *b = at[1] ? at[1] + shift : zero;
        wf_vi_store((int32_t *)panel, dot_pairs(a, b));
    }
}

static int pixels_of(const chunk *c)
{
    return c->rows * c->images * c->d->Q;
}

static void place_ddst(chunk *c)
{
    const uint16_t **at = c->at;
    for (int p = 0; p < c->rows; p++)
        for (int n = 0; n < c->images; n++) {
            const uint16_t *y = (const uint16_t *)((const char *)c->io->ddst +
                                                   (size_t)(c->image + n) * c->io->ddst_stride);
            y += (size_t)(c->row + p) * (size_t)c->d->Q * L;
            for (int q = 0; q < c->d->Q; q++, y += L)
                *at++ = y;
        }
    *at = NULL; /* of an odd count */
}

/* The same of src for a tap, whose rows [p0, p1) and columns [q0, q1) meet the image. */
static void place_src(chunk *c, int r, int s, int p0, int p1)
{
    const wf_conv2d_desc *d = c->d;
    int q0, q1;
    wf_conv2d_range(d->W, d->Q, d->stride[1], d->padding[1], d->dilation[1], s, &q0, &q1);
    const ptrdiff_t step = (ptrdiff_t)d->stride[1] * L;
    const uint16_t **at = c->at;
    for (int p = c->row; p < c->row + c->rows; p++)
        for (int n = 0; n < c->images; n++, at += d->Q) {
            if (p < p0 || p >= p1) {
                memset(at, 0, (size_t)d->Q * sizeof *at);
                continue;
            }
            const int h = p * d->stride[0] - d->padding[0] + r * d->dilation[0];
            const int w = q0 * d->stride[1] - d->padding[1] + s * d->dilation[1];
            const uint16_t *x = (const uint16_t *)((const char *)c->io->src +
                                                   (size_t)(c->image + n) * c->io->src_stride);
            if (q0 < q1)
                x += ((ptrdiff_t)h * d->W + w) * L;
            for (int q = 0; q < d->Q; q++) {
                at[q] = q >= q0 && q < q1 ? x : NULL;
                x += q >= q0 && q + 1 < q1 ? step : 0;
            }
        }
    *at = NULL;
}

/* Panels of ddst: unit by unit, each with room for s->pairs. */
static uint16_t *ddst_panel(const chunk *c, int unit)
{
    const dot_weights *s = c->s;
    const int first = c->u0 / s->units * s->blocks + dot_weights_unit(s, c->u0 % s->units);
    const int block = unit / s->units * s->blocks + dot_weights_unit(s, unit % s->units);
    return c->ddst + (size_t)(block - first) * (size_t)s->pairs * 2 * L;
}

static void fill_ddst(chunk *c)
{
    const dot_weights *s = c->s;
    const int pairs = (pixels_of(c) + 1) / 2;
    place_ddst(c);
    for (int u = c->u0; u < c->u1; u++) {
        const int b = dot_weights_unit(s, u % s->units);
        const int NB = dot_weights_unit(s, u % s->units + 1) - b;
        for (int i = 0; i < NB; i++)
            gather(c, (size_t)(u / s->units * s->blocks + b + i) * c->dy_plane, 0, pairs,
                   (size_t)NB * 2 * L, ddst_panel(c, u) + i * 2 * L);
    }
}

/* One tap against the units [u0, u1) of one group, for all input blocks of the part. */
static void run_tap(chunk *c, int group, int u0, int u1, int tap, int begin, int end)
{
    const dot_weights *s = c->s;
    const size_t taps = (size_t)c->d->R * (size_t)c->d->S, block = dot_slot_block(c->d, s);
    for (int v = c->v0; v < c->v1; v++) {
        gather(c, (size_t)(group * s->vectors + v) * c->x_plane, begin, end, 2 * L, c->src);
        for (int u = u0; u < u1; u++) {
            const int b = dot_weights_unit(s, u), NB = dot_weights_unit(s, u + 1) - b;
            float *w = c->slot + (size_t)(group * s->blocks + b) * block +
                       ((size_t)v * taps + (size_t)tap) * DOT_SQUARE;
            dot_weights_product(NB, c->first, end - begin, c->src,
                                ddst_panel(c, group * s->units + u) + (size_t)begin * NB * 2 * L, w,
                                block);
        }
    }
}

static void run_chunk(chunk *c)
{
    const wf_conv2d_desc *d = c->d;
    const int units = c->s->units, row_pixels = c->images * d->Q;
    fill_ddst(c);
    for (int r = 0; r < d->R; r++) {
        int p0, p1;
        wf_conv2d_range(d->H, d->P, d->stride[0], d->padding[0], d->dilation[0], r, &p0, &p1);
        const int last = c->row + c->rows, first = p0 > c->row ? p0 : c->row;
        const int stop = p1 < last ? p1 : last;
        const bool meets = first < stop;
        const int begin = meets ? (first - c->row) * row_pixels / 2 : 0;
        const int end = meets ? ((stop - c->row) * row_pixels + 1) / 2 : 0;
        for (int s = 0; s < d->S; s++) {
            if (!meets && !c->first)
                continue;
            place_src(c, r, s, p0, p1);
            for (int u = c->u0, stop_unit; u < c->u1; u = stop_unit) {
                const int group = u / units;
                stop_unit = (group + 1) * units < c->u1 ? (group + 1) * units : c->u1;
                run_tap(c, group, u - group * units, stop_unit - group * units, r * d->S + s, begin,
                        end);
            }
        }
    }
}

weft_status dot_weights_run(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io, int n,
                            void *slot, int part, void *scratch)
{
    const wf_conv2d_desc *d = &k->desc;
    const dot_weights *s = k->state;
    const int64_t v = part % s->vector_parts, u = part / s->vector_parts;
    const int64_t units = (int64_t)d->groups * s->units;
    char *memory = scratch;
    chunk c = {.d = d,
               .s = s,
               .io = io,
               .first = true,
               .u0 = (int)(units * u / s->unit_parts),
               .u1 = (int)(units * (u + 1) / s->unit_parts),
               .v0 = (int)(s->vectors * v / s->vector_parts),
               .v1 = (int)(s->vectors * (v + 1) / s->vector_parts),
               .slot = slot,
               .src = (uint16_t *)memory,
               .ddst = (uint16_t *)(memory + s->src_bytes),
               .at = (const uint16_t **)(memory + s->src_bytes + s->ddst_bytes),
               .x_plane = (size_t)d->H * (size_t)d->W * L,
               .dy_plane = (size_t)d->P * (size_t)d->Q * L};
    for (c.image = 0; c.image < n; c.image += s->images)
        for (c.row = 0; c.row < d->P; c.row += s->rows) {
            c.images = n - c.image < s->images ? n - c.image : s->images;
            c.rows = d->P - c.row < s->rows ? d->P - c.row : s->rows;
            run_chunk(&c);
            c.first = false;
        }
    return WEFT_OK;
}
