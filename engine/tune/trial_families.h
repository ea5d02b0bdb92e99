/* The families of kernels that trials know: a file each, called by trial.c. */
#ifndef WF_TUNE_TRIAL_FAMILIES_H
#define WF_TUNE_TRIAL_FAMILIES_H

#include "engine/tune/trial_data.h"

/* Makes the operands of d's problem. */
weft_status wf_trial_data_conv2d(wf_trial_data *d, weft_error *err);
weft_status wf_trial_data_matmul(wf_trial_data *d, weft_error *err);
/* As wf_trial_init. */
bool wf_trial_conv2d(wf_trial *t, int i, char *why, size_t size);
bool wf_trial_matmul(wf_trial *t, int i, char *why, size_t size);

#endif
