/* When a trainer writes checkpoints, and how it goes on from one. Without a run, or where
 * opts.checkpoints is all zeros, the first five do nothing. */
#ifndef WF_TRAIN_TRAINER_CHECKPOINT_H
#define WF_TRAIN_TRAINER_CHECKPOINT_H

#include "train/trainer_state.h"

/* Between two steps: tells what has been written, and begins a checkpoint that is due. A failure is
 * told, and is none of the training. epoch_over: the step was an epoch's last, and its evaluation
 * and lines are done. */
void wf_trainer_checkpoint_tick(weft_trainer *t, bool epoch_over);
/* After the last step: writes the checkpoint that is still due, because the one before was being
 * written then, and waits until it is on disk. */
void wf_trainer_checkpoint_last(weft_trainer *t);
/* Waits for what is being written. */
void wf_trainer_checkpoint_wait(weft_trainer *t);
/* Before a stop: makes sure that the present state is on disk. WEFT_OK where it is, or where no
 * checkpoints are wanted. */
weft_status wf_trainer_checkpoint_now(weft_trainer *t, weft_error *err);
/* The state was loaded, at training's beginning or from a checkpoint: intervals count from here. */
void wf_trainer_checkpoint_loaded(weft_trainer *t);
/* Whether this trainer writes checkpoints. */
bool wf_trainer_checkpoints(const weft_trainer *t);

#endif
