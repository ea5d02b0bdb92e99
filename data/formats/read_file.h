/* Reading whole picture files. */
#ifndef WF_DATA_FORMATS_READ_FILE_H
#define WF_DATA_FORMATS_READ_FILE_H

#include "data/dataset.h"

/* Larger files are refused: no picture that a decoder's limit lets through is as large. */
#define WF_MOST_PICTURE_BYTES ((int64_t)1 << 30)

/* Reads a whole file. WEFT_ERR_NOT_FOUND where it is not there (any more). */
weft_status wf_read_picture_file(const char *path, wf_bytes *bytes, weft_error *err);
/* Reads a part of an open file; `name` is for messages. */
weft_status wf_read_picture_part(int fd, const char *name, int64_t offset, int64_t size,
                                 wf_bytes *bytes, weft_error *err);

#endif
