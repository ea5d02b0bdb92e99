/* libFuzzer over what a report reads from a run's folder: summary.csv, log.jsonl, config.json and
 * evaluation.json, in this order with a byte 0 between them. */
#include "tests/fuzz/folder.h"

#include <stdint.h>

#include "weft/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const names[] = {"summary.csv", "log.jsonl", "config.json",
                                        "evaluation.json"};
    for (int i = 0; i < 4; i++) {
        const uint8_t *end = i < 3 && size ? memchr(bytes, 0, size) : NULL;
        size_t n = end ? (size_t)(end - bytes) : size;
        fuzz_write(names[i], bytes, n);
        bytes += n + (end != NULL);
        size -= n + (end != NULL);
    }
    weft_error err = WEFT_ERROR_INIT;
    if (weft_run_write_report(fuzz_folder(), &err) != WEFT_OK && !err.text[0])
        abort();
    return 0;
}
