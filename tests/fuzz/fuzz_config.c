/* libFuzzer over a configuration: the first byte chooses YAML or JSON. What is read can be set. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/config_file.h"
#include "cli/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    config_file c;
    char error[512] = "";
    if (size == 0)
        return 0;
    if (!config_file_parse("x", (const char *)bytes + 1, size - 1, bytes[0] & 1, &c, error,
                           sizeof(error))) {
        if (c.n != 0 || !error[0])
            abort();
        return 0;
    }
    cli_options options;
    memcpy(&options, cli_table.defaults, sizeof(options));
    for (int i = 0; i < c.n; i++)
        flags_set(&cli_table, CMD_TRAIN, &options, c.pairs[i].key, c.pairs[i].value, error,
                  sizeof(error));
    config_file_done(&c);
    return 0;
}
