/* What the command line of weft-bench says: its modes, the options that its flags fill in, and the
 * table of both. Google Benchmark's flags pass through. Texts point into argv. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <string.h>

#include "cli/parser/flags.h"
#include "weft/models.h"

/* What is run; flag.commands is a set of these. */
typedef enum bench_mode {
    BENCH_SUITE = 1u << 0,   /* Google Benchmark over everything registered */
    BENCH_MACHINE = 1u << 1, /* --machine: its peaks alone */
    BENCH_ERRORS = 1u << 2,  /* --errors: of the convolution kernels */
    BENCH_LAYERS = 1u << 3,  /* --layers: convolutions of networks beside oneDNN's best */
    BENCH_COSTS = 1u << 4,   /* --costs: what kernels expect, under constants that stdin gives */
    BENCH_STEP = 1u << 5,    /* --step: one training step, alone in its process */
    BENCH_OPS = 1u << 6,     /* --ops: element-wise ops beside a copy */
    BENCH_LOAD = 1u << 7,    /* --load: a loader over pictures */
    BENCH_ENGINE = 1u << 8   /* --engine: what scheduling and recording cost */
} bench_mode;

typedef struct bench_options {
    bool given[FLAGS_MAX]; /* by place in the table: the command line has it */
    bench_mode mode;
    bool machine, errors; /* each asks for its mode, as layers, costs and model do */
    const char *layers;   /* networks; NULL: not asked for */
    const char *costs;    /* the same */
    const char *ops;      /* what their names have, or "all"; NULL: not asked for */
    const char *load;     /* data set; NULL: not asked for */
    const char *engine;   /* a model; NULL: not asked for */
    const char *model;    /* of --step; NULL: not asked for */
    const char *shapes;   /* NULL: the built-in ones */
    const char *only;     /* of --layers; NULL: all of them */
    flag_list model_args; /* "key=value" */
    char model_args_text[FLAG_LIST_TEXT];
    weft_model_arg args[FLAG_LIST_MAX]; /* model_args, cut in two; they point into the text */
    int n_args;
    int64_t batch;            /* 0: 64, or the file's */
    int64_t size;             /* 0: the model's own; 224 for --load */
    int64_t workers;          /* of --load */
    bool fast_decode;         /* of --load */
    bool bytes;               /* of --step */
    const char *dtype;        /* of --step, or of the images of --layers */
    const char *opt;          /* of --step */
    const char *against;      /* of --layers */
    const char *recompute;    /* of --step: globs over modules; NULL: none */
    const char *memory_limit; /* of --step; NULL: none */
    size_t memory_bytes;      /* what it says; 0: no limit */
    double seconds;           /* 0: the mode's default */
    bool cold;
    bool branches; /* of --step */
    bool sequence; /* of --step */
    bool scaling;
    int64_t threads;   /* 0: as the library chooses */
    const char *json;  /* NULL: text on stdout; "-": stdout */
    const char *csv;   /* of --layers; the same */
    const char *trace; /* NULL: none */
    bool help;
    bool list; /* --benchmark_list_tests: nothing is measured */
} bench_options;

/* Every mode, every flag, and what plain `weft-bench` does. The suite's name is "". */
extern const flag_table bench_table;

/* Takes what is ours out of argv. False, with one sentence in `error`, on bad use. */
bool bench_parse(int *argc, char **argv, bench_options *options, char *error, size_t size);
void bench_usage(FILE *out);

static inline bool bench_is_bf16(const bench_options *options)
{
    return strcmp(options->dtype, "bf16") == 0;
}

#endif
