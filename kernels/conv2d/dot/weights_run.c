/* Backward-weights over bf16: the loops around the products, from a part of a split down to a tap of an
 * input block. A worker writes its part of a partial sum and its scratch, which holds the panels of Note
 * [Panels of pixel pairs] and pointers to their pixels; no other worker writes either. */
#include "kernels/conv2d/dot/weights.h"

enum { LINE = 64 /* bytes */ };

/* Rows that the kernel reads later, and that its products prefetch: by row, image, channel block. */
typedef struct upcoming {
    const char *at;
    size_t bytes, left; /* of a row; and of the present row those that are not prefetched yet */
    int n[3], i[3];     /* rows, images, channel blocks: all, and the present one */
    size_t stride[3];
} upcoming;

/* Some rows of some images of a split. */
typedef struct pixel_rows {
    int image, images, row, rows;
} pixel_rows;

typedef struct pixel_block {
    const wf_conv2d_desc *d;
    const dot_weights *s;
    const wf_conv2d_gradient_io *io;
    pixel_rows at;
    bool starts_sums;   /* with zero, not with what is there */
    int u0, u1, v0, v1; /* the part: output subblocks, counted through all groups; input blocks */
    float *partial_sum;
    uint16_t *src, *ddst; /* panels */
    const uint16_t *
        *pixel;      /* where an operand's first channel block has each pixel; NULL: padding */
    bool contiguous; /* each is the neighbour of the one before */
    size_t src_plane, ddst_plane; /* elements */
    upcoming next_src, next_ddst;
} pixel_block;

/* ---- panels ---------------------------------------------------------------------------------- */

/* Fills pairs [begin, end) of a panel, `step` elements apart, from the pixels `shift` elements behind
 * c->pixel. */
static void gather(const pixel_block *c, size_t shift, int begin, int end, size_t step,
                   uint16_t *panel)
{
    static const uint16_t zero[L];
    const uint16_t *const *at = c->pixel + 2 * begin;
    if (c->contiguous) {
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

static int pixels_of(const pixel_block *c)
{
    return c->at.rows * c->at.images * c->d->Q;
}

static const uint16_t *image(const void *images, size_t stride, int n)
{
    return (const uint16_t *)((const char *)images + (size_t)n * stride);
}

/* Writes where ddst has the pixels of the block. */
static void place_ddst(pixel_block *c)
{
    const uint16_t **to = c->pixel;
    for (int p = c->at.row; p < c->at.row + c->at.rows; p++)
        for (int n = 0; n < c->at.images; n++) {
            const uint16_t *y = image(c->io->ddst, c->io->ddst_stride, c->at.image + n) +
                                (size_t)p * (size_t)c->d->Q * L;
            for (int q = 0; q < c->d->Q; q++, y += L)
                *to++ = y;
        }
    *to = NULL; /* completes the last pair of an odd count */
    c->contiguous = c->at.images == 1 && pixels_of(c) % 2 == 0;
}

/* Writes where src has the pixels that tap (r, s) meets; output rows [p0, p1) meet the image. */
static void place_src(pixel_block *c, int r, int s, int p0, int p1)
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
    c->contiguous = c->at.images == 1 && pixels_of(c) % 2 == 0 && d->W == d->Q &&
                    d->stride[0] == 1 && d->stride[1] == 1 && q0 == 0 && q1 == d->Q &&
                    c->at.row >= p0 && c->at.row + c->at.rows <= p1;
}

/* The first output block of an output subblock, both counted through all groups. */
static int block_of(const dot_weights *s, int subblock)
{
    return subblock / s->output_subblocks * s->output_blocks +
           dot_weights_subblock_begin(s, subblock % s->output_subblocks);
}

/* The panel of ddst of an output subblock. */
static uint16_t *ddst_panel(const pixel_block *c, int subblock)
{
    return c->ddst + (size_t)(block_of(c->s, subblock) - block_of(c->s, c->u0)) *
                         (size_t)c->s->max_pairs * 2 * L;
}

static void fill_ddst(pixel_block *c)
{
    const int pairs = (pixels_of(c) + 1) / 2;
    place_ddst(c);
    for (int u = c->u0; u < c->u1; u++) {
        const int b = block_of(c->s, u), blocks = block_of(c->s, u + 1) - b;
        for (int i = 0; i < blocks; i++)
            gather(c, (size_t)(b + i) * c->ddst_plane, 0, pairs, (size_t)blocks * 2 * L,
                   ddst_panel(c, u) + i * 2 * L);
    }
}

/* ---- what the products prefetch -------------------------------------------------------------- */

static upcoming upcoming_ddst(const pixel_block *c, pixel_rows p)
{
    const size_t row = (size_t)c->d->Q * L * sizeof(uint16_t);
    const int block = block_of(c->s, c->u0);
    const uint16_t *y = image(c->io->ddst, c->io->ddst_stride, p.image);
    upcoming n = {.at = (const char *)(y + (size_t)block * c->ddst_plane) + (size_t)p.row * row,
                  .bytes = (size_t)p.rows * row,
                  .n = {1, p.images, block_of(c->s, c->u1) - block},
                  .stride = {0, c->io->ddst_stride, c->ddst_plane * sizeof(uint16_t)}};
    n.left = n.bytes;
    return n;
}

/* The rows of input block v, counted through all groups. A filter of one row skips rows with a stride. */
static upcoming upcoming_src(const pixel_block *c, pixel_rows p, int v)
{
    const wf_conv2d_desc *d = c->d;
    const size_t row = (size_t)d->W * L * sizeof(uint16_t);
    int first = p.row * d->stride[0] - d->padding[0];
    int end = first + (p.rows - 1) * d->stride[0] + (d->R - 1) * d->dilation[0] + 1;
    first = first > 0 ? first : 0;
    end = end < d->H ? end : d->H;
    if (first >= end)
        return (upcoming){.n = {0}};
    const bool apart = d->R == 1 && d->stride[0] > 1;
    const uint16_t *x = image(c->io->src, c->io->src_stride, p.image);
    upcoming n = {.at = (const char *)(x + (size_t)v * c->src_plane) + (size_t)first * row,
                  .bytes = apart ? row : (size_t)(end - first) * row,
                  .n = {apart ? (end - first - 1) / d->stride[0] + 1 : 1, p.images, 1},
                  .stride = {(size_t)d->stride[0] * row, c->io->src_stride, 0}};
    n.left = n.bytes;
    return n;
}

/* Takes the share of a product with so many pairs. Step 0: nothing is left, and it gets `none`. */
static dot_prefetch_lines take(upcoming *n, int pairs, const void *none)
{
    if (n->i[2] >= n->n[2] || pairs == 0)
        return (dot_prefetch_lines){none, 0};
    const char *at = n->at + (n->bytes - n->left);
    for (int i = 0; i < 3; i++)
        at += (size_t)n->i[i] * n->stride[i];
    const size_t most = (size_t)pairs * LINE;
    const dot_prefetch_lines taken = {
        at, n->left < most ? (n->left + (size_t)pairs - 1) / (size_t)pairs : LINE};
    n->left = n->left < most ? 0 : n->left - most;
    if (n->left == 0) {
        n->left = n->bytes;
        for (int i = 0; i < 3 && ++n->i[i] == n->n[i] && i < 2; i++)
            n->i[i] = 0;
    }
    return taken;
}

/* ---- products -------------------------------------------------------------------------------- */

/* Multiplies the panel of one tap and input block of a group by the group's output subblocks [u0, u1). */
static void run_panel(pixel_block *c, int group, int u0, int u1, int v, int tap, int begin, int end)
{
    const dot_weights *s = c->s;
    const size_t taps = (size_t)c->d->R * (size_t)c->d->S, block = dot_sum_block_floats(c->d, s);
    gather(c, (size_t)(group * s->input_blocks + v) * c->src_plane, begin, end, 2 * L, c->src);
    for (int u = u0; u < u1; u++) {
        const int b = dot_weights_subblock_begin(s, u),
                  blocks = dot_weights_subblock_begin(s, u + 1) - b;
        float *w = c->partial_sum + (size_t)(group * s->output_blocks + b) * block +
                   ((size_t)v * taps + (size_t)tap) * DOT_SQUARE;
        dot_prefetch_lines prefetch[2];
        for (int i = 0; i < 2; i++) {
            prefetch[i] = take(&c->next_src, end - begin, c->src);
            if (prefetch[i].step == 0)
                prefetch[i] = take(&c->next_ddst, end - begin, c->src);
        }
        dot_weights_product(blocks, c->starts_sums, end - begin, c->src,
                            ddst_panel(c, group * s->output_subblocks + u) +
                                (size_t)begin * blocks * 2 * L,
                            w, block, prefetch);
    }
}

/* Runs one tap for all channels of the part; `next` is the pixel block after this one, or NULL. */
static void run_tap(pixel_block *c, int tap, int begin, int end, const pixel_rows *next)
{
    const dot_weights *s = c->s;
    const int subblocks = s->output_subblocks, last_tap = c->d->R * c->d->S - 1;
    for (int u = c->u0, stop; u < c->u1; u = stop) {
        const int group = u / subblocks, first = group * s->input_blocks;
        stop = (group + 1) * subblocks < c->u1 ? (group + 1) * subblocks : c->u1;
        for (int v = c->v0; v < c->v1; v++) {
            if (tap == 0 && v + 1 < c->v1)
                c->next_src = upcoming_src(c, c->at, first + v + 1);
            else if (tap == last_tap && v + 1 == c->v1 && next)
                c->next_src = upcoming_src(c, *next, c->u0 / subblocks * s->input_blocks + c->v0);
            run_panel(c, group, u - group * subblocks, stop - group * subblocks, v, tap, begin,
                      end);
        }
    }
}

static void run_block(pixel_block *c, const pixel_rows *next)
{
    const wf_conv2d_desc *d = c->d;
    const int row_pixels = c->at.images * d->Q, last = c->at.row + c->at.rows;
    fill_ddst(c);
    c->next_ddst = next ? upcoming_ddst(c, *next) : (upcoming){.n = {0}};
    for (int r = 0; r < d->R; r++) {
        int p0, p1;
        wf_conv2d_range(d->H, d->P, d->stride[0], d->padding[0], d->dilation[0], r, &p0, &p1);
        const int from = (p0 > c->at.row ? p0 : c->at.row) - c->at.row;
        const int stop = (p1 < last ? p1 : last) - c->at.row;
        const bool meets = from < stop;
        for (int s = 0; s < d->S && (meets || c->starts_sums); s++) {
            place_src(c, r, s, p0, p1);
            run_tap(c, r * d->S + s, meets ? from * row_pixels / 2 : 0,
                    meets ? (stop * row_pixels + 1) / 2 : 0, next);
        }
    }
}

static pixel_rows rows_at(const pixel_block *c, int i, int images)
{
    const dot_weights *s = c->s;
    const int image = i / s->blocks_of_image * s->images_block_size,
              row = i % s->blocks_of_image * s->rows_block_size;
    return (pixel_rows){
        image, images - image < s->images_block_size ? images - image : s->images_block_size, row,
        c->d->P - row < s->rows_block_size ? c->d->P - row : s->rows_block_size};
}

/* Sets the partial sum of a part without pixels to zero. */
static void clear(const pixel_block *c)
{
    const size_t block = dot_sum_block_floats(c->d, c->s),
                 vector = block / (size_t)c->s->input_blocks;
    for (int b = block_of(c->s, c->u0); b < block_of(c->s, c->u1); b++)
        memset(c->partial_sum + (size_t)b * block + (size_t)c->v0 * vector, 0,
               (size_t)(c->v1 - c->v0) * vector * sizeof *c->partial_sum);
}

weft_status dot_weights_run(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io, int n,
                            void *partial_sum, int part, void *scratch)
{
    const wf_conv2d_desc *d = &k->desc;
    const dot_weights *s = k->state;
    const int v = part % s->input_parts;
    const int u = part / s->input_parts % s->output_parts;
    const int subsplit = part / (s->input_parts * s->output_parts);
    const int64_t subblocks = (int64_t)d->groups * s->output_subblocks, vectors = s->input_blocks;
    const int64_t blocks =
        (int64_t)((n + s->images_block_size - 1) / s->images_block_size) * s->blocks_of_image;
    char *memory = scratch;
    pixel_block c = {.d = d,
                     .s = s,
                     .io = io,
                     .starts_sums = true,
                     .u0 = (int)(subblocks * u / s->output_parts),
                     .u1 = (int)(subblocks * (u + 1) / s->output_parts),
                     .v0 = (int)(vectors * v / s->input_parts),
                     .v1 = (int)(vectors * (v + 1) / s->input_parts),
                     .partial_sum = (float *)partial_sum + (size_t)subsplit * s->sum_floats,
                     .src = (uint16_t *)memory,
                     .ddst = (uint16_t *)(memory + s->src_bytes),
                     .pixel = (const uint16_t **)(memory + s->src_bytes + s->ddst_bytes),
                     .src_plane = (size_t)d->H * (size_t)d->W * L,
                     .ddst_plane = (size_t)d->P * (size_t)d->Q * L};
    const int begin = (int)(blocks * subsplit / s->subsplits);
    const int end = (int)(blocks * (subsplit + 1) / s->subsplits);
    for (int i = begin; i < end; i++, c.starts_sums = false) {
        const pixel_rows next = rows_at(&c, i + 1 < end ? i + 1 : i, n);
        c.at = rows_at(&c, i, n);
        run_block(&c, i + 1 < end ? &next : NULL);
    }
    if (begin == end)
        clear(&c);
    return WEFT_OK;
}
