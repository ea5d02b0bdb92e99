/* A printf whose texts are quoted: the format is cut into its conversions, each of which is handed
 * to fprintf but for %s. See print.h. */
#include "print.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <weft/status.h>

/* One conversion, "%-*.3lld": flags, width and precision filled in. */
typedef struct conversion {
    char flags[8];
    int width;     /* 0: none; negative: to the left */
    int precision; /* -1: none */
    int longs;     /* l's; 2 for z, j and t, too, which are as wide */
    char letter;
} conversion;

/* Writes quoted text, of which `length` bytes are to be written, padded. Without memory nothing is
 * written: never the bare text. */
static void put_text(FILE *out, const char *text, size_t length, int width)
{
    char *cut = strndup(text, length);
    size_t size = cut ? weft_quote(cut, NULL, 0) + 1 : 0;
    char *quoted = cut ? malloc(size) : NULL;
    if (quoted) {
        weft_quote(cut, quoted, size);
        fprintf(out, "%*s", width, quoted);
    }
    free(quoted);
    free(cut);
}

/* A number after the %: digits, or an int of the arguments. */
static const char *read_number(const char *at, va_list *args, int *number)
{
    if (*at == '*') {
        *number = va_arg(*args, int);
        return at + 1;
    }
    char *end;
    *number = (int)strtol(at, &end, 10);
    return end;
}

/* Reads what follows a %; returns where the format goes on. */
static const char *read_conversion(const char *at, va_list *args, conversion *c)
{
    *c = (conversion){.precision = -1};
    size_t n = strspn(at, "-+ #0");
    snprintf(c->flags, sizeof(c->flags), "%.*s", (int)n, at);
    at = read_number(at + n, args, &c->width);
    if (*at == '.')
        at = read_number(at + 1, args, &c->precision);
    for (; *at && strchr("hlzjt", *at); at++)
        c->longs += *at == 'l' ? 1 : *at == 'h' ? 0 : 2;
    c->letter = *at;
    return *at ? at + 1 : at;
}

/* Writes the next argument. */
static void put_argument(FILE *out, const conversion *c, va_list *args)
{
    char format[32], precision[16] = "";
    const char *length = c->longs >= 2 ? "ll" : c->longs == 1 ? "l" : "";
    if (c->letter == 's') {
        const char *text = va_arg(*args, const char *);
        bool left = strchr(c->flags, '-') != NULL;
        text = text ? text : "(null)";
        put_text(out, text, c->precision >= 0 ? (size_t)c->precision : SIZE_MAX,
                 left ? -abs(c->width) : c->width);
        return;
    }
    if (c->precision >= 0)
        snprintf(precision, sizeof(precision), ".%d", c->precision);
    snprintf(format, sizeof(format), "%%%s*%s%s%c", c->flags, precision, length, c->letter);
/* The format's letter and the argument's type were checked where cli_print is called. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (strchr("feg", c->letter))
        fprintf(out, format, c->width, va_arg(*args, double));
    else if (c->longs >= 2)
        fprintf(out, format, c->width, va_arg(*args, long long));
    else if (c->longs == 1)
        fprintf(out, format, c->width, va_arg(*args, long));
    else
        fprintf(out, format, c->width, va_arg(*args, int));
#pragma GCC diagnostic pop
}

static void print_parts(FILE *out, const char *format, va_list *args)
{
    while (*format) {
        size_t plain = strcspn(format, "%");
        fwrite(format, 1, plain, out);
        format += plain;
        if (strncmp(format, "%%", 2) == 0) {
            fputc('%', out);
            format += 2;
        } else if (*format) {
            conversion c;
            format = read_conversion(format + 1, args, &c);
            put_argument(out, &c, args);
        }
    }
}

/* stderr has no buffer: without one here, the parts of what two processes print would mix. */
void cli_vprint(FILE *out, const char *format, va_list given)
{
    char *text = NULL;
    size_t size = 0;
    FILE *whole = open_memstream(&text, &size);
    va_list args;
    va_copy(args, given);
    print_parts(whole ? whole : out, format, &args);
    va_end(args);
    if (whole && fclose(whole) == 0)
        fwrite(text, 1, size, out);
    free(text);
}

void cli_print(FILE *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    cli_vprint(out, format, args);
    va_end(args);
}
