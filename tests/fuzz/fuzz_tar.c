/* libFuzzer over the index of tar shards. */
#include "tests/fuzz/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_write("fuzz.tar", bytes, size);
    fuzz_open(&wf_format_tar, fuzz_path("fuzz.tar"), WF_PATH_FILE);
    return 0;
}
