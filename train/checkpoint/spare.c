/* See spare.h. While `touching`, the blocks are the thread's. */
#include "train/checkpoint/spare.h"

#include "train/checkpoint/background.h"

enum { PAGE = 4096 };

static void *touch_pages(void *arg)
{
    const wf_ckpt_image *image = arg;
    for (int i = 0; i < image->n; i++) {
        volatile char *data = image->file[i].block.data;
        for (size_t at = 0; at < image->file[i].block.size; at += PAGE)
            data[at] = 0;
    }
    return NULL;
}

static void wait(wf_ckpt_spare *spare)
{
    if (spare->touching)
        pthread_join(spare->thread, NULL);
    spare->touching = false;
}

void wf_ckpt_spare_put(wf_ckpt_spare *spare, wf_ckpt_image *image, bool touch)
{
    wf_ckpt_spare_done(spare);
    spare->image = *image;
    *image = (wf_ckpt_image){0};
    spare->touching = touch && wf_ckpt_background(&spare->thread, touch_pages, &spare->image);
}

wf_ckpt_image wf_ckpt_spare_take(wf_ckpt_spare *spare)
{
    wait(spare);
    wf_ckpt_image image = spare->image;
    spare->image = (wf_ckpt_image){0};
    return image;
}

void wf_ckpt_spare_done(wf_ckpt_spare *spare)
{
    wait(spare);
    wf_ckpt_image_done(&spare->image);
}
