/* weft-bench's own flags; Google Benchmark's pass through. Strings point into argv. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "weft/models.h"

typedef enum bench_mode {
    BENCH_SUITE,   /* Google Benchmark over everything registered */
    BENCH_MACHINE, /* --machine: its peaks alone */
    BENCH_ERRORS,  /* --errors: of the convolution kernels */
    BENCH_LAYERS,  /* --layers: convolutions of networks beside oneDNN's best */
    BENCH_COSTS,   /* --costs: what kernels expect, under constants that stdin gives */
    BENCH_STEP,    /* --step: one training step, alone in its process */
    BENCH_HELP
} bench_mode;

enum { BENCH_MODEL_ARGS = 16 };

typedef struct bench_options {
    bench_mode mode;
    const char *shapes; /* NULL: the built-in ones */
    bool cold;
    const char *layers, *only; /* --layers; NULL: all of them */
    const char *costs;         /* networks of --costs */
    bool scaling;
    const char *dtype;   /* of --step, or of the images of --layers; NULL: f32 */
    const char *against; /* of --layers: NULL or a word of bench_against */
    const char *json;    /* NULL: text on stdout; "-": stdout */
    const char *csv;     /* of --layers; the same */
    const char *model;
    weft_model_arg model_args[BENCH_MODEL_ARGS]; /* --model-arg, as often as given */
    int n_model_args;
    int batch;         /* 0: 64, or the file's */
    int size;          /* 0: the model's own */
    bool bytes;        /* of --step */
    double seconds;    /* 0: the mode's default */
    const char *trace; /* NULL: none */
    int threads;       /* 0: as the library chooses */
    bool list;         /* --benchmark_list_tests: nothing is measured */
} bench_options;

/* Takes what is ours out of argv, whose "key=value" texts it cuts in two. False, with one
 * sentence in `error`, on bad use. */
bool bench_parse(int *argc, char **argv, bench_options *options, char *error, size_t size);
void bench_usage(FILE *out);
static inline bool bench_is_bf16(const bench_options *options)
{
    return options->dtype && strcmp(options->dtype, "bf16") == 0;
}

#endif
