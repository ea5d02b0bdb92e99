/* Backward-weights over bf16: the loops around the products, from a part of a slot down to a tap of an input
 * block. A worker writes what no other does: its part of a slot, and its scratch, which holds the panels of
 * Note [Panels of pixel pairs] and where their pixels are. */
#include "kernels/conv2d/dot/weights.h"

enum { LINE = 64 /* bytes */ };

/* What is read later, for products to bring in: rows of blocks of images. */
typedef struct coming {
    const char *at;
    size_t bytes, left; /* of a row, and not brought in yet */
    int n[3], i[3];     /* rows, images, blocks; which of them is next */
    size_t stride[3];
} coming;

/* Some rows of some images of a slot. */
typedef struct part {
    int image, images, row, rows;
} part;

typedef struct chunk {
    const wf_conv2d_desc *d;
    const dot_weights *s;
    const wf_conv2d_gradient_io *io;
    part at;
    bool first;         /* sums start with zero */
    int u0, u1, v0, v1; /* units, through all groups, and input blocks */
    float *partial_sum;
    uint16_t *src, *ddst;     /* panels */
    const uint16_t **pixel;   /* where they are in the first block of an operand; NULL: zero */
    bool flat;                /* they are neighbours, all of them */
    size_t x_plane, dy_plane; /* elements */
    coming next_src, next_ddst;
} chunk;

/* ---- panels ---------------------------------------------------------------------------------- */

/* Pairs [begin, end) of a panel, `step` elements apart, from pixels that lie `shift` elements behind
 * c->pixel. */
static void gather(const chunk *c, size_t shift, int begin, int end, size_t step, uint16_t *panel)
{
    static const uint16_t zero[L];
    const uint16_t *const *at = c->pixel + 2 * begin;
    if (c->flat) {
        const uint16_t *x = at[0] + shift;
        for (int i = begin; i < end; i++, x += 2 * L, panel += step)
            wf_vi_store((int32_t *)panel, dot_neighbours(x));
        return;
    }
    for (int i = begin; i < end; i++, at += 2, panel += step) {
        const uint16_t *a = at[0] ? at[0] + shift : zero, *b = at[1] ? at[1] + shift : zero;
        wf_vi_store((int32_t *)panel, dot_pairs(a, b));
    }
}

static int pixels_of(const chunk *c)
{
    return c->at.rows * c->at.images * c->d->Q;
}

static const uint16_t *image(const void *images, size_t stride, int n)
{
    return (const uint16_t *)((const char *)images + (size_t)n * stride);
}

static void place_ddst(chunk *c)
{
    const uint16_t **to = c->pixel;
    for (int p = c->at.row; p < c->at.row + c->at.rows; p++)
        for (int n = 0; n < c->at.images; n++) {
            const uint16_t *y = image(c->io->ddst, c->io->ddst_stride, c->at.image + n) +
                                (size_t)p * (size_t)c->d->Q * L;
            for (int q = 0; q < c->d->Q; q++, y += L)
                *to++ = y;
        }
    *to = NULL; /* of an odd count */
    c->flat = c->at.images == 1 && pixels_of(c) % 2 == 0;
}

/* The same of src for a tap, whose rows [p0, p1) meet the image. */
static void place_src(chunk *c, int r, int s, int p0, int p1)
{
    const wf_conv2d_desc *d = c->d;
    int q0, q1;
    wf_conv2d_range(d->W, d->Q, d->stride[1], d->padding[1], d->dilation[1], s, &q0, &q1);
    const int w = q0 * d->stride[1] - d->padding[1] + s * d->dilation[1];
    const uint16_t **to = c->pixel;
    for (int p = c->at.row; p < c->at.row + c->at.rows; p++)
        for (int n = 0; n < c->at.images; n++, to += d->Q) {
            memset(to, 0, (size_t)d->Q * sizeof *to);
            if (p < p0 || p >= p1 || q0 >= q1)
                continue;
            const int h = p * d->stride[0] - d->padding[0] + r * d->dilation[0];
            const uint16_t *x = image(c->io->src, c->io->src_stride, c->at.image + n) +
                                ((size_t)h * (size_t)d->W + (size_t)w) * L;
            for (int q = q0; q < q1; q++)
                to[q] = x + (size_t)(q - q0) * (size_t)d->stride[1] * L;
        }
    *to = NULL;
    c->flat = c->at.images == 1 && pixels_of(c) % 2 == 0 && d->W == d->Q && d->stride[0] == 1 &&
              d->stride[1] == 1 && q0 == 0 && q1 == d->Q && c->at.row >= p0 &&
              c->at.row + c->at.rows <= p1;
}

/* Panels of ddst: unit by unit, each with room for s->pairs. */
static int block_of(const dot_weights *s, int unit)
{
    return unit / s->units * s->blocks + dot_weights_unit(s, unit % s->units);
}

static uint16_t *ddst_panel(const chunk *c, int unit)
{
    return c->ddst +
           (size_t)(block_of(c->s, unit) - block_of(c->s, c->u0)) * (size_t)c->s->pairs * 2 * L;
}

static void fill_ddst(chunk *c)
{
    const int pairs = (pixels_of(c) + 1) / 2;
    place_ddst(c);
    for (int u = c->u0; u < c->u1; u++) {
        const int b = block_of(c->s, u), NB = block_of(c->s, u + 1) - b;
        for (int i = 0; i < NB; i++)
            gather(c, (size_t)(b + i) * c->dy_plane, 0, pairs, (size_t)NB * 2 * L,
                   ddst_panel(c, u) + i * 2 * L);
    }
}

/* ---- what is read later ---------------------------------------------------------------------- */

static coming coming_ddst(const chunk *c, part p)
{
    const size_t row = (size_t)c->d->Q * L * sizeof(uint16_t);
    const int block = block_of(c->s, c->u0);
    const uint16_t *y = image(c->io->ddst, c->io->ddst_stride, p.image);
    coming n = {.at = (const char *)(y + (size_t)block * c->dy_plane) + (size_t)p.row * row,
                .bytes = (size_t)p.rows * row,
                .n = {1, p.images, block_of(c->s, c->u1) - block},
                .stride = {0, c->io->ddst_stride, c->dy_plane * sizeof(uint16_t)}};
    n.left = n.bytes;
    return n;
}

/* Input block v, through all groups; of a 1x1 kernel only the rows that it meets. */
static coming coming_src(const chunk *c, part p, int v)
{
    const wf_conv2d_desc *d = c->d;
    const size_t row = (size_t)d->W * L * sizeof(uint16_t);
    int first = p.row * d->stride[0] - d->padding[0];
    int end = first + (p.rows - 1) * d->stride[0] + (d->R - 1) * d->dilation[0] + 1;
    first = first > 0 ? first : 0;
    end = end < d->H ? end : d->H;
    if (first >= end)
        return (coming){.n = {0}};
    const bool apart = d->R == 1 && d->stride[0] > 1;
    const uint16_t *x = image(c->io->src, c->io->src_stride, p.image);
    coming n = {.at = (const char *)(x + (size_t)v * c->x_plane) + (size_t)first * row,
                .bytes = apart ? row : (size_t)(end - first) * row,
                .n = {apart ? (end - first - 1) / d->stride[0] + 1 : 1, p.images, 1},
                .stride = {(size_t)d->stride[0] * row, c->io->src_stride, 0}};
    n.left = n.bytes;
    return n;
}

/* What a product with so many pairs brings in of it; step 0: nothing is left. */
static dot_stretch take(coming *n, int pairs, const void *none)
{
    if (n->i[2] >= n->n[2] || pairs == 0)
        return (dot_stretch){none, 0};
    const char *at = n->at + (n->bytes - n->left);
    for (int i = 0; i < 3; i++)
        at += (size_t)n->i[i] * n->stride[i];
    const size_t most = (size_t)pairs * LINE;
    const dot_stretch taken = {at, n->left < most ? (n->left + (size_t)pairs - 1) / (size_t)pairs
                                                  : LINE};
    n->left = n->left < most ? 0 : n->left - most;
    if (n->left == 0) {
        n->left = n->bytes;
        for (int i = 0; i < 3 && ++n->i[i] == n->n[i] && i < 2; i++)
            n->i[i] = 0;
    }
    return taken;
}

/* ---- products -------------------------------------------------------------------------------- */

/* One tap and input block of a group against its units [u0, u1). */
static void run_panel(chunk *c, int group, int u0, int u1, int v, int tap, int begin, int end)
{
    const dot_weights *s = c->s;
    const size_t taps = (size_t)c->d->R * (size_t)c->d->S, block = dot_partial_sum_block(c->d, s);
    gather(c, (size_t)(group * s->vectors + v) * c->x_plane, begin, end, 2 * L, c->src);
    for (int u = u0; u < u1; u++) {
        const int b = dot_weights_unit(s, u), NB = dot_weights_unit(s, u + 1) - b;
        float *w = c->partial_sum + (size_t)(group * s->blocks + b) * block +
                   ((size_t)v * taps + (size_t)tap) * DOT_SQUARE;
        dot_stretch ahead[2];
        for (int i = 0; i < 2; i++) {
            ahead[i] = take(&c->next_src, end - begin, c->src);
            if (ahead[i].step == 0)
                ahead[i] = take(&c->next_ddst, end - begin, c->src);
        }
        dot_weights_product(NB, c->first, end - begin, c->src,
                            ddst_panel(c, group * s->units + u) + (size_t)begin * NB * 2 * L, w,
                            block, ahead);
    }
}

/* One tap, for all that the part has; `next` is the chunk that comes after this one, or NULL. */
static void run_tap(chunk *c, int tap, int begin, int end, const part *next)
{
    const dot_weights *s = c->s;
    const int units = s->units, last_tap = c->d->R * c->d->S - 1;
    for (int u = c->u0, stop; u < c->u1; u = stop) {
        const int group = u / units, first = group * s->vectors;
        stop = (group + 1) * units < c->u1 ? (group + 1) * units : c->u1;
        for (int v = c->v0; v < c->v1; v++) {
            if (tap == 0 && v + 1 < c->v1)
                c->next_src = coming_src(c, c->at, first + v + 1);
            else if (tap == last_tap && v + 1 == c->v1 && next)
                c->next_src = coming_src(c, *next, c->u0 / units * s->vectors + c->v0);
            run_panel(c, group, u - group * units, stop - group * units, v, tap, begin, end);
        }
    }
}

static void run_chunk(chunk *c, const part *next)
{
    const wf_conv2d_desc *d = c->d;
    const int row_pixels = c->at.images * d->Q, last = c->at.row + c->at.rows;
    fill_ddst(c);
    c->next_ddst = next ? coming_ddst(c, *next) : (coming){.n = {0}};
    for (int r = 0; r < d->R; r++) {
        int p0, p1;
        wf_conv2d_range(d->H, d->P, d->stride[0], d->padding[0], d->dilation[0], r, &p0, &p1);
        const int from = (p0 > c->at.row ? p0 : c->at.row) - c->at.row;
        const int stop = (p1 < last ? p1 : last) - c->at.row;
        const bool meets = from < stop;
        for (int s = 0; s < d->S && (meets || c->first); s++) {
            place_src(c, r, s, p0, p1);
            run_tap(c, r * d->S + s, meets ? from * row_pixels / 2 : 0,
                    meets ? (stop * row_pixels + 1) / 2 : 0, next);
        }
    }
}

static part chunk_at(const chunk *c, int i, int images)
{
    const dot_weights *s = c->s;
    const int image = i / s->row_chunks * s->images, row = i % s->row_chunks * s->rows;
    return (part){image, images - image < s->images ? images - image : s->images, row,
                  c->d->P - row < s->rows ? c->d->P - row : s->rows};
}

/* The sums of a part without chunks. */
static void clear(const chunk *c)
{
    const size_t block = dot_partial_sum_block(c->d, c->s), vector = block / (size_t)c->s->vectors;
    for (int b = block_of(c->s, c->u0); b < block_of(c->s, c->u1); b++)
        memset(c->partial_sum + (size_t)b * block + (size_t)c->v0 * vector, 0,
               (size_t)(c->v1 - c->v0) * vector * sizeof *c->partial_sum);
}

weft_status dot_weights_run(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io, int n,
                            void *partial_sum, int part_index, void *scratch)
{
    const wf_conv2d_desc *d = &k->desc;
    const dot_weights *s = k->state;
    const int v = part_index % s->vector_parts;
    const int u = part_index / s->vector_parts % s->unit_parts;
    const int range = part_index / (s->vector_parts * s->unit_parts);
    const int64_t units = (int64_t)d->groups * s->units, vectors = s->vectors;
    const int64_t chunks = (int64_t)((n + s->images - 1) / s->images) * s->row_chunks;
    char *memory = scratch;
    chunk c = {.d = d,
               .s = s,
               .io = io,
               .first = true,
               .u0 = (int)(units * u / s->unit_parts),
               .u1 = (int)(units * (u + 1) / s->unit_parts),
               .v0 = (int)(vectors * v / s->vector_parts),
               .v1 = (int)(vectors * (v + 1) / s->vector_parts),
               .partial_sum = (float *)partial_sum + (size_t)range * s->range,
               .src = (uint16_t *)memory,
               .ddst = (uint16_t *)(memory + s->src_bytes),
               .pixel = (const uint16_t **)(memory + s->src_bytes + s->ddst_bytes),
               .x_plane = (size_t)d->H * (size_t)d->W * L,
               .dy_plane = (size_t)d->P * (size_t)d->Q * L};
    const int begin = (int)(chunks * range / s->ranges);
    const int end = (int)(chunks * (range + 1) / s->ranges);
    for (int i = begin; i < end; i++, c.first = false) {
        const part next = chunk_at(&c, i + 1 < end ? i + 1 : i, n);
        c.at = chunk_at(&c, i, n);
        run_chunk(&c, i + 1 < end ? &next : NULL);
    }
    if (begin == end)
        clear(&c);
    return WEFT_OK;
}
