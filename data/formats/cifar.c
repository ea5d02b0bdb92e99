/* CIFAR-10 and CIFAR-100 in their binary form, and STL-10.
 *
 * CIFAR: records of a label (CIFAR-100: a coarse label, then a fine one) and 3x32x32 bytes, planes
 * of rows. CIFAR-10 has data_batch_1.bin to data_batch_5.bin, test_batch.bin and batches.meta.txt
 * with the classes' names; CIFAR-100 train.bin, test.bin, fine_label_names.txt and
 * coarse_label_names.txt. Source: https://www.cs.toronto.edu/~kriz/cifar.html.
 *
 * STL-10: train_X.bin of 3x96x96 bytes an image, planes of columns; train_y.bin of labels from 1;
 * the same for test; class_names.txt. Source: https://cs.stanford.edu/~acoates/stl10.
 *
 * Files are read into memory, whole, and are hostile input. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/formats/format.h"
#include "data/formats/text_file.h"
#include "engine/base/alloc.h"
#include "engine/base/error.h"
#include "engine/files/regular_file.h"

enum { CIFAR_SIDE = 32, STL_SIDE = 96, MOST_FILES = 8 };

/* How a set stores its samples. */
typedef struct layout {
    const char *name;
    const char *files[2][MOST_FILES]; /* of training and testing; NULL after the last */
    const char *labels[2];            /* a file of labels; NULL: they stand before the pixels */
    int label_bytes, which;           /* labels before the pixels, and which of them counts */
    int first;                        /* the lowest label */
    int side, classes;
    const char *names; /* a file */
    bool by_columns;
} layout;

static const layout layouts[] = {
    {.name = "CIFAR-10",
     .files = {{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                "data_batch_5.bin"},
               {"test_batch.bin"}},
     .label_bytes = 1,
     .side = CIFAR_SIDE,
     .classes = 10,
     .names = "batches.meta.txt"},
    {.name = "CIFAR-100",
     .files = {{"train.bin"}, {"test.bin"}},
     .label_bytes = 2,
     .which = 1,
     .side = CIFAR_SIDE,
     .classes = 100,
     .names = "fine_label_names.txt"},
    {.name = "CIFAR-100",
     .files = {{"train.bin"}, {"test.bin"}},
     .label_bytes = 2,
     .side = CIFAR_SIDE,
     .classes = 20,
     .names = "coarse_label_names.txt"},
    {.name = "STL-10",
     .files = {{"train_X.bin"}, {"test_X.bin"}},
     .labels = {"train_y.bin", "test_y.bin"},
     .first = 1,
     .side = STL_SIDE,
     .classes = 10,
     .names = "class_names.txt",
     .by_columns = true},
};
static const char *const folders[] = {"", "/cifar-10-batches-bin", "/cifar-100-binary",
                                      "/stl10_binary"};

/* What is being read. */
typedef struct reading {
    const layout *set;
    const char *folder;
    int64_t count;
    unsigned char *pixels;
    int64_t *labels;
} reading;

/* ---- one file ------------------------------------------------------------------------------- */

static weft_status open_file(const reading *r, const char *name, char path[PATH_MAX], int *fd,
                             int64_t record, int64_t *records, weft_error *err)
{
    int64_t size;
    if (snprintf(path, PATH_MAX, "%s/%s", r->folder, name) >= PATH_MAX)
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s/%s: the path is too long", r->folder, name);
    WF_TRY(wf_open_regular(path, 0, fd, &size, err));
    *records = size / record;
    if (size > 0 && size % record == 0)
        return WEFT_OK;
    close(*fd);
    return wf_error_set(err, WEFT_ERR_FORMAT,
                        "%s: truncated or damaged: has %" PRId64
                        " bytes, expected a multiple of %" PRId64 ", the bytes of an image%s",
                        path, size, record, r->set->labels[0] ? "" : " and its labels");
}

static weft_status check_label(const reading *r, const char *path, int64_t sample, int label,
                               weft_error *err)
{
    int low = r->set->first, high = low + r->set->classes - 1;
    if (label >= low && label <= high)
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_FORMAT,
                        "%s: label %d of image %" PRId64 " is out of range, expected %d to %d",
                        path, label, sample, low, high);
}

/* Room for more samples. */
static weft_status grow(reading *r, int64_t more, weft_error *err)
{
    size_t bytes = 3u * (size_t)r->set->side * (size_t)r->set->side;
    size_t count = (size_t)(r->count + more);
    unsigned char *pixels = wf_realloc_array(r->pixels, count, bytes);
    r->pixels = pixels ? pixels : r->pixels;
    int64_t *labels = pixels ? wf_realloc_array(r->labels, count, sizeof *labels) : NULL;
    r->labels = labels ? labels : r->labels;
    return labels ? WEFT_OK
                  : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for %zu images", r->folder,
                                 count);
}

/* Planes of columns as planes of rows. */
static void turn(unsigned char *pixels, int side)
{
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < side; y++)
            for (int x = 0; x < y; x++) {
                unsigned char *a = pixels + (c * side + y) * side + x;
                unsigned char *b = pixels + (c * side + x) * side + y, swap = *a;
                *a = *b;
                *b = swap;
            }
}

static weft_status read_images(reading *r, const char *name, weft_error *err)
{
    const layout *set = r->set;
    char path[PATH_MAX];
    int fd;
    int64_t bytes = 3 * set->side * set->side, record = bytes + set->label_bytes, n;
    WF_TRY(open_file(r, name, path, &fd, record, &n, err));
    unsigned char *one = wf_alloc((size_t)record);
    weft_status status =
        one ? grow(r, n, err) : wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    for (int64_t i = 0; i < n && status == WEFT_OK; i++) {
        status = wf_read_at(fd, path, one, record, i * record, err);
        if (status == WEFT_OK && set->label_bytes)
            status = check_label(r, path, i, one[set->which], err);
        if (status != WEFT_OK)
            break;
        unsigned char *to = r->pixels + (r->count + i) * bytes;
        memcpy(to, one + set->label_bytes, (size_t)bytes);
        if (set->by_columns)
            turn(to, set->side);
        r->labels[r->count + i] = set->label_bytes ? one[set->which] : 0;
    }
    if (status == WEFT_OK)
        r->count += n;
    wf_free(one);
    close(fd);
    return status;
}

static weft_status read_labels(reading *r, const char *name, weft_error *err)
{
    char path[PATH_MAX];
    int fd;
    int64_t n;
    WF_TRY(open_file(r, name, path, &fd, 1, &n, err));
    unsigned char *bytes = wf_alloc((size_t)n);
    weft_status status = WEFT_OK;
    if (!bytes)
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    else if (n != r->count)
        status = wf_error_set(err, WEFT_ERR_FORMAT, "%s: %" PRId64 " labels for %" PRId64 " images",
                              path, n, r->count);
    else
        status = wf_read_at(fd, path, bytes, n, 0, err);
    for (int64_t i = 0; i < n && status == WEFT_OK; i++) {
        status = check_label(r, path, i, bytes[i], err);
        r->labels[i] = bytes[i] - r->set->first;
    }
    wf_free(bytes);
    close(fd);
    return status;
}

/* ---- the set -------------------------------------------------------------------------------- */

static bool exists(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < PATH_MAX && access(path, F_OK) == 0;
}

/* The set whose files lie in the folder; NULL: none. A name as common as train.bin needs that of
 * the classes beside it. */
static const layout *find(const char *folder, bool coarse)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        const layout *set = &layouts[i];
        bool here = exists(folder, set->files[0][0]) || exists(folder, set->files[1][0]);
        if (here && set->label_bytes == 2)
            here = (set->classes == 20) == coarse && (exists(folder, "fine_label_names.txt") ||
                                                      exists(folder, "coarse_label_names.txt"));
        if (here)
            return set;
    }
    return NULL;
}

static weft_status add_names(const reading *r, weft_dataset *d, weft_error *err)
{
    char path[PATH_MAX];
    if (!exists(r->folder, r->set->names) ||
        snprintf(path, sizeof path, "%s/%s", r->folder, r->set->names) >= PATH_MAX)
        return WEFT_OK;
    char *text = NULL;
    WF_TRY(wf_read_text_file(path, &text, err));
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r')) /* CIFAR-10's ends in a blank */
        text[--n] = '\0';
    weft_status status = wf_dataset_set_names(d, text, path, err);
    wf_free(text);
    return status;
}

static weft_status open_set(reading *r, const weft_dataset_opts *o, weft_dataset **ds,
                            weft_error *err)
{
    int split = o->split == WEFT_SPLIT_TRAIN ? 0 : 1;
    weft_status status = WEFT_OK;
    for (int i = 0; i < MOST_FILES && r->set->files[split][i] && status == WEFT_OK; i++)
        status = read_images(r, r->set->files[split][i], err);
    if (status == WEFT_OK && r->set->labels[split])
        status = read_labels(r, r->set->labels[split], err);
    if (status != WEFT_OK) {
        wf_free(r->pixels);
        return status;
    }
    const weft_dataset_arrays a = {r->count,        3,       r->set->side, r->set->side,
                                   r->set->classes, WEFT_U8, r->pixels};
    weft_dataset *d = NULL;
    WF_TRY(wf_dataset_over(&a, r->labels, r->folder, r->pixels, wf_free, &d, err));
    d->info.mirrors = true;
    status = add_names(r, d, err);
    if (status == WEFT_OK)
        *ds = d;
    else
        weft_dataset_destroy(d);
    return status;
}

static weft_status open_cifar(const weft_dataset_opts *o, wf_path_kind kind, bool *there,
                              weft_dataset **ds, weft_error *err)
{
    *there = false;
    for (size_t i = 0; kind == WF_PATH_FOLDER && i < sizeof folders / sizeof *folders; i++) {
        char folder[PATH_MAX];
        if (snprintf(folder, sizeof folder, "%s%s", o->path, folders[i]) >= PATH_MAX)
            continue;
        reading r = {.set = find(folder, o->coarse), .folder = folder};
        if (!r.set)
            continue;
        *there = true;
        if (o->split == WEFT_SPLIT_VAL)
            return WEFT_OK;
        weft_status status = open_set(&r, o, ds, err);
        wf_free(r.labels);
        return status;
    }
    return WEFT_OK;
}

const wf_data_format wf_format_cifar = {NULL, open_cifar};
