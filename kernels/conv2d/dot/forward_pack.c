/* Forward and backward-data over bf16: the packed weights. A tile reads the plain f32 weights as
 * they lie and rounds each once. */
#include "kernels/conv2d/dot/forward.h"
#include "kernels/simd/transpose.h"

enum { ROWS = 256 /* vectors of 16 outputs that are made at once: 16 KiB */ };

/* Plain weights as the pass sees them: the taps of output channel o and input channel i of a group start
 * at o * output + i * input, in elements. */
typedef struct plain {
    const float *w;
    size_t output, input;
} plain;

static plain plain_of(const wf_conv2d *k, const float *w, int group)
{
    const dot_forward *s = k->state;
    const size_t taps = (size_t)k->desc.R * (size_t)k->desc.S;
    w += (size_t)group * (size_t)s->OG * (size_t)s->IG * taps;
    if (k->pass == WF_CONV2D_FORWARD)
        return (plain){w, (size_t)s->IG * taps, taps};
    return (plain){w, taps, (size_t)s->OG * taps};
}

/* row[i][l] = from[l * output + i], for n values i, 8 at least, and all lanes l. */
static void transpose(const float *from, size_t output, int n, float (*row)[L])
{
    for (int i = 0; i < n; i += 8) {
        const int at = i + 8 <= n ? i : n - 8; /* the last ones once more */
        for (size_t l = 0; l < L; l += 8)
            wf_transpose8(from + l * output + at, output, row[at] + l, L);
    }
}

/* Taps [t0, t0 + n) of `channels` channels from `from` on: row[c * n + t][output], zero where there is
 * neither channel nor output. */
static void load_rows(plain w, const float *from, int taps, int t0, int n, int channels, int inputs,
                      int outputs, float (*row)[L])
{
    if (outputs == L && inputs >= channels && n == taps) {
        if (w.input == (size_t)taps && channels * taps >= 8) {
            transpose(from, w.output, channels * taps, row);
            return;
        }
        if (w.output == (size_t)taps && (taps == 1 || taps >= 8)) {
            for (int c = 0; c < channels; c++)
                if (taps == 1)
                    memcpy(row[c], from + (size_t)c * w.input, sizeof row[c]);
                else
                    transpose(from + (size_t)c * w.input, w.output, taps, row + c * taps);
            return;
        }
    }
    memset(row, 0, (size_t)(channels * n) * sizeof *row);
    for (int c = 0; c < channels && c < inputs; c++)
        for (int l = 0; l < outputs; l++)
            for (int t = 0; t < n; t++)
                row[c * n + t][l] =
                    from[(size_t)l * w.output + (size_t)c * w.input + (size_t)(t0 + t)];
}

static void store_pair(const float *even, const float *odd, uint16_t *to)
{
    const wf_vi low = wf_vi_sar(wf_vf_as_i(wf_vround_bf16(wf_vload(even))), 16);
    const wf_vf mask = wf_vi_as_f(wf_vi_set1(0xffff));
    const wf_vf both = wf_vor(wf_vand(wf_vi_as_f(low), mask), wf_vround_bf16(wf_vload(odd)));
    wf_vi_store((int32_t *)to, wf_vf_as_i(both));
}

/* Input block v of output block b of a group; its vectors lie `step` elements apart from `to` on. */
static void pack_square(const dot_forward *s, int taps, plain w, int v, int b, size_t step,
                        uint16_t *to)
{
    float row[ROWS][L];
    const int left = s->OG - b * L, outputs = left < L ? left : L;
    const int channels = L * taps <= ROWS ? L : 2, most = ROWS / 2;
    for (int c = 0; c < L; c += channels)
        for (int t0 = 0; t0 < taps; t0 += most) {
            const int n = taps - t0 < most ? taps - t0 : most, i = v * L + c;
            const float *from = w.w + (size_t)(b * L) * w.output + (size_t)i * w.input;
            load_rows(w, from, taps, t0, n, channels, s->IG - i, outputs, row);
            for (int t = 0; t < n; t++) {
                const dot_place p = s->tap[t0 + t];
                if (p.start < 0)
                    continue;
                const size_t first = (size_t)(p.start + v * p.step) / (2 * L);
                for (int j = 0; j < channels; j += 2)
                    store_pair(row[j * n + t], row[(j + 1) * n + t],
                               to + (first + (size_t)(c + j) / 2) * step);
            }
        }
}

/* Input blocks [v0, v1) of unit `unit` of a group. */
static void pack_unit(const wf_conv2d *k, plain w, int group, int unit, int v0, int v1,
                      uint16_t *packed)
{
    const dot_forward *s = k->state;
    const int begin = dot_unit_first(s, unit), end = dot_unit_first(s, unit + 1);
    uint16_t *to = packed + (size_t)(group * s->blocks + begin) * s->packed_block;
    for (int b = begin; b < end; b++)
        for (int v = v0; v < v1; v++)
            pack_square(s, k->desc.R * k->desc.S, w, v, b, (size_t)(end - begin) * 2 * L,
                        to + (b - begin) * 2 * L);
}

/* A tile reads whole rows of the plain weights: of forward a unit's outputs, of backward-data an input
 * block. */
weft_status dot_pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const dot_forward *s = k->state;
    const bool forward = k->pass == WF_CONV2D_FORWARD;
    const int tiles = dot_pack_tiles(s, k->pass), group = tile / tiles, at = tile % tiles;
    const plain w = plain_of(k, weights, group);
    for (int unit = forward ? at : 0; unit < (forward ? at + 1 : s->units); unit++)
        pack_unit(k, w, group, unit, forward ? 0 : at, forward ? s->vectors : at + 1, packed);
    return WEFT_OK;
}
