/* Where the program's locale writes 1,5, what Weft writes and reads has a point all the same: a
 * run's files, a trace, arguments of models, and what PyTorch prints, too. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/scratch.h"
#include "train/run_dir.h"
#include "weft/weft.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* An installed locale that has commas, else one that localedef can make; false where there is
 * neither. It becomes the program's. */
static bool set_commas(void)
{
    static const char *const installed[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "ru_RU.UTF-8"};
    for (size_t i = 0; i < COUNT(installed); i++)
        if (setlocale(LC_ALL, installed[i]))
            return true;
    FILE *f = fopen(in_scratch("commas.src"), "w");
    assert_non_null(f);
    fputs("LC_NUMERIC\ndecimal_point \"<U002C>\"\nthousands_sep \"<U002E>\"\ngrouping 3;3\n"
          "END LC_NUMERIC\n",
          f);
    assert_int_equal(fclose(f), 0);
    char command[512];
    snprintf(command, sizeof(command),
             "PATH=$PATH:/usr/sbin localedef -c -i %s/commas.src %s/commas >/dev/null 2>&1",
             scratch_dir, scratch_dir);
    if (system(command) < 0)
        return false;
    setenv("LOCPATH", scratch_dir, 1);
    return setlocale(LC_NUMERIC, "commas") != NULL;
}

static void back_to_points(void)
{
    setlocale(LC_ALL, "C");
}

/* Skips the test where there is no such locale. */
static void begin_commas(void)
{
    if (!set_commas())
        skip();
    char number[16];
    snprintf(number, sizeof(number), "%.1f", 1.5);
    assert_string_equal(number, "1,5");
}

/* The text of scratch/folder/name. */
static char *text_of(const char *folder, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(in_scratch(path), "r");
    if (!f)
        fail_msg("%s is missing", path);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

static weft_module *some_model(weft_context *ctx)
{
    weft_module *m =
        WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 1, 2, 3, NULL),
                        weft_batch_norm2d_create(ctx, 2, NULL), weft_leaky_relu_create(ctx, 0.25));
    assert_non_null(m);
    return m;
}

static void print_into(FILE *f, weft_status status)
{
    assert_non_null(f);
    assert_int_equal(status, WEFT_OK);
    assert_int_equal(fclose(f), 0);
}

/* Everything that is the same each time, into scratch/folder. */
static void write_files(const char *folder)
{
    weft_error err = WEFT_ERROR_INIT;
    weft_context *ctx = weft_context_default();
    weft_run *run = NULL;
    char path[128];
    const weft_run_opts place = {.path = in_scratch(folder)};
    assert_int_equal(weft_run_create(&place, &run, &err), WEFT_OK);
    const weft_setting settings[] = {{"lr", WEFT_SETTING_NUMBER, .number = 0.05}};
    assert_int_equal(weft_run_write_config(run, ctx, "test", settings, 1, &err), WEFT_OK);
    for (int e = 1; e <= 3; e++) {
        const weft_progress p = {.epoch = e, .step = 4 * e, .loss = 1.5 / e, .lr = 0.125};
        const weft_epoch epoch = {.epoch = e,
                                  .train_loss = 1.75 / e,
                                  .train_acc1 = 62.5 + e,
                                  .test_loss = 1.25 / e,
                                  .test_acc1 = 71.75 + e,
                                  .lr = 0.125,
                                  .img_per_s = 1234.5,
                                  .seconds = 2.5 * e};
        assert_int_equal(wf_run_log_step(run, &p, 12, e - 0.5, &err), WEFT_OK);
        assert_int_equal(wf_run_log_epoch(run, &epoch, &err), WEFT_OK);
    }
    assert_int_equal(wf_run_write_result(run, &(weft_train_result){.train_loss = 0.5}, &err),
                     WEFT_OK);
    weft_run_destroy(run);
    assert_int_equal(weft_run_write_report(in_scratch(folder), &err), WEFT_OK);

    weft_module *m = some_model(ctx);
    snprintf(path, sizeof(path), "%s/print.txt", folder);
    FILE *f = fopen(in_scratch(path), "w");
    print_into(f, weft_module_print(m, f));
    snprintf(path, sizeof(path), "%s/summary.txt", folder);
    f = fopen(in_scratch(path), "w");
    print_into(f, weft_module_summary(m, WEFT_SHAPE(1, 1, 40, 40), f));
    weft_module_unref(m);
    weft_context_destroy(ctx);
}

/* Times of day, "12:34:56", become zeros: the second run may begin a second later. */
static void without_times(char *text)
{
    static const char form[] = "dd:dd:dd";
    for (char *at = text; *at; at++) {
        int n = 0;
        while (form[n] && (form[n] == 'd' ? at[n] >= '0' && at[n] <= '9' : at[n] == form[n]))
            n++;
        for (int i = 0; i < n && !form[n]; i++)
            at[i] = form[i] == 'd' ? '0' : at[i];
    }
}

/* The memory that is free on the machine changes from moment to moment: its digits become one zero. */
static void without_available(char *text)
{
    char *at = strstr(text, "\"available\": ");
    if (!at)
        return;
    at += strlen("\"available\": ");
    char *end = at + strspn(at, "0123456789");
    if (end > at) {
        *at = '0';
        memmove(at + 1, end, strlen(end) + 1);
    }
}

static void files_have_the_same_bytes(void **state)
{
    static const char *const names[] = {"config.json", "log.jsonl", "summary.csv", "result.json",
                                        "report.html", "curve.svg", "print.txt",   "summary.txt"};
    write_files("points");
    begin_commas();
    write_files("commas-run");
    back_to_points();
    for (size_t i = 0; i < COUNT(names); i++) {
        char *want = text_of("points", names[i]), *got = text_of("commas-run", names[i]);
        without_times(want);
        without_times(got);
        without_available(want);
        without_available(got);
        if (strcmp(want, got) != 0)
            fail_msg("%s differs:\n%s\n%s", names[i], want, got);
        free(want);
        free(got);
    }
}

/* What weft_info and weft_explain write, what a module prints and what errors say. */
static char *texts(void)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    weft_context *ctx = weft_context_default();
    assert_int_equal(weft_info(ctx, out), WEFT_OK);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(64, 64));
    weft_tensor *y = weft_keep(weft_matmul(x, x, false, false));
    assert_int_equal(weft_explain(ctx, out), WEFT_OK);
    weft_discard(ctx);
    weft_tensor_unref(y);
    weft_tensor_unref(x);
    weft_module *net = some_model(ctx);
    weft_error_clear(ctx);
    assert_null(weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = -0.5}));
    fprintf(out, "%s\n", weft_error_text(ctx));
    weft_module_unref(net);
    weft_context_destroy(ctx);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* Memory that can be had changes from one moment to the next. */
static void cut_memory(char *text)
{
    char *line = strstr(text, "\nmemory  ");
    assert_non_null(line);
    char *from = strstr(line, "of which "), *to = strstr(line, " are available");
    assert_true(from && to);
    memmove(from, to, strlen(to) + 1);
}

static void texts_for_people_have_points(void **state)
{
    char *points = texts();
    begin_commas();
    char *commas = texts();
    back_to_points();
    assert_non_null(strstr(points, "-0.5"));
    cut_memory(points);
    cut_memory(commas);
    for (size_t i = 0; points[i] || commas[i]; i++)
        if (points[i] != commas[i])
            fail_msg("%.80s\nis not\n%.80s", points + i, commas + i);
    free(points);
    free(commas);
}

static void a_trace_is_json(void **state)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/trace.json", scratch_dir);
    begin_commas();
    weft_context *ctx = NULL;
    assert_int_equal(weft_context_create(&ctx, &(weft_options){.trace_path = path}, NULL), WEFT_OK);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(4, 4));
    weft_tensor *sum = weft_keep(weft_sum(x, WEFT_ALL_DIMS, false));
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_tensor_unref(sum);
    weft_tensor_unref(x);
    weft_context_destroy(ctx);
    back_to_points();
    json_error_t why;
    json_t *trace = json_load_file(path, 0, &why);
    if (!trace)
        fail_msg("line %d: %s", why.line, why.text);
    assert_true(json_array_size(json_object_get(trace, "traceEvents")) > 1);
    json_decref(trace);
}

static void arguments_of_models_are_read(void **state)
{
    static const struct {
        weft_model_arg arg;
        bool good;
    } cases[] = {{{"width_mult", "0.25"}, true}, {{"width_mult", "0,25"}, false},
                 {{"dropout", "0.5"}, true},     {{"dropout", "0,5"}, false},
                 {{"dropout", ""}, false},       {{"dropout", "0.5x"}, false}};
    weft_context *ctx = weft_context_default();
    begin_commas();
    weft_init_skip_begin(ctx);
    weft_module *m[COUNT(cases)];
    for (size_t i = 0; i < COUNT(cases); i++) {
        m[i] = weft_model_create(
            ctx, "mobilenet_v2",
            &(weft_model_opts){.num_classes = 2, .args = &cases[i].arg, .n_args = 1});
        weft_error_clear(ctx);
    }
    back_to_points();
    for (size_t i = 0; i < COUNT(cases); i++) {
        if ((m[i] != NULL) != cases[i].good)
            fail_msg("%s=%s", cases[i].arg.key, cases[i].arg.value);
        weft_module_unref(m[i]);
    }
    weft_context_destroy(ctx);
}

static int points(void **state)
{
    back_to_points();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(files_have_the_same_bytes, points),
        cmocka_unit_test_teardown(texts_for_people_have_points, points),
        cmocka_unit_test_teardown(a_trace_is_json, points),
        cmocka_unit_test_teardown(arguments_of_models_are_read, points),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
