/* What the ops of 2-D pooling share: attributes, shape checks, geometry. See kernels/pool/pool.h.
 *
 * Letters: N minibatch, C channels, H W input, P Q output. */
#ifndef WF_OPS_POOL2D_H
#define WF_OPS_POOL2D_H

#include "engine/graph/ops/common.h"
#include "kernels/pool/pool.h"

typedef struct wf_pool2d_attrs {
    int64_t kernel[2], stride[2], padding[2], dilation[2]; /* height, width */
    int64_t ceil_mode, exclude_padding;
    int64_t adaptive; /* adaptive pooling: only size and out below count */
    int64_t size[2];  /* the input's H, W */
    int64_t out[2];   /* P, Q; infer computes them, except for adaptive pooling */
} wf_pool2d_attrs;

/* The user's options; zeros mean the defaults. */
wf_pool2d_attrs wf_pool2d_from(const weft_pool2d_opts *opts);

/* Checks input 0 (N, C, H, W) and the attributes; completes size and out; sets out[0]. */
weft_status wf_pool2d_infer(wf_infer *f);
/* Checks that input 0 is dy (N, C, P, Q) with P, Q = `out`. Sets out[0] to (N, C, H, W). */
weft_status wf_pool2d_infer_backward(wf_infer *f);

/* The geometry for input images with the layout of `image`; H and W come from the attributes. */
wf_pool wf_pool2d_geometry(const wf_pool2d_attrs *a, wf_act image, bool average);
/* The kernels; NULL with the error set. */
const wf_pool_fns *wf_pool2d_kernels(wf_lower *l, const wf_pool *g, weft_dtype dtype);

/* Average pooling, forward and backward, of any geometry. */
weft_status wf_pool2d_lower_avg(wf_lower *l);
weft_status wf_pool2d_lower_avg_backward(wf_lower *l);
weft_status wf_pool2d_grad_avg(wf_grad *g);
#endif
