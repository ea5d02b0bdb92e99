/* The run's directory: what appears, what is refused, what is taken back. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/base/alloc.h"
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

/* Makes a file of so many bytes. */
static void make_file(const char *name, size_t size)
{
    FILE *f = fopen(in_scratch(name), "w");
    assert_non_null(f);
    for (size_t i = 0; i < size; i++)
        fputc('x', f);
    assert_int_equal(fclose(f), 0);
}

static off_t size_of(const char *name)
{
    struct stat st;
    return stat(in_scratch(name), &st) == 0 ? st.st_size : -1;
}

/* How many entries a folder has, hidden ones too. */
static int entries(const char *name)
{
    int n = -2;
    DIR *d = opendir(in_scratch(name));
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void an_old_run_stays_until_the_new_one_has_weights(void **state)
{
    weft_run *run = NULL;
    weft_error err;
    for (int publish = 0; publish < 2; publish++) {
        const char *name = publish ? "stays1" : "stays0";
        char path[64];
        make_run(name, true);
        snprintf(path, sizeof(path), "%s/weights.safetensors", name);
        make_file(path, 7);
        int before = entries(name);
        assert_int_equal(create(name, false, true, &run, &err), WEFT_OK);
        assert_string_equal(weft_run_path(run), in_scratch(name));
        assert_int_equal(wf_run_log_epoch(run, &(weft_epoch){.epoch = 9}, &err), WEFT_OK);
        char *file = wf_run_file(run, "weights.safetensors");
        FILE *weights = fopen(file, "w");
        assert_non_null(weights);
        fclose(weights);
        wf_free(file);
        assert_int_equal(size_of(path), 7);
        snprintf(path, sizeof(path), "%s/result.json", name);
        assert_true(exists(in_scratch(path)));
        wf_run_keep(run);
        if (publish)
            assert_int_equal(wf_run_publish(run, &err), WEFT_OK);
        assert_int_equal(exists(in_scratch(path)), !publish);
        assert_int_equal(wf_run_log_end(run, "finished", NULL, &err), WEFT_OK);
        weft_run_destroy(run);
        assert_int_equal(entries(name), publish ? 3 : before);
        snprintf(path, sizeof(path), "%s/weights.safetensors", name);
        assert_int_equal(size_of(path), publish ? 0 : 7);
    }
}

/* As wf_run_place_publish leaves it when it is killed after each of its steps. */
static void a_replacement_that_was_cut_short_is_finished(void **state)
{
    for (int step = 0; step < 4; step++) {
        weft_run *run = NULL;
        weft_error err;
        char name[32], from[64], to[96], path[512];
        snprintf(name, sizeof(name), "cut%d", step);
        make_run(name, true);
        snprintf(from, sizeof(from), "%s/weights.safetensors", name);
        make_file(from, 7);
        snprintf(from, sizeof(from), "%s/%s", name, step < 2 ? ".weft-swap" : ".weft-move");
        assert_int_equal(mkdir(in_scratch(from), 0777), 0);
        snprintf(to, sizeof(to), "%s/weights.safetensors", from);
        make_file(to, 1);
        snprintf(to, sizeof(to), "%s/log.jsonl", from);
        make_file(to, 2);
        snprintf(to, sizeof(to), "%s/result.json", name);
        if (step > 0)
            remove(in_scratch(to)); /* only the old run had it */
        snprintf(to, sizeof(to), "%s/summary.csv", name);
        if (step > 1)
            remove(in_scratch(to));
        if (step > 2) { /* one file has been moved */
            snprintf(to, sizeof(to), "%s/log.jsonl", from);
            strcpy(path, in_scratch(to));
            snprintf(to, sizeof(to), "%s/log.jsonl", name);
            assert_int_equal(rename(path, in_scratch(to)), 0);
        }
        assert_int_equal(create(name, false, false, &run, &err), WEFT_ERR_STATE);
        assert_int_equal(entries(name), 2);
        snprintf(to, sizeof(to), "%s/weights.safetensors", name);
        assert_int_equal(size_of(to), 1);
        snprintf(to, sizeof(to), "%s/log.jsonl", name);
        assert_int_equal(size_of(to), 2);
    }
}

/* Every name that replacing a run needs, taken by what is not of a run: refused at once, and both
 * the old run and what is in the way stay. */
static void what_is_in_the_way_of_a_replacement_is_told_at_once(void **state)
{
    static const char *const names[] = {".weft-new", ".weft-swap", ".weft-move",
                                        "weights.safetensors"};
    enum { FILE_OF_OTHERS, FOLDER_OF_OTHERS, LINK, KINDS };
    for (int i = 0; i < 4; i++)
        for (int kind = 0; kind < KINDS; kind++) {
            weft_run *run = NULL;
            weft_error err;
            char folder[32], name[64], inside[80];
            if (i == 3 && kind != FOLDER_OF_OTHERS)
                continue; /* a file or a link there is the old run's */
            snprintf(folder, sizeof(folder), "blocked-%d-%d", i, kind);
            snprintf(name, sizeof(name), "%s/%s", folder, names[i]);
            snprintf(inside, sizeof(inside), "%s/notes", name);
            make_run(folder, true);
            if (kind == FILE_OF_OTHERS)
                make_file(name, 3);
            if (kind == FOLDER_OF_OTHERS) {
                assert_int_equal(mkdir(in_scratch(name), 0777), 0);
                make_file(inside, 3);
            }
            if (kind == LINK)
                assert_int_equal(symlink("elsewhere", in_scratch(name)), 0);
            for (int again = 0; again < 2; again++) {
                assert_int_equal(create(folder, false, true, &run, &err), WEFT_ERR_STATE);
                assert_null(run);
                assert_non_null(strstr(err.text, "cannot replace the run in "));
                assert_non_null(strstr(err.text, "move it elsewhere"));
            }
            snprintf(name, sizeof(name), "%s/result.json", folder);
            assert_true(exists(in_scratch(name)));
            assert_int_equal(exists(in_scratch(inside)), kind == FOLDER_OF_OTHERS);
        }
}

static void a_live_run_is_left_alone(void **state)
{
    weft_run *run = NULL, *second = NULL;
    weft_error err;
    char pid[32];
    snprintf(pid, sizeof(pid), "process %ld on ", (long)getpid());
    assert_int_equal(create("live", false, false, &run, &err), WEFT_OK);
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        assert_int_equal(create("live", false, overwrite, &second, &err), WEFT_ERR_STATE);
        assert_null(second);
        assert_non_null(strstr(err.text, in_scratch("live")));
        assert_non_null(strstr(err.text, "is in use by a run that is still going"));
        assert_non_null(strstr(err.text, pid));
    }
    assert_true(exists(in_scratch("live/log.jsonl")));
    wf_run_keep(run);
    weft_run_destroy(run);
    assert_int_equal(create("live", false, true, &run, &err), WEFT_OK);
    weft_run_destroy(run);
}

static void a_kill_releases_the_directory_and_its_leftovers_go(void **state)
{
    weft_run *run = NULL;
    weft_error err;
    char text[8];
    int ready[2], status;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (create("killed", false, false, &run, &err) == WEFT_OK)
            wf_run_keep(run);
        status = write(ready[1], "ready", 5) == 5;
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], text, 5), 5);
    assert_int_equal(create("killed", false, true, &run, &err), WEFT_ERR_STATE);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    close(ready[0]);
    close(ready[1]);
    /* It was killed before it logged a step: its directory may be had. */
    assert_int_equal(create("killed", false, false, &run, &err), WEFT_OK);
    assert_int_equal(wf_run_log_epoch(run, &(weft_epoch){.epoch = 1}, &err), WEFT_OK);
    weft_run_destroy(run);
    assert_int_equal(create("killed", false, false, &run, &err), WEFT_ERR_STATE);
    make_file("killed/weights.safetensors.tmp-77-0", 9);
    make_file("killed/config.json.tmp-77-12", 9);
    make_file("killed/mine.tmp-77-0", 9); /* of others */
    make_file("killed/weights.safetensors.tmp-x", 9);
    assert_int_equal(create("killed", false, true, &run, &err), WEFT_OK);
    assert_false(exists(in_scratch("killed/weights.safetensors.tmp-77-0")));
    assert_false(exists(in_scratch("killed/config.json.tmp-77-12")));
    assert_true(exists(in_scratch("killed/mine.tmp-77-0")));
    assert_true(exists(in_scratch("killed/weights.safetensors.tmp-x")));
    weft_run_destroy(run);
}

/* A file size limit cuts a write short as a full disk does. */
static void a_line_that_does_not_fit_leaves_no_half(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    for (int limit = 1000; limit < 1040; limit += 7) {
        weft_run *run = NULL;
        weft_error err;
        struct rlimit was, small;
        char line[1024], last = '\0', name[32];
        snprintf(name, sizeof(name), "full%d", limit);
        assert_int_equal(create(name, false, false, &run, &err), WEFT_OK);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
        small = was;
        small.rlim_cur = (rlim_t)limit;
        setrlimit(RLIMIT_FSIZE, &small);
        weft_status status = WEFT_OK;
        for (int i = 1; i < 100 && status == WEFT_OK; i++)
            status = wf_run_log_epoch(run, &(weft_epoch){.epoch = i, .train_loss = i}, &err);
        setrlimit(RLIMIT_FSIZE, &was);
        assert_int_equal(status, WEFT_ERR_IO);
        assert_non_null(strstr(err.text, strerror(EFBIG)));
        char path[64];
        snprintf(path, sizeof(path), "%s/log.jsonl", name);
        FILE *log = fopen(in_scratch(path), "r");
        assert_non_null(log);
        while (fgets(line, sizeof(line), log)) {
            last = line[strlen(line) - 1];
            json_t *object = json_loads(line, 0, NULL);
            assert_non_null(object);
            json_decref(object);
        }
        fclose(log);
        assert_int_equal(last, '\n');
        weft_run_destroy(run);
    }
}

static void overwriting_starts_from_nothing(void **state)
{
    weft_run *run = NULL;
    weft_error err;
    make_run("again", true);
    assert_int_equal(create("again", false, true, &run, &err), WEFT_OK);
    wf_run_keep(run);
    assert_int_equal(wf_run_publish(run, &err), WEFT_OK);
    assert_false(exists(in_scratch("again/result.json")));
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
    /* Somebody removes both files: the next lines put them back, with the lines before. */
    assert_int_equal(unlink(in_scratch("said/log.jsonl")), 0);
    assert_int_equal(unlink(in_scratch("said/summary.csv")), 0);
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
    assert_string_equal(line, "1,0.25,50,,,0.1,9,2,0,0\n");
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
        cmocka_unit_test(an_old_run_stays_until_the_new_one_has_weights),
        cmocka_unit_test(a_replacement_that_was_cut_short_is_finished),
        cmocka_unit_test(what_is_in_the_way_of_a_replacement_is_told_at_once),
        cmocka_unit_test(a_live_run_is_left_alone),
        cmocka_unit_test(a_kill_releases_the_directory_and_its_leftovers_go),
        cmocka_unit_test(a_line_that_does_not_fit_leaves_no_half),
        cmocka_unit_test(numbered_runs_find_a_free_name),
        cmocka_unit_test(a_place_that_cannot_be_written_is_named),
        cmocka_unit_test(memory_that_is_out_leaves_nothing),
        cmocka_unit_test(lines_and_documents_say_what_they_were_given),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
