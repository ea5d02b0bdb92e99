/* What a data set is inside this room: its geometry, and a function that gives one sample.
 *
 * A format (data/formats) fills this struct: `view` where it stores pixels, `read` where it stores
 * picture files. An open data set is immutable; any number of threads may call both at once.
 *
 * Note [Stored numbers]. A data set may have some of its source's samples (--val-split). Samples
 * are numbered 0 .. info.count-1 everywhere, but for view, read and labels, which have the numbers
 * of the source: wf_dataset_stored gives them. */
#ifndef WF_DATA_DATASET_H
#define WF_DATA_DATASET_H

#include <limits.h>

#include "data/cache.h"
#include "data/picture/picture.h"
#include "weft/data.h"

/* The name of a sample: its file, or "SOURCE: sample 7". For messages. */
typedef struct wf_sample_name {
    char text[PATH_MAX];
} wf_sample_name;

struct weft_dataset {
    weft_dataset_info info;
    size_t sample_bytes;  /* bytes of one image; 0: sizes vary */
    size_t scratch_bytes; /* what view needs as scratch; 0: sample_bytes */
    /* Pixels. Points *pixels at those of sample `index` (C, H, W), aligned for their type: in the
     * data set, or in `scratch` (aligned for any type). */
    weft_status (*view)(const weft_dataset *ds, int64_t index, void *scratch, const void **pixels,
                        int64_t *label, weft_error *err);
    /* Picture files, where it is not NULL: the bytes of one. WEFT_ERR_NOT_FOUND where it has
     * vanished. */
    weft_status (*read)(const weft_dataset *ds, int64_t index, wf_bytes *bytes, weft_error *err);
    void (*name)(const weft_dataset *ds, int64_t index, wf_sample_name *name);
    wf_decode_opts decode;       /* of pictures */
    const unsigned char *images; /* arrays: (N, C, H, W); may be unaligned */
    int64_t *labels;             /* by stored number; NULL: none. Owned. */
    char *source;                /* info.source. Owned. */
    char *name_text;       /* text that info.class_names point into. Owned; NULL: someone else's */
    const char **names;    /* info.class_names. Owned; NULL: someone else's */
    bool classes_declared; /* the number of classes was given, not found from the labels */
    uint64_t key;          /* synthetic: differs between training and test */
    void *owner;           /* owns `images`; release(owner) frees it */
    void (*release)(void *owner);

    /* What the format leaves to open.c. */
    int64_t *stored;        /* (info.count) stored numbers; NULL: the same. Owned. */
    int64_t stored_count;   /* samples of the source; 0 reads as info.count */
    bool has_val, has_test; /* splits that the source has, whichever was opened */
    int view_channels;      /* what view gives, where it is not info.channels; 0: that */
    weft_transform *look;   /* weft_dataset_look_through. Owned. */
    wf_cache *cache;        /* of picture files; NULL: none. Owned. */
    /* Of the pictures looked at: bytes of a file on average, and pixels of the largest. */
    size_t file_bytes, most_pixels;
};

/* Channels and bytes of an image as view gives it. */
static inline int wf_dataset_view_channels(const weft_dataset *ds)
{
    return ds->view_channels ? ds->view_channels : ds->info.channels;
}
static inline size_t wf_dataset_view_bytes(const weft_dataset *ds)
{
    return ds->sample_bytes / (size_t)ds->info.channels * (size_t)wf_dataset_view_channels(ds);
}

/* Note [Stored numbers] */
static inline int64_t wf_dataset_stored(const weft_dataset *ds, int64_t index)
{
    return ds->stored ? ds->stored[index] : index;
}
/* -1: it has none. */
static inline int64_t wf_dataset_label(const weft_dataset *ds, int64_t index)
{
    return ds->labels ? ds->labels[wf_dataset_stored(ds, index)] : -1;
}
/* The bytes of a picture, from the cache where it has them. */
weft_status wf_dataset_read(const weft_dataset *ds, int64_t index, wf_bytes *bytes,
                            weft_error *err);
wf_sample_name wf_dataset_name(const weft_dataset *ds, int64_t index);

/* A data set of `count` picture files without labels and names; the format fills in the rest. Takes
 * over `owner`, also on failure. */
weft_status wf_dataset_of_pictures(const char *source, int64_t count, void *owner,
                                   void (*release)(void *owner), weft_dataset **ds,
                                   weft_error *err);

/* Makes a data set over arrays. Copies and checks the labels: `labels` replaces arrays->labels (may
 * be unaligned; NULL: none). Labels must be below arrays->classes; if that is 0, the number of
 * classes becomes the largest label + 1. Takes over `owner`, also on failure: then calls release,
 * unless it is NULL. */
weft_status wf_dataset_over(const weft_dataset_arrays *arrays, const void *labels,
                            const char *source, void *owner, void (*release)(void *owner),
                            weft_dataset **ds, weft_error *err);

/* Sets info.class_names from text with one name a line, as many as there are classes. `where` is
 * for the error: what holds the text. Names are quoted (weft_quote): valid UTF-8, fit for
 * output. */
weft_status wf_dataset_set_names(weft_dataset *ds, const char *text, const char *where,
                                 weft_error *err);
/* The same from a list of names, which may hold any bytes. */
weft_status wf_dataset_set_name_list(weft_dataset *ds, const char *const *names, int64_t n,
                                     const char *where, weft_error *err);
/* How many names such a text has. */
int64_t wf_count_names(const char *text);
/* A class name in a message: quoted, and cut to fit. */
typedef struct wf_class_name {
    char text[96];
} wf_class_name;
wf_class_name wf_quote_class(const char *name);

/* Limits of a data set; a file beyond them is damaged or hostile. */
#define WF_MAX_SIDE 65536
#define WF_MAX_CHANNELS 4096
#define WF_MAX_CLASSES (1 << 20)
/* Checks count, channels, height and width against these limits, and gives the bytes of one
 * sample. */
weft_status wf_dataset_geometry(const char *source, int64_t count, int64_t channels, int64_t height,
                                int64_t width, weft_dtype dtype, size_t *sample_bytes,
                                weft_error *err);

#endif
