/* Plain text to roff. What may go wrong: a line that begins with a dot or an apostrophe would be a
 * macro, a backslash an escape, and a plain dash would be shown as a hyphen that nobody can paste. */
#include <string.h>

#include "manual.h"

enum { LINE = 75 };

static void put(char c, FILE *out)
{
    switch (c) {
    case '\\': fputs("\\e", out); break;
    case '-': fputs("\\-", out); break;
    case '\'': fputs("\\(aq", out); break;
    case '~': fputs("\\(ti", out); break;
    case '^': fputs("\\(ha", out); break;
    case '`': fputs("\\(ga", out); break;
    case '"': fputs("\\(dq", out); break;
    default: fputc(c, out);
    }
}

void roff_word(char font, const char *word, FILE *out)
{
    if (!*word)
        return;
    fprintf(out, "\\f%c", font);
    for (; *word; word++)
        put(*word, out);
    fputs("\\fR", out);
}

void roff_lines(const char *text, FILE *out)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && *text == '.')
            fputs("\\&", out);
        put(*text, out);
        line_start = *text == '\n';
    }
    fputc('\n', out);
}

void roff_text(const char *text, FILE *out)
{
    bool bold = false;
    int column = 0;
    for (; *text; text++) {
        if (*text == '\n' && text[1] == '\n') {
            fputs("\n.PP\n", out);
            text++;
            column = 0;
        } else if (*text == '\n') {
            fputs(text[1] == ' ' ? "\n.br\n" : "\n", out); /* a line that is set in stands alone */
            column = 0;
        } else if (*text == ' ' && (column == 0 || text[1] == ' ')) {
            continue; /* of several spaces the last one counts */
        } else if (*text == ' ' && column + (int)strcspn(text + 1, " \n") >= LINE) {
            fputc('\n', out);
            column = 0;
        } else if (*text == '`') {
            column += fprintf(out, bold ? "\\fR" : "\\fB");
            bold = !bold;
        } else {
            if (column == 0 && *text == '.')
                fputs("\\&", out);
            put(*text, out);
            column++;
        }
    }
    fputc('\n', out);
}
