/* Tuning: what it measures, keeps and leaves to be used; and the measuring by itself. */
#include "engine/step/execute.h"
#include "small_net.h"

#include <stdio.h>
#include <unistd.h>

#include "engine/tune/measure.h"
#include "engine/tune/wisdom.h"
#include "tests/scratch.h"

static char path[128];

static int start(void **state)
{
    snprintf(path, sizeof path, "%s/wisdom.json", scratch_dir);
    return 0;
}

/* ---- tuning ---- */

static char *explained(weft_context *ctx)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_int_equal(weft_explain(ctx, f), WEFT_OK);
    fclose(f);
    return text;
}

typedef struct seen_problems {
    const wf_wisdom *kept; /* has what was told */
    int begun, ended, better, stop_after;
} seen_problems;

static bool on_problem(void *user, const weft_tune_progress *p)
{
    seen_problems *seen = user;
    assert_true(p->problem >= 1 && p->problem <= p->problems && *p->what);
    assert_int_equal(!p->kernel, !p->untuned);
    if (p->kernel) {
        assert_true(p->seconds > 0 && p->seconds <= p->untuned_seconds);
        assert_string_equal(wf_wisdom_find(seen->kept, p->what), p->kernel);
        seen->better += strcmp(p->kernel, p->untuned) != 0;
    }
    seen->begun += !p->kernel;
    seen->ended += p->kernel != NULL;
    return !seen->stop_after || seen->ended < seen->stop_after;
}

static void record(small_net *net)
{
    assert_int_equal(weft_backward(net_loss(net)), WEFT_OK);
    net_update(net);
}

static void tuning_measures_keeps_and_uses(void **state)
{
    weft_options o = {.seed = 3, .threads = 2, .wisdom = path};
    small_net net;
    seen_problems seen = {0};
    weft_tune_opts opts = {.seconds = 0.002, .progress = on_problem, .user = &seen};
    weft_tune_result first, second;
    net_init(&net, &o);
    seen.kept = net.ctx->wisdom;
    record(&net);
    if (weft_tune(net.ctx, &opts, &first) != WEFT_OK)
        fail_msg("%s", weft_error_text(net.ctx));
    assert_int_equal(first.known, 0);
    assert_int_equal(first.measured, first.problems);
    assert_int_equal(seen.ended, first.measured);
    assert_int_equal(seen.better, first.better);
    assert_true(first.step_seconds <= first.untuned_step_seconds);
    if (weft_context_isa(net.ctx) != WEFT_ISA_SCALAR) {
        assert_true(first.measured > 2);
        char *text = explained(net.ctx);
        assert_non_null(strstr(text, "% of peak by wisdom"));
        free(text);
    }
    weft_tune_opts all = {.seconds = 0.002};
    assert_int_equal(weft_tune(net.ctx, &all, &second), WEFT_OK);
    assert_int_equal(second.known, first.measured);
    assert_int_equal(second.measured, 0);
    assert_int_equal(weft_wisdom_save(net.ctx, NULL), WEFT_OK);
    assert_int_equal(weft_sync(net.ctx), WEFT_OK); /* what was recorded runs */
    weft_wisdom_info info, again;
    assert_int_equal(weft_wisdom_get_info(net.ctx, &info), WEFT_OK);
    weft_context *other = NULL;
    assert_int_equal(weft_context_create(&other, &o, NULL), WEFT_OK);
    assert_int_equal(weft_wisdom_get_info(other, &again), WEFT_OK);
    assert_int_equal(again.choices, first.measured);
    assert_string_equal(again.hash, info.hash);
    weft_context_destroy(other);
    net_done(&net);
}

static void a_stopped_tuning_keeps_what_it_has(void **state)
{
    weft_options o = {.seed = 3, .threads = 1, .wisdom = "none"};
    small_net net;
    seen_problems seen = {.stop_after = 1};
    weft_tune_opts opts = {.seconds = 0.001, .progress = on_problem, .user = &seen};
    weft_tune_result result = {0};
    net_init(&net, &o);
    seen.kept = net.ctx->wisdom;
    record(&net);
    weft_status status = weft_tune(net.ctx, &opts, &result);
    const bool choice = wf_cpu_isa() != WEFT_ISA_SCALAR; /* else there is but one kernel */
    assert_int_equal(result.problems > 1, choice);
    assert_int_equal(status, choice ? WEFT_ERR_INTERRUPTED : WEFT_OK);
    assert_int_equal(result.measured, choice);
    assert_int_equal(net.ctx->wisdom->n, choice);
    weft_error_clear(net.ctx);
    weft_discard(net.ctx);
    net_done(&net);
}

/* Whatever wisdom says, and on any number of threads: same wisdom, same bits. */
static void wisdom_decides_about_kernels_and_bits(void **state)
{
    if (wf_cpu_isa() == WEFT_ISA_SCALAR)
        skip(); /* there is but one kernel */
    weft_options o = {.seed = 11, .threads = 1, .wisdom = path};
    small_net net;
    char *states[3];
    size_t size, other;
    net_init(&net, &o);
    record(&net);
    char *text = explained(net.ctx);
    assert_null(strstr(text, "by wisdom ("));
    free(text);
    wf_plan *plan = NULL;
    assert_int_equal(wf_plan_of_recorded(net.ctx, &plan), WEFT_OK);
    for (int i = 0; i < plan->n_problems; i++) {
        /* the slowest everywhere: hardly chosen by itself */
        char problem[WF_PROBLEM_TEXT];
        wf_problem_text(&plan->problems[i], problem, sizeof problem);
        assert_true(wf_wisdom_put(net.ctx->wisdom, problem, "ref", 1));
    }
    wf_plan_destroy(plan);
    text = explained(net.ctx);
    assert_non_null(strstr(text, "kernels: 0 chosen by expected cost"));
    free(text);
    assert_int_equal(weft_wisdom_save(net.ctx, NULL), WEFT_OK);
    weft_discard(net.ctx);
    net_done(&net);
    states[0] = net_train(&o, 2, &size, NULL);
    o.threads = 3;
    states[1] = net_train(&o, 2, &other, NULL);
    assert_int_equal(size, other);
    assert_memory_equal(states[0], states[1], size);
    o.wisdom = "none";
    states[2] = net_train(&o, 2, &other, NULL);
    assert_memory_not_equal(states[0], states[2], size);
    for (int i = 0; i < 3; i++)
        free(states[i]);
}

/* ---- measuring ---- */

typedef struct sleeper {
    int microseconds, runs, last_set;
} sleeper;

static void nap(void *user, int set)
{
    sleeper *s = user;
    s->last_set = set;
    s->runs++;
    usleep((useconds_t)s->microseconds);
}

static void medians_tell_the_faster_and_the_hopeless_is_dropped(void **state)
{
    sleeper s[3] = {{20000}, {5000}, {400000}}; /* far apart: the machine may be busy */
    wf_entrant e[3];
    for (int i = 0; i < 3; i++)
        e[i] = (wf_entrant){.run = nap, .user = &s[i], .sets = 2};
    const wf_measure_opts opts = {.rounds = 4, .seconds = 10, .sample = 1e-4, .hopeless = 15};
    wf_measure(e, 3, &opts);
    assert_true(e[1].seconds < e[0].seconds && e[0].seconds < e[2].seconds);
    assert_true(e[2].dropped && !e[0].dropped);
    assert_int_equal(s[0].runs, 2 + 4); /* two to warm up */
    assert_int_equal(s[2].runs, 1);     /* one, where it is long */
    assert_int_equal(s[0].last_set, 1);
}

static void without_time_each_runs_once(void **state)
{
    sleeper s[2] = {{1000}, {20000}};
    wf_entrant e[2];
    for (int i = 0; i < 2; i++)
        e[i] = (wf_entrant){.run = nap, .user = &s[i], .sets = 2};
    const wf_measure_opts opts = {.rounds = 15, .seconds = 1e-6, .sample = 1e-3};
    wf_measure(e, 2, &opts);
    assert_true(s[0].runs == 1 && s[1].runs == 1);
    assert_true(e[0].seconds > 0 && e[1].seconds >= 0.02);
}

static void the_fastest_wins_unless_the_usual_one_is_as_good(void **state)
{
    const struct {
        double seconds[3];
        int usual, winner;
    } cases[] = {
        {{3, 2, 4}, 0, 1},      {{3, 2, 4}, 2, 1},      {{3, 2, 4}, 1, 1},
        {{1, 0.75, 0.5}, 0, 2}, {{1, 0.9375, 2}, 0, 0}, /* not behind by an eighth */
        {{1, 0.5, 0.5}, 2, 2},  {{1, 0.5, 0.5}, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wf_entrant e[3] = {{0}};
        for (int k = 0; k < 3; k++)
            e[k].seconds = cases[i].seconds[k];
        assert_int_equal(wf_measure_winner(e, 3, cases[i].usual, 0.125), cases[i].winner);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, scratch_clean)

int main(void)
{
    setenv("WEFT_WISDOM", "none", 1);
    const struct CMUnitTest tests[] = {
        CASE(tuning_measures_keeps_and_uses),
        CASE(a_stopped_tuning_keeps_what_it_has),
        CASE(wisdom_decides_about_kernels_and_bits),
        CASE(medians_tell_the_faster_and_the_hopeless_is_dropped),
        CASE(without_time_each_runs_once),
        CASE(the_fastest_wins_unless_the_usual_one_is_as_good),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
