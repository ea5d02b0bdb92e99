/* Where the four files of an IDX data set are. */
#ifndef WF_DATA_FORMATS_IDX_FIND_H
#define WF_DATA_FORMATS_IDX_FIND_H

#include <limits.h>

#include "weft/data.h"

/* By WEFT_SPLIT_TRAIN and WEFT_SPLIT_TEST; "": not there. */
typedef struct wf_idx_files {
    char images[2][PATH_MAX];
    char labels[2][PATH_MAX];
} wf_idx_files;

/* Finds the files of the data set `path`: a directory, or one and what the names of the files begin
 * with ("gzip/emnist-letters"). *there: there are any. Fails where they are of several data sets,
 * or cannot be listed. files is all zeros. */
weft_status wf_idx_find(const char *path, wf_idx_files *files, bool *there, weft_error *err);
/* Whether images and labels of the split were found. */
weft_status wf_idx_need(const char *path, const wf_idx_files *files, weft_split split,
                        weft_error *err);

#endif
