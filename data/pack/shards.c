/* Tar shards of a data set's picture files, as webdataset has them: 00000042.jpg and 00000042.cls
 * beside each other, the label as a number. The same files give the same bytes: entries have no
 * times and no owners. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/formats/text_file.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/atomic_file.h"

#define SHARD_BYTES (INT64_C(256) << 20)

/* The shard that is being written. */
typedef struct shard {
    struct archive *tar;
    wf_atomic_file *file;
    int64_t bytes;
} shard;

/* The usual ending of a picture's name, from its content. */
static const char *ending(const wf_bytes *picture)
{
    static const char *const endings[][2] = {
        {"JPEG", "jpg"}, {"PNG", "png"}, {"WebP", "webp"}, {"BMP", "bmp"}, {"TIFF", "tif"}};
    const char *format = wf_picture_format(picture->data, picture->size);
    for (size_t i = 0; format && i < sizeof endings / sizeof *endings; i++)
        if (strcmp(format, endings[i][0]) == 0)
            return endings[i][1];
    return "ppm"; /* the family of PBM, PGM and PPM, or what only a reader will refuse */
}

/* ---- one shard ------------------------------------------------------------------------------- */

/* What libarchive hands over goes to the file. */
static la_ssize_t put(struct archive *tar, void *user, const void *data, size_t bytes)
{
    shard *s = user;
    weft_error err = WEFT_ERROR_INIT;
    if (wf_atomic_write(s->file, data, bytes, &err) != WEFT_OK) {
        archive_set_error(tar, EIO, "%s", err.text);
        return -1;
    }
    return (la_ssize_t)bytes;
}

static weft_status shard_failed(const shard *s, weft_error *err)
{
    const char *why = s->tar ? archive_error_string(s->tar) : NULL;
    return wf_error_set(err, why ? WEFT_ERR_IO : WEFT_ERR_NOMEM, "%s",
                        why ? why : "out of memory for a shard");
}

static weft_status shard_begin(shard *s, const char *path, weft_error *err)
{
    *s = (shard){0};
    WF_TRY(wf_atomic_create(path, &s->file, err));
    s->tar = archive_write_new();
    if (s->tar && archive_write_set_format_pax_restricted(s->tar) == ARCHIVE_OK &&
        archive_write_set_bytes_in_last_block(s->tar, 1) == ARCHIVE_OK &&
        archive_write_open(s->tar, s, NULL, put, NULL) == ARCHIVE_OK)
        return WEFT_OK;
    return shard_failed(s, err);
}

static void shard_abort(shard *s)
{
    if (s->tar)
        archive_write_free(s->tar);
    wf_atomic_abort(s->file);
    *s = (shard){0};
}

static weft_status shard_end(shard *s, weft_error *err)
{
    weft_status status = WEFT_OK;
    if (archive_write_close(s->tar) != ARCHIVE_OK)
        status = shard_failed(s, err);
    archive_write_free(s->tar);
    s->tar = NULL;
    if (status == WEFT_OK)
        status = wf_atomic_commit(s->file, err);
    else
        wf_atomic_abort(s->file);
    s->file = NULL;
    return status;
}

static weft_status add_entry(shard *s, const char *name, const void *data, size_t size,
                             weft_error *err)
{
    struct archive_entry *entry = archive_entry_new();
    if (!entry)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a shard");
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)size);
    bool good = archive_write_header(s->tar, entry) == ARCHIVE_OK &&
                archive_write_data(s->tar, data, size) == (la_ssize_t)size;
    archive_entry_free(entry);
    s->bytes += (int64_t)(size + 512 + 511) / 512 * 512;
    return good ? WEFT_OK : shard_failed(s, err);
}

/* ---- all of them ----------------------------------------------------------------------------- */

typedef struct packing {
    const weft_dataset *ds;
    const char *folder, *split;
    const weft_pack_opts *opts;
    int64_t n_shards;
    shard shard;
    wf_bytes bytes;
} packing;

static weft_status next_shard(packing *p, weft_error *err)
{
    char *path = wf_asprintf("%s/%s-%06" PRId64 ".tar", p->folder, p->split, p->n_shards);
    if (!path)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for a shard");
    weft_status status = shard_begin(&p->shard, path, err);
    wf_free(path);
    p->n_shards += status == WEFT_OK;
    return status;
}

static weft_status add_sample(packing *p, int64_t sample, weft_error *err)
{
    char name[64], label[32];
    WF_TRY(wf_dataset_read(p->ds, sample, &p->bytes, err));
    const int64_t most = p->opts->shard_bytes > 0 ? p->opts->shard_bytes : SHARD_BYTES;
    if (p->shard.tar && p->shard.bytes + (int64_t)p->bytes.size > most && p->shard.bytes > 0)
        WF_TRY(shard_end(&p->shard, err));
    if (!p->shard.tar)
        WF_TRY(next_shard(p, err));
    snprintf(name, sizeof name, "%08" PRId64 ".%s", sample, ending(&p->bytes));
    WF_TRY(add_entry(&p->shard, name, p->bytes.data, p->bytes.size, err));
    if (p->ds->info.classes == 0)
        return WEFT_OK;
    snprintf(name, sizeof name, "%08" PRId64 ".cls", sample);
    const int n = snprintf(label, sizeof label, "%" PRId64, wf_dataset_label(p->ds, sample));
    return add_entry(&p->shard, name, label, (size_t)n, err);
}

/* Whether the names at `path`, which an earlier split has left, are these. */
static weft_status compare_names(const weft_dataset_info *info, const char *path, weft_error *err)
{
    char *text = NULL;
    WF_TRY(wf_read_text_file(path, &text, err));
    char *rest = text, *line = strsep(&rest, "\n");
    int k = 0;
    while (k < info->classes && line && strcmp(line, info->class_names[k]) == 0) {
        line = strsep(&rest, "\n");
        k++;
    }
    bool same = k == info->classes && line && !*line && !rest;
    wf_free(text);
    return same ? WEFT_OK
                : wf_error_set(err, WEFT_ERR_INVALID,
                               "%s: another split has left other names of classes there", path);
}

/* The classes' names, one a line, which shards have no place for. */
static weft_status write_names(const packing *p, weft_error *err)
{
    const weft_dataset_info *info = &p->ds->info;
    wf_atomic_file *file = NULL;
    if (!info->class_names)
        return WEFT_OK;
    char *path = wf_asprintf("%s/classes.txt", p->folder);
    if (!path)
        return wf_error_set(err, WEFT_ERR_NOMEM, "out of memory for names of classes");
    if (access(path, F_OK) == 0) {
        weft_status status = compare_names(info, path, err);
        wf_free(path);
        return status;
    }
    weft_status status = wf_atomic_create(path, &file, err);
    wf_free(path);
    for (int k = 0; status == WEFT_OK && k < info->classes; k++) {
        status = wf_atomic_write(file, info->class_names[k], strlen(info->class_names[k]), err);
        if (status == WEFT_OK)
            status = wf_atomic_write(file, "\n", 1, err);
    }
    if (status == WEFT_OK)
        return wf_atomic_commit(file, err);
    wf_atomic_abort(file);
    return status;
}

weft_status weft_pack_shards(const weft_dataset *ds, const char *folder, const char *split,
                             const weft_pack_opts *opts, int64_t *shards, weft_error *err)
{
    static const weft_pack_opts defaults = {0};
    if (!ds || !folder || !split || strchr(split, '/'))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "packing shards needs a data set, a folder, and a split's name");
    if (!ds->read)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: its samples are pixels, not picture files, which alone go into "
                            "shards",
                            ds->source);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return wf_error_set(err, WEFT_ERR_IO, "%s: %s", folder, strerror(errno));
    packing p = {.ds = ds, .folder = folder, .split = split, .opts = opts ? opts : &defaults};
    weft_status status = write_names(&p, err);
    for (int64_t i = 0; status == WEFT_OK && i < ds->info.count; i++) {
        status = add_sample(&p, i, err);
        if (status == WEFT_OK && p.opts->progress &&
            !p.opts->progress(p.opts->user, i + 1, ds->info.count))
            status = wf_error_set(err, WEFT_ERR_INTERRUPTED, "interrupted while packing");
    }
    if (status == WEFT_OK)
        status = shard_end(&p.shard, err);
    else
        shard_abort(&p.shard);
    wf_bytes_done(&p.bytes);
    if (status == WEFT_OK && shards)
        *shards = p.n_shards;
    return status;
}
