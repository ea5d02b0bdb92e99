/* Memory for the next copy of the state, made ready before it is needed.
 *
 * A kernel hands out a page when it is touched first, and clears it then. On virtual machines that
 * takes up to twenty times as long as the copy into it. So the blocks of a checkpoint that was
 * written serve the next one, and a thread of its own touches the first ones. */
#ifndef WF_CHECKPOINT_SPARE_H
#define WF_CHECKPOINT_SPARE_H

#include <pthread.h>

#include "train/checkpoint/image.h"

/* All zeros: nothing is spare. Single-threaded; must not be moved while it is `touching`. */
typedef struct wf_ckpt_spare {
    wf_ckpt_image image;
    pthread_t thread; /* touches its pages */
    bool touching;
} wf_ckpt_spare;

/* Frees what is spare and takes over an image, leaving an empty one. touch: its pages are new. */
void wf_ckpt_spare_put(wf_ckpt_spare *spare, wf_ckpt_image *image, bool touch);
/* What is spare, for the caller to use and free. Waits until its pages are touched. */
wf_ckpt_image wf_ckpt_spare_take(wf_ckpt_spare *spare);
void wf_ckpt_spare_done(wf_ckpt_spare *spare); /* leaves nothing */

#endif
