/* A checkpoint in memory: its files as they are on disk, and what its manifest says.
 *
 * A copy of a training's state is made as an image between two steps and written by a thread of its
 * own; one that is read is an image whose every byte was checked. Any thread, one at a time. */
#ifndef WF_CHECKPOINT_IMAGE_H
#define WF_CHECKPOINT_IMAGE_H

#include <jansson.h>
#include <stdint.h>

#include "engine/machine/memory.h"

enum { WF_CKPT_FILES = 32, WF_CKPT_NAME = 64 };

typedef struct wf_ckpt_file {
    char name[WF_CKPT_NAME]; /* letters, digits, '_', '-' and '.', not first */
    wf_block block;          /* the bytes */
    uint64_t hash;           /* XXH3 (64 bits) of them; set when the file is written or read */
} wf_ckpt_file;

typedef struct wf_ckpt_image {
    json_t *about; /* an object: where training was, and what computed it; NULL: empty image */
    wf_ckpt_file file[WF_CKPT_FILES];
    int n;
} wf_ckpt_image;

/* Whether a file of a checkpoint may have this name. */
bool wf_ckpt_name_fits(const char *name);
/* Appends a file and takes over its block, on failure, too: WEFT_ERR_INVALID where the name does not
 * fit or is there already, or there are too many files. */
weft_status wf_ckpt_image_add(wf_ckpt_image *image, const char *name, wf_block *block,
                              weft_error *err);
/* Appends a copy of `bytes` bytes. */
weft_status wf_ckpt_image_add_copy(wf_ckpt_image *image, wf_memory *memory, const char *name,
                                   const void *data, size_t bytes, weft_error *err);
/* Takes the block of the file of this name out of the image, or an empty one. */
wf_block wf_ckpt_image_take_block(wf_ckpt_image *image, const char *name);
/* The file of this name, or NULL. */
const wf_ckpt_file *wf_ckpt_image_find(const wf_ckpt_image *image, const char *name);
int64_t wf_ckpt_image_bytes(const wf_ckpt_image *image); /* of all files */
/* An integer of `about`; -1: there is none. */
int64_t wf_ckpt_image_number(const wf_ckpt_image *image, const char *key);
void wf_ckpt_image_done(wf_ckpt_image *image); /* leaves an empty image */

#endif
