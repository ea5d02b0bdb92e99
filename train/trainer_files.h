/* What a trainer writes. Without a run these do nothing. */
#ifndef WF_TRAIN_TRAINER_FILES_H
#define WF_TRAIN_TRAINER_FILES_H

#include "train/trainer_state.h"

weft_status wf_trainer_save_weights(weft_trainer *t, const char *name);
/* Saves the averages of the weights, if there are any, beside them. */
weft_status wf_trainer_save_averages(weft_trainer *t);
/* Saves the weights if no evaluation before was as good. */
weft_status wf_trainer_note_best(weft_trainer *t);
/* Writes the line of the last few steps, where one is due. */
weft_status wf_trainer_log_window(weft_trainer *t);
/* The final files of a finished run, and those of a run that ended early with `status`: its last
 * good weights, and a last line in the log. The first error stays the reported one. */
weft_status wf_trainer_finish_run(weft_trainer *t);
void wf_trainer_abandon_run(weft_trainer *t, weft_status status);
weft_train_result wf_trainer_result(const weft_trainer *t);

#endif
