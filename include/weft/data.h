/* Data sets, and the loader that turns them into normalised batches.
 *
 * Shape letters: N samples, C channels, H height, W width. Everything random is counter-based,
 * keyed by seed, epoch and sample: the same bits for any number of loader threads. */
#ifndef WEFT_DATA_H
#define WEFT_DATA_H

#include "weft/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- data sets -------------------------------------------------------------------------------
 * Immutable once open; any number of threads may read one. */

typedef struct weft_dataset weft_dataset;

typedef enum weft_split {
    WEFT_SPLIT_TRAIN,
    WEFT_SPLIT_TEST,
    WEFT_SPLIT_PREDICT /* as TEST, but labels may be missing, or all of them -1; they read as -1 */
} weft_split;

typedef struct weft_dataset_info {
    int64_t count; /* at least 1 */
    int channels, height, width;
    int classes;      /* labels are 0 .. classes-1; 0: no labels */
    weft_dtype dtype; /* of the stored pixels: u8 (0..255 stands for 0..1) or f32 */
    bool only_split;  /* the source has one split, which serves training and testing alike */
    const char *const *class_names; /* `classes` of them, or NULL: not known */
    const char *source;             /* what was opened, for people */
} weft_dataset_info;

/* Opens a data set. `path` is one of
 *   a directory with train.safetensors and test.safetensors
 *   a directory with the four IDX files of MNIST and its like (train-images-idx3-ubyte or
 *     train-images.idx3-ubyte, t10k or test, and so on, .gz or not). Where their names begin with
 *     something else, as emnist-letters-train-images-idx3-ubyte does, that may be part of the path
 *     (DIR/emnist-letters), and is where a directory has several such sets. The files do not name
 *     their classes: classes.txt beside them does, one a line; Fashion-MNIST is known by its labels.
 *     Without names there are as many classes as the highest label of both splits says, that is the
 *     highest + 1; names that are as many as the highest label, where no label is 0, are for the
 *     labels from 1, which then are lowered by 1
 *   a safetensors file with "images" (N,C,H,W; u8 or f32) and "labels" (i64, N), and optionally
 *     "test_images" and "test_labels". Labels need not be there for WEFT_SPLIT_PREDICT. The number
 *     of classes is the metadata entry "classes" where there is one, else the number of names, else
 *     the largest label + 1; the names are the entry "class_names", one a line
 *   synthetic:CxHxW:classes[:count], made up but learnable: `count` training samples (default
 *     4096), a quarter as many for testing
 * Files are regular files: no pipe, no device. IDX images are read into memory as they are stored;
 * those of a safetensors file are read from it one by one: it must stay as it is.
 * On failure *ds is untouched and err (may be NULL) says what is wrong with which file, and how to
 * get the data where there is none. */
weft_status weft_dataset_open(const char *path, weft_split split, weft_dataset **ds,
                              weft_error *err);

/* A data set over arrays of the caller, which must outlive it. */
typedef struct weft_dataset_arrays {
    int64_t count;
    int channels, height, width;
    int classes;           /* 0: the largest label + 1 */
    weft_dtype dtype;      /* of images: WEFT_U8 or WEFT_F32 */
    const void *images;    /* (N, C, H, W) */
    const int64_t *labels; /* (N), checked; NULL, or all of them -1: none */
} weft_dataset_arrays;
weft_status weft_dataset_from_arrays(const weft_dataset_arrays *arrays, weft_dataset **ds,
                                     weft_error *err);
void weft_dataset_destroy(weft_dataset *ds); /* NULL: no effect */

/* Valid as long as the data set. */
const weft_dataset_info *weft_dataset_get_info(const weft_dataset *ds);
/* Copies sample `index`: pixels (C, H, W; the data set's dtype) and label; either may be NULL. */
weft_status weft_dataset_get(const weft_dataset *ds, int64_t index, void *pixels, int64_t *label,
                             weft_error *err);
/* Mean and standard deviation of each channel (C each) over all samples, u8 pixels scaled to 0..1.
 * Use the training split's for testing too. One pass over the data. */
weft_status weft_dataset_mean_std(const weft_dataset *ds, float *mean, float *std, weft_error *err);

/* ---- before training -------------------------------------------------------------------------
 * What of data can be seen to be wrong before anything is trained on them. */

/* Whether test images can stand beside training images: the same size and type, and no label beyond
 * the training's classes, or beyond `classes` where that is more (0: as the training data have).
 * An error says what differs, and at which image. */
weft_status weft_dataset_check_splits(const weft_dataset *train, const weft_dataset *test,
                                      int classes, weft_error *err);

/* Makes the labels of ds follow `names` (n of them), those of other data or of trained weights: the
 * same names in another order, or some of them, and the labels are renumbered; ds then has n classes
 * of these names. A name of ds that is not among them is an error with both lists, which calls the
 * others' `where`. *moved: labels were renumbered. Without names in ds, no effect. The one call that
 * changes a data set: before any loader is made for it. */
weft_status weft_dataset_follow_names(weft_dataset *ds, const char *const *names, int n,
                                      const char *where, bool *moved, weft_error *err);

/* Called with what is likely a mistake, a sentence without a full stop. */
typedef void (*weft_note_fn)(void *user, const char *text);
/* Looks for likely mistakes in training data: labels from 1, classes without images, all images of
 * one class, two classes of one name, channels in the last place, f32 pixels of 0..255 or not
 * finite, test images (NULL: none) that are the training images. Each is told in one line. A label so
 * high that nearly none below it are used is an error, unless the data say how many classes there
 * are. Passes over the labels and over f32 pixels, of which it reads at most some 1 GiB. */
weft_status weft_dataset_check_training(const weft_dataset *train, const weft_dataset *test,
                                        weft_note_fn note, void *user, weft_error *err);

/* ---- loader ----------------------------------------------------------------------------------
 * Used by one thread at a time. A loader with threads works only in the process that created it: in
 * a child made by fork it is refused (WEFT_ERR_STATE), and can only be destroyed. */

typedef struct weft_loader weft_loader;

typedef struct weft_loader_opts {
    int64_t batch;  /* samples a batch */
    int workers;    /* threads that prepare batches ahead; 0: the caller does it */
    int ahead;      /* batches prepared ahead; 0, which workers cannot do with, reads as
                       workers + 1 */
    bool shuffle;   /* a new permutation each epoch */
    bool drop_last; /* leave out a last batch that is not full (training) */
    uint64_t seed;  /* of shuffling and augmentation */
    double hflip;   /* mirror samples (left for right) with this probability; 0: none */
    int shift;      /* move by up to so many pixels each way, the gap black (0, then normalised) */
    const float *mean;     /* C; NULL: 0. Copied. */
    const float *std;      /* C, none negative; NULL: 1; where 0, 1 is used. Copied. */
    bool bytes;            /* u8 pixels stay u8: a quarter of the memory; whoever takes the batch
                              normalises it (weft_normalize_images), as weft_train does */
    const void *cpu_mask;  /* CPUs its threads may use (a cpu_set_t); NULL: those of the thread */
    size_t cpu_mask_bytes; /*   that creates the loader and of OpenMP's places, where it is bound */
} weft_loader_opts;
/* clang-format off */
#define WEFT_LOADER_OPTS_INIT {0}
/* clang-format on */

/* `images` is 64-byte aligned. Valid until the next call on the loader. */
typedef struct weft_batch {
    int64_t count;      /* samples in it; less than opts.batch only in a last one; 0: no more */
    int64_t index;      /* of the batch in its epoch */
    weft_dtype dtype;   /* of images: f32, or u8 where opts.bytes and the data set are */
    const void *images; /* (count, C, H, W): (x - mean) / std, x in 0..1 for u8 pixels; or bytes */
    const int64_t *labels;  /* (count) */
    const int64_t *samples; /* (count): which samples of the data set */
} weft_batch;

/* All memory and all threads a loader will ever use. The data set must outlive it. Fails when the
 * batch is larger than the data set and drop_last leaves nothing, or for options out of range. The
 * loader stands at the start of epoch 0. */
weft_status weft_loader_create(const weft_dataset *ds, const weft_loader_opts *opts,
                               weft_loader **loader, weft_error *err);
void weft_loader_destroy(weft_loader *loader); /* at any point; NULL: no effect */

int64_t weft_loader_batches(const weft_loader *loader); /* in each epoch */
/* The data set it loads, and what weft_dataset_get_info says of that. */
const weft_dataset *weft_loader_get_dataset(const weft_loader *loader);
const weft_dataset_info *weft_loader_get_info(const weft_loader *loader);
/* (C) each: what f32 batches are normalised with, and batches of u8 are to be. Valid as long as the
 * loader. */
void weft_loader_get_normalization(const weft_loader *loader, const float **mean,
                                   const float **std);
/* Goes to batch `first_batch` (0 .. batches) of an epoch, whatever was left of the present one:
 * how an epoch starts, and how a resumed run continues. */
weft_status weft_loader_start(weft_loader *loader, int64_t epoch, int64_t first_batch,
                              weft_error *err);
/* The next batch; count 0 after the last of the epoch. An error of a loader thread comes here, at
 * the batch it concerns, and stays until the next weft_loader_start. */
weft_status weft_loader_next(weft_loader *loader, weft_batch *batch, weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
