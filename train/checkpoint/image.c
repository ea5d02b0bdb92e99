/* See image.h. */
#include "train/checkpoint/image.h"

#include <string.h>

#include "engine/base/error.h"

bool wf_ckpt_name_fits(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-.";
    size_t n = strlen(name);
    return n > 0 && n < WF_CKPT_NAME && name[0] != '.' && strspn(name, letters) == n;
}

weft_status wf_ckpt_image_add(wf_ckpt_image *image, const char *name, wf_block *block,
                              weft_error *err)
{
    const char *no = NULL;
    if (!wf_ckpt_name_fits(name))
        no = "cannot be the name of a file";
    else if (wf_ckpt_image_find(image, name))
        no = "is there twice";
    else if (image->n == WF_CKPT_FILES)
        no = "is one file too many";
    if (no) {
        wf_memory_free(block);
        return wf_error_set(err, WEFT_ERR_INVALID, "checkpoint: '%.80s' %s", name, no);
    }
    wf_ckpt_file *file = &image->file[image->n++];
    strcpy(file->name, name);
    file->block = *block;
    file->hash = 0;
    *block = (wf_block)WF_BLOCK_INIT;
    return WEFT_OK;
}

weft_status wf_ckpt_image_add_copy(wf_ckpt_image *image, wf_memory *memory, const char *name,
                                   const void *data, size_t bytes, weft_error *err)
{
    wf_block block = WF_BLOCK_INIT;
    WF_TRY(wf_memory_alloc(memory,
                           &(wf_block_request){.size = bytes, .kind = WF_MEM_COPY, .what = name},
                           &block, err));
    if (bytes)
        memcpy(block.data, data, bytes);
    return wf_ckpt_image_add(image, name, &block, err);
}

const wf_ckpt_file *wf_ckpt_image_find(const wf_ckpt_image *image, const char *name)
{
    for (int i = 0; i < image->n; i++)
        if (strcmp(image->file[i].name, name) == 0)
            return &image->file[i];
    return NULL;
}

wf_block wf_ckpt_image_take_block(wf_ckpt_image *image, const char *name)
{
    wf_block block = WF_BLOCK_INIT;
    for (int i = 0; i < image->n; i++)
        if (strcmp(image->file[i].name, name) == 0) {
            block = image->file[i].block;
            image->file[i].block = (wf_block)WF_BLOCK_INIT;
        }
    return block;
}

int64_t wf_ckpt_image_bytes(const wf_ckpt_image *image)
{
    int64_t bytes = 0;
    for (int i = 0; i < image->n; i++)
        bytes += (int64_t)image->file[i].block.size;
    return bytes;
}

int64_t wf_ckpt_image_number(const wf_ckpt_image *image, const char *key)
{
    const json_t *value = json_object_get(image->about, key);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
}

void wf_ckpt_image_done(wf_ckpt_image *image)
{
    for (int i = 0; i < image->n; i++)
        wf_memory_free(&image->file[i].block);
    json_decref(image->about);
    image->about = NULL;
    image->n = 0;
}
