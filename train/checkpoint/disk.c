/* Writes and reads the folder of a checkpoint. See disk.h. Any thread. */
#include "train/checkpoint/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/file_calls.h"
#include "engine/files/regular_file.h"
#include "engine/machine/workers.h"
#include "train/checkpoint/manifest.h"

static weft_status fail(weft_error *err, const char *what, const char *path, int error)
{
    return wf_error_set(err, error == ENOMEM ? WEFT_ERR_NOMEM : WEFT_ERR_IO, "cannot %s %s: %s",
                        what, path, strerror(error));
}

static weft_status no_memory(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a checkpoint");
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Whether O_DIRECT is now set, or not set, as asked. */
static bool set_direct(int fd, bool on)
{
    const int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

enum { PAGE = 4096, DIRECT_LEAST = 2 << 20, DIRECT_PIECE = 8 << 20 };

/* Writes whole pages of a large file past the page cache, as many as it can: the copy into the cache,
 * and its fresh pages, would take processor time from training. *done: bytes written. Many file
 * systems refuse (EINVAL); the rest is then for plain writes. */
static int write_direct(int fd, const char *data, size_t bytes, size_t *done)
{
    *done = 0;
    if (bytes < DIRECT_LEAST || (uintptr_t)data % PAGE != 0 || !set_direct(fd, true))
        return 0;
    int error = 0;
    while (!error && bytes - *done >= PAGE && *done % PAGE == 0) {
        size_t piece = (bytes - *done) / PAGE * PAGE;
        piece = piece < DIRECT_PIECE ? piece : DIRECT_PIECE;
        const ssize_t n = wf_files()->write(fd, data + *done, piece);
        if (n > 0)
            *done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            error = n == 0 ? EIO : errno;
    }
    set_direct(fd, false);
    return error == EINVAL ? 0 : error;
}

static int write_bytes(int fd, const char *data, size_t bytes)
{
    size_t done;
    const int error = write_direct(fd, data, bytes, &done);
    return error ? error : wf_file_write(fd, data + done, bytes - done);
}

/* Creates a file of these bytes and makes it durable. */
static weft_status write_file(const char *folder, const char *name, const void *data, size_t bytes,
                              weft_error *err)
{
    char *path = wf_asprintf("%s/%s", folder, name);
    int fd = -1;
    if (!path)
        return no_memory(err);
    int error = wf_file_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666, &fd);
    if (!error)
        error = write_bytes(fd, data, bytes);
    if (!error && wf_files()->fsync(fd) != 0)
        error = errno;
    if (fd >= 0 && wf_files()->close(fd) != 0 && !error && errno != EINTR)
        error = errno;
    weft_status status = error ? fail(err, "write", path, error) : WEFT_OK;
    wf_free(path);
    return status;
}

static weft_status write_files(wf_ckpt_image *image, const char *folder, weft_error *err)
{
    for (int i = 0; i < image->n; i++) {
        wf_ckpt_file *f = &image->file[i];
        f->hash = wf_ckpt_hash(f->block.data, f->block.size);
        WF_TRY(write_file(folder, f->name, f->block.data, f->block.size, err));
    }
    size_t bytes = 0;
    char *manifest = wf_manifest_text(image, &bytes);
    if (!manifest)
        return no_memory(err);
    weft_status status = write_file(folder, WF_MANIFEST, manifest, bytes, err);
    free(manifest);
    return status;
}

/* The folder above `path`, and the part behind the last '/'. */
static char *folder_of(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (!slash)
        return wf_strdup(".");
    return slash == path ? wf_strdup("/") : wf_asprintf("%.*s", (int)(slash - path), path);
}

/* "<folder>/<beginning><name>-<process>-<number>": a name beside the final one that nobody uses. */
static char *name_beside(const char *path, const char *beginning)
{
    static atomic_int count;
    const char *name;
    char *folder = folder_of(path, &name);
    char *beside = folder ? wf_asprintf("%s/%s%s-%ld-%d", folder, beginning, name, (long)getpid(),
                                        atomic_fetch_add(&count, 1))
                          : NULL;
    wf_free(folder);
    return beside;
}

static weft_status publish(const char *temp, const char *path, bool *renamed, weft_error *err)
{
    const char *name;
    int error = wf_folder_sync(temp);
    if (error)
        return fail(err, "flush", temp, error);
    if (access(path, F_OK) == 0)
        return fail(err, "write", path, EEXIST);
    if (wf_files()->rename(temp, path) != 0)
        return fail(err, "write", path, errno);
    *renamed = true;
    char *folder = folder_of(path, &name);
    error = folder ? wf_folder_sync(folder) : ENOMEM;
    wf_free(folder);
    return error ? fail(err, "flush the folder of", path, error) : WEFT_OK;
}

weft_status wf_ckpt_write(wf_ckpt_image *image, const char *path, weft_error *err)
{
    bool renamed = false;
    char *temp = name_beside(path, ".new-");
    if (!temp)
        return no_memory(err);
    weft_status status = WEFT_OK;
    if (wf_files()->mkdir(temp, 0777) != 0) {
        status = fail(err, "make the folder", temp, errno);
    } else {
        status = write_files(image, temp, err);
        if (status == WEFT_OK)
            status = publish(temp, path, &renamed, err);
        if (status != WEFT_OK && !renamed)
            wf_folder_remove(temp);
        else if (status != WEFT_OK)
            wf_ckpt_remove(path); /* nobody knows whether it would still be there after a crash */
    }
    wf_free(temp);
    return status;
}

int wf_ckpt_remove(const char *path)
{
    char *aside = name_beside(path, ".old-");
    if (!aside)
        return ENOMEM;
    int error = wf_files()->rename(path, aside) != 0 ? errno : wf_folder_remove(aside);
    wf_free(aside);
    return error == ENOENT ? 0 : error;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A large file, read by several workers: most of the time goes into pages that are touched first. */
typedef struct reading {
    int fd;
    const char *path;
    wf_block block;
    weft_error err; /* of the worker that failed first */
    atomic_bool failed;
} reading;

static void read_share(void *user, int worker, int workers)
{
    reading *r = user;
    weft_error err = WEFT_ERROR_INIT;
    const int64_t size = (int64_t)r->block.size, each = size / workers, begin = each * worker;
    const int64_t end = worker + 1 == workers ? size : begin + each;
    if (wf_read_at(r->fd, r->path, (char *)r->block.data + begin, end - begin, begin, &err) !=
            WEFT_OK &&
        !atomic_exchange(&r->failed, true))
        r->err = err;
}

static weft_status read_block(int fd, const char *path, const wf_block *block, int threads,
                              weft_error *err)
{
    reading r = {.fd = fd, .path = path, .block = *block, .err = WEFT_ERROR_INIT};
    wf_team_run(block->size < WF_HUGE_PAGE ? 1 : threads, read_share, &r);
    return r.failed ? wf_error_set(err, r.err.status, "%s", r.err.text) : WEFT_OK;
}

/* Reads a file of a checkpoint into a block. expected: its bytes; -1: at most WF_MANIFEST_MOST. */
static weft_status read_file(const char *folder, const char *name, int64_t expected,
                             wf_memory *memory, int threads, wf_block *block, weft_error *err)
{
    char *path = wf_asprintf("%s/%s", folder, name);
    int fd;
    int64_t size;
    if (!path)
        return no_memory(err);
    weft_status status = wf_open_own(path, expected < 0 ? WF_MANIFEST_MOST : 0, &fd, &size, err);
    if (status == WEFT_OK) {
        if (expected >= 0 && size != expected)
            status = wf_error_set(err, WEFT_ERR_FORMAT, "%s: has %lld bytes, expected %lld", path,
                                  (long long)size, (long long)expected);
        /* A file with holes may be longer than any memory. */
        if (status == WEFT_OK && (size_t)size >= WF_HUGE_PAGE)
            status = wf_memory_check(NULL, (uint64_t)size, path, err);
        wf_block_request request = {
            .size = (size_t)size, .kind = WF_MEM_COPY, .what = "the file of a checkpoint"};
        if (status == WEFT_OK)
            status = wf_memory_alloc(memory, &request, block, err);
        if (status == WEFT_OK) {
            status = read_block(fd, path, block, threads, err);
            if (status != WEFT_OK)
                wf_memory_free(block);
        }
        close(fd);
    }
    wf_free(path);
    return status;
}

static weft_status read_files(const char *path, const wf_manifest *m, wf_memory *memory,
                              int threads, wf_ckpt_image *image, weft_error *err)
{
    for (int i = 0; i < m->n; i++) {
        const wf_manifest_file *f = &m->file[i];
        wf_block block = WF_BLOCK_INIT;
        weft_status status = read_file(path, f->name, f->bytes, memory, threads, &block, err);
        if (status == WEFT_ERR_NOT_FOUND) /* that a checkpoint is there, the manifest has said */
            status = WEFT_ERR_FORMAT;
        if (status != WEFT_OK)
            return status;
        if (wf_ckpt_hash(block.data, block.size) != f->hash) {
            wf_memory_free(&block);
            return wf_error_set(err, WEFT_ERR_FORMAT, "%s/%s: its checksum does not fit", path,
                                f->name);
        }
        WF_TRY(wf_ckpt_image_add(image, f->name, &block, err));
        image->file[image->n - 1].hash = f->hash;
    }
    return WEFT_OK;
}

weft_status wf_ckpt_read(const char *path, wf_memory *memory, int threads, wf_ckpt_image *image,
                         weft_error *err)
{
    wf_block text = WF_BLOCK_INIT;
    wf_manifest manifest = {0};
    WF_TRY(read_file(path, WF_MANIFEST, -1, memory, 1, &text, err));
    char *label = wf_asprintf("%s/%s", path, WF_MANIFEST);
    weft_status status =
        label ? wf_manifest_parse(label, text.data, text.size, &manifest, err) : no_memory(err);
    wf_free(label);
    wf_memory_free(&text);
    wf_ckpt_image read = {0};
    if (status == WEFT_OK)
        status = read_files(path, &manifest, memory, threads, &read, err);
    if (status == WEFT_OK) {
        read.about = json_incref(manifest.about);
        *image = read;
    } else {
        wf_ckpt_image_done(&read);
    }
    wf_manifest_done(&manifest);
    return status;
}
