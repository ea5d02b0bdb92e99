/* The tile scheduler under load: random graphs of many small task groups, on one to sixteen threads, more
 * than there are cores. What a tile reads was written by other threads without any lock, so that
 * ThreadSanitizer (./dev sanitize) sees an edge that the scheduler forgot. */
#include <immintrin.h>
#include <omp.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "engine/tensor/context.h"
#include "engine/run/run.h"
#include "tests/engine/watchdog.h"

enum {
    UNITS = 200,
    COMMITS = 20, /* the last task groups; the barrier stands before them */
    BARRIER = UNITS - COMMITS - 1,
    ROOTS = 24,
    TILES = 40,
    PREDS = 24,
    LIMIT = 120 /* seconds that a run may take */
};

static const wf_run_source no_step; /* the plans are made by hand */

typedef struct dag dag;

typedef struct node {
    dag *d;
    int group, n_preds, preds[PREDS];
    int runs[TILES]; /* how often each tile has run */
    uint64_t value[TILES];
} node;

struct dag {
    wf_plan plan;
    wf_task_group groups[UNITS];
    int order[UNITS], index[UNITS], succ[UNITS][UNITS];
    wf_task tasks[UNITS], *task_list[UNITS];
    node nodes[UNITS];
    int replay; /* counts from 1 */
    int fail_group, fail_tile;
    atomic_int errors;
};

static uint64_t next(uint64_t *state) /* xorshift64* */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

/* Whether every tile of u has run in this replay; gathers what they wrote. */
static bool done(const dag *d, int u, uint64_t *sum)
{
    bool all = true;
    for (int64_t t = 0; t < d->groups[u].tiles; t++) {
        all &= d->nodes[u].runs[t] == d->replay;
        *sum = *sum * 31 + d->nodes[u].value[t];
    }
    return all;
}

static weft_status tile(const wf_tile *t, const void *args, int64_t i)
{
    node *n;
    memcpy(&n, args, sizeof n);
    dag *d = n->d;
    uint64_t sum = (uint64_t)n->group * 1000 + (uint64_t)i;
    bool ok = true;
    for (int p = 0; p < n->n_preds; p++)
        ok &= done(d, n->preds[p], &sum);
    for (int u = 0; u < BARRIER && d->groups[n->group].commit; u++)
        ok &= done(d, u, &sum);
    ok &= (_mm_getcsr() & 0xffc0) == 0x9fc0; /* flush to zero, round to nearest */
    ok &= omp_get_max_threads() == 1;
    ok &= ++n->runs[i] == d->replay;
    n->value[i] = sum;
    if (!ok)
        atomic_fetch_add(&d->errors, 1);
    if (n->group == d->fail_group && i == d->fail_tile)
        return wf_tile_fail(t, WEFT_ERR_NUMERIC, "group %d", n->group);
    return WEFT_OK;
}

static void add_edge(dag *d, int from, int to)
{
    node *n = &d->nodes[to];
    for (int i = 0; i < d->groups[from].n_succ; i++)
        if (d->succ[from][i] == to)
            return;
    d->succ[from][d->groups[from].n_succ++] = to;
    d->groups[to].n_preds++;
    if (from != BARRIER && to != BARRIER)
        n->preds[n->n_preds++] = from;
}

static void random_edges(dag *d, uint64_t *state)
{
    for (int u = ROOTS; u < BARRIER; u++) {
        int n = u % 16 == 0 ? PREDS : 1 + (int)(next(state) % 4); /* here and there a wide fan-in */
        for (int i = 0; i < n; i++)
            add_edge(d, (int)(next(state) % (uint64_t)u), u);
    }
    for (int u = 0; u < BARRIER; u++)
        add_edge(d, u, BARRIER);
    for (int u = BARRIER + 1; u < UNITS; u++) {
        add_edge(d, BARRIER, u);
        if (u % 3 == 0)
            add_edge(d, u - 1, u);
    }
}

static dag *make_dag(uint64_t seed)
{
    dag *d = calloc(1, sizeof *d);
    assert_non_null(d);
    uint64_t state = seed * 2 + 1;
    d->fail_group = -1;
    for (int u = 0; u < UNITS; u++) {
        d->nodes[u].d = d;
        d->nodes[u].group = d->order[u] = d->index[u] = u;
        node *self = &d->nodes[u];
        void *args = malloc(sizeof self);
        memcpy(args, &self, sizeof self);
        d->tasks[u] = (wf_task){.plan = &d->plan, .fn = tile, .args = args, .group = u};
        d->task_list[u] = &d->tasks[u];
        d->groups[u] = (wf_task_group){.tasks = &d->index[u],
                                       .n_tasks = 1,
                                       .succ = d->succ[u],
                                       .tiles = 1 + (int64_t)(next(&state) % TILES),
                                       .commit = u > BARRIER};
    }
    d->groups[BARRIER] = (wf_task_group){.barrier = true, .succ = d->succ[BARRIER]};
    random_edges(d, &state);
    for (int u = UNITS - 1; u > 0; u--) { /* any order of urgency is right */
        int other = (int)(next(&state) % (uint64_t)(u + 1)), was = d->order[u];
        d->order[u] = d->order[other];
        d->order[other] = was;
    }
    d->plan = (wf_plan){.tasks = d->task_list,
                        .n_tasks = UNITS,
                        .groups = d->groups,
                        .n_groups = UNITS,
                        .order = d->order,
                        .barrier = BARRIER};
    return d;
}

static void free_dag(dag *d)
{
    for (int u = 0; u < UNITS; u++)
        free(d->tasks[u].args);
    free(d);
}

static weft_context *context(int threads)
{
    weft_options o = {.threads = threads};
    weft_context *ctx = NULL;
    weft_error err = WEFT_ERROR_INIT;
    if (weft_context_create(&ctx, &o, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    return ctx;
}

/* One replay; the sum of all values. */
static uint64_t replay(weft_context *ctx, wf_scheduler *s, dag *d, weft_status *status)
{
    wf_run run = {.ctx = ctx, .plan = &d->plan, .source = &no_step};
    d->replay++;
    uint64_t sum = 0;
    watchdog_begin(s, LIMIT);
    *status = wf_scheduler_run(s, &run);
    watchdog_end();
    if (*status == WEFT_OK && atomic_load(&run.failed))
        *status = run.status;
    for (int u = 0; u < UNITS; u++)
        done(d, u, &sum);
    return sum;
}

static void every_tile_runs_once_after_all_it_depends_on(void **state)
{
    static const struct {
        int threads, replays;
    } cases[] = {{1, 20}, {2, 200}, {3, 100}, {5, 60}, {16, 40}};
    uint64_t want = 0;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        weft_context *ctx = context(cases[c].threads);
        wf_scheduler *s = NULL;
        assert_int_equal(wf_scheduler_create(ctx, &s), WEFT_OK);
        dag *d = make_dag(7);
        for (int i = 0; i < cases[c].replays; i++) {
            weft_status status;
            uint64_t got = replay(ctx, s, d, &status);
            want = want ? want : got;
            assert_int_equal(status, WEFT_OK);
            assert_int_equal(atomic_load(&d->errors), 0);
            assert_true(got == want);
        }
        free_dag(d);
        wf_scheduler_destroy(s);
        weft_context_destroy(ctx);
    }
}

static void a_scheduler_takes_one_plan_after_another(void **state)
{
    weft_context *ctx = context(4);
    wf_scheduler *s = NULL;
    assert_int_equal(wf_scheduler_create(ctx, &s), WEFT_OK);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        dag *d = make_dag(seed);
        d->plan.n_groups = seed % 2 ? UNITS : 0; /* the empty plan, too */
        for (int i = 0; i < 5; i++) {
            weft_status status;
            replay(ctx, s, d, &status);
            assert_int_equal(status, WEFT_OK);
            assert_int_equal(atomic_load(&d->errors), 0);
            assert_int_equal(d->nodes[UNITS - 1].runs[0], seed % 2 ? d->replay : 0);
        }
        free_dag(d);
    }
    wf_scheduler_destroy(s);
    weft_context_destroy(ctx);
}

static void nothing_is_committed_once_a_tile_has_failed(void **state)
{
    weft_context *ctx = context(4);
    wf_scheduler *s = NULL;
    assert_int_equal(wf_scheduler_create(ctx, &s), WEFT_OK);
    for (int group = 0; group < BARRIER; group += 7) {
        dag *d = make_dag(3);
        d->fail_group = group;
        d->fail_tile = (int)d->groups[group].tiles - 1;
        weft_status status;
        replay(ctx, s, d, &status);
        assert_int_equal(status, WEFT_ERR_NUMERIC);
        for (int u = BARRIER + 1; u < UNITS; u++)
            for (int64_t t = 0; t < d->groups[u].tiles; t++)
                assert_int_equal(d->nodes[u].runs[t], 0);
        free_dag(d);
        /* And the scheduler is as good as new. */
        d = make_dag(3);
        replay(ctx, s, d, &status);
        assert_int_equal(status, WEFT_OK);
        assert_int_equal(atomic_load(&d->errors), 0);
        free_dag(d);
    }
    wf_scheduler_destroy(s);
    weft_context_destroy(ctx);
}

/* Two workers. One is held in task group 0 (the gate) until the other works on the last task group, which has
 * many tiles. The gate's end makes task group 1 ready, which is more urgent, and its first tile is held
 * until the second one has begun, too, or until the last task group is done. Task groups between them only take
 * positions. */
enum { LONG_TILES = 100, URGENT_TILES = 2 };

typedef struct urgent_case {
    atomic_int long_begun, urgent_begun;
    int long_begun_before_second; /* tiles of the last task group, when task group 1's second tile began */
    atomic_bool alone;            /* OpenMP gave one thread only: nothing to see */
} urgent_case;

static urgent_case *case_of(const void *args)
{
    urgent_case *c;
    memcpy(&c, args, sizeof c);
    return c;
}

static weft_status gate_tile(const wf_tile *t, const void *args, int64_t i)
{
    urgent_case *c = case_of(args);
    c->alone = omp_get_num_threads() == 1;
    while (atomic_load(&c->long_begun) == 0 && !c->alone)
        _mm_pause();
    return WEFT_OK;
}

static weft_status urgent_tile(const wf_tile *t, const void *args, int64_t i)
{
    urgent_case *c = case_of(args);
    if (atomic_fetch_add(&c->urgent_begun, 1) + 1 == URGENT_TILES)
        c->long_begun_before_second = atomic_load(&c->long_begun);
    while (atomic_load(&c->urgent_begun) < URGENT_TILES &&
           atomic_load(&c->long_begun) < LONG_TILES && !c->alone)
        _mm_pause();
    return WEFT_OK;
}

static weft_status long_tile(const wf_tile *t, const void *args, int64_t i)
{
    urgent_case *c = case_of(args);
    atomic_fetch_add(&c->long_begun, 1);
    while (atomic_load(&c->urgent_begun) == 0 && !c->alone)
        _mm_pause();
    return WEFT_OK;
}

static weft_status nothing_tile(const wf_tile *t, const void *args, int64_t i)
{
    return WEFT_OK;
}

static void a_worker_goes_to_a_more_urgent_unit_wherever_it_is(void **state)
{
    const int last_positions[] = {2, 63, 64, 200, 4095, 4096, 9000};
    for (size_t i = 0; i < sizeof last_positions / sizeof last_positions[0]; i++) {
        const int n = last_positions[i] + 1, last = n - 1;
        weft_context *ctx = context(2);
        wf_scheduler *s = NULL;
        assert_int_equal(wf_scheduler_create(ctx, &s), WEFT_OK);
        urgent_case c = {0}, *self = &c;
        wf_task_group *groups = calloc((size_t)n, sizeof *groups);
        wf_task *tasks = calloc((size_t)n, sizeof *tasks), **list = calloc((size_t)n, sizeof *list);
        int *order = calloc((size_t)n, sizeof *order),
            *after_urgent = calloc((size_t)n, sizeof(int));
        assert_true(groups && tasks && list && order && after_urgent);
        for (int u = 0; u < n; u++) {
            order[u] = u;
            list[u] = &tasks[u];
            tasks[u] = (wf_task){.fn = nothing_tile, .args = &self, .group = u};
            groups[u] = (wf_task_group){.tasks = &order[u], .n_tasks = 1, .tiles = 1, .n_preds = 1};
            if (u > 1 && u < last)
                after_urgent[u - 2] = u;
        }
        tasks[0].fn = gate_tile;
        tasks[1].fn = urgent_tile;
        tasks[last].fn = long_tile;
        groups[0].n_preds = groups[last].n_preds = 0;
        groups[0].succ = &order[1];
        groups[0].n_succ = 1;
        groups[1].succ = after_urgent;
        groups[1].n_succ = n - 3;
        groups[1].tiles = URGENT_TILES;
        groups[last].tiles = LONG_TILES;
        wf_plan plan = {.tasks = list,
                        .n_tasks = n,
                        .groups = groups,
                        .n_groups = n,
                        .order = order,
                        .barrier = -1};
        wf_run run = {.ctx = ctx, .plan = &plan, .source = &no_step};
        watchdog_begin(s, LIMIT);
        assert_int_equal(wf_scheduler_run(s, &run), WEFT_OK);
        watchdog_end();
        assert_int_equal(atomic_load(&c.long_begun), LONG_TILES);
        if (c.long_begun_before_second > 1 && !c.alone)
            fail_msg("group %d: %d tiles were begun before the more urgent group's", last,
                     c.long_begun_before_second);
        free(groups);
        free(tasks);
        free(list);
        free(order);
        free(after_urgent);
        wf_scheduler_destroy(s);
        weft_context_destroy(ctx);
    }
}

/* ---- a run that hangs ---- */

/* A group's counter is one too high, so that it and what follows never become ready. */
static void hang(void)
{
    weft_context *ctx = context(3);
    wf_scheduler *s = NULL;
    if (wf_scheduler_create(ctx, &s) != WEFT_OK)
        return;
    dag *d = make_dag(5);
    d->groups[BARRIER].n_preds++;
    wf_run run = {.ctx = ctx, .plan = &d->plan, .source = &no_step};
    watchdog_begin(s, 1);
    wf_scheduler_run(s, &run);
}

static const char *self; /* this program */

/* In a process of its own: nothing may fork after a parallel region and go on. */
static void a_hang_is_a_failure_that_says_who_waits(void **state)
{
    char command[512], text[16384];
    snprintf(command, sizeof command, "'%s' hang 2>&1", self);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    const size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    const int status = pclose(f);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), WATCHDOG_STATUS);
    const char *const lines[] = {
        "watchdog: the run has not ended after 1 s\n", "worker 0 ", "worker 2 ",
        "21 of 200 groups left",
        "(the commit barrier): waits for 1 of 180 groups: none that the plan "
        "knows\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr(text, lines[i]))
            fail_msg("no '%s' in:\n%s", lines[i], text);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1 && strcmp(argv[1], "hang") == 0) {
        hang();
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tile_runs_once_after_all_it_depends_on),
        cmocka_unit_test(a_scheduler_takes_one_plan_after_another),
        cmocka_unit_test(nothing_is_committed_once_a_tile_has_failed),
        cmocka_unit_test(a_worker_goes_to_a_more_urgent_unit_wherever_it_is),
        cmocka_unit_test(a_hang_is_a_failure_that_says_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
