/* Linear layers, and batches of products: every implementation that fits, and oneDNN's, by batch
 * and pass. */
#ifndef BENCH_LINEAR_H
#define BENCH_LINEAR_H

#include "bench/machine.h"

typedef struct bench_linear bench_linear;

/* Registers linear/<layer>/b<batch>/<pass>/<implementation>, oneDNN's own as onednn, and
 * matmul/<name>/... alike. With bf16 Weft's kernels may round the operands to bf16. machine and
 * peaks must outlive the run; peaks are read when a benchmark reports. NULL when memory runs
 * out. */
bench_linear *bench_linear_register(const bench_machine *machine, const bench_peaks *peaks,
                                    bool bf16);
void bench_linear_destroy(bench_linear *all); /* after the run; NULL: no effect */

#endif
