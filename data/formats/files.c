/* Pictures that the caller names: a list of files and folders, or a path that is one file. */
#include "data/formats/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/formats/format.h"
#include "data/formats/listing.h"
#include "data/formats/read_file.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/regular_file.h"

enum { SNIFFED = 64 }; /* bytes at a file's start that tell a picture */

/* What a data set owns. */
typedef struct files {
    char **path; /* (n) */
    int64_t n, capacity;
} files;

static void release(void *owner)
{
    files *f = owner;
    for (int64_t i = 0; i < f->n; i++)
        wf_free(f->path[i]);
    wf_free(f->path);
    wf_free(f);
}

static void name_file(const weft_dataset *ds, int64_t index, wf_sample_name *name)
{
    const files *f = ds->owner;
    snprintf(name->text, sizeof name->text, "%s", f->path[index]);
}

static weft_status read_file(const weft_dataset *ds, int64_t index, wf_bytes *bytes,
                             weft_error *err)
{
    const files *f = ds->owner;
    return wf_read_picture_file(f->path[index], bytes, err);
}

static weft_status no_memory(weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a list of pictures");
}

/* Takes over `path`, also on failure. */
static weft_status add(files *f, char *path, weft_error *err)
{
    if (path && f->n == f->capacity) {
        const int64_t capacity = f->capacity ? 2 * f->capacity : 64;
        char **more = wf_realloc_array(f->path, (size_t)capacity, sizeof *more);
        if (more) {
            f->path = more;
            f->capacity = capacity;
        }
    }
    if (!path || f->n == f->capacity) {
        wf_free(path);
        return no_memory(err);
    }
    f->path[f->n++] = path;
    return WEFT_OK;
}

static weft_status add_folder(files *f, const char *path, int64_t *left_out, weft_error *err)
{
    wf_listing list = {0};
    int64_t empty;
    WF_TRY(wf_listing_make(path, true, &list, &empty, err));
    weft_status status = WEFT_OK;
    for (int64_t i = 0; status == WEFT_OK && i < list.count; i++) {
        const char *folder = list.text + list.folders[list.folder_of[i]].path;
        status = add(
            f,
            wf_asprintf("%s%s%s/%s", path, *folder ? "/" : "", folder, list.text + list.names[i]),
            err);
    }
    *left_out += list.left_out;
    if (status == WEFT_OK && list.count == 0)
        status = wf_error_set(err, WEFT_ERR_NOT_FOUND, "%s: no pictures in it or below it", path);
    wf_listing_done(&list);
    return status;
}

static weft_status add_path(files *f, const char *path, bool may_miss, int64_t *left_out,
                            weft_error *err)
{
    struct stat st;
    if (!path || !path[0])
        return wf_error_set(err, WEFT_ERR_INVALID, "a list of pictures: an entry has no name");
    if (stat(path, &st) != 0 && errno == ENOENT && may_miss)
        return add(f, wf_strdup(path), err);
    if (stat(path, &st) != 0)
        return wf_error_set(err, errno == ENOENT ? WEFT_ERR_NOT_FOUND : WEFT_ERR_IO, "%s: %s", path,
                            strerror(errno));
    return S_ISDIR(st.st_mode) ? add_folder(f, path, left_out, err) : add(f, wf_strdup(path), err);
}

weft_status wf_open_files(const weft_dataset_opts *opts, weft_dataset **ds, weft_error *err)
{
    int64_t left_out = 0;
    char source[256];
    weft_dataset *d = NULL;
    files *f = wf_zalloc(sizeof *f);
    if (!f)
        return no_memory(err);
    weft_status status = WEFT_OK;
    for (int64_t i = 0; status == WEFT_OK && i < opts->n_files; i++)
        status = add_path(f, opts->files[i], opts->files_may_miss, &left_out, err);
    if (status != WEFT_OK) {
        release(f);
        return status;
    }
    if (opts->n_files == 1)
        snprintf(source, sizeof source, "%s", opts->files[0]);
    else
        snprintf(source, sizeof source, "%lld pictures", (long long)f->n);
    WF_TRY(wf_dataset_of_pictures(source, f->n, f, release, &d, err));
    d->read = read_file;
    d->name = name_file;
    d->info.left_out = left_out;
    d->info.split = opts->split;
    d->info.only_split = true;
    *ds = d;
    return WEFT_OK;
}

/* A path that is one picture: to predict what it shows. */
static weft_status open_picture(const weft_dataset_opts *o, wf_path_kind kind, bool *there,
                                weft_dataset **ds, weft_error *err)
{
    unsigned char start[SNIFFED];
    *there = false;
    int fd;
    int64_t size;
    if (kind != WF_PATH_FILE || o->split != WEFT_SPLIT_PREDICT ||
        wf_open_regular(o->path, 0, &fd, &size, NULL) != WEFT_OK)
        return WEFT_OK; /* what is wrong with the path, its format says */
    const ssize_t n = read(fd, start, sizeof start);
    close(fd);
    if (n <= 0 || !wf_picture_format(start, (size_t)n))
        return WEFT_OK;
    *there = true;
    weft_dataset_opts one = *o;
    one.files = &o->path;
    one.n_files = 1;
    return wf_open_files(&one, ds, err);
}

const wf_data_format wf_format_files = {NULL, open_picture};
