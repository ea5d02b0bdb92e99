/* Error records, and text made safe for a terminal. weft/types.h has the status codes.
 *
 * A function that can fail returns a tensor (NULL: it failed) or a weft_status; on failure it
 * leaves its outputs untouched. Messages say what is wrong, where, and what was expected. The
 * library never prints, exits or aborts. */
#ifndef WEFT_STATUS_H
#define WEFT_STATUS_H

#include <stddef.h>

#include "weft/types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_ERROR_TEXT 1024 /* bytes of a message, the zero at its end included */
/* An error record, for calls that have no context: file formats, data sets, loaders. Initialise it
 * with WEFT_ERROR_INIT. The first error stays until the record is initialised again. */
typedef struct weft_error {
    weft_status status;         /* WEFT_OK: no error */
    char text[WEFT_ERROR_TEXT]; /* what is wrong; "" without an error */
} weft_error;
/* clang-format off */
#define WEFT_ERROR_INIT {WEFT_OK, {0}} /* to begin a weft_error with */
/* clang-format on */

/* Makes text that comes from a file, a name or the command line safe to print on a terminal.
 * Characters that could move the cursor, begin an escape sequence, end a line or reorder text
 * become escapes: C0 controls and DEL ("\n", "\r", "\t", "\x1b"), C1 controls, line separators and
 * bidirectional controls ("\u0085", "\u2028", "\u202e"), and bytes that are not UTF-8 ("\xff").
 * All else, backslashes too, stays as it is.
 *
 * Works as snprintf does: it writes at most `size` bytes to `quoted`, a zero at the end included,
 * and returns how many bytes the whole result needs, without that zero. If the result does not
 * fit, it ends after a whole character or escape. NULL as text counts as "", NULL as quoted as a
 * size of 0. The library's error
 * and message texts can contain names and paths unchanged, so quote them before you print them. */
size_t weft_quote(const char *text, char *quoted, size_t size);

#ifdef __cplusplus
}
#endif
#endif
