/* A training's state, copied out between two steps and put back. Single-threaded, as the trainer's
 * context; the image may then go to another thread. */
#ifndef WF_TRAIN_SNAPSHOT_H
#define WF_TRAIN_SNAPSHOT_H

#include "train/checkpoint/image.h"
#include "train/trainer_state.h"

/* Copies the state of all parts, and, where the trainer has a run, the files of its directory that
 * a resumed run continues: config.json, wisdom.json, log.jsonl and summary.csv. Blocks of `spare`
 * (may be NULL) that fit are used and taken out of it. *image is untouched on failure. */
weft_status wf_snapshot_take(weft_trainer *t, wf_ckpt_image *spare, wf_ckpt_image *image,
                             weft_error *err);
/* Puts such a state into the trainer: all of it or, on failure, nothing. `label` stands for the
 * checkpoint in messages. */
weft_status wf_snapshot_apply(weft_trainer *t, const wf_ckpt_image *image, const char *label,
                              weft_error *err);
/* What computed the checkpoint and will compute from now on, where they differ in a way that changes
 * bits: "the instruction set (avx2, now avx512)"; "" where the bits will be the same. */
void wf_snapshot_differences(weft_trainer *t, const wf_ckpt_image *image, char *text, size_t size);

#endif
