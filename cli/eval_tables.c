/* Columns are as wide as their widest entry; names are counted in characters, not bytes. */
#include "eval_tables.h"

#include <math.h>
#include <string.h>

#include "progress.h"

enum { MOST_NAME = 24 };

/* The characters of UTF-8 text: its bytes but for those that continue one. */
static int characters(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* A class's name as it is printed: quoted, of at most MOST_NAME characters. */
typedef struct short_name {
    char text[4 * MOST_NAME + 1];
} short_name;

static short_name shorten(const char *name)
{
    short_name l;
    weft_quote(name, l.text, sizeof(l.text));
    char *end = l.text;
    for (int n = 0; *end && (n += (*end & 0xc0) != 0x80) <= MOST_NAME; end++)
        ;
    *end = '\0';
    return l;
}

static void put_name(FILE *out, const char *name, int width)
{
    short_name l = shorten(name);
    int n = characters(l.text);
    fprintf(out, "%s%*s", l.text, width > n ? width - n : 0, "");
}

static int name_width(const weft_eval_result *r, const char *const *names)
{
    int width = 0;
    for (int k = 0; names && k < r->classes; k++) {
        int n = characters(shorten(names[k]).text);
        width = n > width ? n : width;
    }
    return width;
}

/* "  3 Dress      ": a class by number and, where there is one, name. */
static void put_class(FILE *out, const weft_eval_result *r, const char *const *names, int k,
                      int width)
{
    fprintf(out, "%*d ", cli_digits(r->classes - 1) + 2, k);
    if (names)
        put_name(out, names[k], width);
}

static void put_percent(FILE *out, double value)
{
    if (isnan(value))
        fprintf(out, "  %9s", "-");
    else
        fprintf(out, "  %8.2f%%", value);
}

static void put_scores(FILE *out, const weft_class_score *c)
{
    put_percent(out, c->precision);
    put_percent(out, c->recall);
    put_percent(out, c->f1);
    fprintf(out, "  %9lld\n", (long long)c->support);
}

void print_classes(FILE *out, const weft_eval_result *r, const char *const *names)
{
    int width = name_width(r, names), label = cli_digits(r->classes - 1) + 3 + width;
    label = label < 7 ? 7 : label;
    fprintf(out, "\n  %-*s  %9s  %9s  %9s  %9s\n", label - 2, "class", "precision", "recall", "F1",
            "images");
    for (int k = 0; k < r->classes; k++) {
        put_class(out, r, names, k, label - cli_digits(r->classes - 1) - 3);
        if (!names)
            fprintf(out, "%*s", label - cli_digits(r->classes - 1) - 3, "");
        put_scores(out, &r->per_class[k]);
    }
    fprintf(out, "  %-*s", label - 2, "mean");
    put_scores(out, &r->mean);
}

void print_confusion(FILE *out, const weft_eval_result *r, const char *const *names, bool bold)
{
    int K = r->classes, width = name_width(r, names), cell = cli_digits(K - 1);
    int gap = K > 10 ? 1 : 2; /* many classes need the room */
    for (int64_t i = 0; i < (int64_t)K * K; i++) {
        int n = cli_digits(r->confusion[i]);
        cell = n > cell ? n : cell;
    }
    fprintf(out, "\nconfusion (rows: true class, columns: predicted)\n%*s",
            cli_digits(K - 1) + 3 + width, "");
    for (int k = 0; k < K; k++)
        fprintf(out, "%*d", cell + gap, k);
    fputc('\n', out);
    for (int row = 0; row < K; row++) {
        put_class(out, r, names, row, width);
        for (int k = 0; k < K; k++) {
            int64_t n = r->confusion[(int64_t)row * K + k];
            if (n == 0)
                fprintf(out, "%*s", cell + gap, ".");
            else if (row == k && bold)
                fprintf(out, "\033[1m%*lld\033[0m", cell + gap, (long long)n);
            else
                fprintf(out, "%*lld", cell + gap, (long long)n);
        }
        fputc('\n', out);
    }
}
