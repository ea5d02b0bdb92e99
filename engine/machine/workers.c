/* See workers.h.
 *
 * Note [After fork]. An OpenMP runtime keeps a team of threads for each thread that has opened a
 * parallel region. fork copies the record of this team into the child, but not the threads. GCC's
 * runtime would then wait for these threads for ever. A thread cannot ask whether it has such a
 * record, because the program may use OpenMP too. So a thread that came through a fork opens no
 * region. A *leader*, a thread that is created in the child, opens regions in its place and has a
 * team of its own. */
#include "engine/machine/workers.h"

#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <xmmintrin.h>

#include "engine/base/error.h"
#include "engine/base/stack.h"

unsigned wf_denormals_off(void)
{
    unsigned state = _mm_getcsr();
    /* Sets FTZ and DAZ; everything else as in a new thread, so that the caller's rounding mode does
     * not apply to tiles that happen to run on its thread. */
    _mm_setcsr(0x1f80 | 0x8040);
    return state;
}

void wf_denormals_restore(unsigned state)
{
    _mm_setcsr(state);
}

/* ---- regions ---- */

typedef struct region {
    int threads;
    wf_worker_fn fn;
    void *user;
} region;

static void open_region(const region *r)
{
    int caller_threads = omp_get_max_threads();
#pragma omp parallel num_threads(r->threads) default(none) shared(r)
    {
        omp_set_num_threads(1); /* Note [oneDNN and threads] */
        r->fn(r->user, omp_get_thread_num(), omp_get_num_threads());
    }
    omp_set_num_threads(caller_threads);
}

/* ---- after a fork ---- */

static _Thread_local bool forked; /* this thread came through a fork */

/* In a forked child: the leader, which opens regions for the thread that has `forked` set. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool there;
    const region *job; /* the region to run or that is running; NULL: none */
} leader = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *lead(void *unused)
{
    pthread_mutex_lock(&leader.lock);
    for (;;) {
        while (!leader.job)
            pthread_cond_wait(&leader.changed, &leader.lock);
        const region *r = leader.job;
        pthread_mutex_unlock(&leader.lock);
        open_region(r);
        pthread_mutex_lock(&leader.lock);
        leader.job = NULL;
        pthread_cond_broadcast(&leader.changed);
    }
    return unused;
}

/* Creates the leader, with all signals blocked: they are for the program. False: it cannot be
 * created. */
static bool make_leader(void)
{
    sigset_t all, was;
    pthread_attr_t attr;
    pthread_t thread;
    if (leader.there)
        return true;
    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &was);
    leader.there = pthread_create(&thread, &attr, lead, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    pthread_attr_destroy(&attr);
    return leader.there;
}

static void run_by_leader(const region *r)
{
    pthread_mutex_lock(&leader.lock);
    leader.job = r;
    pthread_cond_broadcast(&leader.changed);
    while (leader.job)
        pthread_cond_wait(&leader.changed, &leader.lock);
    pthread_mutex_unlock(&leader.lock);
}

/* Only the thread that called fork exists in the child; the parent's leader does not. */
static void in_child(void)
{
    forked = true;
    leader.there = false;
    leader.job = NULL;
    pthread_mutex_init(&leader.lock, NULL);
    pthread_cond_init(&leader.changed, NULL);
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

/* ---- both ---- */

void wf_team_run(int threads, wf_worker_fn fn, void *user)
{
    const region r = {threads, fn, user};
    if (!forked) {
        open_region(&r);
    } else if (make_leader()) {
        run_by_leader(&r);
    } else { /* no region: slower, but the same result */
        int caller_threads = omp_get_max_threads();
        omp_set_num_threads(1);
        fn(user, 0, 1);
        omp_set_num_threads(caller_threads);
    }
}

typedef struct bound_work {
    const wf_topology *topology;
    wf_worker_fn fn;
    void *user;
} bound_work;

static void work_bound(void *user, int worker, int workers)
{
    const bound_work *w = user;
    wf_saved_binding saved;
    unsigned denormals = wf_denormals_off();
    wf_topology_bind(w->topology, worker, &saved);
    w->fn(w->user, worker, workers);
    wf_topology_unbind(&saved);
    wf_denormals_restore(denormals);
}

void wf_on_workers(const wf_topology *topology, int threads, wf_worker_fn fn, void *user)
{
    wf_team_run(threads, work_bound, &(bound_work){topology, fn, user});
}

static void measure_stack(void *user, int worker, int workers)
{
    atomic_size_t *least = user;
    size_t left = wf_stack_left(), before = atomic_load(least);
    while (left < before && !atomic_compare_exchange_weak(least, &before, left))
        ;
}

weft_status wf_workers_check_stacks(int threads, weft_error *err)
{
    atomic_size_t least = SIZE_MAX;
    wf_team_run(threads, measure_stack, &least);
    size_t left = atomic_load(&least);
    if (left >= WF_STACK_WORKER)
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_STATE,
                        "OpenMP's threads have stacks of %zu KiB, Weft needs %d: set OMP_STACKSIZE "
                        "or ulimit -s",
                        left >> 10, WF_STACK_WORKER >> 10);
}
