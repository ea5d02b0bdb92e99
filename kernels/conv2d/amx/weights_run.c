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
    int o0, o1, v0, v1; /* pairs of output blocks, through all groups; of input blocks */
    float *partial_sum;
    uint16_t *ddst, *cells, *pairs;
    void *patches;
    wf_tiles t;
} job;

static const uint16_t *image(const void *images, size_t stride, int n)
{
    return (const uint16_t *)((const char *)images + (size_t)n * stride);
}

/* The first output block of a pair of them, both counted through all groups; *blocks: how many it has. */
static int block_of(const amx_weights *s, int pair, int *blocks)
{
    const int pairs = amx_pairs(s->output_blocks), group = pair / pairs, at = pair % pairs * 2;
    *blocks = s->output_blocks - at < 2 ? s->output_blocks - at : 2;
    return group * s->output_blocks + at;
}

static uint16_t *ddst_tiles(const job *m, int block)
{
    int blocks;
    return m->ddst +
           (size_t)(block - block_of(m->s, m->o0, &blocks)) * (size_t)m->s->max_steps * AMX_TILE;
}

/* Cells of 16 outputs of the pixel block: where they lie, if they are whole steps of neighbouring pixels; else in a
 * copy with zeros. */
static const uint16_t *ddst_cells(const job *m, int block)
{
    const amx_frame *f = &m->s->frame;
    const size_t Q = (size_t)m->d->Q, plane = (size_t)m->d->P * Q * L;
    const size_t at = (size_t)block * plane + (size_t)m->b.row * Q * L,
                 row = Q * L * sizeof *m->cells;
    if (f->pitch == m->d->Q && m->b.images == 1 && m->steps * AMX_STEP == m->b.rows * f->pitch)
        return image(m->io->ddst, m->io->ddst_stride, m->first) + at;
    memset(m->cells, 0, (size_t)m->steps * AMX_STEP * L * sizeof *m->cells);
    for (int n = 0; n < m->b.images; n++) {
        const uint16_t *y = image(m->io->ddst, m->io->ddst_stride, m->first + n) + at;
        uint16_t *to = m->cells + (size_t)n * (size_t)(f->image_rows * f->pitch) * L;
        for (int p = 0; p < m->b.rows; p++, y += Q * L, to += (size_t)f->pitch * L)
            memcpy(to, y, row);
    }
    return m->cells;
}

static void fill_ddst(const job *m)
{
    for (int o = m->o0; o < m->o1; o++) {
        int blocks;
        const int block = block_of(m->s, o, &blocks);
        for (int j = 0; j < blocks; j++) {
            const uint16_t *from = ddst_cells(m, block + j);
            uint16_t *to = ddst_tiles(m, block + j);
            for (int i = 0; i < m->steps; i++, from += AMX_STEP * L, to += AMX_TILE)
                amx_transpose_cells(from, to);
        }
    }
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

/* Writes the pairs of input block v of a group behind `pairs`: even, odd. */
static void fill_pairs(const job *m, int group, int v, uint16_t *pairs)
{
    const amx_weights *s = m->s;
    const size_t plane = (size_t)m->d->H * (size_t)m->d->W * L;
    uint16_t *cells = m->cells;
    if (s->patched)
        cells += (size_t)v * s->frame_cells * L;
    else
        amx_fill(&s->frame, m->b,
                 image(m->io->src, m->io->src_stride, m->first) +
                     (size_t)(group * s->input_blocks + v) * plane,
                 m->io->src_stride, L, AMX_STEP + 2, cells);
    for (int parity = 0; parity < 2; parity++, pairs += s->frame_cells * L)
        for (size_t i = 0; s->parity[parity] && i < s->frame_cells; i += 2)
            amx_interleave(cells + (i + (size_t)parity) * L, pairs + i * L);
}

/* Multiplies the pairs of one or two input blocks, from v on, with a group's output blocks of the part. */
static void run_pairs(job *m, int group, int v, int o0, int o1)
{
    const amx_weights *s = m->s;
    const size_t taps = (size_t)s->taps * AMX_SUMS, step = 2 * s->frame_cells * L;
    const int inputs = s->input_blocks - v < 2 ? s->input_blocks - v : 2;
    for (int j = 0; j < inputs; j++)
        fill_pairs(m, group, v + j, m->pairs + (size_t)j * step);
    for (int o = o0; o < o1; o++) {
        int outputs;
        const int block = block_of(s, o, &outputs);
        amx_weights_product p = {.ddst = {ddst_tiles(m, block), ddst_tiles(m, block + outputs - 1)},
                                 .steps = m->steps,
                                 .output_step = outputs > 1 ? s->block_floats : 0,
                                 .input_step = inputs > 1 ? taps : 0,
                                 .starts_sums = m->starts_sums};
        for (int t = 0; t < s->taps; t++) {
            const size_t parity = s->cell[t] % 2;
            p.src[0] = m->pairs + (parity * s->frame_cells + s->cell[t] - parity) * L;
            p.src[1] = p.src[0] + (inputs - 1) * step;
            p.sums = m->partial_sum + (size_t)block * s->block_floats + (size_t)v * taps +
                     (size_t)t * AMX_SUMS;
            amx_weights_product_of(&m->t, outputs, inputs, &p);
        }
    }
}

static void run_block(job *m)
{
    const amx_weights *s = m->s;
    const int pairs = amx_pairs(s->output_blocks);
    m->steps = amx_pieces(amx_outputs(&s->frame, m->b), AMX_STEP);
    fill_ddst(m);
    if (s->patched)
        fill_patches(m);
    for (int o = m->o0, stop; o < m->o1; o = stop) {
        const int group = o / pairs;
        stop = (group + 1) * pairs < m->o1 ? (group + 1) * pairs : m->o1;
        for (int v = m->v0; v < m->v1; v++)
            run_pairs(m, group, 2 * v, o, stop);
    }
}

weft_status amx_weights_run(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io, int n,
                            void *partial_sum, int part, void *scratch)
{
    const amx_weights *s = k->state;
    const wf_conv2d_desc *d = &k->desc;
    const int v = part % s->input_parts, o = part / s->input_parts;
    const int64_t outputs = (int64_t)d->groups * amx_pairs(s->output_blocks);
    const int64_t inputs = amx_pairs(s->input_blocks);
    char *memory = scratch;
    job m = {.d = d,
             .s = s,
             .io = io,
             .starts_sums = true,
             .o0 = (int)(outputs * o / s->output_parts),
             .o1 = (int)(outputs * (o + 1) / s->output_parts),
             .v0 = (int)(inputs * v / s->input_parts),
             .v1 = (int)(inputs * (v + 1) / s->input_parts),
             .partial_sum = partial_sum};
    m.ddst = (uint16_t *)memory;
    m.cells = (uint16_t *)(memory += s->ddst_bytes);
    m.pairs = (uint16_t *)(memory += s->cells_bytes);
    m.patches = memory + s->pairs_bytes;
    if (s->taps == 0)
        return WEFT_OK;
    wf_tiles_begin(&m.t); /* Note [Tile configuration] */
    for (; m.first < n; m.first += m.b.images) {
        m.b.images = n - m.first < s->frame.images ? n - m.first : s->frame.images;
        for (int i = 0; i < s->row_blocks; i++, m.starts_sums = false) {
            const int rows = s->frame.block_rows;
            m.b.row = i * rows;
            m.b.rows = d->P - m.b.row < rows ? d->P - m.b.row : rows;
            run_block(&m);
        }
    }
    wf_tiles_end(&m.t);
    return WEFT_OK;
}
