/* One epoch of a training. */
#ifndef WF_TRAIN_TRAINER_EPOCH_H
#define WF_TRAIN_TRAINER_EPOCH_H

#include "train/trainer_state.h"

/* Trains one batch, where the epoch has one left; after the last one, ends the epoch. */
weft_status wf_trainer_advance(weft_trainer *t);

#endif
