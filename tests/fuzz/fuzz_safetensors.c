/* libFuzzer over the safetensors reader: meson setup -Dfuzz=true with clang, then
 * tests/fuzz/fuzz_safetensors -max_total_time=60. What is accepted must lie inside the input. */
#include <stdlib.h>
#include <string.h>

#include "engine/files/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    weft_safetensors *file = NULL;
    weft_error err = WEFT_ERROR_INIT;
    if (wf_safetensors_parse("fuzz", bytes, size, &file, &err) != WEFT_OK) {
        if (file || !err.text[0])
            abort();
        return 0;
    }
    for (int64_t i = 0; i < weft_safetensors_count(file); i++) {
        const weft_safetensors_entry *e = weft_safetensors_at(file, i);
        const uint8_t *data = e->data;
        if (e->foreign) {
            if (data || e->dtype != WEFT_DTYPE_COUNT)
                abort();
            continue;
        }
        size_t n = (size_t)weft_shape_count(e->shape) * weft_dtype_size(e->dtype);
        if (data < bytes || n > size || data > bytes + size - n ||
            weft_safetensors_find(file, e->name) != e)
            abort();
    }
    weft_safetensors_close(file);
    return 0;
}
