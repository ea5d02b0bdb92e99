/* Tensors: shapes, storage, reading and writing.
 *
 * A tensor is stored or recorded. A *stored* tensor owns memory: it is a parameter, a buffer or an
 * input, row-major, in the order NCHW. It is reference counted and belongs to whoever created it. A
 * *recorded* tensor is what an op of the current step gives. It has no memory; its numbers are
 * computed when something needs them. It belongs to the context and ends with the step. Using it
 * later is an error that says so, never a crash. */
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

typedef struct weft_context weft_context; /* what all else belongs to: weft/context.h */
typedef struct weft_tensor weft_tensor;   /* a handle of a tensor, stored or recorded */

#define WEFT_MAX_RANK 6 /* the most dimensions that a tensor can have */
/* The sizes of a tensor's dimensions, the slowest first. */
typedef struct weft_shape {
    int rank;                   /* how many dimensions; 0: a scalar */
    int64_t dim[WEFT_MAX_RANK]; /* their sizes: the first `rank` count */
} weft_shape;

/* Some dimensions of a tensor. Functions that take dimensions refuse an empty list, so that a
 * forgotten one, {0}, does not pass for "all". */
typedef struct weft_dims {
    int n;                  /* how many; -1: every dimension, whatever the rank */
    int dim[WEFT_MAX_RANK]; /* which; negative ones count from the end */
} weft_dims;

/* Values written in place. WEFT_SHAPE(64, 1, 28, 28) is a weft_shape of rank 4, WEFT_SCALAR one of
 * rank 0. WEFT_DIMS(2, -1) names two dimensions, WEFT_ALL_DIMS all of a tensor's. */
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
bool weft_shape_equal(weft_shape a, weft_shape b); /* same rank and sizes */
/* Writes "[64, 1, 28, 28]" into text (at most size bytes, terminated); returns text. */
char *weft_shape_format(weft_shape shape, char *text, size_t size);

/* A new stored tensor, zero-filled, owned by the caller (weft_tensor_unref). NULL on failure; the
 * context then has the error. A dimension may be 0: such a tensor has no elements (weft/ops.h). */
weft_tensor *weft_tensor_create(weft_context *ctx, weft_dtype dtype, weft_shape shape);
/* The same, with a copy of `data`: weft_shape_count(shape) elements, row-major. */
weft_tensor *weft_tensor_from(weft_context *ctx, weft_dtype dtype, weft_shape shape,
                              const void *data);
/* The same, with every element `value`, which must fit the type. */
weft_tensor *weft_tensor_full(weft_context *ctx, weft_dtype dtype, weft_shape shape, double value);
/* Standard normal values (f32 or f64), from the context's seeded counter-based generator. */
weft_tensor *weft_randn(weft_context *ctx, weft_shape shape);

/* Adds a reference to a stored tensor and returns t. On recorded tensors and NULL: no effect. Using
 * a stored tensor after its last reference has gone is an error that says so, here and everywhere,
 * as long as its context lives and its handle has not been given to a new tensor. */
weft_tensor *weft_tensor_ref(weft_tensor *t);
/* Drops a reference; the last one frees the tensor. On recorded tensors and NULL: no effect. */
void weft_tensor_unref(weft_tensor *t);

weft_context *weft_tensor_context(const weft_tensor *t); /* that it belongs to */
weft_shape weft_tensor_shape(const weft_tensor *t);      /* its dimensions */
weft_dtype weft_tensor_dtype(const weft_tensor *t);      /* the type of its elements */
bool weft_tensor_is_stored(const weft_tensor *t);        /* false: recorded */

/* Copies all elements, row-major, from the tensor to `data` (read) or from `data` to the tensor
 * (write). `bytes` must be the tensor's exact size. Reading a recorded tensor first runs what it
 * depends on. Writing a stored tensor first runs recorded work that reads its old content. */
weft_status weft_read(weft_tensor *t, void *data, size_t bytes);
weft_status weft_write(weft_tensor *t, const void *data, size_t bytes);
/* The value of a one-element tensor as a double; NaN on failure (the context has the error). */
double weft_item(weft_tensor *t);

/* A stored tensor's memory, row-major, to be read. A recorded assignment to the tensor is run
 * first. The pointer is valid until the tensor is destroyed; the content, until recorded work that
 * writes the tensor runs. NULL, with an error, for recorded tensors. */
const void *weft_tensor_const_data(weft_tensor *t);
/* The same, to be written. The call counts as a weft_write: recorded work that reads the tensor is
 * run first, and a later backward pass through such work fails. Call it again after each op that
 * uses the tensor. Writing through an older pointer changes what a recorded op will read when it
 * runs. Weft reports that to the message handler (weft_set_message_handler); with WEFT_LINT_ERROR
 * and in anomaly mode it is an error; without a handler nobody notices. */
void *weft_tensor_data(weft_tensor *t);

/* Keeps a recorded tensor's value past the step. Returns a stored tensor, owned by the caller, that
 * receives the value when the step runs. If the step fails or is discarded there is no value, and
 * reading the tensor is WEFT_ERR_STATE. */
weft_tensor *weft_keep(weft_tensor *t);

/* Says whether backward passes compute a gradient for t (weft_grad): a stored tensor, f32 or
 * f64. */
weft_status weft_set_requires_grad(weft_tensor *t, bool requires_grad);
/* Whether t requires a gradient; of a recorded tensor: whether it depends on one that does. */
bool weft_requires_grad(const weft_tensor *t);

#ifdef __cplusplus
}
#endif
#endif
