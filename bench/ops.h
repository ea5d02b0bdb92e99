/* Element-wise ops on tensors beyond the caches, beside a copy of as many bytes. */
#ifndef BENCH_OPS_H
#define BENCH_OPS_H

#include <stdio.h>

#include "bench/machine.h"

typedef struct bench_ops_spec {
    const char *only; /* cases with this in their name; NULL or "all": all of them */
    double seconds;   /* a case */
} bench_ops_spec;

/* Prints one line a case as it is measured. Each case's passes and the copy take turns; figures are
 * the shortest of many. */
weft_status bench_ops_measure(const bench_ops_spec *spec, const bench_machine *machine, FILE *out,
                              weft_error *err);

#endif
