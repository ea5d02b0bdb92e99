/* One implementation on made-up data, run as a training step would run it: packing the weights,
 * every image or tile over all threads, adding up partial sums. For tuning and for benchmarks.
 *
 * One thread at a time; a run starts as many threads as the place says. */
#ifndef WF_TUNE_TRIAL_H
#define WF_TUNE_TRIAL_H

#include "engine/tune/trial_data.h"

/* Bytes of all last-level caches of the cores that the topology chose. */
size_t wf_trial_cache_bytes(const wf_topology *topology);

weft_status wf_trial_data_init(wf_trial_data *d, const wf_trial_place *place, const wf_problem *p,
                               weft_error *err);
void wf_trial_data_done(wf_trial_data *d);

/* Prepares a trial of implementation i of the family's list. False, with the reason in `why`, where
 * it does not fit or memory is out. */
bool wf_trial_init(wf_trial *t, const wf_trial_data *d, int i, char *why, size_t size);
void wf_trial_done(wf_trial *t);
/* Runs the whole problem once, on set `set` (0 to sets - 1). False: the kernel failed. */
bool wf_trial_run(const wf_trial *t, int set);

#endif
