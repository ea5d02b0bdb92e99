/* Parses arguments against the flag table; finds the nearest known word; prints the flags. */
#include "flags.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
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

/* ---- the nearest word ------------------------------------------------------------------------ */

enum { WORD_MAX = 64 };

/* Levenshtein's distance, with swapped neighbours counted once (optimal string alignment). */
static int distance(const char *a, const char *b)
{
    int rows[3][WORD_MAX + 1];
    int na = (int)strlen(a), nb = (int)strlen(b);
    if (na > WORD_MAX || nb > WORD_MAX)
        return WORD_MAX;
    for (int j = 0; j <= nb; j++)
        rows[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[na % 3][nb];
}

const char *cli_nearest(const char *text, const char *const *words, int n)
{
    const char *nearest = NULL;
    int best = WORD_MAX;
    size_t length = strlen(text);
    for (int i = 0; i < n; i++) {
        int d = distance(text, words[i]);
        /* A slip is a letter or two of a word, or a word cut short or drawn out. */
        bool prefix = length >= 3 && (strncmp(text, words[i], length) == 0 ||
                                      strncmp(text, words[i], strlen(words[i])) == 0);
        if ((d <= 1 + (int)length / 4 || prefix) && d < best) {
            best = d;
            nearest = words[i];
        }
    }
    return nearest;
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

static const flag *find_long(unsigned command, const char *text, size_t length)
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

static bool unknown_flag(unsigned command, spelling s, char *error, size_t error_size)
{
    const char *names[128];
    int n = 0;
    for (int i = 0; i < cli_n_flags && n + 2 <= 128; i++) {
        const flag *f = &cli_flags[i];
        if (!(f->commands & command) || f->kind == FLAG_REFUSED || f->kind == FLAG_ARGUMENT)
            continue;
        names[n++] = f->name;
        if (f->alias)
            names[n++] = f->alias;
    }
    const char *near = NULL;
    if (s.length > 2 && s.length - 2 < WORD_MAX && s.text[1] == '-') {
        char text[WORD_MAX];
        snprintf(text, sizeof(text), "%.*s", s.length - 2, s.text + 2);
        /* Underscores for dashes is no slip of a letter, so it is undone first. */
        for (char *c = text; *c; c++)
            if (*c == '_')
                *c = '-';
        near = cli_nearest(text, names, n);
    }
    if (near)
        return fail(error, error_size, "unknown flag %.*s; did you mean --%s?", s.length, s.text,
                    near);
    return fail(error, error_size, "unknown flag %.*s", s.length, s.text);
}

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
    case FLAG_BOOL:
    case FLAG_REFUSED: break;
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
    *options = cli_defaults();
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i], *value = NULL;
        if (!looks_like_flag(arg)) {
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
            f = find_long(command, arg + 2, (size_t)s.length - 2);
        } else {
            f = find_letter(command, arg[1]);
            if (f && arg[2] != '\0') {
                value = arg + 2;
                s.length = 2;
            }
        }
        if (!f)
            return unknown_flag(command, s, error, error_size);
        if (f->kind == FLAG_REFUSED)
            return fail(error, error_size, "%.*s: %s", s.length, s.text, f->help);
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
    return true;
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
    case FLAG_BOOL:
    case FLAG_REFUSED: break;
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
        if (!(f->commands & command) || f->kind == FLAG_REFUSED)
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
