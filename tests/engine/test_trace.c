/* What a timeline proves: two branches of a plan run side by side, and one after the other when they
 * are forced into sequence; and what is in the file. */
#include "tests/engine/values.h"
#include "tests/scratch.h"

#include <jansson.h>
#include <stdatomic.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/graph/op.h"

/* ---- two ops that meet: each tile waits until the other op's tile has begun, for a while ---- */

static atomic_int begun;
static bool wait_for_other;

static weft_status tile(const wf_tile *t, const void *args, int64_t i)
{
    (void)t, (void)args, (void)i;
    atomic_fetch_add(&begun, 1);
    for (double end = wf_seconds() + 20; wait_for_other && atomic_load(&begun) < 2;)
        if (wf_seconds() > end)
            return WEFT_ERR_INTERNAL;
    const struct timespec pause = {0, 2000000};
    nanosleep(&pause, NULL);
    return WEFT_OK;
}

static weft_status infer(wf_infer *f)
{
    f->out[0] = f->in[0];
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    char nothing = 0;
    wf_task *task = wf_lower_task(l, "meet:1", tile, &nothing, sizeof nothing, 1);
    wf_reads(task, wf_lower_in(l, 0).buf, WF_WHOLE);
    wf_writes(task, wf_lower_out(l, 0).buf, WF_WHOLE);
    wf_cost(task, 1e9, 0); /* too much for a task that joins another's group */
    return task ? WEFT_OK : WEFT_ERR_NOMEM;
}

static const wf_op meet = {
    .name = "meet", .n_out = 1, .layout_rule = WF_LAYOUT_PLAIN, .infer = infer, .lower = lower};

/* Runs two branches `steps` times and reads the timeline. */
static json_t *trace_of(weft_executor executor, int steps)
{
    static const double ones[4] = {1, 1, 1, 1};
    const weft_options options = {.threads = 2, .executor = executor, .trace_path = scratch_file};
    weft_context *ctx = NULL;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    weft_tensor *x = stored(ctx, WEFT_F32, WEFT_SHAPE(4), ones);
    for (int i = 0; i < steps; i++) {
        atomic_store(&begun, 0);
        weft_tensor *branch[2];
        for (int b = 0; b < 2; b++) {
            wf_path_push(ctx, b ? "right" : "left");
            branch[b] = wf_record(&meet, NULL, NULL, 1, &x, NULL);
            wf_path_pop(ctx);
        }
        weft_tensor *sum = weft_add(branch[0], branch[1]), *kept = weft_keep(sum);
        assert_int_equal(weft_sync(ctx), WEFT_OK);
        weft_tensor_unref(kept);
    }
    weft_tensor_unref(x);
    assert_int_equal(weft_trace_write(ctx), WEFT_OK);
    weft_context_destroy(ctx);
    json_t *file = json_load_file(scratch_file, 0, NULL);
    assert_non_null(file);
    return file;
}

typedef struct span {
    double start, end;
    int worker;
} span;

/* The slice of a branch in a run. */
static span branch_span(const json_t *file, const char *module, int run)
{
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(file, "traceEvents"), i, e)
    {
        const json_t *args = json_object_get(e, "args");
        const char *of = json_string_value(json_object_get(args, "module"));
        if (!of || strcmp(of, module) != 0 ||
            strcmp(json_string_value(json_object_get(e, "name")), "meet") != 0 ||
            json_integer_value(json_object_get(args, "run")) != run)
            continue;
        const double start = json_number_value(json_object_get(e, "ts"));
        return (span){start, start + json_number_value(json_object_get(e, "dur")),
                      (int)json_integer_value(json_object_get(e, "tid"))};
    }
    fail_msg("no slice of %s in run %d", module, run);
    return (span){0};
}

static void branches_run_side_by_side(void **state)
{
    enum { STEPS = 5 };
    wait_for_other = true;
    json_t *file = trace_of(WEFT_EXECUTOR_PARALLEL, STEPS);
    for (int i = 0; i < STEPS; i++) {
        const span a = branch_span(file, "left", i), b = branch_span(file, "right", i);
        assert_int_not_equal(a.worker, b.worker);
        assert_true(a.start < b.end && b.start < a.end);
    }
    json_decref(file);
}

static void in_sequence_they_do_not(void **state)
{
    enum { STEPS = 5 };
    wait_for_other = false;
    json_t *file = trace_of(WEFT_EXECUTOR_SEQUENCE, STEPS);
    for (int i = 0; i < STEPS; i++) {
        const span a = branch_span(file, "left", i), b = branch_span(file, "right", i);
        assert_true(a.end <= b.start || b.end <= a.start);
    }
    json_decref(file);
}

static void the_file_has_the_plan_and_its_runs(void **state)
{
    enum { STEPS = 3 };
    static const weft_executor executors[] = {WEFT_EXECUTOR_PARALLEL, WEFT_EXECUTOR_SEQUENCE,
                                              WEFT_EXECUTOR_INTERPRETER, WEFT_EXECUTOR_RANDOM};
    wait_for_other = false;
    for (size_t x = 0; x < sizeof executors / sizeof executors[0]; x++) {
        json_t *file = trace_of(executors[x], STEPS), *weft = json_object_get(file, "weft");
        json_t *runs = json_object_get(weft, "runs"), *plans = json_object_get(weft, "plans");
        assert_int_equal(json_array_size(runs), STEPS);
        assert_int_equal(json_array_size(plans), 1);
        json_t *groups = json_object_get(json_array_get(plans, 0), "groups");
        size_t i, edges = 0, meets = 0, tasks = 0;
        json_t *g, *task;
        json_array_foreach(groups, i, g)
        {
            size_t j;
            edges += json_array_size(json_object_get(g, "next"));
            json_array_foreach(json_object_get(g, "tasks"), j, task)
            {
                const char *op = json_string_value(json_object_get(task, "op"));
                meets += strcmp(op, "meet") == 0;
                tasks++;
                assert_true(json_number_value(json_object_get(task, "seconds")) > 0);
                assert_true(json_number_value(json_object_get(task, "dram")) >= 4 * sizeof(float));
            }
        }
        assert_int_equal(meets, 2);
        assert_true(edges >= 2 && tasks >= 3);
        json_array_foreach(runs, i, g)
        {
            const double start = json_number_value(json_object_get(g, "start"));
            const double end = json_number_value(json_object_get(g, "end"));
            assert_int_equal(json_integer_value(json_object_get(g, "plan")),
                             json_integer_value(json_object_get(json_array_get(plans, 0), "plan")));
            const span left = branch_span(file, "left", (int)i);
            assert_true(start <= left.start && left.end <= end);
        }
        json_decref(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branches_run_side_by_side),
        cmocka_unit_test(in_sequence_they_do_not),
        cmocka_unit_test(the_file_has_the_plan_and_its_runs),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
