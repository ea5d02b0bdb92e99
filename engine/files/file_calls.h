/* The system calls by which files are written, so that tests can let any of them fail, record them,
 * or pretend a crash. Reading is regular_file.h's.
 *
 * Any thread; the table is changed only while no file is being written. */
#ifndef WF_FILES_FILE_CALLS_H
#define WF_FILES_FILE_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Each as the system call of its name: -1 and errno on failure. */
typedef struct wf_file_calls {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*write)(int fd, const void *data, size_t bytes);
    int (*ftruncate)(int fd, off_t bytes);
    int (*fsync)(int fd);
    int (*close)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*mkdir)(const char *path, mode_t mode);
    int (*unlink)(const char *path);
    int (*rmdir)(const char *path);
} wf_file_calls;

/* The table in use. */
const wf_file_calls *wf_files(void);
/* Tests only: puts a table in place; NULL: the system's own. */
void wf_files_set(const wf_file_calls *calls);
/* The system's own. */
extern const wf_file_calls wf_files_system;

/* All of these return 0 or an errno. */

/* Writes all bytes, whatever a single call manages. */
int wf_file_write(int fd, const void *data, size_t bytes);
/* Opens; a signal that comes in between does not matter. */
int wf_file_open(const char *path, int flags, mode_t mode, int *fd);
/* Makes what was created, renamed or removed in a folder durable. Where the file system cannot
 * flush a folder (EINVAL), or we may not read it, this is as durable as it gets: 0. */
int wf_folder_sync(const char *path);
/* Removes a folder with everything in it, without following links. ENOENT is 0. */
int wf_folder_remove(const char *path);

#endif
