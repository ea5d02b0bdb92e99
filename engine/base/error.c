/* Status texts and error records. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/c_locale.h"
#include "engine/base/error.h"

const char *weft_status_string(weft_status status)
{
    switch (status) {
#define X(name, text)                                                                              \
    case WEFT_##name: return text;
        WEFT_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

int wf_vsnprintf(char *text, size_t size, const char *format, va_list args)
{
    wf_c_locale locale;
    bool points = wf_c_locale_begin(&locale); /* out of memory: a comma is better than no text */
    int n = vsnprintf(text, size, format, args);
    if (points)
        wf_c_locale_end(&locale);
    return n;
}

/* Of a text that is too long, as one with a path of thousands of bytes, keeps beginning and end: the
 * reason stands at the end. Without memory the end is lost. */
static void shorten(char *text, size_t size, size_t length, const char *format, va_list args)
{
    static const char gap[] = " ... ";
    const size_t end = size / 2;
    char *whole = wf_alloc(length + 1);
    if (!whole)
        return;
    wf_vsnprintf(whole, length + 1, format, args);
    memcpy(text + size - end - strlen(gap), gap, strlen(gap));
    memcpy(text + size - end, whole + length + 1 - end, end);
    wf_free(whole);
}

weft_status wf_error_vset(weft_error *err, weft_status status, const char *format, va_list args)
{
    if (err && err->status == WEFT_OK && status != WEFT_OK) {
        va_list again;
        va_copy(again, args);
        err->status = status;
        const int length = wf_vsnprintf(err->text, sizeof err->text, format, args);
        if (length >= (int)sizeof err->text)
            shorten(err->text, sizeof err->text, (size_t)length, format, again);
        va_end(again);
    }
    return status;
}

weft_status wf_error_set(weft_error *err, weft_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    wf_error_vset(err, status, format, args);
    va_end(args);
    return status;
}
