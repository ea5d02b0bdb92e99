/* Convolution shapes in benchdnn's descriptor syntax, for tests and benchmarks.
 *
 *     g1mb16_ic64ih56oc64oh56kh3sh1dh0ph1n"res2a"
 *
 * Letters as benchdnn's: g groups, mb minibatch, ic/ih/iw input, oc/oh/ow output, kh/kw kernel,
 * sh/sw stride, dh/dw dilation (0 is dense), ph/pw padding, n"name" last; "_" may stand anywhere
 * between. Defaults as benchdnn's: g 1, mb 2, stride 1, dilation 0; a missing width is the height
 * and the other way round; a missing padding follows from the output size, a missing output size
 * from the padding (0). The same padding goes on both sides; a given output size that does not
 * follow from the rest is an error. A name may end in "*N", as in benchdnn's files of networks: the
 * network has N layers of this shape.
 *
 * Options may stand before a descriptor, and hold for those after it, or on lines of their own:
 * --dt=u8:f32:f32 (source, weights, destination; one type means all three; f32 or a source of u8),
 * --reset (back to f32).
 */
#ifndef WF_SHAPES_H
#define WF_SHAPES_H

#include <stddef.h>

#include "kernels/conv2d/conv2d.h"

typedef struct wf_shape_case {
    wf_conv2d_desc desc; /* blocks 1, no bias */
    char name[64];       /* without "*N" */
    int count;           /* N; 1 where there is none */
} wf_shape_case;

/* One descriptor, perhaps behind options. On failure false and a reason. */
bool wf_shape_parse(const char *text, wf_shape_case *out, char *why, size_t size);

/* A file of one descriptor a line; empty lines and # comments are skipped. Returns an array for
 * free() and its length, or NULL with "FILE:LINE: reason" in why. */
wf_shape_case *wf_shapes_read(const char *path, int *n, char *why, size_t size);

/* The files of this tree, then NULL. The first two between them reach every corner of a kernel,
 * with convolutions small enough for a test; the others are networks' layers, for benchmarks. */
enum { WF_SHAPES_SMALL, WF_SHAPES_ODD, WF_SHAPES_NETWORKS };
extern const char *const wf_shapes_files[];

#endif
