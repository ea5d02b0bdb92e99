/* Safetensors files: named arrays, as PyTorch's safetensors package reads and writes them.
 *
 * Reading trusts nothing in a file: one that opens is consistent. An open file is read-only; any
 * number of threads may use it at once. Format: https://github.com/huggingface/safetensors. */
#ifndef WEFT_SAFETENSORS_H
#define WEFT_SAFETENSORS_H

#include "weft/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_safetensors weft_safetensors; /* an open file, or its header */

/* One named array, row-major, little-endian. A dimension may be 0. In a file that is read, `data`
 * is valid until the file is closed. It may be unaligned in files that other programs wrote: copy
 * it. */
typedef struct weft_safetensors_entry {
    const char *name; /* UTF-8 */
    weft_dtype dtype; /* of the elements */
    weft_shape shape; /* dimensions, the slowest first */
    const void *data; /* weft_shape_count(shape) elements */
    /* NULL, unless a file that is read has an array that Weft cannot hold. Then it says why:
     * "BOOL" (or I8, U16, F8_E4M3, ...), a type that Weft does not have; "a tensor of more than 6
     * dimensions". In that case dtype is WEFT_DTYPE_COUNT, shape a scalar's and data NULL. Ignored
     * when writing. */
    const char *foreign;
} weft_safetensors_entry;

/* One pair of the file's __metadata__ map. */
typedef struct weft_safetensors_meta {
    const char *key;   /* UTF-8 */
    const char *value; /* UTF-8 */
} weft_safetensors_meta;

/* Checks a file's header and reads its arrays into memory, which they keep until
 * weft_safetensors_close. Later changes to the file do not change what was read. An array of a
 * type or rank that Weft does not have is no error: see weft_safetensors_entry. On failure *file
 * is untouched, and err (may be NULL) names the file, the tensor and the numbers:
 * WEFT_ERR_NOT_FOUND (no such file), WEFT_ERR_IO (cannot be read, is no regular file, or was cut
 * or written to meanwhile), WEFT_ERR_FORMAT (truncated or inconsistent, or a header of more than
 * 100,000,000 bytes or 1,000,000 values), WEFT_ERR_NOMEM. */
weft_status weft_safetensors_open(const char *path, weft_safetensors **file, weft_error *err);
/* The same, but reads the header alone: `data` of every entry is NULL. */
weft_status weft_safetensors_open_header(const char *path, weft_safetensors **file,
                                         weft_error *err);
void weft_safetensors_close(weft_safetensors *file); /* NULL: no effect */

/* How many arrays the file has. */
int64_t weft_safetensors_count(const weft_safetensors *file);
/* An array, by its place in the header or by name; NULL: there is none. */
const weft_safetensors_entry *weft_safetensors_at(const weft_safetensors *file, int64_t index);
const weft_safetensors_entry *weft_safetensors_find(const weft_safetensors *file, const char *name);
int64_t weft_safetensors_meta_count(const weft_safetensors *file); /* pairs of metadata */
/* A pair of metadata, by its place; NULL: there is none. */
const weft_safetensors_meta *weft_safetensors_meta_at(const weft_safetensors *file, int64_t index);
/* The value of a metadata key; NULL: there is none. */
const char *weft_safetensors_meta_find(const weft_safetensors *file, const char *key);

/* Writes a file of n arrays, whole or not at all: it is written next to its final name, flushed to
 * disk, then renamed. The header lists the arrays in the order given. Names are UTF-8, and no two
 * are equal. meta may be NULL where n_meta is 0; transformers and others expect {"format",
 * "pt"}. */
weft_status weft_safetensors_write(const char *path, const weft_safetensors_entry *entries,
                                   int64_t n, const weft_safetensors_meta *meta, int64_t n_meta,
                                   weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
