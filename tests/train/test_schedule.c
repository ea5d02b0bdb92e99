/* Learning-rate schedules against PyTorch 2.13's values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "weft/schedule.h"

/* The formulas differ from torch's recurrences by a few roundings. */
static void assert_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-12 * fmax(fabs(want), 1e-3)))
        fail_msg("%.17g instead of %.17g", got, want);
}

static const weft_schedule one_cycle = {.kind = WEFT_SCHEDULE_ONE_CYCLE,
                                        .lr = 0.1,
                                        .total_steps = 100,
                                        .base_momentum = 0.85,
                                        .max_momentum = 0.95};
static const weft_schedule steeper = {.kind = WEFT_SCHEDULE_ONE_CYCLE,
                                      .lr = 0.2,
                                      .total_steps = 40,
                                      .pct_start = 0.25,
                                      .div_factor = 10,
                                      .final_div_factor = 100};
static const weft_schedule cosine = {
    .kind = WEFT_SCHEDULE_COSINE, .lr = 0.1, .total_steps = 50, .min_lr = 0.001};
static const weft_schedule step = {
    .kind = WEFT_SCHEDULE_STEP, .lr = 0.1, .step_size = 10, .gamma = 0.5};
static const weft_schedule constant = {.kind = WEFT_SCHEDULE_CONSTANT, .lr = 0.3};

static void schedules_have_torchs_values(void **state)
{
    static const struct {
        const weft_schedule *schedule;
        int64_t step;
        double lr;
    } cases[] = {
        {&one_cycle, 0, 0.0040000000000000036},
        {&one_cycle, 1, 0.0042813780565907483},
        {&one_cycle, 10, 0.029516394846410082},
        {&one_cycle, 29, 0.1},
        {&one_cycle, 30, 0.099949653528452434},
        {&one_cycle, 50, 0.079389345057573196},
        {&one_cycle, 98, 5.0746471547578801e-05},
        {&one_cycle, 99, 4e-7},
        {&one_cycle, 100, 4e-7},
        {&steeper, 0, 0.02},
        {&steeper, 3, 0.065},
        {&steeper, 9, 0.2},
        {&steeper, 20, 0.14073299064327247},
        {&steeper, 39, 0.0002},
        {&cosine, 0, 0.1},
        {&cosine, 1, 0.099902323057199441},
        {&cosine, 25, 0.0505},
        {&cosine, 50, 0.001},
        {&cosine, 60, 0.001},
        {&step, 0, 0.1},
        {&step, 9, 0.1},
        {&step, 10, 0.05},
        {&step, 19, 0.05},
        {&step, 20, 0.025},
        {&step, 49, 0.00625},
        {&constant, 12345, 0.3},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_near(weft_schedule_lr(cases[i].schedule, cases[i].step), cases[i].lr);
}

static void one_cycle_moves_momentum_against_the_rate(void **state)
{
    assert_near(weft_schedule_momentum(&one_cycle, 0), 0.95);
    assert_near(weft_schedule_momentum(&one_cycle, 10), 0.92342042203498953);
    assert_near(weft_schedule_momentum(&one_cycle, 29), 0.85);
    assert_near(weft_schedule_momentum(&one_cycle, 50), 0.87061073738537631);
    assert_near(weft_schedule_momentum(&one_cycle, 99), 0.95);
    assert_true(isnan(weft_schedule_momentum(&steeper, 3)));
    assert_true(isnan(weft_schedule_momentum(&cosine, 3)));
}

static void warm_up_is_linear_and_meets_the_schedule(void **state)
{
    weft_schedule s = cosine;
    s.warmup_steps = 10;
    s.total_steps = 60;
    s.warmup_start = 0.1;
    assert_near(weft_schedule_lr(&s, 0), 0.01);
    assert_near(weft_schedule_lr(&s, 5), 0.055);
    assert_near(weft_schedule_lr(&s, 10), 0.1);
    assert_near(weft_schedule_lr(&s, 11), 0.099902323057199441);
    assert_near(weft_schedule_lr(&s, 60), 0.001);
    s = step;
    s.warmup_steps = 4;
    assert_near(weft_schedule_lr(&s, 13), 0.1);
    assert_near(weft_schedule_lr(&s, 14), 0.05);
    assert_near(weft_schedule_lr(&s, 0), 0.001);
}

static void degenerate_lengths_stay_finite(void **state)
{
    for (int kind = WEFT_SCHEDULE_CONSTANT; kind <= WEFT_SCHEDULE_ONE_CYCLE; kind++) {
        for (int64_t total = 0; total < 4; total++) {
            weft_schedule s = {.kind = (weft_schedule_kind)kind, .lr = 0.1, .total_steps = total};
            for (int64_t i = -1; i < 6; i++) {
                double lr = weft_schedule_lr(&s, i);
                assert_true(lr >= 0 && lr <= 0.1 * (1 + 1e-15));
            }
        }
    }
}

static void names_go_both_ways(void **state)
{
    for (int kind = WEFT_SCHEDULE_CONSTANT; kind <= WEFT_SCHEDULE_ONE_CYCLE; kind++)
        assert_int_equal(weft_schedule_parse(weft_schedule_name((weft_schedule_kind)kind)), kind);
    assert_int_equal(weft_schedule_parse("cosinus"), -1);
    assert_int_equal(weft_schedule_parse(NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules_have_torchs_values),
        cmocka_unit_test(one_cycle_moves_momentum_against_the_rate),
        cmocka_unit_test(warm_up_is_linear_and_meets_the_schedule),
        cmocka_unit_test(degenerate_lengths_stay_finite),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
