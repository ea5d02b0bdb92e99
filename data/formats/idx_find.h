/* Where the four files of an IDX data set are. */
#ifndef WF_DATA_FORMATS_IDX_FIND_H
#define WF_DATA_FORMATS_IDX_FIND_H

#include <limits.h>

#include "weft/data.h"

/* Indexed by WEFT_SPLIT_TRAIN and WEFT_SPLIT_TEST; "": no such file. */
typedef struct wf_idx_files {
    char images[2][PATH_MAX];
    char labels[2][PATH_MAX];
} wf_idx_files;

/* Finds the files of the data set `path`: a directory, or a directory and the beginning of the
 * files' names ("gzip/emnist-letters"). *there: there are such files. Fails where the files belong
 * to several data sets, or where a folder cannot be listed. The caller passes `files` filled with
 * zeros. */
weft_status wf_idx_find(const char *path, wf_idx_files *files, bool *there, weft_error *err);
/* Fails unless images and labels of the split were found. */
weft_status wf_idx_need(const char *path, const wf_idx_files *files, weft_split split,
                        weft_error *err);

#endif
