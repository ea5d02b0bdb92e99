/* Arrays of NumPy: .npz files and folders of .npy files. See npy.h.
 *
 * Files are hostile input. What a .npz promises is checked against the machine's memory and against
 * what deflate can reach before anything is allocated. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "data/dataset.h"
#include "data/formats/format.h"
#include "data/formats/npy.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/regular_file.h"

#define MAX_DEFLATE 1032 /* the best ratio that deflate can reach */

/* Where arrays are: a folder, or an open .npz. */
typedef struct source {
    const char *path;
    zip_t *zip;   /* NULL: a folder */
    int64_t size; /* of the .npz file */
} source;

/* An array in memory. */
typedef struct array {
    char name[PATH_MAX]; /* for messages */
    wf_npy npy;
    unsigned char *bytes; /* its elements */
} array;

/* ---- reading -------------------------------------------------------------------------------- */

static bool has(const source *s, const char *name)
{
    char path[PATH_MAX];
    if (s->zip) {
        snprintf(path, sizeof path, "%s.npy", name);
        return zip_name_locate(s->zip, path, 0) >= 0;
    }
    return snprintf(path, sizeof path, "%s/%s.npy", s->path, name) < PATH_MAX &&
           access(path, F_OK) == 0;
}

/* Allocates an array of `bytes` bytes, which the file says it has. */
static weft_status allocate(array *a, int64_t bytes, int64_t stored, weft_error *err)
{
    int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (bytes / MAX_DEFLATE > stored || (pages > 0 && bytes / page > pages))
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: damaged or too large: promises %" PRId64 " bytes in %" PRId64
                            " bytes; this machine has memory for %" PRId64,
                            a->name, bytes, stored, pages * page);
    a->bytes = wf_alloc((size_t)bytes);
    return a->bytes ? WEFT_OK
                    : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for %" PRId64 " bytes",
                                   a->name, bytes);
}

static weft_status read_file(array *a, weft_error *err)
{
    unsigned char header[WF_NPY_HEADER];
    int fd;
    int64_t size;
    WF_TRY(wf_open_regular(a->name, 0, &fd, &size, err));
    size_t some = size < WF_NPY_HEADER ? (size_t)size : WF_NPY_HEADER;
    weft_status status = wf_read_at(fd, a->name, header, (int64_t)some, 0, err);
    if (status == WEFT_OK)
        status = wf_npy_parse(a->name, header, some, size, &a->npy, err);
    int64_t bytes = status == WEFT_OK ? size - (int64_t)a->npy.begin : 0;
    if (status == WEFT_OK)
        status = allocate(a, bytes, size, err);
    if (status == WEFT_OK)
        status = wf_read_at(fd, a->name, a->bytes, bytes, (int64_t)a->npy.begin, err);
    close(fd);
    return status;
}

/* Reads all of an entry's n bytes. */
static weft_status read_all(zip_file_t *f, const char *name, unsigned char *to, int64_t n,
                            weft_error *err)
{
    for (int64_t done = 0; done < n;) {
        int64_t got = zip_fread(f, to + done, (uint64_t)(n - done));
        if (got <= 0)
            return wf_error_set(err, WEFT_ERR_FORMAT,
                                "%s: truncated or damaged: %" PRId64 " bytes of %" PRId64, name,
                                done, n);
        done += got;
    }
    return WEFT_OK;
}

static weft_status read_entry(const source *s, const char *entry, array *a, weft_error *err)
{
    zip_stat_t st;
    zip_file_t *f = zip_fopen(s->zip, entry, 0);
    if (!f || zip_stat(s->zip, entry, 0, &st) != 0 || !(st.valid & ZIP_STAT_SIZE) ||
        !(st.valid & ZIP_STAT_COMP_SIZE) || st.size > INT64_MAX || st.comp_size > INT64_MAX) {
        if (f)
            zip_fclose(f);
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: cannot be read: %s", a->name,
                            zip_strerror(s->zip));
    }
    int64_t size = (int64_t)st.size;
    unsigned char *whole = NULL;
    int64_t stored = (int64_t)st.comp_size < s->size ? (int64_t)st.comp_size : s->size;
    weft_status status = allocate(a, size, stored, err);
    whole = a->bytes;
    if (status == WEFT_OK)
        status = read_all(f, a->name, whole, size, err);
    char more;
    if (status == WEFT_OK && zip_fread(f, &more, 1) != 0) /* also checks the sum of the entry */
        status = wf_error_set(err, WEFT_ERR_FORMAT, "%s: damaged: its checksum is wrong", a->name);
    if (status == WEFT_OK)
        status = wf_npy_parse(a->name, whole, (size_t)size, size, &a->npy, err);
    if (status == WEFT_OK)
        memmove(whole, whole + a->npy.begin, (size_t)size - a->npy.begin);
    zip_fclose(f);
    return status;
}

static weft_status read_array(const source *s, const char *name, array *a, weft_error *err)
{
    char entry[64];
    snprintf(entry, sizeof entry, "%s.npy", name);
    if (snprintf(a->name, sizeof a->name, "%s/%s", s->path, entry) >= PATH_MAX)
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: the path is too long", s->path);
    return s->zip ? read_entry(s, entry, a, err) : read_file(a, err);
}

/* ---- splits --------------------------------------------------------------------------------- */

enum { NAMES = 3 };
/* By weft_split: the names of images and labels. */
static const char *const names[][NAMES][2] = {
    [WEFT_SPLIT_TRAIN] = {{"train_images", "train_labels"},
                          {"x_train", "y_train"},
                          {"images", "labels"}},
    [WEFT_SPLIT_TEST] = {{"test_images", "test_labels"}, {"x_test", "y_test"}, {"", ""}},
    [WEFT_SPLIT_VAL] = {{"val_images", "val_labels"}, {"x_val", "y_val"}, {"", ""}},
};

/* Which names the source has for a split; -1: none. */
static int find(const source *s, weft_split split)
{
    for (int i = 0; i < NAMES; i++)
        if (names[split][i][0][0] && has(s, names[split][i][0]))
            return i;
    return -1;
}

static weft_status open_arrays(const source *s, weft_split split, int which, bool labelled,
                               weft_dataset **ds, weft_error *err)
{
    const char *const *pair = names[split][which];
    array *images = wf_zalloc(sizeof *images), *labels = wf_zalloc(sizeof *labels);
    weft_status status = images && labels
                             ? read_array(s, pair[0], images, err)
                             : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", s->path);
    bool wanted = status == WEFT_OK && (labelled || has(s, pair[1]));
    if (wanted && !has(s, pair[1]))
        status = wf_error_set(err, WEFT_ERR_NOT_FOUND, "%s: has %s, but no %s", s->path, pair[0],
                              pair[1]);
    else if (wanted)
        status = read_array(s, pair[1], labels, err);
    if (status == WEFT_OK) {
        status = wf_npy_dataset(images->name, &images->npy, images->bytes, &labels->npy,
                                labels->bytes, ds, err);
        images->bytes = NULL;
    }
    if (images)
        wf_free(images->bytes);
    if (labels)
        wf_free(labels->bytes);
    wf_free(images);
    wf_free(labels);
    return status;
}

static weft_status open_source(const source *s, const weft_dataset_opts *o, bool *there,
                               weft_dataset **ds, weft_error *err)
{
    bool predict = o->split == WEFT_SPLIT_PREDICT;
    weft_split split = predict ? WEFT_SPLIT_TEST : o->split;
    int train = find(s, WEFT_SPLIT_TRAIN), val = find(s, WEFT_SPLIT_VAL),
        test = find(s, WEFT_SPLIT_TEST);
    *there = train >= 0 || test >= 0 || val >= 0;
    if (!*there || (split == WEFT_SPLIT_VAL && val < 0))
        return WEFT_OK;
    if (split == WEFT_SPLIT_TEST && test < 0)
        split = val >= 0 ? WEFT_SPLIT_VAL : WEFT_SPLIT_TRAIN;
    int which = split == WEFT_SPLIT_TRAIN ? train : split == WEFT_SPLIT_VAL ? val : test;
    if (which < 0)
        return wf_error_set(err, WEFT_ERR_NOT_FOUND, "%s: has no train_images", s->path);
    WF_TRY(open_arrays(s, split, which, !predict, ds, err));
    (*ds)->info.split = split;
    (*ds)->info.only_split = val < 0 && test < 0;
    (*ds)->has_val = val >= 0;
    (*ds)->has_test = test >= 0;
    return WEFT_OK;
}

/* ---- paths ---------------------------------------------------------------------------------- */

/* The first bytes of a file, and its size; false: it cannot be read. */
static bool peek(const char *path, unsigned char *bytes, int64_t n, int64_t *size)
{
    int fd;
    if (wf_open_regular(path, 0, &fd, size, NULL) != WEFT_OK)
        return false;
    bool good = *size >= n && wf_read_at(fd, path, bytes, n, 0, NULL) == WEFT_OK;
    close(fd);
    return good;
}

static weft_status open_zip(const weft_dataset_opts *o, int64_t size, bool *there,
                            weft_dataset **ds, weft_error *err)
{
    int code = 0;
    source s = {o->path, zip_open(o->path, ZIP_RDONLY, &code), size};
    *there = true;
    if (!s.zip) {
        zip_error_t why;
        zip_error_init_with_code(&why, code);
        weft_status status = wf_error_set(err, WEFT_ERR_FORMAT, "%s: not a .npz file: %s", o->path,
                                          zip_error_strerror(&why));
        zip_error_fini(&why);
        return status;
    }
    weft_status status = open_source(&s, o, there, ds, err);
    zip_discard(s.zip);
    if (status == WEFT_OK && !*there) {
        *there = true;
        return wf_error_set(err, WEFT_ERR_NOT_FOUND,
                            "%s: has no arrays train_images and train_labels, nor x_train and "
                            "y_train",
                            o->path);
    }
    return status;
}

/* One array of images, without labels. */
static weft_status open_npy(const weft_dataset_opts *o, weft_dataset **ds, weft_error *err)
{
    if (o->split != WEFT_SPLIT_PREDICT)
        return wf_error_set(err, WEFT_ERR_NOT_FOUND,
                            "%s: one array has no labels; expected a folder with train_images.npy "
                            "and train_labels.npy, or a .npz file with both",
                            o->path);
    array *a = wf_zalloc(sizeof *a);
    if (!a)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", o->path);
    snprintf(a->name, sizeof a->name, "%s", o->path);
    weft_status status = read_file(a, err);
    if (status == WEFT_OK)
        status = wf_npy_dataset(a->name, &a->npy, a->bytes, NULL, NULL, ds, err);
    else
        wf_free(a->bytes);
    if (status == WEFT_OK)
        (*ds)->info.only_split = true;
    wf_free(a);
    return status;
}

static weft_status open_npz(const weft_dataset_opts *o, wf_path_kind kind, bool *there,
                            weft_dataset **ds, weft_error *err)
{
    unsigned char begin[6];
    int64_t size = 0;
    *there = false;
    if (kind == WF_PATH_FOLDER)
        return open_source(&(source){.path = o->path}, o, there, ds, err);
    if (kind != WF_PATH_FILE || !peek(o->path, begin, sizeof begin, &size))
        return WEFT_OK;
    if (memcmp(begin, "PK\3\4", 4) == 0 || memcmp(begin, "PK\5\6", 4) == 0)
        return open_zip(o, size, there, ds, err);
    *there = memcmp(begin, "\x93NUMPY", 6) == 0;
    return *there ? open_npy(o, ds, err) : WEFT_OK;
}

const wf_data_format wf_format_npz = {NULL, open_npz};
