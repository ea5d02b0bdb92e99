/* Convolutions: every implementation that fits, per shape and pass. */
#ifndef BENCH_CONV2D_H
#define BENCH_CONV2D_H

#include "bench/machine.h"

typedef struct bench_conv2d bench_conv2d;

/* Registers conv2d/<shape>/<pass>/<implementation> for the shapes in a file (NULL: built-in ones).
 * machine and peaks must outlive the run; peaks are read when a benchmark reports. NULL, and a
 * reason, on failure. */
bench_conv2d *bench_conv2d_register(const char *shapes, bool cold, const bench_machine *machine,
                                    const bench_peaks *peaks, char *why, size_t size);
void bench_conv2d_destroy(bench_conv2d *all); /* after the run; NULL: no effect */

#endif
