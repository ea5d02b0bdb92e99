/* Safetensors: what is written reads back exactly, in Weft and in Python, and files that cannot be
 * read say why. Hostile headers: test_safetensors_hostile.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/files/regular_file.h"
#include "engine/files/safetensors.h"
#include "engine/base/alloc.h"
#include "tests/scratch.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- writing -------------------------------------------------------------------------------- */

static const float w[6] = {1.5f, -2.0f, 3e-39f, 4.0f, 5.0f, -0.0f};
static const int64_t n_batches[1] = {-7};
static const uint8_t bytes3[3] = {1, 2, 255};
static const double d[2] = {0.1, 1e300};
static const uint16_t half[1] = {0x3f80};
static const weft_safetensors_entry sample[] = {
    {"u.bytes", WEFT_U8, {1, {3}}, bytes3},
    {"conv.weight", WEFT_F32, {2, {2, 3}}, w},
    {"bn.num", WEFT_I64, {0, {0}}, n_batches},
    {"empty", WEFT_F32, {2, {0, 4}}, NULL},
    {"gr\xc3\xb6\xc3\x9f/\"e\"", WEFT_F64, {1, {2}}, d},
    {"h", WEFT_BF16, {1, {1}}, half},
};
static const weft_safetensors_meta sample_meta[] = {{"format", "pt"}, {"note", "a\n\"b\""}};

static void what_is_written_reads_back(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    const char *path = in_scratch("round.safetensors");
    weft_safetensors *file = NULL;
    if (weft_safetensors_write(path, sample, COUNT(sample), sample_meta, 2, &err) != WEFT_OK ||
        weft_safetensors_open(path, &file, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    assert_int_equal(weft_safetensors_count(file), COUNT(sample));
    for (size_t i = 0; i < COUNT(sample); i++) {
        const weft_safetensors_entry *e = weft_safetensors_at(file, (int64_t)i);
        size_t size = weft_dtype_size(sample[i].dtype);
        size_t n = (size_t)weft_shape_count(sample[i].shape) * size;
        assert_string_equal(e->name, sample[i].name);
        assert_int_equal(e->dtype, sample[i].dtype);
        assert_true(weft_shape_equal(e->shape, sample[i].shape));
        assert_true(n == 0 || memcmp(e->data, sample[i].data, n) == 0);
        assert_int_equal((uintptr_t)e->data % size, 0); /* aligned, whatever the order */
        assert_ptr_equal(weft_safetensors_find(file, sample[i].name), e);
    }
    assert_null(weft_safetensors_at(file, -1));
    assert_null(weft_safetensors_at(file, COUNT(sample)));
    assert_null(weft_safetensors_find(file, "conv"));
    assert_null(weft_safetensors_find(file, "__metadata__"));
    assert_int_equal(weft_safetensors_meta_count(file), 2);
    assert_string_equal(weft_safetensors_meta_at(file, 1)->key, "note");
    assert_string_equal(weft_safetensors_meta_find(file, "note"), "a\n\"b\"");
    assert_null(weft_safetensors_meta_find(file, "x"));
    weft_safetensors_close(file);
    weft_safetensors_close(NULL);

    assert_int_equal(weft_safetensors_write(path, NULL, 0, NULL, 0, &err), WEFT_OK);
    assert_int_equal(weft_safetensors_open(path, &file, &err), WEFT_OK);
    assert_int_equal(weft_safetensors_count(file), 0);
    assert_null(weft_safetensors_find(file, ""));
    weft_safetensors_close(file);
}

static void arrays_are_aligned_for_any_length_of_the_header(void **state)
{
    const char *path = in_scratch("aligned.safetensors");
    for (int length = 0; length < 9; length++) {
        const weft_safetensors_meta meta = {"note", &"12345678"[length]};
        weft_safetensors *file = NULL;
        assert_int_equal(weft_safetensors_write(path, sample, COUNT(sample), &meta, 1, NULL),
                         WEFT_OK);
        assert_int_equal(weft_safetensors_open(path, &file, NULL), WEFT_OK);
        for (size_t i = 0; i < COUNT(sample); i++)
            assert_int_equal((uintptr_t)weft_safetensors_at(file, (int64_t)i)->data %
                                 weft_dtype_size(sample[i].dtype),
                             0);
        weft_safetensors_close(file);
    }
}

static void the_writer_refuses_what_could_not_be_read(void **state)
{
    static const weft_safetensors_entry one = {"a", WEFT_U8, {1, {1}}, bytes3};
    static const weft_safetensors_meta ok = {"k", "v"};
    static const struct {
        weft_safetensors_entry second;
        weft_safetensors_meta meta;
        const char *text;
    } cases[] = {
        {{"a", WEFT_U8, {1, {1}}, bytes3}, {"k2", "v"}, "two tensors are named \"a\""},
        {{"__metadata__", WEFT_U8, {1, {1}}, bytes3}, {"k2", "v"}, "cannot be named"},
        {{NULL, WEFT_U8, {1, {1}}, bytes3}, {"k2", "v"}, "cannot be named"},
        {{"b\xff", WEFT_U8, {1, {1}}, bytes3}, {"k2", "v"}, "UTF-8"},
        {{"b", WEFT_DTYPE_COUNT, {1, {1}}, bytes3}, {"k2", "v"}, "unknown element type"},
        {{"b", WEFT_U8, {1, {1}}, NULL}, {"k2", "v"}, "has no data"},
        {{"b", WEFT_U8, {1, {-1}}, bytes3}, {"k2", "v"}, "overflows"},
        {{"b", WEFT_F64, {2, {INT64_MAX, 2}}, bytes3}, {"k2", "v"}, "overflows"},
        {{"b", WEFT_U8, {1, {1}}, bytes3}, {"k", "v"}, "two metadata keys are named \"k\""},
        {{"b", WEFT_U8, {1, {1}}, bytes3}, {"k2", "v\xff"}, "UTF-8"},
    };
    const char *path = in_scratch("refused.safetensors");
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_error err = WEFT_ERROR_INIT;
        weft_safetensors_entry entries[] = {one, cases[i].second};
        weft_safetensors_meta meta[] = {ok, cases[i].meta};
        assert_int_not_equal(weft_safetensors_write(path, entries, 2, meta, 2, &err), WEFT_OK);
        if (!strstr(err.text, cases[i].text))
            fail_msg("case %zu gives: %s", i, err.text);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

static void files_that_cannot_be_opened_say_why(void **state)
{
    weft_safetensors *file = NULL;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_safetensors_open(in_scratch("none"), &file, &err), WEFT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "/none: cannot be read: No such file"));
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(weft_safetensors_open(scratch_dir, &file, &err), WEFT_ERR_IO);
    assert_non_null(strstr(err.text, "not a regular file"));
    err = (weft_error)WEFT_ERROR_INIT;
    FILE *f = fopen(in_scratch("short"), "w");
    fputs("1234567", f);
    fclose(f);
    assert_int_equal(weft_safetensors_open(in_scratch("short"), &file, &err), WEFT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "truncated: 7 bytes"));
    assert_null(file);
}

/* ---- out of memory -------------------------------------------------------------------------- */

static weft_status write_and_read(weft_error *err)
{
    weft_safetensors *file = NULL;
    const char *path = in_scratch("memory.safetensors");
    weft_status status = weft_safetensors_write(path, sample, COUNT(sample), sample_meta, 2, err);
    if (status == WEFT_OK)
        status = weft_safetensors_open(path, &file, err);
    weft_safetensors_close(file);
    return status;
}

static void every_failed_allocation_is_an_error_and_leaks_nothing(void **state)
{
    json_set_alloc_funcs(wf_alloc, wf_free); /* jansson's count, too */
    long n = 1;
    for (;; n++) {
        weft_error err = WEFT_ERROR_INIT;
        unlink(in_scratch("memory.safetensors"));
        wf_alloc_fail_at(n);
        weft_status status = write_and_read(&err);
        if (wf_alloc_fail_at(0) > 0) {
            assert_int_equal(status, WEFT_OK);
            break;
        }
        if (status == WEFT_OK || err.text[0] == '\0')
            fail_msg("allocation %ld failed unnoticed", n);
    }
    assert_true(n > 20);
    json_set_alloc_funcs(malloc, free);
}

/* ---- Python --------------------------------------------------------------------------------- */

static const char python_script[] =
    "import sys\n"
    "try:\n"
    "    import torch, safetensors.torch as st\n"
    "    from safetensors import safe_open\n"
    "except ImportError:\n"
    "    sys.exit(77)\n"
    "d = st.load_file(sys.argv[1])\n"
    "assert set(d) == {'u.bytes', 'conv.weight', 'bn.num', 'empty', 'gr\\u00f6\\u00df/\"e\"', "
    "'h'}, d\n"
    "assert d['conv.weight'].dtype == torch.float32\n"
    "assert d['conv.weight'].tolist()[0][:2] == [1.5, -2.0] and d['conv.weight'].shape == (2, 3)\n"
    "assert d['bn.num'].item() == -7 and d['bn.num'].shape == ()\n"
    "assert d['u.bytes'].tolist() == [1, 2, 255] and d['empty'].shape == (0, 4)\n"
    "assert d['gr\\u00f6\\u00df/\"e\"'].tolist() == [0.1, 1e300]\n"
    "assert d['h'].dtype == torch.bfloat16 and d['h'].item() == 1.0\n"
    "assert safe_open(sys.argv[1], 'pt').metadata() == {'format': 'pt', 'note': 'a\\n\"b\"'}\n"
    "st.save_file(d, sys.argv[2], metadata={'format': 'pt', 'note': 'a\\n\"b\"'})\n";

static void python_reads_and_writes_the_same(void **state)
{
    const char *python = getenv("WEFT_TORCH_PYTHON");
    char command[2048], script[512], ours[512];
    if (!python)
        skip();
    weft_error err = WEFT_ERROR_INIT;
    snprintf(ours, sizeof ours, "%s", in_scratch("ours.safetensors"));
    snprintf(script, sizeof script, "%s", in_scratch("check.py"));
    assert_int_equal(weft_safetensors_write(ours, sample, COUNT(sample), sample_meta, 2, &err),
                     WEFT_OK);
    FILE *f = fopen(script, "w");
    fputs(python_script, f);
    fclose(f);
    snprintf(command, sizeof command, "'%s' '%s' '%s' '%s'", python, script, ours,
             in_scratch("theirs.safetensors"));
    int rc = system(command);
    if (WIFEXITED(rc) && WEXITSTATUS(rc) == 77)
        skip(); /* this Python has no safetensors */
    assert_int_equal(rc, 0);
    weft_safetensors *file = NULL;
    if (weft_safetensors_open(in_scratch("theirs.safetensors"), &file, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < COUNT(sample); i++) {
        const weft_safetensors_entry *e = weft_safetensors_find(file, sample[i].name);
        assert_non_null(e);
        assert_true(weft_shape_equal(e->shape, sample[i].shape));
        size_t n = (size_t)weft_shape_count(e->shape) * weft_dtype_size(e->dtype);
        assert_true(n == 0 || memcmp(e->data, sample[i].data, n) == 0);
    }
    assert_string_equal(weft_safetensors_meta_find(file, "format"), "pt");
    weft_safetensors_close(file);
}

static void what_is_no_regular_file_is_refused_at_once(void **state)
{
    char path[4096];
    weft_safetensors *file = NULL;
    snprintf(path, sizeof path, "%s/fifo", scratch_dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    const char *paths[] = {path, "/dev/zero", scratch_dir};
    for (size_t i = 0; i < COUNT(paths); i++) {
        weft_error err = WEFT_ERROR_INIT;
        assert_int_equal(weft_safetensors_open(paths[i], &file, &err), WEFT_ERR_IO);
        assert_non_null(strstr(err.text, ": is not a regular file"));
    }
}

/* A mapped file would end the process with SIGBUS here. */
static void what_was_read_stays_when_the_file_is_cut(void **state)
{
    enum { N = 1 << 20 };
    weft_safetensors *file = NULL;
    weft_error err = WEFT_ERROR_INIT;
    char path[512];
    int64_t *numbers = malloc(N * sizeof *numbers);
    assert_non_null(numbers);
    for (int64_t i = 0; i < N; i++)
        numbers[i] = i;
    const weft_safetensors_entry one = {"n", WEFT_I64, {1, {N}}, numbers};
    snprintf(path, sizeof path, "%s", in_scratch("cut.safetensors"));
    assert_int_equal(weft_safetensors_write(path, &one, 1, NULL, 0, NULL), WEFT_OK);
    assert_int_equal(weft_safetensors_open(path, &file, &err), WEFT_OK);
    assert_int_equal(truncate(path, 100), 0);
    assert_memory_equal(weft_safetensors_find(file, "n")->data, numbers, N * sizeof *numbers);
    weft_safetensors_close(file);
    file = NULL;
    assert_int_equal(weft_safetensors_open(path, &file, &err), WEFT_ERR_FORMAT);
    assert_null(file);
    free(numbers);
}

static void a_file_that_ends_before_its_size_became_shorter(void **state)
{
    int fd;
    int64_t size;
    char path[512], to[64];
    weft_error err = WEFT_ERROR_INIT;
    snprintf(path, sizeof path, "%s", in_scratch("shrinks"));
    FILE *f = fopen(path, "w");
    fputs("0123456789", f);
    fclose(f);
    assert_int_equal(wf_open_regular(path, 0, &fd, &size, &err), WEFT_OK);
    assert_int_equal(size, 10);
    assert_int_equal(wf_read_at(fd, path, to, 7, 3, &err), WEFT_OK);
    assert_memory_equal(to, "3456789", 7);
    assert_int_equal(truncate(path, 5), 0);
    assert_int_equal(wf_read_at(fd, path, to, size, 0, &err), WEFT_ERR_IO);
    assert_non_null(strstr(err.text, "/shrinks: was truncated while it was in use"));
    close(fd);
}

static void the_header_alone_has_names_and_shapes(void **state)
{
    weft_safetensors *file = NULL;
    weft_error err = WEFT_ERROR_INIT;
    char path[512];
    snprintf(path, sizeof path, "%s", in_scratch("header.safetensors"));
    assert_int_equal(
        weft_safetensors_write(path, sample, COUNT(sample), sample_meta, COUNT(sample_meta), &err),
        WEFT_OK);
    assert_int_equal(weft_safetensors_open_header(path, &file, &err), WEFT_OK);
    assert_int_equal(weft_safetensors_count(file), COUNT(sample));
    for (size_t i = 0; i < COUNT(sample); i++) {
        const weft_safetensors_entry *e = weft_safetensors_find(file, sample[i].name);
        assert_non_null(e);
        assert_true(e->dtype == sample[i].dtype && weft_shape_equal(e->shape, sample[i].shape));
        assert_null(e->data);
    }
    assert_string_equal(weft_safetensors_meta_find(file, "format"), "pt");
    weft_safetensors_close(file);
    file = NULL;
    assert_int_equal(truncate(path, 1000), 0); /* longer than it was */
    assert_int_equal(weft_safetensors_open_header(path, &file, &err), WEFT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "bytes after the last tensor"));
    assert_null(file);
}

/* A sparse file costs nothing to make; its arrays would take all memory. */
static void an_array_larger_than_memory_is_one_error(void **state)
{
    const int64_t size = (int64_t)1 << 42;
    char path[512], header[256];
    weft_safetensors *file = NULL;
    weft_error err = WEFT_ERROR_INIT;
    snprintf(path, sizeof path, "%s", in_scratch("huge.safetensors"));
    const uint64_t length = (uint64_t)sprintf(header,
                                              "{\"a\":{\"dtype\":\"U8\",\"shape\":[%lld],"
                                              "\"data_offsets\":[0,%lld]}}",
                                              (long long)size, (long long)size);
    FILE *f = fopen(path, "w");
    fwrite(&length, sizeof length, 1, f);
    fputs(header, f);
    fclose(f);
    if (truncate(path, (off_t)(8 + (int64_t)length + size)) != 0)
        skip(); /* this file system has a lower limit */
    assert_int_equal(weft_safetensors_open(path, &file, &err), WEFT_ERR_NOMEM);
    assert_non_null(strstr(err.text, "/huge.safetensors: out of memory"));
    assert_null(file);
    assert_int_equal(weft_safetensors_open_header(path, &file, &err), WEFT_OK);
    assert_int_equal(weft_safetensors_at(file, 0)->shape.dim[0], size);
    weft_safetensors_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(arrays_are_aligned_for_any_length_of_the_header),
        cmocka_unit_test(the_writer_refuses_what_could_not_be_read),
        cmocka_unit_test(files_that_cannot_be_opened_say_why),
        cmocka_unit_test(every_failed_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(python_reads_and_writes_the_same),
        cmocka_unit_test(what_is_no_regular_file_is_refused_at_once),
        cmocka_unit_test(what_was_read_stays_when_the_file_is_cut),
        cmocka_unit_test(a_file_that_ends_before_its_size_became_shorter),
        cmocka_unit_test(the_header_alone_has_names_and_shapes),
        cmocka_unit_test(an_array_larger_than_memory_is_one_error),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
