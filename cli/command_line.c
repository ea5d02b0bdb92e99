/* Quotes what a shell would not take as it is. Text with control characters or bytes that are not
 * UTF-8 becomes $'...', as bash and zsh read it, so that the line can be shown and pasted. */
#include "command_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/status.h>

static void put_escaped(FILE *out, const char *word)
{
    fputs("$'", out);
    for (; *word; word++) {
        unsigned char c = (unsigned char)*word;
        if (c < 0x20 || c >= 0x7f)
            fprintf(out, "\\%03o", c); /* of a fixed length, whatever follows */
        else
            fprintf(out, c == '\'' || c == '\\' ? "\\%c" : "%c", c);
    }
    fputc('\'', out);
}

static void put(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-+=:,./@%";
    if (*word && word[strspn(word, plain)] == '\0') {
        fputs(word, out);
        return;
    }
    if (weft_quote(word, NULL, 0) != strlen(word)) {
        put_escaped(out, word);
        return;
    }
    fputc('\'', out);
    for (; *word; word++)
        if (*word == '\'')
            fputs("'\\''", out);
        else
            fputc(*word, out);
    fputc('\'', out);
}

char *command_line(int argc, char *const *argv)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    /* Where the command lies says nothing about what it did. */
    fputs("weft", out);
    for (int i = 1; i < argc; i++) {
        fputc(' ', out);
        put(out, argv[i]);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}
