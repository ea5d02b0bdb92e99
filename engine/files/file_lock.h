/* Locks that tell whether a live process uses a file.
 *
 * These are fcntl's open file description locks. The kernel releases them when the last descriptor
 * is closed, so also when the process is killed. NFS passes them to its server, unlike flock of a
 * folder. Unlike POSIX's record locks, they stay when another descriptor of the same file is
 * closed, and two runs in one process exclude each other. */
#ifndef WF_FILES_FILE_LOCK_H
#define WF_FILES_FILE_LOCK_H

#include <stdbool.h>

typedef enum wf_lock_result {
    WF_LOCKED,
    WF_LOCK_BUSY, /* another process or run holds it */
    WF_LOCK_NONE  /* this file system has no locks */
} wf_lock_result;

/* Locks the open file, which must be writable, until it is closed. Never waits. */
wf_lock_result wf_lock_file(int fd);
/* Whether the name `name` in the folder `dir` still is the open file: its previous holder may have
 * removed it just before we locked it. */
bool wf_lock_is_named(int fd, int dir, const char *name);

#endif
