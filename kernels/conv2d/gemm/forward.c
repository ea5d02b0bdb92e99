/* Implicit im2col and matrix product: forward, and backward-data as convolutions of ddst.
 *
 * Goto and van de Geijn's loops ("Anatomy of High-Performance Matrix Multiplication", 2008) around
 * a product in registers: for a chunk of output rows, whose frame (gemm.h) or panels (Note [Panels]) stay
 * in the second-level cache; for a chunk of input channels, whose weights for a unit of output vectors stay
 * in the first; for those units; for the pixels in groups that fill the registers. A group's sums start
 * as the bias, or go on where the last chunk of channels left them in the output: every output adds
 * its products in the order vector, tap, channel, wherever the chunks end, so the bits follow from
 * shape and ISA. Stateless but for the plan.
 *
 * Packed weights: units; phases; input vectors; taps; channels of a vector; output vectors; L outputs. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm/forward.h"
#include "kernels/machine.h"
#include "kernels/simd/transpose.h"

enum {
    TILES = 16,           /* that a small batch is cut into, if it is worth it */
    PART_FLOPS = 2000000, /* of a part, at least */
    PANEL_OUTPUTS = 64,   /* from which on panels pay */
    PACKED = 16           /* vectors of inputs that are packed at once: in the first-level cache */
};

/* Floats of panels, in the second-level cache: with their outputs; */
static int64_t panels_floats(void)
{
    return gemm_l2() / (L == 16 ? 8 : 4);
}
/* and with the weights that pass by. */
static int64_t panel_weights(void)
{
    return gemm_l2() * 3 / 16;
}

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

/* Note [Panels]: whether they pay. Filling one takes as long as products with some two vectors of outputs.
 * Of pixels that lie side by side in memory, a frame reads each once for all taps. */
static bool panels_pay(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int I = (data ? d->K : d->C) / d->groups, O = (data ? d->C : d->K) / d->groups;
    return gemm_kind_of(d, pass) == GEMM_DENSE && (d->groups == 1 || I % L == 0) &&
           O >= PANEL_OUTPUTS && d->stride[0] * d->stride[1] > 1 && d->R * d->S <= GEMM_TAPS &&
           (int64_t)d->H * d->W < GEMM_PLANE / L && (int64_t)d->P * d->Q < GEMM_PLANE / L;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const bool panels = panels_pay(d, pass);
    const int O = (pass == WF_CONV2D_BACKWARD_DATA ? d->C : d->K) / d->groups;
    const bool in_place = d->R * d->S * d->stride[0] * d->stride[1] == 1 && O > 64 &&
                          gemm_kind_of(d, pass) == GEMM_DENSE;
    const wf_costs *c = wf_machine_class_of(WF_ISA)->cost;
    const bool point = d->R * d->S == 1, strided = d->stride[0] * d->stride[1] > 1;
    double better = panels ? c->gemm_panels : in_place ? c->gemm_in_place : 1;
    if (point && !strided && O <= 64)
        better = c->gemm_narrow;
    if (point && strided)
        better *= c->gemm_strided_point;
    return wf_conv2d_expect(d, WF_ISA, gemm_share(d, pass, panels) * better);
}

static void destroy(wf_conv2d *k)
{
    gemm_forward *s = k->state;
    if (!s)
        return;
    gemm_plan_destroy(s->plan);
    free(s->phases);
    free(s->offsets);
    free(s->places);
    free(s);
    k->state = NULL;
}

static void describe_phase(const gemm_forward *s, gemm_phase *f)
{
    const gemm_plan *p = s->plan;
    f->direct = gemm_direct(p, f->h, f->w);
    f->flat = gemm_flat(f->h, f->w);
    const size_t vector = gemm_vector(p, f->h, f->w, s->rows);
    size_t *offset = f->offset, term = 0;
    for (int v = 0; v < f->chunk; v++)
        for (int r = 0; r < f->h->taps; r++)
            for (int t = 0; t < f->w->taps; t++, term += (size_t)s->most * L)
                *offset++ =
                    s->most ? term : (size_t)v * vector + gemm_tap(p, f->h, f->w, s->rows, r, t);
}

/* Where each tap of each output is: `step` floats for an input. */
static void place_axis(const gemm_axis *a, int step, int32_t *place)
{
    for (int t = 0; t < a->taps; t++)
        for (int i = 0; i < a->n; i++) {
            int at = a->offset[t] + i * a->in_step;
            *place++ = at < 0 || at >= a->in ? GEMM_OUTSIDE : at * step;
        }
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

/* Panels: the phases' places, and how many vectors and rows are taken at once. */
static bool plan_panels(gemm_forward *s)
{
    gemm_plan *p = s->plan;
    p->NV = gemm_best_vectors((int64_t)p->row[0].n * p->column[0].n, p->blocks);
    size_t count = 0;
    for (int i = 0; i < s->n_phases; i++)
        count += (size_t)s->phases[i].h->n * (size_t)s->phases[i].h->taps +
                 (size_t)s->phases[i].w->n * (size_t)s->phases[i].w->taps;
    int32_t *place = s->places = calloc(count + 1, sizeof *s->places);
    if (!place)
        return false;
    s->most = GEMM_SUMS / p->NV < GEMM_N ? GEMM_SUMS / p->NV : GEMM_N;
    for (int i = 0; i < s->n_phases; i++) {
        gemm_phase *f = &s->phases[i];
        if (gemm_phase_taps(f) == 0)
            continue;
        f->row = place;
        place_axis(f->h, p->in.W * L, f->row);
        f->column = place += (size_t)f->h->n * (size_t)f->h->taps;
        place_axis(f->w, L, f->column);
        place += (size_t)f->w->n * (size_t)f->w->taps;
        int64_t most = panel_weights() / ((int64_t)gemm_phase_taps(f) * L * L * p->NV);
        int64_t one = (int64_t)gemm_phase_taps(f) * f->w->n * L;
        most = most * one > panels_floats() ? panels_floats() / one : most;
        int64_t chunks = (p->vectors + most - 1) / (most > 1 ? most : 1);
        f->chunk = most > 1 ? (int)((p->vectors + chunks - 1) / chunks) : 1;
        int64_t rows = panels_floats() / (one * f->chunk);
        s->rows = at_most(s->rows, rows > 1 ? (int)(rows < f->h->n ? rows : f->h->n) : 1);
    }
    return true;
}

static void plan_frames(gemm_forward *s)
{
    const gemm_plan *p = s->plan;
    for (int i = 0; i < s->n_phases; i++) {
        gemm_phase *f = &s->phases[i];
        f->chunk = p->chunk;
        int rows = gemm_rows(p, f->h, f->w);
        s->rows = rows < s->rows && rows > 0 ? rows : s->rows;
    }
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
    if (!s->phases)
        goto fail;
    for (int j = 0; p->kind == GEMM_ROTATE && j < p->OG; j++)
        gemm_rotation(p->OG, j, s->rotation[j]);
    for (int i = 0; i < s->n_phases; i++)
        s->phases[i] = (gemm_phase){.h = &p->row[i / p->columns], .w = &p->column[i % p->columns]};
    const int wanted = parts_wanted(&k->desc);
    s->by_rows = wanted > 1 &&
                 wf_act_count(p->in) + wf_act_count(p->out) > wf_conv2d_weights_count(&k->desc);
    s->rows = p->row[0].n; /* the largest of all */
    if (s->by_rows) {
        k->parts = at_most(wanted, s->rows);
        s->rows = (s->rows + k->parts - 1) / k->parts;
    }
    if (!panels_pay(&k->desc, k->pass))
        plan_frames(s);
    else if (!plan_panels(s))
        goto fail;
    size_t weights = 0, terms = 0;
    for (int i = 0; i < s->n_phases; i++)
        terms += gemm_phase_taps(&s->phases[i]) * (size_t)s->phases[i].chunk;
    size_t *offset = s->offsets = calloc(terms + 1, sizeof *s->offsets);
    if (!offset)
        goto fail;
    for (int i = 0; i < s->n_phases; i++) {
        gemm_phase *f = &s->phases[i];
        f->weights = weights;
        f->offset = offset;
        if (gemm_phase_taps(f) == 0)
            continue;
        describe_phase(s, f);
        weights += gemm_phase_taps(f) * (size_t)p->vectors * (size_t)p->depth * L;
        offset += gemm_phase_taps(f) * (size_t)f->chunk;
        size_t frame = s->most     ? gemm_panel_floats(s, f, s->rows)
                       : f->direct ? 0
                                   : (size_t)f->chunk * gemm_vector(p, f->h, f->w, s->rows);
        if (frame * sizeof(float) > k->scratch_bytes)
            k->scratch_bytes = frame * sizeof(float);
    }
    if (!s->by_rows)
        k->parts = at_most(wanted, p->sets * gemm_units(p));
    k->pack_tiles = p->sets * gemm_units(p);
    s->packed_block = weights ? weights : L;
    k->packed_bytes = s->packed_block * (size_t)p->sets * (size_t)p->blocks * sizeof(float);
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
 * of a vector, the next channel's `step` further. */
static void pack_lane(const gemm_phase *f, int S, const float *w, size_t input, int n, int depth,
                      float *out, size_t step)
{
    for (int r = 0; r < f->h->taps; r++)
        for (int t = 0; t < f->w->taps; t++, out += (size_t)depth * step) {
            const float *from = w + f->h->tap[r] * S + f->w->tap[t];
            for (int c = 0; c < n; c++)
                out[(size_t)c * step] = from[(size_t)c * input];
        }
}

/* The same of ROTATE, output o's lane of each vector. */
static void pack_rotated(const wf_conv2d *k, plain w, int o, float *block)
{
    const gemm_forward *s = k->state;
    const gemm_plan *p = s->plan;
    for (int j = 0; j < p->depth; j++) {
        const float *from = w.w + (size_t)(o / p->OG) * w.group + (size_t)(o % p->OG) * w.output +
                            (size_t)((o + j) % p->IG) * w.input;
        for (int f = 0; f < s->n_phases; f++)
            pack_lane(&s->phases[f], k->desc.S, from, 0, 1, p->depth,
                      block + s->phases[f].weights + (size_t)j * L + o % L, L);
    }
}

/* The only tap of L channels and L outputs, of each output the channels side by side in the plain weights:
 * out[channel][output]. What comes next is fetched: more rows than the hardware follows. */
static void pack_square(plain w, const float *from, float *out, size_t step)
{
    for (size_t i = 0; i < L; i++)
        __builtin_prefetch(from + i * w.output + 2 * L, 0, 3);
    for (size_t i = 0; i < L; i += 8)
        for (size_t c = 0; c < L; c += 8)
            wf_transpose8(from + i * w.output + c, w.output, out + c * step + i, step);
}

/* The only tap of NV * L outputs, of each of n channels side by side in the plain weights, too. */
static void pack_rows(plain w, const float *from, int n, int NV, float *out)
{
    enum { AHEAD = 16 };
    for (int c = 0; c < n; c++, from += w.input, out += NV * L)
        for (int b = 0; b < NV * L; b += L) {
            if (c + AHEAD < n)
                __builtin_prefetch(from + AHEAD * w.input + b, 0, 3);
            wf_vstore(out + b, wf_vload(from + b));
        }
}

/* Where each tap's weights of input vector v are in a block for one output vector, by its place in the
 * kernel; negative: it meets nothing. */
static void place_taps(const gemm_forward *s, const wf_conv2d_desc *d, int v,
                       int64_t place[GEMM_TAPS])
{
    for (int t = 0; t < d->R * d->S; t++)
        place[t] = -1;
    for (int j = 0; j < s->n_phases; j++) {
        const gemm_phase *f = &s->phases[j];
        int64_t at = (int64_t)(f->weights + (size_t)v * gemm_phase_taps(f) * L * L);
        for (int r = 0; r < f->h->taps; r++)
            for (int t = 0; t < f->w->taps; t++, at += L * L)
                place[f->h->tap[r] * d->S + f->w->tap[t]] = at;
    }
}

/* Of L outputs `output` floats apart 8 neighbours, from tap t of channel c on, to where place has them. */
static void pack_eight(const float *from, size_t output, int taps, int c, int t,
                       const int64_t place[GEMM_TAPS], size_t NV, float *block)
{
    float row[8 * L];
    for (size_t l = 0; l < L; l += 8)
        wf_transpose8(from + l * output, output, row + l, L);
    for (int i = 0; i < 8; i++) {
        if (place[t] >= 0)
            wf_vstore(block + ((size_t)place[t] + (size_t)c * L) * NV, wf_vload(row + i * L));
        if (++t == taps) {
            t = 0;
            c++;
        }
    }
}

/* All taps of L channels and L outputs: either the channels of an output are side by side in the plain
 * weights, or of each channel the outputs; in either the taps, 8 at least in the second. */
static void pack_taps(const wf_conv2d *k, plain w, int v, const float *from, size_t NV,
                      float *block)
{
    const int taps = k->desc.R * k->desc.S;
    int64_t place[GEMM_TAPS];
    place_taps(k->state, &k->desc, v, place);
    if (w.input == (size_t)taps) {
        for (int q = 0; q < L * taps; q += 8)
            pack_eight(from + q, w.output, taps, q / taps, q % taps, place, NV, block);
        return;
    }
    for (int c = 0; c < L; c++, from += w.input)
        for (int t = 0; t < taps; t += 8) {
            const int first = at_most(t, taps - 8); /* the last ones once more */
            pack_eight(from + first, w.output, taps, c, first, place, NV, block);
        }
}

/* Whether the kernel has one tap, and that meets something. */
static bool one_tap(const wf_conv2d *k)
{
    const gemm_forward *s = k->state;
    return k->desc.R * k->desc.S == 1 && s->packed_block == (size_t)s->plan->vectors * L * L;
}

/* Input vectors [v0, v1) of output vector b of a set: lane by lane, so that the plain weights are read as
 * they lie. */
static void pack_vectors(const wf_conv2d *k, plain w, int set, int b, int v0, int v1, float *block)
{
    const gemm_forward *s = k->state;
    const gemm_plan *p = s->plan;
    const int unit = gemm_unit_of(p, b);
    const size_t NV = (size_t)(gemm_unit_first(p, unit + 1) - gemm_unit_first(p, unit));
    const size_t step = NV * L;
    const int first = gemm_first(p, set, b), left = gemm_end(p, set) - first;
    const int n = left < L ? left : L;
    const int taps = k->desc.R * k->desc.S;
    const bool square = one_tap(k) && w.input == 1;
    const bool dense =
        p->kind == GEMM_DENSE && taps <= GEMM_TAPS && (w.input == (size_t)taps || taps >= 8);
    for (int v = v0; v < v1; v++) {
        const int i = v * p->depth, inputs = p->IG - i < p->depth ? p->IG - i : p->depth;
        const float *from = w.w + (size_t)(first / p->OG) * w.group +
                            (size_t)(first % p->OG) * w.output + (size_t)i * w.input;
        if (square && n == L && inputs == L) {
            pack_square(w, from, block + (size_t)v * L * step, step);
            continue;
        }
        if (dense && n == L && inputs == L) {
            pack_taps(k, w, v, from, NV, block);
            continue;
        }
        for (int j = 0; j < s->n_phases; j++) {
            const gemm_phase *f = &s->phases[j];
            const size_t at = f->weights + (size_t)v * gemm_phase_taps(f) * (size_t)p->depth * L;
            for (int l = 0; l < n; l++) {
                const int o = first + l;
                from = w.w + (size_t)(o / p->OG) * w.group + (size_t)(o % p->OG) * w.output +
                       (size_t)i * w.input;
                pack_lane(f, k->desc.S, from, w.input, inputs, p->depth, block + at * NV + l, step);
            }
        }
    }
}

/* A unit: its output vectors take turns, vector by vector. */
static weft_status pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const gemm_forward *s = k->state;
    const gemm_plan *p = s->plan;
    const int set = tile / gemm_units(p), unit = tile % gemm_units(p);
    const int begin = gemm_unit_first(p, unit), end = gemm_unit_first(p, unit + 1);
    const plain w = plain_of(k, p, weights);
    float *to = (float *)packed + (size_t)(set * p->blocks + begin) * s->packed_block;
    const int first = gemm_first(p, set, begin), NV = end - begin;
    if (p->kind == GEMM_DENSE && one_tap(k) && w.output == 1 &&
        first + NV * L <= gemm_end(p, set)) {
        memset(to + (size_t)p->IG * (size_t)(NV * L), 0,
               (size_t)(p->vectors * L - p->IG) * (size_t)(NV * L) * sizeof *to);
        pack_rows(w, (const float *)weights + (size_t)set * w.group + first % p->OG, p->IG, NV, to);
        return WEFT_OK;
    }
    if (gemm_end(p, set) - gemm_first(p, set, end - 1) < L || (p->kind == GEMM_DENSE && p->IG % L))
        memset(to, 0, (size_t)(end - begin) * s->packed_block * sizeof *to);
    for (int l = 0; p->kind == GEMM_ROTATE && l < L; l++)
        if (set * L + l < p->out.C)
            pack_rotated(k, w, set * L + l, to);
    for (int v = 0; p->kind != GEMM_ROTATE && v < p->vectors; v += PACKED)
        for (int b = begin; b < end; b++)
            pack_vectors(k, w, set, b, v, at_most(v + PACKED, p->vectors), to + (b - begin) * L);
    return WEFT_OK;
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
