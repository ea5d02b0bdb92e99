/* The progress display: texts that fit their terminal, and no control characters off it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/progress.h"

static const weft_progress sample = {.phase = WEFT_PHASE_TRAIN,
                                     .epoch = 3,
                                     .epochs = 12,
                                     .step = 412,
                                     .steps = 938,
                                     .loss = 0.3123,
                                     .acc1 = 88.51,
                                     .img_per_s = 8123.4,
                                     .seconds_left = 42.2};

static void a_wide_terminal_shows_everything(void **state)
{
    char text[512];
    cli_progress_format(&sample, 120, text, sizeof(text));
    assert_string_equal(text, "epoch  3/12 [=================>                      ] 412/938"
                              "  loss 0.3123  acc  88.51%    8123 img/s  0:42 left");
}

static void a_bar_never_reaches_the_last_column(void **state)
{
    for (int width = 1; width <= 600; width++) {
        char text[1024];
        cli_progress_format(&sample, width, text, sizeof(text));
        assert_true((int)strlen(text) < width);
    }
}

static void a_bar_keeps_its_width_through_a_pass(void **state)
{
    weft_progress p = sample;
    char text[512];
    cli_progress_format(&p, 100, text, sizeof(text));
    size_t width = strlen(text);
    for (p.step = 1; p.step <= p.steps; p.step++) {
        p.acc1 = 100.0 * (double)p.step / (double)p.steps;
        cli_progress_format(&p, 100, text, sizeof(text));
        assert_int_equal(strlen(text), width);
    }
}

static void values_that_are_not_there_are_left_out(void **state)
{
    weft_progress p = {.phase = WEFT_PHASE_EVAL,
                       .step = 1,
                       .steps = 2,
                       .loss = NAN,
                       .acc1 = NAN,
                       .seconds_left = -1};
    char text[512];
    cli_progress_format(&p, 120, text, sizeof(text));
    assert_null(strstr(text, "nan"));
    assert_non_null(strstr(text, "-:-- left"));
}

static void losses_of_any_size_stay_short(void **state)
{
    static const struct {
        double loss;
        const char *text;
    } cases[] = {{0, "0.0000"},         {0.31234, "0.3123"}, {9999, "9999.0000"},
                 {2.1e19, "2.100e+19"}, {NAN, "NaN"},        {-NAN, "NaN"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[32];
        cli_loss(cases[i].loss, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
}

static void durations_read_as_clocks(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{0, "0:00"},    {-3, "0:00"},      {42.4, "0:42"},    {59.6, "1:00"},
                 {727, "12:07"}, {3600, "1:00:00"}, {3753, "1:02:33"}, {NAN, "0:00"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[32];
        assert_ptr_equal(weft_duration_format(cases[i].seconds, text, sizeof(text)), text);
        assert_string_equal(text, cases[i].text);
    }
    char cut[4];
    assert_string_equal(weft_duration_format(INFINITY, cut, sizeof(cut)), "277");
}

static void a_file_gets_whole_lines(void **state)
{
    char *text = NULL;
    FILE *out = tmpfile();
    assert_non_null(out);
    cli_progress p;
    cli_progress_init(&p, out);
    assert_false(p.terminal);
    /* Two passes of 40 and 25 seconds: a line after 30, and one after 60. */
    weft_progress r = sample;
    for (int pass = 0; pass < 2; pass++)
        for (r.seconds = 0.5; r.seconds < (pass ? 25 : 40); r.seconds += 0.5)
            cli_progress_step(&p, &r);
    cli_progress_epoch(&p,
                       &(weft_epoch){.epoch = 1, .epochs = 2, .test_acc1 = NAN, .ema_acc1 = NAN});
    long size = ftell(out);
    rewind(out);
    text = calloc(1, (size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, out), size);
    int lines = 0;
    for (const char *c = text; *c; c++) {
        lines += *c == '\n';
        assert_true(*c == '\n' || (unsigned char)*c >= ' ');
    }
    assert_int_equal(lines, 3);
    /* The epoch's line counts. */
    r.seconds = 29;
    cli_progress_step(&p, &r);
    assert_int_equal(ftell(out), size);
    r.seconds = 60;
    cli_progress_step(&p, &r);
    assert_true(ftell(out) > size);
    fclose(out);
    assert_int_equal(text[size - 1], '\n');
    free(text);
}

/* As torchvision's --print-freq, whether or not it is a terminal. */
static void lines_come_every_so_many_steps(void **state)
{
    static const struct {
        int64_t freq, steps;
        int lines;
    } cases[] = {{1, 7, 7}, {3, 7, 3}, {7, 7, 1}, {100, 7, 1}, {10, 100, 10}};
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        FILE *out = tmpfile();
        assert_non_null(out);
        cli_progress p;
        cli_progress_init(&p, out);
        p.terminal = i % 2 != 0;
        p.print_freq = cases[i / 2].freq;
        weft_progress r = sample;
        r.steps = cases[i / 2].steps;
        for (r.step = 1; r.step <= r.steps; r.step++) {
            r.seconds = 40 * (double)r.step;
            cli_progress_step(&p, &r);
        }
        rewind(out);
        int lines = 0;
        for (int c; (c = fgetc(out)) != EOF;) {
            lines += c == '\n';
            assert_true(c == '\n' || c >= ' ');
        }
        assert_int_equal(lines, cases[i / 2].lines);
        fclose(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wide_terminal_shows_everything),
        cmocka_unit_test(a_bar_never_reaches_the_last_column),
        cmocka_unit_test(a_bar_keeps_its_width_through_a_pass),
        cmocka_unit_test(values_that_are_not_there_are_left_out),
        cmocka_unit_test(losses_of_any_size_stay_short),
        cmocka_unit_test(durations_read_as_clocks),
        cmocka_unit_test(a_file_gets_whole_lines),
        cmocka_unit_test(lines_come_every_so_many_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
