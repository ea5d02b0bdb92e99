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

/* A text that is too long, as one with a path of thousands of bytes, keeps FRONT bytes of its
 * beginning and, with the final 0, BACK bytes of its end, where the reason stands. */
#define GAP " ... "
enum { BACK = WEFT_ERROR_TEXT / 2, FRONT = WEFT_ERROR_TEXT - BACK - (sizeof(GAP) - 1) };

/* Without memory the end is lost. */
static void shorten(char *text, size_t length, const char *format, va_list args)
{
    char *whole = wf_alloc(length + 1);
    if (!whole)
        return;
    wf_vsnprintf(whole, length + 1, format, args);
    memcpy(text + FRONT, GAP, sizeof(GAP) - 1);
    memcpy(text + WEFT_ERROR_TEXT - BACK, whole + length + 1 - BACK, BACK);
    wf_free(whole);
}

bool wf_error_is_of(const weft_error *err, const char *whole)
{
    const size_t length = strlen(whole), most = sizeof err->text - 1;
    if (length <= most)
        return strcmp(err->text, whole) == 0;
    return strncmp(err->text, whole, FRONT) == 0 &&
           (strncmp(err->text, whole, most) == 0 ||
            memcmp(err->text + WEFT_ERROR_TEXT - BACK, whole + length + 1 - BACK, BACK) == 0);
}

weft_status wf_error_vset(weft_error *err, weft_status status, const char *format, va_list args)
{
    if ((unsigned)status > WEFT_ERR_INTERNAL)
        status = WEFT_ERR_STATE;
    if (err && err->status == WEFT_OK && status != WEFT_OK) {
        va_list again;
        va_copy(again, args);
        err->status = status;
        const int length = wf_vsnprintf(err->text, sizeof err->text, format, args);
        if (length >= (int)sizeof err->text)
            shorten(err->text, (size_t)length, format, again);
        va_end(again);
    }
    return status;
}

weft_status wf_error_set(weft_error *err, weft_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    status = wf_error_vset(err, status, format, args);
    va_end(args);
    return status;
}
