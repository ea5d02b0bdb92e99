/* Opening safetensors files, and questions about an open file. safetensors_read.c checks the
 * header.
 *
 * The bytes are read, not mapped. If another process truncated a mapped file, the reader would be
 * killed (SIGBUS); if it overwrote the file in place, the bytes would change under the reader. The
 * arrays are read last, into memory of their size, so a file with a bad header costs no memory. A
 * data set's images may be larger than memory: wf_safetensors_read reads parts of them. Threads: an
 * open file is immutable. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/files/regular_file.h"
#include "engine/files/safetensors.h"
#include "engine/base/alloc.h"
#include "engine/machine/memory.h"

/* ---- opening -------------------------------------------------------------------------------- */

/* A file that is being read. */
typedef struct source {
    const char *path;
    int fd;
    int64_t size;
    wf_st_wanted wanted;
    const void *user; /* for wanted */
    weft_error *err;
} source;

static bool is_wanted(const source *s, const weft_safetensors *f, int64_t i)
{
    return !f->entries[i].foreign && s->wanted(f, f->entries[i].name, s->user);
}

static weft_status read_header(const source *s, weft_safetensors **file, int64_t *data_size)
{
    char prefix[WF_ST_PREFIX] = {0};
    int64_t length;
    if (s->size >= WF_ST_PREFIX)
        WF_TRY(wf_read_at(s->fd, s->path, prefix, WF_ST_PREFIX, 0, s->err));
    WF_TRY(wf_st_header_length(s->path, prefix, s->size, &length, s->err));
    char *header = wf_alloc((size_t)length);
    if (!header)
        return wf_error_set(s->err, WEFT_ERR_NOMEM, "%s: out of memory", s->path);
    weft_status status = wf_read_at(s->fd, s->path, header, length, WF_ST_PREFIX, s->err);
    *data_size = s->size - WF_ST_PREFIX - length;
    if (status == WEFT_OK)
        status = wf_st_parse_header(s->path, header, length, *data_size, file, s->err);
    wf_free(header);
    return status;
}

/* With huge pages there is not a page fault for every 4 KiB, which would take longer than the
 * copy. */
static void advise_huge(char *bytes, size_t size)
{
    enum { PAGE = 4096 };
    const size_t skip = (PAGE - (uintptr_t)bytes % PAGE) % PAGE;
    if (size >= 2 * WF_HUGE_PAGE)
        madvise(bytes + skip, (size - skip) / PAGE * PAGE, MADV_HUGEPAGE);
}

static int64_t bytes_of(const weft_safetensors_entry *e)
{
    return weft_shape_count(e->shape) * (int64_t)weft_dtype_size(e->dtype);
}

/* Reads the wanted arrays to their places in a block as large as the array section. The rest of a
 * large block is never touched, so the system gives it no memory. */
static weft_status read_arrays(const source *s, weft_safetensors *f, int64_t section)
{
    weft_error why = WEFT_ERROR_INIT;
    int64_t bytes = 0;
    for (int64_t i = 0; i < f->n; i++)
        if (is_wanted(s, f, i))
            bytes += bytes_of(&f->entries[i]);
    if ((size_t)bytes >= WF_HUGE_PAGE && wf_memory_check(NULL, (uint64_t)bytes, "its arrays", &why))
        return wf_error_set(s->err, WEFT_ERR_NOMEM, "%s: %s", s->path, why.text);
    f->data = s->size - section;
    f->bytes = wf_alloc(bytes ? (size_t)section : 0);
    if (!f->bytes)
        return wf_error_set(s->err, WEFT_ERR_NOMEM, "%s: out of memory", s->path);
    advise_huge(f->bytes, bytes ? (size_t)section : 0);
    for (int64_t i = 0; i < f->n; i++) {
        if (!is_wanted(s, f, i))
            continue;
        char *to = f->bytes + f->begins[i];
        WF_TRY(wf_read_at(s->fd, s->path, to, bytes_of(&f->entries[i]), f->data + f->begins[i],
                          s->err));
        f->entries[i].data = to;
    }
    return WEFT_OK;
}

static weft_status read_file(const source *s, weft_safetensors **file)
{
    struct stat before, after;
    weft_safetensors *f = NULL;
    int64_t data_size = 0;
    bool stats = fstat(s->fd, &before) == 0;
    weft_status status = read_header(s, &f, &data_size);
    if (status == WEFT_OK)
        status = read_arrays(s, f, data_size);
    stats = stats && fstat(s->fd, &after) == 0;
    if (status == WEFT_OK && stats &&
        (before.st_size != after.st_size || before.st_mtim.tv_sec != after.st_mtim.tv_sec ||
         before.st_mtim.tv_nsec != after.st_mtim.tv_nsec))
        status = wf_error_set(s->err, WEFT_ERR_IO, "%s: was written to while it was read", s->path);
    if (status == WEFT_OK)
        *file = f;
    else
        weft_safetensors_close(f);
    return status;
}

/* Leaves the file open as *fd. */
static weft_status open_path(const char *path, wf_st_wanted wanted, const void *user, int *fd,
                             weft_safetensors **file, weft_error *err)
{
    source s = {.path = path, .wanted = wanted, .user = user, .err = err};
    WF_TRY(wf_open_regular(path, 0, &s.fd, &s.size, err));
    weft_status status = read_file(&s, file);
    if (status == WEFT_OK)
        *fd = s.fd;
    else
        close(s.fd);
    return status;
}

static weft_status open_and_close(const char *path, wf_st_wanted wanted, weft_safetensors **file,
                                  weft_error *err)
{
    int fd;
    if (!path || !file)
        return wf_error_set(err, WEFT_ERR_INVALID, "safetensors: there is no %s",
                            path ? "place for the result" : "path");
    WF_TRY(open_path(path, wanted, NULL, &fd, file, err));
    close(fd);
    return WEFT_OK;
}

weft_status wf_safetensors_open_some(const char *path, wf_st_wanted wanted, const void *user,
                                     weft_safetensors **file, weft_error *err)
{
    weft_safetensors *f = NULL;
    int fd;
    WF_TRY(open_path(path, wanted, user, &fd, &f, err));
    f->path = wf_strdup(path);
    if (!f->path) {
        close(fd);
        weft_safetensors_close(f);
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    }
    f->fd = fd;
    *file = f;
    return WEFT_OK;
}

weft_status wf_safetensors_read(const weft_safetensors *f, const weft_safetensors_entry *e,
                                int64_t offset, int64_t bytes, void *to, weft_error *err)
{
    const int64_t at = f->data + f->begins[e - f->entries] + offset;
    return wf_read_at(f->fd, f->path, to, bytes, at, err);
}

static bool all(const weft_safetensors *file, const char *name, const void *user)
{
    return true;
}

static bool none(const weft_safetensors *file, const char *name, const void *user)
{
    return false;
}

weft_status weft_safetensors_open(const char *path, weft_safetensors **file, weft_error *err)
{
    return open_and_close(path, all, file, err);
}

weft_status weft_safetensors_open_header(const char *path, weft_safetensors **file, weft_error *err)
{
    return open_and_close(path, none, file, err);
}

weft_status wf_safetensors_parse(const char *label, const void *bytes, size_t size,
                                 weft_safetensors **file, weft_error *err)
{
    weft_safetensors *f = NULL;
    int64_t length;
    WF_TRY(wf_st_header_length(label, bytes, (int64_t)size, &length, err));
    const char *header = (const char *)bytes + WF_ST_PREFIX;
    WF_TRY(
        wf_st_parse_header(label, header, length, (int64_t)size - WF_ST_PREFIX - length, &f, err));
    for (int64_t i = 0; i < f->n; i++)
        if (!f->entries[i].foreign)
            f->entries[i].data = header + length + f->begins[i];
    *file = f;
    return WEFT_OK;
}

/* ---- questions about an open file ----------------------------------------------------------- */

int64_t weft_safetensors_count(const weft_safetensors *f)
{
    return f ? f->n : 0;
}

const weft_safetensors_entry *weft_safetensors_at(const weft_safetensors *f, int64_t index)
{
    return f && index >= 0 && index < f->n ? &f->entries[index] : NULL;
}

const weft_safetensors_entry *weft_safetensors_find(const weft_safetensors *f, const char *name)
{
    if (!f || !name)
        return NULL;
    weft_safetensors_entry wanted = {.name = name};
    const weft_safetensors_entry *key = &wanted;
    const weft_safetensors_entry *const *hit =
        bsearch(&key, f->by_name, (size_t)f->n, sizeof *f->by_name, wf_st_compare_names);
    return hit ? *hit : NULL;
}

int64_t weft_safetensors_meta_count(const weft_safetensors *f)
{
    return f ? f->n_meta : 0;
}

const weft_safetensors_meta *weft_safetensors_meta_at(const weft_safetensors *f, int64_t index)
{
    return f && index >= 0 && index < f->n_meta ? &f->meta[index] : NULL;
}

const char *weft_safetensors_meta_find(const weft_safetensors *f, const char *key)
{
    for (int64_t i = 0; f && key && i < f->n_meta; i++)
        if (strcmp(f->meta[i].key, key) == 0)
            return f->meta[i].value;
    return NULL;
}
