/* Data sets in safetensors files: "images" (N,C,H,W; u8 or f32), "labels" (i64, N), and the same
 * for testing with "test_" before the names. The pixels stay in the file, and each sample is read
 * when it is asked for. A file that is cut off while a network trains on it is an error then. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/formats/format.h"
#include "engine/base/error.h"
#include "engine/files/regular_file.h"
#include "engine/files/safetensors.h"
#include "engine/base/alloc.h"

/* What a data set owns. */
typedef struct source {
    weft_safetensors *file; /* without the images */
    const weft_safetensors_entry *images;
} source;

static void close_source(void *owner)
{
    source *s = owner;
    weft_safetensors_close(s->file);
    wf_free(s);
}

static weft_status view_file(const weft_dataset *ds, int64_t index, void *scratch,
                             const void **pixels, int64_t *label, weft_error *err)
{
    const source *s = ds->owner;
    *pixels = scratch;
    *label = ds->labels ? ds->labels[index] : -1;
    const int64_t bytes = (int64_t)wf_dataset_view_bytes(ds);
    return wf_safetensors_read(s->file, s->images, index * bytes, bytes, scratch, err);
}

static const char *type_name(const weft_safetensors_entry *e)
{
    return e->foreign ? e->foreign : weft_dtype_name(e->dtype);
}

static weft_status check_images(const char *path, const weft_safetensors_entry *e, weft_error *err)
{
    if (e->dtype != WEFT_U8 && e->dtype != WEFT_F32)
        return wf_error_set(err, WEFT_ERR_DTYPE, "%s: \"%s\" is %s, expected u8 or f32", path,
                            e->name, type_name(e));
    char text[160];
    if (e->shape.rank != 4)
        return wf_error_set(err, WEFT_ERR_SHAPE,
                            "%s: \"%s\" has shape %s, expected (N, channels, height, width)", path,
                            e->name, weft_shape_format(e->shape, text, sizeof text));
    size_t sample_bytes;
    const int64_t *dim = e->shape.dim;
    return wf_dataset_geometry(path, dim[0], dim[1], dim[2], dim[3], e->dtype, &sample_bytes, err);
}

static weft_status check_labels(const char *path, const weft_safetensors_entry *e, int64_t n,
                                weft_error *err)
{
    char text[160];
    if (e->dtype != WEFT_I64)
        return wf_error_set(err, WEFT_ERR_DTYPE, "%s: \"%s\" is %s, expected i64", path, e->name,
                            type_name(e));
    if (e->shape.rank != 1 || e->shape.dim[0] != n)
        return wf_error_set(err, WEFT_ERR_SHAPE,
                            "%s: \"%s\" has shape %s, expected [%" PRId64 "], one for each image",
                            path, e->name, weft_shape_format(e->shape, text, sizeof text), n);
    return WEFT_OK;
}

/* The number of classes in the metadata; 0: it has none. */
static weft_status classes_of(const char *path, const weft_safetensors *file, int *classes,
                              weft_error *err)
{
    const char *text = weft_safetensors_meta_find(file, "classes");
    const char *names = weft_safetensors_meta_find(file, "class_names");
    *classes = 0;
    if (!text) {
        int64_t n = names ? wf_count_names(names) : 0;
        *classes = n <= WF_MAX_CLASSES ? (int)n : 0;
        return WEFT_OK;
    }
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || end == text || value < 1 || value > WF_MAX_CLASSES)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: metadata \"classes\" is \"%.40s\", expected 1 to %d", path, text,
                            WF_MAX_CLASSES);
    *classes = (int)value;
    return WEFT_OK;
}

/* The beginning of the names of a split's tensors: "test_", or "val_", where the file has them. */
static const char *prefix_of(const weft_safetensors *file, weft_split split)
{
    bool val = weft_safetensors_find(file, "val_images") != NULL;
    if (split == WEFT_SPLIT_TRAIN)
        return "";
    if (split != WEFT_SPLIT_VAL && weft_safetensors_find(file, "test_images"))
        return "test_";
    return val ? "val_" : "";
}

static const char *name_of(const weft_safetensors *file, weft_split split, const char *what,
                           char name[32])
{
    snprintf(name, 32, "%s%s", prefix_of(file, split), what);
    return name;
}

static bool is_labels(const weft_safetensors *file, const char *name, const void *split)
{
    char labels[32];
    return strcmp(name, name_of(file, *(const weft_split *)split, "labels", labels)) == 0;
}

static weft_status open_arrays(const char *path, weft_split split, weft_safetensors *file,
                               weft_dataset **ds, weft_error *err)
{
    const bool test = weft_safetensors_find(file, "test_images") != NULL;
    const bool val = weft_safetensors_find(file, "val_images") != NULL;
    char names_of[2][32];
    const char *images_name = name_of(file, split, "images", names_of[0]);
    const char *labels_name = name_of(file, split, "labels", names_of[1]);
    if (split == WEFT_SPLIT_VAL && !val) {
        weft_safetensors_close(file);
        return WEFT_OK; /* *ds stays as it is */
    }
    const weft_safetensors_entry *images = weft_safetensors_find(file, images_name);
    const weft_safetensors_entry *labels = weft_safetensors_find(file, labels_name);
    weft_dataset_arrays a = {0};
    weft_status status = WEFT_OK;
    if (!images || (!labels && split != WEFT_SPLIT_PREDICT))
        status = wf_error_set(err, WEFT_ERR_NOT_FOUND, "%s: has no tensor \"%s\"", path,
                              images ? labels_name : images_name);
    if (status == WEFT_OK)
        status = check_images(path, images, err);
    if (status == WEFT_OK && labels)
        status = check_labels(path, labels, images->shape.dim[0], err);
    if (status == WEFT_OK)
        status = classes_of(path, file, &a.classes, err);
    if (status != WEFT_OK) {
        weft_safetensors_close(file);
        return status;
    }
    const int64_t *dim = images->shape.dim;
    a.count = dim[0];
    a.channels = (int)dim[1];
    a.height = (int)dim[2];
    a.width = (int)dim[3];
    a.dtype = images->dtype;
    source *owner = wf_alloc(sizeof *owner);
    if (!owner) {
        weft_safetensors_close(file);
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    }
    *owner = (source){file, images};
    weft_dataset *d = NULL;
    WF_TRY(wf_dataset_over(&a, labels ? labels->data : NULL, path, owner, close_source, &d, err));
    if (!d->labels && split != WEFT_SPLIT_PREDICT)
        status =
            wf_error_set(err, WEFT_ERR_FORMAT,
                         "%s: every label of \"%s\" is -1, which stands for none; expected labels",
                         path, labels_name);
    d->view = view_file;
    d->info.only_split = !test && !val;
    d->has_test = test;
    d->has_val = val;
    if (val && !test && split != WEFT_SPLIT_TRAIN)
        d->info.split = WEFT_SPLIT_VAL;
    const char *names = weft_safetensors_meta_find(file, "class_names");
    if (status == WEFT_OK && names && d->info.classes)
        status = wf_dataset_set_names(d, names, path, err);
    if (status == WEFT_OK)
        *ds = d;
    else
        weft_dataset_destroy(d);
    return status;
}

static weft_status open_file(const char *path, weft_split split, weft_dataset **ds, weft_error *err)
{
    weft_safetensors *file = NULL;
    WF_TRY(wf_safetensors_open_some(path, is_labels, &split, &file, err));
    return open_arrays(path, split, file, ds, err);
}

/* Whether the folder has the split's file, NAME.safetensors, whose path *file becomes. */
static weft_status find_file(const char *folder, const char *name, char **file, bool *there,
                             weft_error *err)
{
    wf_free(*file);
    *file = wf_asprintf("%s/%s.safetensors", folder, name);
    if (!*file)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", folder);
    *there = access(*file, F_OK) == 0;
    return WEFT_OK;
}

/* A folder with one file for each split: train.safetensors, test.safetensors and perhaps
 * val.safetensors. */
static weft_status open_folder(const char *path, weft_split split, bool *there, weft_dataset **ds,
                               weft_error *err)
{
    char *file = NULL;
    bool val = false, test = false;
    weft_status status = find_file(path, "val", &file, &val, err);
    if (status == WEFT_OK)
        status = find_file(path, "test", &file, &test, err);
    weft_split stored = split == WEFT_SPLIT_TRAIN                   ? WEFT_SPLIT_TRAIN
                        : val && (split == WEFT_SPLIT_VAL || !test) ? WEFT_SPLIT_VAL
                                                                    : WEFT_SPLIT_TEST;
    if (status == WEFT_OK && split == WEFT_SPLIT_VAL && !val) {
        status = find_file(path, "train", &file, there, err); /* the path is ours, without a val */
        wf_free(file);
        return status;
    }
    if (status == WEFT_OK)
        status = find_file(path,
                           stored == WEFT_SPLIT_TRAIN ? "train"
                           : stored == WEFT_SPLIT_VAL ? "val"
                                                      : "test",
                           &file, there, err);
    /* In such a file "images" are those of the split. */
    if (status == WEFT_OK && *there)
        status = open_file(file, split == WEFT_SPLIT_VAL ? WEFT_SPLIT_TEST : split, ds, err);
    if (status == WEFT_OK && *there) {
        (*ds)->info.only_split = false;
        (*ds)->info.split = stored;
        (*ds)->has_val = val;
        (*ds)->has_test = test;
    }
    wf_free(file);
    return status;
}

/* Whether the file begins as safetensors files do, with its header's length and a brace. True as
 * well for what cannot be opened, whose opening says why. */
static bool begins_so(const char *path)
{
    char begin[9];
    int64_t size;
    int fd;
    if (wf_open_regular(path, 0, &fd, &size, NULL) != WEFT_OK)
        return true;
    bool so = wf_read_at(fd, path, begin, sizeof begin, 0, NULL) == WEFT_OK && begin[8] == '{';
    close(fd);
    return so;
}

/* A file that no format has claimed: named as one of ours, beginning as one, or neither. */
static weft_status open_any_file(const weft_dataset_opts *o, weft_dataset **ds, weft_error *err)
{
    const char *dot = strrchr(o->path, '.');
    if ((dot && strcmp(dot, ".safetensors") == 0) || begins_so(o->path))
        return open_file(o->path, o->split, ds, err);
    return wf_error_set(err, WEFT_ERR_FORMAT,
                        "%s: not %sa data set: expected a folder, a list (.csv, .tsv, .txt), or a "
                        ".tar, .npz or .safetensors file",
                        o->path, o->split == WEFT_SPLIT_PREDICT ? "a picture or " : "");
}

static weft_status open_safetensors(const weft_dataset_opts *o, wf_path_kind kind, bool *there,
                                    weft_dataset **ds, weft_error *err)
{
    if (kind == WF_PATH_FOLDER)
        return open_folder(o->path, o->split, there, ds, err);
    *there = kind == WF_PATH_FILE;
    return *there ? open_any_file(o, ds, err) : WEFT_OK;
}

const wf_data_format wf_format_safetensors = {".safetensors", open_safetensors};
