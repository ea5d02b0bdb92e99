/* What an optimizer's step tells. */
#ifndef WF_TRAIN_LINT_H
#define WF_TRAIN_LINT_H

#include "weft/optim.h"

/* Tells what the step about to be recorded is probably not meant to be: a learning rate
 * that was forgotten, parameters without a gradient. */
weft_status wf_optimizer_lint(weft_optimizer *o);

#endif
