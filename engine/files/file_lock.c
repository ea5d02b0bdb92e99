/* See file_lock.h. Any thread. */
#include "engine/files/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

wf_lock_result wf_lock_file(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
        return WF_LOCKED;
    return errno == EAGAIN || errno == EACCES ? WF_LOCK_BUSY : WF_LOCK_NONE;
}

bool wf_lock_is_named(int fd, int dir, const char *name)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}
