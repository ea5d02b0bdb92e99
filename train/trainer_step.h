/* One training step. */
#ifndef WF_TRAIN_TRAINER_STEP_H
#define WF_TRAIN_TRAINER_STEP_H

#include "train/trainer_state.h"

/* Trains on the next batch. On failure the model is unchanged and place.step is the same. */
weft_status wf_trainer_batch(weft_trainer *t);

/* Compiles the plan of a step, without running it: the memory that it needs. Nothing is changed. */
weft_status wf_trainer_step_memory(weft_trainer *t, weft_step_memory *memory, weft_error *err);

#endif
