/* Implicit im2col and matrix product: forward, and backward-data as convolutions of ddst.
 *
 * Goto and van de Geijn's loops ("Anatomy of High-Performance Matrix Multiplication", 2008) around
 * a product in registers: for a chunk of output rows, whose frame (gemm.h) stays in the second-level
 * cache; for a chunk of input channels, whose weights for a few output vectors stay in the first;
 * for those output vectors; for the pixels in groups that fill the registers. A group's sums start
 * as the bias, or go on where the last chunk of channels left them in the output: every output adds
 * its products in the order vector, tap, channel, wherever the chunks end, so the bits follow from
 * shape and ISA. Stateless but for the plan.
 *
 * Packed weights: output vectors; phases; input vectors; taps; channels of a vector; L outputs. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm_forward.h"

enum {
    TILES = 16,          /* that a small batch is cut into, if it is worth it */
    PART_FLOPS = 2000000 /* of a part, at least */
};

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (pass == WF_CONV2D_BACKWARD_WEIGHTS)
        reason = "forward and backward-data only";
    else if (!gemm_reads(d, pass))
        reason = GEMM_TYPES;
    else if (d->dst_block != L || (d->src_block != L && d->src_block != 1))
        reason = "needs dst in blocks of a vector, src in the same or plain";
    else if (d->src_block == 1 && pass == WF_CONV2D_BACKWARD_DATA)
        reason = "backward-data needs src in blocks of a vector";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    return wf_conv2d_expect(d, WF_ISA, gemm_share(d, pass));
}

static void destroy(wf_conv2d *k)
{
    gemm_forward *s = k->state;
    if (!s)
        return;
    gemm_plan_destroy(s->plan);
    free(s->phases);
    free(s->offsets);
    free(s);
    k->state = NULL;
}

static void describe_phase(const gemm_plan *p, int rows, gemm_phase *f)
{
    f->direct = gemm_direct(p, f->h, f->w);
    f->flat = gemm_flat(f->h, f->w);
    const size_t vector = gemm_vector(p, f->h, f->w, rows);
    size_t *offset = f->offset;
    for (int v = 0; v < p->chunk; v++)
        for (int r = 0; r < f->h->taps; r++)
            for (int s = 0; s < f->w->taps; s++)
                *offset++ = (size_t)v * vector + gemm_tap(p, f->h, f->w, rows, r, s);
}

static int at_most(int n, int most)
{
    return n < most ? n : most;
}

/* Parts of an image, where there are too few images to keep many cores at work. With enough of them a
 * tile is an image, which goes from layer to layer while it is in a cache. */
static int parts_wanted(const wf_conv2d_desc *d)
{
    const double worth = wf_conv2d_flops(d) / d->N / PART_FLOPS;
    const int few = (TILES + d->N - 1) / d->N;
    return worth < 1 ? 1 : worth < few ? (int)worth : few;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    gemm_forward *s = k->state = calloc(1, sizeof *s);
    snprintf(why, size, "out of memory");
    if (!s || !(s->plan = gemm_plan_create(&k->desc, k->pass)))
        goto fail;
    const gemm_plan *p = s->plan;
    s->n_phases = p->rows * p->columns;
    s->phases = calloc((size_t)s->n_phases, sizeof *s->phases);
    const size_t taps = (size_t)k->desc.R * (size_t)k->desc.S; /* of all phases together, at most */
    s->offsets = calloc((size_t)p->chunk * taps, sizeof *s->offsets);
    if (!s->phases || !s->offsets)
        goto fail;
    for (int j = 0; p->kind == GEMM_ROTATE && j < p->OG; j++)
        gemm_rotation(p->OG, j, s->rotation[j]);
    size_t weights = 0, *offset = s->offsets;
    const int wanted = parts_wanted(&k->desc);
    s->by_rows = wanted > 1 &&
                 wf_act_count(p->in) + wf_act_count(p->out) > wf_conv2d_weights_count(&k->desc);
    s->rows = p->row[0].n; /* the largest of all */
    if (s->by_rows) {
        k->parts = at_most(wanted, s->rows);
        s->rows = (s->rows + k->parts - 1) / k->parts;
    }
    for (int i = 0; i < s->n_phases; i++) {
        int rows = gemm_rows(p, &p->row[i / p->columns], &p->column[i % p->columns]);
        s->rows = rows < s->rows && rows > 0 ? rows : s->rows;
    }
    for (int i = 0; i < s->n_phases; i++) {
        gemm_phase *f = &s->phases[i];
        *f = (gemm_phase){.h = &p->row[i / p->columns], .w = &p->column[i % p->columns]};
        f->weights = weights;
        f->offset = offset;
        if (gemm_phase_taps(f) == 0)
            continue;
        describe_phase(p, s->rows, f);
        weights += gemm_phase_taps(f) * (size_t)p->vectors * (size_t)p->depth * L;
        offset += gemm_phase_taps(f) * (size_t)p->chunk;
        size_t frame = (size_t)p->chunk * gemm_vector(p, f->h, f->w, s->rows) * sizeof(float);
        if (!f->direct && frame > k->scratch_bytes)
            k->scratch_bytes = frame;
    }
    if (!s->by_rows)
        k->parts = at_most(wanted, p->sets * gemm_units(p));
    k->pack_tiles = p->sets * p->blocks;
    k->packed_bytes = (weights ? weights : L) * (size_t)k->pack_tiles * sizeof(float);
    return true;
fail:
    destroy(k);
    return false;
}

/* ---- packing --------------------------------------------------------------------------------- */

/* Plain weights as the pass sees them: the taps of output channel o and input channel i start at
 * o / OG * group + o % OG * output + i % IG * input, in elements. */
typedef struct plain {
    const float *w;
    size_t output, input, group;
} plain;

static plain plain_of(const wf_conv2d *k, const gemm_plan *p, const float *w)
{
    const size_t taps = (size_t)k->desc.R * (size_t)k->desc.S;
    const size_t group = (size_t)p->OG * (size_t)p->IG * taps;
    if (k->pass == WF_CONV2D_FORWARD)
        return (plain){w, (size_t)p->IG * taps, taps, group};
    return (plain){w, taps, (size_t)p->OG * taps, group};
}

/* The taps of a phase, from those of one output and `n` input channels: out[tap][channel] is a lane
 * of a vector, the next channel's a vector further. */
static void pack_lane(const gemm_phase *f, int S, const float *w, size_t input, int n, int depth,
                      float *out)
{
    for (int r = 0; r < f->h->taps; r++)
        for (int t = 0; t < f->w->taps; t++, out += depth * L) {
            const float *from = w + f->h->tap[r] * S + f->w->tap[t];
            for (int c = 0; c < n; c++)
                out[c * L] = from[(size_t)c * input];
        }
}

/* The same of ROTATE, lane l of each vector. */
static void pack_rotated(const wf_conv2d *k, plain w, int i, float *block)
{
    const gemm_forward *s = k->state;
    const gemm_plan *p = s->plan;
    for (int j = 0; j < p->depth; j++) {
        const int o = gemm_output(p, i, j);
        const float *from = w.w + (size_t)(o / p->OG) * w.group + (size_t)(o % p->OG) * w.output +
                            (size_t)(i % p->IG) * w.input;
        for (int f = 0; f < s->n_phases; f++)
            pack_lane(&s->phases[f], k->desc.S, from, 0, 1, p->depth,
                      block + s->phases[f].weights + (size_t)j * L + i % L);
    }
}

/* An output vector: lane by lane, so that the plain weights are read as they lie. */
static void pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const gemm_forward *s = k->state;
    const gemm_plan *p = s->plan;
    const int set = tile / p->blocks, first = gemm_first(p, set, tile % p->blocks);
    const int left = gemm_end(p, set) - first, n = left < L ? left : L;
    const plain w = plain_of(k, p, weights);
    float *block = (float *)packed + (size_t)tile * gemm_packed_block(k);
    if (n < L || (p->kind == GEMM_DENSE && p->IG % L))
        memset(block, 0, gemm_packed_block(k) * sizeof *block);
    for (int l = 0; p->kind == GEMM_ROTATE && l < n; l++)
        pack_rotated(k, w, first + l, block);
    for (int v = 0; p->kind != GEMM_ROTATE && v < p->vectors; v++) {
        const int i = v * p->depth, inputs = p->IG - i < p->depth ? p->IG - i : p->depth;
        for (int l = 0; l < n; l++) {
            const int o = first + l;
            const float *from = w.w + (size_t)(o / p->OG) * w.group +
                                (size_t)(o % p->OG) * w.output + (size_t)i * w.input;
            for (int j = 0; j < s->n_phases; j++) {
                const gemm_phase *f = &s->phases[j];
                float *out =
                    block + f->weights + (size_t)v * gemm_phase_taps(f) * (size_t)p->depth * L;
                pack_lane(f, k->desc.S, from, w.input, inputs, p->depth, out + l);
            }
        }
    }
}

const wf_conv2d_impl WF_ISA_FN(wf_conv2d_gemm) = {
    .name = "gemm:" WF_ISA_NAME,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .pack = pack,
    .batch = gemm_forward_run,
};
