/* Class folders, as torchvision's ImageFolder: a folder a class, with pictures in it or below it.
 *
 * The directory has the classes itself, or a directory of them for each split. The list of files
 * is kept as an index where it is long. Pictures are read when they are asked for. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/formats/format.h"
#include "data/formats/listing.h"
#include "data/formats/name_order.h"
#include "data/formats/read_file.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"

enum { INDEX_FROM = 10000 }; /* files, where nobody has named a folder for indexes */

/* What a data set owns. */
typedef struct pictures {
    char *path;
    wf_listing list;
} pictures;

static void release(void *owner)
{
    pictures *p = owner;
    wf_listing_done(&p->list);
    wf_free(p->path);
    wf_free(p);
}

static void name_file(const weft_dataset *ds, int64_t index, wf_sample_name *name)
{
    const pictures *p = ds->owner;
    const char *folder = p->list.text + p->list.folders[p->list.folder_of[index]].path;
    snprintf(name->text, sizeof name->text, "%s%s%s/%s", p->path, *folder ? "/" : "", folder,
             p->list.text + p->list.names[index]);
}

static weft_status read_file(const weft_dataset *ds, int64_t index, wf_bytes *bytes,
                             weft_error *err)
{
    wf_sample_name name;
    name_file(ds, index, &name);
    return wf_read_picture_file(name.text, bytes, err);
}

/* ---- what a directory holds ----------------------------------------------------------------- */

/* What a directory looks like before it is listed. */
typedef struct look {
    bool folders; /* that are not hidden */
    bool pictures;
    bool only_train;                                     /* "train" is the only folder */
    char train[PATH_MAX], val[PATH_MAX], test[PATH_MAX]; /* "": none */
} look;

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool has_folders(const char *path)
{
    bool found = false;
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && !found && (e = readdir(dir)) != NULL;) {
        char whole[PATH_MAX];
        if (e->d_name[0] != '.' &&
            snprintf(whole, sizeof whole, "%s/%s", path, e->d_name) < PATH_MAX)
            found = e->d_type == DT_DIR || (e->d_type != DT_REG && is_folder(whole));
    }
    if (dir)
        closedir(dir);
    return found;
}

static void note_split(const char *path, const char *name, char *to)
{
    if (!to[0] && (snprintf(to, PATH_MAX, "%s/%s", path, name) >= PATH_MAX || !is_folder(to)))
        to[0] = '\0';
}

static weft_status look_at(const char *path, look *k, weft_error *err)
{
    DIR *dir = opendir(path);
    if (!dir)
        return wf_error_set(err, WEFT_ERR_IO, "%s: cannot be listed: %s", path, strerror(errno));
    *k = (look){.only_train = true};
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char whole[PATH_MAX];
        if (e->d_name[0] == '.' ||
            snprintf(whole, sizeof whole, "%s/%s", path, e->d_name) >= PATH_MAX)
            continue;
        if (e->d_type == DT_DIR || (e->d_type != DT_REG && is_folder(whole))) {
            k->folders = true;
            k->only_train = k->only_train && strcmp(e->d_name, "train") == 0;
        } else {
            k->pictures = k->pictures || wf_is_picture_name(e->d_name);
        }
    }
    closedir(dir);
    note_split(path, "train", k->train);
    note_split(path, "val", k->val);
    note_split(path, "valid", k->val);
    note_split(path, "validation", k->val);
    note_split(path, "test", k->test);
    if (k->test[0] && k->val[0] && !has_folders(k->test))
        k->test[0] = '\0'; /* pictures without classes: nothing to test on */
    if (!k->val[0] && !k->test[0] && !k->only_train)
        k->train[0] = '\0'; /* a class of this name */
    return WEFT_OK;
}

/* ---- opening -------------------------------------------------------------------------------- */

/* "a, b, ..." of the classes without pictures. */
static void list_empty(const wf_listing *l, char *text, size_t size)
{
    size_t n = 0;
    int64_t at = 0;
    text[0] = '\0';
    for (int64_t k = 0; k < l->n_classes && n + 128 < size; k++) {
        bool met = false;
        /* folders are in the order of the classes, and files in that of the folders */
        while (at < l->count && l->folders[l->folder_of[at]].class_number <= k)
            met = l->folders[l->folder_of[at++]].class_number == k || met;
        if (!met)
            n += (size_t)snprintf(text + n, size - n, "%s%s", n ? ", " : "",
                                  wf_quote_class(l->text + l->classes[k]).text);
    }
}

static weft_status get_list(const char *path, const char *folder, bool flat, wf_listing *list,
                            int64_t *empty, weft_error *err)
{
    char *cache = folder ? NULL : wf_index_folder();
    const char *where = folder ? (*folder ? folder : NULL) : cache;
    weft_status status = WEFT_OK;
    *empty = 0;
    if (!where || flat || !wf_index_read(where, path, list)) {
        status = wf_listing_make(path, flat, list, empty, err);
        if (status == WEFT_OK && where && !flat && *empty == 0 &&
            (folder || list->count >= INDEX_FROM))
            wf_index_write(where, path, list);
    }
    wf_free(cache);
    return status;
}

/* Labels and names from the list. */
static weft_status add_classes(weft_dataset *d, const wf_listing *l, weft_error *err)
{
    d->labels = wf_alloc_array((size_t)l->count, sizeof *d->labels);
    const char **names = wf_alloc_array((size_t)l->n_classes, sizeof *names);
    weft_status status = d->labels && names
                             ? WEFT_OK
                             : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", d->source);
    if (status == WEFT_OK) {
        for (int64_t i = 0; i < l->count; i++)
            d->labels[i] = l->folders[l->folder_of[i]].class_number;
        for (int64_t k = 0; k < l->n_classes; k++)
            names[k] = l->text + l->classes[k];
        d->info.classes = (int)l->n_classes;
        d->classes_declared = true;
        status = wf_dataset_set_name_list(d, names, l->n_classes, d->source, err);
    }
    wf_free(names);
    return status;
}

static weft_status make(const char *path, pictures *p, bool flat, weft_dataset **ds,
                        weft_error *err)
{
    int64_t count = p->list.count;
    weft_dataset *d = NULL;
    WF_TRY(wf_dataset_of_pictures(path, count, p, release, &d, err));
    d->read = read_file;
    d->name = name_file;
    d->info.left_out = p->list.left_out;
    weft_status status = flat ? WEFT_OK : add_classes(d, &p->list, err);
    if (status == WEFT_OK)
        *ds = d;
    else
        weft_dataset_destroy(d);
    return status;
}

static weft_status check_list(const char *path, const wf_listing *l, bool flat, int64_t empty,
                              weft_error *err)
{
    char text[512];
    if (l->n_classes > WF_MAX_CLASSES)
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: %" PRId64 " classes, expected at most %d",
                            path, l->n_classes, WF_MAX_CLASSES);
    if (!flat && l->n_classes == 0)
        return wf_error_set(err, WEFT_ERR_NOT_FOUND,
                            "%s: has no class folders, expected a folder a class with pictures in "
                            "it",
                            path);
    if (empty == 0 && l->count > 0)
        return WEFT_OK;
    list_empty(l, text, sizeof text);
    return wf_error_set(err, WEFT_ERR_NOT_FOUND,
                        "%s: no pictures in the folder%s of %" PRId64 " class%s: %s (files that "
                        "end in .jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff or .webp)",
                        path, empty == 1 ? "" : "s", empty, empty == 1 ? "" : "es", text);
}

/* *there false: none of its folders has pictures, so that it is something else. */
static weft_status open_path(const char *path, const weft_dataset_opts *o, bool flat, bool *there,
                             weft_dataset **ds, weft_error *err)
{
    pictures *p = wf_zalloc(sizeof *p);
    char *copy = wf_strdup(path);
    if (!p || !copy) {
        wf_free(p);
        wf_free(copy);
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    }
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/';)
        copy[--n] = '\0';
    p->path = copy;
    int64_t empty = 0;
    weft_status status = get_list(path, o->index_folder, flat, &p->list, &empty, err);
    if (status == WEFT_OK && there && p->list.count == 0) {
        *there = false;
        release(p);
        return WEFT_OK;
    }
    if (status == WEFT_OK)
        status = check_list(path, &p->list, flat, empty, err);
    if (status == WEFT_OK)
        return make(path, p, flat, ds, err);
    release(p);
    return status;
}

static weft_status open_split(const look *k, const weft_dataset_opts *o, weft_dataset **ds,
                              weft_error *err)
{
    weft_split split = o->split;
    if (split == WEFT_SPLIT_PREDICT)
        split = WEFT_SPLIT_TEST;
    if (split == WEFT_SPLIT_VAL && !k->val[0])
        return WEFT_OK;
    if (split == WEFT_SPLIT_TEST && !k->test[0])
        split = k->val[0] ? WEFT_SPLIT_VAL : WEFT_SPLIT_TRAIN;
    const char *path = split == WEFT_SPLIT_TRAIN ? k->train
                       : split == WEFT_SPLIT_VAL ? k->val
                                                 : k->test;
    WF_TRY(open_path(path, o, o->split == WEFT_SPLIT_PREDICT && !has_folders(path), NULL, ds, err));
    (*ds)->info.split = split;
    (*ds)->info.only_split = !k->val[0] && !k->test[0];
    (*ds)->has_val = k->val[0];
    (*ds)->has_test = k->test[0];
    return WEFT_OK;
}

static weft_status open_folder(const weft_dataset_opts *o, wf_path_kind kind, bool *there,
                               weft_dataset **ds, weft_error *err)
{
    *there = false;
    look *k = kind == WF_PATH_FOLDER ? wf_alloc(sizeof *k) : NULL; /* large for a thread's stack */
    if (!k)
        return kind != WF_PATH_FOLDER
                   ? WEFT_OK
                   : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", o->path);
    weft_status status = look_at(o->path, k, err);
    bool predict = o->split == WEFT_SPLIT_PREDICT;
    if (status != WEFT_OK || (!k->folders && !k->pictures)) {
        wf_free(k);
        return status;
    }
    *there = true;
    if (k->train[0]) {
        status = open_split(k, o, ds, err);
    } else if (!k->folders && !predict) {
        status = wf_error_set(err, WEFT_ERR_NOT_FOUND,
                              "%s: holds pictures, but no class folders: expected a folder a class "
                              "with pictures in it",
                              o->path);
    } else if (o->split != WEFT_SPLIT_VAL) {
        status = open_path(o->path, o, !k->folders, there, ds, err);
        if (status == WEFT_OK && *there)
            (*ds)->info.only_split = true;
    }
    wf_free(k);
    return status;
}

const wf_data_format wf_format_folder = {NULL, open_folder};
