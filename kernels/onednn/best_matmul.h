/* oneDNN's matrix product, or a batch of them, all threads in a parallel region of its own, operands laid out as ours
 * are: the yardstick of the benchmarks, and used nowhere else.
 *
 * Threading: create, run and destroy outside any parallel region, one thread at a time. */
#ifndef WF_ONEDNN_BEST_MATMUL_H
#define WF_ONEDNN_BEST_MATMUL_H

#include "kernels/matmul/matmul.h"

typedef struct wf_dnnl_best_matmul wf_dnnl_best_matmul;

/* With operands of its own, of any finite numbers. NULL where oneDNN cannot, or memory is out. */
wf_dnnl_best_matmul *wf_dnnl_best_matmul_create(const wf_matmul_desc *d, int threads);
void wf_dnnl_best_matmul_destroy(wf_dnnl_best_matmul *b); /* NULL: no effect */
const char *wf_dnnl_best_matmul_name(const wf_dnnl_best_matmul *b);
void wf_dnnl_best_matmul_run(const wf_dnnl_best_matmul *b);

#endif
