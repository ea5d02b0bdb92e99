/* libFuzzer over the reader of CIFAR-100, and the same bytes as names of its classes. */
#include "tests/fuzz/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_write("train.bin", bytes, size);
    fuzz_write("fine_label_names.txt", bytes, size < 200 ? size : 200);
    fuzz_open(&wf_format_cifar, fuzz_folder(), WF_PATH_FOLDER);
    return 0;
}
