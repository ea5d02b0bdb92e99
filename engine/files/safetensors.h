/* What the reader, the writer and the fuzzer of safetensors files share.
 *
 * Layout of a file: u64 header length (little-endian); a JSON object, padded with spaces so that
 * what follows starts on 8 bytes; the bytes of the arrays, each at the offsets its entry gives,
 * without gaps. */
#ifndef WF_FILES_SAFETENSORS_H
#define WF_FILES_SAFETENSORS_H

#include "weft/safetensors.h"

#define WF_ST_PREFIX 8                /* bytes of the header length */
#define WF_ST_MAX_HEADER 100000000u   /* as the reference implementation */
#define WF_ST_MAX_VALUES 4000000u     /* in the header: some 400,000 arrays */
#define WF_ST_METADATA "__metadata__" /* the one key that is not an array */

/* As weft_safetensors_open, over `size` bytes in memory, which must outlive *file. `label` stands
 * for the file's name in messages. */
weft_status wf_safetensors_parse(const char *label, const void *bytes, size_t size,
                                 weft_safetensors **file, weft_error *err);

/* Copies bytes of an array, from `data` on, out of a file that weft_safetensors_open opened. Unlike
 * a look at the bytes themselves, which are mapped, it fails where the file has been cut off since,
 * or its disk fails, and raises no SIGBUS. Any number of threads at once. */
weft_status wf_safetensors_read(const weft_safetensors *file, const void *data, size_t bytes,
                                void *to, weft_error *err);

/* A name from a file, fit for a message: quoted (weft_quote) and cut to some 80 bytes. */
typedef struct wf_st_quoted {
    char text[96];
} wf_st_quoted;
wf_st_quoted wf_st_quote(const char *name);

#endif
