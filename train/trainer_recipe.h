/* What recipes add to a trainer: accumulation, clipping, averages of the weights, the plateau and
 * early stopping. See trainer_state.h. */
#ifndef WF_TRAIN_TRAINER_RECIPE_H
#define WF_TRAIN_TRAINER_RECIPE_H

#include "train/evaluate.h"
#include "train/trainer_state.h"

/* WEFT_ERR_INVALID where the options cannot be. */
weft_status wf_recipe_check(const weft_train_opts *opts, weft_error *err);
weft_status wf_recipe_init(weft_trainer *t, weft_error *err);
void wf_recipe_done(weft_trainer *t);

/* Batches of a step, at least 1; steps of an epoch; batches of the step that comes. */
int64_t wf_recipe_accumulate(const weft_train_opts *opts);
int64_t wf_recipe_steps(const weft_train_opts *opts);
int64_t wf_recipe_batches(const weft_trainer *t);

/* The learning rate of the step that comes; there is a schedule. */
double wf_recipe_lr(const weft_trainer *t);
/* Records the clipping of the step's gradients. */
weft_status wf_recipe_clip(weft_trainer *t);
/* After a step, which place counts already: updates the averages where it is time. */
weft_status wf_recipe_step_done(weft_trainer *t);
/* Evaluates the averages. */
weft_status wf_recipe_evaluate(weft_trainer *t, const wf_eval_place *place);
/* After an evaluation: the plateau and early stopping see their figure. */
void wf_recipe_evaluated(weft_trainer *t);
/* Sets t->epochs: the options', or, where patience is over, the present one. */
void wf_recipe_set_end(weft_trainer *t);

#endif
