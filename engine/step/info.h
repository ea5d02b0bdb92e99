/* The text of `weft info`. */
#ifndef WF_STEP_INFO_H
#define WF_STEP_INFO_H

#include <stdio.h>

#include "engine/machine/topology.h"
#include "engine/tune/wisdom.h"
#include "weft/context.h"

/* Writes what was found and chosen to `out`; WEFT_ERR_IO, with a text in err (may be NULL), when
 * that fails. threads: as the context uses them. wisdom: loaded. */
weft_status wf_info_write(const wf_topology *topology, weft_isa isa, int threads, wf_wisdom *wisdom,
                          FILE *out, weft_error *err);

#endif
