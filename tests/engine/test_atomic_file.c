/* Atomic files: whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/files/atomic_file.h"
#include "engine/base/alloc.h"
#include "tests/scratch.h"

static void assert_content(const char *name, const char *expected)
{
    char text[64] = {0};
    FILE *f = fopen(in_scratch(name), "r");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, sizeof text - 1, f), strlen(expected));
    fclose(f);
    assert_string_equal(text, expected);
}

/* The number of entries in the directory: temporary files count. */
static int files(void)
{
    int n = 0;
    DIR *d = opendir(scratch_dir);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static weft_status write_text(const char *path, const char *text, weft_error *err)
{
    wf_atomic_file *f = NULL;
    weft_status status = wf_atomic_create(path, &f, err);
    if (status != WEFT_OK)
        return status;
    fputs(text, wf_atomic_stream(f));
    status = wf_atomic_write(f, "!", 1, err);
    if (status != WEFT_OK) {
        wf_atomic_abort(f);
        return status;
    }
    return wf_atomic_commit(f, err);
}

static void a_file_appears_at_commit_and_replaces_the_old_one(void **state)
{
    wf_atomic_file *f = NULL;
    assert_int_equal(write_text(in_scratch("a"), "old", NULL), WEFT_OK);
    assert_content("a", "old!");
    assert_int_equal(wf_atomic_create(in_scratch("a"), &f, NULL), WEFT_OK);
    assert_int_equal(wf_atomic_write(f, "new", 3, NULL), WEFT_OK);
    fflush(wf_atomic_stream(f));
    assert_content("a", "old!");
    assert_int_equal(files(), 2);
    assert_int_equal(wf_atomic_commit(f, NULL), WEFT_OK);
    assert_content("a", "new");
    assert_int_equal(files(), 1);
}

static void abort_leaves_what_was_there(void **state)
{
    wf_atomic_file *f = NULL;
    write_text(in_scratch("a"), "old", NULL);
    assert_int_equal(wf_atomic_create(in_scratch("a"), &f, NULL), WEFT_OK);
    wf_atomic_write(f, "new", 3, NULL);
    wf_atomic_abort(f);
    wf_atomic_abort(NULL);
    assert_content("a", "old!");
    assert_int_equal(files(), 1);
}

static void the_mode_follows_the_umask(void **state)
{
    struct stat st;
    mode_t was = umask(027);
    write_text(in_scratch("a"), "x", NULL);
    umask(was);
    assert_int_equal(stat(in_scratch("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void a_symbolic_link_stays_one(void **state)
{
    struct stat st;
    write_text(in_scratch("target"), "old", NULL);
    assert_int_equal(symlink("target", in_scratch("link")), 0);
    assert_int_equal(write_text(in_scratch("link"), "new", NULL), WEFT_OK);
    assert_int_equal(lstat(in_scratch("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_content("target", "new!");
}

static void what_cannot_be_written_is_one_clear_error(void **state)
{
    static const struct {
        const char *path, *text;
    } cases[] = {{"/dev/null", "/dev/null: exists and is not a regular file"},
                 {scratch_dir, "exists and is not a regular file"},
                 {"/proc/x", "/proc/x: cannot be written: "},
                 {"/nonexistent-directory/x", "cannot be written: No such file or directory"},
                 {"", "cannot be written"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_error err = WEFT_ERROR_INIT;
        weft_status status = write_text(cases[i].path, "x", &err);
        if (status != WEFT_ERR_IO || !strstr(err.text, cases[i].text))
            fail_msg("%s: %s: %s", cases[i].path, weft_status_string(status), err.text);
    }
}

/* A file size limit makes write(2) fail in the middle, as a full disk does. */
static void a_failed_write_leaves_nothing_behind(void **state)
{
    write_text(in_scratch("a"), "old", NULL);
    struct rlimit was, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = 100000;
    char *block = calloc(1, 60000);
    for (int by_stream = 0; by_stream < 2; by_stream++) {
        weft_error err = WEFT_ERROR_INIT;
        wf_atomic_file *f = NULL;
        assert_int_equal(wf_atomic_create(in_scratch("a"), &f, &err), WEFT_OK);
        setrlimit(RLIMIT_FSIZE, &small);
        weft_status status = WEFT_OK;
        for (int i = 0; i < 3; i++)
            if (by_stream)
                fwrite(block, 1, 60000, wf_atomic_stream(f));
            else
                status = wf_atomic_write(f, block, 60000, &err);
        if (!by_stream) {
            assert_int_equal(status, WEFT_ERR_IO);
            assert_non_null(strstr(err.text, strerror(EFBIG)));
        }
        err = (weft_error)WEFT_ERROR_INIT;
        assert_int_equal(wf_atomic_commit(f, &err), WEFT_ERR_IO); /* an error stays */
        assert_non_null(strstr(err.text, "/a: cannot be written: "));
        if (!by_stream) /* stdio does not remember why */
            assert_non_null(strstr(err.text, strerror(EFBIG)));
        setrlimit(RLIMIT_FSIZE, &was);
        assert_content("a", "old!");
        assert_int_equal(files(), 1);
    }
    free(block);
}

static void what_killed_writers_left_is_removed_and_live_ones_are_not(void **state)
{
    static const char *const dead[] = {"a.tmp-1-0", "a.tmp-99999-12"};
    static const char *const others[] = {"b.tmp-1-0", "a.tmp-1-", "a.tmp-1-0x", "a.tmp-x-0",
                                         "a.tmp"};
    wf_atomic_file *live = NULL;
    for (int i = 0; i < 2; i++)
        fclose(fopen(in_scratch(dead[i]), "w"));
    for (int i = 0; i < 5; i++)
        fclose(fopen(in_scratch(others[i]), "w"));
    assert_int_equal(wf_atomic_create(in_scratch("a"), &live, NULL), WEFT_OK);
    assert_int_equal(files(), 6);
    assert_int_equal(write_text(in_scratch("a"), "second", NULL), WEFT_OK);
    assert_int_equal(files(), 7);
    assert_int_equal(wf_atomic_write(live, "first", 5, NULL), WEFT_OK);
    assert_int_equal(wf_atomic_commit(live, NULL), WEFT_OK);
    assert_content("a", "first");
    assert_int_equal(files(), 6);
}

static void every_failed_allocation_is_an_error(void **state)
{
    for (long n = 1;; n++) {
        weft_error err = WEFT_ERROR_INIT;
        char path[512];
        snprintf(path, sizeof path, "%s", in_scratch("a"));
        wf_alloc_fail_at(n);
        weft_status status = write_text(path, "x", &err);
        if (wf_alloc_fail_at(0) > 0) {
            assert_true(n > 3);
            break;
        }
        assert_int_not_equal(status, WEFT_OK);
        assert_int_equal(files(), access(path, F_OK) == 0);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, scratch_clean)
    const struct CMUnitTest tests[] = {
        TEST(a_file_appears_at_commit_and_replaces_the_old_one),
        TEST(abort_leaves_what_was_there),
        TEST(the_mode_follows_the_umask),
        TEST(a_symbolic_link_stays_one),
        TEST(what_cannot_be_written_is_one_clear_error),
        TEST(a_failed_write_leaves_nothing_behind),
        TEST(what_killed_writers_left_is_removed_and_live_ones_are_not),
        TEST(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
