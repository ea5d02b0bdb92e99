/* Lists of dimensions: checks them, and merges several dimensions into one. */
#include "engine/graph/ops/dims.h"
#include "engine/graph/ops/common.h"

bool wf_record_dims(const char *op, weft_tensor *x, weft_dims dims, unsigned *bits)
{
    weft_context *ctx = wf_record_context(op, 1, 1, &x);
    if (!ctx)
        return false;
    const int rank = weft_tensor_shape(x).rank, n = dims.n < 0 ? 0 : dims.n;
    *bits = dims.n == WEFT_ALL_DIMS.n ? (1u << rank) - 1 : 0;
    if (dims.n == 0 || dims.n > WEFT_MAX_RANK || dims.n < WEFT_ALL_DIMS.n) {
        wf_fail_step(ctx, WEFT_ERR_INVALID, "%s: %d dimensions%s", op, dims.n,
                     dims.n == 0 ? "; WEFT_ALL_DIMS names all" : "");
        return false;
    }
    for (int i = 0; i < n; i++) {
        const int limit = rank > 0 ? rank : 1;
        const int dim = dims.dim[i] < 0 ? dims.dim[i] + limit : dims.dim[i];
        if (dim < 0 || dim >= limit) {
            wf_fail_step(ctx, WEFT_ERR_SHAPE,
                         "%s: dimension %d is out of range for a tensor of rank %d", op,
                         dims.dim[i], rank);
            return false;
        }
        if (*bits & 1u << dim || (rank == 0 && i > 0)) {
            wf_fail_step(ctx, WEFT_ERR_SHAPE, "%s: dimension %d is named twice", op, dim);
            return false;
        }
        *bits |= rank > 0 ? 1u << dim : 0;
    }
    return true;
}

weft_dims wf_dims_of(unsigned bits)
{
    weft_dims dims = {0};
    for (int i = 0; i < WEFT_MAX_RANK; i++)
        if (bits >> i & 1)
            dims.dim[dims.n++] = i;
    return dims.n > 0 ? dims : WEFT_ALL_DIMS;
}

/* Whether the dimensions are neighbours; sets *first and *n to the first one and their number. */
static bool neighbours(unsigned bits, int *first, int *n)
{
    *first = bits ? __builtin_ctz(bits) : 0;
    *n = __builtin_popcount(bits);
    return bits >> *first == (1u << *n) - 1;
}

/* The order of dimensions in which those of `bits` come last. */
static weft_dims last(unsigned bits, int rank)
{
    weft_dims order = {.n = rank};
    for (int i = 0, kept = 0, moved = rank - __builtin_popcount(bits); i < rank; i++)
        order.dim[bits >> i & 1 ? moved++ : kept++] = i;
    return order;
}

weft_tensor *wf_record_one_dim(weft_tensor *x, unsigned bits, int *dim)
{
    int n;
    const int rank = weft_tensor_shape(x).rank;
    if (!neighbours(bits, dim, &n)) {
        x = weft_permute(x, last(bits, rank));
        *dim = rank - n;
    }
    if (!x)
        return NULL;
    const weft_shape from = weft_tensor_shape(x);
    weft_shape to = {.rank = rank - n + 1};
    for (int i = 0; i < to.rank; i++)
        to.dim[i] = from.dim[i <= *dim ? i : i + n - 1];
    to.dim[*dim] = wf_dims_count(&from, *dim, *dim + n);
    return wf_record_reshape(x, to);
}

weft_tensor *wf_record_dims_back(weft_tensor *y, unsigned bits, weft_shape shape)
{
    int first, n;
    if (!y || neighbours(bits, &first, &n))
        return wf_record_reshape(y, shape);
    const weft_dims order = last(bits, shape.rank);
    weft_dims back = {.n = shape.rank};
    weft_shape moved = {.rank = shape.rank};
    for (int i = 0; i < shape.rank; i++) {
        back.dim[order.dim[i]] = i;
        moved.dim[i] = shape.dim[order.dim[i]];
    }
    y = wf_record_reshape(y, moved);
    return y ? weft_permute(y, back) : NULL;
}

weft_shape wf_shape_kept(weft_shape x, unsigned bits, bool keep)
{
    weft_shape y = {0};
    for (int i = 0; i < x.rank; i++) {
        if (!(bits >> i & 1))
            y.dim[y.rank++] = x.dim[i];
        else if (keep)
            y.dim[y.rank++] = 1;
    }
    return y;
}

void wf_broadcast_strides(const weft_shape *from, const weft_shape *to, int64_t *stride)
{
    int64_t step = 1;
    for (int i = to->rank - 1; i >= 0; i--) {
        int j = i - (to->rank - from->rank);
        int64_t size = j >= 0 ? from->dim[j] : 1;
        stride[i] = size == to->dim[i] && size > 1 ? step : 0;
        step *= size;
    }
}
