/* A checkpoint on disk: a folder that appears as a whole or not at all.
 *
 * Note [How a checkpoint is written]
 *
 * Beside its final name a folder is made, whose name begins with ".new-". In it each file is
 * created, written, fsynced and closed; manifest.json is the last. The folder is fsynced, renamed to
 * its final name, and the folder above it is fsynced. So whatever a crash leaves under the final
 * name, a manifest with right checksums is there only if all files are.
 *
 * A call that fails ends the attempt: the folder is removed and nothing of it is tried again. An
 * fsync is never repeated, because the kernel may have dropped the pages that it could not write,
 * and would report success the second time. The next attempt writes a new folder.
 *
 * A folder that is not needed any more is first renamed to ".old-...", then emptied: half a
 * checkpoint never stands under a checkpoint's name. Folders with either beginning are removed when
 * a run opens its directory, whose lock says that nobody is writing there. */
#ifndef WF_CHECKPOINT_DISK_H
#define WF_CHECKPOINT_DISK_H

#include "train/checkpoint/image.h"

/* Writes an image as the folder `path`, which must not exist; the folder above it must. Sets the
 * image's hashes. On failure nothing of it is left, unless removing it fails, too. */
weft_status wf_ckpt_write(wf_ckpt_image *image, const char *path, weft_error *err);
/* Reads a folder and checks every byte of it. *image is untouched on failure:
 * WEFT_ERR_NOT_FOUND: there is no manifest; WEFT_ERR_FORMAT, WEFT_ERR_IO: it is damaged, or cannot
 * be read; WEFT_ERR_NOMEM. */
weft_status wf_ckpt_read(const char *path, wf_memory *memory, int threads, wf_ckpt_image *image,
                         weft_error *err);
/* Removes a checkpoint. Returns 0 or an errno. */
int wf_ckpt_remove(const char *path);

/* The checkpoints of a folder, by their names alone: step-0000000120, and step-0000000120-2 for a
 * second one of the same step. */
typedef struct wf_ckpt_list {
    struct wf_ckpt_listed {
        int64_t step;
        int number; /* 1, unless there are several of this step */
        char name[48];
    } * item; /* the newest first */
    int n, cap;
} wf_ckpt_list;
/* Lists a folder; one that is not there has none. WEFT_ERR_NOMEM, WEFT_ERR_IO. */
weft_status wf_ckpt_list_read(const char *folder, wf_ckpt_list *list, weft_error *err);
void wf_ckpt_list_done(wf_ckpt_list *list);
/* A name for a new checkpoint of this step, which `folder` does not have yet. */
weft_status wf_ckpt_new_name(const char *folder, int64_t step, char name[48], weft_error *err);
/* Removes what killed writers have left. */
void wf_ckpt_clean(const char *folder);
/* Removes all but the `keep` newest of the checkpoints of steps up to `step`, those of step `best`
 * (-1: none), and those of later steps, which are of a training that was taken back. Goes on where
 * one cannot be removed. */
void wf_ckpt_prune(const char *folder, int keep, int64_t step, int64_t best);

#endif
