/* Parses the command line of weft-bench and prints its help. */
#include "bench/options.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/parser/model_args.h"
#include "cli/parser/sizes.h"

enum { ALL_MODES = ~0u };

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

/* ---- parsing --------------------------------------------------------------------------------- */

static bool is_library_flag(const char *arg)
{
    return strncmp(arg, "--benchmark_", 12) == 0 || strncmp(arg, "--v=", 4) == 0;
}

static const flag_command *find_mode(bench_mode mode)
{
    for (int i = 0; i < bench_table.n_commands; i++)
        if (bench_table.commands[i].bit == mode)
            return &bench_table.commands[i];
    return NULL;
}

/* The one mode that the flags ask for. */
static bool choose_mode(bench_options *o, char *error, size_t size)
{
    const unsigned asked = (o->machine ? BENCH_MACHINE : 0) | (o->errors ? BENCH_ERRORS : 0) |
                           (o->layers ? BENCH_LAYERS : 0) | (o->costs ? BENCH_COSTS : 0) |
                           (o->model ? BENCH_STEP : 0) | (o->ops ? BENCH_OPS : 0) |
                           (o->load ? BENCH_LOAD : 0) | (o->engine ? BENCH_ENGINE : 0);
    if (asked & (asked - 1))
        return fail(error, size,
                    "--machine, --errors, --layers, --costs, --ops, --engine, --load and --step "
                    "exclude each other");
    o->mode = asked ? (bench_mode)asked : BENCH_SUITE;
    return true;
}

/* Whether every flag that was given means something in the mode. `library`: the first flag of
 * Google Benchmark, or NULL. */
static bool check_mode(const bench_options *o, const char *library, char *error, size_t size)
{
    const char *name = find_mode(o->mode)->name;
    for (int i = 0; i < bench_table.n_flags; i++) {
        const flag *f = &bench_table.flags[i];
        if (!o->given[i] || f->commands & o->mode)
            continue;
        if (o->mode == BENCH_SUITE)
            return fail(error, size,
                        "--%s does not go with benchmarks: add --machine, --layers or --step",
                        f->name);
        return fail(error, size, "--%s does not go with --%s", f->name, name);
    }
    if (library && o->mode != BENCH_SUITE)
        return fail(error, size, "%s does not go with --%s", library, name);
    return true;
}

static bool read_sizes(bench_options *o, char *error, size_t size)
{
    return !o->memory_limit || sizes_read(o->memory_limit, &o->memory_bytes) ||
           fail(error, size, "--memory-limit: '%s' is no number of bytes, such as 800M",
                o->memory_limit);
}

static bool split_model_args(bench_options *o, char *error, size_t size)
{
    const char *bad;
    o->n_args = model_args_split(flags_join(&o->model_args, o->model_args_text), o->args, &bad);
    return o->n_args >= 0 ||
           fail(error, size, "--model-arg: '%s' is not of the form key=value", bad);
}

bool bench_parse(int *argc, char **argv, bench_options *options, char *error, size_t size)
{
    const char *library = NULL;
    bool list = false;
    int kept = 1, n_ours = 0;
    char **ours = malloc((size_t)*argc * sizeof *ours);
    if (!ours)
        return fail(error, size, "out of memory");
    for (int i = 1; i < *argc; i++) {
        if (!is_library_flag(argv[i])) {
            ours[n_ours++] = argv[i];
            continue;
        }
        list |= strncmp(argv[i], "--benchmark_list_tests", 22) == 0 && !strstr(argv[i], "=false") &&
                !strstr(argv[i], "=0");
        library = library ? library : argv[i];
        argv[kept++] = argv[i];
    }
    bool good = flags_parse(&bench_table, ALL_MODES, n_ours, ours, options, error, size);
    free(ours);
    if (!good)
        return false;
    options->list = list;
    argv[kept] = NULL;
    *argc = kept;
    return options->help ||
           (choose_mode(options, error, size) && check_mode(options, library, error, size) &&
            split_model_args(options, error, size) && read_sizes(options, error, size));
}

/* ---- help ------------------------------------------------------------------------------------ */

/* "weft-bench --step MODEL [--batch N] ...", in lines of at most 80 columns. */
static void print_synopsis(const flag_command *mode, const char *before, FILE *out)
{
    enum { COLUMNS = 80 };
    int at = fprintf(out, "%s weft-bench", before);
    const int indent = at;
    if (mode->name[0]) {
        const flag *f = flags_find(&bench_table, mode->bit, mode->name, strlen(mode->name));
        at += fprintf(out, " --%s%s%s", f->name, f->value ? " " : "", f->value ? f->value : "");
    }
    for (int i = 0; i < bench_table.n_flags; i++) {
        const flag *f = &bench_table.flags[i];
        char text[64];
        if (!(f->commands & mode->bit) || strcmp(f->name, mode->name) == 0 ||
            strcmp(f->name, "help") == 0)
            continue;
        int n = snprintf(text, sizeof text, " [--%s%s%s]%s", f->name, f->value ? " " : "",
                         f->value ? f->value : "", f->kind == FLAG_LIST ? "..." : "");
        if (at + n > COLUMNS)
            at = fprintf(out, "\n%*s", indent, "") - 1;
        at += fprintf(out, "%s", text);
    }
    if (mode->bit == BENCH_SUITE)
        fputs(" [--benchmark_FLAG=VALUE]...", out);
    fputc('\n', out);
}

void bench_usage(FILE *out)
{
    for (int i = 0; i < bench_table.n_commands; i++)
        print_synopsis(&bench_table.commands[i], i == 0 ? "usage:" : "      ", out);
    flags_print(&bench_table, ALL_MODES, out);
    for (int i = 0; i < bench_table.n_commands; i++)
        if (bench_table.commands[i].more)
            fprintf(out, "\n%s\n", bench_table.commands[i].more);
}
