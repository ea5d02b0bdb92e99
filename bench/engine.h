/* What the engine itself costs, beside the kernels: weft-bench --engine. */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include <stdio.h>

#include "bench/step.h"

/* Prints as it measures: a task group of one empty tile, on one thread and on all; recording an
 * unchanged step of `model` and finding its plan; micro-batches before one optimizer step. */
weft_status bench_engine_measure(const char *model, int threads, FILE *out, weft_error *err);

#endif
