/* The `weft` command: finds the command (flag_table.c lists them), parses its flags, runs it.
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
#include "parser/words.h"
#include "session.h"
#include "signals.h"

/* The functions of the commands in cli_table. */
static const struct {
    unsigned bit;
    int (*run)(const cli_options *options);
} functions[] = {
    {CMD_TRAIN_ALONE, cmd_train}, {CMD_PLAN, cmd_plan},       {CMD_EVAL, cmd_eval},
    {CMD_REPORT, cmd_report},     {CMD_PREDICT, cmd_predict}, {CMD_INFO, cmd_info},
    {CMD_SUMMARY, cmd_summary},   {CMD_EXPLAIN, cmd_explain}, {CMD_TUNE, cmd_tune},
    {CMD_MODELS, cmd_models},     {CMD_VERSION, cmd_version}, {CMD_LOOK, cmd_look},
    {CMD_CHECK, cmd_check},       {CMD_PACK, cmd_pack},
};
enum { N_COMMANDS = sizeof(functions) / sizeof(functions[0]) };

static const flag_command *find(const char *name)
{
    for (int i = 0; i < cli_table.n_commands; i++)
        if (strcmp(cli_table.commands[i].name, name) == 0)
            return &cli_table.commands[i];
    return NULL;
}

static void print_usage(FILE *out)
{
    fprintf(out, "usage: weft <command> [flags]\n\ncommands:\n");
    for (int i = 0; i < cli_table.n_commands; i++)
        fprintf(out, "  %-8s  %s\n", cli_table.commands[i].name, cli_table.commands[i].about);
    fprintf(out, "\n`weft <command> --help` shows a command's flags.\n");
}

static void print_help(const flag_command *c, FILE *out)
{
    const char *argument = flags_argument(&cli_table, c->bit);
    fprintf(out, "usage: weft %s [flags]%s%s\n\n%s\n", c->name, argument ? " " : "",
            argument ? argument : "", c->about);
    if (c->more)
        fprintf(out, "\n%s\n", c->more);
    flags_print(&cli_table, c->bit, out);
}

static int unknown_command(const char *name)
{
    const char *names[N_COMMANDS];
    int n = 0;
    for (; n < cli_table.n_commands && n < N_COMMANDS; n++)
        names[n] = cli_table.commands[n].name;
    const char *near = words_nearest(name, names, n);
    if (near)
        cli_print(stderr, "weft: unknown command '%s'; did you mean %s?\n", name, near);
    else
        cli_print(stderr, "weft: unknown command '%s'; `weft help` lists them\n", name);
    return EXIT_USAGE;
}

static int help(int argc, char **argv)
{
    const flag_command *c = argc > 0 ? find(argv[0]) : NULL;
    if (argc > 0 && !c)
        return unknown_command(argv[0]);
    if (c)
        print_help(c, stdout);
    else
        print_usage(stdout);
    return 0;
}

/* argc, argv: the whole command line. */
static int run(const flag_command *c, int argc, char **argv)
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
    int status = EXIT_USAGE; /* every command has a function */
    for (int i = 0; i < N_COMMANDS; i++)
        if (functions[i].bit == c->bit)
            status = functions[i].run(&options);
    cli_options_done(&options);
    return status;
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
