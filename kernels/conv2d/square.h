/* Packing of weights for VDPBF16PS, square by square: 16 outputs by 16 inputs of one tap, as 8 pairs of
 * inputs: [pair][16 outputs][2 inputs]. dot/forward_pack.c has it, for dot/ and for oneDNN's kernels of
 * bf16: oneDNN's formats OIhw8i16o2i, OIhw8o16i2o and IOhw8o16i2o consist of the same squares. "Input" and
 * "output" are the pass's. Pure functions. */
#ifndef WF_CONV2D_SQUARE_H
#define WF_CONV2D_SQUARE_H

#include <stddef.h>
#include <stdint.h>

/* Where a tap's packed weights are: for input block v at start + v * step; start < 0: the tap meets nothing. */
typedef struct wf_dot_place {
    int64_t start, step;
} wf_dot_place;

/* A group's plain f32 weights: the taps of output channel o and input channel i start at w + o * output + i * input. */
typedef struct wf_dot_plain {
    const float *w;
    size_t output, input; /* in elements */
    int outputs, inputs;  /* channels of the group */
    int taps;
    const wf_dot_place *tap; /* of each */
} wf_dot_plain;

/* Packs input block v of output block b, all taps: the pairs of a tap are `step` elements apart, the places of its
 * squares counted as if they were 32. Rounds each weight to bf16; channels that the group does not have are zero. */
typedef void wf_dot_pack_square_fn(const wf_dot_plain *w, int v, int b, size_t step, uint16_t *to);
extern wf_dot_pack_square_fn wf_dot_pack_square_avx512_bf16, wf_dot_pack_square_emul;

#endif
