/* A file that appears under its name as a whole or not at all.
 *
 * Threads: one at a time per file. */
#ifndef WF_FILES_ATOMIC_FILE_H
#define WF_FILES_ATOMIC_FILE_H

#include <stddef.h>
#include <stdio.h>

#include "weft/status.h"

typedef struct wf_atomic_file wf_atomic_file;

/* Opens a temporary file in the directory of `path`. On failure *file is untouched. If `path` is a
 * symbolic link, its target will be replaced, and the link stays. If `path` exists and is not a
 * regular file, fails. Removes the temporary files of the same file that killed writers left. */
weft_status wf_atomic_create(const char *path, wf_atomic_file **file, weft_error *err);
/* The stream, for fprintf and json_dumpf. wf_atomic_commit finds its errors. */
FILE *wf_atomic_stream(wf_atomic_file *file);
weft_status wf_atomic_write(wf_atomic_file *file, const void *data, size_t bytes, weft_error *err);
/* Flushes the file and renames it. Destroys `file` in every case. On failure nothing of it is left,
 * and what was under the name stays there. */
weft_status wf_atomic_commit(wf_atomic_file *file, weft_error *err);
/* Removes the temporary files that killed writers of the files `names` left in `folder`. Temporary
 * files of live writers are locked and stay. Where the file system has no locks, all stay. */
void wf_atomic_clean(const char *folder, const char *const *names, int n);
/* Removes the temporary file and destroys `file`. NULL: no effect. */
void wf_atomic_abort(wf_atomic_file *file);

#endif
