/* Prints the flags of a table. */
#include <stdlib.h>
#include <string.h>

#include "flags.h"

enum { COLUMNS = 100, NAMES = 28 }; /* of a line, and of what stands before the help texts */

/* A default out of the flag's range stands for "not given": the help text tells what happens. */
void flags_put_default(const flag *f, const void *options, FILE *out)
{
    const void *field = (const char *)options + f->offset;
    switch (f->kind) {
    case FLAG_INT:
        if ((double)*(const int64_t *)field >= f->min)
            fprintf(out, " [%lld]", (long long)*(const int64_t *)field);
        break;
    case FLAG_NUMBER:
        if (*(const double *)field >= f->min)
            fprintf(out, " [%g]", *(const double *)field);
        break;
    case FLAG_TEXT:
    case FLAG_CHOICE:
        if (*(const char *const *)field)
            fprintf(out, " [%s]", *(const char *const *)field);
        break;
    case FLAG_LIST:
    case FLAG_SET:
    case FLAG_ARGUMENT:
    case FLAG_ARGUMENTS:
    case FLAG_BOOL: break;
    }
}

/* Writes the words of `text`, the cursor being at column `at`; further lines begin behind the
 * names. */
static void put_wrapped(const char *text, int at, FILE *out)
{
    for (const char *word = text; *word;) {
        const int length = (int)strcspn(word, " ");
        if (word != text && at + 1 + length > COLUMNS)
            at = fprintf(out, "\n%*s", NAMES, "") - 1;
        else if (word != text)
            at += fprintf(out, " ");
        at += fprintf(out, "%.*s", length, word);
        word += length;
        word += strspn(word, " ");
    }
    fputc('\n', out);
}

static void print_flag(const flag_table *table, const flag *f, FILE *out)
{
    char left[80], *right = NULL;
    size_t size = 0;
    int n = f->letter ? snprintf(left, sizeof(left), "-%c, ", f->letter) : 0;
    snprintf(left + n, sizeof(left) - (size_t)n, "%s%s%s%s%s%s", flags_has_name(f) ? "--" : "",
             f->name, f->alias ? ", --" : "", f->alias ? f->alias : "", f->value ? " " : "",
             f->value ? f->value : "");
    FILE *text = open_memstream(&right, &size);
    if (text) {
        fprintf(text, "%s%s%s", f->help, f->choices ? ": " : "", f->choices ? f->choices : "");
        flags_put_default(f, table->defaults, text);
        fclose(text);
    }
    put_wrapped(right ? right : f->help, fprintf(out, "  %-*s  ", NAMES - 4, left), out);
    free(right);
}

void flags_print(const flag_table *table, unsigned commands, FILE *out)
{
    const char *group = "";
    for (int i = 0; i < table->n_flags; i++) {
        const flag *f = &table->flags[i];
        if (!(f->commands & commands))
            continue;
        if (strcmp(f->group, group) != 0)
            fprintf(out, "\n%s:\n", f->group);
        group = f->group;
        print_flag(table, f, out);
    }
}
