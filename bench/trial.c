/* See trial.h. */
#include "bench/trial.h"

#include <stdio.h>

#include "engine/base/error.h"

bool bench_trial(bench_state *state, const wf_trial_place *place, const wf_problem *problem,
                 int index, char name[BENCH_KERNEL_NAME])
{
    weft_error err = WEFT_ERROR_INIT;
    char why[WEFT_ERROR_TEXT] = "";
    wf_trial_data data;
    wf_trial t;
    if (wf_trial_data_init(&data, place, problem, &err)) {
        bench_fail(state, err.text);
        return false;
    }
    const bool fits = wf_trial_init(&t, &data, index, why, sizeof why);
    if (fits) {
        wf_trial_run(&t, 0); /* pages, code and threads are there */
        for (int set = 0; bench_next(state); set = (set + 1) % data.sets)
            wf_trial_run(&t, set);
        snprintf(name, BENCH_KERNEL_NAME, "%s", t.name);
        wf_trial_done(&t);
    } else {
        bench_fail(state, why);
    }
    wf_trial_data_done(&data);
    return fits;
}
