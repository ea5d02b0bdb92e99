/* Text from outside: as terminals get it, and as JSON documents do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/quote.h"
#include "engine/files/json_text.h"
#include "tests/scratch.h"
#include "weft/weft.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void count_message(void *user, const char *text)
{
    assert_non_null(strstr(text, "trace: cannot write"));
    ++*(int *)user;
}

static void what_could_steer_a_terminal_is_an_escape(void **state)
{
    static const struct {
        const char *text, *quoted;
    } cases[] = {
        {"plain \\ text", "plain \\ text"},
        {"\xc3\xbc \xe6\x97\xa5 \xf0\x9f\x98\x80", "\xc3\xbc \xe6\x97\xa5 \xf0\x9f\x98\x80"},
        {"a\nb\rc\td", "a\\nb\\rc\\td"},
        {"\x1b]0;x\x07", "\\x1b]0;x\\x07"},
        {"\x01\x7f", "\\x01\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\u009b31m"}, /* CSI, one of C1 */
        {"\x9b"
         "31m",
         "\\x9b31m"}, /* the same byte alone is not UTF-8 */
        {"\xe2\x80\xae"
         "gpj",
         "\\u202egpj"},
        {"\xe2\x81\xa6\xe2\x81\xa9", "\\u2066\\u2069"},
        {"\xe2\x80\xa8", "\\u2028"},
        {"\xe2\x80\x8f\xd8\x9c", "\\u200f\\u061c"},
        {"\xff\xc3", "\\xff\\xc3"},
        {"\xed\xb2\x80", "\\xed\\xb2\\x80"}, /* a surrogate */
        {"\xc0\x9b", "\\xc0\\x9b"},          /* overlong */
        {"", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[64];
        size_t n = weft_quote(cases[i].text, out, sizeof(out));
        assert_string_equal(out, cases[i].quoted);
        assert_int_equal(n, strlen(out));
        assert_int_equal(weft_quote(cases[i].text, NULL, 0), n);
    }
    for (int c = 1; c < 256; c++) {
        char text[2] = {(char)c, 0}, out[8];
        weft_quote(text, out, sizeof(out));
        for (const char *s = out; *s; s++)
            assert_in_range(*s, 0x20, 0x7e);
    }
}

static void a_short_buffer_gets_whole_characters(void **state)
{
    char out[8];
    memset(out, 'x', sizeof(out));
    assert_int_equal(weft_quote("ab\x1b"
                                "c",
                                out, 6),
                     7);
    assert_string_equal(out, "ab");
    assert_int_equal(weft_quote("ab\xc3\xbc", out, 4), 4);
    assert_string_equal(out, "ab");
    assert_int_equal(weft_quote(NULL, out, 1), 0);
    assert_string_equal(out, "");
}

static void a_message_keeps_its_own_lines(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    wf_print_quoted_lines("net.safetensors\x1b[2J: does not fit\n  missing     a\n  unexpected  "
                          "b\nweft: all is well",
                          out);
    fclose(out);
    assert_string_equal(text, "net.safetensors\\x1b[2J: does not fit\n  missing     a\n"
                              "  unexpected  b\\nweft: all is well\n");
    free(text);
}

/* Out as an escape for each byte that is not UTF-8, and in again. */
static void assert_round_trip(const char *text)
{
    json_t *one = wf_json_text(text);
    assert_non_null(one);
    char *dumped = wf_json_dumps(one, JSON_ENCODE_ANY);
    assert_non_null(dumped);
    char *array = malloc(strlen(dumped) + 3);
    sprintf(array, "[%s]", dumped);
    json_t *again = wf_json_loads(array);
    assert_non_null(again);
    assert_string_equal(json_string_value(json_array_get(again, 0)), json_string_value(one));
    free(array);
    free(dumped);
    json_decref(again);
    json_decref(one);
}

static void bytes_that_are_not_utf8_survive_json(void **state)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"runs/\xff", "\"runs/\\udcff\""},
        {"\x80\xfe", "\"\\udc80\\udcfe\""},
        {"\xc3", "\"\\udcc3\""},
        {"\xc3\xbc", "\"\xc3\xbc\""},
        {"\\udcff", "\"\\\\udcff\""},
        {"\xed\xb2\x80", "\"\\udced\\udcb2\\udc80\""},
        /* U+10F7FF, which stands for a byte inside: as its own four bytes */
        {"\xf4\x8f\x9f\xbf", "\"\\udcf4\\udc8f\\udc9f\\udcbf\""},
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},
        {"\n\x1b", "\"\\n\\u001B\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *json = wf_json_text(cases[i].text);
        char *text = wf_json_dumps(json, JSON_ENCODE_ANY);
        assert_string_equal(text, cases[i].json);
        free(text);
        json_decref(json);
        assert_round_trip(cases[i].text);
    }
    for (int a = 1; a < 256; a++)
        for (int b = 0; b < 256; b++)
            assert_round_trip((char[]){(char)a, (char)b, 0});
}

static void other_escapes_are_read_as_ever(void **state)
{
    char pair[] = "[\"\\ud83d\\udc80\", \"\\\\udc80\", \"\\u00fc\"]", bad[] = "[\"\\ud83d\"]";
    json_t *json = wf_json_loads(pair);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_array_get(json, 0)), "\xf0\x9f\x92\x80");
    assert_string_equal(json_string_value(json_array_get(json, 1)), "\\udc80");
    assert_string_equal(json_string_value(json_array_get(json, 2)), "\xc3\xbc");
    json_decref(json);
    assert_null(wf_json_loads(bad));
}

typedef struct net {
    weft_module base;
    weft_module *fc;
} net;

#define NAME "q\"\\\x1b\n\xff"

static void net_init(weft_module *m, const void *args)
{
    weft_register_module(m, NAME, &((net *)m)->fc, weft_linear_create(m->ctx, 4, 4, NULL));
}

static weft_tensor *net_forward(weft_module *m, weft_tensor *x)
{
    return weft_call(((net *)m)->fc, x);
}

/* One step of a module whose name is what JSON must escape, traced into `path`. */
static weft_status run_traced(const char *path, int *messages)
{
    static const weft_module_class cls = {"Net", sizeof(net), .init = net_init,
                                          .forward = net_forward};
    weft_context *ctx = NULL;
    weft_options options = WEFT_OPTIONS_INIT;
    options.trace_path = path;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    weft_set_message_handler(ctx, count_message, messages);
    weft_module *m = weft_module_create(ctx, &cls, NULL);
    weft_tensor *x = weft_randn(ctx, WEFT_SHAPE(2, 4));
    weft_tensor *y = weft_keep(weft_call(m, x));
    assert_non_null(y);
    assert_int_equal(weft_sync(ctx), WEFT_OK);
    weft_tensor_unref(y);
    weft_tensor_unref(x);
    weft_module_unref(m);
    weft_status status = weft_trace_write(ctx);
    if (status == WEFT_OK) { /* it is written: not again */
        assert_int_equal(access(path, F_OK), 0);
        assert_int_equal(rename(path, in_scratch("kept.json")), 0);
    }
    weft_context_destroy(ctx);
    assert_int_equal(access(path, F_OK), strcmp(path, "/dev/full") == 0 ? 0 : -1);
    return status;
}

static void a_trace_escapes_names_and_tells_when_it_is_lost(void **state)
{
    int messages = 0, found = 0;
    char path[512];
    snprintf(path, sizeof(path), "%s", in_scratch("trace.json"));
    assert_int_equal(run_traced(path, &messages), WEFT_OK);
    assert_int_equal(messages, 0);
    json_t *trace = wf_json_load_file(in_scratch("kept.json")), *event;
    assert_non_null(trace);
    size_t i;
    json_array_foreach(json_object_get(trace, "traceEvents"), i, event)
    {
        const char *module =
            json_string_value(json_object_get(json_object_get(event, "args"), "module"));
        found += module && strncmp(module, "q\"\\\x1b\n", 5) == 0;
    }
    assert_true(found > 0);
    json_decref(trace);
    if (access("/dev/full", W_OK) != 0)
        skip();
    assert_int_equal(run_traced("/dev/full", &messages), WEFT_ERR_IO);
    assert_int_equal(messages, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_could_steer_a_terminal_is_an_escape),
        cmocka_unit_test(a_short_buffer_gets_whole_characters),
        cmocka_unit_test(a_message_keeps_its_own_lines),
        cmocka_unit_test(bytes_that_are_not_utf8_survive_json),
        cmocka_unit_test(other_escapes_are_read_as_ever),
        cmocka_unit_test(a_trace_escapes_names_and_tells_when_it_is_lost),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
