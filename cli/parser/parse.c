/* Parses arguments against a table of flags. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "flags.h"
#include "words.h"

/* What is parsed, by which table, and where to. */
typedef struct parse {
    const flag_table *table;
    unsigned command;
    void *options;
    char *error;
    size_t error_size;
} parse;

/* An argument as the user wrote it, without its value: "--lr" of "--lr=1". */
typedef struct spelling {
    const char *text;
    int length;
} spelling;

static bool fail(const parse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(const parse *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->error, p->error_size, format, args);
    va_end(args);
    return false;
}

/* ---- finding flags --------------------------------------------------------------------------- */

static bool name_is(const char *name, const char *text, size_t length)
{
    return name && strlen(name) == length && strncmp(name, text, length) == 0;
}

const flag *flags_find(const flag_table *table, unsigned command, const char *text, size_t length)
{
    for (int i = 0; i < table->n_flags; i++) {
        const flag *f = &table->flags[i];
        if ((f->commands & command) && flags_has_name(f) &&
            (name_is(f->name, text, length) || name_is(f->alias, text, length)))
            return f;
    }
    return NULL;
}

static const flag *find_letter(const flag_table *table, unsigned command, char letter)
{
    for (int i = 0; i < table->n_flags; i++)
        if ((table->flags[i].commands & command) && table->flags[i].letter == letter)
            return &table->flags[i];
    return NULL;
}

static const flag *find_argument(const flag_table *table, unsigned command)
{
    for (int i = 0; i < table->n_flags; i++)
        if ((table->flags[i].commands & command) && !flags_has_name(&table->flags[i]))
            return &table->flags[i];
    return NULL;
}

const char *flags_argument(const flag_table *table, unsigned command)
{
    const flag *f = find_argument(table, command);
    return f ? f->name : NULL;
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

/* The flag that other programs call `text`, or the one whose name is near to it; or NULL. */
static const char *meant(const parse *p, const char *text)
{
    const char *names[2 * FLAGS_MAX];
    int n = 0;
    for (int i = 0; i < p->table->n_flags; i++) {
        const flag *f = &p->table->flags[i];
        if (!(f->commands & p->command) || !flags_has_name(f))
            continue;
        if (is_choice(f->elsewhere, text))
            return f->name;
        names[n++] = f->name;
        if (f->alias)
            names[n++] = f->alias;
    }
    return words_nearest(text, names, n);
}

/* A key as flags are spelt: with '-' for '_'. */
static void spell_key(const char *key, char name[WORD_MAX])
{
    snprintf(name, WORD_MAX, "%s", key);
    for (char *c = name; *c; c++)
        if (*c == '_')
            *c = '-';
}

const flag *flags_find_key(const flag_table *table, unsigned command, const char *key)
{
    char name[WORD_MAX];
    spell_key(key, name);
    const flag *f = flags_find(table, command, name, strlen(name));
    return f && strlen(key) < WORD_MAX && f->kind != FLAG_SET ? f : NULL;
}

/* The same, or NULL with the error. */
static const flag *find_key(const parse *p, const char *key)
{
    char name[WORD_MAX];
    const flag *f = flags_find_key(p->table, p->command, key);
    if (f)
        return f;
    spell_key(key, name);
    const char *near = strlen(key) < WORD_MAX && *key ? meant(p, name) : NULL;
    near = near && strcmp(near, name) != 0 ? near : NULL; /* --set is no key */
    fail(p, "unknown key '%s'%s%s%s", key, near ? "; did you mean " : "", near ? near : "",
         near ? "?" : "");
    return NULL;
}

static bool unknown_flag(const parse *p, spelling s)
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
        near = meant(p, text);
    }
    if (near)
        return fail(p, "unknown flag %.*s; did you mean --%s?", s.length, s.text, near);
    return fail(p, "unknown flag %.*s", s.length, s.text);
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool set_int(const parse *p, const flag *f, spelling s, const char *text, int64_t *value)
{
    char *end;
    if (f->word && strcmp(f->word, text) == 0) {
        *value = 0;
        return true;
    }
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno == ERANGE)
        return fail(p, "%.*s: '%s' is not a whole number", s.length, s.text, text);
    if ((double)parsed < f->min || (double)parsed > f->max)
        return fail(p, "%.*s: %s is not between %.0f and %.0f", s.length, s.text, text, f->min,
                    f->max);
    *value = parsed;
    return true;
}

static bool set_number(const parse *p, const flag *f, spelling s, const char *text, double *value)
{
    char *end;
    double parsed = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(parsed))
        return fail(p, "%.*s: '%s' is not a number", s.length, s.text, text);
    if (f->below && !(parsed >= f->min && parsed < f->max))
        return fail(p, "%.*s: %s is not at least %g and below %g", s.length, s.text, text, f->min,
                    f->max);
    if (parsed < f->min || parsed > f->max)
        return fail(p, "%.*s: %s is not between %g and %g", s.length, s.text, text, f->min, f->max);
    *value = parsed;
    return true;
}

static bool add_item(const parse *p, spelling s, const char *text, flag_list *list)
{
    size_t length = strlen(text) + 2; /* a comma, the end */
    for (int i = 0; i < list->n; i++)
        length += strlen(list->item[i]) + 1;
    if (*text == '\0')
        return fail(p, "%.*s needs a value", s.length, s.text);
    if (list->n == FLAG_LIST_MAX || length > FLAG_LIST_TEXT)
        return fail(p, "%.*s is given too often; commas may join values", s.length, s.text);
    list->item[list->n++] = text;
    return true;
}

static bool set_pair(const parse *p, spelling s, const char *text);

static bool set_value(const parse *p, const flag *f, spelling s, const char *text)
{
    void *field = (char *)p->options + f->offset;
    switch (f->kind) {
    case FLAG_INT: return set_int(p, f, s, text, field);
    case FLAG_NUMBER: return set_number(p, f, s, text, field);
    case FLAG_CHOICE:
        for (const flag_spelling *o = f->spellings; o && o->other; o++)
            text = strcmp(o->other, text) == 0 ? o->word : text;
        if (!is_choice(f->choices, text))
            return fail(p, "%.*s: '%s' is none of: %s", s.length, s.text, text, f->choices);
        *(const char **)field = text;
        return true;
    case FLAG_SET: return set_pair(p, s, text);
    case FLAG_TEXT:
        if (*text == '\0')
            return fail(p, "%.*s needs a value", s.length, s.text);
        *(const char **)field = text;
        return true;
    case FLAG_LIST: return add_item(p, s, text, field);
    case FLAG_ARGUMENT:
    case FLAG_ARGUMENTS:
    case FLAG_BOOL: break;
    }
    return fail(p, "%.*s takes no value", s.length, s.text);
}

static bool set_key(const parse *p, const char *key, const char *value)
{
    const flag *f = find_key(p, key);
    if (!f)
        return false;
    const spelling s = {key, (int)strlen(key)};
    ((bool *)((char *)p->options + p->table->given))[f - p->table->flags] = true;
    if (f->kind != FLAG_BOOL)
        return set_value(p, f, s, value);
    bool *field = (bool *)((char *)p->options + f->offset);
    *field = strcmp(value, "true") == 0;
    return *field || strcmp(value, "false") == 0 ||
           fail(p, "%s: '%s' is neither true nor false", key, value);
}

/* "key=value", of --set. */
static bool set_pair(const parse *p, spelling s, const char *text)
{
    char key[WORD_MAX];
    const size_t length = strcspn(text, "=");
    if (text[length] == '\0' || length == 0 || length >= sizeof(key))
        return fail(p, "%.*s: '%s' is not of the form key=value", s.length, s.text, text);
    snprintf(key, sizeof(key), "%.*s", (int)length, text);
    return set_key(p, key, text + length + 1);
}

char *flags_join(const flag_list *list, char *text)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < list->n && n < FLAG_LIST_TEXT; i++)
        n +=
            (size_t)snprintf(text + n, FLAG_LIST_TEXT - n, "%s%s", i > 0 ? "," : "", list->item[i]);
    return text;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Whether an argument can only be a flag, so that the flag before it lacks its value. A negative
 * number is a value. */
static bool looks_like_flag(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0' && !(arg[1] >= '0' && arg[1] <= '9') && arg[1] != '.';
}

/* Moves argv[at] to the front, behind the arguments that are there already. */
static void add_word(char **argv, int at, flag_words *words)
{
    char *word = argv[at];
    if (words->n == 0)
        words->word = argv;
    memmove(argv + words->n + 1, argv + words->n, (size_t)(at - words->n) * sizeof(*argv));
    argv[words->n++] = word;
}

static bool set_argument(const parse *p, char **argv, int at)
{
    const flag *f = find_argument(p->table, p->command);
    void *field = f ? (char *)p->options + f->offset : NULL;
    if (!f || *argv[at] == '\0' || (f->kind == FLAG_ARGUMENT && *(const char **)field))
        return fail(p, "unexpected argument '%s'", argv[at]);
    if (f->kind == FLAG_ARGUMENT)
        *(const char **)field = argv[at];
    else
        add_word(argv, at, field);
    return true;
}

/* Takes argv[*i], a flag, and its value, which may be the next argument. */
static bool set_flag(const parse *p, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *value = NULL;
    spelling s = {arg, (int)strlen(arg)};
    const flag *f;
    if (arg[1] == '-') {
        value = strchr(arg, '=');
        if (value)
            s.length = (int)(value++ - arg);
        f = flags_find(p->table, p->command, arg + 2, (size_t)s.length - 2);
    } else {
        f = find_letter(p->table, p->command, arg[1]);
        if (f && arg[2] != '\0') {
            value = arg + 2;
            s.length = 2;
        }
    }
    if (!f)
        return unknown_flag(p, s);
    bool *given = (bool *)((char *)p->options + p->table->given);
    given[f - p->table->flags] = true;
    if (f->kind == FLAG_BOOL && !value) {
        *(bool *)((char *)p->options + f->offset) = true;
        return true;
    }
    if (!value) {
        if (*i + 1 >= argc || looks_like_flag(argv[*i + 1]))
            return fail(p, "%.*s needs a value", s.length, s.text);
        value = argv[++*i];
    }
    return set_value(p, f, s, value);
}

bool flags_parse(const flag_table *table, unsigned command, int argc, char **argv, void *options,
                 char *error, size_t error_size)
{
    memcpy(options, table->defaults, table->options_size);
    return flags_take(table, command, argc, argv, options, error, error_size);
}

bool flags_set(const flag_table *table, unsigned command, void *options, const char *key,
               const char *value, char *error, size_t error_size)
{
    const parse p = {table, command, options, error, error_size};
    return set_key(&p, key, value);
}

bool flags_take(const flag_table *table, unsigned command, int argc, char **argv, void *options,
                char *error, size_t error_size)
{
    const parse p = {table, command, options, error, error_size};
    bool flags_ended = false; /* by "--" */
    for (int i = 0; i < argc; i++) {
        if (!flags_ended && strcmp(argv[i], "--") == 0)
            flags_ended = true;
        else if (flags_ended || !looks_like_flag(argv[i])) {
            if (!set_argument(&p, argv, i))
                return false;
        } else if (!set_flag(&p, argc, argv, &i))
            return false;
    }
    return true;
}
