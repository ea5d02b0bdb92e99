/* libFuzzer over the reader of .npz files. */
#include "tests/fuzz/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_write("fuzz.npz", bytes, size);
    fuzz_open(&wf_format_npz, fuzz_path("fuzz.npz"), WF_PATH_FILE);
    return 0;
}
