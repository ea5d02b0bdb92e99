/* The interpreter: runs every task in recording order, tile after tile, on the calling thread. The
 * scheduler must give the same bits. */
#include <omp.h>

#include "engine/run/run.h"

void wf_interpreter_run(wf_run *run)
{
    const wf_plan *p = run->plan;
    unsigned denormals = wf_denormals_off();
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    for (int commit = 0; commit < 2; commit++) /* recording order; commit tasks last */
        for (int i = 0; i < p->n_tasks && !wf_run_failed(run); i++) {
            if (p->tasks[i]->commit != (commit == 1))
                continue;
            wf_task_group one = {.tasks = &i, .n_tasks = 1};
            for (int64_t tile = 0; tile < p->tasks[i]->tiles && !wf_run_failed(run); tile++)
                wf_run_tile(run, &one, tile, 0);
            bool last = i + 1 == p->n_tasks || p->tasks[i + 1]->node != p->tasks[i]->node;
            if (run->check && last && !wf_run_failed(run))
                wf_anomaly_check(run, p->tasks[i]);
        }
    omp_set_num_threads(threads);
    wf_denormals_restore(denormals);
}
