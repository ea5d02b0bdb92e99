/* A data set as one safetensors file of u8 images of one size. A loader decodes and resizes them in
 * its threads and gives them in order, so memory holds a few batches only. */
#include <inttypes.h>
#include <string.h>

#include "data/dataset.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/atomic_file.h"
#include "engine/files/safetensors.h"

enum { BATCH = 64 };

/* Labels and, with a byte between them, the names of classes. */
typedef struct content {
    int64_t *labels;
    char *names;      /* one a line; NULL: not known */
    char classes[16]; /* how many */
} content;

static weft_status collect(const weft_dataset *ds, content *c, weft_error *err)
{
    const weft_dataset_info *info = &ds->info;
    size_t length = 1;
    c->labels = wf_alloc_array((size_t)info->count, sizeof *c->labels);
    for (int k = 0; info->class_names && k < info->classes; k++)
        length += strlen(info->class_names[k]) + 1;
    c->names = info->class_names ? wf_zalloc(length) : NULL;
    if (!c->labels || (info->class_names && !c->names))
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for labels", ds->source);
    char *at = c->names;
    for (int k = 0; at && k < info->classes; k++)
        at = stpcpy(stpcpy(at, info->class_names[k]), k + 1 < info->classes ? "\n" : "");
    snprintf(c->classes, sizeof c->classes, "%d", info->classes);
    for (int64_t i = 0; i < info->count; i++)
        WF_TRY(weft_dataset_get(ds, i, NULL, &c->labels[i], err));
    return WEFT_OK;
}

/* Creates the file, with everything but the images, which come last. */
static weft_status begin_file(const weft_dataset_info *seen, const content *c, const char *path,
                              wf_atomic_file **file, weft_error *err)
{
    const weft_safetensors_entry entries[] = {
        {"labels", WEFT_I64, WEFT_SHAPE(seen->count), c->labels},
        {"images", WEFT_U8, WEFT_SHAPE(seen->count, seen->channels, seen->height, seen->width),
         NULL}};
    const weft_safetensors_meta meta[] = {{"classes", c->classes}, {"class_names", c->names}};
    return wf_safetensors_begin(path, entries, 2, meta,
                                seen->classes == 0 ? 0
                                : c->names         ? 2
                                                   : 1,
                                file, err);
}

/* Appends the images, batch by batch. */
static weft_status add_images(weft_loader *loader, wf_atomic_file *file, const weft_pack_opts *opts,
                              weft_error *err)
{
    const weft_dataset_info *seen = weft_loader_get_info(loader);
    const size_t image = (size_t)seen->channels * (size_t)seen->height * (size_t)seen->width;
    int64_t done = 0;
    weft_batch batch = {.count = 1};
    WF_TRY(weft_loader_start(loader, 0, 0, err));
    while (batch.count > 0) {
        WF_TRY(weft_loader_next(loader, &batch, err));
        WF_TRY(wf_atomic_write(file, batch.images, (size_t)batch.count * image, err));
        done += batch.count;
        if (opts->progress && !opts->progress(opts->user, done, seen->count))
            return wf_error_set(err, WEFT_ERR_INTERRUPTED, "interrupted while packing");
    }
    return WEFT_OK;
}

weft_status weft_pack_pixels(const weft_dataset *ds, const char *path, const weft_pack_opts *opts,
                             weft_error *err)
{
    static const weft_pack_opts defaults = {0};
    content c = {0};
    wf_atomic_file *file = NULL;
    weft_loader *loader = NULL;
    opts = opts ? opts : &defaults;
    if (!ds || !path)
        return wf_error_set(err, WEFT_ERR_INVALID, "packing pixels needs a data set and a path");
    if (ds->info.dtype != WEFT_U8)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: its pixels are %s, expected u8", ds->source,
                            weft_dtype_name(ds->info.dtype));
    const weft_loader_opts load = {
        .batch = BATCH, .workers = opts->workers, .bytes = true, .transform = opts->transform};
    WF_TRY(weft_loader_create(ds, &load, &loader, err));
    weft_status status = collect(ds, &c, err);
    if (status == WEFT_OK)
        status = begin_file(weft_loader_get_info(loader), &c, path, &file, err);
    if (status == WEFT_OK)
        status = add_images(loader, file, opts, err);
    if (status == WEFT_OK)
        status = wf_atomic_commit(file, err);
    else
        wf_atomic_abort(file);
    weft_loader_destroy(loader);
    wf_free(c.labels);
    wf_free(c.names);
    return status;
}
