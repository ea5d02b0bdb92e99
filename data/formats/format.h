/* What a format of data sets is to weft_dataset_open: a function that opens paths of this format.
 *
 * A format is one file here, a line in formats.def and one in meson.build. It fills the struct
 * weft_dataset of data/dataset.h. Any thread. */
#ifndef WF_DATA_FORMATS_FORMAT_H
#define WF_DATA_FORMATS_FORMAT_H

#include "weft/data.h"

/* What is at a path. */
typedef enum wf_path_kind {
    WF_PATH_NOTHING, /* no file: the path may be a description, or the beginning of file names */
    WF_PATH_FILE,
    WF_PATH_FOLDER
} wf_path_kind;

typedef struct wf_data_format {
    /* For a message: how the names of files that it looks for in a folder end, after "train" or
     * "test"; NULL: none. */
    const char *in_folder;
    /* Opens opts->split of the data set at opts->path. *there: the path is of this format. If it is
     * not, returns WEFT_OK and leaves *ds untouched.
     *
     * The format knows the splits that the source stores; options such as val_split are open.c's.
     * TEST and PREDICT are the test samples, else those for validation, else the only ones there
     * are (info.only_split). Where VAL is asked for and there is none, *there is true and *ds
     * untouched. The format sets info.split, has_val and has_test, unless the source has training
     * and test samples and nothing else was asked for. */
    weft_status (*open)(const weft_dataset_opts *opts, wf_path_kind kind, bool *there,
                        weft_dataset **ds, weft_error *err);
} wf_data_format;

#define WF_FORMAT(name) extern const wf_data_format wf_format_##name;
#include "data/formats/formats.def"
#undef WF_FORMAT

#endif
