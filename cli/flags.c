/* Parses arguments against the flag table; prints the flags. */
#include "flags.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "words.h"

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

/* ---- one flag -------------------------------------------------------------------------------- */

/* An argument as the user wrote it, without its value: "--lr" of "--lr=1". */
typedef struct spelling {
    const char *text;
    int length;
} spelling;

static bool name_is(const char *name, const char *text, size_t length)
{
    return name && strlen(name) == length && strncmp(name, text, length) == 0;
}

const flag *cli_find_flag(unsigned command, const char *text, size_t length)
{
    for (int i = 0; i < cli_n_flags; i++) {
        const flag *f = &cli_flags[i];
        if ((f->commands & command) && f->kind != FLAG_ARGUMENT &&
            (name_is(f->name, text, length) || name_is(f->alias, text, length)))
            return f;
    }
    return NULL;
}

static const flag *find_letter(unsigned command, char letter)
{
    for (int i = 0; i < cli_n_flags; i++)
        if ((cli_flags[i].commands & command) && cli_flags[i].letter == letter)
            return &cli_flags[i];
    return NULL;
}

static const flag *find_argument(unsigned command)
{
    for (int i = 0; i < cli_n_flags; i++)
        if ((cli_flags[i].commands & command) && cli_flags[i].kind == FLAG_ARGUMENT)
            return &cli_flags[i];
    return NULL;
}

/* Whether `text` is one of the words of `choices`. */
static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *word = choices; word; word = strchr(word, ' ')) {
        word += *word == ' ';
        if (length > 0 && strncmp(word, text, length) == 0 &&
            (word[length] == ' ' || word[length] == '\0'))
            return true;
    }
    return false;
}

/* The flag that other trainers call `text`, or the one whose name is near to it; or NULL. */
static const char *meant(unsigned command, const char *text)
{
    const char *names[2 * CLI_FLAGS_MAX];
    int n = 0;
    for (int i = 0; i < cli_n_flags; i++) {
        const flag *f = &cli_flags[i];
        if (!(f->commands & command) || f->kind == FLAG_ARGUMENT)
            continue;
        if (is_choice(f->elsewhere, text))
            return f->name;
        names[n++] = f->name;
        if (f->alias)
            names[n++] = f->alias;
    }
    return cli_nearest(text, names, n);
}

static bool unknown_flag(unsigned command, spelling s, char *error, size_t error_size)
{
    const char *near = NULL;
    int dashes = s.text[1] == '-' ? 2 : 1; /* "-lr" is meant for a long name, too */
    if (s.length > dashes && s.length - dashes < WORD_MAX) {
        char text[WORD_MAX];
        snprintf(text, sizeof(text), "%.*s", s.length - dashes, s.text + dashes);
        /* Underscores for dashes is no slip of a letter, so it is undone first. */
        for (char *c = text; *c; c++)
            if (*c == '_')
                *c = '-';
        near = meant(command, text);
    }
    if (near)
        return fail(error, error_size, "unknown flag %.*s; did you mean --%s?", s.length, s.text,
                    near);
    return fail(error, error_size, "unknown flag %.*s", s.length, s.text);
}

static bool set_int(const flag *f, spelling s, const char *text, int64_t *value, char *error,
                    size_t error_size)
{
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno == ERANGE)
        return fail(error, error_size, "%.*s: '%s' is not a whole number", s.length, s.text, text);
    if ((double)parsed < f->min || (double)parsed > f->max)
        return fail(error, error_size, "%.*s: %s is not between %.0f and %.0f", s.length, s.text,
                    text, f->min, f->max);
    *value = parsed;
    return true;
}

static bool set_number(const flag *f, spelling s, const char *text, double *value, char *error,
                       size_t error_size)
{
    char *end;
    double parsed = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(parsed))
        return fail(error, error_size, "%.*s: '%s' is not a number", s.length, s.text, text);
    if (f->below && !(parsed >= f->min && parsed < f->max))
        return fail(error, error_size, "%.*s: %s is not at least %g and below %g", s.length, s.text,
                    text, f->min, f->max);
    if (parsed < f->min || parsed > f->max)
        return fail(error, error_size, "%.*s: %s is not between %g and %g", s.length, s.text, text,
                    f->min, f->max);
    *value = parsed;
    return true;
}

static bool add_item(spelling s, const char *text, cli_list *list, char *error, size_t error_size)
{
    size_t length = strlen(text) + 2; /* a comma, the end */
    for (int i = 0; i < list->n; i++)
        length += strlen(list->item[i]) + 1;
    if (*text == '\0')
        return fail(error, error_size, "%.*s needs a value", s.length, s.text);
    if (list->n == CLI_LIST_MAX || length > CLI_LIST_TEXT)
        return fail(error, error_size, "%.*s is given too often; commas may join values", s.length,
                    s.text);
    list->item[list->n++] = text;
    return true;
}

static bool set_value(const flag *f, spelling s, const char *text, cli_options *options,
                      char *error, size_t error_size)
{
    void *field = (char *)options + f->offset;
    switch (f->kind) {
    case FLAG_INT: return set_int(f, s, text, field, error, error_size);
    case FLAG_NUMBER: return set_number(f, s, text, field, error, error_size);
    case FLAG_CHOICE:
        if (!is_choice(f->choices, text))
            return fail(error, error_size, "%.*s: '%s' is none of: %s", s.length, s.text, text,
                        f->choices);
        *(const char **)field = text;
        return true;
    case FLAG_TEXT:
        if (*text == '\0')
            return fail(error, error_size, "%.*s needs a value", s.length, s.text);
        *(const char **)field = text;
        return true;
    case FLAG_LIST: return add_item(s, text, field, error, error_size);
    case FLAG_ARGUMENT:
    case FLAG_BOOL: break;
    }
    return fail(error, error_size, "%.*s takes no value", s.length, s.text);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Whether an argument can only be a flag, so that the flag before it lacks its value. A negative
 * number is a value. */
static bool looks_like_flag(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0' && !(arg[1] >= '0' && arg[1] <= '9') && arg[1] != '.';
}

static bool set_argument(unsigned command, const char *arg, cli_options *options, char *error,
                         size_t error_size)
{
    const flag *f = find_argument(command);
    const char **field = f ? (const char **)((char *)options + f->offset) : NULL;
    if (!f || *field || *arg == '\0')
        return fail(error, error_size, "unexpected argument '%s'", arg);
    *field = arg;
    return true;
}

bool cli_parse(unsigned command, int argc, char **argv, cli_options *options, char *error,
               size_t error_size)
{
    bool flags_ended = false; /* by "--" */
    *options = cli_defaults();
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i], *value = NULL;
        if (!flags_ended && strcmp(arg, "--") == 0) {
            flags_ended = true;
            continue;
        }
        if (flags_ended || !looks_like_flag(arg)) {
            if (!set_argument(command, arg, options, error, error_size))
                return false;
            continue;
        }
        spelling s = {arg, (int)strlen(arg)};
        const flag *f;
        if (arg[1] == '-') {
            value = strchr(arg, '=');
            if (value)
                s.length = (int)(value++ - arg);
            f = cli_find_flag(command, arg + 2, (size_t)s.length - 2);
        } else {
            f = find_letter(command, arg[1]);
            if (f && arg[2] != '\0') {
                value = arg + 2;
                s.length = 2;
            }
        }
        if (!f)
            return unknown_flag(command, s, error, error_size);
        options->given[f - cli_flags] = true;
        if (f->kind == FLAG_BOOL && !value) {
            *(bool *)((char *)options + f->offset) = true;
            continue;
        }
        if (!value) {
            if (i + 1 >= argc || looks_like_flag(argv[i + 1]))
                return fail(error, error_size, "%.*s needs a value", s.length, s.text);
            value = argv[++i];
        }
        if (!set_value(f, s, value, options, error, error_size))
            return false;
    }
    return options->help || cli_check_rules(command, options, error, error_size);
}

char *cli_join(const cli_list *list, char *text)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < list->n && n < CLI_LIST_TEXT; i++)
        n += (size_t)snprintf(text + n, CLI_LIST_TEXT - n, "%s%s", i > 0 ? "," : "", list->item[i]);
    return text;
}

/* ---- help ------------------------------------------------------------------------------------ */

static void print_default(const flag *f, const cli_options *defaults, FILE *out)
{
    const void *field = (const char *)defaults + f->offset;
    switch (f->kind) {
    case FLAG_INT: fprintf(out, " [%lld]", (long long)*(const int64_t *)field); break;
    case FLAG_NUMBER: fprintf(out, " [%g]", *(const double *)field); break;
    case FLAG_TEXT:
    case FLAG_CHOICE:
        if (*(const char *const *)field)
            fprintf(out, " [%s]", *(const char *const *)field);
        break;
    case FLAG_LIST:
    case FLAG_ARGUMENT:
    case FLAG_BOOL: break;
    }
}

const char *cli_argument(unsigned command)
{
    const flag *f = find_argument(command);
    return f ? f->name : NULL;
}

void cli_print_flags(unsigned command, FILE *out)
{
    cli_options defaults = cli_defaults();
    for (int i = 0; i < cli_n_flags; i++) {
        const flag *f = &cli_flags[i];
        char left[80];
        if (!(f->commands & command))
            continue;
        int n = f->letter ? snprintf(left, sizeof(left), "-%c, ", f->letter) : 0;
        snprintf(left + n, sizeof(left) - (size_t)n, "%s%s%s%s%s%s",
                 f->kind == FLAG_ARGUMENT ? "" : "--", f->name, f->alias ? ", --" : "",
                 f->alias ? f->alias : "", f->value ? " " : "", f->value ? f->value : "");
        fprintf(out, "  %-26s  %s", left, f->help);
        if (f->choices)
            fprintf(out, ": %s", f->choices);
        print_default(f, &defaults, out);
        fputc('\n', out);
    }
}
