/* libFuzzer over the reader of IDX files, plain and gzipped: two bytes that say how long the images
 * are, the images, the labels. What is accepted must be readable to its last pixel. */
#include "tests/fuzz/folder.h"

#include <stdint.h>

#include "data/dataset.h"
#include "data/formats/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2)
        return 0;
    size_t images = (size_t)bytes[0] | (size_t)bytes[1] << 8;
    bytes += 2;
    size -= 2;
    images = images < size ? images : size;
    fuzz_write("train-images-idx3-ubyte", bytes, images);
    fuzz_write("train-labels-idx1-ubyte", bytes + images, size - images);
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    bool there = false;
    const weft_dataset_opts opts = {.path = fuzz_folder()};
    weft_status status = wf_format_idx.open(&opts, WF_PATH_FOLDER, &there, &ds, &err);
    if (!there || (status == WEFT_OK) != (ds != NULL) || (status != WEFT_OK && !err.text[0]))
        abort();
    float mean[4], std[4];
    if (ds && weft_dataset_mean_std(ds, mean, std, &err) != WEFT_OK)
        abort();
    weft_dataset_destroy(ds);
    return 0;
}
