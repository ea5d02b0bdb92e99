/* Tensors: shapes, storage, reading and writing.
 *
 * A tensor is either *stored* (parameter, buffer, input: it owns memory, plain row-major, logical
 * order NCHW) or *recorded* (a node of the current step's graph: no memory of its own, numbers
 * exist when something needs them). Stored tensors are reference counted and belong to whoever
 * created them. Recorded tensors belong to the context and end with the step; using one later is
 * an error that says so, never a crash. */
#ifndef WEFT_TENSOR_H
#define WEFT_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"
#include "weft/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_context weft_context;
typedef struct weft_tensor weft_tensor;

#define WEFT_MAX_RANK 6
typedef struct weft_shape {
    int rank; /* 0: a scalar */
    int64_t dim[WEFT_MAX_RANK];
} weft_shape;

/* Dimensions of a tensor, negative ones counted from the end. None at all is refused wherever
 * dimensions are taken, so that {0} is no trap. */
typedef struct weft_dims {
    int n; /* -1: every dimension, whatever the rank */
    int dim[WEFT_MAX_RANK];
} weft_dims;

/* WEFT_SHAPE(64, 1, 28, 28) is a weft_shape; WEFT_SCALAR has rank 0. WEFT_DIMS(2, -1) names two
 * dimensions, WEFT_ALL_DIMS every one. */
#ifndef __cplusplus
#define WEFT_SHAPE(...)                                                                            \
    ((weft_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#define WEFT_SCALAR ((weft_shape){0, {0}})
#define WEFT_DIMS(...)                                                                             \
    ((weft_dims){(int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), {__VA_ARGS__}})
#define WEFT_ALL_DIMS ((weft_dims){-1, {0}})
#else
extern "C++" {
template <typename... T> inline weft_shape weft_shape_of(T... dim)
{
    return weft_shape{static_cast<int>(sizeof...(dim)), {static_cast<int64_t>(dim)...}};
}
template <typename... T> inline weft_dims weft_dims_of(T... dim)
{
    return weft_dims{static_cast<int>(sizeof...(dim)), {static_cast<int>(dim)...}};
}
}
#define WEFT_SHAPE(...) weft_shape_of(__VA_ARGS__)
#define WEFT_SCALAR (weft_shape{0, {0}})
#define WEFT_DIMS(...) weft_dims_of(__VA_ARGS__)
#define WEFT_ALL_DIMS (weft_dims{-1, {0}})
#endif

int64_t
weft_shape_count(weft_shape shape); /* elements; 1 for a scalar; -1 on overflow or dim < 0 */
bool weft_shape_equal(weft_shape a, weft_shape b);
/* Writes "[64, 1, 28, 28]" into text (at most size bytes, terminated); returns text. */
char *weft_shape_format(weft_shape shape, char *text, size_t size);

/* A new stored tensor, zero-filled, owned by the caller (weft_tensor_unref). NULL on failure, the
 * context has the error. A dimension may be 0: such a tensor has no elements (weft/ops.h). */
weft_tensor *weft_tensor_create(weft_context *ctx, weft_dtype dtype, weft_shape shape);
/* The same, with a copy of `data`: weft_shape_count(shape) elements, row-major. */
weft_tensor *weft_tensor_from(weft_context *ctx, weft_dtype dtype, weft_shape shape,
                              const void *data);
weft_tensor *weft_tensor_full(weft_context *ctx, weft_dtype dtype, weft_shape shape, double value);
/* Standard normal values (f32 or f64), from the context's seeded counter-based generator. */
weft_tensor *weft_randn(weft_context *ctx, weft_shape shape);

/* Returns t; recorded tensors and NULL: no effect. Using a stored tensor after its last unref is an
 * error that says so, here and everywhere, while its context lives and its handle is not among the
 * many reused since. */
weft_tensor *weft_tensor_ref(weft_tensor *t);
void weft_tensor_unref(weft_tensor *t); /* NULL and recorded tensors: no effect */

weft_context *weft_tensor_context(const weft_tensor *t);
weft_shape weft_tensor_shape(const weft_tensor *t);
weft_dtype weft_tensor_dtype(const weft_tensor *t);
bool weft_tensor_is_stored(const weft_tensor *t);

/* Copies all elements, row-major, to or from `data`; `bytes` must be the tensor's exact size.
 * Reading a recorded tensor runs what it depends on. Writing a stored tensor that pending work
 * still reads runs that work first. */
weft_status weft_read(weft_tensor *t, void *data, size_t bytes);
weft_status weft_write(weft_tensor *t, const void *data, size_t bytes);
/* The value of a one-element tensor as a double; NaN on failure (the context has the error). */
double weft_item(weft_tensor *t);

/* Direct access to a stored tensor's memory, row-major, to read it; its pending assignment is run
 * first. Valid until the tensor is destroyed, its content until recorded work that writes the tensor
 * runs. NULL for recorded tensors (with an error). */
const void *weft_tensor_const_data(weft_tensor *t);
/* The same, to write it: counts as a weft_write, so recorded work that reads the tensor is run first,
 * and a backward pass through such work that is recorded later fails. Ask again whenever the tensor
 * has been recorded with since: writing through an older pointer changes what recorded work reads
 * when it runs. That is told where messages are heard (weft_set_message_handler), an error with
 * WEFT_LINT_ERROR and in anomaly mode, and else not noticed. */
void *weft_tensor_data(weft_tensor *t);

/* Keeps a recorded tensor's value past the step: returns a stored tensor, owned by the caller,
 * that receives the value when the step runs. Where the step fails or is discarded there is no value,
 * and reading it is WEFT_ERR_STATE. */
weft_tensor *weft_keep(weft_tensor *t);

/* Leaf gradients. Only stored f32/f64 tensors may require a gradient. */
weft_status weft_set_requires_grad(weft_tensor *t, bool requires_grad);
bool weft_requires_grad(const weft_tensor *t);

#ifdef __cplusplus
}
#endif
#endif
