/* What flags mean beside each other: a flag that was given is used, or refused where it would mean
 * nothing. No state. */
#include <string.h>

#include "flags.h"

static const bool *given(const flag_table *table, const void *options)
{
    return (const bool *)((const char *)options + table->given);
}

bool flags_given(const flag_table *table, unsigned command, const void *options, const char *name)
{
    const flag *f = flags_find(table, command, name, strlen(name));
    return f && given(table, options)[f - table->flags];
}

/* "lr-scheduler=step" as the flag, and the value or NULL. */
static const flag *needed_flag(const flag_table *table, unsigned command, const char *needs,
                               const char **value)
{
    size_t length = strcspn(needs, "=");
    *value = needs[length] ? needs + length + 1 : NULL;
    return flags_find(table, command, needs, length);
}

/* Whether `text` is one of the words of "a|b|c". */
static bool is_one_of(const char *words, const char *text)
{
    const size_t length = strlen(text);
    for (const char *word = words; word; word = strchr(word, '|')) {
        word += *word == '|';
        if (strncmp(word, text, length) == 0 && (word[length] == '|' || word[length] == '\0'))
            return true;
    }
    return false;
}

bool flags_apply(const flag_table *table, unsigned command, const void *options, const flag *f)
{
    if (!f->needs)
        return true;
    const bool off = f->needs[0] == '!';
    const char *value;
    const flag *other = needed_flag(table, command, f->needs + off, &value);
    if (!other) /* the command has no such flag to turn it off with */
        return true;
    const void *field = (const char *)options + other->offset;
    if (other->kind == FLAG_BOOL)
        return *(const bool *)field != off;
    if (other->kind == FLAG_INT)
        return (*(const int64_t *)field > 0) != off;
    const char *text = *(const char *const *)field;
    const bool is = text && (!value || is_one_of(value, text));
    return is != off;
}

/* "a|b|c" as "a, b or c". */
static void put_words(const char *words, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (const char *word = words; word && n < size; word = strchr(word, '|')) {
        word += *word == '|';
        const int length = (int)strcspn(word, "|");
        const char *before = word == words ? "" : strchr(word, '|') ? ", " : " or ";
        n += (size_t)snprintf(text + n, size - n, "%s%.*s", before, length, word);
    }
}

static bool refuse(const flag_table *table, unsigned command, const void *options, const flag *f,
                   char *error, size_t error_size)
{
    const bool off = f->needs[0] == '!';
    const char *value;
    char words[160];
    const flag *other = needed_flag(table, command, f->needs + off, &value);
    const void *field = (const char *)options + other->offset;
    put_words(value, words, sizeof(words));
    if (off)
        snprintf(error, error_size, "--%s means nothing with --%s%s%s", f->name, other->name,
                 value ? " " : "", value ? *(const char *const *)field : "");
    else if (!value)
        snprintf(error, error_size, "--%s goes with --%s", f->name, other->name);
    else
        snprintf(error, error_size, "--%s goes with --%s %s; here it is %s", f->name, other->name,
                 words, *(const char *const *)field);
    return false;
}

bool flags_check_needs(const flag_table *table, unsigned command, const void *options, char *error,
                       size_t error_size)
{
    for (int i = 0; i < table->n_flags; i++) {
        const flag *f = &table->flags[i];
        if (given(table, options)[i] && !flags_apply(table, command, options, f))
            return refuse(table, command, options, f, error, error_size);
    }
    return true;
}
