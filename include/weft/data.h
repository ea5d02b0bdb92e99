/* Data sets, and the loader that makes normalised batches of them.
 *
 * Shape letters: N samples, C channels, H height, W width. Random numbers depend on seed, epoch and
 * sample alone, so batches have the same bits for any number of loader threads. */
#ifndef WEFT_DATA_H
#define WEFT_DATA_H

#include "weft/tensor.h"
#include "weft/transform.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- data sets -------------------------------------------------------------------------------
 * Immutable once open; any number of threads may read one. */

typedef struct weft_dataset
    weft_dataset; /* samples: an image each, and a label where there are any */

/* Which samples of a source to open. */
typedef enum weft_split {
    WEFT_SPLIT_TRAIN,   /* those to train on */
    WEFT_SPLIT_TEST,    /* those to test on */
    WEFT_SPLIT_PREDICT, /* as TEST; labels may be missing, or all of them -1: they read as -1 */
    WEFT_SPLIT_VAL      /* those to choose the best weights on */
} weft_split;

/* What a data set is. */
typedef struct weft_dataset_info {
    int64_t count; /* samples, at least 1 */
    int channels;  /* of every image */
    /* Of every image; 0 where the sizes of pictures vary, until weft_dataset_look_through. */
    int height, width;
    int classes;                    /* labels are 0 .. classes-1; 0: no labels */
    weft_dtype dtype;               /* of the stored pixels: u8 (0..255 stands for 0..1) or f32 */
    bool only_split;                /* the source has one split, for training and testing alike */
    const char *const *class_names; /* `classes` of them; NULL: not known */
    const char *source;             /* what was opened, as text for people */
    weft_split split;            /* which samples these are. TEST is VAL or TRAIN where the source
                                       has no other test images */
    bool pictures;               /* picture files, decoded when they are asked for */
    bool sizes_vary;             /* of pictures: then a loader needs a transform */
    bool mirrors;                /* an image and its mirror image show the same: photographs do */
    const char *layout;          /* of .npy arrays: "(N,H,W,C)", ...; NULL: not asked */
    int64_t left_out;            /* files that are hidden, or no pictures */
    int64_t oriented, looked_at; /* how many of the pictures looked at have an EXIF orientation */
} weft_dataset_info;

/* What to open, and how. Zeros but path are defaults. */
typedef struct weft_dataset_opts {
    const char *path; /* see weft_dataset_open */
    /* Instead of path, with WEFT_SPLIT_PREDICT: pictures in n_files files; a folder among them
     * stands for the pictures in it and below it. NULL: path counts. */
    const char *const *files;
    int64_t n_files;
    weft_split split; /* which samples */
    /* Keeps this share of each class's training samples apart, as the validation samples: 0 .. 1,
     * which ones depends on seed alone. 0: none; then WEFT_SPLIT_VAL is an error, unless the source
     * has validation samples of its own. */
    double val_split;
    uint64_t seed;
    int channels;       /* 1 or 3: converts as PIL's convert("L") and convert("RGB"); 0: as stored,
                           pictures of several sizes as 3 */
    bool exif;          /* turn pictures as their EXIF orientation says */
    int64_t max_pixels; /* larger pictures are refused; 0: 178956970, PIL's limit */
    bool coarse;        /* CIFAR-100: the 20 coarse labels, not the 100 fine ones */
    /* Where indexes of folders and archives are kept. NULL: $XDG_CACHE_HOME/weft or ~/.cache/weft,
     * for sources of 10000 files and more; "": nowhere. */
    const char *index_folder;
    /* Keeps the bytes of pictures that have been read: in memory ("ram"), or in an unnamed file in
     * this folder, which should be on a disk of this machine. NULL: not. */
    const char *cache;
    /* Files that are not there are no error of opening, but of reading, as in lists: a loader that
     * skips bad images (WEFT_BAD_SKIP) leaves them out. */
    bool files_may_miss;
} weft_dataset_opts;
#define WEFT_DATASET_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* Opens a data set. `path` is one of these:
 *   A directory with train.safetensors and test.safetensors, perhaps val.safetensors.
 *   A directory with four IDX files as MNIST has them: train-images-idx3-ubyte or
 *     train-images.idx3-ubyte, t10k or test, and so on, .gz or not. File names may have a
 *     beginning of their own, as emnist-letters-train-images-idx3-ubyte does. Where a directory
 *     has several such sets, put that beginning behind the directory: DIR/emnist-letters. Names of
 *     classes come from classes.txt beside the files, one a line; Fashion-MNIST is recognised by
 *     its labels. Without names the number of classes is the highest label of both splits + 1. If
 *     no label is 0 and there are as many names as the highest label, labels count from 1, and are
 *     lowered by 1.
 *   A safetensors file with "images" (N,C,H,W; u8 or f32) and "labels" (i64, N), and perhaps
 *     "test_images" and "test_labels". WEFT_SPLIT_PREDICT needs no labels. The metadata entry
 *     "class_names" has the names, one a line. The number of classes is the entry "classes", else
 *     the number of names, else the largest label + 1.
 *   A directory of class folders, as torchvision's ImageFolder: a folder a class, with pictures in
 *     it or below it. Classes are in Python's order of the folders' names. Or a directory with such
 *     a directory for each split: train, then val, valid or validation, and test. Hidden files and
 *     files that do not end as pictures do are left out.
 *   A directory with CIFAR-10's or CIFAR-100's binary files (data_batch_1.bin, train.bin, ...), or
 *     STL-10's (train_X.bin, train_y.bin, ...), or the directory above it as the archive unpacks.
 *   A .npz file, or a directory of .npy files, with train_images and train_labels, perhaps val_ and
 *     test_ (MedMNIST's names), or x_train and y_train, x_test and y_test. Images are u8 or f32,
 *     (N,H,W), (N,H,W,C) or (N,C,H,W). A .npy file of images, for WEFT_SPLIT_PREDICT.
 *   A list of pictures: a text file (.csv, .tsv, .txt) of lines "path,label" or "path<tab>label",
 *     paths beside it or below it; labels are whole numbers, or names. Or a directory with
 *     train.csv, and val.csv or test.csv.
 *   Tar shards as webdataset has them: a .tar file, a directory of them, or a name with a range,
 *     DIR/train-{000000..000099}.tar. A sample is the files of one key: a picture, and key.cls with
 *     its label or key.json with "label" or "cls". In a directory, splits are told by the beginning
 *     of names, train, val or test, or by directories of such names.
 *   synthetic:CxHxW:classes[:count], made-up images that can be learned: `count` for training (4096
 *     if it is left out), a quarter as many for testing.
 *
 * Files must be regular files, not pipes or devices. IDX images are read into memory. Those of a
 * safetensors file, and pictures, are read one by one while the data set is open, so files must not
 * change. On failure *ds is untouched and err (may be NULL) says what is wrong with which file; if
 * there are no data, it says where to get them. */
weft_status weft_dataset_open(const char *path, weft_split split, weft_dataset **ds,
                              weft_error *err);
/* The same with options. */
weft_status weft_dataset_open_with(const weft_dataset_opts *opts, weft_dataset **ds,
                                   weft_error *err);
/* How weft_dataset_get shows pictures, and must be told where their sizes vary: through this
 * transform (copied), without its random steps. info's height and width become the transform's. Call it
 * before you make a loader. WEFT_ERR_INVALID for a transform out of range. */
weft_status weft_dataset_look_through(weft_dataset *ds, const weft_transform *transform,
                                      weft_error *err);

/* Samples in arrays of the caller's. */
typedef struct weft_dataset_arrays {
    int64_t count;               /* samples */
    int channels, height, width; /* of every image */
    int classes;                 /* 0: the largest label + 1 */
    weft_dtype dtype;            /* of images: WEFT_U8 or WEFT_F32 */
    const void *images;          /* (N, C, H, W) */
    const int64_t *labels;       /* (N), checked; NULL, or all of them -1: none */
} weft_dataset_arrays;
/* A data set over such arrays, which must outlive it. */
weft_status weft_dataset_from_arrays(const weft_dataset_arrays *arrays, weft_dataset **ds,
                                     weft_error *err);
void weft_dataset_destroy(weft_dataset *ds); /* NULL: no effect */

/* What the data set is; valid as long as it is. */
const weft_dataset_info *weft_dataset_get_info(const weft_dataset *ds);
/* Copies sample `index`: pixels (C, H, W; the data set's dtype) and label; either may be NULL.
 * Pixels of a data set whose sizes vary need weft_dataset_look_through. */
weft_status weft_dataset_get(const weft_dataset *ds, int64_t index, void *pixels, int64_t *label,
                             weft_error *err);
/* Writes what sample `index` is called into text (at most size bytes, terminated): the path of its
 * file, or the source and the sample's number. Returns text; "" for an index out of range. */
char *weft_dataset_sample_name(const weft_dataset *ds, int64_t index, char *text, size_t size);
/* Computes mean and standard deviation of each channel (C values each) over all samples, with u8
 * pixels scaled to 0..1. Use the training split's values for testing, too. Reads all data once; of
 * pictures at most 65536 whose sizes are alike, at most 512 others, spread over all. Pictures that
 * are damaged or have vanished are left out; it is an error where no other is left. */
weft_status weft_dataset_mean_std(const weft_dataset *ds, float *mean, float *std, weft_error *err);

/* ---- before training -------------------------------------------------------------------------
 * Mistakes in data that can be found before anything is trained on them. */

/* Checks that test images fit training images: the same size (of pictures they may differ) and type, and
 * no label outside the training data's classes, or outside `classes` if that is more (0: it is not). An error says what
 * differs, and at which image. */
weft_status weft_dataset_check_splits(const weft_dataset *train, const weft_dataset *test,
                                      int classes, weft_error *err);

/* Renumbers the labels of ds so that they follow `names`, n class names of other data or of
 * trained weights. ds may have the same names in another order, or some of them; it then has n
 * classes with these names. If ds has a name that is not among them, the error shows both lists;
 * it calls the other one `where`. *moved becomes true if labels changed. Without names in ds: no
 * effect. No other function changes a data set; call it before you make a loader. */
weft_status weft_dataset_follow_names(weft_dataset *ds, const char *const *names, int n,
                                      const char *where, bool *moved, weft_error *err);

/* Reads n weights of classes from a text file: a number that is not negative on each line, class 0
 * first. On failure weights (n) is untouched. */
weft_status weft_class_weights_read(const char *path, float *weights, int n, weft_error *err);

/* Receives a likely mistake, as a sentence without a full stop. */
typedef void (*weft_note_fn)(void *user, const char *text);
/* Looks for likely mistakes in training data and calls note for each: labels that count from 1,
 * classes without images, all images of one class, two classes of the same name, channels as the
 * last dimension, f32 pixels in 0..255 or not finite, test images (NULL: none) that are the
 * training images. A label so high that almost no lower one is used is an error, unless the data
 * say how many classes there are. Reads all labels, and at most about 1 GiB of f32 pixels. */
weft_status weft_dataset_check_training(const weft_dataset *train, const weft_dataset *test,
                                        weft_note_fn note, void *user, weft_error *err);

/* ---- loader ----------------------------------------------------------------------------------
 * One thread at a time may use a loader. A loader with threads works only in the process that
 * created it. In a child made by fork it can only be destroyed; other calls fail with
 * WEFT_ERR_STATE. */

typedef struct weft_loader weft_loader; /* makes the batches of a data set, epoch by epoch */

/* What becomes of pictures that are damaged or have vanished. */
typedef enum weft_bad_images {
    WEFT_BAD_STOP, /* the batch's turn is an error that names the first one */
    WEFT_BAD_SKIP  /* they are left out. With drop_last, batches stay full: the next good sample of
                      the epoch's order stands in */
} weft_bad_images;

/* Which samples an epoch has, and how often. */
typedef enum weft_sampler {
    WEFT_SAMPLE_ALL,      /* each once */
    WEFT_SAMPLE_BALANCED, /* as many as there are, drawn with replacement: a class that has samples,
                             all alike, then one of its samples */
    WEFT_SAMPLE_REPEATED  /* torchvision's RASampler: `repeats` draws of each in a row, of which an
                             epoch takes as many as there are samples, in whole 256s if there are
                             256 (Hoffer et al. 2019; Touvron et al. 2021) */
} weft_sampler;

#define WEFT_WORKERS_AUTO (-1) /* weft_loader_opts.workers: as many as it takes */

/* How a loader makes batches. All zeros but batch are defaults. */
typedef struct weft_loader_opts {
    int64_t batch;  /* samples in a batch */
    int workers;    /* threads that prepare batches in advance; 0: the caller's thread does it;
                          WEFT_WORKERS_AUTO: one, and more while batches come too late, at most one
                          for each CPU they may use */
    int ahead;      /* batches prepared in advance; 0 reads as workers + 1; as 2 for pictures, for
                          transforms and for WEFT_WORKERS_AUTO, where all threads share a batch */
    bool shuffle;   /* a new permutation each epoch */
    bool drop_last; /* leave out a last batch that is not full */
    uint64_t seed;  /* of shuffling and augmentation */
    double hflip;   /* mirror images (left for right) with this probability */
    int shift;      /* move images by up to so many pixels each way; the gap is black, that is 0
                          before normalisation */
    const float *mean; /* of each channel (C); NULL: 0. Copied. */
    const float *std;  /* of each channel (C), not negative; NULL: 1; a 0 counts as 1. Copied. */
    bool bytes;        /* u8 pixels stay u8, a quarter of the memory. Then the user of the batch
                          normalises (weft_normalize_images), as weft_train does */
    /* The CPUs that its threads may use, a cpu_set_t of so many bytes. NULL: those of the thread
     * that creates the loader and, if that is bound, of OpenMP's places. */
    const void *cpu_mask;
    size_t cpu_mask_bytes;

    /* How a picture becomes an image (copied). Needed where sizes vary; may be used on u8 pixels of
     * 1 or 3 channels. hflip and shift must be 0 then. mixup and cutmix need `bytes`. */
    const weft_transform *transform;
    bool fast_decode;    /* JPEGs much larger than the transform's result are decoded at 1/2, 1/4 or
                            1/8 of their size: faster, other pixels */
    weft_bad_images bad; /* damaged pictures */
    weft_sampler sampler; /* which samples an epoch has */
    int repeats;          /* of WEFT_SAMPLE_REPEATED; 0 reads as 3, torchvision's default */
    int classes;          /* columns of targets; 0: the data set's classes */
} weft_loader_opts;
#define WEFT_LOADER_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* A batch; valid until the next call on its loader. `images` starts on a multiple of 64 bytes. */
typedef struct weft_batch {
    int64_t count;          /* samples; fewer than opts.batch only in a last batch; 0: no more */
    int64_t index;          /* of the batch in its epoch */
    weft_dtype dtype;       /* of images: f32; u8 if the data set is u8 and opts.bytes is set */
    const void *images;     /* (count, C, H, W): f32 is (x - mean) / std, with u8 pixels in 0..1 */
    const int64_t *labels;  /* (count) */
    const int64_t *samples; /* (count): which samples of the data set */
    /* (count, classes): the classes' shares in each image, where the transform mixes images; else
     * NULL. labels are those of the images before mixing. */
    const float *targets;
} weft_batch;

/* A new loader, at the start of epoch 0, with all the memory and threads that it will ever use.
 * The data set must outlive it. Fails for options out of range, and when drop_last would leave no
 * batch. */
weft_status weft_loader_create(const weft_dataset *ds, const weft_loader_opts *opts,
                               weft_loader **loader, weft_error *err);
void weft_loader_destroy(weft_loader *loader); /* at any point; NULL: no effect */

int64_t weft_loader_batches(const weft_loader *loader);    /* batches in each epoch */
int64_t weft_loader_batch_size(const weft_loader *loader); /* samples of a full batch */
weft_dtype weft_loader_dtype(const weft_loader *loader);   /* of its batches' images */
size_t
weft_loader_memory(const weft_loader *loader); /* bytes that it grows to, about; 0 for NULL */
/* The data set that it loads, and weft_dataset_get_info of that; with a transform, height and width
 * are those of its result. Valid as long as the loader. */
const weft_dataset *weft_loader_get_dataset(const weft_loader *loader);
const weft_dataset_info *weft_loader_get_info(const weft_loader *loader);
/* How many threads prepare batches now; WEFT_WORKERS_AUTO changes it. */
int weft_loader_workers(const weft_loader *loader);
/* Columns of its batches' targets; 0: they have none. */
int weft_loader_classes(const weft_loader *loader);
/* How many samples WEFT_BAD_SKIP has met so far that it leaves out. *first (may be NULL) becomes
 * what is wrong with the first met, or NULL; valid as long as the loader. */
int64_t weft_loader_left_out(const weft_loader *loader, const char **first);
/* Mean and deviation (C values each) that f32 batches are normalised with, and that the user of u8
 * batches should normalise with. Valid as long as the loader. */
void weft_loader_get_normalization(const weft_loader *loader, const float **mean,
                                   const float **std);
/* Goes to batch `first_batch` (0 .. batches) of an epoch, whether or not the present epoch is
 * over: to start an epoch, or to continue a run. */
weft_status weft_loader_start(weft_loader *loader, int64_t epoch, int64_t first_batch,
                              weft_error *err);
/* The next batch in *batch; its count is 0 after the last one of the epoch. If a loader thread
 * failed, this call returns its error when the batch's turn comes, and again until
 * weft_loader_start. */
weft_status weft_loader_next(weft_loader *loader, weft_batch *batch, weft_error *err);

/* ---- packing ---------------------------------------------------------------------------------
 * A data set in fewer, larger files, for file systems that are slow at opening many. */

/* Called as samples are packed. Return false to stop: the call then returns
 * WEFT_ERR_INTERRUPTED. */
typedef bool (*weft_pack_fn)(void *user, int64_t done, int64_t count);
/* How to pack. Zeros are defaults. */
typedef struct weft_pack_opts {
    int64_t shard_bytes; /* bytes of a shard at most, but for one large picture; 0: 256 MiB */
    const weft_transform *transform; /* of pixels; NULL: the images have one size already */
    int workers;                     /* threads that decode pixels, as a loader's */
    weft_pack_fn progress;           /* or NULL */
    void *user;                      /* given to it */
} weft_pack_opts;
#define WEFT_PACK_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

/* Writes the picture files of a data set into tar shards, FOLDER/SPLIT-000000.tar and so on, which
 * weft_dataset_open reads, as webdataset does: 00000042.jpg, 00000042.cls. The names of classes go
 * to FOLDER/classes.txt. *shards (may be NULL) becomes their number. opts may be NULL. After a
 * failure the shards before it are there, whole. */
weft_status weft_pack_shards(const weft_dataset *ds, const char *folder, const char *split,
                             const weft_pack_opts *opts, int64_t *shards, weft_error *err);
/* Writes the images of a data set into one safetensors file of u8 pixels, which weft_dataset_open
 * reads without decoding. opts may be NULL where all images have one size. A picture that cannot
 * be decoded is an error. The file appears whole or not at all. */
weft_status weft_pack_pixels(const weft_dataset *ds, const char *path, const weft_pack_opts *opts,
                             weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
