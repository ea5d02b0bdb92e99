/* Every state that the scheduler may come to, on small plans: its ready counters, claims, sleeping, waking
 * and shutdown.
 *
 * The scheduler's own source is compiled here over atomics and locks that hand control to an explorer before
 * each access. Each worker is a coroutine with a stack of its own. A state is the scheduler's memory, the
 * lock, and all stacks with their registers. From each new state the explorer lets each worker that is able
 * to go take its next access, until no state is new. It thus sees every interleaving of accesses, as they
 * would be under sequential consistency; ThreadSanitizer (./dev sanitize) looks at the orderings.
 *
 * It checks in every state that a tile begins once and after all that it depends on, that nothing is
 * committed after a failure, that some worker is able to go until all have left, and, when all
 * states are known, that from each of them the end can be reached: so there is neither deadlock nor
 * a circle without a way out. Three faults, put in on purpose, show that it would find them.
 *
 * A worker that waits on the condition goes on only once it is woken: a wake-up for no reason would hide
 * those that are lost. Workers do not spin before they sleep: spinning only looks at the epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>
#include <immintrin.h>

#include "engine/base/alloc.h"
#include "engine/base/clock.h"
#include "engine/run/scheduler_state.h"

/* ---- what the scheduler's source sees in place of atomics, locks, clock and tiles ---- */

/* Gives the explorer the choice of who goes next. What workers tell of themselves, for
 * wf_scheduler_dump, decides nothing: there is no choice before it. */
static void before_access(const volatile void *at);
static bool lose_second_look, lose_wake, lose_edge;
static const void *ready_begin, *ready_end;

static bool in_ready(const volatile void *at)
{
    const uintptr_t a = (uintptr_t)at;
    return a >= (uintptr_t)ready_begin && a < (uintptr_t)ready_end;
}

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or
#undef atomic_fetch_and
/* `lose_second_look`: clear_ready's second look at a word, the only plain atomic_load of one, sees nothing. */
#define atomic_load(p)                                                                             \
    (before_access(p), lose_second_look && in_ready(p) ? 0 : __atomic_load_n(p, __ATOMIC_SEQ_CST))
#define atomic_load_explicit(p, order) (before_access(p), __atomic_load_n(p, __ATOMIC_SEQ_CST))
#define atomic_store(p, x) (before_access(p), __atomic_store_n(p, x, __ATOMIC_SEQ_CST))
#define atomic_store_explicit(p, x, order) atomic_store(p, x)
#define atomic_fetch_add(p, x) (before_access(p), __atomic_fetch_add(p, x, __ATOMIC_SEQ_CST))
#define atomic_fetch_add_explicit(p, x, order) atomic_fetch_add(p, x)
#define atomic_fetch_sub(p, x) (before_access(p), __atomic_fetch_sub(p, x, __ATOMIC_SEQ_CST))
#define atomic_fetch_sub_explicit(p, x, order) atomic_fetch_sub(p, x)
#define atomic_fetch_or(p, x) (before_access(p), __atomic_fetch_or(p, x, __ATOMIC_SEQ_CST))
#define atomic_fetch_and(p, x) (before_access(p), __atomic_fetch_and(p, x, __ATOMIC_SEQ_CST))

static void lock(void);
static void unlock(void);
static void wait_for_wake(void);
static void wake_waiting(void);
static void run_tile(const wf_task_group *group, int64_t tile);
static bool tile_failed(void);
#define pthread_mutex_lock(m) lock()
#define pthread_mutex_unlock(m) unlock()
#define pthread_cond_wait(c, m) wait_for_wake()
#define pthread_cond_broadcast(c) wake_waiting()
#define wf_run_tile(run, group, tile, worker) run_tile(group, tile)
#define wf_run_failed(run) tile_failed()
#define wf_seconds()                                                                               \
    0.0 /* unused: the explored workers sleep at once, which leaves out no access */
#define wf_topology_bind(topology, worker, saved) ((void)(saved))
#define wf_topology_unbind(saved) ((void)(saved))
#define SPINS 1

/* The library has the functions as well: these are this file's own. */
weft_status states_scheduler_create(weft_context *ctx, wf_scheduler **scheduler);
void states_scheduler_destroy(wf_scheduler *s);
weft_status states_scheduler_run(wf_scheduler *s, wf_run *run);
#define wf_scheduler_create states_scheduler_create
#define wf_scheduler_destroy states_scheduler_destroy
#define wf_scheduler_run states_scheduler_run
#include "engine/run/scheduler.c"

/* ---- small plans ---- */

enum { MAX_WORKERS = 3, MAX_GROUPS = 6, MAX_TILES = 3, STACK = 8192 };

typedef struct small_plan {
    const char *name;
    int n, workers;
    int tiles[MAX_GROUPS]; /* 0: the barrier */
    const char *edges;     /* "01 12": from 0 to 1, from 1 to 2 */
    int commits;           /* the last groups */
    int fails;             /* the group whose tile 0 fails; -1: none */
    bool sequence;
} small_plan;

/* All that changes during a run, but the stacks. Copied as a whole. */
typedef struct memory {
    wf_scheduler scheduler;
    segment segments[MAX_GROUPS * MAX_WORKERS];
    group_state groups[MAX_GROUPS];
    _Atomic uint64_t ready[2];
    int holder; /* worker that has the lock; -1: none */
    char begun[MAX_GROUPS][MAX_TILES], ended[MAX_GROUPS][MAX_TILES];
    bool failed;
    char status[MAX_WORKERS]; /* of each worker: see below */
    void *sp[MAX_WORKERS];
    worker_state states[MAX_WORKERS]; /* the last member: it makes no other state */
} memory;
enum { READY, WANTS_LOCK, WAITS, GONE };

static memory now;
static _Alignas(64) char stacks[MAX_WORKERS][STACK];
static wf_plan plan;
static wf_task_group groups[MAX_GROUPS];
static int order[MAX_GROUPS], succ[MAX_GROUPS][MAX_GROUPS];
static const small_plan *playing;
static wf_run one_run;
static weft_context some_context;
static int current; /* the worker that goes */
static void *explorer_sp;
static const char *wrong; /* what a check found; NULL: nothing */

/* ---- coroutines: the callee-saved registers on the stack, the stack pointer kept ---- */

void wf_states_switch(void **from, void *to);
__asm__(".text\n.globl wf_states_switch\n.type wf_states_switch,@function\nwf_states_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size wf_states_switch,.-wf_states_switch\n");

static void to_explorer(void)
{
    wf_states_switch(&now.sp[current], explorer_sp);
}

static bool exploring;

static void before_access(const volatile void *at)
{
    const uintptr_t a = (uintptr_t)at, states = (uintptr_t)now.states;
    if (exploring && (a < states || a >= states + sizeof now.states))
        to_explorer();
}

static void lock(void)
{
    now.status[current] = WANTS_LOCK;
    to_explorer(); /* comes back when the lock is free */
    now.status[current] = READY;
    now.holder = current;
}

static void unlock(void)
{
    before_access(NULL);
    now.holder = -1;
}

static void wait_for_wake(void)
{
    before_access(NULL);
    now.holder = -1;
    now.status[current] = WAITS;
    to_explorer();
    now.status[current] = READY;
    now.holder = current;
}

static void wake_waiting(void)
{
    before_access(NULL);
    for (int w = 0; w < playing->workers && !lose_wake; w++)
        if (now.status[w] == WAITS)
            now.status[w] = WANTS_LOCK;
}

static bool tile_failed(void)
{
    before_access(NULL);
    return now.failed;
}

static void expect(bool good, const char *what)
{
    if (!good && !wrong)
        wrong = what;
}

static bool all_ended(int u)
{
    for (int t = 0; t < playing->tiles[u]; t++)
        if (!now.ended[u][t])
            return false;
    return true;
}

/* A tile is two accesses long, so that others happen while it runs. */
static void run_tile(const wf_task_group *group, int64_t tile)
{
    const int u = (int)(group - groups);
    expect(tile >= 0 && tile < playing->tiles[u], "a tile that is not there was run");
    expect(!now.begun[u][tile], "a tile was run twice");
    for (int v = 0; v < playing->n; v++)
        for (int i = 0; i < groups[v].n_succ; i++)
            if (succ[v][i] == u && !groups[v].barrier)
                expect(all_ended(v), "a tile began before what it depends on");
    for (int v = 0; v < playing->n && group->commit; v++)
        expect(groups[v].commit || all_ended(v), "a commit began before the barrier");
    expect(!group->commit || !now.failed, "something was committed after a failure");
    now.begun[u][tile] = 1;
    before_access(NULL);
    if (u == playing->fails && tile == 0)
        now.failed = true;
    before_access(NULL);
    now.ended[u][tile] = 1;
}

static void worker_main(void)
{
    work(&now.scheduler, current);
    now.status[current] = GONE;
    for (;;)
        to_explorer();
}

/* ---- the set of states: hashes of what was seen, and how the states follow each other ---- */

enum { MOST_STATES = 1 << 20 };

typedef struct snapshot {
    struct snapshot *below; /* of the stack of states to look at */
    int number;
    memory mem;
    int used[MAX_WORKERS]; /* bytes of each stack */
    char stack[];
} snapshot;

typedef struct edge {
    int from, to;
} edge;

static uint64_t *seen; /* open addressing: the hashes; 0: free */
static int *number_of;
static edge *edges;
static int n_states, n_edges, cap_edges;
static int *ends; /* states in which all have left */
static int n_ends, cap_ends;

static uint64_t mix(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15;
        h ^= h >> 32;
    }
    for (; n; p++, n--)
        h = (h ^ *p) * 0x100000001b3;
    return h;
}

static int stack_used(int w)
{
    return (int)(stacks[w] + STACK - (char *)now.sp[w]);
}

static uint64_t hash_now(void)
{
    uint64_t h = mix(1, &now, offsetof(memory, states));
    for (int w = 0; w < playing->workers; w++)
        h = mix(h + (uint64_t)w, now.sp[w], (size_t)stack_used(w));
    return h ? h : 1;
}

/* The number of the present state; *fresh: it was not known. */
static int state_number(bool *fresh)
{
    const uint64_t h = hash_now();
    size_t at = h % (2 * MOST_STATES);
    while (seen[at] && seen[at] != h)
        at = (at + 1) % (2 * MOST_STATES);
    *fresh = !seen[at];
    if (*fresh) {
        assert_true(n_states < MOST_STATES);
        seen[at] = h;
        number_of[at] = n_states++;
    }
    return number_of[at];
}

static snapshot *save(int number, snapshot *below)
{
    size_t bytes = 0;
    for (int w = 0; w < playing->workers; w++)
        bytes += (size_t)stack_used(w);
    snapshot *s = malloc(sizeof *s + bytes);
    assert_non_null(s);
    s->below = below;
    s->number = number;
    s->mem = now;
    char *to = s->stack;
    for (int w = 0; w < playing->workers; w++) {
        s->used[w] = stack_used(w);
        memcpy(to, now.sp[w], (size_t)s->used[w]);
        to += s->used[w];
    }
    return s;
}

static void restore(const snapshot *s)
{
    now = s->mem;
    const char *from = s->stack;
    for (int w = 0; w < playing->workers; w++) {
        memcpy(now.sp[w], from, (size_t)s->used[w]);
        from += s->used[w];
    }
}

static bool able(int w)
{
    return now.status[w] == READY || (now.status[w] == WANTS_LOCK && now.holder < 0);
}

static bool all_gone(void)
{
    for (int w = 0; w < playing->workers; w++)
        if (now.status[w] != GONE)
            return false;
    return true;
}

static void check_end(void)
{
    for (int u = 0; u < playing->n; u++)
        expect(playing->fails >= 0 || all_ended(u),
               "all workers have left, and tiles have not run");
    expect(playing->fails < 0 || now.failed, "the tile that fails has not run");
}

static void note_edge(int from, int to)
{
    if (n_edges == cap_edges) {
        cap_edges = cap_edges ? 2 * cap_edges : 1 << 16;
        edges = realloc(edges, (size_t)cap_edges * sizeof *edges);
        assert_non_null(edges);
    }
    edges[n_edges++] = (edge){from, to};
}

/* Whether an end can be reached from every state: walks the edges backwards. */
static bool end_always_reachable(void)
{
    int *first = malloc((size_t)n_states * sizeof *first);
    int *next = malloc(((size_t)n_edges + 1) * sizeof *next);
    int *todo = malloc((size_t)n_states * sizeof *todo), n = 0, reached = 0;
    char *good = calloc((size_t)n_states, 1);
    assert_true(first && next && todo && good);
    for (int i = 0; i < n_states; i++)
        first[i] = -1;
    for (int e = 0; e < n_edges; e++) {
        next[e] = first[edges[e].to];
        first[edges[e].to] = e;
    }
    for (int i = 0; i < n_ends; i++)
        if (!good[ends[i]]) {
            good[ends[i]] = 1;
            todo[n++] = ends[i];
        }
    while (n > 0) {
        const int at = todo[--n];
        reached++;
        for (int e = first[at]; e >= 0; e = next[e])
            if (!good[edges[e].from]) {
                good[edges[e].from] = 1;
                todo[n++] = edges[e].from;
            }
    }
    free(first);
    free(next);
    free(todo);
    free(good);
    return reached == n_states;
}

/* ---- one exploration ---- */

static void make_plan(const small_plan *p)
{
    memset(groups, 0, sizeof groups);
    for (int u = 0; u < p->n; u++) {
        order[u] = u;
        groups[u] = (wf_task_group){.tiles = p->tiles[u],
                                    .barrier = p->tiles[u] == 0,
                                    .commit = u >= p->n - p->commits,
                                    .succ = succ[u]};
    }
    for (const char *e = p->edges; *e; e += e[2] ? 3 : 2) {
        const int from = e[0] - '0', to = e[1] - '0';
        succ[from][groups[from].n_succ++] = to;
        groups[to].n_preds++;
    }
    groups[p->n - 1].n_preds -= lose_edge;
    plan = (wf_plan){.groups = groups, .n_groups = p->n, .order = order, .barrier = -1};
}

/* The state in which every worker is about to begin. */
static void begin(const small_plan *p)
{
    memset(&now, 0, sizeof now);
    memset(stacks, 0, sizeof stacks);
    some_context.threads = p->workers;
    one_run = (wf_run){.ctx = &some_context, .plan = &plan};
    wf_scheduler *s = &now.scheduler;
    s->ctx = &some_context;
    s->in_sequence = p->sequence;
    s->segments = now.segments;
    s->groups = now.groups;
    s->states = now.states;
    s->ready = now.ready;
    s->summary = now.ready + 1;
    s->n_words = s->n_summary = 1;
    s->run = &one_run;
    ready_begin = &now.ready[0];
    ready_end = &now.ready[1];
    now.holder = -1;
    exploring = false;
    start(s, p->workers);
    exploring = true;
    for (int w = 0; w < p->workers; w++) {
        void **top =
            (void **)(stacks[w] + STACK) - 2; /* as after a call: 8 above a multiple of 16 */
        *top = (void *)worker_main;
        now.sp[w] = top - 6;
    }
}

/* Explores all states of a plan. Returns what is wrong, or NULL. */
static const char *explore(const small_plan *p)
{
    playing = p;
    wrong = NULL;
    n_states = n_edges = n_ends = 0;
    memset(seen, 0, 2 * MOST_STATES * sizeof *seen);
    make_plan(p);
    begin(p);
    bool fresh;
    snapshot *stack = save(state_number(&fresh), NULL);
    while (stack && !wrong) {
        snapshot *s = stack;
        stack = s->below;
        int went = 0;
        for (int w = 0; w < p->workers && !wrong; w++) {
            restore(s);
            if (!able(w))
                continue;
            went++;
            current = w;
            wf_states_switch(&explorer_sp, now.sp[w]);
            const int to = state_number(&fresh);
            note_edge(s->number, to);
            if (fresh)
                stack = save(to, stack);
        }
        restore(s);
        if (went == 0 && all_gone()) {
            check_end();
            if (n_ends == cap_ends) {
                cap_ends = cap_ends ? 2 * cap_ends : 64;
                ends = realloc(ends, (size_t)cap_ends * sizeof *ends);
                assert_non_null(ends);
            }
            ends[n_ends++] = s->number;
        } else {
            expect(went > 0, "deadlock: no worker is able to go");
        }
        free(s);
    }
    while (stack) {
        snapshot *s = stack;
        stack = s->below;
        free(s);
    }
    if (!wrong && !end_always_reachable())
        wrong = "a state from which the end cannot be reached";
    return wrong;
}

static int make_set(void **state)
{
    (void)state;
    seen = calloc(2 * MOST_STATES, sizeof *seen);
    number_of = calloc(2 * MOST_STATES, sizeof *number_of);
    return seen && number_of ? 0 : -1;
}

static int free_set(void **state)
{
    (void)state;
    free(seen);
    free(number_of);
    free(edges);
    free(ends);
    return 0;
}

/* ---- tests ---- */

static const small_plan plans[] = {
    {.name = "chain", .n = 2, .workers = 2, .tiles = {1, 2}, .edges = "01", .fails = -1},
    {.name = "branches", .n = 3, .workers = 2, .tiles = {1, 1, 1}, .edges = "01 02", .fails = -1},
    {.name = "two roots", .n = 3, .workers = 2, .tiles = {1, 2, 1}, .edges = "02 12", .fails = -1},
    {.name = "commit",
     .n = 4,
     .workers = 2,
     .tiles = {1, 1, 0, 1},
     .edges = "02 12 23",
     .commits = 1,
     .fails = -1},
    {.name = "failure",
     .n = 4,
     .workers = 2,
     .tiles = {1, 1, 0, 1},
     .edges = "02 12 23",
     .commits = 1,
     .fails = 0},
    {.name = "sequence",
     .n = 3,
     .workers = 2,
     .tiles = {1, 1, 1},
     .edges = "02 12",
     .fails = -1,
     .sequence = true},
    {.name = "more workers than tiles",
     .n = 1,
     .workers = 3,
     .tiles = {2},
     .edges = "",
     .fails = -1},
    {.name = "alone",
     .n = 4,
     .workers = 1,
     .tiles = {2, 3, 0, 1},
     .edges = "02 12 23",
     .commits = 1,
     .fails = -1},
};

static void every_state_of_small_plans(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        const char *found = explore(&plans[i]);
        if (found)
            fail_msg("%s: %s, after %d states", plans[i].name, found, n_states);
        print_message("%s: %d states, %d steps, %d ends\n", plans[i].name, n_states, n_edges,
                      n_ends);
    }
}

static void faults_put_in_are_found(void **state)
{
    (void)state;
    lose_wake = true;
    assert_non_null(explore(&plans[1]));
    lose_wake = false;
    lose_second_look = true;
    assert_non_null(explore(&plans[1]));
    lose_second_look = false;
    lose_edge = true; /* a ready counter that begins one too low */
    assert_non_null(explore(&plans[2]));
    lose_edge = false;
    assert_null(explore(&plans[2]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_of_small_plans),
        cmocka_unit_test(faults_put_in_are_found),
    };
    return cmocka_run_group_tests(tests, make_set, free_set);
}
