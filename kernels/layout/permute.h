/* Permuted dimensions of a dense array.
 *
 * Threading: pure functions, any thread; bits are moved, never changed. x and y must not overlap. */
#ifndef WF_KERNELS_PERMUTE_H
#define WF_KERNELS_PERMUTE_H

#include "kernels/types.h"

enum { WF_PERMUTE_RANK = 6 };

/* y, dense and row-major of shape dim[0..rank), takes from x the elements that lie stride[i]
 * elements apart along y's dimension i; `size` bytes an element (1, 2, 4, 8), rank <=
 * WF_PERMUTE_RANK. */
void wf_permute(size_t size, int rank, const int64_t *dim, const int64_t *stride, const void *x,
                void *y);

#endif
