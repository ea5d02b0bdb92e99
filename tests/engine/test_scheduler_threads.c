/* The tile scheduler under load: random graphs of many small units, on one to sixteen threads, more
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
#include <cmocka.h>

#include "engine/context/context.h"
#include "engine/run/run.h"

enum {
    UNITS = 200,
    COMMITS = 20, /* the last units; the barrier stands before them */
    BARRIER = UNITS - COMMITS - 1,
    ROOTS = 24,
    TILES = 40,
    PREDS = 24
};

typedef struct dag dag;

typedef struct node {
    dag *d;
    int unit, n_preds, preds[PREDS];
    int runs[TILES]; /* how often each tile has run */
    uint64_t value[TILES];
} node;

struct dag {
    wf_plan plan;
    wf_unit units[UNITS];
    int order[UNITS], index[UNITS], succ[UNITS][UNITS];
    wf_task tasks[UNITS], *task_list[UNITS];
    node nodes[UNITS];
    int replay; /* counts from 1 */
    int fail_unit, fail_tile;
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
    for (int64_t t = 0; t < d->units[u].tiles; t++) {
        all &= d->nodes[u].runs[t] == d->replay;
        *sum = *sum * 31 + d->nodes[u].value[t];
    }
    return all;
}

static void tile(const wf_tile *t, const void *args, int64_t i)
{
    node *n;
    memcpy(&n, args, sizeof n);
    dag *d = n->d;
    uint64_t sum = (uint64_t)n->unit * 1000 + (uint64_t)i;
    bool ok = true;
    for (int p = 0; p < n->n_preds; p++)
        ok &= done(d, n->preds[p], &sum);
    for (int u = 0; u < BARRIER && d->units[n->unit].commit; u++)
        ok &= done(d, u, &sum);
    ok &= (_mm_getcsr() & 0xffc0) == 0x9fc0; /* flush to zero, round to nearest */
    ok &= omp_get_max_threads() == 1;
    ok &= ++n->runs[i] == d->replay;
    n->value[i] = sum;
    if (!ok)
        atomic_fetch_add(&d->errors, 1);
    if (n->unit == d->fail_unit && i == d->fail_tile)
        wf_tile_fail(t, WEFT_ERR_NUMERIC, "unit %d", n->unit);
}

static void add_edge(dag *d, int from, int to)
{
    node *n = &d->nodes[to];
    for (int i = 0; i < d->units[from].n_succ; i++)
        if (d->succ[from][i] == to)
            return;
    d->succ[from][d->units[from].n_succ++] = to;
    d->units[to].n_preds++;
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
    d->fail_unit = -1;
    for (int u = 0; u < UNITS; u++) {
        d->nodes[u].d = d;
        d->nodes[u].unit = d->order[u] = d->index[u] = u;
        node *self = &d->nodes[u];
        void *args = malloc(sizeof self);
        memcpy(args, &self, sizeof self);
        d->tasks[u] = (wf_task){.plan = &d->plan, .fn = tile, .args = args, .unit = u};
        d->task_list[u] = &d->tasks[u];
        d->units[u] = (wf_unit){.tasks = &d->index[u],
                                .n_tasks = 1,
                                .succ = d->succ[u],
                                .tiles = 1 + (int64_t)(next(&state) % TILES),
                                .commit = u > BARRIER};
    }
    d->units[BARRIER] = (wf_unit){.barrier = true, .succ = d->succ[BARRIER]};
    random_edges(d, &state);
    for (int u = UNITS - 1; u > 0; u--) { /* any order of urgency is right */
        int other = (int)(next(&state) % (uint64_t)(u + 1)), was = d->order[u];
        d->order[u] = d->order[other];
        d->order[other] = was;
    }
    d->plan = (wf_plan){.tasks = d->task_list,
                        .n_tasks = UNITS,
                        .units = d->units,
                        .n_units = UNITS,
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
    wf_run run = {.ctx = ctx, .plan = &d->plan};
    d->replay++;
    uint64_t sum = 0;
    *status = wf_scheduler_run(s, &run);
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
        d->plan.n_units = seed % 2 ? UNITS : 0; /* the empty plan, too */
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
    for (int unit = 0; unit < BARRIER; unit += 7) {
        dag *d = make_dag(3);
        d->fail_unit = unit;
        d->fail_tile = (int)d->units[unit].tiles - 1;
        weft_status status;
        replay(ctx, s, d, &status);
        assert_int_equal(status, WEFT_ERR_NUMERIC);
        for (int u = BARRIER + 1; u < UNITS; u++)
            for (int64_t t = 0; t < d->units[u].tiles; t++)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tile_runs_once_after_all_it_depends_on),
        cmocka_unit_test(a_scheduler_takes_one_plan_after_another),
        cmocka_unit_test(nothing_is_committed_once_a_tile_has_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
