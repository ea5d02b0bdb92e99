/* Opens a data set by its path: the registry of formats. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "data/dataset.h"
#include "data/formats/format.h"
#include "engine/base/error.h"

#define HOW_TO_GET                                                                                 \
    "Fashion-MNIST comes with Debian and Ubuntu: apt install dataset-fashion-mnist, then use "     \
    "/usr/share/datasets/fashion-mnist"

static const wf_data_format *const formats[] = {
#define WF_FORMAT(name) &wf_format_##name,
#include "data/formats/formats.def"
#undef WF_FORMAT
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

/* Lists what the formats look for in a folder: "a, b"; returns text. */
static const char *looked_for(weft_split split, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (int i = 0; i < N_FORMATS && n < size; i++)
        if (formats[i]->in_folder)
            n += (size_t)snprintf(text + n, size - n, "%s%s%s", n ? ", " : "",
                                  split == WEFT_SPLIT_TRAIN ? "train" : "test",
                                  formats[i]->in_folder);
    return text;
}

weft_status weft_dataset_open(const char *path, weft_split split, weft_dataset **ds,
                              weft_error *err)
{
    struct stat st;
    if (!ds)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "opening a data set: ds, the place for the result, is NULL");
    if (!path || !path[0])
        return wf_error_set(err, WEFT_ERR_INVALID, "no data set is named. " HOW_TO_GET);
    const int why = stat(path, &st) == 0 ? 0 : errno;
    const wf_path_kind kind = why                   ? WF_PATH_NOTHING
                              : S_ISDIR(st.st_mode) ? WF_PATH_FOLDER
                                                    : WF_PATH_FILE;
    for (int i = 0; i < N_FORMATS; i++) {
        bool there = false;
        weft_status status = formats[i]->open(path, kind, split, &there, ds, err);
        if (status != WEFT_OK || there)
            return status;
    }
    char text[512];
    if (kind == WF_PATH_NOTHING)
        return wf_error_set(err, why == ENOENT ? WEFT_ERR_NOT_FOUND : WEFT_ERR_IO,
                            "%s: %s. " HOW_TO_GET, path, strerror(why));
    return wf_error_set(err, WEFT_ERR_NOT_FOUND,
                        "%s: no data set there (looked for %s). " HOW_TO_GET, path,
                        looked_for(split, text, sizeof text));
}
