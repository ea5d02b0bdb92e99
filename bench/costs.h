/* What kernels expect layers to cost under given constants: what bench/fit_costs.py asks. One
 * thread. */
#ifndef BENCH_COSTS_H
#define BENCH_COSTS_H

#include <stdio.h>

#include "kernels/types.h"
#include "weft/status.h"

/* Serves `in` until it ends. First a line: {"class": its name, "peak": multiply-adds a cycle,
 * "constants": {name: value, ...}, "rows": [[network, layer, pass, implementation], ...]}. Then
 * for each line of `in`, a JSON object of constants that are other than the class's, a JSON array:
 * the cycles that each row expects. */
weft_status bench_costs_serve(const char *networks, int batch, weft_isa isa, FILE *in, FILE *out,
                              weft_error *err);

#endif
