/* Printing text from outside; weft_quote (weft/status.h) says what becomes of it. */
#ifndef WF_BASE_QUOTE_H
#define WF_BASE_QUOTE_H

#include <stdio.h>

/* Writes text quoted. */
void wf_print_quoted(const char *text, FILE *out);
/* Writes a message, and a newline. Its own newlines, those before a line indented by two spaces,
 * stay; the rest is quoted. */
void wf_print_quoted_lines(const char *text, FILE *out);

#endif
