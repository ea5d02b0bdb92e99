/* Forward and backward-data over bf16: packs the weights; forward.c has the format. A tile reads the plain f32
 * weights in the order in which they lie and rounds each once. */
#include "kernels/conv2d/dot/forward.h"
#include "kernels/simd/transpose.h"

enum { VECTORS_AT_ONCE = 256 /* vectors of 16 outputs, 16 KiB: half of L1 */ };

static wf_dot_plain plain_of(const wf_conv2d *k, const float *w, int group)
{
    const dot_forward *s = k->state;
    const int taps = k->desc.R * k->desc.S;
    const size_t count = (size_t)taps;
    const bool forward = k->pass == WF_CONV2D_FORWARD;
    w += (size_t)group * (size_t)s->group_outputs * (size_t)s->group_inputs * count;
    return (wf_dot_plain){.w = w,
                          .output = forward ? (size_t)s->group_inputs * count : count,
                          .input = forward ? count : (size_t)s->group_outputs * count,
                          .outputs = s->group_outputs,
                          .inputs = s->group_inputs,
                          .taps = taps,
                          .tap = s->tap};
}

/* row[i][l] = from[l * output + i], for n values i, 8 at least, and all lanes l. */
static void transpose(const float *from, size_t output, int n, float (*row)[L])
{
    for (int i = 0; i < n; i += 8) {
        const int at = i + 8 <= n ? i : n - 8; /* copies some of the last ones twice */
        for (size_t l = 0; l < L; l += 8)
            wf_transpose8(from + l * output + at, output, row[at] + l, L);
    }
}

/* Loads taps [tap_begin, tap_begin + n) of so many channels, the first at `from`, into row[c * n + t][output];
 * zeros where the group has no such channel or output. */
static void load_rows(const wf_dot_plain *w, const float *from, int tap_begin, int n, int channels,
                      int inputs, int outputs, float (*row)[L])
{
    const int taps = w->taps;
    if (outputs == L && inputs >= channels && n == taps) {
        if (w->input == (size_t)taps && channels * taps >= 8) {
            transpose(from, w->output, channels * taps, row);
            return;
        }
        if (w->output == (size_t)taps && (taps == 1 || taps >= 8)) {
            for (int c = 0; c < channels; c++)
                if (taps == 1)
                    memcpy(row[c], from + (size_t)c * w->input, sizeof row[c]);
                else
                    transpose(from + (size_t)c * w->input, w->output, taps, row + c * taps);
            return;
        }
    }
    memset(row, 0, (size_t)(channels * n) * sizeof *row);
    for (int c = 0; c < channels && c < inputs; c++)
        for (int l = 0; l < outputs; l++)
            for (int t = 0; t < n; t++)
                row[c * n + t][l] =
                    from[(size_t)l * w->output + (size_t)c * w->input + (size_t)(tap_begin + t)];
}

/* Rounds two vectors to bf16 and stores them as pairs. */
static void store_pair(const float *even, const float *odd, uint16_t *to)
{
    const wf_vi low = wf_vi_sar(wf_vf_as_i(wf_vround_bf16(wf_vload(even))), 16);
    const wf_vf mask = wf_vi_as_f(wf_vi_set1(0xffff));
    const wf_vf both = wf_vor(wf_vand(wf_vi_as_f(low), mask), wf_vround_bf16(wf_vload(odd)));
    wf_vi_store((int32_t *)to, wf_vf_as_i(both));
}

void dot_pack_square(const wf_dot_plain *w, int v, int b, size_t step, uint16_t *to)
{
    float row[VECTORS_AT_ONCE][L];
    const int left = w->outputs - b * L, outputs = left < L ? left : L, taps = w->taps;
    const int channels = L * taps <= VECTORS_AT_ONCE ? L : 2, most = VECTORS_AT_ONCE / 2;
    for (int c = 0; c < L; c += channels)
        for (int tap_begin = 0; tap_begin < taps; tap_begin += most) {
            const int n = taps - tap_begin < most ? taps - tap_begin : most, i = v * L + c;
            const float *from = w->w + (size_t)(b * L) * w->output + (size_t)i * w->input;
            load_rows(w, from, tap_begin, n, channels, w->inputs - i, outputs, row);
            for (int t = 0; t < n; t++) {
                const wf_dot_place p = w->tap[tap_begin + t];
                if (p.start < 0)
                    continue;
                const size_t first = (size_t)(p.start + v * p.step) / (2 * L);
                for (int j = 0; j < channels; j += 2)
                    store_pair(row[j * n + t], row[(j + 1) * n + t],
                               to + (first + (size_t)(c + j) / 2) * step);
            }
        }
}

/* Packs input blocks [v0, v1) of an output subblock of a group. */
static void pack_subblock(const wf_conv2d *k, const wf_dot_plain *w, int group, int subblock,
                          int v0, int v1, uint16_t *packed)
{
    const dot_forward *s = k->state;
    const int begin = dot_subblock_begin(s, subblock), end = dot_subblock_begin(s, subblock + 1);
    uint16_t *to = packed + (size_t)(group * s->output_blocks + begin) * s->packed_block_elements;
    for (int b = begin; b < end; b++)
        for (int v = v0; v < v1; v++)
            dot_pack_square(w, v, b, (size_t)(end - begin) * 2 * L, to + (b - begin) * 2 * L);
}

/* A tile reads whole rows of the plain weights: for forward the outputs of one output subblock, for
 * backward-data one input block. */
weft_status dot_pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const dot_forward *s = k->state;
    const bool forward = k->pass == WF_CONV2D_FORWARD;
    const int tiles = dot_pack_tiles(s, k->pass), group = tile / tiles, at = tile % tiles;
    const wf_dot_plain w = plain_of(k, weights, group);
    for (int subblock = forward ? at : 0; subblock < (forward ? at + 1 : s->output_subblocks);
         subblock++)
        pack_subblock(k, &w, group, subblock, forward ? 0 : at, forward ? s->input_blocks : at + 1,
                      packed);
    return WEFT_OK;
}
