/* manifest.json: which files a checkpoint has, how long they are, their checksums, and where
 * training was. It is written last, so a folder without one is no checkpoint.
 *
 *     {"weft_checkpoint": 1, "steps_done": 120, "epoch": 3, ...,
 *      "files": [{"name": "model.safetensors", "bytes": 417344, "xxh3": "8d0f..."}, ...],
 *      "manifest_xxh3": "1c2e..."}
 *
 * The last member is the checksum of all bytes before it, so a flipped byte in the manifest is found
 * like any other. Reading trusts nothing. */
#ifndef WF_CHECKPOINT_MANIFEST_H
#define WF_CHECKPOINT_MANIFEST_H

#include "train/checkpoint/image.h"

#define WF_MANIFEST "manifest.json"
#define WF_MANIFEST_MOST ((int64_t)1 << 20) /* bytes */

typedef struct wf_manifest_file {
    char name[WF_CKPT_NAME];
    int64_t bytes;
    uint64_t hash;
} wf_manifest_file;

typedef struct wf_manifest {
    json_t *about; /* as wf_ckpt_image.about */
    wf_manifest_file file[WF_CKPT_FILES];
    int n;
} wf_manifest;

/* The text for an image whose hashes are set; *bytes: its length. The caller frees it with free.
 * NULL: out of memory. */
char *wf_manifest_text(const wf_ckpt_image *image, size_t *bytes);
/* Reads a text of `bytes` bytes. `label` is the file's name for messages. WEFT_ERR_FORMAT where
 * anything is not as wf_manifest_text writes it; *m is then untouched. */
weft_status wf_manifest_parse(const char *label, const char *text, size_t bytes, wf_manifest *m,
                              weft_error *err);
void wf_manifest_done(wf_manifest *m);

/* The checksum that stands in manifests. */
uint64_t wf_ckpt_hash(const void *data, size_t bytes);

#endif
