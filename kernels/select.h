/* How kernels are chosen, told on request: WEFT_VERBOSE=select. */
#ifndef WF_KERNELS_SELECT_H
#define WF_KERNELS_SELECT_H

#include "kernels/types.h"

/* Whether WEFT_VERBOSE names `select` (a comma-separated list). */
bool wf_select_verbose(void);
/* One line to stderr: "weft: select: <what>: <kernel>", or "... <kernel> does not fit: <why>". */
void wf_select_log(const char *what, const char *kernel, const char *why);

#endif
