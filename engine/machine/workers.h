/* The threads that work: how they run, and work of theirs outside of plans, such as drawing initial
 * values. Any thread may call these; one parallel region at a time. */
#ifndef WF_MACHINE_WORKERS_H
#define WF_MACHINE_WORKERS_H

#include "engine/machine/topology.h"

/* Denormals: flushed to zero by every worker, the thread's state restored on leaving. */
unsigned wf_denormals_off(void);
void wf_denormals_restore(unsigned state);

typedef void (*wf_worker_fn)(void *user, int worker, int workers);

/* Calls fn(user, worker, workers) for each of at most `threads` workers, inside an OpenMP region,
 * and returns when all have. fn may use orphaned work-sharing constructs; regions and OpenMP code
 * that it opens are of one thread. The one place that opens a region: see Note [After fork]. */
void wf_team_run(int threads, wf_worker_fn fn, void *user);
/* The same, each worker on its core and with denormals off. */
void wf_on_workers(const wf_topology *topology, int threads, wf_worker_fn fn, void *user);
/* WEFT_ERR_STATE where one of the threads has less than WF_STACK_WORKER bytes of stack left. */
weft_status wf_workers_check_stacks(int threads, weft_error *err);

#endif
