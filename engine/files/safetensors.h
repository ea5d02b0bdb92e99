/* What the reader, the writer and the fuzzer of safetensors files share.
 *
 * A file has three parts: the length of the header (u64, little-endian); the header, a JSON object,
 * padded with spaces so that the next part starts on a multiple of 8 bytes; the bytes of the
 * arrays, each at the offsets in its header entry, without gaps. */
#ifndef WF_FILES_SAFETENSORS_H
#define WF_FILES_SAFETENSORS_H

#include <jansson.h>
#include <stdbool.h>

#include "engine/machine/memory.h"
#include "weft/safetensors.h"

#define WF_ST_PREFIX 8                /* bytes of the header length */
#define WF_ST_MAX_HEADER 100000000u   /* the limit of the reference implementation */
#define WF_ST_MAX_VALUES 1000000u     /* JSON values in the header: some 100,000 arrays */
#define WF_ST_METADATA "__metadata__" /* the one key that is not an array */

struct wf_atomic_file;

struct weft_safetensors {
    char *bytes;  /* the array section; NULL: it is the caller's, or was not read */
    char *path;   /* NULL: the file is closed */
    int fd;       /* of `path` */
    int64_t data; /* offset of the array section in the file */
    json_t *root; /* owns every name, key and value below */
    int64_t n, n_meta;
    weft_safetensors_entry *entries;        /* n, in the header's order */
    int64_t *begins;                        /* n: offset of each in the array section */
    const weft_safetensors_entry **by_name; /* n, sorted */
    weft_safetensors_meta *meta;            /* n_meta */
};

/* The header's length, from the first WF_ST_PREFIX bytes of a file of `size` bytes. Does not read
 * them if the file is shorter. */
weft_status wf_st_header_length(const char *label, const void *prefix, int64_t size,
                                int64_t *length, weft_error *err);
/* Checks a header of `length` bytes before `data_size` bytes of arrays. The entries of *file have
 * no data yet. */
weft_status wf_st_parse_header(const char *label, const char *header, int64_t length,
                               int64_t data_size, weft_safetensors **file, weft_error *err);
/* Orders pointers to entries by name, for qsort and bsearch. */
int wf_st_compare_names(const void *a, const void *b);

/* Whether to read the array `name` of the file, whose header was checked. */
typedef bool (*wf_st_wanted)(const weft_safetensors *file, const char *name, const void *user);
/* As weft_safetensors_open, but the file stays open for wf_safetensors_read. Arrays that are not
 * wanted have NULL as `data` and use no memory. */
weft_status wf_safetensors_open_some(const char *path, wf_st_wanted wanted, const void *user,
                                     weft_safetensors **file, weft_error *err);
/* Reads `bytes` bytes of an array from its byte `offset` on. Fails where the file was cut after it
 * was opened, or where its disk fails. Any number of threads at once. */
weft_status wf_safetensors_read(const weft_safetensors *file, const weft_safetensors_entry *e,
                                int64_t offset, int64_t bytes, void *to, weft_error *err);
/* As weft_safetensors_open, for a file in memory of `size` bytes, which must outlive *file. `label`
 * stands for the file's name in messages. */
weft_status wf_safetensors_parse(const char *label, const void *bytes, size_t size,
                                 weft_safetensors **file, weft_error *err);

/* What a file is made of. */
typedef struct wf_st_content {
    const char *label; /* stands for the file's name in messages */
    const weft_safetensors_entry *entries;
    int64_t n;
    const weft_safetensors_meta *meta;
    int64_t n_meta;
} wf_st_content;

/* The bytes of the file that weft_safetensors_write would write, in memory, for a thread that writes
 * them while the arrays change. So many threads copy. A *block that is exactly as large is used, any
 * other is freed first. The caller frees *block (wf_memory_free); on failure it holds nothing. */
weft_status wf_safetensors_image(const wf_st_content *content, wf_memory *memory, int threads,
                                 wf_block *block, weft_error *err);

/* Begins a file whose last array (in the file: the one of the smallest elements, the last among
 * equals) has no data yet: writes everything before it. The caller appends its bytes with
 * wf_atomic_write, then commits or aborts *file. On failure *file is untouched. */
weft_status wf_safetensors_begin(const char *path, const weft_safetensors_entry *entries, int64_t n,
                                 const weft_safetensors_meta *meta, int64_t n_meta,
                                 struct wf_atomic_file **file, weft_error *err);

/* A name from a file, for a message: quoted (weft_quote) and cut to about 80 bytes. */
typedef struct wf_st_quoted {
    char text[96];
} wf_st_quoted;
wf_st_quoted wf_st_quote(const char *name);

#endif
