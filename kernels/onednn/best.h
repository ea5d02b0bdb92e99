/* A convolution as oneDNN does it best when it may: the whole batch at once, all threads in a
 * parallel region of its own, source, weights and destination in whatever layouts it likes,
 * Winograd where it has that (unless asked not to). No reorder is part of it. The yardstick of the
 * benchmarks, and used nowhere else: the engine runs oneDNN one image at a time
 * (kernels/onednn/conv2d.c).
 *
 * Threading: create, run and destroy outside any parallel region, one thread at a time. */
#ifndef WF_ONEDNN_BEST_H
#define WF_ONEDNN_BEST_H

#include "kernels/conv2d/conv2d.h"

typedef struct wf_dnnl_best wf_dnnl_best;

/* d's layouts are ignored. no_winograd: its direct kernels only, the only ones that oneDNN 3 has and
 * PyTorch asks for. NULL and a reason where oneDNN cannot. */
wf_dnnl_best *wf_dnnl_best_create(const wf_conv2d_desc *d, wf_conv2d_pass pass, int threads,
                                  bool no_winograd, char *why, size_t size);
void wf_dnnl_best_destroy(wf_dnnl_best *b);           /* NULL: no effect */
const char *wf_dnnl_best_name(const wf_dnnl_best *b); /* "jit:avx2" */

/* Memory is the caller's, 64-byte aligned: activations, of which there may be several sets, and what
 * all sets share (weights, scratchpad). Any finite numbers will do. */
size_t wf_dnnl_best_set_bytes(const wf_dnnl_best *b);
size_t wf_dnnl_best_shared_bytes(const wf_dnnl_best *b);
void wf_dnnl_best_run(const wf_dnnl_best *b, void *set, void *shared);

#endif
