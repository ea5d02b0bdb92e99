/* What the convolutions of f32 (conv2d.c) and of bf16 (conv2d_bf16.c) share, private to this folder: the state of a
 * planned pass, its primitive and what it runs. One image a call, one thread.
 *
 * Threading: Note [oneDNN and threads] in onednn.h. Creation is for one thread at a time; every worker has memory
 * objects and a stream of its own. A weight gradient is always computed image by image and added up here, so that its
 * bits do not depend on how far apart the images lie (over a strided batch oneDNN has only its reference kernel).
 * Functions with the name of a member of wf_conv2d_impl are that member. */
#ifndef WF_ONEDNN_RUN_H
#define WF_ONEDNN_RUN_H

#include "kernels/onednn/onednn.h"

typedef struct wf_dnnl_worker {
    dnnl_stream_t stream;
    dnnl_memory_t src, weights, bias, dst, scratch; /* of the convolution */
    dnnl_memory_t from, to;                         /* of the reorder */
} wf_dnnl_worker;

typedef struct wf_dnnl_state {
    dnnl_engine_t engine;
    wf_dnnl_conv conv;
    dnnl_primitive_t reorder;  /* between plain and oneDNN's weights; NULL where they are equal */
    wf_dnnl_md plain, blocked; /* of one reorder tile */
    size_t tile_bytes;         /* of oneDNN's weights */
    size_t plain_tile_bytes;
    wf_dnnl_worker *workers;
    int n_workers;
    void *packing; /* conv2d_bf16.c's, freed by destroy; else NULL */
} wf_dnnl_state;

/* Whether no kernel of oneDNN may run the pass, whatever the type; then writes why. */
bool wf_dnnl_misfit(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size);

/* Plans k: the primitive that oneDNN settles on, if admitted.c lists it, and each worker's objects. packs_itself: the
 * caller packs the weights of forward and backward-data (else a reorder does) and sets packed_bytes. On failure
 * writes why and leaves nothing behind. */
bool wf_dnnl_create(wf_conv2d *k, bool packs_itself, char *why, size_t size);
void wf_dnnl_destroy(wf_conv2d *k);
/* By the reorder. */
weft_status wf_dnnl_pack(const wf_conv2d *k, int worker, const void *weights, void *packed,
                         int tile);
weft_status wf_dnnl_forward(const wf_conv2d *k, int worker, const void *src, const void *weights,
                            const void *bias, void *dst, void *scratch);
weft_status wf_dnnl_backward_data(const wf_conv2d *k, int worker, const void *ddst,
                                  const void *weights, void *dsrc, void *scratch);
weft_status wf_dnnl_backward_weights(const wf_conv2d *k, int worker,
                                     const wf_conv2d_gradient_io *io, int n, void *partial_sum,
                                     int part, void *scratch);
weft_status wf_dnnl_reduce(const wf_conv2d *k, int worker, void *partial_sums,
                           size_t partial_sum_stride, void *dweights, int tile);

#endif
