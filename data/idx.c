/* IDX directories: MNIST, Fashion-MNIST and what else has their four files and ten classes.
 *
 * A file is a big-endian magic number (two zero bytes, the type 8 for u8, the number of
 * dimensions), the dimensions, the bytes. Source: http://yann.lecun.com/exdb/mnist. zlib reads the
 * gzipped and the plain alike. Files are hostile input: nothing is allocated that the file's
 * length cannot hold. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "data/dataset.h"
#include "engine/context/error.h"
#include "engine/memory/alloc.h"

#define IDX_CLASSES 10
#define MAX_DEFLATE 1032 /* deflate cannot do better than this ratio */

static const char *const fashion_names[IDX_CLASSES] = {
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

/* Where the files may be: in the directory named, or where torchvision puts them below it. */
static const char *const folders[] = {"", "FashionMNIST/raw/", "MNIST/raw/"};

/* Where `name` or `name`.gz is under dir. */
static bool find(const char *dir, const char *name, char path[PATH_MAX])
{
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        for (int gz = 0; gz < 2; gz++) {
            int n = snprintf(path, PATH_MAX, "%s/%s%s%s", dir, folders[i], name, gz ? ".gz" : "");
            if (n < PATH_MAX && access(path, F_OK) == 0)
                return true;
        }
    return false;
}

bool wf_idx_is_there(const char *dir)
{
    char path[PATH_MAX];
    return find(dir, "train-images-idx3-ubyte", path) || find(dir, "t10k-images-idx3-ubyte", path);
}

/* ---- one file ------------------------------------------------------------------------------- */

typedef struct idx_file {
    char path[PATH_MAX];
    gzFile gz;
    int64_t size;    /* on disk */
    int64_t dims[3]; /* 1 for those it does not have */
    int64_t count;   /* bytes of payload */
    unsigned char *bytes;
} idx_file;

static void idx_done(idx_file *f)
{
    if (f->gz)
        gzclose_r(f->gz);
    wf_free(f->bytes);
}

/* Reads exactly n bytes, or says what came instead. */
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
        return wf_error_set(err, WEFT_ERR_FORMAT, "%s: damaged gzip data: %s", f->path, why);
    if (done < n)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: truncated: %" PRId64 " bytes where %" PRId64 " are needed",
                            f->path, done, n);
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
        if (f->dims[i] == 0 || __builtin_mul_overflow(f->count, f->dims[i], &f->count))
            return wf_error_set(err, WEFT_ERR_FORMAT,
                                "%s: dimension %d is %" PRId64 ", which makes no sense", f->path, i,
                                f->dims[i]);
    }
    if (f->count / MAX_DEFLATE > f->size)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: truncated or damaged: its header speaks of %" PRId64
                            " bytes, the file has %" PRId64,
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
    /* One byte more must be the end; looking for it also checks gzip's CRC. */
    char extra;
    int got = gzread(f->gz, &extra, 1);
    if (got > 0)
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: more bytes than its header says (%" PRId64 ")", f->path, f->count);
    return read_exactly(f, &extra, 0, err);
}

static weft_status read_file(const char *dir, const char *name, int rank, idx_file *f,
                             weft_error *err)
{
    struct stat st;
    if (!find(dir, name, f->path))
        return wf_error_set(err, WEFT_ERR_NOT_FOUND, "%s: has no %s, with or without .gz", dir,
                            name);
    f->gz = gzopen(f->path, "rbe");
    if (!f->gz || stat(f->path, &st) != 0)
        return wf_error_set(err, WEFT_ERR_IO, "%s: cannot be read: %s", f->path, strerror(errno));
    gzbuffer(f->gz, 1 << 17);
    f->size = st.st_size;
    WF_TRY(read_header(f, rank, err));
    return read_payload(f, err);
}

/* ---- the directory -------------------------------------------------------------------------- */

static weft_status combine(idx_file *images, const idx_file *labels, weft_dataset **ds,
                           weft_error *err)
{
    int64_t n = images->dims[0];
    if (n != labels->dims[0])
        return wf_error_set(err, WEFT_ERR_FORMAT,
                            "%s: %" PRId64 " labels for the %" PRId64 " images of %s", labels->path,
                            labels->dims[0], n, images->path);
    size_t sample_bytes;
    WF_TRY(wf_dataset_geometry(images->path, n, 1, images->dims[1], images->dims[2], WEFT_U8,
                               &sample_bytes, err));
    for (int64_t i = 0; i < n; i++)
        if (labels->bytes[i] >= IDX_CLASSES)
            return wf_error_set(err, WEFT_ERR_FORMAT,
                                "%s: label %d of sample %" PRId64 " is out of range (0 to %d)",
                                labels->path, labels->bytes[i], i, IDX_CLASSES - 1);
    int64_t *wide = wf_alloc_array((size_t)n, sizeof *wide);
    if (!wide)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", labels->path);
    for (int64_t i = 0; i < n; i++)
        wide[i] = labels->bytes[i];
    const weft_dataset_arrays arrays = {
        n, 1, (int)images->dims[1], (int)images->dims[2], IDX_CLASSES, WEFT_U8, images->bytes};
    void *owner = images->bytes;
    images->bytes = NULL; /* the data set's now */
    weft_status status = wf_dataset_over(&arrays, wide, images->path, owner, wf_free, ds, err);
    wf_free(wide);
    return status;
}

/* The names in classes.txt beside the images, else Fashion-MNIST's where their place says so: the
 * files do not tell which of the family they are. */
static weft_status name_classes(const char *images, weft_dataset *ds, weft_error *err)
{
    enum { MOST = 1 << 14 };
    char path[PATH_MAX], *text = NULL;
    int folder = (int)(strrchr(images, '/') - images);
    if (snprintf(path, sizeof path, "%.*s/classes.txt", folder, images) >= PATH_MAX ||
        access(path, F_OK) != 0) {
        if (strcasestr(images, "fashion"))
            ds->info.class_names = fashion_names;
        return WEFT_OK;
    }
    FILE *in = fopen(path, "re");
    if (!in)
        return wf_error_set(err, WEFT_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
    weft_status status = WEFT_OK;
    text = wf_zalloc(MOST + 1);
    if (!text)
        status = wf_error_set(err, WEFT_ERR_NOMEM, "%s: out of memory", path);
    else if (fread(text, 1, MOST, in) == MOST || ferror(in))
        status =
            wf_error_set(err, WEFT_ERR_FORMAT, "%s: not a list of %d names", path, IDX_CLASSES);
    if (status == WEFT_OK)
        status = wf_dataset_set_names(ds, text, path, err);
    fclose(in);
    wf_free(text);
    return status;
}

weft_status wf_idx_open(const char *dir, weft_split split, weft_dataset **ds, weft_error *err)
{
    bool train = split == WEFT_SPLIT_TRAIN;
    idx_file images = {0}, labels = {0};
    weft_dataset *d = NULL;
    weft_status status = read_file(
        dir, train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte", 3, &images, err);
    if (status == WEFT_OK)
        status = read_file(dir, train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte", 1,
                           &labels, err);
    if (status == WEFT_OK)
        status = combine(&images, &labels, &d, err);
    if (status == WEFT_OK)
        status = name_classes(images.path, d, err);
    if (status == WEFT_OK)
        *ds = d;
    else
        weft_dataset_destroy(d);
    idx_done(&images);
    idx_done(&labels);
    return status;
}
