/* OpenMP's threads: how Weft runs work on them, plans and other work such as drawing initial
 * values. Any thread may call these functions; one parallel region at a time. */
#ifndef WF_MACHINE_WORKERS_H
#define WF_MACHINE_WORKERS_H

#include "engine/machine/topology.h"

/* Every worker flushes denormals to zero. wf_denormals_off returns the thread's state, which
 * wf_denormals_restore restores. */
unsigned wf_denormals_off(void);
void wf_denormals_restore(unsigned state);

typedef void (*wf_worker_fn)(void *user, int worker, int workers);

/* Calls fn(user, worker, workers) once on each of at most `threads` workers, inside an OpenMP
 * region, and returns when all have ended. fn may use orphaned work-sharing constructs. Regions
 * that fn opens, or OpenMP code that it calls, run on one thread. Only this function opens regions:
 * see Note [After fork]. */
void wf_team_run(int threads, wf_worker_fn fn, void *user);
/* The same, with each worker bound to its core and denormals off. */
void wf_on_workers(const wf_topology *topology, int threads, wf_worker_fn fn, void *user);
/* WEFT_ERR_STATE where one of the threads has less than WF_STACK_WORKER bytes of stack left. */
weft_status wf_workers_check_stacks(int threads, weft_error *err);

#endif
