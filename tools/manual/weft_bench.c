/* What the manual of `weft-bench` says besides its flags. */
#include "bench/options.h"
#include "manual.h"

static const manual_item statuses[] = {
    {"0", "It is done."},
    {"1", "It failed. One message on stderr says why."},
    {"2", "The command line makes no sense, or no benchmark has such a name."},
};

static const manual_item variables[] = {
    {"OMP_NUM_THREADS", "The number of threads, where `--threads` says nothing."},
    {"WEFT_MAX_ISA", "Caps the instruction set: scalar, avx2, avx512, avx512_bf16 or amx."},
    {"WEFT_MACHINE", "Chooses kernels as on a machine of the class named."},
    {"WEFT_WISDOM", "The wisdom file, or `none`: `none` measures the untuned choice."},
    {"WEFT_AVOID", "Convolution kernels whose names begin so are not chosen: winograd,gemm."},
};

static const manual_section sections[] = {
    {"EXIT STATUS", NULL, statuses, sizeof statuses / sizeof *statuses, NULL},
    {"ENVIRONMENT", NULL, variables, sizeof variables / sizeof *variables, NULL},
    {"EXAMPLES", "The machine's peaks, a training step, and the layers of two networks:", NULL, 0,
     "weft-bench --machine\n"
     "weft-bench --step resnet18 --batch 16\n"
     "weft-bench --layers resnet50,vgg16 --csv layers.csv"},
    {"SEE ALSO", "`weft`(1)", NULL, 0, NULL},
};

const manual manual_weft_bench = {
    .program = "weft-bench",
    .about = "measure weft's kernels and training steps",
    .description =
        "`weft-bench` measures what the machine can do, what the kernels make of it, and whole "
        "training steps. At most one of its modes can be asked for. Without a mode it runs the "
        "benchmarks that are registered with Google Benchmark, with the machine's peaks measured "
        "before and after.",
    .table = &bench_table,
    .commands_are_flags = true,
    .extra = "--benchmark_list_tests= --benchmark_filter= --benchmark_min_time= "
             "--benchmark_repetitions= --benchmark_format= --benchmark_out= "
             "--benchmark_out_format=",
    .sections = sections,
    .n_sections = sizeof sections / sizeof *sections,
};
