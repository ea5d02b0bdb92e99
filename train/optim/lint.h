/* Warnings of likely mistakes before an optimizer's step. */
#ifndef WF_TRAIN_OPTIM_LINT_H
#define WF_TRAIN_OPTIM_LINT_H

#include "weft/optim.h"

/* Warns of likely mistakes in the step that is about to be recorded: a forgotten learning rate,
 * parameters without a gradient. */
weft_status wf_optimizer_lint(weft_optimizer *o);

#endif
