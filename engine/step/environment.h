/* The environment variables that Weft reads. */
#ifndef WF_STEP_ENVIRONMENT_H
#define WF_STEP_ENVIRONMENT_H

#include "weft/status.h"

/* WEFT_ERR_INVALID where WEFT_MAX_ISA, WEFT_MACHINE, WEFT_LINT, WEFT_VERBOSE or WEFT_AVOID says what
 * it cannot:
 * the text names the variable, the word and what it could be. Unset and empty are the same.
 * (WEFT_WISDOM is a path: what is wrong with its file is told when it is read.) */
weft_status wf_environment_check(weft_error *err);

#endif
