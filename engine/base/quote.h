/* Printing text from outside. weft_quote (weft/status.h) says how text is quoted. */
#ifndef WF_BASE_QUOTE_H
#define WF_BASE_QUOTE_H

#include <stdio.h>

/* Writes text quoted. */
void wf_print_quoted(const char *text, FILE *out);
/* Writes a message and a newline. A newline in the message stays if two spaces follow it;
 * everything else is quoted. */
void wf_print_quoted_lines(const char *text, FILE *out);

#endif
