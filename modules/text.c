/* Texts that grow. Threading rule: one thread for each text. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "modules/internal.h"

void wf_text_add(wf_text *t, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    if (n < 0 || t->failed) {
        t->failed = true;
        return;
    }
    size_t need = t->length + (size_t)n + 1;
    if (need > t->capacity) {
        size_t capacity = need < 512 ? 1024 : 2 * need;
        char *text = wf_realloc_array(t->text, capacity, 1);
        if (text == NULL) {
            t->failed = true;
            return;
        }
        t->text = text;
        t->capacity = capacity;
    }
    va_start(args, format);
    vsnprintf(t->text + t->length, (size_t)n + 1, format, args);
    va_end(args);
    t->length += (size_t)n;
}

void wf_text_add_quoted(wf_text *t, const char *text, int width)
{
    size_t size = weft_quote(text, NULL, 0) + 1;
    char *quoted = wf_alloc(size);
    if (quoted == NULL) {
        t->failed = true;
        return;
    }
    weft_quote(text, quoted, size);
    wf_text_add(t, "%-*s", width, quoted);
    wf_free(quoted);
}

void wf_text_done(wf_text *t)
{
    wf_free(t->text);
    *t = (wf_text){0};
}
