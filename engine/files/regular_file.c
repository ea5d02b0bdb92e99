/* See regular_file.h. Threading: any thread. */
#include "engine/files/regular_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"

static weft_status open_file(const char *path, int flags, int64_t most, int *fd, int64_t *size,
                             weft_error *err)
{
    struct stat st;
    const int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
    if (opened < 0)
        return wf_error_set(err, errno == ENOENT ? WEFT_ERR_NOT_FOUND : WEFT_ERR_IO,
                            "%s: cannot be read: %s", path, strerror(errno));
    weft_status status = WEFT_OK;
    if (fstat(opened, &st) != 0)
        status = wf_error_set(err, WEFT_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        status = wf_error_set(err, WEFT_ERR_IO, "%s: is not a regular file", path);
    else if (most > 0 && st.st_size > most)
        status = wf_error_set(err, WEFT_ERR_FORMAT,
                              "%s: has %" PRId64 " bytes, at most %" PRId64 " are read", path,
                              (int64_t)st.st_size, most);
    if (status != WEFT_OK) {
        close(opened);
        return status;
    }
    *fd = opened;
    *size = st.st_size;
    return WEFT_OK;
}

weft_status wf_open_regular(const char *path, int64_t most, int *fd, int64_t *size, weft_error *err)
{
    return open_file(path, 0, most, fd, size, err);
}

weft_status wf_open_own(const char *path, int64_t most, int *fd, int64_t *size, weft_error *err)
{
    return open_file(path, O_NOFOLLOW, most, fd, size, err);
}

weft_status wf_read_at(int fd, const char *path, void *to, int64_t bytes, int64_t offset,
                       weft_error *err)
{
    for (int64_t done = 0; done < bytes;) {
        const ssize_t got =
            pread(fd, (char *)to + done, (size_t)(bytes - done), (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return wf_error_set(err, WEFT_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
        if (got == 0)
            return wf_error_set(err, WEFT_ERR_IO, "%s: was truncated while it was in use", path);
        done += got;
    }
    return WEFT_OK;
}

weft_status wf_fopen_regular(const char *path, int64_t most, FILE **file, weft_error *err)
{
    int fd;
    int64_t size;
    weft_status status = wf_open_regular(path, most, &fd, &size, err);
    if (status != WEFT_OK)
        return status;
    *file = fdopen(fd, "r");
    if (*file)
        return WEFT_OK;
    status = wf_error_set(err, WEFT_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
    close(fd);
    return status;
}
