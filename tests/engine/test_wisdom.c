/* Wisdom: what was measured is found again, shared between machines and processes; a file that is
 * not right is told and ignored. */
#include "small_net.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/alloc.h"
#include "engine/step/wisdom.h"
#include "tests/scratch.h"

static char path[128], told[4096];

static int start(void **state)
{
    snprintf(path, sizeof path, "%s/deep/wisdom.json", scratch_dir);
    told[0] = '\0';
    return 0;
}

static void hear(void *user, const char *text)
{
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s\n", text);
}

static weft_context *context_with(const char *wisdom)
{
    weft_options o = {.threads = 2, .wisdom = wisdom};
    weft_context *ctx = NULL;
    assert_int_equal(weft_context_create(&ctx, &o, NULL), WEFT_OK);
    weft_set_message_handler(ctx, hear, NULL);
    return ctx;
}

static void write_text(const char *text)
{
    char *slash = strrchr(path, '/');
    *slash = '\0';
    mkdir(path, 0700);
    *slash = '/';
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const wf_wisdom_key here = {"Some CPU", "avx2", "1.2.3", "3.7.0", 8};

static void put(wf_wisdom *w, const char *problem, const char *kernel)
{
    assert_true(wf_wisdom_put(w, problem, kernel, 0.25));
}

static wf_wisdom read_for(const wf_wisdom_key *key, weft_status expected)
{
    wf_wisdom w = {0};
    json_t *root = NULL;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(wf_wisdom_read(path, &root, &err), WEFT_OK);
    assert_int_equal(wf_wisdom_from_json(&w, root, key, &err), expected);
    json_decref(root);
    return w;
}

static void write_for(const wf_wisdom_key *key, const wf_wisdom *w)
{
    bool moved = false;
    weft_error err = WEFT_ERROR_INIT;
    if (wf_wisdom_write(path, w, key, &moved, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    assert_false(moved);
}

/* ---- the table and the file ---- */

static void the_table_finds_what_was_put(void **state)
{
    wf_wisdom w = {0};
    char name[32];
    for (int i = 0; i < 200; i++) { /* in no order */
        snprintf(name, sizeof name, "problem %d", i * 37 % 200);
        put(&w, name, i % 2 ? "odd" : "even");
    }
    assert_int_equal(w.n, 200);
    put(&w, "problem 5", "replaced");
    assert_int_equal(w.n, 200);
    assert_string_equal(wf_wisdom_find(&w, "problem 5"), "replaced");
    assert_non_null(wf_wisdom_find(&w, "problem 199"));
    assert_null(wf_wisdom_find(&w, "problem 200"));
    assert_null(wf_wisdom_find(&w, ""));
    wf_wisdom_done(&w);
}

static void the_hash_is_of_the_choices_alone(void **state)
{
    wf_wisdom a = {0}, b = {0}, none = {0};
    assert_string_equal(wf_wisdom_hash(&none), "none");
    assert_true(wf_wisdom_put(&a, "x", "k", 1) && wf_wisdom_put(&a, "y", "l", 1));
    assert_true(wf_wisdom_put(&b, "y", "l", 2) && wf_wisdom_put(&b, "x", "k", 3));
    assert_int_equal(strlen(wf_wisdom_hash(&a)), 16);
    assert_string_equal(wf_wisdom_hash(&a), wf_wisdom_hash(&b));
    put(&b, "y", "k");
    assert_string_not_equal(wf_wisdom_hash(&a), wf_wisdom_hash(&b));
    wf_wisdom_done(&a);
    wf_wisdom_done(&b);
}

static void a_file_keeps_every_machine_apart(void **state)
{
    wf_wisdom_key other[] = {here, here, here, here};
    strcpy(other[0].cpu, "Another CPU");
    strcpy(other[1].isa, "avx512");
    other[1].lanes = 16;
    strcpy(other[2].weft, "1.2.4");
    strcpy(other[3].onednn, "2.6.0");
    wf_wisdom ours = {0}, theirs = {0};
    put(&ours, "matmul \"1\"", "avx2");
    put(&theirs, "matmul \"1\"", "other");
    write_for(&here, &ours);
    for (int i = 0; i < 4; i++) {
        wf_wisdom none = read_for(&other[i], WEFT_ERR_NOT_FOUND);
        assert_int_equal(none.n, 0);
        write_for(&other[i], &theirs);
    }
    wf_wisdom again = read_for(&here, WEFT_OK);
    assert_int_equal(again.n, 1);
    assert_string_equal(wf_wisdom_find(&again, "matmul \"1\""), "avx2");
    assert_true(again.choices[0].seconds == 0.25);
    wf_wisdom_done(&again);
    for (int i = 0; i < 4; i++) {
        again = read_for(&other[i], WEFT_OK);
        assert_string_equal(wf_wisdom_find(&again, "matmul \"1\""), "other");
        wf_wisdom_done(&again);
    }
    wf_wisdom_done(&ours);
    wf_wisdom_done(&theirs);
}

/* Each process adds its own choices, one write each, while the others do. */
static void nothing_is_lost_among_concurrent_writers(void **state)
{
    enum { WRITERS = 4, WRITES = 12 };
    pid_t child[WRITERS];
    for (int p = 0; p < WRITERS; p++) {
        child[p] = fork();
        if (child[p] != 0)
            continue;
        for (int i = 0; i < WRITES; i++) {
            wf_wisdom w = {0};
            char name[32];
            bool moved = false;
            snprintf(name, sizeof name, "writer %d, %d", p, i);
            if (!wf_wisdom_put(&w, name, "k", 1) ||
                wf_wisdom_write(path, &w, &here, &moved, NULL) != WEFT_OK || moved)
                _exit(1);
            wf_wisdom_done(&w);
        }
        _exit(0);
    }
    for (int p = 0; p < WRITERS; p++) {
        int status = 1;
        assert_true(child[p] > 0 && waitpid(child[p], &status, 0) == child[p]);
        assert_int_equal(status, 0);
    }
    wf_wisdom w = read_for(&here, WEFT_OK);
    assert_int_equal(w.n, WRITERS * WRITES);
    wf_wisdom_done(&w);
}

/* ---- a context's ---- */

/* Loads `text` as a context would: what is told must contain `words`, and nothing is used. */
static void expect_ignored(const char *text, const char *words)
{
    weft_wisdom_info info;
    told[0] = '\0';
    write_text(text);
    weft_context *ctx = context_with(path);
    assert_int_equal(weft_wisdom_get_info(ctx, &info), WEFT_OK);
    assert_int_equal(info.choices, 0);
    assert_string_equal(info.hash, "none");
    assert_null(info.path);
    if (!strstr(told, words) || !strstr(told, path))
        fail_msg("told \"%s\", expected \"%s\" about:\n%s", told, words, text);
    told[0] = '\0';
    assert_int_equal(weft_wisdom_get_info(ctx, &info), WEFT_OK);
    assert_string_equal(told, ""); /* once */
    assert_int_equal(weft_error_status(ctx), WEFT_OK);
    weft_context_destroy(ctx);
}

/* The running machine's section, with one field in other words. */
static void section(char *text, size_t size, const char *field, const char *value)
{
    weft_context *ctx = context_with("none");
    wf_wisdom_key key = wf_wisdom_key_of(ctx);
    weft_context_destroy(ctx);
    snprintf(
        text, size,
        "{\"format\": \"weft wisdom\", \"version\": 1, \"machines\": [{\"cpu\": \"%s\", "
        "\"isa\": \"%s\", \"lanes\": %d, \"weft\": \"%s\", \"onednn\": \"%s\", \"choices\": %s}]}",
        strcmp(field, "cpu") ? key.cpu : value, strcmp(field, "isa") ? key.isa : value, key.lanes,
        strcmp(field, "weft") ? key.weft : value, strcmp(field, "onednn") ? key.onednn : value,
        strcmp(field, "choices") ? "{\"p\": {\"kernel\": \"k\", \"ms\": 1}}" : value);
}

static void files_that_are_not_right_are_told_and_ignored(void **state)
{
    char text[1024];
    expect_ignored("{\"format\": \"weft wis", "is damaged: line 1");
    expect_ignored("\x01\x02\xff", "is damaged");
    expect_ignored("[1, 2]", "is not a file of wisdom");
    expect_ignored("{\"format\": \"weft wisdom\", \"version\": 1}", "is not a file of wisdom");
    expect_ignored("{\"format\": \"weft wisdom\", \"version\": 2, \"machines\": []}",
                   "format version 2");
    expect_ignored("{\"format\": \"weft wisdom\", \"version\": 1, \"machines\": [7]}",
                   "is damaged");
    expect_ignored("{\"format\": \"weft wisdom\", \"version\": 1, \"machines\": []}",
                   "nothing for this machine");
    section(text, sizeof text, "cpu", "PDP-11");
    expect_ignored(text, "nothing for this machine");
    section(text, sizeof text, "isa", "altivec");
    expect_ignored(text, "nothing for this machine");
    section(text, sizeof text, "weft", "0.0.0");
    expect_ignored(text, "was measured with Weft 0.0.0");
    section(text, sizeof text, "onednn", "9.9.9");
    expect_ignored(text, "oneDNN 9.9.9");
    section(text, sizeof text, "choices", "{\"p\": 3}");
    expect_ignored(text, "no kernel for 'p'");
    section(text, sizeof text, "choices", "{\"a\": {\"kernel\": \"k\"}, \"p\": {\"ms\": 3}}");
    expect_ignored(text, "no kernel for 'p'");
    section(text, sizeof text, "", "");
    write_text(text);
    weft_wisdom_info info;
    weft_context *ctx = context_with(path);
    told[0] = '\0';
    assert_int_equal(weft_wisdom_get_info(ctx, &info), WEFT_OK);
    assert_int_equal(info.choices, 1); /* so it was the field each time */
    assert_string_equal(info.path, path);
    assert_string_equal(told, "");
    weft_context_destroy(ctx);
}

static void a_named_file_that_is_missing_is_told_an_unnamed_one_is_not(void **state)
{
    weft_wisdom_info info;
    weft_context *ctx = context_with(path);
    assert_int_equal(weft_wisdom_get_info(ctx, &info), WEFT_OK);
    assert_non_null(strstr(told, "No such file"));
    weft_context_destroy(ctx);
    told[0] = '\0';
    unsetenv("WEFT_WISDOM");
    setenv("XDG_CACHE_HOME", scratch_dir, 1);
    ctx = context_with(NULL);
    assert_int_equal(weft_wisdom_get_info(ctx, &info), WEFT_OK);
    assert_string_equal(told, "");
    weft_context_destroy(ctx);
    setenv("WEFT_WISDOM", "none", 1);
    unsetenv("XDG_CACHE_HOME");
}

static void the_path_follows_option_then_environment_then_cache(void **state)
{
    const struct {
        const char *asked, *env, *cache, *home, *expected;
        bool asked_for;
    } cases[] = {
        {"a.json", "b.json", "/c", "/h", "a.json", true},
        {NULL, "b.json", "/c", "/h", "b.json", true},
        {"none", "b.json", "/c", "/h", NULL, true},
        {NULL, "none", "/c", "/h", NULL, true},
        {NULL, "", "/c", "/h", "/c/weft/wisdom.json", false},
        {NULL, NULL, "relative", "/h", "/h/.cache/weft/wisdom.json", false},
        {NULL, NULL, NULL, "/h", "/h/.cache/weft/wisdom.json", false},
        {NULL, NULL, NULL, NULL, NULL, false},
    };
    const char *const names[] = {"WEFT_WISDOM", "XDG_CACHE_HOME", "HOME"};
    char *home = strdup(getenv("HOME") ? getenv("HOME") : "/");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *values[] = {cases[i].env, cases[i].cache, cases[i].home};
        for (int n = 0; n < 3; n++)
            if (values[n])
                setenv(names[n], values[n], 1);
            else
                unsetenv(names[n]);
        char *found = NULL;
        bool asked_for;
        assert_int_equal(wf_wisdom_path(cases[i].asked, &found, &asked_for, NULL), WEFT_OK);
        assert_int_equal(asked_for, cases[i].asked_for);
        if (cases[i].expected)
            assert_string_equal(found, cases[i].expected);
        else
            assert_null(found);
        wf_free(found);
    }
    setenv("WEFT_WISDOM", "none", 1);
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", home, 1);
    free(home);
}

static void what_stands_in_the_way_is_moved_aside(void **state)
{
    char aside[160];
    write_text("my diary");
    weft_context *ctx = context_with(path);
    assert_int_equal(weft_wisdom_save(ctx, NULL), WEFT_OK);
    assert_non_null(strstr(told, ".damaged"));
    weft_context_destroy(ctx);
    snprintf(aside, sizeof aside, "%s.damaged", path);
    assert_int_equal(access(aside, F_OK), 0);
    write_text("{\"format\": \"weft wisdom\", \"version\": 2, \"machines\": []}");
    ctx = context_with(path);
    assert_int_equal(weft_wisdom_save(ctx, NULL), WEFT_ERR_UNSUPPORTED); /* a later Weft's */
    weft_context_destroy(ctx);
}

static void an_unwritable_place_is_an_error_of_saving_only(void **state)
{
    char inside[160];
    write_text("not a folder");
    snprintf(inside, sizeof inside, "%s/wisdom.json", path);
    weft_context *ctx = context_with(inside);
    assert_int_equal(weft_wisdom_save(ctx, NULL), WEFT_ERR_IO);
    assert_non_null(strstr(weft_error_text(ctx), inside));
    weft_error_clear(ctx);
    weft_tensor *t = weft_randn(ctx, WEFT_SHAPE(2, 2));
    weft_tensor *kept = weft_keep(weft_matmul(t, t, false, false));
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_tensor_unref(kept);
    weft_tensor_unref(t);
    weft_context_destroy(ctx);
    ctx = context_with("none");
    assert_int_equal(weft_wisdom_save(ctx, NULL), WEFT_ERR_STATE);
    weft_context_destroy(ctx);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, scratch_clean)

int main(void)
{
    setenv("WEFT_WISDOM", "none", 1);
    const struct CMUnitTest tests[] = {
        CASE(the_table_finds_what_was_put),
        CASE(the_hash_is_of_the_choices_alone),
        CASE(a_file_keeps_every_machine_apart),
        CASE(nothing_is_lost_among_concurrent_writers),
        CASE(files_that_are_not_right_are_told_and_ignored),
        CASE(a_named_file_that_is_missing_is_told_an_unnamed_one_is_not),
        CASE(the_path_follows_option_then_environment_then_cache),
        CASE(what_stands_in_the_way_is_moved_aside),
        CASE(an_unwritable_place_is_an_error_of_saving_only),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
