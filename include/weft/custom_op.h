/* Ops of your own: forward and backward as functions on plain arrays.
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
 * Such an op is like any other: error messages show its shapes, it has gradients, runs on any
 * thread, and shows up in weft_explain. weft_gradcheck checks it, if its functions also handle
 * f64. */
#ifndef WEFT_CUSTOM_OP_H
#define WEFT_CUSTOM_OP_H

#include "weft/context.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_CUSTOM_MAX_IN 8      /* the most inputs of an op */
#define WEFT_CUSTOM_MAX_OUT 4     /* the most outputs */
#define WEFT_CUSTOM_MAX_ATTRS 256 /* the most bytes of attributes */

/* An array: row-major, without gaps. */
typedef struct weft_array {
    void *data;       /* weft_shape_count(shape) elements */
    weft_dtype dtype; /* of the elements */
    weft_shape shape; /* dimensions, the slowest first */
} weft_array;

/* What forward and backward are given. The work is cut into tiles, which run on any thread, at the
 * same time and in any order. Every tile sees the whole arrays; tile i writes a share of the
 * outputs that no other tile writes. What it computes may depend on shapes and attributes only:
 * then results do not depend on the number of threads. Arrays may be empty: a dimension is 0, and
 * data must not be read. */
typedef struct weft_custom_call {
    const void *attrs;      /* as weft_custom was given them */
    int n_in, n_out;        /* how many inputs and outputs */
    const weft_array *in;   /* the inputs, to be read only */
    const weft_array *out;  /* forward: to be filled, undefined at first; backward: its results */
    const weft_array *dout; /* backward: gradients of the outputs; one whose data is NULL is zero */
    const weft_array *din;  /* backward: to be filled with the inputs'; data NULL: not asked for */
    int64_t tile, tiles;    /* which tile this is, and how many there are */
    char *message;          /* on failure: write here what is wrong */
    size_t message_size;    /* bytes of message */
} weft_custom_call;

/* What shape inference is given: it sets types and shapes of out[] from those of in[]. All data are
 * NULL. On failure it returns a status and writes what is wrong to `message`. */
typedef struct weft_custom_infer {
    const void *attrs;    /* as weft_custom was given them */
    int n_in, n_out;      /* how many inputs and outputs */
    const weft_array *in; /* types and shapes of the inputs */
    weft_array *out;      /* to be set */
    char *message;        /* on failure: write here what is wrong */
    size_t message_size;  /* bytes of message */
} weft_custom_infer;

/* An op. name, n_in, n_out and forward are needed; zeros in other members are defaults. Weft copies
 * the struct. */
typedef struct weft_custom_op {
    const char *name; /* for messages and weft_explain */
    int n_in, n_out;  /* 1 .. WEFT_CUSTOM_MAX_IN, 1 .. WEFT_CUSTOM_MAX_OUT */
    size_t attr_size; /* bytes of attributes: settings of one use of the op, compared as bytes */
    weft_status (*infer)(const weft_custom_infer *f);  /* NULL: every output is like input 0 */
    weft_status (*forward)(const weft_custom_call *c); /* computes a tile of the outputs */
    /* Computes a tile of the inputs' gradients; NULL: the op has none. One call asks for at most
     * four gradients. An op with more inputs is called twice; in each call the din that the other
     * one fills have data NULL. */
    weft_status (*backward)(const weft_custom_call *c);
    /* How many tiles; NULL: one. Called with types and shapes alone: data is NULL. */
    int64_t (*forward_tiles)(const weft_custom_call *c);
    int64_t (*backward_tiles)(const weft_custom_call *c);
} weft_custom_op;

/* Records the op on op->n_in inputs. attrs has op->attr_size bytes, which are copied and compared,
 * so padding must be initialised; NULL where the size is 0. Returns output 0; out (may be NULL)
 * receives all outputs. NULL on failure, and when an input is NULL. */
weft_tensor *weft_custom(const weft_custom_op *op, const void *attrs, weft_tensor *const *in,
                         weft_tensor **out);

#ifdef __cplusplus
}
#endif
#endif
