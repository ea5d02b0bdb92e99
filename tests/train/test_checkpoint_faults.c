/* Checkpoints where things go wrong: every call that writes fails in turn, every allocation; every
 * byte is flipped; manifests are hostile. */
#include "tests/train/checkpoint_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/files/file_calls.h"
#include "train/checkpoint/disk.h"
#include "train/checkpoint/manifest.h"

/* ---- a file layer that fails ----------------------------------------------------------------- */

static atomic_int calls_made;
static int fail_at;     /* the number of the call that fails; 0: none */
static int fail_errno;  /* as it says; 0: a write writes one byte only */
static bool fail_after; /* and all later calls too, as where a disk is gone */

static bool fails(void)
{
    int n = atomic_fetch_add(&calls_made, 1) + 1;
    if (n != fail_at && !(fail_after && fail_at > 0 && n > fail_at))
        return false;
    errno = fail_errno;
    return fail_errno != 0;
}

static int bad_open(const char *path, int flags, mode_t mode)
{
    return fails() ? -1 : wf_files_system.open(path, flags, mode);
}
static ssize_t bad_write(int fd, const void *data, size_t bytes)
{
    if (fails())
        return -1;
    bool is_short = atomic_load(&calls_made) == fail_at && fail_errno == 0 && bytes > 1;
    return wf_files_system.write(fd, data, is_short ? 1 : bytes);
}
static int bad_ftruncate(int fd, off_t bytes)
{
    return fails() ? -1 : wf_files_system.ftruncate(fd, bytes);
}
static int bad_fsync(int fd)
{
    return fails() ? -1 : 0; /* quick: nothing here is about a crash */
}
static int bad_close(int fd)
{
    bool failed = fails(); /* the descriptor is closed all the same, as on Linux */
    int error = errno;
    wf_files_system.close(fd);
    errno = error;
    return failed ? -1 : 0;
}
static int bad_rename(const char *from, const char *to)
{
    return fails() ? -1 : wf_files_system.rename(from, to);
}
static int bad_mkdir(const char *path, mode_t mode)
{
    return fails() ? -1 : wf_files_system.mkdir(path, mode);
}
static int bad_unlink(const char *path)
{
    return fails() ? -1 : wf_files_system.unlink(path);
}
static int bad_rmdir(const char *path)
{
    return fails() ? -1 : wf_files_system.rmdir(path);
}

static const wf_file_calls bad_calls = {.open = bad_open,
                                        .write = bad_write,
                                        .ftruncate = bad_ftruncate,
                                        .fsync = bad_fsync,
                                        .close = bad_close,
                                        .rename = bad_rename,
                                        .mkdir = bad_mkdir,
                                        .unlink = bad_unlink,
                                        .rmdir = bad_rmdir};

static void begin_failing(int at, int error, bool after)
{
    atomic_store(&calls_made, 0);
    fail_at = at;
    fail_errno = error;
    fail_after = after;
    wf_files_set(&bad_calls);
}

/* Returns how many calls were made. */
static int end_failing(void)
{
    wf_files_set(NULL);
    return atomic_load(&calls_made);
}

static const int errors[] = {ENOSPC, EIO, EINTR, EDQUOT, EMFILE, 0};
enum { N_ERRORS = sizeof(errors) / sizeof(errors[0]) };

static int open_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    for (; d && readdir(d); n++)
        ;
    if (d)
        closedir(d);
    return n;
}

/* ---- one write ------------------------------------------------------------------------------- */

static void every_call_that_fails_leaves_the_last_good_checkpoint(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training a, b;
    must_open(&a, &(training_opts){0});
    must_open(&b, &(training_opts){0});
    take_steps(&a, 2);
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("good"), &err), &err);
    take_steps(&b, 2); /* what `good` is to give back */
    const int descriptors = open_descriptors();
    int failed = 0, fine = 0;
    for (int e = 0; e < N_ERRORS; e++)
        for (int at = 1;; at++) {
            weft_error why = WEFT_ERROR_INIT;
            begin_failing(at, errors[e], false);
            weft_status status = weft_checkpoint_save(a.trainer, in_scratch("next"), &why);
            int made = end_failing();
            struct stat st;
            bool there = stat(in_scratch("next"), &st) == 0;
            assert_int_equal(there, status == WEFT_OK);
            if (status != WEFT_OK) {
                assert_int_equal(status, WEFT_ERR_IO);
                assert_non_null(strstr(why.text, strerror(errors[e])));
                assert_non_null(strstr(why.text, "next")); /* which file, too */
            } else {
                assert_good(weft_checkpoint_load(a.trainer, in_scratch("next"), &err), &err);
                assert_int_equal(wf_folder_remove(in_scratch("next")), 0);
            }
            failed += status != WEFT_OK;
            fine += status == WEFT_OK;
            /* One call failed, so whatever was begun could be removed. */
            DIR *d = opendir(scratch_dir);
            for (struct dirent *x; (x = readdir(d));)
                assert_true(x->d_name[0] == '.' ? x->d_name[1] != 'n' && x->d_name[1] != 'o'
                                                : strcmp(x->d_name, "good") == 0);
            closedir(d);
            assert_int_equal(open_descriptors(), descriptors);
            if (made < at)
                break;
        }
    assert_true(failed > 60 && fine > 20);
    assert_good(weft_checkpoint_load(a.trainer, in_scratch("good"), &err), &err);
    assert_same_state(&a, &b);
    training_close(&a);
    training_close(&b);
}

/* From some call on, nothing can be written at all, not even removed. */
static void a_disk_that_is_gone_harms_no_older_checkpoint(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training a;
    char path[512];
    must_open(&a, &(training_opts){0});
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("good"), &err), &err);
    for (int at = 1;; at++) {
        snprintf(path, sizeof path, "%s/next-%d", scratch_dir, at);
        begin_failing(at, EIO, true);
        weft_status status = weft_checkpoint_save(a.trainer, path, NULL);
        int made = end_failing();
        assert_good(weft_checkpoint_load(a.trainer, in_scratch("good"), &err), &err);
        /* The rename may have happened before the failure: then all of it is there. */
        if (access(path, F_OK) == 0)
            assert_good(weft_checkpoint_load(a.trainer, path, &err), &err);
        else
            assert_int_not_equal(status, WEFT_OK);
        if (made < at)
            break;
    }
    training_close(&a);
}

/* ---- a training ------------------------------------------------------------------------------ */

typedef struct counted {
    int good, bad;
} counted;

static void count(void *user, const weft_checkpoint_event *e)
{
    counted *c = user;
    c->good += e->status == WEFT_OK;
    c->bad += e->status != WEFT_OK;
    assert_int_equal(e->status == WEFT_OK, e->error[0] == '\0');
}

static void a_training_whose_disk_fails_goes_on_or_ends_with_one_error(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training whole, part;
    counted c = {0};
    const training_opts plain = {0};
    must_open(&whole, &plain);
    take_steps(&whole, EPOCHS * STEPS);
    int ended = 0, went_on = 0;
    for (int i = 0; i < 24; i++) {
        char run[128];
        snprintf(run, sizeof run, "%s/run-%d", scratch_dir, i);
        const training_opts o = {.run = run,
                                 .checkpoints = {.steps = 2, .told = count, .user = &c}};
        must_open(&part, &o);
        c = (counted){0};
        begin_failing(3 + 17 * i, errors[i % (N_ERRORS - 1)], false);
        weft_error why = WEFT_ERROR_INIT;
        weft_status status = weft_trainer_run(part.trainer, NULL, &why);
        end_failing();
        if (status == WEFT_OK) {
            assert_same_state(&whole, &part);
            went_on += c.bad > 0;
        } else {
            assert_int_equal(status, WEFT_ERR_IO);
            assert_true(why.text[0] != '\0');
            ended++;
        }
        training_close(&part);
        /* The same again, on a disk that is whole, is the whole training. */
        c = (counted){0};
        must_open(&part, &o);
        assert_good(weft_trainer_resume(part.trainer, NULL, NULL, NULL, &err), &err);
        assert_good(weft_trainer_run(part.trainer, NULL, &err), &err);
        assert_same_state(&whole, &part);
        assert_int_equal(c.bad, 0);
        training_close(&part);
    }
    assert_true(went_on > 2 && ended > 0);
    training_close(&whole);
}

/* ---- allocations ----------------------------------------------------------------------------- */

static void every_allocation_that_fails_changes_nothing(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training a, b;
    must_open(&a, &(training_opts){0});
    must_open(&b, &(training_opts){0});
    take_steps(&a, 3);
    take_steps(&b, 3);
    wf_files_set(&bad_calls); /* only because its fsync is quick */
    fail_at = 0;
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("good"), &err), &err);
    take_steps(&a, 1);
    take_steps(&b, 1);
    for (long n = 1;; n++) {
        weft_error why = WEFT_ERROR_INIT;
        wf_alloc_fail_at(n);
        weft_status status = weft_checkpoint_save(a.trainer, in_scratch("next"), &why);
        bool over = wf_alloc_fail_at(0) > 0;
        weft_error_clear(a.ctx);
        if (status == WEFT_OK)
            assert_int_equal(wf_folder_remove(in_scratch("next")), 0);
        else
            assert_int_equal(status, WEFT_ERR_NOMEM);
        assert_int_not_equal(access(in_scratch("next"), F_OK), 0);
        if (over)
            break;
    }
    for (long n = 1;; n++) {
        weft_error why = WEFT_ERROR_INIT;
        wf_alloc_fail_at(n);
        weft_status status = weft_checkpoint_load(a.trainer, in_scratch("good"), &why);
        bool over = wf_alloc_fail_at(0) > 0;
        weft_error_clear(a.ctx);
        if (status == WEFT_OK)
            break;
        assert_int_equal(status, WEFT_ERR_NOMEM);
        assert_same_state(&a, &b);
        assert_false(over);
    }
    wf_files_set(NULL);
    training_close(&a);
    training_close(&b);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Reads a file of the checkpoint; the caller frees it. */
static char *read_all(const char *name, size_t *n)
{
    FILE *f = fopen(in_scratch(name), "r");
    assert_non_null(f);
    char *bytes = malloc(1 << 20);
    *n = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    return bytes;
}

static void write_all(const char *name, const char *bytes, size_t n)
{
    FILE *f = fopen(in_scratch(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static weft_status try_read(wf_memory *memory)
{
    wf_ckpt_image image = {0};
    weft_error err = WEFT_ERROR_INIT;
    weft_status status = wf_ckpt_read(in_scratch("at"), memory, 2, &image, &err);
    assert_int_equal(status == WEFT_OK, err.text[0] == '\0');
    wf_ckpt_image_done(&image);
    return status;
}

static void a_flipped_byte_anywhere_is_found(void **state)
{
    static const char *const names[] = {"at/manifest.json", "at/state.json", "at/model.safetensors",
                                        "at/optimizer.safetensors"};
    weft_error err = WEFT_ERROR_INIT;
    training a;
    must_open(&a, &(training_opts){0});
    take_steps(&a, 2);
    wf_memory *memory = a.ctx->memory;
    assert_good(weft_checkpoint_save(a.trainer, in_scratch("at"), &err), &err);
    assert_int_equal(try_read(memory), WEFT_OK);
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        size_t n;
        char *bytes = read_all(names[k], &n);
        int fd = open(in_scratch(names[k]), O_RDWR);
        assert_true(fd >= 0 && n > 100);
        for (size_t i = 0; i < n; i++) {
            char flipped = (char)(bytes[i] ^ 1 << (i * 5 % 8));
            assert_int_equal(pwrite(fd, &flipped, 1, (off_t)i), 1);
            assert_int_equal(try_read(memory), WEFT_ERR_FORMAT);
            assert_int_equal(pwrite(fd, &bytes[i], 1, (off_t)i), 1);
        }
        close(fd);
        for (size_t i = 0; i < n; i += 1 + n / 50) {
            assert_int_equal(truncate(in_scratch(names[k]), (off_t)i), 0);
            assert_int_equal(try_read(memory), WEFT_ERR_FORMAT);
            write_all(names[k], bytes, n);
        }
        bytes[n] = '\n';
        write_all(names[k], bytes, n + 1);
        assert_int_equal(try_read(memory), WEFT_ERR_FORMAT);
        write_all(names[k], bytes, n);
        assert_int_equal(unlink(in_scratch(names[k])), 0);
        assert_int_equal(try_read(memory), k == 0 ? WEFT_ERR_NOT_FOUND : WEFT_ERR_FORMAT);
        write_all(names[k], bytes, n);
        assert_int_equal(try_read(memory), WEFT_OK);
        free(bytes);
    }
    training_close(&a);
}

/* ---- hostile manifests ----------------------------------------------------------------------- */

/* Writes a manifest whose own checksum fits. */
static void write_manifest(const char *body)
{
    size_t n = strlen(body);
    char *text = malloc(n + 100);
    int tail = snprintf(text, n + 100, "%s, \"manifest_xxh3\": \"%016llx\"}\n", body,
                        (unsigned long long)wf_ckpt_hash(body, n));
    write_all("at/manifest.json", text, (size_t)tail);
    free(text);
}

static weft_status try_file(wf_memory *memory, const char *name, const char *bytes,
                            const char *hash)
{
    char body[4096];
    snprintf(body, sizeof body,
             "{\"weft_checkpoint\": 1, \"files\": [{\"name\": %s, \"bytes\": %s, \"xxh3\": %s}]",
             name, bytes, hash);
    write_manifest(body);
    return try_read(memory);
}

static void hostile_manifests_are_refused(void **state)
{
    training a;
    char hash[24], path[512], secret[512];
    must_open(&a, &(training_opts){0});
    wf_memory *memory = a.ctx->memory;
    assert_int_equal(mkdir(in_scratch("at"), 0777), 0);
    write_all("at/x", "abc", 3);
    write_all("secret", "abc", 3);
    snprintf(secret, sizeof secret, "%s", in_scratch("secret"));
    snprintf(hash, sizeof hash, "\"%016llx\"", (unsigned long long)wf_ckpt_hash("abc", 3));
    assert_int_equal(try_file(memory, "\"x\"", "3", hash), WEFT_OK);

    char absolute[520], longest[200] = "\"";
    snprintf(absolute, sizeof absolute, "\"%s\"", secret);
    memset(longest + 1, 'x', 100);
    strcpy(longest + 101, "\"");
    const char *const bad_names[] = {
        "\"../secret\"", absolute,     "\"\"",        "\".\"",
        "\"..\"",        "\".x\"",     "\"a/x\"",     "\"x\\u0000y\"",
        "\"x y\"",       "\"x\\ny\"",  "null",        "3",
        "[\"x\"]",       longest,      "\"\\u00e4\"", "\"manifest.json\"",
        "\"x/\"",        "\"x\\\\..\""};
    for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++)
        assert_int_equal(try_file(memory, bad_names[i], "3", hash), WEFT_ERR_FORMAT);
    const char *const bad_bytes[] = {"-1",  "4",     "2",
                                     "3.0", "\"3\"", "9223372036854775807",
                                     "1e3", "null",  "4611686018427387904"};
    for (size_t i = 0; i < sizeof(bad_bytes) / sizeof(bad_bytes[0]); i++)
        assert_int_equal(try_file(memory, "\"x\"", bad_bytes[i], hash), WEFT_ERR_FORMAT);
    const char *const bad_hashes[] = {"\"\"",
                                      "3",
                                      "null",
                                      "\"zzzzzzzzzzzzzzzz\"",
                                      "\"0000000000000000\"",
                                      "\"00000000000000000\""};
    for (size_t i = 0; i < sizeof(bad_hashes) / sizeof(bad_hashes[0]); i++)
        assert_int_equal(try_file(memory, "\"x\"", "3", bad_hashes[i]), WEFT_ERR_FORMAT);

    const char *const bad_bodies[] = {
        "{",
        "[1",
        "{\"weft_checkpoint\": 2, \"files\": []",
        "{\"weft_checkpoint\": 1",
        "{\"weft_checkpoint\": 1, \"files\": []",
        "{\"weft_checkpoint\": 1, \"files\": {}",
        "{\"weft_checkpoint\": 1, \"files\": [1]",
        "{\"files\": [], \"files\": []",
        "{\"weft_checkpoint\": 1, \"weft_checkpoint\": 1, \"files\": []"};
    for (size_t i = 0; i < sizeof(bad_bodies) / sizeof(bad_bodies[0]); i++) {
        write_manifest(bad_bodies[i]);
        assert_int_equal(try_read(memory), WEFT_ERR_FORMAT);
    }
    /* The same file twice; too many files; nested too deep; too long. */
    char *body = malloc(3 << 20);
    int n = sprintf(body, "{\"weft_checkpoint\": 1, \"files\": [");
    for (int i = 0; i < 2; i++)
        n += sprintf(body + n, "%s{\"name\": \"x\", \"bytes\": 3, \"xxh3\": %s}", i ? "," : "",
                     hash);
    strcpy(body + n, "]");
    write_manifest(body);
    assert_int_equal(try_read(memory), WEFT_ERR_FORMAT);
    n = sprintf(body, "{\"weft_checkpoint\": 1, \"files\": [");
    for (int i = 0; i < 100; i++)
        n += sprintf(body + n, "%s{\"name\": \"x%d\", \"bytes\": 3, \"xxh3\": %s}", i ? "," : "", i,
                     hash);
    strcpy(body + n, "]");
    write_manifest(body);
    assert_int_equal(try_read(memory), WEFT_ERR_FORMAT);
    n = sprintf(body, "{\"weft_checkpoint\": ");
    memset(body + n, '[', 100000);
    body[n + 100000] = '\0';
    write_manifest(body);
    assert_int_equal(try_read(memory), WEFT_ERR_FORMAT);
    memset(body, ' ', (3 << 20) - 1);
    body[(3 << 20) - 1] = '\0';
    write_manifest(body);
    assert_int_equal(try_read(memory), WEFT_ERR_FORMAT);
    free(body);

    /* Names that are not files: links, folders, pipes; a huge file with holes. */
    snprintf(path, sizeof path, "%s", in_scratch("at/link"));
    assert_int_equal(symlink(secret, path), 0);
    assert_int_equal(try_file(memory, "\"link\"", "3", hash), WEFT_ERR_IO);
    assert_int_equal(mkdir(in_scratch("at/folder"), 0777), 0);
    assert_int_equal(try_file(memory, "\"folder\"", "3", hash), WEFT_ERR_IO);
    assert_int_equal(mkfifo(in_scratch("at/pipe"), 0666), 0);
    assert_int_equal(try_file(memory, "\"pipe\"", "3", hash), WEFT_ERR_IO);
    write_all("at/huge", "abc", 3);
    if (truncate(in_scratch("at/huge"), (off_t)1 << 42) == 0)
        assert_int_equal(try_file(memory, "\"huge\"", "4398046511104", hash), WEFT_ERR_NOMEM);
    snprintf(path, sizeof path, "%s", in_scratch("at/manifest.json"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(secret, path), 0);
    assert_int_equal(try_read(memory), WEFT_ERR_IO);
    training_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_call_that_fails_leaves_the_last_good_checkpoint,
                                  scratch_clean),
        cmocka_unit_test_teardown(a_disk_that_is_gone_harms_no_older_checkpoint, scratch_clean),
        cmocka_unit_test_teardown(a_training_whose_disk_fails_goes_on_or_ends_with_one_error,
                                  scratch_clean),
        cmocka_unit_test_teardown(every_allocation_that_fails_changes_nothing, scratch_clean),
        cmocka_unit_test_teardown(a_flipped_byte_anywhere_is_found, scratch_clean),
        cmocka_unit_test_teardown(hostile_manifests_are_refused, scratch_clean),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
