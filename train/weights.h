/* Whether weights are worth saving. */
#ifndef WF_TRAIN_WEIGHTS_H
#define WF_TRAIN_WEIGHTS_H

#include "weft/module.h"

/* Whether all numbers of the model's state are finite. */
bool wf_weights_finite(weft_module *model);

#endif
