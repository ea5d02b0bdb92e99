/* libFuzzer over the index of class folders. The two sums of the header are made right, or nothing
 * would get behind them; what is accepted must name what is there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "data/formats/listing.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { PATH_SUM = 8, PAYLOAD_SUM = 16, HEADER = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char path[] = "/no/such/folder";
    volatile size_t all = 0;
    (void)all;
    wf_listing l;
    uint8_t *copy = malloc(size + 1);
    memcpy(copy, bytes, size);
    if (size >= HEADER) {
        uint64_t sums[2] = {XXH3_64bits(path, sizeof path - 1),
                            XXH3_64bits(copy + HEADER, size - HEADER)};
        memcpy(copy + PATH_SUM, &sums[0], 8);
        memcpy(copy + PAYLOAD_SUM, &sums[1], 8);
    }
    if (wf_index_parse(copy, size, path, &l)) {
        for (int64_t i = 0; i < l.n_classes; i++)
            all += strlen(l.text + l.classes[i]);
        for (int64_t i = 0; i < l.count; i++)
            all += strlen(l.text + l.names[i]) + strlen(l.text + l.folders[l.folder_of[i]].path);
    }
    free(copy);
    return 0;
}
