/* oneDNN 2.6 and 3.x behind one small interface; private to this folder.
 *
 * Note [oneDNN and threads]
 * A primitive bakes in, when it is created, how many threads will share its work. Run inside a
 * parallel region by one thread, a primitive made for two computes wrong weight gradients without
 * a word. So every primitive is created by the functions below, which make OpenMP believe in one
 * thread while they work, and every worker that runs one has called omp_set_num_threads(1).
 * Creation is for one thread at a time. A primitive may be run by many workers at once, each with
 * memory objects, stream and scratchpad of its own. tests/kernels/test_conv2d_threads.c watches. */
#ifndef WF_ONEDNN_H
#define WF_ONEDNN_H

#include <dnnl.h>
#include <dnnl_version.h>

#include "kernels/conv2d/conv2d.h"

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t wf_dnnl_md;
typedef const_dnnl_memory_desc_t wf_dnnl_const_md;
#else
typedef dnnl_memory_desc_t *wf_dnnl_md;
typedef const dnnl_memory_desc_t *wf_dnnl_const_md;
#endif

/* Owned memory descriptors (NULL on failure); free takes NULL. */
wf_dnnl_md wf_dnnl_md_create(int rank, const int64_t *dims, dnnl_data_type_t type,
                             dnnl_format_tag_t tag);
wf_dnnl_md wf_dnnl_md_clone(wf_dnnl_const_md md);
void wf_dnnl_md_free(wf_dnnl_md md);

/* A primitive with the descriptors it settled on. */
typedef struct wf_dnnl_conv {
    dnnl_primitive_t primitive;
    wf_dnnl_md src, weights, bias, dst, scratch; /* bias may be NULL */
    size_t weights_bytes, scratch_bytes;
    char name[32]; /* oneDNN's name of the implementation */
} wf_dnnl_conv;

/* One pass of a convolution over one image. False, with a reason, where oneDNN has nothing or only
 * its reference. The weights' format is oneDNN's choice, and their type dst's; weight gradients are f32.
 * Destroy takes half-built objects. */
bool wf_dnnl_conv_create(wf_dnnl_conv *c, dnnl_engine_t engine, const wf_conv2d_desc *d,
                         wf_conv2d_pass pass, char *why, size_t size);
void wf_dnnl_conv_destroy(wf_dnnl_conv *c);
/* The whole batch on so many threads, every operand in the format oneDNN likes best, by Winograd unless
 * no_winograd: the yardstick of best.h, never run inside a parallel region. The reference is
 * accepted. */
bool wf_dnnl_conv_create_batch(wf_dnnl_conv *c, dnnl_engine_t engine, const wf_conv2d_desc *d,
                               wf_conv2d_pass pass, int threads, bool no_winograd, char *why,
                               size_t size);

/* A copy from one format to another; NULL on failure. */
dnnl_primitive_t wf_dnnl_reorder_create(dnnl_engine_t engine, wf_dnnl_const_md from,
                                        wf_dnnl_const_md to);

/* c = a b on so many threads, never inside a parallel region; NULL on failure. name: of the
 * implementation. */
dnnl_primitive_t wf_dnnl_matmul_create(dnnl_engine_t engine, wf_dnnl_const_md a, wf_dnnl_const_md b,
                                       wf_dnnl_const_md c, int threads, char *name, size_t size);

/* The weights' dimensions (with groups: 5) and plain tag; returns the rank. */
int wf_dnnl_weights_dims(const wf_conv2d_desc *d, int64_t dims[5], dnnl_format_tag_t *plain);

#endif
