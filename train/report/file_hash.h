/* A hash of a file, by which files are told apart. Any thread. */
#ifndef WF_REPORT_FILE_HASH_H
#define WF_REPORT_FILE_HASH_H

#include "weft/status.h"

enum { WF_FILE_HASH_TEXT = 48 };
/* Writes "xxh128:..." as xxh128sum prints it. */
weft_status wf_file_hash(const char *path, char text[WF_FILE_HASH_TEXT], weft_error *err);

#endif
