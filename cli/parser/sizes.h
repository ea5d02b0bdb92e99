/* Numbers of bytes that users type. */
#ifndef CLI_PARSER_SIZES_H
#define CLI_PARSER_SIZES_H

#include <stdbool.h>
#include <stddef.h>

/* Reads "1500000000", "1.5G", "800M" or "64 MiB"; K, M, G and T are powers of 1024. False: it is no
 * number of bytes, is below one byte, or is more than half of the address space. */
bool sizes_read(const char *text, size_t *bytes);

#endif
