/* Backward-weights by tiles: the loops around the products, from a part of a split down to a tap. A worker writes its
 * part of a partial sum and its scratch, Note [Pixels as the inner dimension]; no other worker writes either. */
#include "kernels/conv2d/amx/transpose.h"
#include "kernels/conv2d/amx/weights.h"

typedef struct job {
    const wf_conv2d_desc *d;
    const amx_weights *s;
    const wf_conv2d_gradient_io *io;
    int first; /* image at io */
    amx_rows b;
    int steps;
    bool starts_sums;
    int r0, r1, p0,
        p1; /* the part: two row blocks each, through all groups; two pair blocks each */
    float *partial_sum;
    uint16_t *rows, *cells, *pairs;
    void *patches;
    wf_tiles t;
} job;

/* ---- operands -------------------------------------------------------------------------------- */

static const uint16_t *image(const void *images, size_t stride, int n)
{
    return (const uint16_t *)((const char *)images + (size_t)n * stride);
}

/* Whether the pixel block is whole steps of neighbouring pixels of one image, W to a row. */
static bool contiguous(const job *m, int W)
{
    return m->s->frame.pitch == W && m->b.images == 1 &&
           m->steps * AMX_STEP == m->b.rows * m->s->frame.pitch;
}

/* Cells of a block of ddst, counted through all groups: where they lie, or a copy with zeros. */
static const uint16_t *ddst_cells(const job *m, int block)
{
    const amx_frame *f = &m->s->frame;
    const size_t Q = (size_t)m->d->Q, plane = (size_t)m->d->P * Q * L;
    const size_t at = (size_t)block * plane + (size_t)m->b.row * Q * L;
    if (contiguous(m, m->d->Q))
        return image(m->io->ddst, m->io->ddst_stride, m->first) + at;
    memset(m->cells, 0, (size_t)m->steps * AMX_STEP * L * sizeof *m->cells);
    for (int n = 0; n < m->b.images; n++) {
        const uint16_t *y = image(m->io->ddst, m->io->ddst_stride, m->first + n) + at;
        uint16_t *to = m->cells + (size_t)n * (size_t)(f->image_rows * f->pitch) * L;
        for (int p = 0; p < m->b.rows; p++, y += Q * L, to += (size_t)f->pitch * L)
            memcpy(to, y, Q * L * sizeof *to);
    }
    return m->cells;
}

/* Cells of a block of src, counted through all groups. */
static const uint16_t *src_cells(const job *m, int block)
{
    const amx_weights *s = m->s;
    const size_t plane = (size_t)m->d->H * (size_t)m->d->W * L;
    if (s->patched)
        return m->cells + (size_t)block * s->frame_cells * L;
    const uint16_t *x = image(m->io->src, m->io->src_stride, m->first) + (size_t)block * plane;
    if (s->in_place && contiguous(m, m->d->W))
        return x + (size_t)m->b.row * (size_t)m->d->W * L;
    amx_fill(&s->frame, m->b, x, m->io->src_stride, false, 0, AMX_STEP + 2, m->cells);
    return m->cells;
}

/* The patches of a pixel block, all input blocks. */
static void fill_patches(const job *m)
{
    const amx_weights *s = m->s;
    const size_t block = s->frame_cells * L, outputs = (size_t)amx_outputs(&s->frame, m->b);
    const char *x = (const char *)m->io->src + (size_t)m->first * m->io->src_stride;
    amx_fill_patches(&s->patches, m->b, x, m->io->src_stride, m->io->table, L, block, m->patches,
                     m->cells);
    for (int v = 0; v < s->input_blocks; v++)
        memset(m->cells + (size_t)v * block + outputs * L, 0,
               ((size_t)m->steps * AMX_STEP - outputs) * L * sizeof *m->cells);
}

/* The first row block of two, both counted through all groups; *blocks: how many they are. */
static int block_of(const amx_weights *s, int two, int *blocks)
{
    const int halves = amx_halves(s->row_blocks), group = two / halves, at = two % halves * 2;
    *blocks = s->row_blocks - at < 2 ? s->row_blocks - at : 2;
    return group * s->row_blocks + at;
}

static uint16_t *tiles_of(const job *m, int block)
{
    int blocks;
    const int first = block_of(m->s, m->r0, &blocks);
    return m->rows + (size_t)(block - first) * (size_t)m->s->max_steps * AMX_TILE;
}

static void fill_rows(const job *m)
{
    const amx_weights *s = m->s;
    for (int r = m->r0; r < m->r1; r++) {
        int blocks;
        const int block = block_of(s, r, &blocks);
        for (int j = 0; j < blocks; j++) {
            const uint16_t *from =
                s->swapped ? src_cells(m, block + j) + s->cell[0] * L : ddst_cells(m, block + j);
            uint16_t *to = tiles_of(m, block + j);
            for (int i = 0; i < m->steps; i++, from += AMX_STEP * L, to += AMX_TILE)
                amx_transpose_cells(from, to);
        }
    }
}

/* Writes the pairs of a block, counted through all groups, behind `pairs`: even, odd. */
static void fill_pairs(const job *m, int block, uint16_t *pairs)
{
    const amx_weights *s = m->s;
    const uint16_t *cells = s->swapped ? ddst_cells(m, block) : src_cells(m, block);
    const size_t n = cells == m->cells && !s->swapped && !s->patched ? s->frame_cells
                                                                     : (size_t)m->steps * AMX_STEP;
    for (size_t parity = 0; parity < 2; parity++, pairs += s->pair_cells * L)
        for (size_t i = 0; s->parity[parity] && i < n; i += 2)
            amx_interleave(cells + (i + parity) * L, pairs + i * L);
}

/* ---- products -------------------------------------------------------------------------------- */

/* Multiplies one or two pair blocks of a group, from `pair` on, by the group's rows of the part. */
static void run_pairs(job *m, int group, int pair, int r0, int r1)
{
    const amx_weights *s = m->s;
    const size_t taps = (size_t)s->taps * AMX_SUMS, step = 2 * s->pair_cells * L;
    const int pairs = s->pair_blocks - pair < 2 ? s->pair_blocks - pair : 2;
    for (int j = 0; j < pairs; j++)
        fill_pairs(m, group * s->pair_blocks + pair + j, m->pairs + (size_t)j * step);
    for (int r = r0; r < r1; r++) {
        int rows;
        const int row = block_of(s, r, &rows);
        /* The output block through all groups, and the input block of a group. */
        const int output = s->swapped ? group * s->output_blocks + pair : row;
        const int input = s->swapped ? row - group * s->input_blocks : pair;
        amx_weights_product p = {.rows = {tiles_of(m, row), tiles_of(m, row + rows - 1)},
                                 .steps = m->steps,
                                 .row_step = s->swapped ? taps : s->block_floats,
                                 .pair_step = s->swapped ? s->block_floats : taps,
                                 .starts_sums = m->starts_sums};
        float *sums = m->partial_sum + (size_t)output * s->block_floats + (size_t)input * taps;
        for (int t = 0; t < s->taps; t++) {
            const size_t cell = s->swapped ? 0 : s->cell[t], parity = cell % 2;
            p.pairs[0] = m->pairs + (parity * s->pair_cells + cell - parity) * L;
            p.pairs[1] = p.pairs[0] + (size_t)(pairs - 1) * step;
            p.sums = sums + (size_t)t * AMX_SUMS;
            amx_weights_product_of(&m->t, rows, pairs, &p);
        }
    }
}

static void run_block(job *m)
{
    const amx_weights *s = m->s;
    const int halves = amx_halves(s->row_blocks);
    m->steps = amx_pieces(amx_outputs(&s->frame, m->b), AMX_STEP);
    if (s->patched && s->swapped)
        fill_patches(m);
    fill_rows(m);
    if (s->patched && !s->swapped)
        fill_patches(m);
    for (int r = m->r0, stop; r < m->r1; r = stop) {
        const int group = r / halves;
        stop = (group + 1) * halves < m->r1 ? (group + 1) * halves : m->r1;
        for (int p = m->p0; p < m->p1; p++)
            run_pairs(m, group, 2 * p, r, stop);
    }
}

weft_status amx_weights_run(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io, int n,
                            void *partial_sum, int part, void *scratch)
{
    const amx_weights *s = k->state;
    const wf_conv2d_desc *d = &k->desc;
    const int r = part / s->pair_parts, p = part % s->pair_parts;
    const int64_t rows = (int64_t)d->groups * amx_halves(s->row_blocks);
    const int64_t pairs = amx_halves(s->pair_blocks);
    char *memory = scratch;
    job m = {.d = d,
             .s = s,
             .io = io,
             .starts_sums = true,
             .r0 = (int)(rows * r / s->row_parts),
             .r1 = (int)(rows * (r + 1) / s->row_parts),
             .p0 = (int)(pairs * p / s->pair_parts),
             .p1 = (int)(pairs * (p + 1) / s->pair_parts),
             .partial_sum = partial_sum};
    m.rows = (uint16_t *)memory;
    m.cells = (uint16_t *)(memory += s->rows_bytes);
    m.pairs = (uint16_t *)(memory += s->cells_bytes);
    m.patches = memory + s->pairs_bytes;
    if (s->taps == 0)
        return WEFT_OK;
    wf_tiles_begin(&m.t); /* Note [Tile configuration] */
    for (; m.first < n; m.first += m.b.images) {
        m.b.images = n - m.first < s->frame.images ? n - m.first : s->frame.images;
        for (int i = 0; i < s->blocks_of_image; i++, m.starts_sums = false) {
            const int most = s->frame.block_rows;
            m.b.row = i * most;
            m.b.rows = d->P - m.b.row < most ? d->P - m.b.row : most;
            run_block(&m);
        }
    }
    wf_tiles_end(&m.t);
    return WEFT_OK;
}
