/* The pictures of a directory of class folders, and the index that keeps the list of them.
 *
 * Folder 0 is the directory itself, with the path "". */
#ifndef WF_DATA_FORMATS_LISTING_H
#define WF_DATA_FORMATS_LISTING_H

#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

typedef struct wf_listed_folder {
    uint64_t path; /* offset in text: below the directory, without a slash at its end */
    int64_t mtime_s, mtime_ns;
    int64_t class_number; /* -1: no class */
} wf_listed_folder;

/* One block of memory: the struct's pointers point behind it. */
typedef struct wf_listing {
    int64_t n_classes, n_folders, count, left_out;
    const uint64_t *classes;         /* (n_classes) offsets of their names */
    const wf_listed_folder *folders; /* (n_folders) */
    const uint64_t *names;           /* (count) offsets of the files' names */
    const uint32_t *folder_of;       /* (count) */
    const char *text;                /* names, each with a zero at its end */
    size_t text_bytes;
    void *block; /* owns all of it */
} wf_listing;

/* Lists `path`. flat: pictures in it and below it, of no class; else the pictures of class folders.
 * Classes may be empty: *empty becomes how many are. */
weft_status wf_listing_make(const char *path, int flat, wf_listing *list, int64_t *empty,
                            weft_error *err);
void wf_listing_done(wf_listing *list);

/* Reads the index of `path` in `folder`. True: it has one that fits, and *list is filled. */
int wf_index_read(const char *folder, const char *path, wf_listing *list);
/* Writes it. Failure is no error: the next start lists again. Does nothing where a folder has
 * changed within the last two seconds, since a later change might leave its time as it is. */
void wf_index_write(const char *folder, const char *path, const wf_listing *list);
/* The folder of indexes in the user's cache, made if need be; NULL: none. Owned by the caller. */
char *wf_index_folder(void);
/* Checks the bytes of an index (tests): fills *list, which points into them. */
int wf_index_parse(void *bytes, size_t size, const char *path, wf_listing *list);

#endif
