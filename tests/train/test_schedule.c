/* Learning-rate schedules against PyTorch 2.13's values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "weft/schedule.h"

/* The formulas differ from torch's recurrences by a few roundings. */
static void assert_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12 * fmax(fabs(want), 1e-3)))
        fail_msg("%.17g instead of %.17g", got, want);
}

/* Whole trainings, made by schedules_of_torch.py: both ends of each are there. Plateau: the learning
 * rate after each figure, and the figures. */
static const struct {
    weft_schedule schedule;
    double lr[60], momentum[60];
} trainings[] = {
#include "tests/train/schedules_of_torch.def"
};

static void every_step_has_torchs_values(void **state)
{
    bool seen[WEFT_SCHEDULE_PLATEAU] = {false};
    for (size_t i = 0; i < sizeof(trainings) / sizeof(trainings[0]); i++) {
        const weft_schedule *s = &trainings[i].schedule;
        weft_plateau plateau = {0};
        for (int64_t k = 0; s->kind == WEFT_SCHEDULE_PLATEAU && k < s->total_steps; k++) {
            assert_int_equal(weft_plateau_update(&plateau, s, trainings[i].momentum[k]), WEFT_OK);
            assert_near(weft_plateau_lr(&plateau, s, k), trainings[i].lr[k]);
        }
        if (s->kind == WEFT_SCHEDULE_PLATEAU)
            continue;
        seen[s->kind] = true;
        for (int64_t step = 0; step < s->total_steps; step++) {
            assert_near(weft_schedule_lr(s, step), trainings[i].lr[step]);
            if (s->cycle_momentum)
                assert_near(weft_schedule_momentum(s, step), trainings[i].momentum[step]);
            else
                assert_true(isnan(weft_schedule_momentum(s, step)));
        }
    }
    for (int kind = 0; kind < WEFT_SCHEDULE_PLATEAU; kind++)
        assert_true(seen[kind]);
}

static void a_plateau_warms_up_and_takes_nan_for_no_progress(void **state)
{
    weft_schedule s = WEFT_SCHEDULE_INIT;
    s.kind = WEFT_SCHEDULE_PLATEAU;
    s.lr = 0.1;
    s.warmup_steps = 4;
    s.patience = 1;
    weft_plateau p = {0};
    assert_true(weft_plateau_lr(&p, &s, 0) == 0.1 * 0.01 && weft_plateau_lr(&p, &s, 4) == 0.1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weft_plateau_update(&p, &s, i == 0 ? 1 : NAN), WEFT_OK);
    assert_true(weft_plateau_lr(&p, &s, 9) == 0.1 * 0.1 && p.best == 1);
    assert_true(weft_plateau_lr(&p, &s, 0) == 0.1 * 0.01); /* the warm-up stays */
    s.kind = WEFT_SCHEDULE_STEP;
    assert_int_equal(weft_plateau_update(&p, &s, 1), WEFT_ERR_INVALID);
    assert_int_equal(weft_plateau_update(NULL, &s, 1), WEFT_ERR_INVALID);
}

static weft_schedule schedule_of(weft_schedule_kind kind, int64_t total)
{
    weft_schedule s = WEFT_SCHEDULE_INIT;
    s.kind = kind;
    s.lr = 0.1;
    s.total_steps = total;
    s.step_size = s.restart_steps = 10;
    return s;
}

static void a_zero_is_a_zero(void **state)
{
    weft_schedule s = schedule_of(WEFT_SCHEDULE_STEP, 50);
    s.gamma = 0;
    assert_true(weft_schedule_lr(&s, 9) == 0.1 && weft_schedule_lr(&s, 10) == 0);
    s = schedule_of(WEFT_SCHEDULE_COSINE, 50);
    s.warmup_steps = 4;
    s.warmup_start = 0;
    assert_true(weft_schedule_lr(&s, 0) == 0 && weft_schedule_lr(&s, 2) == 0.05);
    s = schedule_of(WEFT_SCHEDULE_ONE_CYCLE, 50);
    s.cycle_momentum = true;
    s.base_momentum = 0;
    s.pct_start = 0.5;
    assert_true(weft_schedule_momentum(&s, 24) == 0);
    s.pct_start = 0; /* falls from the first step on */
    assert_true(weft_schedule_lr(&s, 0) < 0.1 && weft_schedule_lr(&s, 0) > weft_schedule_lr(&s, 1));
}

/* Longer than the training or than all its warm-up. */
static void later_steps_keep_the_last_value(void **state)
{
    for (int kind = WEFT_SCHEDULE_CONSTANT; kind <= WEFT_SCHEDULE_PLATEAU; kind++) {
        for (int64_t total = 1; total < 4; total++) {
            for (int64_t warmup = 0; warmup < 5; warmup++) {
                weft_schedule s = schedule_of((weft_schedule_kind)kind, total);
                s.warmup_steps = warmup;
                for (int64_t i = -1; i < 8; i++) {
                    double lr = weft_schedule_lr(&s, i);
                    assert_true(lr >= 0 && lr <= 0.1 * (1 + 1e-15));
                }
                const bool ends = kind != WEFT_SCHEDULE_EXPONENTIAL && /* these go on */
                                  kind != WEFT_SCHEDULE_COSINE_RESTARTS;
                assert_true(!ends || weft_schedule_lr(&s, 6) == weft_schedule_lr(&s, 7));
            }
        }
    }
}

static void kinds_without_an_end_do_not_read_how_many_steps_there_are(void **state)
{
    weft_schedule s = schedule_of(WEFT_SCHEDULE_STEP, INT64_MIN);
    s.warmup_steps = 3;
    weft_schedule same = s;
    same.total_steps = 9;
    for (int64_t i = 0; i < 8; i++)
        assert_true(weft_schedule_lr(&s, i) == weft_schedule_lr(&same, i));
}

static void what_is_out_of_range_is_named(void **state)
{
    enum { CONSTANT, STEP, COSINE, CYCLE, MULTISTEP, RESTARTS, EXPONENTIAL, POLYNOMIAL, PLATEAU };
    static const struct {
        size_t at; /* of a double */
        int kind;
        double value;
        const char *text;
    } cases[] = {
        {offsetof(weft_schedule, lr), CONSTANT, -1, "schedule: lr -1 is not in [0, inf)"},
        {offsetof(weft_schedule, lr), COSINE, NAN, "schedule: lr nan is not in [0, inf)"},
        {offsetof(weft_schedule, gamma), STEP, -0.5, "schedule: gamma -0.5 is not in [0, inf)"},
        {offsetof(weft_schedule, min_lr), COSINE, -2, "schedule: min_lr -2 is not in [0, inf)"},
        {offsetof(weft_schedule, warmup_start), STEP, 2,
         "schedule: warmup_start 2 is not in [0, 1]"},
        {offsetof(weft_schedule, pct_start), CYCLE, 1.5,
         "schedule: pct_start 1.5 is not in [0, 1]"},
        {offsetof(weft_schedule, gamma), EXPONENTIAL, NAN,
         "schedule: gamma nan is not in [0, inf)"},
        {offsetof(weft_schedule, gamma), MULTISTEP, -1, "schedule: gamma -1 is not in [0, inf)"},
        {offsetof(weft_schedule, min_lr), RESTARTS, -1, "schedule: min_lr -1 is not in [0, inf)"},
        {offsetof(weft_schedule, power), POLYNOMIAL, 0,
         "schedule: power 0 is not in (0, inf); begin with WEFT_SCHEDULE_INIT"},
        {offsetof(weft_schedule, gamma), PLATEAU, 1, "schedule: gamma 1 is not in [0, 1]"},
        {offsetof(weft_schedule, threshold), PLATEAU, 2, "schedule: threshold 2 is not in [0, 1]"},
        {offsetof(weft_schedule, div_factor), CONSTANT, 0,
         "schedule: div_factor 0 is not in (0, inf); begin with WEFT_SCHEDULE_INIT"},
        {offsetof(weft_schedule, final_div_factor), CYCLE, 0,
         "schedule: final_div_factor 0 is not in (0, inf); begin with WEFT_SCHEDULE_INIT"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_error err = WEFT_ERROR_INIT;
        weft_schedule s = schedule_of((weft_schedule_kind)cases[i].kind, 5);
        assert_int_equal(weft_schedule_check(&s, &err), WEFT_OK);
        memcpy((char *)&s + cases[i].at, &cases[i].value, sizeof(double));
        assert_int_equal(weft_schedule_check(&s, &err), WEFT_ERR_INVALID);
        assert_string_equal(err.text, cases[i].text);
        assert_true(isnan(weft_schedule_lr(&s, 0)));
    }
    weft_schedule s = schedule_of(WEFT_SCHEDULE_COSINE, 0);
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_schedule_check(&s, &err), WEFT_ERR_INVALID);
    assert_string_equal(err.text, "schedule: total_steps 0 is not at least 1");
    s = schedule_of(WEFT_SCHEDULE_STEP, 0);
    s.step_size = 0;
    assert_int_equal(weft_schedule_check(&s, NULL), WEFT_ERR_INVALID);
    s = schedule_of(WEFT_SCHEDULE_COSINE_RESTARTS, 0);
    s.restart_mult = 0;
    assert_int_equal(weft_schedule_check(&s, &err), WEFT_ERR_INVALID);
    s = schedule_of(WEFT_SCHEDULE_MULTISTEP, 0);
    s.milestones = (const int64_t[]){3, 3};
    s.n_milestones = 2;
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(weft_schedule_check(&s, &err), WEFT_ERR_INVALID);
    assert_string_equal(err.text, "schedule: milestone 3 is not above 3, the one before");
    s = (weft_schedule){.kind = (weft_schedule_kind)99, .div_factor = 1, .final_div_factor = 1};
    assert_int_equal(weft_schedule_check(&s, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_schedule_check(NULL, NULL), WEFT_ERR_INVALID);
}

static void names_go_both_ways(void **state)
{
    for (int kind = WEFT_SCHEDULE_CONSTANT; kind <= WEFT_SCHEDULE_PLATEAU; kind++)
        assert_int_equal(weft_schedule_parse(weft_schedule_name((weft_schedule_kind)kind)), kind);
    assert_int_equal(weft_schedule_parse("cosineannealinglr"), WEFT_SCHEDULE_COSINE);
    assert_int_equal(weft_schedule_parse("reducelronplateau"), WEFT_SCHEDULE_PLATEAU);
    assert_int_equal(weft_schedule_parse("cosinus"), -1);
    assert_int_equal(weft_schedule_parse(NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_has_torchs_values),
        cmocka_unit_test(a_plateau_warms_up_and_takes_nan_for_no_progress),
        cmocka_unit_test(a_zero_is_a_zero),
        cmocka_unit_test(later_steps_keep_the_last_value),
        cmocka_unit_test(kinds_without_an_end_do_not_read_how_many_steps_there_are),
        cmocka_unit_test(what_is_out_of_range_is_named),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
