/* How long a step takes, and how long the rest of a training will. */
#ifndef WF_TRAIN_TRAINER_TIMES_H
#define WF_TRAIN_TRAINER_TIMES_H

#include "train/trainer_state.h"

bool wf_trainer_evaluates_after(const weft_trainer *t, int64_t epoch);
/* How many evaluations come after `epoch` has been trained, including the one of `epoch`. */
int64_t wf_trainer_evaluations_left(const weft_trainer *t, int64_t epoch);
/* Call it after each step: updates the mean time of a step. */
void wf_trainer_time_step(weft_trainer *t);
/* A progress record of the present epoch, with the figures of m. */
weft_progress wf_trainer_progress(const weft_trainer *t, const wf_metrics *m);

#endif
