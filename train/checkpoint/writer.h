/* Writes one checkpoint while training goes on: a thread of its own, which ends with it. The caller
 * has one in flight at most. */
#ifndef WF_CHECKPOINT_WRITER_H
#define WF_CHECKPOINT_WRITER_H

#include "train/checkpoint/image.h"

/* What is to be written, and what came of it. */
typedef struct wf_ckpt_job {
    wf_ckpt_image image;
    char *folder;         /* of the checkpoints; made if it is not there; wf_free */
    int keep;             /* how many of them stay */
    int64_t step, best;   /* for the name, and which older one stays besides */
    double copy_seconds;  /* that the image took */
    char *path;           /* of what was written, or was to be; wf_free; NULL: not known */
    weft_error err;       /* WEFT_OK: it is there */
    double write_seconds; /* from the start of the thread to the last fsync */
    int64_t bytes;
} wf_ckpt_job;

typedef struct wf_ckpt_writer wf_ckpt_writer;

/* Begins to write and takes over what *job holds. Where no thread can be started, writes before it
 * returns. WEFT_ERR_NOMEM: *job is still the caller's. */
weft_status wf_ckpt_writer_start(const wf_ckpt_job *job, wf_ckpt_writer **writer, weft_error *err);
bool wf_ckpt_writer_done(const wf_ckpt_writer *writer); /* whether it is through */
/* Waits until it is, and frees it. *job, its image included, is then the caller's. */
void wf_ckpt_writer_join(wf_ckpt_writer *writer, wf_ckpt_job *job);
void wf_ckpt_job_done(wf_ckpt_job *job);

#endif
