/* Lists of dimensions as users give them, and as ops want them. A set of dimensions is bits: bit i
 * stands for dimension i. Threading: the recording thread. */
#ifndef WF_OPS_DIMS_H
#define WF_OPS_DIMS_H

#include "engine/graph/op.h"

/* The dimensions of x that `dims` names (none of a scalar); false on failure, and when x is NULL. As
 * in torch, a scalar has dimensions 0 and -1 to name. `op` names the caller in messages. */
bool wf_record_dims(const char *op, weft_tensor *x, weft_dims dims, unsigned *bits);
weft_dims wf_dims_of(unsigned bits);

/* x with the dimensions of `bits` as one, dimension *dim of the result (of a scalar: one of size 1):
 * by its shape alone where they are neighbours, else they are brought behind the others, which keep
 * their order. */
weft_tensor *wf_record_one_dim(weft_tensor *x, unsigned bits, int *dim);
/* Undoes that for a tensor of the result's shape: it gets the shape that x had. */
weft_tensor *wf_record_dims_back(weft_tensor *y, unsigned bits, weft_shape shape);
/* x without the dimensions of `bits`; keep: they have size 1. */
weft_shape wf_shape_kept(weft_shape x, unsigned bits, bool keep);

#endif
