/* Implicit im2col and matrix product, forward and backward-data: packs the weights in the order in which
 * the products read them; forward.c has the format. Reads the plain weights, writes its tile of the
 * packed ones. */
#include "kernels/conv2d/gemm/forward.h"
#include "kernels/simd/transpose.h"

enum {
    PACKED_VECTORS = 16, /* channel vectors that are packed at once: L1 holds their plain weights */
    PREFETCH_ROWS = 16   /* rows of plain weights ahead of the one that is copied */
};

/* Plain weights as the pass sees them: the taps of output channel o and input channel i start at
 * o / group_outputs * group + o % group_outputs * output + i % group_inputs * input, in floats. */
typedef struct plain {
    const float *w;
    size_t output, input, group;
} plain;

static plain plain_of(const wf_conv2d *k, const gemm_geometry *g, const float *w)
{
    const size_t taps = (size_t)k->desc.R * (size_t)k->desc.S;
    const size_t group = (size_t)g->group_outputs * (size_t)g->group_inputs * taps;
    if (k->pass == WF_CONV2D_FORWARD)
        return (plain){w, (size_t)g->group_inputs * taps, taps, group};
    return (plain){w, taps, (size_t)g->group_outputs * taps, group};
}

static const float *plain_at(const gemm_geometry *g, const plain *w, int output, int input)
{
    return w->w + (size_t)(output / g->group_outputs) * w->group +
           (size_t)(output % g->group_outputs) * w->output + (size_t)input * w->input;
}

/* Packs one lane, the weights of one output channel: out[tap][channel], `step` floats apart, from the
 * taps of n input channels, `input` floats apart. */
static void pack_lane(const gemm_residue_class *c, int S, const float *w, size_t input, int n,
                      int vector_channels, float *out, size_t step)
{
    for (int r = 0; r < c->h->taps; r++)
        for (int t = 0; t < c->w->taps; t++, out += (size_t)vector_channels * step) {
            const float *from = w + c->h->tap[r] * S + c->w->tap[t];
            for (int i = 0; i < n; i++)
                out[(size_t)i * step] = from[(size_t)i * input];
        }
}

/* ROTATE: packs the lane of output channel o in all rotations. */
static void pack_rotated(const wf_conv2d *k, plain w, int o, float *block)
{
    const gemm_forward *s = k->state;
    const gemm_geometry *g = &s->geometry;
    for (int j = 0; j < g->vector_channels; j++) {
        const float *from = plain_at(g, &w, o, (o + j) % g->group_inputs);
        for (int i = 0; i < s->n_classes; i++)
            pack_lane(&s->classes[i], k->desc.S, from, 0, 1, g->vector_channels,
                      block + s->classes[i].weights_offset + (size_t)j * L + o % L, L);
    }
}

/* A filter of one tap, L input by L output channels, an output's input channels side by side: transposes
 * them to out[input][output]. There are more rows than the hardware prefetcher follows, so the next ones
 * are prefetched. */
static void pack_square(plain w, const float *from, float *out, size_t step)
{
    for (size_t i = 0; i < L; i++)
        __builtin_prefetch(from + i * w.output + 2 * L, 0, 3);
    for (size_t i = 0; i < L; i += 8)
        for (size_t c = 0; c < L; c += 8)
            wf_transpose8(from + i * w.output + c, w.output, out + c * step + i, step);
}

/* A filter of one tap, n input channels by some output vectors, an input's output channels side by side:
 * copies them as they lie. */
static void pack_rows(plain w, const float *from, int n, int vectors, float *out)
{
    for (int c = 0; c < n; c++, from += w.input, out += vectors * L)
        for (int b = 0; b < vectors * L; b += L) {
            if (c + PREFETCH_ROWS < n)
                __builtin_prefetch(from + PREFETCH_ROWS * w.input + b, 0, 3);
            wf_vstore(out + b, wf_vload(from + b));
        }
}

/* Where the packed weights of an output vector have each tap of channel vector v, by r * S + s; negative:
 * the tap meets padding only. */
static void place_taps(const gemm_forward *s, const wf_conv2d_desc *d, int v,
                       int64_t place[GEMM_MAX_PANEL_TAPS])
{
    for (int t = 0; t < d->R * d->S; t++)
        place[t] = -1;
    for (int i = 0; i < s->n_classes; i++) {
        const gemm_residue_class *c = &s->classes[i];
        int64_t at = (int64_t)(c->weights_offset + (size_t)v * gemm_class_taps(c) * L * L);
        for (int r = 0; r < c->h->taps; r++)
            for (int t = 0; t < c->w->taps; t++, at += L * L)
                place[c->h->tap[r] * d->S + c->w->tap[t]] = at;
    }
}

/* Packs 8 neighbouring weights of each of L output channels, `output` floats apart. The first is tap t of
 * channel c; tap follows on tap, channel on channel. */
static void pack_eight(const float *from, size_t output, int taps, int c, int t,
                       const int64_t place[GEMM_MAX_PANEL_TAPS], size_t vectors, float *block)
{
    float row[8 * L];
    for (size_t l = 0; l < L; l += 8)
        wf_transpose8(from + l * output, output, row + l, L);
    for (int i = 0; i < 8; i++) {
        if (place[t] >= 0)
            wf_vstore(block + ((size_t)place[t] + (size_t)c * L) * vectors, wf_vload(row + i * L));
        if (++t == taps) {
            t = 0;
            c++;
        }
    }
}

/* Packs all taps of L input by L output channels, 8 at a time. Either an output's input channels lie side
 * by side in the plain weights; or an input's output channels do, and then there are 8 taps at least. */
static void pack_taps(const wf_conv2d *k, plain w, int v, const float *from, size_t vectors,
                      float *block)
{
    const int taps = k->desc.R * k->desc.S;
    int64_t place[GEMM_MAX_PANEL_TAPS];
    place_taps(k->state, &k->desc, v, place);
    if (w.input == (size_t)taps) {
        for (int q = 0; q < L * taps; q += 8)
            pack_eight(from + q, w.output, taps, q / taps, q % taps, place, vectors, block);
        return;
    }
    for (int c = 0; c < L; c++, from += w.input)
        for (int t = 0; t < taps; t += 8) {
            const int first = t < taps - 8 ? t : taps - 8; /* packs some of the last ones twice */
            pack_eight(from + first, w.output, taps, c, first, place, vectors, block);
        }
}

/* Whether the filter has one tap, and that meets the input somewhere. */
static bool one_tap(const wf_conv2d *k)
{
    const gemm_forward *s = k->state;
    return k->desc.R * k->desc.S == 1 &&
           s->packed_vector_floats == (size_t)s->geometry.input_vectors * L * L;
}

/* Packs channel vectors [v0, v1) of output vector b of a set: by transposes where the vectors are full,
 * else lane by lane. */
static void pack_vectors(const wf_conv2d *k, plain w, int set, int b, int v0, int v1, float *block)
{
    const gemm_forward *s = k->state;
    const gemm_geometry *g = &s->geometry;
    const int subblock = gemm_subblock_of(s, b);
    const size_t vectors =
        (size_t)(gemm_subblock_begin(s, subblock + 1) - gemm_subblock_begin(s, subblock));
    const size_t step = vectors * L;
    const int first = gemm_first_output(g, set, b), left = gemm_end_output(g, set) - first;
    const int n = left < L ? left : L;
    const int taps = k->desc.R * k->desc.S;
    const bool square = one_tap(k) && w.input == 1;
    const bool dense = g->kind == GEMM_DENSE && taps <= GEMM_MAX_PANEL_TAPS &&
                       (w.input == (size_t)taps || taps >= 8);
    for (int v = v0; v < v1; v++) {
        const int i = v * g->vector_channels, left_inputs = g->group_inputs - i;
        const int inputs = left_inputs < g->vector_channels ? left_inputs : g->vector_channels;
        const float *from = plain_at(g, &w, first, i);
        if (square && n == L && inputs == L) {
            pack_square(w, from, block + (size_t)v * L * step, step);
            continue;
        }
        if (dense && n == L && inputs == L) {
            pack_taps(k, w, v, from, vectors, block);
            continue;
        }
        for (int j = 0; j < s->n_classes; j++) {
            const gemm_residue_class *c = &s->classes[j];
            const size_t at =
                c->weights_offset + (size_t)v * gemm_class_taps(c) * (size_t)g->vector_channels * L;
            for (int l = 0; l < n; l++)
                pack_lane(c, k->desc.S, plain_at(g, &w, first + l, i), w.input, inputs,
                          g->vector_channels, block + at * vectors + l, step);
        }
    }
}

weft_status gemm_forward_pack(const wf_conv2d *k, int worker, const void *weights, void *packed,
                              int tile)
{
    const gemm_forward *s = k->state;
    const gemm_geometry *g = &s->geometry;
    const int subblocks = gemm_output_subblocks(s), set = tile / subblocks;
    const int begin = gemm_subblock_begin(s, tile % subblocks);
    const int end = gemm_subblock_begin(s, tile % subblocks + 1);
    const plain w = plain_of(k, g, weights);
    float *to =
        (float *)packed + (size_t)(set * g->output_vectors + begin) * s->packed_vector_floats;
    const int first = gemm_first_output(g, set, begin), vectors = end - begin;
    if (g->kind == GEMM_DENSE && one_tap(k) && w.output == 1 &&
        first + vectors * L <= gemm_end_output(g, set)) {
        memset(to + (size_t)g->group_inputs * (size_t)(vectors * L), 0,
               (size_t)(g->input_vectors * L - g->group_inputs) * (size_t)(vectors * L) *
                   sizeof *to);
        pack_rows(w, (const float *)weights + (size_t)set * w.group + first % g->group_outputs,
                  g->group_inputs, vectors, to);
        return WEFT_OK;
    }
    if (gemm_end_output(g, set) - gemm_first_output(g, set, end - 1) < L ||
        (g->kind == GEMM_DENSE && g->group_inputs % L))
        memset(to, 0, (size_t)(end - begin) * s->packed_vector_floats * sizeof *to);
    for (int l = 0; g->kind == GEMM_ROTATE && l < L; l++)
        if (set * L + l < g->out.C)
            pack_rotated(k, w, set * L + l, to);
    /* The output vectors of a subblock are interleaved, so they take turns. */
    for (int v = 0; g->kind != GEMM_ROTATE && v < g->input_vectors; v += PACKED_VECTORS)
        for (int b = begin; b < end; b++) {
            const int stop = v + PACKED_VECTORS;
            pack_vectors(k, w, set, b, v, stop < g->input_vectors ? stop : g->input_vectors,
                         to + (b - begin) * L);
        }
    return WEFT_OK;
}
