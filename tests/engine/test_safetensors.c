/* Safetensors: hostile headers are refused with a message, what is written reads back exactly, in
 * Weft and in Python. */
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
#include "engine/memory/alloc.h"
#include "tests/scratch.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* length, header, data_bytes bytes; malloc'd exactly, so that a sanitizer sees every overrun. */
static unsigned char *image(uint64_t length, const char *header, size_t data_bytes, size_t *size)
{
    size_t text = strlen(header);
    unsigned char *bytes = malloc(8 + text + data_bytes + 1);
    assert_non_null(bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, text);
    memset(bytes + 8 + text, 7, data_bytes);
    *size = 8 + text + data_bytes;
    return realloc(bytes, *size);
}

static weft_status parse(const char *header, size_t data_bytes, weft_error *err)
{
    size_t size;
    unsigned char *bytes = image(strlen(header), header, data_bytes, &size);
    weft_safetensors *file = NULL;
    weft_status status = wf_safetensors_parse("f", bytes, size, &file, err);
    assert_int_equal(status == WEFT_OK, file != NULL);
    weft_safetensors_close(file);
    free(bytes);
    return status;
}

#define ENTRY(name, dtype, shape, offsets)                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct hostile {
    const char *header;
    size_t data;
    weft_status status; /* WEFT_OK: a legal oddity */
    const char *text;   /* in the message */
} hostile[] = {
    {"{}", 0, WEFT_OK, ""},
    {"{}       ", 0, WEFT_OK, ""},
    {"{" ENTRY("a", "F32", "[]", "[0,4]") "}", 4, WEFT_OK, ""},
    {"{" ENTRY("a", "F32", "[0,3]", "[0,0]") "}", 0, WEFT_OK, ""},
    {"{" ENTRY("b", "U8", "[2]", "[1,3]") "," ENTRY("a", "U8", "[1]", "[0,1]") "}", 3, WEFT_OK, ""},
    {"{\"__metadata__\":{}," ENTRY("", "U8", "[1]", "[0,1]") "}", 1, WEFT_OK, ""},

    {"", 0, WEFT_ERR_FORMAT, "does not start with {"},
    {" {}", 0, WEFT_ERR_FORMAT, "does not start with {"},
    {"[]", 0, WEFT_ERR_FORMAT, "does not start with {"},
    {"{", 0, WEFT_ERR_FORMAT, "not JSON in UTF-8: byte"},
    {"{}x", 0, WEFT_ERR_FORMAT, "not JSON in UTF-8: byte"},
    {"{}{}", 0, WEFT_ERR_FORMAT, "not JSON in UTF-8: byte"},
    {"{\"a\xff\":1}", 0, WEFT_ERR_FORMAT, "UTF-8: byte 3: unable"},
    {"{\"a\\u0000\":1}", 0, WEFT_ERR_FORMAT, "NUL"},
    {"{" ENTRY("a", "U8", "[1]", "[0,1]") "," ENTRY("a", "U8", "[1]", "[1,2]") "}", 2,
     WEFT_ERR_FORMAT, "duplicate object key"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     WEFT_ERR_FORMAT, "duplicate object key"},

    {"{\"a\":[]}", 0, WEFT_ERR_FORMAT, "\"a\": entry is not an object"},
    {"{\"a\":null}", 0, WEFT_ERR_FORMAT, "\"a\": entry is not an object"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, WEFT_ERR_FORMAT, "no \"dtype\" text"},
    {"{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, WEFT_ERR_FORMAT,
     "no \"dtype\" text"},
    {"{" ENTRY("a", "Q9\\u001b[31m", "[1]", "[0,1]") "}", 1, WEFT_ERR_FORMAT,
     "\"a\": unknown element type \"Q9\\x1b[31m\""},
    {"{" ENTRY("a", "f32", "[1]", "[0,4]") "}", 4, WEFT_ERR_FORMAT, "unknown element type"},
    {"{" ENTRY("a", "U16", "[1]", "[0,1]") "}", 1, WEFT_ERR_FORMAT,
     "U16 of shape [1] needs 2 bytes, offsets 0..1 give 1"},
    {"{" ENTRY("a", "F4", "[3]", "[0,1]") "}", 1, WEFT_ERR_FORMAT, "F4 of shape [3] needs 2 bytes"},
    {"{" ENTRY("a", "U64", "[2305843009213693952]", "[0,0]") "}", 0, WEFT_ERR_FORMAT, "overflows"},

    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, WEFT_ERR_FORMAT, "no \"shape\" list"},
    {"{" ENTRY("a", "U8", "1", "[0,1]") "}", 1, WEFT_ERR_FORMAT, "no \"shape\" list"},
    {"{" ENTRY("a", "U8", "[-1]", "[0,1]") "}", 1, WEFT_ERR_FORMAT, "dimension 0 is not a whole"},
    {"{" ENTRY("a", "U8", "[1,1.0]", "[0,1]") "}", 1, WEFT_ERR_FORMAT,
     "dimension 1 is not a whole"},
    {"{" ENTRY("a", "U8", "[1e3]", "[0,1]") "}", 1, WEFT_ERR_FORMAT, "dimension 0 is not a whole"},
    {"{" ENTRY("a", "U8", "[\"1\"]", "[0,1]") "}", 1, WEFT_ERR_FORMAT,
     "dimension 0 is not a whole"},
    {"{" ENTRY("a", "U8", "[99999999999999999999]", "[0,1]") "}", 1, WEFT_ERR_FORMAT,
     "too big integer"},
    {"{" ENTRY("a", "U8", "[1,1,1,1,1,1,2]", "[0,1]") "}", 1, WEFT_ERR_FORMAT, "needs 2 bytes"},
    {"{" ENTRY("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0, WEFT_ERR_FORMAT,
     "shape [4294967296, 4294967296] overflows"},
    {"{" ENTRY("a", "F64", "[2305843009213693952]", "[0,0]") "}", 0, WEFT_ERR_FORMAT, "overflows"},
    {"{" ENTRY("a", "F32", "[2]", "[0,4]") "}", 4, WEFT_ERR_FORMAT,
     "f32 of shape [2] needs 8 bytes, offsets 0..4 give 4"},
    {"{" ENTRY("a", "F32", "[0]", "[0,4]") "}", 4, WEFT_ERR_FORMAT, "needs 0 bytes"},

    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, WEFT_ERR_FORMAT, "two whole numbers"},
    {"{" ENTRY("a", "U8", "[1]", "[0]") "}", 1, WEFT_ERR_FORMAT, "two whole numbers"},
    {"{" ENTRY("a", "U8", "[1]", "[0,1,2]") "}", 1, WEFT_ERR_FORMAT, "two whole numbers"},
    {"{" ENTRY("a", "U8", "[1]", "[0,1.5]") "}", 1, WEFT_ERR_FORMAT, "two whole numbers"},
    {"{" ENTRY("a", "U8", "[1]", "{\"0\":1}") "}", 1, WEFT_ERR_FORMAT, "two whole numbers"},
    {"{" ENTRY("a", "U8", "[1]", "[1,0]") "}", 1, WEFT_ERR_FORMAT, "1..0 are not a range"},
    {"{" ENTRY("a", "U8", "[1]", "[-1,0]") "}", 1, WEFT_ERR_FORMAT, "-1..0 are not a range"},
    {"{" ENTRY("a", "U8", "[1]", "[1,2]") "}", 1, WEFT_ERR_FORMAT,
     "1..2 lie outside the file's 1 data bytes"},
    {"{" ENTRY("a", "U8", "[1]", "[9223372036854775806,9223372036854775807]") "}", 1,
     WEFT_ERR_FORMAT, "lie outside"},
    {"{" ENTRY("a", "U8", "[1]", "[0,99999999999999999999]") "}", 1, WEFT_ERR_FORMAT,
     "too big integer"},

    {"{" ENTRY("a", "U8", "[2]", "[0,2]") "," ENTRY("b", "U8", "[2]", "[1,3]") "}", 3,
     WEFT_ERR_FORMAT, "\"a\" and \"b\" overlap (offsets 0..2 and 1..3)"},
    {"{" ENTRY("a", "U8", "[2]", "[0,2]") "," ENTRY("b", "U8", "[2]", "[0,2]") "}", 2,
     WEFT_ERR_FORMAT, "overlap"},
    {"{" ENTRY("a", "U8", "[1]", "[0,1]") "," ENTRY("b", "U8", "[1]", "[2,3]") "}", 3,
     WEFT_ERR_FORMAT, "\"b\": a hole before it (offsets 1..2"},
    {"{" ENTRY("a", "U8", "[1]", "[1,2]") "}", 2, WEFT_ERR_FORMAT, "hole"},
    {"{" ENTRY("a", "U8", "[1]", "[0,1]") "}", 3, WEFT_ERR_FORMAT,
     "2 bytes behind the last tensor"},
    {"{}", 1, WEFT_ERR_FORMAT, "1 bytes behind the last tensor"},

    {"{\"__metadata__\":[]}", 0, WEFT_ERR_FORMAT, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, WEFT_ERR_FORMAT, "value of \"k\" is not a text"},
    {"{" ENTRY("0123456789012345678901234567890123456789012345678901234567890123456789012345678"
               "\xc3\xa9rest of a long name",
               "U8", "[1]", "[1,0]") "}",
     1, WEFT_ERR_FORMAT, "45678...\""},
};

static void hostile_headers_are_refused_with_a_message(void **state)
{
    for (size_t i = 0; i < COUNT(hostile); i++) {
        const struct hostile *h = &hostile[i];
        weft_error err = WEFT_ERROR_INIT;
        weft_status status = parse(h->header, h->data, &err);
        if (status != h->status || !strstr(err.text, h->text) ||
            (status != WEFT_OK && strncmp(err.text, "f: ", 3) != 0))
            fail_msg("case %zu: %s\n  gives %s: %s\n  expected %s: %s", i, h->header,
                     weft_status_string(status), err.text, weft_status_string(h->status), h->text);
        assert_int_equal(parse(h->header, h->data, NULL), h->status); /* err may be NULL */
    }
}

static void header_lengths_that_lie_are_refused(void **state)
{
    static const struct {
        uint64_t length;
        const char *text;
    } cases[] = {{3, "truncated: header of 3 bytes in a file of 10"},
                 {UINT64_MAX, "not a safetensors file"},
                 {UINT64_MAX - 7, "not a safetensors file"},
                 {(uint64_t)1 << 63, "not a safetensors file"},
                 {100000001, "at most 100000000 are allowed"},
                 {100000000, "truncated"},
                 {0, "does not start with {"},
                 {1, "not JSON in UTF-8: byte"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t size;
        unsigned char *bytes = image(cases[i].length, "{}", 0, &size);
        weft_safetensors *file = NULL;
        weft_error err = WEFT_ERROR_INIT;
        assert_int_equal(wf_safetensors_parse("f", bytes, size, &file, &err), WEFT_ERR_FORMAT);
        if (!strstr(err.text, cases[i].text))
            fail_msg("length %llu gives: %s", (unsigned long long)cases[i].length, err.text);
        free(bytes);
    }
}

/* Arrays of every type, deep nesting, cut off everywhere, then with bytes changed at random: no
 * crash (the sanitizers watch), and whatever is accepted has its data inside the file. */
static void mutated_files_never_break_the_reader(void **state)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"}," ENTRY("w", "F32", "[2,2]", "[0,16]") "," ENTRY(
            "n", "I64", "[]", "[16,24]") "," ENTRY("u", "U8", "[3]", "[24,27]") "}";
    size_t size, accepted = 0;
    unsigned char *good = image(sizeof header - 1, header, 27, &size);
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *bytes = malloc(cut ? cut : 1);
        memcpy(bytes, good, cut);
        weft_safetensors *file = NULL;
        assert_int_equal(wf_safetensors_parse("f", bytes, cut, &file, NULL), WEFT_ERR_FORMAT);
        free(bytes);
    }
    uint32_t random = 12345;
    unsigned char *bytes = malloc(size);
    for (int round = 0; round < 30000; round++) {
        memcpy(bytes, good, size);
        for (int changes = 1 + round % 3; changes > 0; changes--) {
            random = random * 1664525u + 1013904223u;
            size_t at = (random >> 8) % (8 + sizeof header - 1);
            random = random * 1664525u + 1013904223u;
            /* mostly what JSON is made of, sometimes any byte */
            bytes[at] = random >> 31
                            ? (unsigned char)"0123456789[]{},:\"-. eE\\u"[(random >> 8) % 24]
                            : (unsigned char)(random >> 16);
        }
        weft_safetensors *file = NULL;
        if (wf_safetensors_parse("f", bytes, size, &file, NULL) != WEFT_OK)
            continue;
        accepted++;
        for (int64_t i = 0; i < weft_safetensors_count(file); i++) {
            const weft_safetensors_entry *e = weft_safetensors_at(file, i);
            const unsigned char *data = e->data;
            size_t n = (size_t)weft_shape_count(e->shape) * weft_dtype_size(e->dtype);
            if (e->foreign != NULL) {
                assert_null(data);
                continue;
            }
            assert_true(data >= bytes + 8 && data + n <= bytes + size);
            assert_ptr_equal(weft_safetensors_find(file, e->name), e);
        }
        weft_safetensors_close(file);
    }
    assert_true(accepted > 0); /* else the loop shows nothing */
    free(bytes);
    free(good);
}

/* What Weft cannot hold is in the file all the same: whoever asks for it says so. */
static void arrays_that_weft_cannot_hold_leave_the_others_readable(void **state)
{
    static const struct {
        const char *dtype, *shape, *foreign;
        int bytes;
    } cases[] = {
        {"BOOL", "[3]", "BOOL", 3},
        {"I8", "[]", "I8", 1},
        {"I16", "[2]", "I16", 4},
        {"U16", "[1]", "U16", 2},
        {"U32", "[1]", "U32", 4},
        {"U64", "[2]", "U64", 16},
        {"C64", "[1]", "C64", 8},
        {"F8_E4M3", "[5]", "F8_E4M3", 5},
        {"F8_E5M2", "[5]", "F8_E5M2", 5},
        {"F8_E4M3FNUZ", "[1]", "F8_E4M3FNUZ", 1},
        {"F8_E5M2FNUZ", "[1]", "F8_E5M2FNUZ", 1},
        {"F8_E8M0", "[1]", "F8_E8M0", 1},
        {"F4", "[4]", "F4", 2},
        {"F6_E2M3", "[4]", "F6_E2M3", 3},
        {"F6_E3M2", "[4]", "F6_E3M2", 3},
        {"U16", "[0]", "U16", 0},
        {"U8", "[1,1,1,1,1,1,2]", "a tensor of more than 6 dimensions", 2},
        {"BOOL", "[1,1,1,1,1,1,1,1]", "a tensor of more than 6 dimensions", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char header[512];
        snprintf(header, sizeof header,
                 "{\"odd\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[2,%d]},"
                 "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
                 cases[i].dtype, cases[i].shape, 2 + cases[i].bytes);
        size_t size;
        unsigned char *bytes = image(strlen(header), header, 2 + (size_t)cases[i].bytes, &size);
        weft_safetensors *file = NULL;
        weft_error err = WEFT_ERROR_INIT;
        if (wf_safetensors_parse("f", bytes, size, &file, &err) != WEFT_OK)
            fail_msg("case %zu: %s", i, err.text);
        const weft_safetensors_entry *odd = weft_safetensors_find(file, "odd");
        assert_string_equal(odd->foreign, cases[i].foreign);
        assert_true(odd->dtype == WEFT_DTYPE_COUNT && odd->data == NULL);
        const weft_safetensors_entry *a = weft_safetensors_find(file, "a");
        assert_true(a->foreign == NULL && a->dtype == WEFT_U8 && a->shape.dim[0] == 2);
        assert_memory_equal(a->data, "\7\7", 2);
        weft_safetensors_close(file);
        free(bytes);
    }
}

static void deep_nesting_is_refused(void **state)
{
    size_t deep = 200000;
    char *header = malloc(deep + 6);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', deep);
    header[deep + 5] = '\0';
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(parse(header, 0, &err), WEFT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "depth"));
    free(header);
}

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

/* Some 40 bytes of memory a value, whose text may be two. */
static void a_header_of_too_many_values_is_refused_before_it_is_parsed(void **state)
{
    enum { VALUES = 5000000 };
    char *header = malloc(2 * VALUES + 64), *at = header;
    assert_non_null(header);
    at += sprintf(at, "{\"a\":[0");
    for (int i = 1; i < VALUES; i++)
        at = (char *)memcpy(at, ",0", 2) + 2;
    strcpy(at, "]}");
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(parse(header, 0, &err), WEFT_ERR_FORMAT);
    assert_string_equal(err.text, "f: header has more than 1000000 values");
    free(header);
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
    assert_non_null(strstr(err.text, "/shrinks: was cut off while it was in use"));
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
    assert_non_null(strstr(err.text, "bytes behind the last tensor"));
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
        cmocka_unit_test(hostile_headers_are_refused_with_a_message),
        cmocka_unit_test(header_lengths_that_lie_are_refused),
        cmocka_unit_test(mutated_files_never_break_the_reader),
        cmocka_unit_test(arrays_that_weft_cannot_hold_leave_the_others_readable),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(arrays_are_aligned_for_any_length_of_the_header),
        cmocka_unit_test(the_writer_refuses_what_could_not_be_read),
        cmocka_unit_test(files_that_cannot_be_opened_say_why),
        cmocka_unit_test(every_failed_allocation_is_an_error_and_leaks_nothing),
        cmocka_unit_test(python_reads_and_writes_the_same),
        cmocka_unit_test(a_header_of_too_many_values_is_refused_before_it_is_parsed),
        cmocka_unit_test(what_is_no_regular_file_is_refused_at_once),
        cmocka_unit_test(what_was_read_stays_when_the_file_is_cut),
        cmocka_unit_test(a_file_that_ends_before_its_size_became_shorter),
        cmocka_unit_test(the_header_alone_has_names_and_shapes),
        cmocka_unit_test(an_array_larger_than_memory_is_one_error),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
