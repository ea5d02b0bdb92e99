/* Atomic files: write a temporary file next to the final name, fsync it, rename it. See
 * atomic_file.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/files/atomic_file.h"
#include "engine/files/file_calls.h"
#include "engine/files/file_lock.h"
#include "engine/base/alloc.h"

struct wf_atomic_file {
    FILE *stream; /* writes to fd by wf_files(), for fprintf and its kind */
    int fd;       /* -1: closed */
    char *path;   /* the final name */
    char *temp;
    int lock;  /* descriptor that locks the temporary file until it is renamed */
    int error; /* errno of the first failed write */
};

/* Closes the stream, removes the temporary file unless it was renamed, frees. */
static void destroy(wf_atomic_file *f)
{
    if (f->stream)
        fclose(f->stream);
    if (f->fd >= 0)
        wf_files()->close(f->fd);
    if (f->temp) {
        wf_files()->unlink(f->temp);
        wf_free(f->temp);
    }
    if (f->lock >= 0)
        close(f->lock);
    wf_free(f->path);
    wf_free(f);
}

/* ---- temporary files ---- */

#define TEMP ".tmp-" /* NAME.tmp-PID-NUMBER */

/* Whether `entry` is a temporary file of the file `name`. */
static bool is_temp_of(const char *entry, const char *name)
{
    size_t length = strlen(name);
    int end = -1;
    return strncmp(entry, name, length) == 0 &&
           sscanf(entry + length, TEMP "%*[0-9]-%*[0-9]%n", &end) == 0 && end > 0 &&
           entry[length + (size_t)end] == '\0';
}

/* Removes the temporary file if no process writes it. */
static void remove_dead(int dir, const char *entry)
{
    int fd = openat(dir, entry, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    if (wf_lock_file(fd) == WF_LOCKED)
        unlinkat(dir, entry, 0);
    close(fd);
}

void wf_atomic_clean(const char *folder, const char *const *names, int n)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        for (int i = 0; i < n; i++)
            if (is_temp_of(e->d_name, names[i]))
                remove_dead(dirfd(d), e->d_name);
    if (d)
        closedir(d);
}

/* Removes the dead temporary files of the file `path`. False: out of memory. */
static bool clean_beside(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? wf_asprintf("%.*s", (int)(slash - path) + 1, path) : wf_strdup(".");
    if (folder)
        wf_atomic_clean(folder, &name, 1);
    wf_free(folder);
    return folder != NULL;
}

/* Creates and locks a file. Returns 0; EEXIST where the name is taken, or where another process
 * removes the file because it saw it before it was locked; else errno. */
static int open_locked(const char *path, int *fd)
{
    int error = wf_file_open(path, O_WRONLY | O_CREAT | O_EXCL, 0666, fd);
    if (error)
        return error;
    wf_lock_result lock = wf_lock_file(*fd);
    if (lock == WF_LOCK_NONE || (lock == WF_LOCKED && wf_lock_is_named(*fd, AT_FDCWD, path)))
        return 0;
    wf_files()->close(*fd);
    return EEXIST;
}

static ssize_t write_through(void *cookie, const char *data, size_t bytes)
{
    const wf_atomic_file *f = cookie;
    errno = wf_file_write(f->fd, data, bytes);
    return errno ? 0 : (ssize_t)bytes; /* a stream's function says 0 where it failed */
}

/* Creates a temporary file under an unused name. The process id keeps processes apart, O_EXCL
 * everything else. mkstemp would give mode 0600, and reading the umask to correct that is not safe
 * with threads. */
static int open_temp(wf_atomic_file *f)
{
    size_t size = strlen(f->path) + 40;
    f->temp = wf_alloc(size);
    if (!f->temp)
        return ENOMEM;
    int error = EEXIST;
    for (int i = 0; i < 1000 && error == EEXIST; i++) {
        int fd;
        snprintf(f->temp, size, "%s" TEMP "%ld-%d", f->path, (long)getpid(), i);
        error = open_locked(f->temp, &fd);
        if (error)
            continue;
        f->fd = fd;
        f->lock = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (f->lock >= 0)
            f->stream = fopencookie(f, "w", (cookie_io_functions_t){.write = write_through});
        return f->stream ? 0 : errno; /* destroy removes the file */
    }
    wf_free(f->temp); /* so that destroy does not remove a file of another process */
    f->temp = NULL;
    return error;
}

weft_status wf_atomic_create(const char *path, wf_atomic_file **file, weft_error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return wf_error_set(err, WEFT_ERR_IO, "%s: exists and is not a regular file", path);
    wf_atomic_file *f = wf_zalloc(sizeof *f);
    if (!f)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    f->lock = f->fd = -1;
    char *real = realpath(path, NULL); /* NULL where there is no such file yet */
    f->path = wf_strdup(real ? real : path);
    free(real);
    int error = f->path && clean_beside(f->path) ? open_temp(f) : ENOMEM;
    if (error) {
        destroy(f);
        return wf_error_set(err, error == ENOMEM ? WEFT_ERR_NOMEM : WEFT_ERR_IO,
                            "%s: cannot be written: %s", path, strerror(error));
    }
    *file = f;
    return WEFT_OK;
}

FILE *wf_atomic_stream(wf_atomic_file *file)
{
    return file->stream;
}

weft_status wf_atomic_write(wf_atomic_file *f, const void *data, size_t bytes, weft_error *err)
{
    errno = 0;
    if (bytes && fwrite(data, 1, bytes, f->stream) != bytes) {
        if (!f->error)
            f->error = errno ? errno : EIO;
        return wf_error_set(err, WEFT_ERR_IO, "%s: cannot be written: %s", f->path,
                            strerror(f->error));
    }
    return WEFT_OK;
}

/* Makes the rename durable. Returns errno. */
static int sync_directory(const char *path)
{
    char *dir = wf_strdup(path);
    if (!dir)
        return ENOMEM;
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';
    int error = wf_folder_sync(slash ? dir : ".");
    wf_free(dir);
    return error;
}

weft_status wf_atomic_commit(wf_atomic_file *f, weft_error *err)
{
    const char *what = "cannot be written";
    int error = f->error;
    errno = 0;
    if (!error && (fflush(f->stream) != 0 || ferror(f->stream)))
        error = errno ? errno : EIO;
    fclose(f->stream);
    f->stream = NULL;
    if (!error && wf_files()->fsync(f->fd) != 0)
        error = errno;
    if (wf_files()->close(f->fd) != 0 && !error) /* network file systems may tell only here */
        error = errno;
    f->fd = -1;
    if (!error) {
        if (wf_files()->rename(f->temp, f->path) != 0) {
            error = errno;
        } else {
            wf_free(f->temp);
            f->temp = NULL;
            error = sync_directory(f->path);
            what = "is written, but its directory could not be flushed";
        }
    }
    weft_status status = WEFT_OK;
    if (error)
        status = wf_error_set(err, WEFT_ERR_IO, "%s: %s: %s", f->path, what, strerror(error));
    destroy(f);
    return status;
}

void wf_atomic_abort(wf_atomic_file *f)
{
    if (f)
        destroy(f);
}
