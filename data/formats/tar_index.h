/* What tar shards hold: an index of their samples, so that each can be read by itself. */
#ifndef WF_DATA_FORMATS_TAR_INDEX_H
#define WF_DATA_FORMATS_TAR_INDEX_H

#include <stdint.h>

#include "weft/status.h"

typedef struct wf_tar_sample {
    int64_t offset, size; /* of the picture, in its shard */
    int32_t shard;
    uint64_t name, label; /* offsets in text */
} wf_tar_sample;

typedef struct wf_tar_index {
    wf_tar_sample *samples;
    int64_t count, cap;
    char *text; /* names and labels, each with a zero at its end; "" is at 0 */
    int64_t text_bytes, text_cap;
    int64_t left_out; /* files that belong to no picture */
} wf_tar_index;

/* Adds the samples of a shard, whose number is `shard`. A sample is the files of one key, which is
 * a name up to the first point after its last slash: a picture, and KEY.cls or KEY.json. */
weft_status wf_tar_index_add(wf_tar_index *index, const char *path, int32_t shard, int labelled,
                             weft_error *err);
void wf_tar_index_done(wf_tar_index *index);

#endif
