/* Forward and backward-data by tiles: packs the weights; forward.c has the format. A tile of work packs one output
 * subblock and rounds each weight once. */
#include "kernels/conv2d/amx/forward.h"
#include "kernels/conv2d/amx/transpose.h"

enum {
    MAX_TAPS = 256,                    /* with more, weights are rounded one by one */
    ROUNDED = AMX_STEP * MAX_TAPS + 16 /* numbers of a pair of inputs, at least */
};

/* Plain weights as the pass sees them: the taps of output channel o and input channel i of a group start
 * at o * output + i * input, in elements. */
typedef struct plain {
    const float *w;
    size_t output, input;
    int taps;
} plain;

static plain plain_of(const wf_conv2d *k, const float *w, int group)
{
    const amx_forward *s = k->state;
    const size_t taps = s->patched ? 1 : (size_t)k->desc.R * (size_t)k->desc.S;
    w += (size_t)group * (size_t)s->group_outputs * (size_t)s->group_inputs * taps;
    if (k->pass == WF_CONV2D_FORWARD)
        return (plain){w, (size_t)s->group_inputs * taps, taps, (int)taps};
    return (plain){w, taps, (size_t)s->group_outputs * taps, (int)taps};
}

static void round_all(const float *from, int n, uint16_t *to)
{
    int i = 0;
    for (; i + L <= n; i += L)
        wf_vstore_bf16(to + i, wf_vload(from + i));
    for (; i < n; i++)
        to[i] = wf_to_bf16(from[i]);
}

/* Some weights of 16 outputs, rounded: of output o and input i, counted from the first ones, at
 * o * output + i * input, then the taps. */
typedef struct rounded {
    uint16_t w[ROUNDED];
    size_t output, input;
} rounded;

/* Rounds n inputs from i on, an even number, and 16 outputs from o on; zeros where there are none. */
static void round_some(plain p, int o, int outputs, int i, int inputs, int n, rounded *to)
{
    const bool by_output = p.input < p.output; /* whose numbers are neighbours in memory */
    const int lines = by_output ? L : n, line = (by_output ? n : L) * p.taps;
    const int has_lines = by_output ? outputs : inputs;
    const int has = (by_output ? inputs : outputs) * p.taps;
    to->output = (size_t)(by_output ? line : p.taps);
    to->input = (size_t)(by_output ? p.taps : line);
    for (int l = 0; l < lines; l++) {
        uint16_t *w = to->w + (size_t)l * (size_t)line;
        const int there = l < has_lines ? has : 0;
        round_all(p.w + (size_t)o * p.output + (size_t)i * p.input +
                      (size_t)l * (by_output ? p.output : p.input),
                  there, w);
        memset(w + there, 0, (size_t)(line - there) * sizeof *w);
    }
}

/* Writes n / 2 pairs of inputs of tap t: to[pair][output][2]. */
static void put_tap(const rounded *r, int t, int n, uint16_t *to)
{
    for (int i = 0; i < n; i += 2, to += 2 * L) {
        const uint16_t *even = r->w + (size_t)i * r->input + t, *odd = even + r->input;
        for (int o = 0; o < L; o++, even += r->output, odd += r->output) {
            to[2 * o] = *even;
            to[2 * o + 1] = *odd;
        }
    }
}

static float weight(plain p, int o, int outputs, int i, int inputs, int t)
{
    return o < outputs && i < inputs ? p.w[(size_t)o * p.output + (size_t)i * p.input + (size_t)t]
                                     : 0;
}

/* Packs input block v of output block b. Tiles of neighbouring terms are nb * AMX_TILE apart. */
static void pack_block(const amx_forward *s, plain p, int b, int v, int nb, uint16_t *to)
{
    const int o = b * L, outputs = s->group_outputs - o < L ? s->group_outputs - o : L;
    rounded r;
    if (p.taps > MAX_TAPS) {
        for (int t = 0; t < p.taps; t++)
            for (int i = 0; i < AMX_STEP && s->place[t].start >= 0; i++)
                for (int l = 0; l < L; l++)
                    to[(s->place[t].start + v * s->place[t].step) * nb + i / 2 * 2 * L + 2 * l +
                       i % 2] = wf_to_bf16(weight(p, o + l, s->group_outputs, v * AMX_STEP + i,
                                                  s->group_inputs, t));
        return;
    }
    const int most = MAX_TAPS / p.taps * 2, n = most < AMX_STEP ? most : AMX_STEP;
    for (int i = 0; i < AMX_STEP; i += n) {
        const int now = AMX_STEP - i < n ? AMX_STEP - i : n, first = v * AMX_STEP + i;
        const int left = s->group_inputs - first;
        round_some(p, o, outputs, first, left < 0 ? 0 : left < now ? left : now, now, &r);
        if (p.taps == 1 && now == AMX_STEP && r.input == 1 && s->place[0].start >= 0) {
            amx_transpose_pairs(r.w, AMX_STEP,
                                to + (s->place[0].start + v * s->place[0].step) * nb);
            continue;
        }
        for (int t = 0; t < p.taps; t++)
            if (s->place[t].start >= 0)
                put_tap(&r, t, now,
                        to + (s->place[t].start + v * s->place[t].step) * nb + i / 2 * 2 * L);
    }
}

weft_status amx_pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const amx_forward *s = k->state;
    const int group = tile / s->output_subblocks, u = tile % s->output_subblocks;
    const int nb = amx_subblock_blocks(s, u);
    const plain p = plain_of(k, weights, group);
    uint16_t *to =
        (uint16_t *)packed + (size_t)(group * s->output_blocks + 2 * u) * s->packed_block_elements;
    for (int j = 0; j < nb; j++)
        for (int v = 0; v < s->input_blocks; v++)
            pack_block(s, p, 2 * u + j, v, nb, to + j * AMX_TILE);
    return WEFT_OK;
}
