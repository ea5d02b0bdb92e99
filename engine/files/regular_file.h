/* Opening what others have written: one place for what may be opened. */
#ifndef WF_FILES_REGULAR_FILE_H
#define WF_FILES_REGULAR_FILE_H

#include <stdint.h>
#include <stdio.h>

#include "weft/status.h"

/* Opens a file for reading and says its size. Only a regular file of at most `most` bytes (0: of
 * any size) is opened: a FIFO would wait for a writer, a device may never end. Never waits.
 * WEFT_ERR_NOT_FOUND, WEFT_ERR_IO or WEFT_ERR_FORMAT (too large), with "PATH: why" in err. */
weft_status wf_open_regular(const char *path, int64_t most, int *fd, int64_t *size,
                            weft_error *err);
/* Reads exactly `bytes` bytes that begin at `offset`. WEFT_ERR_IO, also where the file ends before:
 * it then became shorter after its size was asked for. `path` is for the message. */
weft_status wf_read_at(int fd, const char *path, void *to, int64_t bytes, int64_t offset,
                       weft_error *err);
/* The same as wf_open_regular for the standard library's streams. */
weft_status wf_fopen_regular(const char *path, int64_t most, FILE **file, weft_error *err);

#endif
