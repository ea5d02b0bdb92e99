/* Ops from outside the library: forward and backward as functions on plain arrays.
 *
 *     static weft_status cube(const weft_custom_call *c)
 *     {
 *         const float *x = c->in[0].data;
 *         float *y = c->out[0].data;
 *         for (int64_t i = 0; i < weft_shape_count(c->in[0].shape); i++)
 *             y[i] = x[i] * x[i] * x[i];
 *         return WEFT_OK;
 *     }
 *     static weft_status cube_backward(const weft_custom_call *c) ... din[0] = 3 x x dout[0]
 *     static const weft_custom_op cube_op = {
 *         .name = "cube", .n_in = 1, .n_out = 1, .forward = cube, .backward = cube_backward};
 *
 *     weft_tensor *y = weft_custom(&cube_op, NULL, &x, NULL);
 *
 * Everything else comes with it: shapes in error messages, gradients, any thread, weft_gradcheck
 * (for which the functions must do f64 as well), weft_explain. */
#ifndef WEFT_CUSTOM_OP_H
#define WEFT_CUSTOM_OP_H

#include "weft/context.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_CUSTOM_MAX_IN 8
#define WEFT_CUSTOM_MAX_OUT 4
#define WEFT_CUSTOM_MAX_ATTRS 256 /* bytes */

/* An array: row-major, without gaps. */
typedef struct weft_array {
    void *data;
    weft_dtype dtype;
    weft_shape shape;
} weft_array;

/* What forward and backward are given. The whole arrays are there for every tile; tile i of `tiles`
 * writes its own part of the outputs, which no other tile writes. Tiles run on any thread, at the
 * same time, in any order. So that results do not depend on the number of threads, what a tile
 * computes may depend on shapes and attributes only. Arrays may be empty: a dimension is 0, and data is
 * not to be read. */
typedef struct weft_custom_call {
    const void *attrs;
    int n_in, n_out;
    const weft_array *in;   /* read only */
    const weft_array *out;  /* forward: to be filled, nothing in it; backward: what forward gave */
    const weft_array *dout; /* backward: gradients of the outputs; data NULL: none arrives, zero */
    const weft_array *din;  /* backward: to be filled with the inputs'; NULL: not asked for */
    int64_t tile, tiles;
    char *message; /* on failure: what is wrong, room for message_size bytes */
    size_t message_size;
} weft_custom_call;

/* Shape inference: in[] to out[] (types and shapes; data is NULL). On failure returns a status,
 * with what is wrong in `message`. */
typedef struct weft_custom_infer {
    const void *attrs;
    int n_in, n_out;
    const weft_array *in;
    weft_array *out;
    char *message;
    size_t message_size;
} weft_custom_infer;

/* Zero members but for name, n_in, n_out, forward are defaults. The descriptor is copied. */
typedef struct weft_custom_op {
    const char *name; /* for messages and weft_explain */
    int n_in, n_out;  /* 1 .. WEFT_CUSTOM_MAX_IN, 1 .. WEFT_CUSTOM_MAX_OUT */
    size_t attr_size; /* of the attributes: numbers that are part of the op, compared as bytes */
    weft_status (*infer)(const weft_custom_infer *f); /* NULL: every output is like input 0 */
    weft_status (*forward)(const weft_custom_call *c);
    weft_status (*backward)(const weft_custom_call *c); /* NULL: the op has no gradient */
    /* How many tiles; NULL: one. Called with the types and shapes alone (data is NULL). */
    int64_t (*forward_tiles)(const weft_custom_call *c);
    int64_t (*backward_tiles)(const weft_custom_call *c);
    /* backward is called once for up to four gradients asked for, so that an op with more inputs
     * may be called twice, each time with the others' data NULL. */
} weft_custom_op;

/* Records the op on op->n_in inputs. attrs: op->attr_size bytes, copied, without uninitialised
 * padding; NULL when that is 0. Returns output 0; out (may be NULL) receives all outputs. NULL on
 * failure, and when an input is NULL. */
weft_tensor *weft_custom(const weft_custom_op *op, const void *attrs, weft_tensor *const *in,
                         weft_tensor **out);

#ifdef __cplusplus
}
#endif
#endif
