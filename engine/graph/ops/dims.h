/* Lists of dimensions, as users give them and as ops need them. A set of dimensions is a bit mask:
 * bit i stands for dimension i. Threading: the recording thread. */
#ifndef WF_OPS_DIMS_H
#define WF_OPS_DIMS_H

#include "engine/graph/op.h"

/* Sets *bits to the dimensions of x that `dims` names (none for a scalar). False on failure and
 * where x is NULL. As in torch, one may name dimension 0 or -1 of a scalar. `op` names the caller
 * in messages. */
bool wf_record_dims(const char *op, weft_tensor *x, weft_dims dims, unsigned *bits);
weft_dims wf_dims_of(unsigned bits);

/* The strides of `from` along the dimensions of `to`, to which it broadcasts: 0 where it is
 * broadcast. */
void wf_broadcast_strides(const weft_shape *from, const weft_shape *to, int64_t *stride);
/* x with the dimensions of `bits` merged into one, which is dimension *dim of the result (for a
 * scalar: one of size 1). If they are neighbours, this only reshapes. Else it moves them behind the
 * others, which keep their order. */
weft_tensor *wf_record_one_dim(weft_tensor *x, unsigned bits, int *dim);
/* Undoes wf_record_one_dim for a tensor y of the result's shape. `shape` is the shape that x
 * had. */
weft_tensor *wf_record_dims_back(weft_tensor *y, unsigned bits, weft_shape shape);
/* The shape x without the dimensions of `bits`; with `keep`, they stay with size 1. */
weft_shape wf_shape_kept(weft_shape x, unsigned bits, bool keep);

#endif
