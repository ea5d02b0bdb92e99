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
#include "engine/files/file_lock.h"
#include "engine/base/alloc.h"

struct wf_atomic_file {
    FILE *stream;
    char *path; /* the final name */
    char *temp;
    int lock;  /* descriptor that locks the temporary file until it is renamed */
    int error; /* errno of the first failed write */
};

/* Closes the stream, removes the temporary file unless it was renamed, frees. */
static void destroy(wf_atomic_file *f)
{
    if (f->stream)
        fclose(f->stream);
    if (f->temp) {
        unlink(f->temp);
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
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (*fd < 0)
        return errno;
    wf_lock_result lock = wf_lock_file(*fd);
    if (lock == WF_LOCK_NONE || (lock == WF_LOCKED && wf_lock_is_named(*fd, AT_FDCWD, path)))
        return 0;
    close(*fd);
    return EEXIST;
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
        f->lock = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        f->stream = f->lock >= 0 ? fdopen(fd, "w") : NULL;
        if (f->stream)
            return 0;
        error = errno;
        close(fd);
        unlink(f->temp);
        break;
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
    f->lock = -1;
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

/* Makes the rename durable. Some file systems cannot flush a directory (EINVAL): there the rename
 * is as durable as they make it. Returns errno. */
static int sync_directory(const char *path)
{
    char *dir = wf_strdup(path);
    if (!dir)
        return ENOMEM;
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 ? errno : 0;
    wf_free(dir);
    if (fd >= 0) {
        if (fsync(fd) != 0 && errno != EINVAL)
            error = errno;
        close(fd);
    }
    return error == EACCES ? 0 : error; /* a directory that we may write to but not read */
}

weft_status wf_atomic_commit(wf_atomic_file *f, weft_error *err)
{
    const char *what = "cannot be written";
    int error = f->error;
    errno = 0;
    if (!error && (fflush(f->stream) != 0 || ferror(f->stream)))
        error = errno ? errno : EIO;
    if (!error && fsync(fileno(f->stream)) != 0)
        error = errno;
    if (fclose(f->stream) != 0 && !error) /* network file systems may report errors only here */
        error = errno;
    f->stream = NULL;
    if (!error) {
        if (rename(f->temp, f->path) != 0) {
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
