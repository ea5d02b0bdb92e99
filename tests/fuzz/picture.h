/* libFuzzer over a decoder of pictures, restricted to FORMAT. What is accepted must be a picture whose
 * pixels can be read, and the same whatever the decoder has decoded before; what is not has an error
 * of one line that names the file. */
#ifndef WF_TESTS_FUZZ_PICTURE_H
#define WF_TESTS_FUZZ_PICTURE_H

#include <stdlib.h>
#include <string.h>

#include "data/picture/picture.h"

#define FUZZ_MAX_PIXELS (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fuzz_check_error(const weft_error *err)
{
    if (err->status == WEFT_OK || strncmp(err->text, "fuzz: ", 6) != 0 || strchr(err->text, '\n'))
        abort();
}

static void fuzz_decode(wf_decoder *d, const uint8_t *bytes, size_t size,
                        const wf_decode_opts *opts, uint64_t *hash)
{
    weft_error err = WEFT_ERROR_INIT;
    wf_picture p = {0};
    *hash = 0;
    if (wf_decode(d, bytes, size, "fuzz", opts, &p, &err) != WEFT_OK) {
        fuzz_check_error(&err);
        return;
    }
    if (p.height < 1 || p.width < 1 || (p.channels != 1 && p.channels != 3) ||
        (opts->channels && p.channels != opts->channels) || err.text[0])
        abort();
    *hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < (size_t)p.height * (size_t)p.width * (size_t)p.channels; i++)
        *hash = (*hash ^ p.pixels[i]) * 0x100000001b3u;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static wf_decoder *lasting;
    const char *format = wf_picture_format(bytes, size);
    if (!format || strcmp(format, FORMAT) != 0)
        return 0;
    if (!lasting && !(lasting = wf_decoder_create()))
        abort();
    weft_error err = WEFT_ERROR_INIT;
    wf_picture_info info;
    if (wf_picture_probe(lasting, bytes, size, "fuzz", &info, &err) != WEFT_OK)
        fuzz_check_error(&err);
    else if (info.orientation < 1 || info.orientation > 8 || info.height < 1 || info.width < 1)
        abort();
    unsigned way = bytes[size / 2]; /* any byte */
    wf_decode_opts opts = {.channels = (int[]){0, 1, 3, 3}[way & 3],
                           .max_pixels = FUZZ_MAX_PIXELS,
                           .exif = way & 4,
                           .fast_side = way & 8 ? 5 : 0};
    uint64_t hash, again;
    fuzz_decode(lasting, bytes, size, &opts, &hash);
    wf_decoder *fresh = wf_decoder_create();
    if (!fresh)
        abort();
    fuzz_decode(fresh, bytes, size, &opts, &again);
    wf_decoder_destroy(fresh);
    if (hash != again)
        abort();
    return 0;
}

#endif
