/* The `weft` command: finds the command, parses its flags, runs it.
 *
 * Exit status: 0 done; 1 it failed; 2 the command line makes no sense; 128 and a signal's number:
 * ended by it (signals.h). Errors are one line on stderr. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weft/context.h>

#include "commands.h"
#include "session.h"
#include "signals.h"
#include "words.h"

typedef struct command {
    const char *name;
    unsigned bit;
    int (*run)(const cli_options *options);
    const char *about;
    const char *more; /* shown by --help; or NULL */
} command;

static const command commands[] = {
    {"train", CMD_TRAIN, cmd_train, "train a network",
     "Writes config.json, log.jsonl, summary.csv, weights.safetensors, weights_best.safetensors,\n"
     "evaluation.json, curve.svg, report.html and result.json into the run's directory.\n"
     "u8 images are scaled to 0..1 and normalised with the training images' mean and deviation,\n"
     "which the weights file carries along; f32 images are taken as they are."},
    {"eval", CMD_EVAL, cmd_eval, "loss and accuracy of weights on a data set", NULL},
    {"report", CMD_REPORT, cmd_report, "a run's report.html and curve.svg, made again",
     "RUN_DIR is what `weft train` left, or is still filling; summary.csv or log.jsonl is enough."},
    {"predict", CMD_PREDICT, cmd_predict, "outputs of a network for a file of images",
     "u8 images are scaled and normalised as in training; f32 images are taken as they are."},
    {"info", CMD_INFO, cmd_info, "the machine: cores, caches, instruction set, libraries", NULL},
    {"summary", CMD_SUMMARY, cmd_summary, "a network's layers, parameters and multiply-adds", NULL},
    {"explain", CMD_EXPLAIN, cmd_explain, "the plan of a training step, without running it", NULL},
    {"tune", CMD_TUNE, cmd_tune, "measure the fastest kernels for a training step, and keep them",
     "Measures every kernel that fits each distinct convolution and matrix product of the step,\n"
     "on all threads, and keeps the fastest in the wisdom file, which training uses from then on."},
    {"models", CMD_MODELS, cmd_models, "the networks there are", NULL},
    {"version", CMD_VERSION, cmd_version, "the version", NULL},
};
enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const command *find(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_usage(FILE *out)
{
    fprintf(out, "usage: weft <command> [flags]\n\ncommands:\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].about);
    fprintf(out, "\n`weft <command> --help` shows a command's flags.\n");
}

static void print_help(const command *c, FILE *out)
{
    const char *argument = cli_argument(c->bit);
    fprintf(out, "usage: weft %s [flags]%s%s\n\n%s\n", c->name, argument ? " " : "",
            argument ? argument : "", c->about);
    if (c->more)
        fprintf(out, "\n%s\n", c->more);
    fprintf(out, "\nflags:\n");
    cli_print_flags(c->bit, out);
}

static int unknown_command(const char *name)
{
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    const char *near = cli_nearest(name, names, N_COMMANDS);
    if (near)
        cli_print(stderr, "weft: unknown command '%s'; did you mean %s?\n", name, near);
    else
        cli_print(stderr, "weft: unknown command '%s'; `weft help` lists them\n", name);
    return EXIT_USAGE;
}

static int help(int argc, char **argv)
{
    const command *c = argc > 0 ? find(argv[0]) : NULL;
    if (argc > 0 && !c)
        return unknown_command(argv[0]);
    if (c)
        print_help(c, stdout);
    else
        print_usage(stdout);
    return 0;
}

/* argc, argv: the whole command line. */
static int run(const command *c, int argc, char **argv)
{
    cli_options options;
    char error[512];
    if (!cli_parse(c->bit, argc - 2, argv + 2, &options, error, sizeof(error))) {
        cli_print(stderr, "weft %s: %s\n", c->name, error);
        return EXIT_USAGE;
    }
    if (options.help) {
        print_help(c, stdout);
        return 0;
    }
    options.argc = argc;
    options.argv = argv;
    return c->run(&options);
}

/* Started without stdin, stdout or stderr, the first files that are opened would get their numbers,
 * and what is printed would end up in log.jsonl. */
static bool open_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) != fd)
            return false;
    return true;
}

/* What was printed counts only once it is written; `status` where nothing was lost. Where nobody
 * reads any more (`weft train | head -1`) the work has been done all the same. */
static int flush_output(int status)
{
    errno = 0;
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    int error = errno ? errno : EIO; /* a flush that failed before forgets why */
    struct pollfd out = {.fd = STDOUT_FILENO};
    if (!lost || status != 0 || (poll(&out, 1, 0) == 1 && (out.revents & POLLERR)))
        return status;
    cli_print(stderr, "weft: standard output: %s\n", strerror(error));
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    int status;
    if (!open_standard_files())
        return EXIT_FAILED;
    signals_begin();
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        status = help(argc - 2, argv + 2);
    else if (strcmp(name, "--version") == 0)
        status = cmd_version(NULL);
    else if (find(name))
        status = run(find(name), argc, argv);
    else
        return unknown_command(name);
    return flush_output(status);
}
