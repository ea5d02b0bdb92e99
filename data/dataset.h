/* What a data set is inside this room: its geometry, and a function that gives one sample.
 *
 * A format (data/formats) fills this struct. An open data set is immutable; any number of threads
 * may call view at once. */
#ifndef WF_DATA_DATASET_H
#define WF_DATA_DATASET_H

#include "weft/data.h"

struct weft_dataset {
    weft_dataset_info info;
    size_t sample_bytes; /* bytes of one sample's pixels */
    /* Points *pixels at the pixels of sample `index` (C, H, W), aligned for their type: in the data
     * set, or in `scratch` (sample_bytes, aligned for any type). */
    weft_status (*view)(const weft_dataset *ds, int64_t index, void *scratch, const void **pixels,
                        int64_t *label, weft_error *err);
    const unsigned char *images; /* arrays: (N, C, H, W); may be unaligned */
    int64_t *labels;             /* arrays: (N); NULL: none. Owned. */
    char *source;                /* info.source. Owned. */
    char *name_text;       /* text that info.class_names point into. Owned; NULL: someone else's */
    const char **names;    /* info.class_names. Owned; NULL: someone else's */
    bool classes_declared; /* the number of classes was given, not found from the labels */
    uint64_t key;          /* synthetic: differs between training and test */
    void *owner;           /* owns `images`; release(owner) frees it */
    void (*release)(void *owner);
};

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
