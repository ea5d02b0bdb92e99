/* See file_calls.h. */
#include "engine/files/file_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/alloc.h"

static int system_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags | O_CLOEXEC, mode);
}

const wf_file_calls wf_files_system = {.open = system_open,
                                       .write = write,
                                       .ftruncate = ftruncate,
                                       .fsync = fsync,
                                       .close = close,
                                       .rename = rename,
                                       .mkdir = mkdir,
                                       .unlink = unlink,
                                       .rmdir = rmdir};

static _Atomic(const wf_file_calls *) in_use = &wf_files_system;

const wf_file_calls *wf_files(void)
{
    return atomic_load_explicit(&in_use, memory_order_acquire);
}

void wf_files_set(const wf_file_calls *calls)
{
    atomic_store_explicit(&in_use, calls ? calls : &wf_files_system, memory_order_release);
}

int wf_file_write(int fd, const void *data, size_t bytes)
{
    for (const char *at = data; bytes > 0;) {
        ssize_t n = wf_files()->write(fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0) /* no file of ours takes nothing: waiting for it would be for ever */
            return EIO;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

int wf_file_open(const char *path, int flags, mode_t mode, int *fd)
{
    do
        *fd = wf_files()->open(path, flags, mode);
    while (*fd < 0 && errno == EINTR);
    return *fd < 0 ? errno : 0;
}

int wf_folder_sync(const char *path)
{
    int fd;
    int error = wf_file_open(path, O_RDONLY | O_DIRECTORY, 0, &fd);
    if (error)
        return error == EACCES ? 0 : error;
    if (wf_files()->fsync(fd) != 0 && errno != EINVAL)
        error = errno;
    wf_files()->close(fd);
    return error;
}

static int remove_entry(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : errno;
    if (S_ISDIR(st.st_mode))
        return wf_folder_remove(path);
    return wf_files()->unlink(path) != 0 && errno != ENOENT ? errno : 0;
}

int wf_folder_remove(const char *path)
{
    int error = 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        error = errno;
        if (fd >= 0)
            close(fd);
        return error == ENOENT ? 0 : error;
    }
    for (struct dirent *e; !error && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *inner = wf_asprintf("%s/%s", path, e->d_name);
        error = inner ? remove_entry(inner) : ENOMEM;
        wf_free(inner);
    }
    closedir(d);
    if (!error && wf_files()->rmdir(path) != 0 && errno != ENOENT)
        error = errno;
    return error;
}
