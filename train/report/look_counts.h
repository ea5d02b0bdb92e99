/* The figures of data on a page: images of each class, and the sizes of pictures. They write to a
 * stream; the owner of the stream checks it for errors. */
#ifndef WF_REPORT_LOOK_COUNTS_H
#define WF_REPORT_LOOK_COUNTS_H

#include <stdio.h>

#include "weft/report.h"

/* The samples of each class: those of class k are samples[first[k] .. first[k + 1] - 1]. Without
 * classes all samples are those of class 0. */
typedef struct wf_look_classes {
    int n;            /* classes, at least 1 */
    int64_t *first;   /* (n + 1) */
    int64_t *samples; /* (count) */
} wf_look_classes;
weft_status wf_look_classes_of(const weft_dataset *ds, wf_look_classes *classes, weft_error *err);
void wf_look_classes_done(wf_look_classes *classes);

/* A table of the classes and their images. */
void wf_look_write_counts(FILE *out, const weft_dataset_info *info, const wf_look_classes *classes);
/* Tables of sides and shapes, from the headers of up to 4096 pictures spread over all. Writes
 * nothing where all images have one size. */
weft_status wf_look_write_sizes(FILE *out, const weft_dataset *ds, weft_error *err);

#endif
