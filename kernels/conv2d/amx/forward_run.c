/* Forward and backward-data by tiles: the loops around the products, from a part of some images
 * (wf_conv2d_impl.batch) down to a subblock. A worker writes its part of the outputs and its scratch; no other
 * worker writes either. */
#include "kernels/conv2d/amx/forward.h"

/* Some images, and what is done with them. */
typedef struct job {
    const amx_forward *s;
    const wf_conv2d_io *io;
    int first;                        /* image at io */
    int subblock_begin, subblock_end; /* counted through all groups */
    amx_rows b;
    uint16_t *frame;
    float *sums;
    int64_t *place;
    uint8_t *tiles; /* of pixels that a subblock has: 2, 1, or 0 if there is no output */
    void *patches;
    wf_tiles t;
} job;

static void load_bias(const job *m, int channel, float *bias)
{
    const int left = m->s->out.C - channel, n = left < L ? left : L;
    wf_vstore(bias, m->io->bias ? wf_vload_n((const float *)m->io->bias + channel, n) : wf_vzero());
}

static size_t out_bytes(const amx_forward *s)
{
    return s->out_f32 ? sizeof(float) : sizeof(uint16_t);
}

/* The outputs' block counted through all groups, in the job's first image. */
static char *plane_of(const job *m, int block)
{
    const amx_forward *s = m->s;
    return (char *)m->io->out + (size_t)m->first * m->io->out_stride +
           (size_t)block * (size_t)s->out.H * (size_t)s->out.W * L * out_bytes(s);
}

/* Fills the frame with the input blocks of a group. */
static void fill(const job *m, int group)
{
    const amx_forward *s = m->s;
    const char *image = (const char *)m->io->in + (size_t)m->first * m->io->in_stride;
    if (s->patched) {
        amx_fill_patches(&s->patches, m->b, image, m->io->in_stride, m->io->table, AMX_STEP,
                         s->block_elements, m->patches, m->frame);
        return;
    }
    const size_t plane = (size_t)s->in.H * (size_t)s->in.W * L;
    const int blocks = amx_pieces(s->group_inputs, L);
    for (int v = 0; v < s->input_blocks; v++)
        amx_fill(&s->frame, m->b,
                 (const uint16_t *)image + (size_t)(group * blocks + 2 * v) * plane,
                 m->io->in_stride, true, 2 * v + 1 < blocks ? plane : 0, 0,
                 m->frame + (size_t)v * s->block_elements);
}

/* Writes where the planes have the outputs of a class, and how many tiles each subblock needs. Returns the number
 * of subblocks. */
static int place_outputs(const job *m, const amx_class *c, int rows)
{
    const amx_forward *s = m->s;
    const int pitch = s->frame.pitch, all = amx_outputs(&s->frame, m->b);
    const int subblocks = amx_pieces(all, AMX_PIXELS);
    const int64_t pixel = (int64_t)(L * out_bytes(s));
    for (int i = 0; i < subblocks * AMX_PIXELS; i++)
        m->place[i] = -1;
    for (int n = 0; n < m->b.images; n++)
        for (int p = 0; p < rows; p++) {
            int64_t *to = m->place + (n * s->frame.image_rows + p) * pitch;
            const int64_t row = c->h->first_output + (m->b.row + p) * (int64_t)c->h->output_step;
            int64_t at = (int64_t)((size_t)n * m->io->out_stride) +
                         (row * s->out.W + c->w->first_output) * pixel;
            for (int q = 0; q < c->w->outputs; q++, at += c->w->output_step * pixel)
                *to++ = at;
        }
    for (int i = 0; i < subblocks; i++) {
        m->tiles[i] = 0;
        for (int j = 0; j < AMX_PIXELS; j++)
            if (m->place[i * AMX_PIXELS + j] >= 0)
                m->tiles[i] = j < L ? 1 : 2;
    }
    return subblocks;
}

/* Runs the outputs of a class that the frame serves. */
static void run_class(job *m, const amx_class *c, int group, int u0, int u1)
{
    const amx_forward *s = m->s;
    const int left = c->h->outputs - m->b.row, rows = left < m->b.rows ? left : m->b.rows;
    if (rows <= 0 || c->w->outputs == 0)
        return;
    const int subblocks = place_outputs(m, c, rows);
    amx_epilogue before = {.units = 0};
    float *sums = m->sums;
    for (int u = u0; u < u1; u++) {
        const int blocks = amx_subblock_blocks(s, u), block = group * s->output_blocks + 2 * u;
        float bias[2 * L];
        for (int j = 0; j < blocks; j++)
            load_bias(m, (block + j) * L, bias + j * L);
        amx_product p = {.block = s->block_elements,
                         .tap = c->tap,
                         .input_blocks = s->input_blocks,
                         .taps = c->taps,
                         .w = (const uint16_t *)m->io->weights +
                              (size_t)block * s->packed_block_elements +
                              c->weights * (size_t)blocks,
                         .bias = bias};
        for (int i = 0; i < subblocks; i++) {
            if (m->tiles[i] == 0)
                continue;
            p.x = m->frame + (size_t)i * AMX_PIXELS * AMX_STEP;
            p.sums = sums;
            amx_product_of(&m->t, m->tiles[i], blocks, &p, &before);
            before = (amx_epilogue){.sums = sums,
                                    .place = m->place + i * AMX_PIXELS,
                                    .y = {plane_of(m, block), plane_of(m, block + blocks - 1)},
                                    .blocks = blocks,
                                    .out_f32 = s->out_f32,
                                    .units = m->tiles[i] * L / 2};
            sums = sums == m->sums ? m->sums + 4 * AMX_SUMS : m->sums;
        }
    }
    amx_finish(&before);
}

/* Writes the bias to the outputs of a class without taps. */
static void run_empty(job *m, const amx_class *c, int group, int u0, int u1)
{
    const amx_forward *s = m->s;
    const int left = c->h->outputs - m->b.row, rows = left < m->b.rows ? left : m->b.rows;
    if (rows <= 0 || c->w->outputs == 0)
        return;
    const int n = place_outputs(m, c, rows) * AMX_PIXELS;
    for (int u = u0; u < u1; u++)
        for (int j = 0; j < amx_subblock_blocks(s, u); j++) {
            const int block = group * s->output_blocks + 2 * u + j;
            float bias[L];
            char *y = plane_of(m, block);
            load_bias(m, block * L, bias);
            for (int i = 0; i < n; i++)
                if (m->place[i] >= 0 && s->out_f32)
                    wf_vstore((float *)(y + m->place[i]), wf_vload(bias));
                else if (m->place[i] >= 0)
                    wf_vstore_bf16((uint16_t *)(y + m->place[i]), wf_vload(bias));
        }
}

static void run_rows(job *m)
{
    const amx_forward *s = m->s;
    for (int group = m->subblock_begin / s->output_subblocks;
         group * s->output_subblocks < m->subblock_end; group++) {
        const int u = group * s->output_subblocks;
        const int u0 = m->subblock_begin > u ? m->subblock_begin - u : 0;
        const int u1 =
            m->subblock_end - u < s->output_subblocks ? m->subblock_end - u : s->output_subblocks;
        if (s->block_elements)
            fill(m, group);
        for (int i = 0; i < s->n_classes; i++)
            (s->classes[i].taps ? run_class : run_empty)(m, &s->classes[i], group, u0, u1);
    }
}

weft_status amx_run(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                    void *scratch)
{
    const amx_forward *s = k->state;
    const int subblocks = s->groups * s->output_subblocks, rows = s->rows[0].outputs;
    char *memory = scratch;
    job m = {.s = s, .io = io, .subblock_end = subblocks};
    m.frame = (uint16_t *)memory;
    m.sums = (float *)(memory += s->frame_bytes);
    m.place = (int64_t *)(memory += s->sums_bytes);
    m.tiles = (uint8_t *)(memory += s->place_bytes);
    m.patches = memory + s->tiles_bytes;
    int begin = 0, end = s->row_blocks;
    if (s->parts_are_rows) {
        begin = (int)((int64_t)s->row_blocks * part / k->parts);
        end = (int)((int64_t)s->row_blocks * (part + 1) / k->parts);
    } else {
        m.subblock_begin = (int)((int64_t)subblocks * part / k->parts);
        m.subblock_end = (int)((int64_t)subblocks * (part + 1) / k->parts);
    }
    wf_tiles_begin(&m.t); /* Note [Tile configuration] */
    for (; m.first < n; m.first += m.b.images) {
        m.b.images = n - m.first < s->frame.images ? n - m.first : s->frame.images;
        for (int i = begin; i < end; i++) {
            m.b.row = i * s->frame.block_rows;
            m.b.rows = rows - m.b.row < s->frame.block_rows ? rows - m.b.row : s->frame.block_rows;
            run_rows(&m);
        }
    }
    wf_tiles_end(&m.t);
    return WEFT_OK;
}
