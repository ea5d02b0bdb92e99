/* libFuzzer over the reader of .npy files: images, and the same bytes as labels. */
#include "tests/fuzz/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_write("train_images.npy", bytes, size);
    fuzz_write("train_labels.npy", bytes, size);
    fuzz_open(&wf_format_npz, fuzz_folder(), WF_PATH_FOLDER);
    fuzz_open(&wf_format_npz, fuzz_path("train_images.npy"), WF_PATH_FILE);
    return 0;
}
