/* Safetensors files: named arrays, as PyTorch's safetensors package reads and writes them.
 *
 * A file is parsed as hostile input: what opens is consistent. The open file is read-only, and any
 * number of threads may use it at once. Format: https://github.com/huggingface/safetensors. */
#ifndef WEFT_SAFETENSORS_H
#define WEFT_SAFETENSORS_H

#include "weft/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_safetensors weft_safetensors; /* an open file, or its header */

/* One named array, row-major, little-endian. Read: `data` lives until the file is closed and may
 * be unaligned for its type in files that others wrote (copy it). A dimension may be 0. */
typedef struct weft_safetensors_entry {
    const char *name;
    weft_dtype dtype;
    weft_shape shape;
    const void *data; /* weft_shape_count(shape) elements */
    /* Read: NULL; or, of an array that Weft cannot hold, what it is: "BOOL" (or I8, U16, F8_E4M3,
     * ...: a type that Weft does not have), "a tensor of more than 6 dimensions". dtype then is
     * WEFT_DTYPE_COUNT, shape a scalar's and data NULL. Ignored when writing. */
    const char *foreign;
} weft_safetensors_entry;

/* One pair of the file's __metadata__ map. */
typedef struct weft_safetensors_meta {
    const char *key;
    const char *value;
} weft_safetensors_meta;

/* Checks a file's header and reads its arrays into memory, which takes as many bytes as the file has
 * until it is closed. On failure *file is untouched and err (may be NULL) names the file, the tensor
 * and the numbers: WEFT_ERR_NOT_FOUND (no such file), WEFT_ERR_IO (cannot be read, is no regular
 * file, or was cut or written to while it was read), WEFT_ERR_FORMAT (truncated or inconsistent, a
 * header of more than 100,000,000 bytes or 1,000,000 values), WEFT_ERR_NOMEM. An array of a type or
 * rank that Weft does not have is no error: see weft_safetensors_entry. What happens to the file
 * afterwards, truncation too, does not change what was read. */
weft_status weft_safetensors_open(const char *path, weft_safetensors **file, weft_error *err);
/* The same of the header alone, without the memory for the arrays: `data` of every entry is NULL. */
weft_status weft_safetensors_open_header(const char *path, weft_safetensors **file,
                                         weft_error *err);
void weft_safetensors_close(weft_safetensors *file); /* NULL: no effect */

/* Entries in the order of the header; NULL where there is none. */
int64_t weft_safetensors_count(const weft_safetensors *file);
const weft_safetensors_entry *weft_safetensors_at(const weft_safetensors *file, int64_t index);
const weft_safetensors_entry *weft_safetensors_find(const weft_safetensors *file, const char *name);
int64_t weft_safetensors_meta_count(const weft_safetensors *file);
const weft_safetensors_meta *weft_safetensors_meta_at(const weft_safetensors *file, int64_t index);
/* The value of a metadata key, or NULL. */
const char *weft_safetensors_meta_find(const weft_safetensors *file, const char *key);

/* Writes a file whole or not at all: next to its final name, flushed to disk, then renamed. The
 * header lists the entries in the order given; names are UTF-8 and differ. meta may be NULL when
 * n_meta is 0; transformers and others expect {"format", "pt"}. */
weft_status weft_safetensors_write(const char *path, const weft_safetensors_entry *entries,
                                   int64_t n, const weft_safetensors_meta *meta, int64_t n_meta,
                                   weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
