/* What the manual of `weft` says besides its flags. */
#include "cli/options.h"
#include "manual.h"

static const manual_item statuses[] = {
    {"0", "It is done."},
    {"1", "It failed. One message on stderr says why."},
    {"2", "The command line makes no sense. Nothing was done."},
    {"75",
     "`weft train` has written a checkpoint, and there is more to do: its job ends, or SIGUSR1, "
     "SIGUSR2, SIGHUP or SIGXCPU came. The same command goes on."},
    {"128+N",
     "Signal N stopped it (130: SIGINT, 143: SIGTERM); `weft train` has written a checkpoint."},
};

static const manual_item files[] = {
    {"runs/MODEL-TIME/", "What `weft train` writes, unless `--output-dir` names another folder."},
    {"config.json", "Every setting, the command line, the machine and the libraries' versions."},
    {"log.jsonl, summary.csv", "One line for each epoch."},
    {"weights.safetensors, weights_best.safetensors",
     "The weights of the last epoch and of the best one, under PyTorch's names."},
    {"weights_ema.safetensors", "Their moving averages, where `--model-ema` asks for them."},
    {"evaluation.json, curve.svg, report.html, result.json",
     "Figures by class, the curves, a page with all of it, and the last figures."},
    {"~/.cache/weft/wisdom.json", "What `weft tune` has measured."},
};

static const manual_item variables[] = {
    {"OMP_NUM_THREADS, OMP_THREAD_LIMIT", "The number of threads, where `--threads` says nothing."},
    {"OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY, KMP_AFFINITY",
     "Where any of them is set, weft leaves binding threads to OpenMP."},
    {"WEFT_WISDOM", "The wisdom file, or `none`. `--wisdom` wins over it."},
    {"WEFT_MAX_ISA", "Caps the instruction set: scalar, avx2, avx512, avx512_bf16 or amx."},
    {"WEFT_MACHINE", "Chooses kernels as on a machine of the class named, to repeat its results."},
    {"WEFT_LINT", "off, warn or error: what happens to warnings about likely mistakes."},
    {"WEFT_VERBOSE", "select: prints which kernel was chosen, and why, to stderr."},
    {"WEFT_AVOID", "Convolution kernels whose names begin so are not chosen: winograd,gemm."},
    {"XDG_CACHE_HOME, HOME", "Where the wisdom file is kept."},
    {"SLURM_JOB_END_TIME, PBS_WALLTIME", "When the job ends, where `--time-limit` says nothing."},
    {"TERM", "Not set or dumb: lines in place of a progress bar."},
};

static const manual_section sections[] = {
    {"EXIT STATUS",
     "A reader of standard output that goes away (`weft train | head -1`) does not end a "
     "training.",
     statuses, sizeof statuses / sizeof *statuses, NULL},
    {"SIGNALS",
     "SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU stop `train`, `eval`, `predict` and `tune` "
     "at the next step; `train` writes a checkpoint then. More signals change nothing, but a second "
     "SIGINT ends it at once.",
     NULL, 0, NULL},
    {"BATCH JOBS",
     "With an unfinished run in `--output-dir`, `weft train` goes on where its newest checkpoint is. "
     "Before its job ends (`--time-limit`, else what Slurm or PBS says) it writes a checkpoint and "
     "leaves with status 75. `weft plan` says what memory, time and disk it needs. docs/jobs.md has "
     "scripts for Slurm, PBS and LSF.",
     NULL, 0, NULL},
    {"FILES", NULL, files, sizeof files / sizeof *files, NULL},
    {"ENVIRONMENT", NULL, variables, sizeof variables / sizeof *variables, NULL},
    {"EXAMPLES", "Train a network on Fashion-MNIST, then evaluate it:", NULL, 0,
     "weft train --data-path /usr/share/datasets/fashion-mnist --output-dir runs/first\n"
     "weft eval --weights runs/first/weights.safetensors \\\n"
     "    --data-path /usr/share/datasets/fashion-mnist"},
    {"SEE ALSO", "`weft-bench`(1)", NULL, 0, NULL},
};

const manual manual_weft = {
    .program = "weft",
    .about = "train image CNNs on CPUs",
    .description =
        "`weft` trains convolutional networks that classify images, on the cores of an x86 machine, "
        "and evaluates and uses them. Weights are safetensors files with PyTorch's names.\n\n"
        "It chooses cores, kernels and memory by itself; `weft info` and `weft explain` show what it "
        "chose. The same machine class, wisdom, version of oneDNN, weights, data and flags give the "
        "same bits, for any number of threads.",
    .table = &cli_table,
    .extra = "help --help --version",
    .sections = sections,
    .n_sections = sizeof sections / sizeof *sections,
};
