/* See workers.h. */
#include "engine/run/workers.h"

#include <omp.h>
#include <xmmintrin.h>

unsigned wf_denormals_off(void)
{
    unsigned state = _mm_getcsr();
    /* FTZ and DAZ, and for the rest what a new thread has: the caller's rounding mode must not
     * reach the tiles that happen to run on its thread. */
    _mm_setcsr(0x1f80 | 0x8040);
    return state;
}

void wf_denormals_restore(unsigned state)
{
    _mm_setcsr(state);
}

void wf_on_workers(const wf_topology *topology, int threads,
                   void (*fn)(void *user, int worker, int workers), void *user)
{
    int caller_threads = omp_get_max_threads();
#pragma omp parallel num_threads(threads) default(none) shared(topology, fn, user)
    {
        wf_saved_binding saved;
        unsigned denormals = wf_denormals_off();
        omp_set_num_threads(1); /* Note [oneDNN and threads] */
        wf_topology_bind(topology, omp_get_thread_num(), &saved);
        fn(user, omp_get_thread_num(), omp_get_num_threads());
        wf_topology_unbind(&saved);
        wf_denormals_restore(denormals);
    }
    omp_set_num_threads(caller_threads);
}
