/* What is wrong with a data set, or odd about it: every sample is read, decoded and compared. */
#ifndef WEFT_INSPECT_H
#define WEFT_INSPECT_H

#include "weft/data.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What may be found about a sample. Those further up are worse. */
typedef enum weft_finding_kind {
    WEFT_FINDING_UNREADABLE, /* its file cannot be read */
    WEFT_FINDING_DAMAGED,    /* its file is damaged, cut short, no picture, or too large */
    WEFT_FINDING_LEAK,       /* it has the pixels of a sample in another split */
    WEFT_FINDING_CONFLICT,  /* it has the pixels of a sample of the same split, and another label */
    WEFT_FINDING_DUPLICATE, /* it has the pixels, and the label, of a sample of the same split */
    WEFT_FINDING_TINY,      /* a side of the picture is short */
    WEFT_FINDING_LONG,      /* one side of the picture is many times the other */
    WEFT_FINDING_KINDS      /* how many kinds there are */
} weft_finding_kind;
/* A kind in a word or two, for people and programs: "damaged", "leak". NULL out of range. */
const char *weft_finding_name(weft_finding_kind kind);

/* One finding. */
typedef struct weft_finding {
    weft_finding_kind kind; /* what it is */
    int split;              /* which of the data sets, from 0 */
    int64_t sample;         /* which of its samples */
    int other_split;        /* of the sample with the same pixels; -1: none */
    int64_t other_sample;   /* which sample that is; -1: none */
} weft_finding;

/* What the samples of one data set are. */
typedef struct weft_inspected_split {
    int64_t samples, decoded; /* how many there are, and how many of them can be used */
    /* Of those decoded: the shortest and the longest, and the one in the middle. */
    int height_min, height_median, height_max, width_min, width_median, width_max;
    int64_t grey;             /* pictures that are stored in grey, though the network may get RGB */
    int64_t oriented;         /* pictures that their EXIF orientation would turn */
    int classes;              /* how many entries per_class has; 0: no labels */
    const int64_t *per_class; /* samples of each class, whether or not they can be used */
    /* The formats of picture files, as "JPEG 1190, PNG 10"; "" for other data. */
    const char *formats;
} weft_inspected_split;

/* Told of progress, about ten times a second, by the thread that called weft_inspect. False: stop,
 * and weft_inspect returns WEFT_ERR_INTERRUPTED. */
typedef bool (*weft_inspect_fn)(void *user, int64_t done, int64_t samples);

/* How to look. Zeros are defaults. */
typedef struct weft_inspect_opts {
    int threads;              /* 0: one for each CPU of the calling thread's affinity mask */
    int tiny;                 /* a side below so many pixels is short; 0: 32 */
    double long_ratio;        /* one side is so many times the other; 0: 4 */
    weft_inspect_fn progress; /* NULL: none */
    void *user;               /* of progress */
} weft_inspect_opts;
#define WEFT_INSPECT_OPTS_INIT WEFT_INIT_ZERO /* to begin options with */

typedef struct weft_inspection weft_inspection; /* what has been found */

/* Inspects n data sets, the splits of a source, which must outlive the inspection. Reads and decodes
 * all samples, as their options say, in threads of its own. Equal samples are found by a hash of 128
 * bits of their pixels. Short and long sides are told of pictures of several sizes only. opts may be
 * NULL. Damaged samples are findings, not errors. On failure *inspection is untouched. */
weft_status weft_inspect(const weft_dataset *const *splits, int n, const weft_inspect_opts *opts,
                         weft_inspection **inspection, weft_error *err);
void weft_inspection_destroy(weft_inspection *inspection); /* NULL: no effect */

/* What split `i` holds; NULL out of range. Valid as long as the inspection. */
const weft_inspected_split *weft_inspection_split(const weft_inspection *inspection, int i);
/* All findings: ordered by kind, split and sample. *n becomes how many. Valid as long as the
 * inspection. */
const weft_finding *weft_inspection_findings(const weft_inspection *inspection, int64_t *n);
/* How many findings of a kind there are. */
int64_t weft_inspection_count(const weft_inspection *inspection, weft_finding_kind kind);
/* A finding in words, with the names of its samples: "train/cat/7.jpg: the same pixels as
 * val/cat/3.jpg". Works as snprintf does. */
int weft_inspection_describe(const weft_inspection *inspection, const weft_finding *finding,
                             char *text, size_t size);
/* Writes everything as JSON: {"splits": [{...}], "counts": {kind: n}, "findings": [{...}]}. `names`
 * (n) are what the splits are called. Either the whole file appears or none. */
weft_status weft_inspection_write_json(const weft_inspection *inspection, const char *path,
                                       const char *const *names, weft_error *err);

#ifdef __cplusplus
}
#endif
#endif
