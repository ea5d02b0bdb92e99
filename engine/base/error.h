/* Setting error records. The first error stays. */
#ifndef WF_BASE_ERROR_H
#define WF_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#include "weft/status.h"

/* As vsnprintf, but numbers have decimal points whatever the program's locale. For all messages. */
int wf_vsnprintf(char *text, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
/* Sets err (may be NULL), unless it has an error already. Returns status; WEFT_ERR_STATE for one that is none, as
 * the user's functions may return it. */
weft_status wf_error_set(weft_error *err, weft_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
weft_status wf_error_vset(weft_error *err, weft_status status, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
/* Whether err's text is this one, or what had room of it. */
bool wf_error_is_of(const weft_error *err, const char *whole);

#define WF_TRY(expr)                                                                               \
    do {                                                                                           \
        weft_status wf_try_status_ = (expr);                                                       \
        if (wf_try_status_ != WEFT_OK)                                                             \
            return wf_try_status_;                                                                 \
    } while (0)

#endif
