/* A file of wisdom may hold anything: cut short, with bits that changed, too large, or no file at
 * all. Nothing of that is used, nothing else is touched, and a run goes on without it. */
#include "engine/step/execute.h"
#include "small_net.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/tune/wisdom.h"
#include "tests/scratch.h"

static char path[128];
static const wf_wisdom_key here = {"Some CPU", "avx2", "1.2.3", "3.7.0", 8};

static int start(void **state)
{
    snprintf(path, sizeof path, "%s/wisdom.json", scratch_dir);
    return 0;
}

static void write_bytes(const char *bytes, size_t size)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void save(const char *problem, const char *kernel, bool *moved)
{
    wf_wisdom w = {0};
    weft_error err = WEFT_ERROR_INIT;
    assert_true(wf_wisdom_put(&w, problem, kernel, 0.5));
    if (wf_wisdom_write(path, &w, &here, moved, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    wf_wisdom_done(&w);
}

/* Reads the file as a context does; what comes out is whole or nothing. */
static weft_status load(wf_wisdom *w)
{
    json_t *root = NULL;
    weft_error err = WEFT_ERROR_INIT;
    *w = (wf_wisdom){0};
    weft_status status = wf_wisdom_read(path, &root, &err);
    if (status == WEFT_OK)
        status = wf_wisdom_from_json(w, root, &here, &err);
    json_decref(root);
    if (status != WEFT_OK) {
        assert_int_equal(w->n, 0);
        assert_true(err.text[0] != '\0');
        assert_true(status == WEFT_ERR_FORMAT || status == WEFT_ERR_NOT_FOUND ||
                    status == WEFT_ERR_UNSUPPORTED);
    }
    for (int i = 0; i < w->n; i++)
        assert_true(*w->choices[i].kernel && wf_wisdom_find(w, w->choices[i].problem));
    return status;
}

/* The bytes of a file with choices for two machines. */
static size_t whole_file(char *bytes, size_t size)
{
    bool moved = false;
    wf_wisdom w = {0};
    wf_wisdom_key other = here;
    strcpy(other.cpu, "Another CPU");
    save("conv2d forward g1", "winograd:avx2", &moved);
    save("matmul m1", "avx2", &moved);
    assert_true(wf_wisdom_put(&w, "matmul m1", "ref", 1));
    assert_int_equal(wf_wisdom_write(path, &w, &other, &moved, NULL), WEFT_OK);
    assert_false(moved);
    wf_wisdom_done(&w);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(bytes, 1, size, f);
    fclose(f);
    assert_true(n > 100 && n < size);
    return n;
}

static void a_file_cut_short_is_never_used(void **state)
{
    char bytes[4096];
    wf_wisdom w;
    const size_t size = whole_file(bytes, sizeof bytes);
    assert_int_equal(load(&w), WEFT_OK);
    assert_int_equal(w.n, 2);
    wf_wisdom_done(&w);
    for (size_t n = 0; n + 1 < size; n++) { /* the last byte is the end of the last line */
        write_bytes(bytes, n);
        if (load(&w) == WEFT_OK)
            fail_msg("used when cut to %zu of %zu bytes", n, size);
        wf_wisdom_done(&w);
    }
}

static void a_changed_bit_does_no_harm(void **state)
{
    char bytes[4096];
    wf_wisdom w;
    const size_t size = whole_file(bytes, sizeof bytes);
    for (size_t i = 0; i < size; i++)
        for (int bit = (int)i % 4; bit < 8; bit += 4) {
            bytes[i] ^= (char)(1 << bit);
            write_bytes(bytes, size);
            load(&w);
            wf_wisdom_done(&w);
            if ((i * 8 + (size_t)bit) % 389 == 0) { /* and can be saved over, or beside */
                json_t *root = NULL;
                bool later = wf_wisdom_read(path, &root, NULL) == WEFT_OK &&
                             wf_wisdom_from_json(&w, root, &here, NULL) == WEFT_ERR_UNSUPPORTED;
                bool moved = false;
                json_decref(root);
                wf_wisdom_done(&w);
                if (!later) {
                    save("added", "k", &moved);
                    assert_int_equal(load(&w), WEFT_OK);
                    assert_string_equal(wf_wisdom_find(&w, "added"), "k");
                    wf_wisdom_done(&w);
                }
            }
            bytes[i] ^= (char)(1 << bit);
        }
}

static void deep_nesting_and_long_texts_are_read_or_refused(void **state)
{
    enum { DEEP = 100000 };
    static char bytes[DEEP + 512];
    wf_wisdom w;
    memset(bytes, '[', DEEP);
    write_bytes(bytes, DEEP);
    assert_int_equal(load(&w), WEFT_ERR_FORMAT);
    int n = snprintf(bytes, sizeof bytes,
                     "{\"format\": \"weft wisdom\", \"version\": 1, \"machines\": [{\"cpu\": "
                     "\"%s\", \"isa\": \"%s\", \"lanes\": 8, \"weft\": \"%s\", \"onednn\": \"%s\", "
                     "\"choices\": {\"p\": {\"ms\": -1e300, \"kernel\": \"",
                     here.cpu, here.isa, here.weft, here.onednn);
    memset(bytes + n, 'k', DEEP);
    strcpy(bytes + n + DEEP, "\"}}}]}");
    write_bytes(bytes, strlen(bytes));
    assert_int_equal(load(&w), WEFT_OK);
    assert_int_equal(strlen(wf_wisdom_find(&w, "p")), DEEP);
    wf_wisdom_done(&w);
}

static void a_file_that_is_too_large_is_not_read(void **state)
{
    wf_wisdom w;
    write_bytes("{", 1);
    assert_int_equal(truncate(path, (off_t)1 << 40), 0); /* a hole */
    assert_int_equal(load(&w), WEFT_ERR_FORMAT);
}

/* A folder, a pipe, a device: an error at once, and it stays where it is. */
static void what_is_no_file_is_left_alone(void **state)
{
    const char *const kinds[] = {"folder", "pipe", "device"};
    for (int kind = 0; kind < 3; kind++) {
        struct stat before, after;
        assert_int_equal(kind == 0   ? mkdir(path, 0700)
                         : kind == 1 ? mkfifo(path, 0600)
                                     : symlink("/dev/zero", path),
                         0);
        assert_int_equal(lstat(path, &before), 0);
        json_t *root = NULL;
        bool moved = false;
        wf_wisdom w = {0};
        weft_error err = WEFT_ERROR_INIT;
        assert_true(wf_wisdom_put(&w, "p", "k", 1));
        if (wf_wisdom_read(path, &root, &err) != WEFT_ERR_IO)
            fail_msg("a %s was read: %s", kinds[kind], err.text);
        if (wf_wisdom_write(path, &w, &here, &moved, NULL) != WEFT_ERR_IO || moved)
            fail_msg("a %s was written", kinds[kind]);
        assert_int_equal(lstat(path, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        assert_int_equal(kind == 0 ? rmdir(path) : unlink(path), 0);
        wf_wisdom_done(&w);
    }
}

/* Names of kernels that no list has, and of some that do not fit: the expected best is taken. */
static void wisdom_that_names_no_kernel_changes_nothing(void **state)
{
    weft_options o = {.seed = 11, .threads = 2, .wisdom = "none"};
    size_t size, other;
    char *plain = net_train(&o, 1, &size, NULL);
    small_net net;
    net_init(&net, &o);
    assert_int_equal(weft_backward(net_loss(&net)), WEFT_OK);
    wf_plan *plan = NULL;
    assert_int_equal(wf_plan_of_recorded(net.ctx, &plan), WEFT_OK);
    weft_discard(net.ctx);
    for (int i = 0; i < plan->n_problems; i++) {
        char problem[WF_PROBLEM_TEXT];
        wf_problem_text(&plan->problems[i], problem, sizeof problem);
        assert_true(wf_wisdom_put(net.ctx->wisdom, problem,
                                  i % 2 ? "depthwise:avx2" : "\x01 no such kernel", 1));
    }
    wf_plan_destroy(plan);
    net_step(&net);
    char *with = net_state(&net, &other);
    assert_int_equal(size, other);
    assert_memory_equal(plain, with, size);
    free(plain);
    free(with);
    net_done(&net);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, scratch_clean)

int main(void)
{
    setenv("WEFT_WISDOM", "none", 1);
    const struct CMUnitTest tests[] = {
        CASE(a_file_cut_short_is_never_used),
        CASE(a_changed_bit_does_no_harm),
        CASE(deep_nesting_and_long_texts_are_read_or_refused),
        CASE(a_file_that_is_too_large_is_not_read),
        CASE(what_is_no_file_is_left_alone),
        CASE(wisdom_that_names_no_kernel_changes_nothing),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
