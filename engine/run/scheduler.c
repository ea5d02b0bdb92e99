/* The scheduler: one OpenMP parallel region per replay, in which every worker runs this loop.
 *
 * A bitmap has one bit for each position of the plan's linear order: set while the task group there
 * is ready. So the lowest set bit is the most urgent group. A second bitmap (`summary`) has one bit
 * for each word of the first that is not zero: a worker finds the most urgent of 4,096 groups in
 * two loads.
 *
 * A worker claims tiles of that group: first from its own segment, then from the other workers'.
 * Tile i of N belongs to the segment of worker i*W/N, so an image stays with one cache and NUMA
 * node. After each tile the worker checks whether a more urgent group has become ready, and goes
 * there. The worker that ends a group's last tile decrements the counters of the group's
 * successors.
 *
 * Idle workers spin for a while, then sleep. With more workers than cores nobody spins. */
#include <immintrin.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "engine/base/clock.h"
#include "engine/run/scheduler_state.h"

#define SPIN_SECONDS 150e-6
#ifndef SPINS
#define SPINS 32 /* looks at the epoch between two looks at the clock; the explorer has fewer */
#endif

weft_status wf_scheduler_create(weft_context *ctx, wf_scheduler **scheduler)
{
    wf_scheduler *s = NULL;
    char *mem = wf_zalloc(sizeof *s + LINE + sizeof(void *));
    if (!mem)
        return wf_nomem(&ctx->error, sizeof *s, "the scheduler");
    s = (wf_scheduler *)(((uintptr_t)mem + sizeof(void *) + LINE - 1) & ~(uintptr_t)(LINE - 1));
    memcpy((char *)s - sizeof(void *), &mem, sizeof mem); /* the pointer to free */
    s->ctx = ctx;
    s->spin = ctx->threads <= wf_topology_cores(ctx->topology);
    s->in_sequence = ctx->options.executor == WEFT_EXECUTOR_SEQUENCE;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    *scheduler = s;
    return WEFT_OK;
}

void wf_scheduler_destroy(wf_scheduler *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    wf_free(s->segments_mem);
    wf_free(s->groups_mem);
    wf_free(s->states_mem);
    wf_free((void *)s->ready);
    void *mem;
    memcpy(&mem, (char *)s - sizeof(void *), sizeof mem);
    wf_free(mem);
}

static void *aligned(char *mem)
{
    return (void *)(((uintptr_t)mem + LINE - 1) & ~(uintptr_t)(LINE - 1));
}

static bool grow_lines(char **mem, int *cap, int n, size_t size)
{
    if (n <= *cap)
        return true;
    char *fresh = wf_zalloc((size_t)n * size + LINE);
    if (!fresh)
        return false;
    wf_free(*mem);
    *mem = fresh;
    *cap = n;
    return true;
}

static weft_status reserve(wf_scheduler *s, const wf_plan *p)
{
    if (!grow_lines(&s->groups_mem, &s->cap_groups, p->n_groups, sizeof *s->groups) ||
        !grow_lines(&s->segments_mem, &s->cap_segments, p->n_groups * s->ctx->threads,
                    sizeof *s->segments) ||
        !grow_lines(&s->states_mem, &s->cap_states, s->ctx->threads, sizeof *s->states))
        return wf_nomem(&s->ctx->error, 0, "the scheduler");
    s->groups = aligned(s->groups_mem);
    s->segments = aligned(s->segments_mem);
    s->states = aligned(s->states_mem);
    s->n_words = (p->n_groups + 63) / 64;
    s->n_summary = (s->n_words + 63) / 64;
    if (s->n_words + s->n_summary > s->cap_words) {
        wf_free((void *)s->ready);
        s->cap_words = 0;
        s->ready = wf_zalloc_array((size_t)(s->n_words + s->n_summary), sizeof *s->ready);
        if (!s->ready)
            return wf_nomem(&s->ctx->error, 0, "the scheduler");
        s->cap_words = s->n_words + s->n_summary;
    }
    s->summary = s->ready + s->n_words;
    return WEFT_OK;
}

/* ---- readiness ---- */

static void wake_all(wf_scheduler *s)
{
    atomic_fetch_add(&s->epoch, 1);
    if (atomic_load(&s->sleepers) > 0) {
        pthread_mutex_lock(&s->lock);
        pthread_cond_broadcast(&s->wake);
        pthread_mutex_unlock(&s->lock);
    }
}

static uint64_t bit(int at)
{
    return (uint64_t)1 << (at % 64);
}

static void set_ready(wf_scheduler *s, int at)
{
    const int word = at / 64;
    atomic_fetch_or(&s->ready[word], bit(at));
    if (!(atomic_load(&s->summary[word / 64]) & bit(word)))
        atomic_fetch_or(&s->summary[word / 64], bit(word));
    wake_all(s);
}

/* If a task group of this word becomes ready between the two clearings, other workers may miss it.
 * The second look at the word finds it and wakes them again. */
static void clear_ready(wf_scheduler *s, int at)
{
    const int word = at / 64;
    if (atomic_fetch_and(&s->ready[word], ~bit(at)) & ~bit(at))
        return;
    atomic_fetch_and(&s->summary[word / 64], ~bit(word));
    if (atomic_load(&s->ready[word]) == 0)
        return;
    atomic_fetch_or(&s->summary[word / 64], bit(word));
    wake_all(s);
}

/* Whether a task group before position `at` is ready. */
static bool more_urgent(const wf_scheduler *s, int at)
{
    const int word = at / 64;
    if (atomic_load_explicit(&s->ready[word], memory_order_acquire) & (bit(at) - 1))
        return true;
    for (int i = 0; i < word / 64; i++)
        if (atomic_load_explicit(&s->summary[i], memory_order_acquire))
            return true;
    return atomic_load_explicit(&s->summary[word / 64], memory_order_acquire) & (bit(word) - 1);
}

static void end_group(wf_scheduler *s, int u);

static void make_ready(wf_scheduler *s, int u)
{
    const wf_task_group *group = &s->run->plan->groups[u];
    if (group->tiles == 0) {
        /* The commit barrier: everything else has ended. If something failed, the run ends here,
         * before anything is committed. */
        if (group->barrier && wf_run_failed(s->run)) {
            atomic_store(&s->finished, 1);
            wake_all(s);
            return;
        }
        end_group(s, u);
        return;
    }
    segment *seg = s->segments + (size_t)u * (size_t)s->ctx->threads;
    int w = s->workers;
    for (int i = 0; i < w; i++) {
        seg[i].end = group->tiles * (i + 1) / w;
        atomic_store_explicit(&seg[i].next, group->tiles * i / w, memory_order_relaxed);
    }
    atomic_store_explicit(&s->groups[u].left, group->tiles, memory_order_relaxed);
    set_ready(s, s->groups[u].position);
}

static void end_group(wf_scheduler *s, int u)
{
    const wf_task_group *group = &s->run->plan->groups[u];
    const int after = s->groups[u].position + 1;
    for (int i = 0; i < group->n_succ && !s->in_sequence; i++) {
        int v = group->succ[i];
        if (atomic_fetch_sub(&s->groups[v].preds, 1) == 1)
            make_ready(s, v);
    }
    if (s->in_sequence && after < s->run->plan->n_groups) {
        atomic_store(&s->groups[s->run->plan->order[after]].preds, 0);
        make_ready(s, s->run->plan->order[after]);
    }
    if (atomic_fetch_sub(&s->groups_left, 1) == 1) {
        atomic_store(&s->finished, 1);
        wake_all(s);
    }
}

/* ---- the worker loop ---- */

static bool claim(segment *seg, int64_t *tile)
{
    if (atomic_load_explicit(&seg->next, memory_order_relaxed) >= seg->end)
        return false;
    *tile = atomic_fetch_add_explicit(&seg->next, 1, memory_order_relaxed);
    return *tile < seg->end;
}

static void tell(wf_scheduler *s, int worker, int group, int64_t tile)
{
    atomic_store_explicit(&s->states[worker].tile, tile, memory_order_relaxed);
    atomic_store_explicit(&s->states[worker].group, group, memory_order_relaxed);
}

/* Runs tiles of task group u until none is left to claim; returns whether any was run. */
static bool work_on(wf_scheduler *s, int u, int worker)
{
    segment *seg = s->segments + (size_t)u * (size_t)s->ctx->threads;
    const wf_task_group *group = &s->run->plan->groups[u];
    int at = s->groups[u].position;
    bool any = false;
    for (int i = 0; i < s->workers; i++) {
        segment *from = &seg[(worker + i) % s->workers];
        int64_t tile;
        while (claim(from, &tile)) {
            any = true;
            tell(s, worker, u, tile);
            if (!wf_run_failed(s->run))
                wf_run_tile(s->run, group, tile, worker);
            tell(s, worker, LOOKING, 0);
            if (atomic_fetch_sub_explicit(&s->groups[u].left, 1, memory_order_acq_rel) == 1) {
                clear_ready(s, at);
                end_group(s, u);
                return true;
            }
            if (more_urgent(s, at))
                return true;
        }
    }
    /* All tiles are claimed. Others still run some, but there is nothing to take here. */
    clear_ready(s, at);
    return any;
}

static bool find_work_in_word(wf_scheduler *s, int w, int worker)
{
    uint64_t word = atomic_load_explicit(&s->ready[w], memory_order_acquire);
    for (; word; word &= word - 1)
        if (work_on(s, s->run->plan->order[w * 64 + __builtin_ctzll(word)], worker))
            return true;
    return false;
}

static bool find_work(wf_scheduler *s, int worker)
{
    for (int i = 0; i < s->n_summary; i++) {
        uint64_t words = atomic_load_explicit(&s->summary[i], memory_order_acquire);
        for (; words; words &= words - 1)
            if (find_work_in_word(s, i * 64 + __builtin_ctzll(words), worker))
                return true;
    }
    return false;
}

static void rest(wf_scheduler *s, unsigned seen, int worker)
{
    if (s->spin) {
        double until = wf_seconds() + SPIN_SECONDS;
        do {
            for (int i = 0; i < SPINS; i++) {
                if (atomic_load_explicit(&s->epoch, memory_order_acquire) != seen)
                    return;
                _mm_pause();
            }
        } while (wf_seconds() < until);
    }
    tell(s, worker, ASLEEP, 0);
    pthread_mutex_lock(&s->lock);
    atomic_fetch_add(&s->sleepers, 1);
    while (atomic_load(&s->epoch) == seen && !atomic_load(&s->finished))
        pthread_cond_wait(&s->wake, &s->lock);
    atomic_fetch_sub(&s->sleepers, 1);
    pthread_mutex_unlock(&s->lock);
    tell(s, worker, LOOKING, 0);
}

static void work(wf_scheduler *s, int worker)
{
    unsigned denormals = wf_denormals_off();
    wf_saved_binding saved;
    wf_topology_bind(s->ctx->topology, worker, &saved);
    tell(s, worker, LOOKING, 0);
    while (!atomic_load_explicit(&s->finished, memory_order_acquire)) {
        unsigned seen = atomic_load(&s->epoch);
        if (!find_work(s, worker))
            rest(s, seen, worker);
    }
    tell(s, worker, OUTSIDE, 0);
    wf_topology_unbind(&saved);
    wf_denormals_restore(denormals);
}

static void start(wf_scheduler *s, int workers)
{
    const wf_plan *p = s->run->plan;
    s->workers = workers;
    for (int i = 0; i < s->n_words + s->n_summary; i++)
        atomic_store(&s->ready[i], 0);
    for (int i = 0; i < p->n_groups; i++) {
        const int preds = s->in_sequence ? i > 0 : p->groups[p->order[i]].n_preds;
        s->groups[p->order[i]].position = i;
        atomic_store_explicit(&s->groups[p->order[i]].preds, preds, memory_order_relaxed);
        atomic_store_explicit(&s->groups[p->order[i]].left, p->groups[p->order[i]].tiles,
                              memory_order_relaxed);
    }
    atomic_store(&s->finished, p->n_groups == 0);
    atomic_store(&s->groups_left, p->n_groups);
    atomic_store(&s->epoch, 0);
    /* Groups without predecessors. This reads the plan's count, not the counters: ending a barrier
     * at once already changes those. */
    if (s->in_sequence && p->n_groups > 0)
        make_ready(s, p->order[0]);
    for (int u = 0; u < p->n_groups && !s->in_sequence; u++)
        if (p->groups[u].n_preds == 0)
            make_ready(s, u);
}

static void start_and_work(void *user, int worker, int workers)
{
    wf_scheduler *s = user;
#pragma omp single
    start(s, workers);
    work(s, worker);
}

weft_status wf_scheduler_run(wf_scheduler *s, wf_run *run)
{
    s->run = run;
    WF_TRY(reserve(s, run->plan));
    if (!s->stacks_checked)
        WF_TRY(wf_workers_check_stacks(s->ctx->threads, &s->ctx->error));
    s->stacks_checked = true;
    wf_team_run(s->ctx->threads, start_and_work, s);
    return WEFT_OK;
}
