/* Safetensors: hostile headers are refused with a message. Files that are written and read:
 * test_safetensors.c. */
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
    {"{" ENTRY("a", "U8", "[1]", "[0,1]") "}", 3, WEFT_ERR_FORMAT, "2 bytes after the last tensor"},
    {"{}", 1, WEFT_ERR_FORMAT, "1 bytes after the last tensor"},

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_headers_are_refused_with_a_message),
        cmocka_unit_test(header_lengths_that_lie_are_refused),
        cmocka_unit_test(mutated_files_never_break_the_reader),
        cmocka_unit_test(arrays_that_weft_cannot_hold_leave_the_others_readable),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_header_of_too_many_values_is_refused_before_it_is_parsed),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
