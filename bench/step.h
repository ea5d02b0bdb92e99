/* Whole training steps on synthetic data, the same work that bench/torch_step.py times. */
#ifndef BENCH_STEP_H
#define BENCH_STEP_H

#include <stdint.h>

#include "kernels/types.h"
#include "weft/models.h"

typedef struct bench_step_spec {
    const char *model;
    int batch;
    int size; /* 0: the model's own */
    int threads;
    bool bf16;                  /* mixed precision */
    bool bytes;                 /* images of bytes, normalised within the step; else of floats */
    const char *trace;          /* where to write the timeline; NULL: nowhere */
    const weft_model_arg *args; /* the model's own options */
    int n_args;
} bench_step_spec;

typedef struct bench_step_result {
    int size, threads;
    weft_isa isa;
    double median_step_s;
    int64_t steps;
    double rss_mb; /* the process's peak so far */
} bench_step_result;

/* Warms up, then steps for `seconds`. */
weft_status bench_step_measure(const bench_step_spec *spec, double seconds,
                               bench_step_result *result, weft_error *err);

/* Registers step/<model>/b<batch> for the models that are there. What it returns must live until
 * the run is over (free); NULL when memory is out. */
bench_step_spec *bench_step_register(int threads);

#endif
