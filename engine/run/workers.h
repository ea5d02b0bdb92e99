/* The threads that work: how they run, and work of theirs outside of plans, such as drawing initial
 * values. Any thread may call these; one parallel region at a time. */
#ifndef WF_RUN_WORKERS_H
#define WF_RUN_WORKERS_H

#include "engine/topology/topology.h"

/* Denormals: flushed to zero by every worker, the thread's state restored on leaving. */
unsigned wf_denormals_off(void);
void wf_denormals_restore(unsigned state);

/* Calls fn(user, worker, workers) for each of at most `threads` workers, each on its core, and
 * returns when all have. fn may use orphaned work-sharing constructs of OpenMP. */
void wf_on_workers(const wf_topology *topology, int threads,
                   void (*fn)(void *user, int worker, int workers), void *user);

#endif
