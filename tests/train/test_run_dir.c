/* The run's directory: what appears, what is refused, what is taken back. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/memory/alloc.h"
#include "tests/scratch.h"
#include "train/run_dir.h"

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static weft_status create(const char *name, bool numbered, bool overwrite, weft_run **run,
                          weft_error *err)
{
    *err = (weft_error)WEFT_ERROR_INIT;
    return weft_run_create(&(weft_run_opts){in_scratch(name), numbered, overwrite}, run, err);
}

/* A run with one epoch and, if so, a result. */
static void make_run(const char *name, bool finished)
{
    weft_run *run = NULL;
    weft_error err;
    assert_int_equal(create(name, false, false, &run, &err), WEFT_OK);
    assert_int_equal(wf_run_log_epoch(run, &(weft_epoch){.epoch = 1, .test_acc1 = NAN}, &err),
                     WEFT_OK);
    if (finished)
        assert_int_equal(wf_run_write_result(run, &(weft_train_result){.epochs = 1}, &err),
                         WEFT_OK);
    weft_run_destroy(run);
}

static void a_run_that_never_trained_leaves_nothing(void **state)
{
    weft_run *run = NULL;
    weft_error err;
    assert_int_equal(create("a/b/never", false, false, &run, &err), WEFT_OK);
    assert_true(exists(in_scratch("a/b/never/log.jsonl")));
    weft_run_destroy(run);
    assert_false(exists(in_scratch("a/b/never")));
}

static void a_directory_of_others_is_not_removed(void **state)
{
    weft_run *run = NULL;
    weft_error err;
    assert_int_equal(mkdir(in_scratch("others"), 0777), 0);
    assert_int_equal(create("others", false, false, &run, &err), WEFT_OK);
    weft_run_destroy(run);
    assert_true(exists(in_scratch("others")));
    assert_false(exists(in_scratch("others/log.jsonl")));
}

static void a_directory_with_a_run_is_refused(void **state)
{
    weft_run *run = NULL;
    weft_error err;
    make_run("taken", true);
    assert_int_equal(create("taken", false, false, &run, &err), WEFT_ERR_STATE);
    assert_null(run);
    assert_non_null(strstr(err.text, "already holds a run"));
    assert_true(exists(in_scratch("taken/result.json")));
}

static void overwriting_starts_from_nothing(void **state)
{
    weft_run *run = NULL;
    weft_error err;
    make_run("again", true);
    assert_int_equal(create("again", false, true, &run, &err), WEFT_OK);
    assert_false(exists(in_scratch("again/result.json")));
    wf_run_keep(run);
    weft_run_destroy(run);
    FILE *summary = fopen(in_scratch("again/summary.csv"), "r");
    assert_non_null(summary);
    char line[256];
    assert_non_null(fgets(line, sizeof(line), summary));
    assert_null(fgets(line, sizeof(line), summary));
    fclose(summary);
}

static void numbered_runs_find_a_free_name(void **state)
{
    weft_run *run = NULL;
    weft_error err;
    make_run("n", false);
    make_run("n-2", false);
    assert_int_equal(create("n", true, false, &run, &err), WEFT_OK);
    assert_string_equal(weft_run_path(run), in_scratch("n-3"));
    weft_run_destroy(run);
}

static void a_place_that_cannot_be_written_is_named(void **state)
{
    static const char *const paths[] = {"file", "file/below", "file/below/that"};
    FILE *file = fopen(in_scratch("file"), "w");
    assert_non_null(file);
    fclose(file);
    for (int i = 0; i < 3; i++) {
        weft_run *run = NULL;
        weft_error err;
        assert_int_equal(create(paths[i], false, false, &run, &err), WEFT_ERR_IO);
        assert_null(run);
        assert_non_null(strstr(err.text, in_scratch(paths[i])));
    }
}

static void lines_and_documents_say_what_they_were_given(void **state)
{
    weft_run *run = NULL;
    weft_error err;
    assert_int_equal(create("said", false, false, &run, &err), WEFT_OK);
    weft_progress p = {.epoch = 1, .step = 5, .loss = 0.25, .acc1 = 50, .lr = 0.1, .img_per_s = 9};
    weft_epoch e = {.epoch = 1,
                    .steps = 5,
                    .train_loss = 0.25,
                    .train_acc1 = 50,
                    .test_loss = NAN,
                    .test_acc1 = NAN,
                    .lr = 0.1,
                    .img_per_s = 9,
                    .seconds = 2};
    weft_train_result r = {
        .test_loss = NAN, .test_acc1 = 92.5, .epochs = 1, .steps = 5, .seconds = 2, .img_per_s = 9};
    assert_int_equal(wf_run_log_step(run, &p, 5, 0.5, &err), WEFT_OK);
    assert_int_equal(wf_run_log_epoch(run, &e, &err), WEFT_OK);
    assert_int_equal(wf_run_log_end(run, "finished", NULL, &err), WEFT_OK);
    assert_int_equal(wf_run_write_result(run, &r, &err), WEFT_OK);
    weft_run_destroy(run);

    FILE *log = fopen(in_scratch("said/log.jsonl"), "r");
    static const char *const events[] = {"step", "epoch", "end"};
    char line[1024];
    assert_non_null(log);
    for (int i = 0; i < 3; i++) {
        assert_non_null(fgets(line, sizeof(line), log));
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        assert_string_equal(json_string_value(json_object_get(object, "event")), events[i]);
        if (i == 1)
            assert_true(json_is_null(json_object_get(object, "test_acc1")));
        json_decref(object);
    }
    fclose(log);

    FILE *summary = fopen(in_scratch("said/summary.csv"), "r");
    assert_non_null(summary);
    assert_non_null(fgets(line, sizeof(line), summary));
    assert_non_null(fgets(line, sizeof(line), summary));
    assert_string_equal(line, "1,0.25,50,,,0.1,9,2\n");
    fclose(summary);

    json_t *result = json_load_file(in_scratch("said/result.json"), 0, NULL);
    assert_true(json_number_value(json_object_get(result, "test_acc1")) == 92.5);
    assert_int_equal(json_integer_value(json_object_get(result, "epochs")), 1);
    assert_true(json_is_null(json_object_get(result, "test_loss")));
    json_decref(result);
}

/* All that a run writes through the library's own allocations. */
static weft_status write_everything(weft_error *err)
{
    weft_run *run = NULL;
    weft_status status = create("memory", true, false, &run, err);
    if (status == WEFT_OK)
        status = wf_run_write_result(run, &(weft_train_result){.epochs = 1}, err);
    weft_run_destroy(run); /* nothing was trained: all of it goes */
    return status;
}

static void memory_that_is_out_leaves_nothing(void **state)
{
    int failures = 0;
    for (long n = 1;; n++) {
        weft_error err = WEFT_ERROR_INIT;
        wf_alloc_fail_at(n);
        weft_status status = write_everything(&err);
        if (wf_alloc_fail_at(0) > 0) {
            assert_int_equal(status, WEFT_OK);
            break;
        }
        assert_int_equal(err.status, status);
        assert_false(exists(in_scratch("memory")));
        failures += status != WEFT_OK;
    }
    assert_true(failures > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_never_trained_leaves_nothing),
        cmocka_unit_test(a_directory_of_others_is_not_removed),
        cmocka_unit_test(a_directory_with_a_run_is_refused),
        cmocka_unit_test(overwriting_starts_from_nothing),
        cmocka_unit_test(numbered_runs_find_a_free_name),
        cmocka_unit_test(a_place_that_cannot_be_written_is_named),
        cmocka_unit_test(memory_that_is_out_leaves_nothing),
        cmocka_unit_test(lines_and_documents_say_what_they_were_given),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
