/* Whole training steps on synthetic data, the same work that bench/torch_step.py times. */
#ifndef BENCH_STEP_H
#define BENCH_STEP_H

#include <stdint.h>

#include "kernels/types.h"
#include "weft/weft.h"

typedef struct bench_step_spec {
    const char *model;
    int batch;
    int size; /* 0: the model's own */
    int threads;
    bool bf16;                  /* mixed precision */
    bool bytes;                 /* images of bytes, normalised within the step; else of floats */
    bool sequence;              /* one task group after the other */
    const char *trace;          /* where to write the timeline; NULL: nowhere */
    const char *recompute;      /* globs over modules; NULL: none */
    size_t memory_limit;        /* 0: none */
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

/* A step that can be run again and again. */
typedef struct bench_step {
    weft_context *ctx;
    weft_module *net;
    weft_optimizer *optimizer;
    weft_tensor *images, *labels;
    weft_tensor *mean, *std; /* of images of bytes; else NULL */
} bench_step;
weft_status bench_step_init(bench_step *s, const bench_step_spec *spec, weft_error *err);
void bench_step_done(bench_step *s);
weft_tensor *bench_step_loss(bench_step *s); /* recorded; NULL: the context has the error */
/* Runs a step. False: the context has the error. The loss is read, as a loop that logs it does. */
bool bench_step_run(bench_step *s);
bool bench_step_warm_up(bench_step *s);

/* The same plan in two ways, in turns: medians. */
typedef struct bench_step_branches_result {
    int threads;
    int64_t steps; /* of each */
    double side_by_side_s, sequence_s;
} bench_step_branches_result;
weft_status bench_step_branches(const bench_step_spec *spec, double seconds,
                                bench_step_branches_result *result, weft_error *err);

/* Warms up, then steps for `seconds`. */
weft_status bench_step_measure(const bench_step_spec *spec, double seconds,
                               bench_step_result *result, weft_error *err);

/* Registers step/<model>/b<batch> for the models that are there. What it returns must live until
 * the run is over (free); NULL when memory is out. */
bench_step_spec *bench_step_register(int threads);

#endif
