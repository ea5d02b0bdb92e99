/* The command line: one table of flags for every command, the options they fill in, and a parser
 * that says exactly what is wrong.
 *
 * Flag names are torchvision's where it has one. `--flag value`, `--flag=value`, `-b 64` and `-b64`
 * are the same; the last of repeated flags wins, but for lists, which grow. Single-threaded, no
 * allocation: strings point into argv. */
#ifndef CLI_FLAGS_H
#define CLI_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Commands that take flags; flag.commands is a set of these. */
enum {
    CMD_TRAIN = 1u << 0,
    CMD_EVAL = 1u << 1,
    CMD_PREDICT = 1u << 2,
    CMD_INFO = 1u << 3,
    CMD_SUMMARY = 1u << 4,
    CMD_EXPLAIN = 1u << 5,
    CMD_MODELS = 1u << 6,
    CMD_VERSION = 1u << 7,
    CMD_REPORT = 1u << 8,
    CMD_TUNE = 1u << 9,
};

/* The values of a flag that may be given several times, in order; each may hold several, with
 * commas between. Joined by commas they fit into CLI_LIST_TEXT bytes. */
enum { CLI_LIST_MAX = 32, CLI_LIST_TEXT = 2048 };
typedef struct cli_list {
    int n;
    const char *item[CLI_LIST_MAX];
} cli_list;

/* At least as many as cli_n_flags. */
enum { CLI_FLAGS_MAX = 96 };

typedef struct cli_options {
    bool given[CLI_FLAGS_MAX]; /* by place in cli_flags: the command line has it */
    const char *model;         /* NULL: as the weights say, else the default */
    cli_list model_args;       /* "key=value" */
    int64_t num_classes;       /* 0: as the data say */
    const char *data_path;
    const char *weights; /* NULL: none */
    bool allow_nan;
    bool reset_head;
    cli_list freeze; /* globs over names of parameters and modules */
    bool freeze_bn;
    int64_t batch_size;
    int64_t workers;
    int64_t epochs;
    int64_t max_steps; /* 0: no limit */
    int64_t eval_freq;
    int64_t crop_padding;
    double hflip; /* probability */
    bool ignore_class_names;
    double lr;
    double momentum;
    double weight_decay;
    const char *opt;
    const char *lr_scheduler;
    int64_t lr_step_size;
    double lr_gamma;
    double lr_min;
    double lr_warmup_epochs;
    double label_smoothing;
    bool no_augment;
    bool no_shuffle;
    const char *output_dir; /* NULL: runs/<model>-<time> */
    bool overwrite;
    const char *input;
    const char *output;
    int64_t seed;
    int64_t threads; /* 0: the library chooses */
    const char *trace;
    const char *wisdom; /* NULL: as the environment says, else the cache's */
    bool tune;
    bool again;
    double tune_seconds;
    const char *pattern;    /* of model names; NULL: all */
    const char *input_size; /* "CxHxW"; NULL: the model's own */
    int64_t depth;
    int64_t summary_batch;
    bool json;
    const char *report;    /* a page to write; NULL: none */
    const char *json_path; /* the same as JSON */
    bool per_class;
    bool confusion;
    bool brief;
    const char *run_dir;
    const char *amp;
    bool help;
    int argc; /* the whole command line, for the records */
    char *const *argv;
} cli_options;

/* What plain `weft <command>` does. */
cli_options cli_defaults(void);

typedef enum flag_kind {
    FLAG_BOOL,    /* no value; bool */
    FLAG_INT,     /* int64_t in [min, max] */
    FLAG_NUMBER,  /* finite double in [min, max] */
    FLAG_TEXT,    /* const char *, not empty */
    FLAG_CHOICE,  /* const char *, one of the words of `choices` */
    FLAG_LIST,    /* cli_list of texts, not empty */
    FLAG_ARGUMENT /* const char *: no flag, but the command's one argument without a name */
} flag_kind;

typedef struct flag {
    const char *name;
    const char *alias; /* another long name, or NULL */
    char letter;       /* or 0 */
    flag_kind kind;
    size_t offset; /* into cli_options */
    double min, max;
    bool below;          /* max itself is too much */
    const char *choices; /* words separated by one space */
    const char *value;   /* what help calls the value */
    unsigned commands;
    const char *help;
    /* Names that users of other trainers type for it, separated by spaces. They are suggested. */
    const char *elsewhere;
    /* What else must be so for it to mean anything: "lr-scheduler=step", "weights" (given, or on),
     * "!no-augment" (not on). NULL: nothing. */
    const char *needs;
} flag;

extern const flag cli_flags[];
extern const int cli_n_flags;

/* Fills `options` from argv[0..argc). False, with one sentence in `error`, when the arguments
 * make none of the command's sense; options are then undefined. */
bool cli_parse(unsigned command, int argc, char **argv, cli_options *options, char *error,
               size_t error_size);

/* Whether the command line has the flag of this name. */
bool cli_given(unsigned command, const cli_options *options, const char *name);
/* Of cli_parse: the command's flag `name`, or NULL. */
const flag *cli_find_flag(unsigned command, const char *name, size_t length);
/* Whether what the flag needs is so. */
bool cli_applies(unsigned command, const cli_options *options, const flag *f);
/* Of cli_parse: false, with one sentence in `error`, where flags that were given contradict each
 * other or mean nothing beside the others. */
bool cli_check_rules(unsigned command, const cli_options *options, char *error, size_t error_size);

/* "a,b,c" into `text`, which has CLI_LIST_TEXT bytes; returns text. */
char *cli_join(const cli_list *list, char *text);

/* The command's argument, for its usage: "RUN_DIR", or "[PATTERN]"
 * where it may be missing; NULL. */
const char *cli_argument(unsigned command);
/* The flags of a command, one a line, with their defaults. */
void cli_print_flags(unsigned command, FILE *out);

#endif
