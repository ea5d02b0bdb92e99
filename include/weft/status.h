/* Error records, and text that is fit for a terminal; weft/types.h has the status codes.
 *
 * Every fallible function that does not return a tensor returns a weft_status and leaves its
 * outputs untouched on failure. Messages say what, where and what was expected. The library never
 * prints, exits or aborts. */
#ifndef WEFT_STATUS_H
#define WEFT_STATUS_H

#include <stddef.h>

#include "weft/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An error record for code that has no context (file formats, loader threads). Initialise with
 * WEFT_ERROR_INIT; the first error stays until the record is initialised again. */
#define WEFT_ERROR_TEXT 1024
typedef struct weft_error {
    weft_status status;
    char text[WEFT_ERROR_TEXT];
} weft_error;
/* clang-format off */
#define WEFT_ERROR_INIT {WEFT_OK, {0}}
/* clang-format on */

/* Text that a file, a name or the command line brings, fit for a terminal. What could move the
 * cursor, begin an escape sequence, end a line or reorder text is written as an escape: C0 controls
 * and DEL ("\n", "\r", "\t", "\x1b"), C1 controls, line separators and bidirectional controls
 * ("\u0085", "\u2028", "\u202e"), and bytes that are not UTF-8 ("\xff"). All else, backslashes
 * too, stays as it is.
 * As snprintf: at most `size` bytes of `quoted` are written, the zero at the end included, and the
 * bytes that all of it would take are returned, without that zero. What does not fit is left out
 * by whole characters and escapes. A text of NULL is empty. Error and message texts of the library
 * may hold such text as it came: quote them before they go to a terminal. */
size_t weft_quote(const char *text, char *quoted, size_t size);

#ifdef __cplusplus
}
#endif
#endif
