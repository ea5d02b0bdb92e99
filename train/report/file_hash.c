/* Computes the 128-bit XXH3 of a file, read piece by piece. See file_hash.h. */
#include "train/report/file_hash.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "engine/base/error.h"
#include "engine/files/regular_file.h"
#include "engine/base/alloc.h"

enum { PIECE = 1 << 16 };

weft_status wf_file_hash(const char *path, char text[WF_FILE_HASH_TEXT], weft_error *err)
{
    FILE *in;
    WF_TRY(wf_fopen_regular(path, 0, &in, err));
    XXH3_state_t *state = XXH3_createState();
    unsigned char *piece = wf_alloc(PIECE);
    weft_status status = WEFT_OK;
    size_t n = 0;
    if (!state || !piece)
        status = wf_nomem(err, PIECE, "the hash of a file");
    else
        XXH3_128bits_reset(state);
    while (status == WEFT_OK && (n = fread(piece, 1, PIECE, in)) > 0)
        XXH3_128bits_update(state, piece, n);
    if (status == WEFT_OK && ferror(in))
        status = wf_error_set(err, WEFT_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (status == WEFT_OK) {
        XXH128_hash_t h = XXH3_128bits_digest(state);
        snprintf(text, WF_FILE_HASH_TEXT, "xxh128:%016llx%016llx", (unsigned long long)h.high64,
                 (unsigned long long)h.low64);
    }
    XXH3_freeState(state);
    wf_free(piece);
    fclose(in);
    return status;
}
