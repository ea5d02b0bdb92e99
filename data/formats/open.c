/* Opens a data set by its path: the registry of formats. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data/cache.h"
#include "data/dataset.h"
#include "data/formats/files.h"
#include "data/formats/format.h"
#include "data/formats/settle.h"
#include "data/load/subset.h"
#include "engine/base/error.h"

static const wf_data_format *const formats[] = {
#define WF_FORMAT(name) &wf_format_##name,
#include "data/formats/formats.def"
#undef WF_FORMAT
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

/* Lists what the formats look for in a folder: "a, b"; returns text. */
static const char *looked_for(weft_split split, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < N_FORMATS && n < size; i++)
        if (formats[i]->in_folder)
            n += (size_t)snprintf(text + n, size - n, "%s%s%s", n ? ", " : "",
                                  split == WEFT_SPLIT_TRAIN ? "train" : "test",
                                  formats[i]->in_folder);
    return text;
}

/* What to do where nothing is at the path; "" if the path does not tell what its user wants. */
static const char *how_to_get(const char *path)
{
    return strcasestr(path, "mnist")
               ? ". Fashion-MNIST comes with Debian and Ubuntu: apt install dataset-fashion-mnist, "
                 "then use /usr/share/datasets/fashion-mnist"
               : "";
}

/* Offers the path to the formats. *ds stays as it is where the source has no such split. */
static weft_status open_stored(const weft_dataset_opts *o, weft_dataset **ds, weft_error *err)
{
    struct stat st;
    const int why = stat(o->path, &st) == 0 ? 0 : errno;
    const wf_path_kind kind = why                   ? WF_PATH_NOTHING
                              : S_ISDIR(st.st_mode) ? WF_PATH_FOLDER
                                                    : WF_PATH_FILE;
    for (int i = 0; i < N_FORMATS; i++) {
        bool there = false;
        weft_status status = formats[i]->open(o, kind, &there, ds, err);
        if (status != WEFT_OK || there)
            return status;
    }
    char text[512];
    if (kind == WF_PATH_NOTHING)
        return wf_error_set(err, why == ENOENT ? WEFT_ERR_NOT_FOUND : WEFT_ERR_IO, "%s: %s%s",
                            o->path, strerror(why), how_to_get(o->path));
    return wf_error_set(err, WEFT_ERR_NOT_FOUND, "%s: no data set there (looked for %s)%s", o->path,
                        looked_for(o->split, text, sizeof text), how_to_get(o->path));
}

/* ---- what all formats leave to this file ---------------------------------------------------- */

static weft_status no_validation(const weft_dataset_opts *o, weft_error *err)
{
    return wf_error_set(err, WEFT_ERR_NOT_FOUND,
                        "%s: has no validation images; --val-split 0.1 keeps a tenth of the "
                        "training images apart",
                        o->path);
}

/* Opens a stored split, and says which it is. */
static weft_status open_split(const weft_dataset_opts *o, weft_split split, weft_dataset **ds,
                              weft_error *err)
{
    weft_dataset_opts stored = *o;
    weft_dataset *d = NULL;
    stored.split = split;
    WF_TRY(open_stored(&stored, &d, err));
    if (!d)
        return no_validation(o, err);
    if (d->info.split == WEFT_SPLIT_TRAIN && !d->info.only_split)
        d->info.split = split == WEFT_SPLIT_PREDICT ? WEFT_SPLIT_TEST : split;
    if (!d->info.only_split && !d->has_val)
        d->has_test = true;
    *ds = d;
    return WEFT_OK;
}

/* Opens the split, or the part of another one, that the options ask for. */
static weft_status open_part(const weft_dataset_opts *o, weft_dataset **ds, weft_error *err)
{
    weft_dataset *d = NULL;
    if (o->files)
        return wf_open_files(o, ds, err);
    if (o->val_split == 0)
        return open_split(o, o->split, ds, err);
    bool part = o->split == WEFT_SPLIT_TRAIN || o->split == WEFT_SPLIT_VAL;
    WF_TRY(open_split(o, part ? WEFT_SPLIT_TRAIN : o->split, &d, err));
    weft_status status = WEFT_OK;
    if (d->has_val && d->has_test)
        status = wf_error_set(err, WEFT_ERR_INVALID,
                              "%s: has validation and test images of its own; --val-split means "
                              "nothing there",
                              o->path);
    else if (part || d->info.only_split) {
        status = wf_dataset_keep(d, o->val_split, o->seed, o->split != WEFT_SPLIT_TRAIN, err);
        d->info.split = o->split == WEFT_SPLIT_TRAIN ? WEFT_SPLIT_TRAIN : WEFT_SPLIT_VAL;
        d->info.only_split = false;
    } else {
        d->info.split = WEFT_SPLIT_TEST; /* the source's validation images, where it has no other */
    }
    if (status == WEFT_OK)
        *ds = d;
    else
        weft_dataset_destroy(d);
    return status;
}

/* Makes view give the channels that were asked for. */
static weft_status set_channels(weft_dataset *d, int channels, weft_error *err)
{
    int had = d->info.channels;
    if (channels == 0 || channels == had)
        return WEFT_OK;
    if (d->info.dtype != WEFT_U8 || (had != 1 && had != 3))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: %s images of %d channels cannot become images of %d; u8 images of "
                            "1 or 3 can",
                            d->source, weft_dtype_name(d->info.dtype), had, channels);
    size_t area = (size_t)d->info.height * (size_t)d->info.width;
    d->view_channels = had;
    d->info.channels = channels;
    d->sample_bytes = area * (size_t)channels;
    d->scratch_bytes = 3 * area;
    return WEFT_OK;
}

static weft_status check(const weft_dataset_opts *o, weft_error *err)
{
    if (o->files && (o->n_files < 1 || o->split != WEFT_SPLIT_PREDICT || o->val_split != 0))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "a list of pictures has no labels, so it is opened with "
                            "WEFT_SPLIT_PREDICT; it had %" PRId64 " files",
                            o->n_files);
    if (!o->files && (!o->path || !o->path[0]))
        return wf_error_set(err, WEFT_ERR_INVALID, "no data set is named: the path is empty");
    if (!(o->val_split >= 0 && o->val_split < 1))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: val_split is %g, expected a share from 0 to below 1", o->path,
                            o->val_split);
    if (o->channels != 0 && o->channels != 1 && o->channels != 3)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: %d channels, expected 1 or 3 (0: as stored)", o->path,
                            o->channels);
    if (o->max_pixels < 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "%s: max_pixels is %" PRId64 ", expected at least 1 (0: %" PRId64 ")",
                            o->path, o->max_pixels, WF_PICTURE_MAX_PIXELS);
    return WEFT_OK;
}

weft_status weft_dataset_open_with(const weft_dataset_opts *o, weft_dataset **ds, weft_error *err)
{
    weft_dataset *d = NULL;
    if (!ds || !o)
        return wf_error_set(err, WEFT_ERR_INVALID, "opening a data set: %s is NULL",
                            o ? "ds, the place for the result," : "opts");
    WF_TRY(check(o, err));
    WF_TRY(open_part(o, &d, err));
    weft_status status;
    if (d->read) {
        d->decode = (wf_decode_opts){.max_pixels = o->max_pixels, .exif = o->exif};
        status = wf_settle_pictures(d, o->channels, err);
    } else {
        status = set_channels(d, o->channels, err);
    }
    if (status == WEFT_OK && d->read && o->cache)
        status = wf_cache_create(o->cache, d->stored_count ? d->stored_count : d->info.count,
                                 &d->cache, err);
    if (status == WEFT_OK)
        *ds = d;
    else
        weft_dataset_destroy(d);
    return status;
}

weft_status weft_dataset_open(const char *path, weft_split split, weft_dataset **ds,
                              weft_error *err)
{
    return weft_dataset_open_with(&(weft_dataset_opts){.path = path, .split = split}, ds, err);
}
