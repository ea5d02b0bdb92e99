/* Status texts and error records. */
#include <stdarg.h>
#include <stdio.h>

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

weft_status wf_error_vset(weft_error *err, weft_status status, const char *format, va_list args)
{
    if (err && err->status == WEFT_OK && status != WEFT_OK) {
        err->status = status;
        wf_vsnprintf(err->text, sizeof err->text, format, args);
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
