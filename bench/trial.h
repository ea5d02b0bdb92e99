/* A kernel as a benchmark: the engine's trial of one implementation, timed by Google Benchmark. */
#ifndef BENCH_TRIAL_H
#define BENCH_TRIAL_H

#include "bench/gbench.h"
#include "engine/tune/trial.h"

enum { BENCH_KERNEL_NAME = sizeof(((wf_trial *)0)->name) };

/* Runs implementation `index` of the problem's family, over all sets of data in turn, as often as
 * the state asks, and puts the kernel's full name into `name`. False: the state has the error. */
bool bench_trial(bench_state *state, const wf_trial_place *place, const wf_problem *problem,
                 int index, char name[BENCH_KERNEL_NAME]);

#endif
