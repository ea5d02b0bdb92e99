/* What the ops that update a stored tensor share: sgd_update.c, adam_update.c and their like.
 *
 * Inputs: parameter, gradient, the state tensors that are used, then scalars of f64 that the update
 * reads (norms). Outputs: parameter and those state tensors, in the commit phase: see
 * Note [Commit phase]. The node's scalars are a struct of kernels/optim/optim.h, or what the op's
 * own tile function makes one of. */
#ifndef WF_OPS_UPDATE_H
#define WF_OPS_UPDATE_H

#include "engine/graph/ops/common.h"
#include "engine/graph/ops/internal.h"
#include "kernels/optim/optim.h"

typedef struct wf_update_attrs {
    int64_t slots; /* bit i: state tensor i is used */
    int64_t norms; /* f64 scalars behind the state tensors */
} wf_update_attrs;

/* Of a lowered update: where its tensors are. */
typedef struct wf_update_args {
    wf_cut cut;
    wf_buf in[2 + WF_UPDATE_STATES], out[1 + WF_UPDATE_STATES]; /* -1: not used */
    wf_buf norm[2];
    size_t size;
    int scalar;
    wf_update_fn update;
} wf_update_args;

weft_status wf_update_infer(wf_infer *f);
/* Lowers the node to one task of `fn`, whose arguments are a wf_update_args. */
weft_status wf_update_lower(wf_lower *l, wf_update kernel, wf_tile_fn fn, double flops);
/* Does the tile with these settings. */
void wf_update_tile(const wf_update_args *a, const wf_tile *t, int64_t tile, const void *settings);
/* A tile function for nodes whose scalars are the kernel's settings. */
weft_status wf_update_run(const wf_tile *t, const void *args, int64_t tile);
/* Records the op and assigns the parameter and its state tensors; state[i] is NULL where slot i is
 * not used. */
weft_status wf_update_record(const wf_op *op, const void *scalars, weft_tensor *param,
                             weft_tensor *grad, weft_tensor *const *state, int n_norms,
                             weft_tensor *const *norms);

#define WF_UPDATE_SCALARS(type) ((int)(sizeof(type) / sizeof(double)))
/* What all of them say of themselves. */
#define WF_UPDATE_OP                                                                               \
    .of_nothing = WF_EMPTY_ZERO, .n_out = 1 + WF_UPDATE_STATES,                                    \
    .attr_size = sizeof(wf_update_attrs), .flags = WF_OP_COMMIT, .layout_rule = WF_LAYOUT_PLAIN,   \
    .inplace = {1, 3, 4, 5}, .infer = wf_update_infer,                                             \
    .no_grad_reason = "an update is not differentiated",                                           \
    .no_sample_reason = "it has no gradient; the value tests run it"

#endif
