/* The environment variables that Weft reads. */
#ifndef WF_STEP_ENVIRONMENT_H
#define WF_STEP_ENVIRONMENT_H

#include "weft/status.h"

/* WEFT_ERR_INVALID where WEFT_MAX_ISA, WEFT_MACHINE, WEFT_LINT, WEFT_VERBOSE or WEFT_AVOID has a
 * value that it cannot have. The text names the variable, the value and the possible values. An
 * empty variable counts as unset. (WEFT_WISDOM is a path: errors of its file are reported when the
 * file is read.) */
weft_status wf_environment_check(weft_error *err);

#endif
