/* Opening files that others have written. Only here is decided what may be opened. */
#ifndef WF_FILES_REGULAR_FILE_H
#define WF_FILES_REGULAR_FILE_H

#include <stdint.h>
#include <stdio.h>

#include "weft/status.h"

/* Opens a file for reading and sets *size. Opens only regular files of at most `most` bytes (0: of
 * any size): a FIFO would wait for a writer, and a device may have no end. Never waits.
 * WEFT_ERR_NOT_FOUND, WEFT_ERR_IO or WEFT_ERR_FORMAT (too large), with "PATH: why" in err. */
weft_status wf_open_regular(const char *path, int64_t most, int *fd, int64_t *size,
                            weft_error *err);
/* The same for a file of our own: it is never a symbolic link (WEFT_ERR_IO), so that nobody who may
 * write into our folder can make us read elsewhere. */
weft_status wf_open_own(const char *path, int64_t most, int *fd, int64_t *size, weft_error *err);
/* Reads exactly `bytes` bytes from `offset` on. WEFT_ERR_IO, also where the file ends earlier: then
 * it was cut after its size was read. `path` is for the message. */
weft_status wf_read_at(int fd, const char *path, void *to, int64_t bytes, int64_t offset,
                       weft_error *err);
/* As wf_open_regular, for the standard library's streams. */
weft_status wf_fopen_regular(const char *path, int64_t most, FILE **file, weft_error *err);

#endif
