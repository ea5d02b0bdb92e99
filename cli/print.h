/* Printing. Text from outside (files, names, arguments, messages of the library) may hold control
 * characters; all that the commands print goes through here, where every %s is quoted. */
#ifndef CLI_PRINT_H
#define CLI_PRINT_H

#include <stdarg.h>
#include <stdio.h>

/* As fprintf, with the text of every %s quoted by weft_quote, before it is padded; %.*s quotes what
 * is left of the cut text. The format itself is written as it is: newlines, and what draws a bar,
 * are its. Conversions: s c d i u x f e g %, with flags, width, precision, h l ll z j t. Reaches
 * `out` in one piece. */
void cli_print(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_vprint(FILE *out, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

#endif
