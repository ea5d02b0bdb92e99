/* The weights of the best epoch: weights_best.safetensors. Without a run these do nothing.
 * Single-threaded, as the trainer's context. */
#ifndef WF_TRAIN_TRAINER_BEST_H
#define WF_TRAIN_TRAINER_BEST_H

#include "train/trainer_state.h"

/* Saves the weights if no evaluation before was as good. */
weft_status wf_trainer_note_best(weft_trainer *t);

/* For a trainer into which the checkpoint `path` was loaded: sees to it that the run has the weights
 * of the epoch that was the best until then. They are the run's own, or come from another checkpoint
 * beside `path`, or from the run that `path` belongs to. Where they are nowhere, the best epoch is
 * forgotten, so that the best of those to come is kept. *found (may be NULL): false in that case.
 * *moved: the model has other weights than before, and the checkpoint must be loaded again. */
weft_status wf_trainer_bring_best(weft_trainer *t, const char *path, bool *found, bool *moved,
                                  weft_error *err);

#endif
