/* The text of `weft info`. */
#ifndef WF_STEP_INFO_H
#define WF_STEP_INFO_H

#include <stdio.h>

#include "engine/machine/topology.h"
#include "engine/tune/wisdom.h"
#include "weft/context.h"

/* Writes to `out` what Weft found on this machine and what it chose. On failure WEFT_ERR_IO, with a
 * text in err (may be NULL). `threads` is the context's number; `wisdom` is loaded. */
weft_status wf_info_write(const wf_topology *topology, weft_isa isa, int threads, wf_wisdom *wisdom,
                          FILE *out, weft_error *err);

/* Writes the operating system's numbers of the chosen cores of a NUMA node (-1: of all), such as
 * "0-7,16"; "none" where there are none. */
void wf_info_cpus(const wf_topology *topology, int node, FILE *out);

#endif
