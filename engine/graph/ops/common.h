/* What op files share: cutting element-wise work into tiles, checks of types, sample inputs.
 *
 * Threading: everything runs on the recording thread, except the wf_cut_ functions on tiles. */
#ifndef WF_OPS_COMMON_H
#define WF_OPS_COMMON_H

#include "engine/base/error.h"
#include "engine/graph/op.h"

/* Every op, so that gradient rules can record others. */
#define WF_OP(name) extern const wf_op wf_op_##name;
#include "engine/graph/ops/ops.def"
#undef WF_OP

/* ---- tiles of elementwise work ---------------------------------------------------------------*/

/* How element-wise work is cut into tiles. A tile is one image where the images are activations or
 * large: then the task can join a task group, and the image is in cache. Else a tile is a run of
 * WF_CHUNK elements. */
typedef struct wf_cut {
    /* chunk: elements of a tile (the last may have fewer); total: all elements */
    int64_t tiles, chunk, total;
    wf_access access;
} wf_cut;

enum { WF_CHUNK = 16384 /* elements */, WF_LARGE_IMAGE = 4096 /* bytes */ };

wf_cut wf_cut_images(const wf_operand *o); /* as described above */
/* always runs of WF_CHUNK elements: weights, optimizers */
wf_cut wf_cut_elements(const wf_operand *o);
wf_cut wf_cut_each_image(const wf_operand *o); /* always images, of any rank and size */

static inline void *wf_cut_ptr(const wf_cut *c, const wf_tile *t, wf_buf buf, size_t size,
                               int64_t tile)
{
    if (c->access == WF_TILED)
        return wf_image(t, buf, tile);
    return (char *)wf_data(t, buf) + (size_t)(tile * c->chunk) * size;
}

static inline size_t wf_cut_count(const wf_cut *c, int64_t tile)
{
    int64_t left = c->total - tile * c->chunk;
    return (size_t)(left < c->chunk ? left : c->chunk);
}

/* For ops that treat each channel differently and so need whole images: a tile is one image where
 * wf_cut_images says so, else a run of images with about WF_CHUNK elements together. */
typedef struct wf_image_cut {
    bool tiled; /* one image */
    int64_t tiles, images, per_tile;
    size_t image_bytes;
} wf_image_cut;

wf_image_cut wf_cut_whole_images(const wf_operand *o);

/* The first image of a tile, and the number of its images. */
static inline int64_t wf_image_cut_first(const wf_image_cut *c, int64_t tile)
{
    return tile * c->per_tile;
}
static inline int64_t wf_image_cut_count(const wf_image_cut *c, int64_t tile)
{
    const int64_t left = c->images - tile * c->per_tile;
    return left < c->per_tile ? left : c->per_tile;
}
static inline void *wf_image_cut_ptr(const wf_image_cut *c, const wf_tile *t, wf_buf buf,
                                     int64_t image)
{
    return c->tiled ? wf_image(t, buf, image)
                    : (char *)wf_data(t, buf) + (size_t)image * c->image_bytes;
}

/* ---- operands --------------------------------------------------------------------------------*/

/* All elements of the operand, padding channels included. */
static inline int64_t wf_operand_count(const wf_operand *o)
{
    return o->N * (int64_t)wf_act_count(o->act);
}

/* Elements of shape's dimensions [from, to). */
static inline int64_t wf_dims_count(const weft_shape *s, int from, int to)
{
    int64_t n = 1;
    for (int i = from; i < to; i++)
        n *= s->dim[i];
    return n;
}

/* Describes one image as channels x pixels. Dimension 1 is the channels for every rank from 2
 * on. */
wf_act wf_channel_act(const wf_operand *o);

/* What lower returns after its last task. NULL: the context has the error. */
static inline weft_status wf_lowered(const wf_lower *l, const wf_task *task)
{
    return task ? WEFT_OK : WEFT_ERR_NOMEM;
}

/* Adds a task that reads all inputs and writes output 0, in the tiles of `cut`. */
wf_task *wf_lower_cut(wf_lower *l, const char *kernel, wf_tile_fn fn, const void *args,
                      size_t args_size, const wf_cut *cut, double flops_per_element);

/* ---- recording -------------------------------------------------------------------------------*/

/* The type as which ops see the operand: Note [Stored bf16] in engine/tensor/tensor.h. */
static inline weft_dtype wf_operand_dtype(const weft_tensor *t)
{
    return wf_read_as(weft_tensor_dtype(t));
}
/* Checks that input i is f32 or f64. */
weft_status wf_infer_float(const wf_infer *f, int i);
/* Checks that input i has input 0's type and shape. */
weft_status wf_infer_like_first(const wf_infer *f, int i);
/* Checks that inputs 0 and 1 are logits (N, K) and labels (N). */
weft_status wf_infer_logits_and_labels(const wf_infer *f);
/* Checks that all inputs are f32 or all f64, and of one shape. The outputs are like input 0. */
weft_status wf_infer_same(wf_infer *f);
/* Size of a text for a shape, such as "[2, 3]". */
enum { WF_SHAPE_TEXT = 160 };
/* The dimension `dim`, counted from the front; -1, with the error set, where it is outside the
 * rank. */
int wf_infer_dim(const wf_infer *f, int64_t dim, int rank);

/* Broadcasts the n tensors (at most 3) to their common shape by NumPy's rules, in place. False on
 * failure and where one is NULL. `op` names the caller in messages. */
bool wf_record_broadcast(const char *op, weft_tensor **in, int n);
/* Broadcasts a and b to their common shape and records op on them. NULL on failure. */
weft_tensor *wf_record_pair(const wf_op *op, const void *attrs, weft_tensor *a, weft_tensor *b);
/* x with another shape of the same number of elements; x itself where it has this shape. */
weft_tensor *wf_record_reshape(weft_tensor *x, weft_shape shape);

/* For ops on images (N, C, H, W) that also take a single image (C, H, W). wf_record_batched makes a
 * single image a minibatch of one and sets *one; else returns x. wf_record_unbatched removes this
 * dimension from the result. NULL stays NULL. */
weft_tensor *wf_record_batched(weft_tensor *x, bool *one);
weft_tensor *wf_record_unbatched(weft_tensor *y, bool one);

/* ---- sample inputs -------------------------------------------------------------------------- */

/* One row of an op's table of sample inputs. */
typedef struct wf_sample_case {
    const char *name;
    int n_in;
    weft_shape shape[4];
    weft_tensor *(*apply)(void *user, weft_tensor *const *in, int n);
    const void *user;
} wf_sample_case;

/* Fills `sample` with case `index` of n: f64 inputs that require gradients. Their values are fixed,
 * between 0.1 and 1.9 in size with either sign, no two equal, so none is near a kink at zero.
 * False: there is no such case. */
bool wf_sample_from(weft_context *ctx, const wf_sample_case *cases, int n, int index,
                    wf_sample *sample);

#endif
