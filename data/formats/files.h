/* Pictures that the caller names, without labels. */
#ifndef WF_DATA_FORMATS_FILES_H
#define WF_DATA_FORMATS_FILES_H

#include "data/dataset.h"

/* Opens opts->files (n_files of them): a file is a picture, a folder stands for the pictures in it
 * and below it. */
weft_status wf_open_files(const weft_dataset_opts *opts, weft_dataset **ds, weft_error *err);

#endif
