/* The parts of reports: text, pictures, ticks, a run's numbers read back; and that a report that
 * cannot be made leaves the one before. Whole pages are tested from outside, tests/cli. */
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
#include <png.h>

#include "engine/files/json_text.h"
#include "engine/base/alloc.h"
#include "tests/scratch.h"
#include "train/report/evaluation.h"
#include "train/report/file_hash.h"
#include "train/report/history.h"
#include "train/report/markup.h"
#include "train/report/plot.h"
#include "train/report/png.h"
#include "weft/report.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void put(const char *name, const char *text)
{
    FILE *out = fopen(in_scratch(name), "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static char *get(const char *name)
{
    FILE *in = fopen(in_scratch(name), "r");
    assert_non_null(in);
    char *text = calloc(1, 1 << 20);
    assert_true(fread(text, 1, (1 << 20) - 1, in) > 0);
    fclose(in);
    return text;
}

/* ---- text ------------------------------------------------------------------------------------ */

#define BAD "\xef\xbf\xbd"

static void text_from_outside_is_only_text(void **state)
{
    static const struct {
        const char *text, *markup;
        int most;
    } cases[] = {
        {"plain", "plain", 99},
        {"<a href=\"x\">&'", "&#60;a href=&#34;x&#34;&#62;&#38;&#39;", 99},
        {"na\xc3\xafve \xe7\x8c\xab \xf0\x9f\x98\x80", "na\xc3\xafve \xe7\x8c\xab \xf0\x9f\x98\x80",
         99},
        {"a\x01\x1b[2Jb\x7f", "a" BAD BAD "[2Jb" BAD, 99},
        {"tab\tline\n", "tab\tline\n", 99},
        {"\xff\xc3(\x80", BAD BAD "(" BAD, 99},            /* no UTF-8 */
        {"\xc0\xbc\xe0\x80\xbc", BAD BAD BAD BAD BAD, 99}, /* '<' in too many bytes */
        {"\xed\xa0\x80", BAD BAD BAD, 99},                 /* half a surrogate pair */
        {"\xf4\x90\x80\x80", BAD BAD BAD BAD, 99},         /* above U+10FFFF */
        {"\xef\xbf\xbe", BAD, 99},                         /* U+FFFE */
        {"\xf4\x8f\x9f\xbf", BAD, 99}, /* in a json_t: a byte that is not UTF-8 */
        {"\xc2\x85", BAD, 99},         /* a C1 control */
        {"end\xe7\x8c", "end" BAD BAD, 99},
        {"abcdef", "abc\xe2\x80\xa6", 4},
        {"abcd", "abcd", 4},
        {"\xe7\x8c\xab\xe7\x8c\xab\xe7\x8c\xab", "\xe7\x8c\xab\xe2\x80\xa6", 2},
        {NULL, "", 99},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *written = NULL;
        size_t size;
        FILE *out = open_memstream(&written, &size);
        wf_markup_text_cut(out, cases[i].text, cases[i].most);
        fclose(out);
        assert_string_equal(written, cases[i].markup);
        free(written);
        json_t *json = wf_json_text(cases[i].text);
        assert_non_null(json); /* jansson refuses what is not UTF-8 */
        json_decref(json);
    }
}

static void numbers_are_written_for_people(void **state)
{
    char *written = NULL;
    size_t size;
    FILE *out = open_memstream(&written, &size);
    static const double counts[] = {0, 999, 1000, 1234567, -1234, NAN};
    for (size_t i = 0; i < COUNT(counts); i++) {
        wf_markup_count(out, counts[i]);
        fputc(' ', out);
    }
    wf_markup_fixed(out, 92.645, 2);
    fputc(' ', out);
    wf_markup_fixed(out, 1.25e17, 2);
    fputc(' ', out);
    wf_markup_duration(out, 59.6);
    fputc(' ', out);
    wf_markup_duration(out, 3725);
    fclose(out);
    assert_string_equal(written,
                        "0 999 1,000 1,234,567 -1,234 \xe2\x80\x93 92.64 1.250e+17 1:00 1:02:05");
    free(written);
}

static void data_uris_are_base64(void **state)
{
    static const struct {
        const char *bytes, *uri;
    } cases[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *uri =
            wf_data_uri("image/png", (const unsigned char *)cases[i].bytes, strlen(cases[i].bytes));
        assert_true(wf_is_data_uri(uri));
        assert_string_equal(uri + strlen("data:image/png;base64,"), cases[i].uri);
        wf_free(uri);
    }
    static const char *const bad[] = {"", "javascript:x", "data:image/png;base64,Zg==\" onerror=",
                                      "data:image/svg+xml;base64,Zg==", NULL};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(wf_is_data_uri(bad[i]));
}

/* ---- pictures -------------------------------------------------------------------------------- */

static void pictures_decode_to_what_they_were_made_of(void **state)
{
    static const int channels[] = {1, 3, 4},
                     formats[] = {PNG_FORMAT_GRAY, PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
    uint8_t pixels[37 * 23 * 4], back[37 * 23 * 4];
    for (size_t i = 0; i < sizeof(pixels); i++)
        pixels[i] = (uint8_t)(i * i / 7);
    for (int c = 0; c < 3; c++) {
        unsigned char *bytes = NULL;
        size_t size = 0;
        assert_int_equal(wf_png_encode(37, 23, channels[c], pixels, &bytes, &size, NULL), WEFT_OK);
        png_image image = {.version = PNG_IMAGE_VERSION};
        assert_true(png_image_begin_read_from_memory(&image, bytes, size));
        assert_int_equal(image.width, 37);
        assert_int_equal(image.height, 23);
        image.format = (png_uint_32)formats[c];
        assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
        assert_memory_equal(back, pixels, (size_t)(37 * 23 * channels[c]));
        wf_free(bytes);
    }
}

static void pictures_without_memory_are_errors(void **state)
{
    static const uint8_t pixels[64 * 64] = {1};
    int failures = 0;
    for (long n = 1;; n++) {
        unsigned char *bytes = NULL;
        size_t size;
        weft_error err = WEFT_ERROR_INIT;
        wf_alloc_fail_at(n);
        weft_status status = wf_png_encode(64, 64, 1, pixels, &bytes, &size, &err);
        bool struck = wf_alloc_fail_at(0) == 0;
        assert_int_equal(status, struck ? WEFT_ERR_NOMEM : WEFT_OK);
        wf_free(bytes);
        failures += struck;
        if (!struck)
            break;
    }
    assert_true(failures > 3);
}

/* ---- ticks ----------------------------------------------------------------------------------- */

static void ticks_are_round_and_inside(void **state)
{
    static const double lows[] = {0, -3.7, 0.001, 99.2, 1e-9, 1e6};
    static const double spans[] = {1, 0.37, 12.5, 1e-6, 3e5, 2};
    for (size_t i = 0; i < COUNT(lows); i++)
        for (size_t j = 0; j < COUNT(spans); j++) {
            double start, step, low = lows[i], high = low + spans[j];
            int n = wf_plot_ticks(low, high, 6, &start, &step);
            double lead = step / pow(10, floor(log10(step) + 1e-9));
            assert_true(n >= 2 && n <= 6);
            assert_true(fabs(lead - 1) < 1e-6 || fabs(lead - 2) < 1e-6 || fabs(lead - 5) < 1e-6);
            double slack = 1e-6 * step;
            assert_true(start >= low - slack && start + (n - 1) * step <= high + slack);
            assert_true(start - step < low + slack && start + n * step > high - slack);
        }
}

/* ---- a run's numbers ------------------------------------------------------------------------- */

static void a_history_is_what_the_files_say(void **state)
{
    put("summary.csv", "seconds,epoch,new,train_loss,test_acc1\r\n"
                       "5,1,x,0.5,80\r\n9,2,,0.4,\n13,3,y,0.3,90\n17,4");
    put("log.jsonl",
        "{\"event\":\"step\",\"epoch\":1,\"epochs_done\":0.5,\"loss\":2,\"acc1\":10,\"lr\":1}\n"
        "{\"event\":\"step\",\"epoch\":1,\"epochs_done\":1.0,\"loss\":1,\"lr\":1}\n"
        "{\"event\":\"epoch\",\"epoch\":1}\n"
        "{\"event\":\"end\",\"status\":\"interrupted\",\"message\":\"early\"}\n"
        "what is this\n\n[]\n7\n"
        "{\"event\":\"step\",\"epoch\":3,\"epochs_done\":2.25,\"loss\":null}\n"
        "{\"event\":\"step\",\"epoch\":1,\"epochs_done\":\"x\"}\n"
        "{\"event\":\"step\",\"epoch\":3,\"epochs_do");
    wf_history h = {0};
    assert_int_equal(wf_history_read(scratch_dir, &h, NULL), WEFT_OK);
    assert_int_equal(h.n_epochs, 3); /* the last line has no end */
    assert_true(h.epochs[0].at == 1.0 && h.epochs[1].at == 2.0);
    assert_true(h.epochs[2].at == 2.25); /* ended early */
    assert_true(h.epochs[2].train_loss == 0.3 && h.epochs[2].seconds == 13);
    assert_true(isnan(h.epochs[1].test_acc1) && isnan(h.epochs[0].lr));
    assert_int_equal(h.n_steps, 3);
    assert_true(h.steps[0].acc1 == 10 && isnan(h.steps[1].acc1) && isnan(h.steps[2].loss));
    assert_string_equal(h.status, ""); /* it went on after it was interrupted */
    wf_history_done(&h);
}

static void what_comes_again_replaces_what_was(void **state)
{
    put("summary.csv", "epoch,train_loss\n1,5\n2,4\n3,3\n2,40\n3,30\n");
    put("log.jsonl", "{\"event\":\"step\",\"epochs_done\":1,\"loss\":9}\n"
                     "{\"event\":\"step\",\"epochs_done\":2,\"loss\":8}\n"
                     "{\"event\":\"step\",\"epochs_done\":1.5,\"loss\":7}\n"
                     "{\"event\":\"end\",\"status\":\"failed\",\"message\":\"why\"}\n");
    wf_history h = {0};
    assert_int_equal(wf_history_read(scratch_dir, &h, NULL), WEFT_OK);
    assert_int_equal(h.n_epochs, 3);
    assert_true(h.epochs[0].train_loss == 5 && h.epochs[1].train_loss == 40 &&
                h.epochs[2].train_loss == 30);
    assert_int_equal(h.n_steps, 2);
    assert_true(h.steps[1].at == 1.5 && h.steps[1].loss == 7);
    assert_string_equal(h.status, "failed");
    assert_string_equal(h.message, "why");
    wf_history_done(&h);
}

static void nothing_to_read_is_an_error(void **state)
{
    wf_history h = {0};
    weft_error err = WEFT_ERROR_INIT;
    put("summary.csv", "epoch,train_loss\n");
    put("log.jsonl", "");
    assert_int_equal(wf_history_read(scratch_dir, &h, &err), WEFT_ERR_NOT_FOUND);
    assert_int_equal(weft_run_write_report(scratch_dir, &err), WEFT_ERR_NOT_FOUND);
    assert_int_equal(weft_run_write_report(NULL, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_eval_write_report(NULL, NULL, NULL, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_eval_write_json("x", NULL, NULL, NULL), WEFT_ERR_INVALID);
}

static void a_files_hash_is_xxh128sums(void **state)
{
    char path[256], text[WF_FILE_HASH_TEXT];
    weft_error err = WEFT_ERROR_INIT;
    put("empty", "");
    snprintf(path, sizeof(path), "%s/empty", scratch_dir);
    assert_int_equal(wf_file_hash(path, text, &err), WEFT_OK);
    assert_string_equal(text, "xxh128:99aa06d3014798d86001c324468d497f");
    snprintf(path, sizeof(path), "%s/none", scratch_dir);
    assert_int_equal(wf_file_hash(path, text, &err), WEFT_ERR_NOT_FOUND);
}

/* A FIFO without a writer, and a device that never ends. */
static void what_is_no_regular_file_is_not_read(void **state)
{
    char path[256], text[WF_FILE_HASH_TEXT];
    snprintf(path, sizeof(path), "%s/summary.csv", scratch_dir);
    for (int i = 0; i < 2; i++) {
        wf_history h = {0};
        weft_error err = WEFT_ERROR_INIT;
        remove(path);
        assert_int_equal(i == 0 ? mkfifo(path, 0600) : symlink("/dev/zero", path), 0);
        assert_int_equal(wf_history_read(scratch_dir, &h, &err), WEFT_ERR_IO);
        assert_non_null(strstr(err.text, "summary.csv: is not a regular file"));
        err = (weft_error)WEFT_ERROR_INIT;
        assert_int_equal(wf_file_hash(path, text, &err), WEFT_ERR_IO);
        wf_history_done(&h);
    }
    remove(path);
}

/* A picture that has vanished since it was evaluated costs the report its image, and nothing more. */
static void a_mistake_whose_picture_has_vanished_has_no_image(void **state)
{
    char text[1024];
    put("vanishing.pgm", "P5 4 4 255\n0123456789abcdef");
    snprintf(text, sizeof(text), "%s", in_scratch("vanishing.pgm"));
    const char *const file = text;
    const weft_dataset_opts opts = {.files = &file, .n_files = 1, .split = WEFT_SPLIT_PREDICT};
    weft_dataset *ds = NULL;
    assert_int_equal(weft_dataset_open_with(&opts, &ds, NULL), WEFT_OK);
    weft_mistake mistake = {.sample = 0, .label = 1, .predicted = 0, .loss = 2};
    const weft_eval_result result = {.images = 1, .loss = 2, .worst = &mistake, .n_worst = 1};
    for (int gone = 0; gone < 2; gone++) {
        weft_error err = WEFT_ERROR_INIT;
        json_t *json = wf_evaluation_json(&result, ds, 1, true, &err);
        assert_non_null(json);
        const json_t *first = json_array_get(json_object_get(json, "worst"), 0);
        assert_int_equal(json_object_get(first, "image") == NULL, gone);
        json_decref(json);
        remove(text);
    }
    weft_dataset_destroy(ds);
}

/* ---- whole reports --------------------------------------------------------------------------- */

static void put_run(void)
{
    put("summary.csv", "epoch,train_loss,train_acc1,test_loss,test_acc1,lr,img_per_s,seconds\n"
                       "1,0.5,80,0.55,79.25,0.1,100,9\n2,0.25,90,0.5,85.5,0.01,110,18\n");
    put("log.jsonl",
        "{\"event\":\"step\",\"epoch\":1,\"epochs_done\":0.5,\"loss\":0.75,\"acc1\":50,"
        "\"lr\":0.125}\n{\"event\":\"end\",\"status\":\"finished\"}\n");
    put("evaluation.json",
        "{\"epoch\":2,\"images\":4,\"loss\":0.5,\"acc1\":75.0,\"classes\":[{\"name\":\"a\","
        "\"support\":2},{\"name\":\"b\",\"support\":2}],\"confusion\":[[2,0],[1,1]],\"worst\":"
        "[{\"sample\":3,\"label\":1,\"predicted\":0,\"probability\":0.625,\"loss\":1.5}]}");
}

static int files(void)
{
    int n = 0;
    DIR *dir = opendir(scratch_dir);
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void a_report_without_memory_leaves_the_one_before(void **state)
{
    int failures = 0;
    put_run();
    put("report.html", "before");
    put("curve.svg", "before");
    int n_files = files();
    for (long n = 1;; n++) {
        weft_error err = WEFT_ERROR_INIT;
        wf_alloc_fail_at(n);
        weft_status status = weft_run_write_report(scratch_dir, &err);
        if (wf_alloc_fail_at(0) > 0) {
            assert_int_equal(status, WEFT_OK);
            break;
        }
        char *report = get("report.html");
        assert_true(status != WEFT_OK && status == err.status);
        /* All but its directory's flushing may be done. */
        if (strcmp(report, "before") != 0) {
            assert_non_null(strstr(err.text, "could not be flushed"));
            assert_non_null(strstr(report, "</html>"));
            put("report.html", "before");
        }
        failures++;
        free(report);
        assert_int_equal(files(), n_files);
    }
    assert_true(failures > 10);
    char *report = get("report.html");
    assert_non_null(strstr(report, "62.5 %"));
    free(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_from_outside_is_only_text),
        cmocka_unit_test(numbers_are_written_for_people),
        cmocka_unit_test(data_uris_are_base64),
        cmocka_unit_test(pictures_decode_to_what_they_were_made_of),
        cmocka_unit_test(pictures_without_memory_are_errors),
        cmocka_unit_test(ticks_are_round_and_inside),
        cmocka_unit_test(a_history_is_what_the_files_say),
        cmocka_unit_test(what_comes_again_replaces_what_was),
        cmocka_unit_test(nothing_to_read_is_an_error),
        cmocka_unit_test(a_files_hash_is_xxh128sums),
        cmocka_unit_test(what_is_no_regular_file_is_not_read),
        cmocka_unit_test(a_mistake_whose_picture_has_vanished_has_no_image),
        cmocka_unit_test(a_report_without_memory_leaves_the_one_before),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
