/* The flags of a program as data, and the parser that reads a command line by them.
 *
 * `weft` (cli/flag_table.c) and `weft-bench` (bench/flag_table.c) have a table each. `--flag
 * value`, `--flag=value`, `-b 64` and `-b64` mean the same. The last of repeated flags wins, except
 * for lists, which grow. Single-threaded. Nothing is allocated: texts point into argv. */
#ifndef CLI_PARSER_FLAGS_H
#define CLI_PARSER_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The most flags that a table may have. */
enum { FLAGS_MAX = 192 };

/* The values of a flag that may be given several times, in order. Each may hold several values with
 * commas between. All of them, joined by commas, fit into FLAG_LIST_TEXT bytes. */
enum { FLAG_LIST_MAX = 32, FLAG_LIST_TEXT = 2048 };
typedef struct flag_list {
    int n;
    const char *item[FLAG_LIST_MAX];
} flag_list;

/* Arguments without a name, in order. They point into argv, which the parser has reordered: these
 * come first. */
typedef struct flag_words {
    int n;
    char **word;
} flag_words;

typedef enum flag_kind {
    FLAG_BOOL,     /* no value; bool */
    FLAG_INT,      /* int64_t in [min, max] */
    FLAG_NUMBER,   /* finite double in [min, max] */
    FLAG_TEXT,     /* const char *, not empty */
    FLAG_CHOICE,   /* const char *, one of the words of `choices` */
    FLAG_LIST,     /* flag_list of texts, not empty */
    FLAG_SET,      /* no field: "key=value" sets the flag `key` of the command; may be repeated */
    FLAG_ARGUMENT, /* const char *: no flag, but the command's one argument without a name */
    FLAG_ARGUMENTS /* flag_words: any number of arguments without a name */
} flag_kind;

/* What another program calls one of a flag's words. */
typedef struct flag_spelling {
    const char *other, *word;
} flag_spelling;

typedef struct flag {
    const char *name;
    const char *alias; /* another long name, or NULL */
    char letter;       /* or 0 */
    flag_kind kind;
    size_t offset; /* of its field in the program's options */
    double min, max;
    bool below;          /* max itself is too much */
    const char *word;    /* FLAG_INT: stands for 0, whatever min says; NULL: none */
    const char *choices; /* FLAG_CHOICE: the words, separated by one space */
    const char *value;   /* what help calls the value; NULL: FLAG_BOOL */
    unsigned commands;   /* those that take the flag: a set of flag_command.bit */
    const char *group;   /* the heading in help; flags of a group stand together in the table */
    const char *help;
    /* Names that users of other programs type for it, separated by spaces. They are suggested. */
    const char *elsewhere;
    /* What else must be so for the flag to mean anything: "lr-scheduler=step|multistep" (has one of
     * these values), "!opt=adagrad" (has none of them), "weights" (is given, or on), "!no-augment"
     * (is not on). NULL: nothing. */
    const char *needs;
    /* FLAG_CHOICE: other spellings of its words, taken as these; the last is {NULL, NULL}. NULL:
     * none. */
    const flag_spelling *spellings;
} flag;

/* False for arguments, whose name only help shows. */
static inline bool flags_has_name(const flag *f)
{
    return f->kind != FLAG_ARGUMENT && f->kind != FLAG_ARGUMENTS;
}

/* A command of `weft`, or a mode of `weft-bench`. */
typedef struct flag_command {
    const char *name;
    unsigned bit; /* one bit, its own in flag.commands */
    const char *about;
    const char *more; /* further lines of its help; or NULL */
} flag_command;

typedef struct flag_table {
    const flag *flags;
    int n_flags;
    const flag_command *commands;
    int n_commands;
    const void *defaults; /* of the program's options, whose size is options_size */
    size_t options_size;
    size_t given; /* offset in the options of a bool for each flag: the command line has it */
} flag_table;

/* Fills `options` with the defaults and then from argv[0..argc). False, with one sentence in
 * `error`, where an argument makes no sense to `command`; the options are then undefined. */
bool flags_parse(const flag_table *table, unsigned command, int argc, char **argv, void *options,
                 char *error, size_t error_size);

/* The same without the defaults: goes on with what `options` has. */
bool flags_take(const flag_table *table, unsigned command, int argc, char **argv, void *options,
                char *error, size_t error_size);
/* Sets one flag by its name, or alias, without dashes; '_' is taken for '-'. A FLAG_BOOL takes
 * "true" and "false". Errors as above. */
bool flags_set(const flag_table *table, unsigned command, void *options, const char *key,
               const char *value, char *error, size_t error_size);

/* False, with one sentence in `error`, where a flag that was given lacks what it needs. */
bool flags_check_needs(const flag_table *table, unsigned command, const void *options, char *error,
                       size_t error_size);

/* The command's flag of this name (without dashes), or NULL. */
const flag *flags_find(const flag_table *table, unsigned command, const char *name, size_t length);
/* The flag that flags_set means by `key`, or NULL. */
const flag *flags_find_key(const flag_table *table, unsigned command, const char *key);
/* Whether the command line has the flag of this name. */
bool flags_given(const flag_table *table, unsigned command, const void *options, const char *name);
/* Whether what the flag needs is so. */
bool flags_apply(const flag_table *table, unsigned command, const void *options, const flag *f);

/* "a,b,c" into `text`, which has FLAG_LIST_TEXT bytes; returns text. */
char *flags_join(const flag_list *list, char *text);

/* The command's argument without a name, for its usage: "RUN_DIR", or "[PATTERN]" where it may be
 * missing; NULL. */
const char *flags_argument(const flag_table *table, unsigned command);
/* " [64]", the default of a flag, nothing where it has none; `options` holds the defaults. */
void flags_put_default(const flag *f, const void *options, FILE *out);
/* The flags of the commands, group by group, one a line, with their defaults. */
void flags_print(const flag_table *table, unsigned commands, FILE *out);

#endif
