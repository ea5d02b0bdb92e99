/* What the fuzzers of data sets share: a file is written, opened as each split, and what is accepted
 * is read to its end. */
#ifndef WF_TESTS_FUZZ_SOURCE_H
#define WF_TESTS_FUZZ_SOURCE_H

#include "tests/fuzz/folder.h"

#include <stdint.h>

#include "data/dataset.h"
#include "data/formats/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Reads some samples of a data set, labels and all. Errors are fine. */
static void fuzz_read(const weft_dataset *ds)
{
    wf_bytes bytes = {0};
    for (int64_t i = 0; i < ds->info.count && i < 64; i++) {
        int64_t label = wf_dataset_label(ds, i);
        if (ds->labels && (label < 0 || label >= ds->info.classes))
            abort();
        if (ds->read) {
            wf_sample_name name;
            ds->name(ds, i, &name);
            ds->read(ds, i, &bytes, NULL);
        } else {
            void *scratch = malloc(ds->sample_bytes);
            const void *pixels;
            if (ds->view(ds, i, scratch, &pixels, &label, NULL) == WEFT_OK) {
                volatile unsigned char last = ((const unsigned char *)pixels)[ds->sample_bytes - 1];
                (void)last;
            }
            free(scratch);
        }
    }
    wf_bytes_done(&bytes);
}

/* Opens `path` by a format, as each split. */
static void fuzz_open(const wf_data_format *format, const char *path, wf_path_kind kind)
{
    for (int split = WEFT_SPLIT_TRAIN; split <= WEFT_SPLIT_VAL; split++) {
        weft_dataset *ds = NULL;
        weft_error err = WEFT_ERROR_INIT;
        bool there = false;
        const weft_dataset_opts opts = {.path = path, .split = (weft_split)split};
        weft_status status = format->open(&opts, kind, &there, &ds, &err);
        if ((status != WEFT_OK && (ds || !err.text[0])) || (ds && !there))
            abort();
        if (ds)
            fuzz_read(ds);
        weft_dataset_destroy(ds);
    }
}

#endif
