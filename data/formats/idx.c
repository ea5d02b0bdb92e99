/* IDX directories: MNIST, Fashion-MNIST, KMNIST, EMNIST and other data sets that have these four
 * files.
 *
 * A file has a big-endian magic number (two zero bytes, the type, which is 8 for u8, and the number
 * of dimensions), the dimensions, and the bytes. Source: http://yann.lecun.com/exdb/mnist. zlib
 * reads gzipped and plain files alike. Files are treated as hostile input: nothing is allocated
 * that is larger than the file can hold.
 *
 * The files do not say how many classes there are. classes.txt beside them says it; without it, the
 * highest label of both splits does. Labels that begin with 1 (EMNIST's letters) stay as they are,
 * and class 0 has no images. Only where classes.txt has as many names as the highest label are they
 * lowered by 1. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "data/dataset.h"
#include "data/formats/format.h"
#include "data/formats/idx_find.h"
#include "engine/base/error.h"
#include "engine/files/regular_file.h"
#include "engine/base/alloc.h"

#define MAX_DEFLATE 1032 /* the best ratio that deflate can reach */

/* ---- one file ------------------------------------------------------------------------------- */

typedef struct idx_file {
    char path[PATH_MAX];
    gzFile gz;
    int64_t size;    /* bytes on disk */
    int64_t dims[3]; /* 1 where it has fewer */
    int64_t count;   /* bytes of payload */
    unsigned char *bytes;
} idx_file;

static void idx_done(idx_file *f)
{
    if (f->gz)
        gzclose_r(f->gz);
    wf_free(f->bytes);
}

/* zlib's text begins with the file's name, which for a descriptor is "<fd:3>". */
static const char *without_name(const char *text)
{
    const char *end = text[0] == '<' ? strstr(text, ">: ") : NULL;
    return end ? end + 3 : text;
}

/* Reads exactly n bytes, or fails and says what came instead. */
static weft_status read_exactly(idx_file *f, void *to, int64_t n, weft_error *err)
{
    int64_t done = 0;
    while (done < n) {
        int64_t left = n - done;
        int got = gzread(f->gz, (char *)to + done, left < (1 << 30) ? (unsigned)left : 1u << 30);
        if (got <= 0)
            break;
        done += got;
    }
    int code;
    const char *why = gzerror(f->gz, &code);
    if (code == Z_ERRNO)
        return wf_error_set(err, WEFT_ERR_IO, "%s: cannot be read: %s", f->path, strerror(errno));
    if (code == Z_MEM_ERROR)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", f->path);
    if (code == Z_BUF_ERROR && done == n)
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: truncated: its gzip data has no end",
                            f->path);
    if (code != Z_OK && code != Z_BUF_ERROR) /* the latter: cut off, see below */
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: its gzip data are damaged: %s", f->path,
                            without_name(why));
    if (done < n)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: truncated: %" PRId64 " bytes, expected %" PRId64, f->path, done,
                            n);
    return WEFT_OK;
}

static uint32_t big_endian(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static weft_status read_header(idx_file *f, int rank, weft_error *err)
{
    unsigned char header[16];
    WF_TRY(read_exactly(f, header, 4, err));
    uint32_t magic = big_endian(header), wanted = 0x800u + (uint32_t)rank;
    if (magic != wanted)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: not an IDX file of %s: magic number 0x%08" PRIx32
                            ", expected 0x%08" PRIx32,
                            f->path, rank == 3 ? "images" : "labels", magic, wanted);
    WF_TRY(read_exactly(f, header + 4, 4 * rank, err));
    f->count = 1;
    for (int i = 0; i < 3; i++) {
        f->dims[i] = i < rank ? big_endian(header + 4 + 4 * i) : 1;
        if (f->dims[i] == 0)
            return wf_error_set(err, WEFT_ERR_FORMAT, "%s: dimension %d is 0, expected at least 1",
                                f->path, i);
        if (__builtin_mul_overflow(f->count, f->dims[i], &f->count))
            return wf_error_set(err, WEFT_ERR_FORMAT,
                                "%s: dimension %d is %" PRId64
                                ": all dimensions together are more bytes than a file can have",
                                f->path, i, f->dims[i]);
    }
    if (f->count / MAX_DEFLATE > f->size)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: truncated or damaged: its header promises %" PRId64
                            " bytes, which a file of %" PRId64 " bytes cannot hold",
                            f->path, f->count, f->size);
    return WEFT_OK;
}

static weft_status read_payload(idx_file *f, weft_error *err)
{
    f->bytes = wf_alloc((size_t)f->count);
    if (!f->bytes)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory for %" PRId64 " bytes", f->path,
                            f->count);
    WF_TRY(read_exactly(f, f->bytes, f->count, err));
    /* There must be no further byte. Trying to read one also checks gzip's CRC. */
    char extra;
    int got = gzread(f->gz, &extra, 1);
    if (got > 0)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: longer than its header says, expected %" PRId64 " bytes", f->path,
                            f->count);
    return read_exactly(f, &extra, 0, err);
}

static weft_status read_file(const char *path, int rank, idx_file *f, weft_error *err)
{
    int fd;
    snprintf(f->path, sizeof f->path, "%s", path);
    WF_TRY(wf_open_regular(path, 0, &fd, &f->size, err));
    f->gz = gzdopen(fd, "rb");
    if (!f->gz) {
        close(fd);
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", f->path);
    }
    gzbuffer(f->gz, 1 << 17);
    WF_TRY(read_header(f, rank, err));
    return read_payload(f, err);
}

/* ---- labels and classes --------------------------------------------------------------------- */

/* The labels of a split. */
typedef struct label_range {
    int lowest, highest;
    int64_t first_highest; /* the first sample that has it */
} label_range;

static label_range range_of(const idx_file *labels)
{
    label_range r = {.lowest = 255, .highest = -1};
    for (int64_t i = 0; i < labels->dims[0]; i++) {
        int label = labels->bytes[i];
        r.lowest = label < r.lowest ? label : r.lowest;
        if (label > r.highest) {
            r.highest = label;
            r.first_highest = i;
        }
    }
    return r;
}

/* Extends the range by the labels of the other split, if it exists. */
static weft_status add_other(const wf_idx_files *files, weft_split split, label_range *range,
                             weft_error *err)
{
    const char *path = files->labels[split == WEFT_SPLIT_TRAIN ? WEFT_SPLIT_TEST : 0];
    idx_file other = {0};
    if (!path[0])
        return WEFT_OK;
    weft_status status = read_file(path, 1, &other, err);
    if (status == WEFT_OK) {
        label_range r = range_of(&other);
        range->lowest = r.lowest < range->lowest ? r.lowest : range->lowest;
        range->highest = r.highest > range->highest ? r.highest : range->highest;
    }
    idx_done(&other);
    return status;
}

/* Reads classes.txt beside `images`. NULL where there is none, or where reading fails (*status). */
static char *read_names(const char *images, char path[PATH_MAX], weft_status *status,
                        weft_error *err)
{
    enum { MOST = 1 << 14 };
    int folder = (int)(strrchr(images, '/') - images);
    *status = WEFT_OK;
    if (snprintf(path, PATH_MAX, "%.*s/classes.txt", folder, images) >= PATH_MAX ||
        access(path, F_OK) != 0)
        return NULL;
    FILE *in;
    *status = wf_fopen_regular(path, 0, &in, err);
    if (*status != WEFT_OK)
        return NULL;
    size_t n;
    char *text = wf_zalloc(MOST + 1);
    if (!text)
        *status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    else if ((n = fread(text, 1, MOST, in)) == MOST || ferror(in) || strlen(text) != n)
        *status = wf_error_set(err, WEFT_ERR_FORMAT,
                               "%s: expected a list of at most 256 names, one a line", path);
    fclose(in);
    if (*status == WEFT_OK)
        return text;
    wf_free(text);
    return NULL;
}

/* Recognises Fashion-MNIST by its labels: their number and zlib's CRC-32. */
static const char *fashion_names(const idx_file *labels)
{
    static const char names[] = "T-shirt/top\nTrouser\nPullover\nDress\nCoat\nSandal\nShirt\n"
                                "Sneaker\nBag\nAnkle boot\n";
    static const struct {
        int64_t count;
        unsigned long crc;
    } splits[] = {{60000, 0x2ed6e46a}, {10000, 0x242bc73f}};
    unsigned long crc = crc32(0, labels->bytes, (unsigned)labels->count);
    for (int i = 0; i < 2; i++)
        if (labels->count == splits[i].count && crc == splits[i].crc)
            return names;
    return NULL;
}

/* ---- the directory -------------------------------------------------------------------------- */

/* Makes the data set from both files. `names`: one per line, or NULL; `where` says where they come
 * from. */
static weft_status combine(idx_file *images, const idx_file *labels, label_range range,
                           const char *names, const char *where, weft_dataset **ds, weft_error *err)
{
    int64_t n = images->dims[0];
    size_t sample_bytes;
    WF_TRY(wf_dataset_geometry(images->path, n, 1, images->dims[1], images->dims[2], WEFT_U8,
                               &sample_bytes, err));
    int classes = names ? (int)wf_count_names(names) : range.highest + 1;
    /* the names are for labels from 1 up */
    int first = range.lowest > 0 && range.highest == classes;
    if (classes < 1)
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: holds no names, expected one a line", where);
    if (range.highest - first >= classes)
        return wf_error_set(
            err, WEFT_ERR_FORMAT,
            "%s: label %d of sample %" PRId64 " is out of range, expected 0 to %d: %s has %d names",
            labels->path, range.highest, range.first_highest, classes - 1, where, classes);
    int64_t *wide = wf_alloc_array((size_t)n, sizeof *wide);
    if (!wide)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", labels->path);
    for (int64_t i = 0; i < n; i++)
        wide[i] = labels->bytes[i] - first;
    const weft_dataset_arrays arrays = {
        n, 1, (int)images->dims[1], (int)images->dims[2], classes, WEFT_U8, images->bytes};
    void *owner = images->bytes;
    images->bytes = NULL; /* the data set owns them now */
    weft_dataset *d = NULL;
    weft_status status = wf_dataset_over(&arrays, wide, images->path, owner, wf_free, &d, err);
    wf_free(wide);
    if (status == WEFT_OK)
        d->classes_declared = names != NULL;
    if (status == WEFT_OK && names)
        status = wf_dataset_set_names(d, names, where, err);
    if (status == WEFT_OK)
        *ds = d;
    else
        weft_dataset_destroy(d);
    return status;
}

static weft_status open_split(const wf_idx_files *files, weft_split split, weft_dataset **ds,
                              weft_error *err)
{
    int which = split == WEFT_SPLIT_TRAIN ? WEFT_SPLIT_TRAIN : WEFT_SPLIT_TEST;
    idx_file images = {0}, labels = {0};
    char where[PATH_MAX] = "", *text = NULL;
    weft_status status = read_file(files->images[which], 3, &images, err);
    if (status == WEFT_OK)
        status = read_file(files->labels[which], 1, &labels, err);
    if (status == WEFT_OK && images.dims[0] != labels.dims[0])
        status = wf_error_set(err, WEFT_ERR_FORMAT,
                              "%s: %" PRId64 " labels for the %" PRId64 " images of %s",
                              labels.path, labels.dims[0], images.dims[0], images.path);
    label_range range = {0};
    if (status == WEFT_OK) {
        range = range_of(&labels);
        text = read_names(images.path, where, &status, err);
    }
    const char *names = text ? text : status == WEFT_OK ? fashion_names(&labels) : NULL;
    if (status == WEFT_OK)
        status = add_other(files, split, &range, err);
    if (status == WEFT_OK)
        status = combine(&images, &labels, range, names, where, ds, err);
    wf_free(text);
    idx_done(&images);
    idx_done(&labels);
    return status;
}

static weft_status open_idx(const weft_dataset_opts *o, wf_path_kind kind, bool *there,
                            weft_dataset **ds, weft_error *err)
{
    const char *path = o->path;
    const weft_split split = o->split;
    *there = false;
    if (kind == WF_PATH_FILE)
        return WEFT_OK;
    wf_idx_files *files = wf_zalloc(sizeof *files); /* too large for a thread's stack */
    if (!files)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    weft_status status = wf_idx_find(path, files, there, err);
    if (status == WEFT_OK && *there && split == WEFT_SPLIT_VAL) { /* these sets have none */
        wf_free(files);
        return WEFT_OK;
    }
    if (status == WEFT_OK && *there)
        status = wf_idx_need(path, files, split, err);
    if (status == WEFT_OK && *there)
        status = open_split(files, split, ds, err);
    wf_free(files);
    return status;
}

const wf_data_format wf_format_idx = {"-images-idx3-ubyte, with or without .gz", open_idx};
