/* libFuzzer over the manifest of a checkpoint: with the checksum that the input has, and with the
 * right one, or nothing would get behind it. What is accepted must name files that a checkpoint may
 * have, each once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/checkpoint/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void parse(const char *text, size_t size)
{
    wf_manifest m = {0};
    weft_error err = WEFT_ERROR_INIT;
    if (wf_manifest_parse("fuzz", text, size, &m, &err) != WEFT_OK) {
        if (m.about || m.n || !err.text[0])
            abort();
        return;
    }
    if (!m.about || m.n < 1 || m.n > WF_CKPT_FILES)
        abort();
    for (int i = 0; i < m.n; i++) {
        if (!wf_ckpt_name_fits(m.file[i].name) || m.file[i].bytes < 0)
            abort();
        for (int j = 0; j < i; j++)
            if (strcmp(m.file[i].name, m.file[j].name) == 0)
                abort();
    }
    wf_manifest_done(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 64);
    memcpy(text, bytes, size);
    parse(text, size);
    const int n = snprintf(text + size, 64, ", \"manifest_xxh3\": \"%016" PRIx64 "\"}\n",
                           wf_ckpt_hash(text, size));
    parse(text, size + (size_t)n);
    free(text);
    return 0;
}
