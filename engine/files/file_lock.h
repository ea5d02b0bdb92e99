/* Locks that say whether a live process holds a file.
 *
 * Open file description locks of fcntl: the kernel releases them with the last descriptor, so a
 * kill does too; NFS carries them to its server, unlike flock of a folder; and, unlike POSIX's
 * record locks, closing another descriptor of the same file does not drop them, and two runs in one
 * process exclude each other. */
#ifndef WF_FILES_FILE_LOCK_H
#define WF_FILES_FILE_LOCK_H

#include <stdbool.h>

typedef enum wf_lock_result {
    WF_LOCKED,
    WF_LOCK_BUSY, /* another holds it */
    WF_LOCK_NONE  /* this file system has no locks */
} wf_lock_result;

/* Locks the open file, which must be writable, until it is closed. Never waits. */
wf_lock_result wf_lock_file(int fd);
/* Whether the name `name` in the folder `dir` is still that of the open file: who locks a file may
 * find that its holder had just removed it. */
bool wf_lock_is_named(int fd, int dir, const char *name);

#endif
