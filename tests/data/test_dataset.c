/* Data sets in safetensors files, made-up ones, arrays; mean and standard deviation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/alloc.h"
#include "tests/scratch.h"
#include "weft/data.h"
#include "weft/safetensors.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- safetensors ---------------------------------------------------------------------------- */

static const float pixels_f32[2 * 3 * 1 * 2] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
static const uint8_t pixels_u8[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255};
static const int64_t good_labels[2] = {4, 0};

#define IMAGES(name)                                                                               \
    {                                                                                              \
        name, WEFT_F32, {4, {2, 3, 1, 2}}, pixels_f32                                              \
    }
#define LABELS(name)                                                                               \
    {                                                                                              \
        name, WEFT_I64, {1, {2}}, good_labels                                                      \
    }

static const char *write_tensors(const char *name, const weft_safetensors_entry *entries, int n,
                                 const char *classes)
{
    const weft_safetensors_meta meta = {"classes", classes};
    const char *path = in_scratch(name);
    assert_int_equal(weft_safetensors_write(path, entries, n, &meta, classes != NULL, NULL),
                     WEFT_OK);
    return path;
}

static void safetensors_files_are_data_sets(void **state)
{
    const weft_safetensors_entry one[] = {IMAGES("images"), LABELS("labels")};
    const weft_safetensors_entry two[] = {IMAGES("images"),
                                          LABELS("labels"),
                                          {"test_images", WEFT_U8, {4, {1, 3, 2, 2}}, pixels_u8},
                                          {"test_labels", WEFT_I64, {1, {1}}, good_labels}};
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    float pixels[6];
    int64_t label;
    const char *path = write_tensors("one", one, 2, NULL);
    for (int split = 0; split < 3; split++) {
        if (weft_dataset_open(path, split, &ds, &err) != WEFT_OK)
            fail_msg("%s", err.text);
        const weft_dataset_info *info = weft_dataset_get_info(ds);
        assert_int_equal(info->count, 2);
        assert_int_equal(info->channels, 3);
        assert_int_equal(info->height, 1);
        assert_int_equal(info->width, 2);
        assert_int_equal(info->classes, 5);
        assert_int_equal(info->dtype, WEFT_F32);
        assert_true(info->only_split);
        assert_string_equal(info->source, path);
        assert_int_equal(weft_dataset_get(ds, 1, pixels, &label, &err), WEFT_OK);
        assert_memory_equal(pixels, pixels_f32 + 6, sizeof pixels);
        assert_int_equal(label, 0);
        weft_dataset_destroy(ds);
    }
    path = write_tensors("two", two, 4, "7");
    assert_int_equal(weft_dataset_open(path, WEFT_SPLIT_TEST, &ds, &err), WEFT_OK);
    assert_int_equal(weft_dataset_get_info(ds)->count, 1);
    assert_int_equal(weft_dataset_get_info(ds)->classes, 7);
    assert_int_equal(weft_dataset_get_info(ds)->dtype, WEFT_U8);
    assert_false(weft_dataset_get_info(ds)->only_split);
    weft_dataset_destroy(ds);

    mkdir(in_scratch("split"), 0777);
    write_tensors("split/train.safetensors", one, 2, NULL);
    write_tensors("split/test.safetensors", two + 1, 1, NULL);
    assert_int_equal(weft_dataset_open(in_scratch("split"), WEFT_SPLIT_TRAIN, &ds, &err), WEFT_OK);
    assert_false(weft_dataset_get_info(ds)->only_split);
    weft_dataset_destroy(ds);
    assert_int_equal(weft_dataset_open(in_scratch("split"), WEFT_SPLIT_TEST, &ds, &err),
                     WEFT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "test.safetensors: has no tensor \"images\""));
}

static void has_no_labels(const char *path)
{
    weft_dataset *ds = NULL;
    int64_t label = 7;
    assert_int_equal(weft_dataset_open(path, WEFT_SPLIT_PREDICT, &ds, NULL), WEFT_OK);
    assert_int_equal(weft_dataset_get_info(ds)->classes, 0);
    assert_int_equal(weft_dataset_get(ds, 0, NULL, &label, NULL), WEFT_OK);
    assert_int_equal(label, -1);
    weft_dataset_destroy(ds);
}

static void labels_may_be_missing_for_prediction_only(void **state)
{
    const weft_safetensors_entry one[] = {IMAGES("images")};
    const char *path = write_tensors("unlabelled", one, 1, NULL);
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_dataset_open(path, WEFT_SPLIT_TEST, &ds, &err), WEFT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "has no tensor \"labels\""));
    has_no_labels(path);
}

static void labels_that_are_all_minus_one_are_missing(void **state)
{
    static const int64_t none[2] = {-1, -1};
    const weft_safetensors_entry two[] = {IMAGES("images"), {"labels", WEFT_I64, {1, {2}}, none}};
    const char *path = write_tensors("minus_one", two, 2, "4");
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    for (int split = WEFT_SPLIT_TRAIN; split <= WEFT_SPLIT_TEST; split++) {
        assert_int_equal(weft_dataset_open(path, (weft_split)split, &ds, &err), WEFT_ERR_FORMAT);
        assert_non_null(strstr(err.text, "every label of \"labels\" is -1"));
        err = (weft_error)WEFT_ERROR_INIT;
    }
    has_no_labels(path);
    const weft_dataset_arrays a = {2, 3, 1, 2, 0, WEFT_U8, pixels_u8, none};
    assert_int_equal(weft_dataset_from_arrays(&a, &ds, &err), WEFT_OK);
    assert_int_equal(weft_dataset_get_info(ds)->classes, 0);
    weft_dataset_destroy(ds);
}

static void names_in_the_metadata_are_the_classes(void **state)
{
    static const struct {
        const char *classes, *names;
        int expected; /* classes; 0: refused */
    } cases[] = {{"6", "a\nb\nc\nd\ne\nf", 6},
                 {NULL, "a\nb\nc\nd\ne\nf\n", 6},
                 {"6", "a\nb", 0},
                 {NULL, "a\nb\nc\nd", 0},
                 {"6", "", 0},
                 {NULL, "\n\n\n\n\n", 5}};
    const weft_safetensors_entry two[] = {IMAGES("images"), LABELS("labels")};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const weft_safetensors_meta meta[] = {{"class_names", cases[i].names},
                                              {"classes", cases[i].classes}};
        weft_dataset *ds = NULL;
        weft_error err = WEFT_ERROR_INIT;
        assert_int_equal(weft_safetensors_write(in_scratch("named"), two, 2, meta,
                                                cases[i].classes ? 2 : 1, NULL),
                         WEFT_OK);
        weft_status status = weft_dataset_open(in_scratch("named"), WEFT_SPLIT_TRAIN, &ds, &err);
        assert_int_equal(status, cases[i].expected ? WEFT_OK : WEFT_ERR_FORMAT);
        if (!cases[i].expected)
            continue;
        const weft_dataset_info *info = weft_dataset_get_info(ds);
        assert_int_equal(info->classes, cases[i].expected);
        assert_string_equal(info->class_names[1], cases[i].names[0] == 'a' ? "b" : "");
        weft_dataset_destroy(ds);
    }
}

/* PyTorch's writer aligns; others need not. Here the header's length is odd. */
static void unaligned_arrays_read_right(void **state)
{
    static const char format[] =
        "{\"images\":{\"dtype\":\"F32\",\"shape\":[2,3,1,2],\"data_offsets\":[0,48]},"
        "\"labels\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[48,64]}}";
    char header[sizeof format + 8];
    int length = snprintf(header, sizeof header, "%s", format);
    while (length % 4 != 3)
        header[length++] = ' ';
    uint64_t prefix = (uint64_t)length;
    FILE *f = fopen(in_scratch("odd"), "wb");
    fwrite(&prefix, 8, 1, f);
    fwrite(header, 1, (size_t)length, f);
    fwrite(pixels_f32, sizeof pixels_f32, 1, f);
    fwrite(good_labels, sizeof good_labels, 1, f);
    fclose(f);
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    float pixels[6], mean[3], std[3];
    int64_t label;
    if (weft_dataset_open(in_scratch("odd"), WEFT_SPLIT_TRAIN, &ds, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    assert_int_equal(weft_dataset_get(ds, 1, pixels, &label, &err), WEFT_OK);
    assert_memory_equal(pixels, pixels_f32 + 6, sizeof pixels);
    assert_int_equal(weft_dataset_mean_std(ds, mean, std, &err), WEFT_OK);
    assert_true(mean[0] == 3.5f && mean[1] == 5.5f && mean[2] == 7.5f);
    weft_dataset_destroy(ds);
}

/* A look at a mapped page behind the end of its file is a SIGBUS, which no library may catch. */
static void a_file_that_is_cut_off_while_it_is_open_is_an_error(void **state)
{
    const weft_safetensors_entry tensors[] = {IMAGES("images"), LABELS("labels")};
    const char *path = write_tensors("cut", tensors, 2, NULL);
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    float pixels[6], mean[3], std[3];
    int64_t label;
    assert_int_equal(weft_dataset_open(path, WEFT_SPLIT_TRAIN, &ds, &err), WEFT_OK);
    assert_int_equal(weft_dataset_get(ds, 1, pixels, &label, &err), WEFT_OK);
    assert_memory_equal(pixels, pixels_f32 + 6, sizeof(pixels));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(weft_dataset_get(ds, 1, pixels, &label, &err), WEFT_ERR_IO);
    assert_non_null(strstr(err.text, "cut: was truncated while it was in use"));
    assert_int_equal(weft_dataset_mean_std(ds, mean, std, &err), WEFT_ERR_IO);
    weft_dataset_destroy(ds);
}

static void wrong_tensors_are_one_clear_error(void **state)
{
    static const int64_t out_of_range[2] = {1, -1}, too_large[2] = {1, 1 << 20};
    static const struct {
        weft_safetensors_entry images, labels;
        const char *classes, *text;
    } cases[] = {
        {{"image", WEFT_F32, {4, {2, 3, 1, 2}}, pixels_f32},
         LABELS("labels"),
         NULL,
         "has no tensor \"images\""},
        {IMAGES("images"), LABELS("label"), NULL, "has no tensor \"labels\""},
        {{"images", WEFT_I32, {4, {1, 3, 1, 2}}, pixels_f32},
         LABELS("labels"),
         NULL,
         "\"images\" is i32, expected u8 or f32"},
        {{"images", WEFT_F32, {3, {3, 1, 2}}, pixels_f32},
         LABELS("labels"),
         NULL,
         "\"images\" has shape [3, 1, 2], expected (N, channels, height, width)"},
        {{"images", WEFT_F32, {4, {0, 3, 1, 2}}, NULL}, LABELS("labels"), NULL, "holds no images"},
        {{"images", WEFT_F32, {4, {2, 0, 1, 2}}, NULL},
         LABELS("labels"),
         NULL,
         "images of 0x1x2 (channels, height, width)"},
        {IMAGES("images"),
         {"labels", WEFT_I32, {1, {2}}, good_labels},
         NULL,
         "\"labels\" is i32, expected i64"},
        {IMAGES("images"),
         {"labels", WEFT_I64, {1, {1}}, good_labels},
         NULL,
         "\"labels\" has shape [1], expected [2], one for each image"},
        {IMAGES("images"),
         {"labels", WEFT_I64, {2, {2, 1}}, good_labels},
         NULL,
         "\"labels\" has shape [2, 1], expected [2]"},
        {IMAGES("images"),
         {"labels", WEFT_I64, {1, {2}}, out_of_range},
         NULL,
         "label -1 of sample 1 is out of range"},
        {IMAGES("images"),
         {"labels", WEFT_I64, {1, {2}}, too_large},
         NULL,
         "label 1048576 of sample 1 is out of range"},
        {IMAGES("images"), LABELS("labels"), "4",
         "label 4 of sample 0 is out of range, expected 0 to 3"},
        {IMAGES("images"), LABELS("labels"), "four", "metadata \"classes\" is \"four\""},
        {IMAGES("images"), LABELS("labels"), "0", "metadata \"classes\" is \"0\""},
        {IMAGES("images"), LABELS("labels"), "", "metadata \"classes\" is \"\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_dataset *ds = NULL;
        weft_error err = WEFT_ERROR_INIT;
        const weft_safetensors_entry entries[] = {cases[i].images, cases[i].labels};
        const char *path = write_tensors("wrong", entries, 2, cases[i].classes);
        weft_status status = weft_dataset_open(path, WEFT_SPLIT_TRAIN, &ds, &err);
        if (status == WEFT_OK || ds || !strstr(err.text, cases[i].text))
            fail_msg("case %zu gives %s: %s\n  expected: %s", i, weft_status_string(status),
                     err.text, cases[i].text);
    }
}

/* ---- synthetic ------------------------------------------------------------------------------ */

static void synthetic_descriptions_are_checked(void **state)
{
    static const struct {
        const char *text;
        int64_t train, test; /* samples; 0: refused */
    } cases[] = {{"synthetic:3x32x30:10", 4096, 1024},
                 {"synthetic:1x1x1:1:1", 1, 1},
                 {"synthetic:3x8x8:10:50", 50, 13},
                 {"synthetic:", 0, 0},
                 {"synthetic:3x32:10", 0, 0},
                 {"synthetic:3x32x32", 0, 0},
                 {"synthetic:3x32x32:0", 0, 0},
                 {"synthetic:0x32x32:10", 0, 0},
                 {"synthetic:3x-2x32:10", 0, 0},
                 {"synthetic:3x32x99999:10", 0, 0},
                 {"synthetic:3x32x32:10:0", 0, 0},
                 {"synthetic:3x32x32:10:5x", 0, 0},
                 {"synthetic:3x32x32:10x", 0, 0},
                 {"synthetic:3x32x32:10:", 0, 0},
                 {"synthetic:3x32x32:10:99999999999999999999", 0, 0}};
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int split = 0; split < 2; split++) {
            weft_dataset *ds = NULL;
            weft_error err = WEFT_ERROR_INIT;
            weft_status status = weft_dataset_open(cases[i].text, split, &ds, &err);
            int64_t count = split ? cases[i].test : cases[i].train;
            if ((status == WEFT_OK) != (count > 0) || (status != WEFT_OK && !err.text[0]))
                fail_msg("%s gives %s: %s", cases[i].text, weft_status_string(status), err.text);
            if (status == WEFT_OK)
                assert_int_equal(weft_dataset_get_info(ds)->count, count);
            weft_dataset_destroy(ds);
        }
}

/* Nearest class mean, learnt from 200 training samples, must classify the test samples; two
 * openings agree; training and test samples differ. */
static void synthetic_images_are_the_same_each_time_and_learnable(void **state)
{
    enum { CLASSES = 5, SIZE = 3 * 12 * 10 };
    static double means[CLASSES][SIZE];
    weft_dataset *train = NULL, *again = NULL, *test = NULL;
    uint8_t a[SIZE], b[SIZE];
    int64_t label, other;
    weft_dataset_open("synthetic:3x12x10:5:200", WEFT_SPLIT_TRAIN, &train, NULL);
    weft_dataset_open("synthetic:3x12x10:5:200", WEFT_SPLIT_TRAIN, &again, NULL);
    weft_dataset_open("synthetic:3x12x10:5:200", WEFT_SPLIT_TEST, &test, NULL);
    for (int64_t i = 0; i < 200; i++) {
        assert_int_equal(weft_dataset_get(train, i, a, &label, NULL), WEFT_OK);
        assert_int_equal(weft_dataset_get(again, i, b, &other, NULL), WEFT_OK);
        assert_memory_equal(a, b, SIZE);
        assert_int_equal(label, other);
        for (int p = 0; p < SIZE; p++)
            means[label][p] += a[p] / 40.0;
    }
    for (int64_t i = 0; i < 50; i++) {
        double best = INFINITY;
        int64_t guess = -1;
        weft_dataset_get(test, i, a, &label, NULL);
        weft_dataset_get(train, i, b, NULL, NULL);
        assert_memory_not_equal(a, b, SIZE);
        for (int c = 0; c < CLASSES; c++) {
            double distance = 0;
            for (int p = 0; p < SIZE; p++)
                distance += (a[p] - means[c][p]) * (a[p] - means[c][p]);
            if (distance < best) {
                best = distance;
                guess = c;
            }
        }
        assert_int_equal(guess, label);
    }
    weft_dataset_destroy(train);
    weft_dataset_destroy(again);
    weft_dataset_destroy(test);
}

/* ---- arrays, mean and deviation ------------------------------------------------------------- */

static void arrays_are_checked(void **state)
{
    static const int64_t labels[2] = {0, 3};
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    weft_dataset_arrays a = {2, 3, 1, 2, 0, WEFT_U8, pixels_u8, labels};
    assert_int_equal(weft_dataset_from_arrays(&a, &ds, &err), WEFT_OK);
    assert_int_equal(weft_dataset_get_info(ds)->classes, 4);
    weft_dataset_destroy(ds);
    weft_dataset_destroy(NULL);
    ds = NULL;
    const weft_dataset_arrays wrong[] = {
        {2, 3, 1, 2, 3, WEFT_U8, pixels_u8, labels},  {0, 3, 1, 2, 0, WEFT_U8, pixels_u8, labels},
        {2, 3, 1, 2, 0, WEFT_F64, pixels_u8, labels}, {2, 3, 1, 2, 0, WEFT_U8, NULL, labels},
        {2, 3, 1, 2, -1, WEFT_U8, pixels_u8, labels}, {2, 3, 0, 2, 0, WEFT_U8, pixels_u8, labels}};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        err = (weft_error)WEFT_ERROR_INIT;
        assert_int_not_equal(weft_dataset_from_arrays(&wrong[i], &ds, &err), WEFT_OK);
        assert_true(err.text[0] && !ds);
    }
}

/* Against sums in long double. u8 sums are exact, so mean and deviation are right to a float's
 * rounding; f32 sums have n terms in double: n * 2^-53 relative, far below it. */
static void mean_and_deviation_are_those_of_all_pixels(void **state)
{
    enum { N = 40, C = 2, SIZE = 70 * 60 };
    uint8_t *u8 = malloc(N * C * SIZE);
    float *f32 = malloc(sizeof(float) * N * C * SIZE);
    uint32_t random = 1;
    for (int i = 0; i < N * C * SIZE; i++) {
        random = random * 1664525u + 1013904223u;
        u8[i] = (uint8_t)((random >> 24) / (uint32_t)(i / SIZE % C + 1));
        f32[i] = 1e6f + (float)u8[i] / 16.0f; /* a mean far from 0: naive squares would cancel */
    }
    for (int is_f32 = 0; is_f32 < 2; is_f32++) {
        weft_dataset_arrays a = {.count = N, .channels = C, .height = 70, .width = 60};
        a.dtype = is_f32 ? WEFT_F32 : WEFT_U8;
        a.images = is_f32 ? (void *)f32 : (void *)u8;
        weft_dataset *ds = NULL;
        float mean[C], std[C];
        assert_int_equal(weft_dataset_from_arrays(&a, &ds, NULL), WEFT_OK);
        assert_int_equal(weft_dataset_mean_std(ds, mean, std, NULL), WEFT_OK);
        for (int c = 0; c < C; c++) {
            long double sum = 0, squares = 0, m;
            for (int i = 0; i < N * C * SIZE; i++)
                if (i / SIZE % C == c)
                    sum += is_f32 ? (long double)f32[i] : u8[i] / 255.0L;
            m = sum / (N * SIZE);
            for (int i = 0; i < N * C * SIZE; i++)
                if (i / SIZE % C == c) {
                    long double x = is_f32 ? (long double)f32[i] : u8[i] / 255.0L;
                    squares += (x - m) * (x - m);
                }
            long double deviation = sqrtl(squares / (N * SIZE));
            assert_true(fabsl(mean[c] - m) <= 0x1p-23L * fabsl(m));
            assert_true(fabsl(std[c] - deviation) <= 0x1p-23L * deviation);
        }
        weft_dataset_destroy(ds);
    }
    free(u8);
    free(f32);
}

static void a_constant_channel_has_deviation_zero(void **state)
{
    static uint8_t pixels[32];
    memset(pixels, 77, sizeof pixels);
    weft_dataset_arrays a = {2, 1, 4, 4, 0, WEFT_U8, pixels, NULL};
    weft_dataset *ds = NULL;
    float mean, std = 1;
    weft_dataset_from_arrays(&a, &ds, NULL);
    assert_int_equal(weft_dataset_mean_std(ds, &mean, &std, NULL), WEFT_OK);
    assert_true(mean == (float)(77 / 255.0) && std == 0.0f);
    weft_dataset_destroy(ds);
}

/* ---- out of memory -------------------------------------------------------------------------- */

static weft_status open_and_use(const char *path, weft_dataset **ds, weft_error *err)
{
    float mean[3], std[3];
    int64_t label;
    weft_status status = weft_dataset_open(path, WEFT_SPLIT_TRAIN, ds, err);
    if (status == WEFT_OK)
        status = weft_dataset_get(*ds, 0, NULL, &label, err);
    if (status == WEFT_OK)
        status = weft_dataset_mean_std(*ds, mean, std, err);
    return status;
}

static void every_failed_allocation_is_an_error(void **state)
{
    const weft_safetensors_entry one[] = {IMAGES("images"), LABELS("labels")};
    const char *const paths[] = {write_tensors("memory", one, 2, NULL), "synthetic:3x8x8:3"};
    for (int i = 0; i < 2; i++)
        for (long n = 1;; n++) {
            weft_dataset *ds = NULL;
            weft_error err = WEFT_ERROR_INIT;
            wf_alloc_fail_at(n);
            weft_status status = open_and_use(paths[i], &ds, &err);
            weft_dataset_destroy(ds);
            if (wf_alloc_fail_at(0) > 0) {
                assert_int_equal(status, WEFT_OK);
                assert_true(n > 4);
                break;
            }
            if (status != WEFT_ERR_NOMEM || !err.text[0])
                fail_msg("allocation %ld gives %s: %s", n, weft_status_string(status), err.text);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_files_are_data_sets),
        cmocka_unit_test(labels_may_be_missing_for_prediction_only),
        cmocka_unit_test(labels_that_are_all_minus_one_are_missing),
        cmocka_unit_test(names_in_the_metadata_are_the_classes),
        cmocka_unit_test(unaligned_arrays_read_right),
        cmocka_unit_test(a_file_that_is_cut_off_while_it_is_open_is_an_error),
        cmocka_unit_test(wrong_tensors_are_one_clear_error),
        cmocka_unit_test(synthetic_descriptions_are_checked),
        cmocka_unit_test(synthetic_images_are_the_same_each_time_and_learnable),
        cmocka_unit_test(arrays_are_checked),
        cmocka_unit_test(mean_and_deviation_are_those_of_all_pixels),
        cmocka_unit_test(a_constant_channel_has_deviation_zero),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
