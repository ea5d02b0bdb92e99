/* What the trials of all families share; see trial.h. */
#include "engine/tune/trial.h"

#include <stdio.h>

#include "engine/base/alloc.h"
#include "engine/machine/workers.h"
#include "engine/tune/trial_families.h"

size_t wf_trial_cache_bytes(const wf_topology *topology)
{
    const wf_machine *machine = wf_topology_machine(topology);
    size_t caches = 0, one = machine->l3 ? machine->l3 : machine->l2;
    int last = -1;
    for (int i = 0; i < wf_topology_cores(topology); i++) { /* ordered by their caches */
        wf_core core = wf_topology_core(topology, i);
        caches += core.l3 != last;
        last = core.l3;
    }
    return one * (caches ? caches : 1);
}

weft_status wf_trial_data_init(wf_trial_data *d, const wf_trial_place *place, const wf_problem *p,
                               weft_error *err)
{
    *d = (wf_trial_data){.place = *place, .problem = *p};
    return p->family == WF_FAMILY_CONV2D ? wf_trial_data_conv2d(d, err)
                                         : wf_trial_data_matmul(d, err);
}

void wf_trial_data_done(wf_trial_data *d)
{
    wf_memory_free(&d->block);
}

bool wf_trial_init(wf_trial *t, const wf_trial_data *d, int i, char *why, size_t size)
{
    *t = (wf_trial){.data = d, .impl = wf_problem_impl_name(&d->problem, i)};
    bool ok = d->problem.family == WF_FAMILY_CONV2D ? wf_trial_conv2d(t, i, why, size)
                                                    : wf_trial_matmul(t, i, why, size);
    t->segments = wf_zalloc((size_t)d->place.threads * WF_TRIAL_PHASES * sizeof *t->segments);
    if (ok && !t->segments) {
        snprintf(why, size, "out of memory");
        ok = false;
    }
    if (!ok)
        wf_trial_done(t);
    return ok;
}

void wf_trial_done(wf_trial *t)
{
    wf_conv2d_destroy(t->conv2d);
    wf_memory_free(&t->block);
    wf_free(t->segments);
    *t = (wf_trial){0};
}

typedef struct trial_run {
    const wf_trial *t;
    int set;
    atomic_bool failed;
} trial_run;

static bool claim(wf_trial_segment *from, int64_t *tile)
{
    if (atomic_load_explicit(&from->next, memory_order_relaxed) >= from->end)
        return false;
    *tile = atomic_fetch_add_explicit(&from->next, 1, memory_order_relaxed);
    return *tile < from->end;
}

static void run_phases(void *user, int worker, int workers)
{
    trial_run *r = user;
    const wf_trial *t = r->t;
    const int threads = t->data->place.threads;
    for (int phase = 0; phase < WF_TRIAL_PHASES; phase++) {
        int64_t tile;
        for (int i = 0; i < threads; i++)
            while (claim(&t->segments[phase * threads + (worker + i) % threads], &tile))
                if (t->run(t, r->set, worker, phase, tile) != WEFT_OK)
                    atomic_store(&r->failed, true);
#pragma omp barrier
    }
}

bool wf_trial_run(const wf_trial *t, int set)
{
    const wf_trial_place *place = &t->data->place;
    trial_run r = {.t = t, .set = set};
    for (int i = 0; i < WF_TRIAL_PHASES * place->threads; i++) {
        const int64_t tiles = t->tiles[i / place->threads], worker = i % place->threads;
        atomic_store(&t->segments[i].next, tiles * worker / place->threads);
        t->segments[i].end = tiles * (worker + 1) / place->threads;
    }
    wf_on_workers(place->topology, place->threads, run_phases, &r);
    return !atomic_load(&r.failed);
}
