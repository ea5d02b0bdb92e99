/* Makes text from outside safe to print on a terminal. Stateless. */
#include <stdio.h>
#include <string.h>

#include "engine/base/quote.h"
#include "engine/base/utf8.h"
#include "weft/status.h"

/* Characters that move a terminal's cursor, begin a terminal command, end a line, or reorder the
 * text around them. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Writes the character at s, or its escape. Returns the bytes read. */
static int quote_one(const char *s, char out[8])
{
    uint32_t c;
    int n = wf_utf8(s, &c);
    if (n == 0)
        snprintf(out, 8, "\\x%02x", *(const unsigned char *)s);
    else if (c == '\n' || c == '\r' || c == '\t')
        snprintf(out, 8, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (is_control(c))
        snprintf(out, 8, c < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)c);
    else
        snprintf(out, 8, "%.*s", n, s);
    return n ? n : 1;
}

size_t weft_quote(const char *text, char *quoted, size_t size)
{
    size = quoted ? size : 0;
    size_t length = 0, written = 0;
    bool room = size > 0;
    for (const char *s = text ? text : ""; *s;) {
        char one[8];
        s += quote_one(s, one);
        size_t n = strlen(one);
        length += n;
        room = room && length < size; /* the first character that does not fit ends the text */
        if (room) {
            memcpy(quoted + written, one, n);
            written = length;
        }
    }
    if (size > 0)
        quoted[written] = '\0';
    return length;
}

static void print(const char *text, const char *end, FILE *out)
{
    for (char one[8]; text != end && *text;) {
        text += quote_one(text, one);
        fputs(one, out);
    }
}

void wf_print_quoted(const char *text, FILE *out)
{
    print(text, NULL, out);
}

void wf_print_quoted_lines(const char *text, FILE *out)
{
    flockfile(out);
    for (const char *end; (end = strstr(text, "\n  ")); text = end + 1) {
        print(text, end, out);
        fputc('\n', out);
    }
    print(text, NULL, out);
    fputc('\n', out);
    funlockfile(out);
}
