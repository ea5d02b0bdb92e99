/* Data sets over arrays, and what all formats share. See dataset.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "data/cache.h"
#include "data/dataset.h"
#include "engine/base/error.h"
#include "engine/base/alloc.h"

/* ---- over arrays ---------------------------------------------------------------------------- */

weft_status wf_dataset_geometry(const char *source, int64_t count, int64_t channels, int64_t height,
                                int64_t width, weft_dtype dtype, size_t *sample_bytes,
                                weft_error *err)
{
    if (count < 1)
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: holds no images", source);
    if (channels < 1 || channels > WF_MAX_CHANNELS || height < 1 || height > WF_MAX_SIDE ||
        width < 1 || width > WF_MAX_SIDE)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: images of %" PRId64 "x%" PRId64 "x%" PRId64
                            " (channels, height, width), expected 1 to %d channels and 1 to %d "
                            "pixels a side",
                            source, channels, height, width, WF_MAX_CHANNELS, WF_MAX_SIDE);
    *sample_bytes = (size_t)channels * (size_t)height * (size_t)width * weft_dtype_size(dtype);
    return WEFT_OK;
}

static weft_status view_array(const weft_dataset *ds, int64_t index, void *scratch,
                              const void **pixels, int64_t *label, weft_error *err)
{
    size_t bytes = wf_dataset_view_bytes(ds);
    const unsigned char *p = ds->images + (size_t)index * bytes;
    if (ds->info.dtype != WEFT_U8 && (uintptr_t)p % weft_dtype_size(ds->info.dtype) != 0)
        p = memcpy(scratch, p, bytes);
    *pixels = p;
    *label = ds->labels ? ds->labels[index] : -1;
    return WEFT_OK;
}

/* Whether all labels are -1: a data set without labels reads so. */
static bool labels_missing(const void *labels, int64_t count)
{
    int64_t label = -1;
    for (int64_t i = 0; labels && i < count && label == -1; i++)
        memcpy(&label, (const char *)labels + (size_t)i * sizeof label, sizeof label);
    return label == -1;
}

static weft_status check_labels(weft_dataset *ds, int classes, weft_error *err)
{
    int64_t limit = classes ? classes : WF_MAX_CLASSES, largest = 0;
    for (int64_t i = 0; i < ds->info.count; i++) {
        if (ds->labels[i] < 0 || ds->labels[i] >= limit)
            return wf_error_set(err, WEFT_ERR_FORMAT,
                                "%s: label %" PRId64 " of sample %" PRId64
                                " is out of range, expected 0 to %" PRId64,
                                ds->source, ds->labels[i], i, limit - 1);
        if (ds->labels[i] > largest)
            largest = ds->labels[i];
    }
    ds->info.classes = classes ? classes : (int)largest + 1;
    ds->classes_declared = classes > 0;
    return WEFT_OK;
}

weft_status wf_dataset_over(const weft_dataset_arrays *a, const void *labels, const char *source,
                            void *owner, void (*release)(void *owner), weft_dataset **ds,
                            weft_error *err)
{
    weft_dataset *d = wf_zalloc(sizeof *d);
    if (!d) {
        if (release)
            release(owner);
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", source);
    }
    *d = (weft_dataset){.info = {a->count, a->channels, a->height, a->width, .dtype = a->dtype},
                        .view = view_array,
                        .images = a->images,
                        .owner = owner,
                        .release = release};
    weft_status status = wf_dataset_geometry(source, a->count, a->channels, a->height, a->width,
                                             a->dtype, &d->sample_bytes, err);
    if (status != WEFT_OK)
        goto fail;
    d->source = wf_strdup(source);
    d->info.source = d->source;
    if (labels_missing(labels, a->count))
        labels = NULL;
    if (labels)
        d->labels = wf_alloc_array((size_t)a->count, sizeof *d->labels);
    if (!d->source || (labels && !d->labels)) {
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for %" PRId64 " labels",
                              source, a->count);
        goto fail;
    }
    if (labels) {
        memcpy(d->labels, labels, (size_t)a->count * sizeof *d->labels);
        status = check_labels(d, a->classes, err);
        if (status != WEFT_OK)
            goto fail;
    }
    *ds = d;
    return WEFT_OK;
fail:
    weft_dataset_destroy(d);
    return status;
}

weft_status weft_dataset_from_arrays(const weft_dataset_arrays *a, weft_dataset **ds,
                                     weft_error *err)
{
    static const char source[] = "arrays in memory";
    if (!a || !ds)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: %s is NULL", source,
                            a ? "ds, the place for the result," : "their description");
    if (!a->images)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: images is NULL, expected their pixels",
                            source);
    if (a->dtype != WEFT_U8 && a->dtype != WEFT_F32)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: images are %s, expected u8 or f32", source,
                            weft_dtype_name(a->dtype));
    if (a->classes < 0 || a->classes > WF_MAX_CLASSES)
        return wf_error_set(err, WEFT_ERR_INVALID, "%s: %d classes, expected 0 to %d", source,
                            a->classes, WF_MAX_CLASSES);
    return wf_dataset_over(a, a->labels, source, NULL, NULL, ds, err);
}

void weft_dataset_destroy(weft_dataset *ds)
{
    if (!ds)
        return;
    if (ds->release)
        ds->release(ds->owner);
    wf_free(ds->labels);
    wf_free(ds->source);
    wf_free(ds->names);
    wf_free(ds->name_text);
    wf_free(ds->stored);
    wf_free(ds->look);
    wf_cache_destroy(ds->cache);
    wf_free(ds);
}

/* ---- of picture files ----------------------------------------------------------------------- */

weft_status wf_dataset_of_pictures(const char *source, int64_t count, void *owner,
                                   void (*release)(void *owner), weft_dataset **ds, weft_error *err)
{
    weft_dataset *d = wf_zalloc(sizeof *d);
    char *copy = wf_strdup(source);
    if (!d || !copy) {
        wf_free(d);
        wf_free(copy);
        release(owner);
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", source);
    }
    *d =
        (weft_dataset){.info = {.count = count, .dtype = WEFT_U8, .source = copy, .pictures = true},
                       .source = copy,
                       .owner = owner,
                       .release = release};
    *ds = d;
    return WEFT_OK;
}

weft_status wf_dataset_read(const weft_dataset *ds, int64_t index, wf_bytes *bytes, weft_error *err)
{
    int64_t stored = wf_dataset_stored(ds, index);
    if (ds->cache && wf_cache_get(ds->cache, stored, bytes))
        return WEFT_OK;
    WF_TRY(ds->read(ds, stored, bytes, err));
    if (ds->cache)
        wf_cache_put(ds->cache, stored, bytes);
    return WEFT_OK;
}

wf_sample_name wf_dataset_name(const weft_dataset *ds, int64_t index)
{
    wf_sample_name name;
    if (ds->name)
        ds->name(ds, wf_dataset_stored(ds, index), &name);
    else
        snprintf(name.text, sizeof name.text, "%s: sample %" PRId64, ds->source, index);
    return name;
}

char *weft_dataset_sample_name(const weft_dataset *ds, int64_t index, char *text, size_t size)
{
    if (!text || size == 0)
        return text;
    text[0] = '\0';
    if (ds && index >= 0 && index < ds->info.count)
        snprintf(text, size, "%s", wf_dataset_name(ds, index).text);
    return text;
}

/* ---- looking at it -------------------------------------------------------------------------- */

const weft_dataset_info *weft_dataset_get_info(const weft_dataset *ds)
{
    return ds ? &ds->info : NULL;
}
