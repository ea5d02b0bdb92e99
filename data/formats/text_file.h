/* Small text files beside data: lists of names. */
#ifndef WF_DATA_FORMATS_TEXT_FILE_H
#define WF_DATA_FORMATS_TEXT_FILE_H

#include "weft/status.h"

/* Reads a text file of at most 256 MiB, without zero bytes; the caller frees *text. */
weft_status wf_read_text_file(const char *path, char **text, weft_error *err);

#endif
