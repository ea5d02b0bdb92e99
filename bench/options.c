/* Parses weft-bench's flags; see options.h. */
#include "bench/options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool fail(char *error, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool fail(char *error, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    return false;
}

typedef enum kind { SWITCH, TEXT, COUNT, NUMBER, WORD, CHOICE, PAIR } kind;

/* Which modes a flag means something in, as bits. */
enum {
    SUITE = 1u << BENCH_SUITE,
    MACHINE = 1u << BENCH_MACHINE,
    ERRORS = 1u << BENCH_ERRORS,
    LAYERS = 1u << BENCH_LAYERS,
    COSTS = 1u << BENCH_COSTS,
    STEP = 1u << BENCH_STEP
};

typedef struct flag {
    const char *name, *value, *help;
    kind kind;
    unsigned modes;
    size_t offset;
    const char *word; /* WORD: the only value that works today; CHOICE: all, commas between */
    const char *refusal;
} flag;

#define AT(field) offsetof(bench_options, field)
#define NO_OFFSET SIZE_MAX

static const flag flags[] = {
    {"--shapes", "FILE", "convolutions to measure, in benchdnn's syntax", TEXT, SUITE, AT(shapes)},
    {"--cold", NULL, "data rotates through more than the last-level cache", SWITCH, SUITE | LAYERS,
     AT(cold)},
    {"--machine", NULL, "measure the machine's peaks, nothing else", SWITCH, MACHINE, NO_OFFSET},
    {"--errors", NULL, "print how exact the convolution kernels are, nothing else", SWITCH, ERRORS,
     NO_OFFSET},
    {"--layers", "NETWORKS",
     "time the convolutions of shape files or networks (resnet50,vgg16; all)", TEXT, LAYERS,
     AT(layers)},
    {"--only", "TEXT", "layers with this in their name, or one pass", TEXT, LAYERS, AT(only)},
    {"--scaling", NULL, "time the chosen kernels on one thread, too", SWITCH, LAYERS, AT(scaling)},
    {"--against", "WHAT", "oneDNN (its best), or oneDNN-without-winograd: PyTorch's situation",
     CHOICE, LAYERS, AT(against), "oneDNN,oneDNN-without-winograd"},
    {"--costs", "NETWORKS", "what kernels expect of these layers, for bench/fit_costs.py", TEXT,
     COSTS, AT(costs)},
    {"--step", "MODEL", "time one training step, nothing else", TEXT, STEP, AT(model)},
    {"--model-arg", "KEY=VALUE", "an option of the model's own; may be repeated", PAIR, STEP,
     NO_OFFSET},
    {"--batch", "N", "images a step (64), or instead of the shape file's", COUNT,
     STEP | LAYERS | COSTS, AT(batch)},
    {"--size", "S", "edge of the square image (the model's own)", COUNT, STEP, AT(size)},
    {"--bytes", NULL, "images of bytes, normalised within the step", SWITCH, STEP, AT(bytes)},
    {"--seconds", "X", "time to measure, after warm-up (5), or a pass of a layer (0.3)", NUMBER,
     STEP | LAYERS, AT(seconds)},
    {"--trace", "FILE", "write the timeline of the steps, for Perfetto or trace.py", TEXT, STEP,
     AT(trace)},
    {"--dtype", "TYPE", "f32, or bf16: mixed precision, as --amp bf16", CHOICE, STEP | LAYERS,
     AT(dtype), "f32,bf16"},
    {"--opt", "NAME", "sgd: momentum 0.9, weight decay 1e-4", WORD, STEP, NO_OFFSET, "sgd",
     "is not a known optimizer; known: sgd"},
    {"--json", "FILE", "one JSON object instead of text; - is stdout", TEXT,
     MACHINE | STEP | LAYERS, AT(json)},
    {"--csv", "FILE", "a table instead of text; - is stdout", TEXT, LAYERS, AT(csv)},
    {"--threads", "N", "instead of the library's choice", COUNT, SUITE | MACHINE | STEP | LAYERS,
     AT(threads)},
};
enum { N_FLAGS = sizeof flags / sizeof *flags };

void bench_usage(FILE *out)
{
    fputs("usage: weft-bench [--shapes FILE] [--cold] [--threads N] [--benchmark_FLAG=VALUE...]\n"
          "       weft-bench --machine [--threads N] [--json FILE]\n"
          "       weft-bench --errors\n"
          "       weft-bench --layers NETWORKS [--only TEXT] [--batch N] [--cold] [--scaling]\n"
          "                  [--against WHAT] [--dtype f32|bf16] [--threads N] [--seconds X]\n"
          "                  [--csv FILE] [--json FILE]\n"
          "       weft-bench --step MODEL [--model-arg KEY=VALUE...] [--batch N] [--size S]\n"
          "                  [--bytes] [--threads N] [--dtype f32|bf16] [--opt sgd] [--seconds X]\n"
          "                  [--trace FILE] [--json FILE]\n\n",
          out);
    for (int i = 0; i < N_FLAGS; i++) {
        char left[32];
        snprintf(left, sizeof left, "%s %s", flags[i].name, flags[i].value ? flags[i].value : "");
        fprintf(out, "  %-22s %s\n", left, flags[i].help);
    }
    fputs("\nGoogle Benchmark's flags choose and repeat benchmarks and set the report's form:\n"
          "  --benchmark_list_tests=true  --benchmark_filter=REGEX  --benchmark_min_time=X\n"
          "  --benchmark_repetitions=N  --benchmark_format=console|json|csv\n"
          "  --benchmark_out=FILE  --benchmark_out_format=json|csv|console\n",
          out);
}

/* Whether argument `arg` is flag f, alone or with "=value" (then *value). */
static bool is_flag(char *arg, const flag *f, char **value)
{
    size_t n = strlen(f->name);
    if (strncmp(arg, f->name, n) != 0 || (arg[n] && arg[n] != '='))
        return false;
    *value = arg[n] ? arg + n + 1 : NULL;
    return true;
}

static bool read_pair(const flag *f, char *value, bench_options *options, char *error, size_t size)
{
    char *equals = strchr(value, '=');
    if (!equals || equals == value)
        return fail(error, size, "%s: '%s' is not of the form key=value", f->name, value);
    if (options->n_model_args == BENCH_MODEL_ARGS)
        return fail(error, size, "%s: at most %d are possible", f->name, BENCH_MODEL_ARGS);
    *equals = '\0';
    options->model_args[options->n_model_args++] = (weft_model_arg){value, equals + 1};
    return true;
}

static bool is_among(const char *word, const char *list)
{
    const size_t length = strlen(word);
    for (const char *at = list; length > 0; at += strcspn(at, ",") + 1) {
        if (strcspn(at, ",") == length && strncmp(at, word, length) == 0)
            return true;
        if (!strchr(at, ','))
            break;
    }
    return false;
}

static bool read_value(const flag *f, char *value, bench_options *options, char *error, size_t size)
{
    char *end;
    void *to = f->offset == NO_OFFSET ? NULL : (char *)options + f->offset;
    errno = 0;
    switch (f->kind) {
    case SWITCH:
        if (to)
            *(bool *)to = true;
        return true;
    case TEXT:
        if (!*value)
            return fail(error, size, "%s needs a value", f->name);
        *(const char **)to = value;
        return true;
    case CHOICE:
        if (!is_among(value, f->word))
            return fail(error, size, "%s: '%s' is not among %s", f->name, value, f->word);
        *(const char **)to = value;
        return true;
    case PAIR: return read_pair(f, value, options, error, size);
    case WORD:
        if (strcmp(value, f->word) != 0)
            return fail(error, size, "%s: '%s' %s", f->name, value, f->refusal);
        return true;
    case COUNT: {
        long n = strtol(value, &end, 10);
        if (end == value || *end || errno || n < 1 || n > INT_MAX)
            return fail(error, size, "%s: '%s' is not a positive whole number", f->name, value);
        *(int *)to = (int)n;
        return true;
    }
    case NUMBER: {
        double x = strtod(value, &end);
        if (end == value || *end || errno || !(x > 0) || !isfinite(x))
            return fail(error, size, "%s: '%s' is not a positive number", f->name, value);
        *(double *)to = x;
        return true;
    }
    }
    return false;
}

static bool is_library_flag(const char *arg)
{
    return strncmp(arg, "--benchmark_", 12) == 0 || strncmp(arg, "--v=", 4) == 0;
}

static const flag *find(char *arg, char **value)
{
    for (int i = 0; i < N_FLAGS; i++)
        if (is_flag(arg, &flags[i], value))
            return &flags[i];
    return NULL;
}

/* The mode that a flag alone asks for; BENCH_SUITE: none. */
static bench_mode mode_of(const flag *f)
{
    return f->offset == AT(layers)  ? BENCH_LAYERS
           : f->offset == AT(costs) ? BENCH_COSTS
           : f->offset == AT(model) ? BENCH_STEP
           : f->modes == MACHINE    ? BENCH_MACHINE
           : f->modes == ERRORS     ? BENCH_ERRORS
                                    : BENCH_SUITE;
}

bool bench_parse(int *argc, char **argv, bench_options *options, char *error, size_t size)
{
    unsigned seen = 0;          /* bit i: flags[i] */
    const char *library = NULL; /* the first flag of Google Benchmark */
    int kept = 1, n = *argc;
    *options = (bench_options){0};
    for (int i = 1; i < n; i++) {
        char *value = NULL;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            options->mode = BENCH_HELP;
            return true;
        }
        if (is_library_flag(argv[i])) {
            options->list |= strncmp(argv[i], "--benchmark_list_tests", 22) == 0 &&
                             !strstr(argv[i], "=false") && !strstr(argv[i], "=0");
            library = library ? library : argv[i];
            argv[kept++] = argv[i];
            continue;
        }
        const flag *f = find(argv[i], &value);
        if (!f)
            return fail(error, size, "unknown argument '%s'; see --help", argv[i]);
        if (f->kind == SWITCH && value)
            return fail(error, size, "%s takes no value", f->name);
        if (f->kind != SWITCH && !value && ++i == n)
            return fail(error, size, "%s needs a value", f->name);
        if (!read_value(f, value ? value : argv[i], options, error, size))
            return false;
        bench_mode mode = mode_of(f);
        if (mode != BENCH_SUITE) {
            if (options->mode != BENCH_SUITE && options->mode != mode)
                return fail(error, size,
                            "--machine, --errors, --layers, --costs and --step exclude each other");
            options->mode = mode;
        }
        seen |= 1u << (f - flags);
    }
    for (int i = 0; i < N_FLAGS; i++)
        if (seen >> i & 1 && !(flags[i].modes & 1u << options->mode))
            return fail(error, size, "%s does not go with %s", flags[i].name,
                        options->mode == BENCH_MACHINE  ? "--machine"
                        : options->mode == BENCH_ERRORS ? "--errors"
                        : options->mode == BENCH_LAYERS ? "--layers"
                        : options->mode == BENCH_COSTS  ? "--costs"
                        : options->mode == BENCH_STEP   ? "--step"
                                                        : "benchmarks: add --machine or --step");
    if (library && options->mode != BENCH_SUITE)
        return fail(error, size,
                    "%s goes with none of --machine, --errors, --layers, --costs and --step",
                    library);
    argv[kept] = NULL;
    *argc = kept;
    return true;
}
