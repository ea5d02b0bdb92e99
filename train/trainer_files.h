/* What a trainer writes. Without a run these do nothing, but for the two that say so. */
#ifndef WF_TRAIN_TRAINER_FILES_H
#define WF_TRAIN_TRAINER_FILES_H

#include "train/trainer_state.h"

/* The weights that the model has, under this name; the run stands in its place with them. */
weft_status wf_trainer_save_weights(weft_trainer *t, const char *name);
/* The two halves of it, which need a run. more (may be NULL): a pair of metadata besides. */
weft_status wf_trainer_write_weights(weft_trainer *t, const char *name,
                                     const weft_safetensors_meta *more);
weft_status wf_trainer_publish(weft_trainer *t);
/* Saves the averages of the weights, if there are any, beside them. */
weft_status wf_trainer_save_averages(weft_trainer *t);
/* Writes the line of the last few steps, where one is due. */
weft_status wf_trainer_log_window(weft_trainer *t);
/* The final files of a finished run, and those of a run that ended early with `status`: its last
 * good weights, and a last line in the log. The first error stays the reported one. */
weft_status wf_trainer_finish_run(weft_trainer *t);
void wf_trainer_abandon_run(weft_trainer *t, weft_status status);
weft_train_result wf_trainer_result(const weft_trainer *t);

#endif
