/* What conv2d.c, conv2d_lower.c and conv_transpose2d.c share: attributes of the ops, layouts and
 * lowering. */
#ifndef WF_OPS_CONV2D_LOWER_H
#define WF_OPS_CONV2D_LOWER_H

#include "engine/graph/op.h"

enum { WF_CONV2D_LIMIT = 1 << 30 }; /* of every size and of an image's pixels: kernels use ints */

/* `size` completes the shape of a gradient, which its inputs do not determine: H and W of
 * backward-data, R and S of backward-weights; 0 in conv2d. */
typedef struct wf_conv2d_attrs {
    int32_t stride[2], padding[2], dilation[2], groups, size[2];
} wf_conv2d_attrs;

/* Shape inference and gradient of backward-data. The transposed convolution is the same function
 * and uses them too. */
weft_status wf_conv2d_infer_backward_data(wf_infer *f);
weft_status wf_conv2d_grad_backward_data(wf_grad *g);

int wf_conv2d_layout_forward(const wf_lower *l, int i, const int *in_block, int block);
int wf_conv2d_layout_backward_data(const wf_lower *l, int i, const int *in_block, int block);
int wf_conv2d_layout_backward_weights(const wf_lower *l, int i, const int *in_block, int block);
weft_status wf_conv2d_lower_forward(wf_lower *l);
weft_status wf_conv2d_lower_backward_data(wf_lower *l);
weft_status wf_conv2d_lower_backward_weights(wf_lower *l);

/* For a forward or backward-weights node whose first input is images of floats: sets *can to
 * whether the kernel chosen for the node would also be chosen if it read bytes instead. If so, the
 * node gives the same bits with u8 images as its first input and one more input, the table:
 * Note [Bytes and what they stand for]. Registers the first problem with the plan and, where the
 * kernel can read bytes, the second. */
weft_status wf_conv2d_can_read_bytes(wf_lower *l, bool *can);

#endif
