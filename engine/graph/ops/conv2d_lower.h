/* What conv2d.c, conv2d_lower.c and conv_transpose2d.c share: the attributes of the ops, layouts and
 * lowering. */
#ifndef WF_OPS_CONV2D_LOWER_H
#define WF_OPS_CONV2D_LOWER_H

#include "engine/graph/op.h"

enum { WF_CONV2D_LIMIT = 1 << 30 }; /* of every size and of an image's pixels: kernels use ints */

/* size is what a gradient's shape cannot be inferred from: H and W of backward-data, R and S of
 * backward-weights, 0 of conv2d. */
typedef struct wf_conv2d_attrs {
    int32_t stride[2], padding[2], dilation[2], groups, size[2];
} wf_conv2d_attrs;

/* Those of backward-data, for the transposed convolution, which is the same function. */
weft_status wf_conv2d_infer_backward_data(wf_infer *f);
weft_status wf_conv2d_grad_backward_data(wf_grad *g);

int wf_conv2d_layout_forward(const wf_lower *l, int i, const int *in_block, int block);
int wf_conv2d_layout_backward_data(const wf_lower *l, int i, const int *in_block, int block);
int wf_conv2d_layout_backward_weights(const wf_lower *l, int i, const int *in_block, int block);
weft_status wf_conv2d_lower_forward(wf_lower *l);
weft_status wf_conv2d_lower_backward_data(wf_lower *l);
weft_status wf_conv2d_lower_backward_weights(wf_lower *l);

/* Of a node whose first input, the image that forward or backward-weights reads, is of floats:
 * whether the kernel chosen for it is also the one chosen to read bytes in its place. With u8 as
 * first input and a table, Note [Bytes and what they stand for], as one more, the node then gives
 * the same bits. Registers the first problem, and perhaps the second. */
weft_status wf_conv2d_can_read_bytes(wf_lower *l, bool *can);

#endif
