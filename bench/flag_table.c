/* The flags of weft-bench, their defaults and its modes. Nothing here is mutable. */
#include <limits.h>

#include "bench/options.h"

#define AT(field) offsetof(bench_options, field)
#define ALL                                                                                        \
    (BENCH_SUITE | BENCH_MACHINE | BENCH_ERRORS | BENCH_LAYERS | BENCH_COSTS | BENCH_STEP |        \
     BENCH_OPS | BENCH_LOAD | BENCH_ENGINE)

static const flag flags[] = {
    {"machine", NULL, 0, FLAG_BOOL, AT(machine), .commands = BENCH_MACHINE, .group = "modes",
     .help = "measure the machine's peaks, nothing else"},
    {"errors", NULL, 0, FLAG_BOOL, AT(errors), .commands = BENCH_ERRORS, .group = "modes",
     .help = "print how exact the convolution kernels are, nothing else"},
    {"layers", NULL, 0, FLAG_TEXT, AT(layers), .value = "NETWORKS", .commands = BENCH_LAYERS,
     .group = "modes",
     .help = "time the convolutions of networks (resnet50,vgg16; all), or of files of shapes"},
    {"costs", NULL, 0, FLAG_TEXT, AT(costs), .value = "NETWORKS", .commands = BENCH_COSTS,
     .group = "modes", .help = "what kernels expect of these layers, for bench/fit_costs.py"},
    {"ops", NULL, 0, FLAG_TEXT, AT(ops), .value = "TEXT", .commands = BENCH_OPS, .group = "modes",
     .help =
         "time element-wise ops with this in their name, or all, beside a copy; words with commas "
         "between them: any of these"},
    {"load", NULL, 0, FLAG_TEXT, AT(load), .value = "PATH", .commands = BENCH_LOAD,
     .group = "modes",
     .help = "time a loader of these pictures: decode, crop at random, mirror; nothing else"},
    {"engine", NULL, 0, FLAG_TEXT, AT(engine), .value = "MODEL", .commands = BENCH_ENGINE,
     .group = "modes", .help = "what scheduling, and recording the model's step, cost"},
    {"step", NULL, 0, FLAG_TEXT, AT(model), .value = "MODEL", .commands = BENCH_STEP,
     .group = "modes", .help = "time one training step, nothing else"},

    {"shapes", NULL, 0, FLAG_TEXT, AT(shapes), .value = "FILE", .commands = BENCH_SUITE,
     .group = "what is measured",
     .help = "convolutions to measure, in benchdnn's syntax [those of tests/shapes]"},
    {"only", NULL, 0, FLAG_TEXT, AT(only), .value = "TEXT", .commands = BENCH_LAYERS,
     .group = "what is measured", .help = "layers with this in their name, or one pass"},
    {"model-arg", NULL, 0, FLAG_LIST, AT(model_args), .value = "KEY=VALUE", .commands = BENCH_STEP,
     .group = "what is measured", .help = "an option of the model's own; may be repeated"},
    {"batch", NULL, 0, FLAG_INT, AT(batch), 1, INT_MAX, .value = "N",
     .commands = BENCH_STEP | BENCH_LAYERS | BENCH_COSTS | BENCH_LOAD, .group = "what is measured",
     .help = "images at a time [--step: 64; --load: 32; else as the shapes say]",
     .elsewhere = "batch-size bs"},
    {"size", NULL, 0, FLAG_INT, AT(size), 1, INT_MAX, .value = "S",
     .commands = BENCH_STEP | BENCH_LOAD, .group = "what is measured",
     .help = "edge of the square images [the model's own; --load: 224]",
     .elsewhere = "input-size img-size image-size imgsz"},
    {"bytes", NULL, 0, FLAG_BOOL, AT(bytes), .commands = BENCH_STEP, .group = "what is measured",
     .help = "images of bytes, normalised within the step"},
    {"dtype", NULL, 0, FLAG_CHOICE, AT(dtype), .choices = "f32 bf16", .value = "TYPE",
     .commands = BENCH_STEP | BENCH_LAYERS | BENCH_SUITE, .group = "what is measured",
     .help = "bf16: mixed precision, as --amp bf16", .elsewhere = "amp precision"},
    {"opt", NULL, 0, FLAG_CHOICE, AT(opt), .choices = "sgd", .value = "NAME",
     .commands = BENCH_STEP, .group = "what is measured",
     .help = "optimizer; sgd has momentum 0.9, weight decay 1e-4", .elsewhere = "optim optimizer"},
    {"recompute", NULL, 0, FLAG_TEXT, AT(recompute), .value = "auto|off|PATTERN",
     .commands = BENCH_STEP, .group = "what is measured",
     .help = "do not keep what modules with such names compute; the backward pass computes it "
             "again; off: keep all"},
    {"memory-limit", NULL, 0, FLAG_TEXT, AT(memory_limit), .value = "SIZE", .commands = BENCH_STEP,
     .group = "what is measured",
     .help = "of arena and workspace, such as 800M; what does not fit is computed again"},
    {"against", NULL, 0, FLAG_CHOICE, AT(against), .choices = "oneDNN oneDNN-without-winograd",
     .value = "WHAT", .commands = BENCH_LAYERS, .group = "what is measured",
     .help = "oneDNN's best, or the best without Winograd, which is PyTorch's situation"},

    {"seconds", NULL, 0, FLAG_NUMBER, AT(seconds), 1e-6, 1e6, .value = "X",
     .commands = BENCH_STEP | BENCH_LAYERS | BENCH_OPS | BENCH_LOAD, .group = "how",
     .help = "time to measure, after warm-up [--step: 5; a pass of a layer: 0.3; an op: 0.5;"
             " --load: 5]"},
    {"workers", NULL, 'j', FLAG_INT, AT(workers), 0, 1024, .value = "N", .commands = BENCH_LOAD,
     .group = "how", .help = "loader threads; 0: the thread that asks for batches"},
    {"fast-decode", NULL, 0, FLAG_BOOL, AT(fast_decode), .commands = BENCH_LOAD, .group = "how",
     .help = "decode large JPEGs at 1/2, 1/4 or 1/8 of their size"},
    {"cold", NULL, 0, FLAG_BOOL, AT(cold), .commands = BENCH_SUITE | BENCH_LAYERS, .group = "how",
     .help = "data rotates through more than the last-level cache"},
    {"scaling", NULL, 0, FLAG_BOOL, AT(scaling), .commands = BENCH_LAYERS, .group = "how",
     .help = "time the chosen kernels on one thread, too"},
    {"branches", NULL, 0, FLAG_BOOL, AT(branches), .commands = BENCH_STEP, .group = "how",
     .help = "time the step also with one task group after the other, in turns"},
    {"sequence", NULL, 0, FLAG_BOOL, AT(sequence), .commands = BENCH_STEP, .group = "how",
     .help = "run one task group after the other"},
    {"threads", NULL, 0, FLAG_INT, AT(threads), 1, INT_MAX, .value = "N",
     .commands = BENCH_SUITE | BENCH_MACHINE | BENCH_STEP | BENCH_LAYERS | BENCH_OPS | BENCH_ENGINE,
     .group = "how", .help = "instead of the library's choice",
     .elsewhere = "num-threads nthreads cpus"},

    {"json", NULL, 0, FLAG_TEXT, AT(json), .value = "FILE",
     .commands = BENCH_MACHINE | BENCH_STEP | BENCH_LAYERS | BENCH_LOAD, .group = "output",
     .help = "one JSON object instead of text; - is stdout"},
    {"csv", NULL, 0, FLAG_TEXT, AT(csv), .value = "FILE", .commands = BENCH_LAYERS,
     .group = "output", .help = "a table instead of text; - is stdout"},
    {"trace", NULL, 0, FLAG_TEXT, AT(trace), .value = "FILE", .commands = BENCH_STEP,
     .group = "output", .help = "write the timeline of the steps, for Perfetto or tools/trace.py"},
    {"help", NULL, 'h', FLAG_BOOL, AT(help), .commands = ALL, .group = "help", .help = "this text"},
};

static const bench_options defaults = {.dtype = "f32", .opt = "sgd", .against = "oneDNN"};

static const flag_command modes[] = {
    {"", BENCH_SUITE, "Google Benchmark over the kernels and steps",
     "Google Benchmark's flags choose and repeat benchmarks and set the report's form:\n"
     "  --benchmark_list_tests=true  --benchmark_filter=REGEX  --benchmark_min_time=X\n"
     "  --benchmark_repetitions=N  --benchmark_format=console|json|csv\n"
     "  --benchmark_out=FILE  --benchmark_out_format=json|csv|console"},
    {"machine", BENCH_MACHINE, "the machine's peaks", NULL},
    {"errors", BENCH_ERRORS, "how exact the convolution kernels are", NULL},
    {"layers", BENCH_LAYERS, "convolutions of networks beside oneDNN's best", NULL},
    {"costs", BENCH_COSTS, "what kernels expect, under constants that stdin gives", NULL},
    {"ops", BENCH_OPS, "element-wise ops beside a copy", NULL},
    {"load", BENCH_LOAD, "a loader over pictures, alone in its process", NULL},
    {"engine", BENCH_ENGINE, "what scheduling and recording cost", NULL},
    {"step", BENCH_STEP, "a training step, alone in its process", NULL},
};

const flag_table bench_table = {
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .commands = modes,
    .n_commands = sizeof(modes) / sizeof(modes[0]),
    .defaults = &defaults,
    .options_size = sizeof(bench_options),
    .given = offsetof(bench_options, given),
};
