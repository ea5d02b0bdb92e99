/* A file that appears under its name whole or not at all.
 *
 * Threads: one at a time per file. */
#ifndef WF_FILES_ATOMIC_FILE_H
#define WF_FILES_ATOMIC_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "weft/status.h"

typedef struct wf_atomic_file wf_atomic_file;

/* Opens a temporary file in the directory of `path`. On failure *file is untouched. A path that
 * is a symbolic link keeps being one: its target is replaced. What exists and is not a regular
 * file is refused. Temporary files that killed writers of the same file left are removed. */
weft_status wf_atomic_create(const char *path, wf_atomic_file **file, weft_error *err);
/* For fprintf and json_dumpf; its errors are found by wf_atomic_commit. */
FILE *wf_atomic_stream(wf_atomic_file *file);
weft_status wf_atomic_write(wf_atomic_file *file, const void *data, size_t bytes, weft_error *err);
/* Flushes and renames; destroys `file` in every case. On failure nothing is left of it, and what
 * was under the name before is still there. */
weft_status wf_atomic_commit(wf_atomic_file *file, weft_error *err);
/* Removes the temporary files that killed writers of the files `names` left in `folder`. Those that
 * a live process writes are locked and stay; so do all where the file system has no locks. */
void wf_atomic_clean(const char *folder, const char *const *names, int n);
/* Removes the temporary file and destroys `file`. NULL: no effect. */
void wf_atomic_abort(wf_atomic_file *file);

#endif
