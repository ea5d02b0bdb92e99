/* libFuzzer over the reader of lists of pictures. */
#include "tests/fuzz/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_write("train.csv", bytes, size);
    fuzz_open(&wf_format_list, fuzz_path("train.csv"), WF_PATH_FILE);
    return 0;
}
