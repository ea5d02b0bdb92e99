/* libFuzzer over a file of wisdom: what is read can be merged and written again. */
#include "tests/fuzz/folder.h"

#include <stdint.h>

#include "engine/tune/wisdom.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const wf_wisdom_key key = {"Some CPU", "avx2", "1.2.3", "3.7.0", 8};
    json_t *root = NULL;
    wf_wisdom w = {0};
    weft_error err = WEFT_ERROR_INIT;
    fuzz_write("wisdom.json", bytes, size);
    weft_status status = wf_wisdom_read(fuzz_path("wisdom.json"), &root, &err);
    if (status == WEFT_OK)
        status = wf_wisdom_from_json(&w, root, &key, &err);
    if (status != WEFT_OK && (w.n != 0 || !err.text[0]))
        abort();
    for (int i = 0; i < w.n; i++)
        if (!w.choices[i].kernel[0] || !wf_wisdom_find(&w, w.choices[i].problem))
            abort();
    if (status == WEFT_OK)
        root = wf_wisdom_to_json(root, &w, &key);
    json_decref(root);
    wf_wisdom_done(&w);
    return 0;
}
