/* IDX directories: read plain and gzipped, and every way to be broken is one clear error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "engine/base/alloc.h"
#include "tests/scratch.h"
#include "weft/data.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void write_file(const char *name, const void *bytes, size_t n, bool gz)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s%s", scratch_dir, name, gz ? ".gz" : "");
    if (gz) {
        gzFile f = gzopen(path, "wb");
        assert_int_equal(gzwrite(f, bytes, (unsigned)n), (int)n);
        gzclose(f);
    } else {
        FILE *f = fopen(path, "wb");
        assert_int_equal(fwrite(bytes, 1, n, f), n);
        fclose(f);
    }
}

/* Three images of 2x2 pixels: the pixels count up from 10. */
static const unsigned char images[] = {0, 0, 8,  3,  0,  0,  0,  3,  0,  0,  0,  2,  0,  0,
                                       0, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21};
static const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 9, 0, 5};

static void write_good(const char *split, bool gz)
{
    char name[64];
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", split);
    write_file(name, images, sizeof images, gz);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", split);
    write_file(name, labels, sizeof labels, gz);
}

static void check_good(const char *path, weft_split split)
{
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    if (weft_dataset_open(path, split, &ds, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    assert_int_equal(info->count, 3);
    assert_int_equal(info->channels, 1);
    assert_int_equal(info->height, 2);
    assert_int_equal(info->width, 2);
    assert_int_equal(info->classes, 10);
    assert_int_equal(info->dtype, WEFT_U8);
    assert_false(info->only_split);
    unsigned char pixels[4];
    int64_t label;
    assert_int_equal(weft_dataset_get(ds, 2, pixels, &label, &err), WEFT_OK);
    assert_memory_equal(pixels, images + 16 + 8, 4);
    assert_int_equal(label, 5);
    assert_int_equal(weft_dataset_get(ds, 0, NULL, &label, &err), WEFT_OK);
    assert_int_equal(label, 9);
    assert_int_equal(weft_dataset_get(ds, 3, pixels, &label, &err), WEFT_ERR_INVALID);
    weft_dataset_destroy(ds);
}

static void plain_and_gzipped_files_read_alike(void **state)
{
    for (int gz = 0; gz < 2; gz++) {
        scratch_clean(NULL);
        write_good("train", gz);
        write_good("t10k", gz);
        check_good(scratch_dir, WEFT_SPLIT_TRAIN);
        check_good(scratch_dir, WEFT_SPLIT_TEST);
        check_good(scratch_dir, WEFT_SPLIT_PREDICT);
    }
}

static void torchvisions_folders_are_found(void **state)
{
    char path[512];
    snprintf(path, sizeof path, "mkdir -p '%s/x/FashionMNIST/raw'", scratch_dir);
    assert_int_equal(system(path), 0);
    write_file("x/FashionMNIST/raw/train-images-idx3-ubyte", images, sizeof images, true);
    write_file("x/FashionMNIST/raw/train-labels-idx1-ubyte", labels, sizeof labels, false);
    snprintf(path, sizeof path, "%s/x", scratch_dir);
    check_good(path, WEFT_SPLIT_TRAIN);
}

static weft_status open_path(const char *name, weft_split split, weft_dataset **ds, weft_error *err)
{
    *ds = NULL;
    *err = (weft_error)WEFT_ERROR_INIT;
    return weft_dataset_open(in_scratch(name), split, ds, err);
}

static void names_are_not_guessed_from_the_path(void **state)
{
    static const char *const folders[] = {"old-fashioned", "fashion-mnist", "FashionMNIST/raw"};
    for (size_t i = 0; i < COUNT(folders); i++) {
        char text[512];
        weft_dataset *ds;
        weft_error err;
        snprintf(text, sizeof text, "mkdir -p '%s/%s'", scratch_dir, folders[i]);
        assert_int_equal(system(text), 0);
        snprintf(text, sizeof text, "%s/train-images-idx3-ubyte", folders[i]);
        write_file(text, images, sizeof images, false);
        snprintf(text, sizeof text, "%s/train-labels-idx1-ubyte", folders[i]);
        write_file(text, labels, sizeof labels, false);
        assert_int_equal(open_path(folders[i], WEFT_SPLIT_TRAIN, &ds, &err), WEFT_OK);
        assert_null(weft_dataset_get_info(ds)->class_names);
        weft_dataset_destroy(ds);
    }
}

static void every_way_to_call_the_files_is_known(void **state)
{
    static const struct {
        const char *images, *labels, *path;
        weft_split split;
    } cases[] = {
        {"train-images.idx3-ubyte", "train-labels.idx1-ubyte", "", WEFT_SPLIT_TRAIN},
        {"t10k-images.idx3-ubyte", "t10k-labels-idx1-ubyte", "", WEFT_SPLIT_TEST},
        {"test-images-idx3-ubyte", "test-labels.idx1-ubyte", "", WEFT_SPLIT_TEST},
        {"emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte", "",
         WEFT_SPLIT_TRAIN},
        {"emnist-letters-test-images-idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte",
         "emnist-letters", WEFT_SPLIT_TEST},
    };
    for (size_t i = 0; i < 4 * COUNT(cases); i++) {
        scratch_clean(NULL);
        weft_dataset *ds;
        weft_error err;
        int64_t label;
        write_file(cases[i / 4].images, images, sizeof images, i & 1);
        write_file(cases[i / 4].labels, labels, sizeof labels, i & 2);
        if (open_path(cases[i / 4].path, cases[i / 4].split, &ds, &err) != WEFT_OK)
            fail_msg("%s: %s", cases[i / 4].images, err.text);
        assert_int_equal(weft_dataset_get(ds, 0, NULL, &label, &err), WEFT_OK);
        assert_int_equal(label, 9);
        weft_dataset_destroy(ds);
    }
}

static void a_folder_of_several_data_sets_asks_for_one(void **state)
{
    static const char *const sets[] = {"emnist-letters", "emnist-digits"};
    weft_dataset *ds;
    weft_error err;
    int64_t label;
    unsigned char other[sizeof labels];
    memcpy(other, labels, sizeof labels);
    other[8] = 3;
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s-train-images-idx3-ubyte", sets[i]);
        write_file(name, images, sizeof images, true);
        snprintf(name, sizeof name, "%s-train-labels-idx1-ubyte", sets[i]);
        write_file(name, i ? other : labels, sizeof labels, true);
    }
    assert_int_equal(open_path("", WEFT_SPLIT_TRAIN, &ds, &err), WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "holds several data sets, among them "));
    assert_true(strstr(err.text, "/emnist-letters") && strstr(err.text, "/emnist-digits"));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_path(sets[i], WEFT_SPLIT_TRAIN, &ds, &err), WEFT_OK);
        assert_int_equal(weft_dataset_get(ds, 0, NULL, &label, &err), WEFT_OK);
        assert_int_equal(label, i ? 3 : 9);
        weft_dataset_destroy(ds);
    }
    assert_int_equal(open_path("emnist", WEFT_SPLIT_TRAIN, &ds, &err), WEFT_ERR_NOT_FOUND);
}

/* Both splits count: the test labels alone would say fewer. */
static void there_are_as_many_classes_as_labels_say(void **state)
{
    static const struct {
        int train, test, classes; /* the highest labels */
    } cases[] = {{46, 45, 47}, {26, 26, 27}, {3, 9, 10}, {255, 9, 256}, {9, 9, 10}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        unsigned char bytes[sizeof labels];
        memcpy(bytes, labels, sizeof labels);
        bytes[9] = 1;
        for (int test = 0; test < 2; test++) {
            bytes[8] = (unsigned char)(test ? cases[i].test : cases[i].train);
            bytes[10] = 1;
            write_good(test ? "t10k" : "train", false);
            write_file(test ? "t10k-labels-idx1-ubyte" : "train-labels-idx1-ubyte", bytes,
                       sizeof bytes, false);
        }
        for (int split = 0; split < 3; split++) {
            weft_dataset *ds;
            weft_error err;
            assert_int_equal(open_path("", split, &ds, &err), WEFT_OK);
            assert_int_equal(weft_dataset_get_info(ds)->classes, cases[i].classes);
            weft_dataset_destroy(ds);
        }
    }
}

static void names_may_be_for_labels_from_one(void **state)
{
    static const unsigned char from_one[] = {0, 0, 8, 1, 0, 0, 0, 3, 3, 1, 2};
    static const unsigned char from_zero[] = {0, 0, 8, 1, 0, 0, 0, 3, 3, 0, 2};
    weft_dataset *ds;
    weft_error err;
    int64_t label;
    write_good("train", false);
    write_file("classes.txt", "a\nb\nc\n", 6, false);
    write_file("train-labels-idx1-ubyte", from_one, sizeof from_one, false);
    assert_int_equal(open_path("", WEFT_SPLIT_TRAIN, &ds, &err), WEFT_OK);
    assert_int_equal(weft_dataset_get_info(ds)->classes, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(weft_dataset_get(ds, i, NULL, &label, &err), WEFT_OK);
        assert_int_equal(label, from_one[8 + i] - 1);
    }
    weft_dataset_destroy(ds);
    write_file("train-labels-idx1-ubyte", from_zero, sizeof from_zero, false);
    assert_int_equal(open_path("", WEFT_SPLIT_TRAIN, &ds, &err), WEFT_ERR_FORMAT);
    assert_non_null(
        strstr(err.text,
               "train-labels-idx1-ubyte: label 3 of sample 0 is out of range, expected 0 to 2: "));
    assert_non_null(strstr(err.text, "classes.txt has 3 names"));
}

static void a_list_beside_the_files_names_the_classes(void **state)
{
    static const struct {
        const char *text, *last; /* last NULL: refused */
    } cases[] = {{"a\nb\nc\nd\ne\nf\ng\nh\ni\nten <b>\n", "ten <b>"},
                 {"a\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng\r\nh\r\ni\r\nj", "j"},
                 {"a\nb\n", NULL},
                 {"", NULL}};
    write_good("train", false);
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_dataset *ds = NULL;
        weft_error err = WEFT_ERROR_INIT;
        write_file("classes.txt", cases[i].text, strlen(cases[i].text), false);
        weft_status status = weft_dataset_open(scratch_dir, WEFT_SPLIT_TRAIN, &ds, &err);
        assert_int_equal(status, cases[i].last ? WEFT_OK : WEFT_ERR_FORMAT);
        if (cases[i].last)
            assert_string_equal(weft_dataset_get_info(ds)->class_names[9], cases[i].last);
        else
            assert_non_null(strstr(err.text, i == 2 ? "classes.txt has 2 names" : "classes.txt: "));
        weft_dataset_destroy(ds);
    }
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    write_file("classes.txt", "a\0b\nc\n", 6, false); /* no text: what follows a zero is not read */
    assert_int_equal(weft_dataset_open(scratch_dir, WEFT_SPLIT_TRAIN, &ds, &err), WEFT_ERR_FORMAT);
    assert_non_null(strstr(err.text, "classes.txt: expected a list of at most 256"));
}

/* One change to the good files. */
static const struct broken {
    const char *what;
    bool in_labels;
    int at;           /* of the byte changed; -1: none */
    int value;        /* what it becomes */
    int length;       /* bytes kept; negative: so many appended */
    const char *text; /* in the message */
} broken[] = {
    {"images' magic is that of labels", false, 3, 1, 28,
     "magic number 0x00000801, expected 0x00000803"},
    {"labels' magic is that of images", true, 3, 3, 11,
     "magic number 0x00000803, expected 0x00000801"},
    {"another element type", false, 2, 0x0d, 28, "magic number 0x00000d03"},
    {"garbage for magic", false, 0, 0x7f, 28, "not an IDX file of images"},
    {"empty images", false, -1, 0, 0, "images-idx3-ubyte"},
    {"empty labels", true, -1, 0, 0, "truncated: 0 bytes, expected 4"},
    {"header cut off", false, -1, 0, 11, "truncated: 7 bytes, expected 12"},
    {"one pixel short", false, -1, 0, 27, "truncated: 11 bytes, expected 12"},
    {"one label short", true, -1, 0, 10, "truncated: 2 bytes, expected 3"},
    {"a byte too many", false, -1, 0, -1, "longer than its header says, expected 12 bytes"},
    {"a label too many", true, -1, 0, -1, "longer than its header says, expected 3 bytes"},
    {"no images", false, 7, 0, 28, "dimension 0 is 0"},
    {"no height", false, 11, 0, 28, "dimension 1 is 0"},
    {"no width", false, 15, 0, 28, "dimension 2 is 0"},
    {"a billion images", false, 4, 0x80, 28,
     "its header promises 8589934604 bytes, which a file of "},
    {"more images than labels", true, 7, 2, 10, "2 labels for the 3 images of"},
};

static void every_broken_file_is_one_clear_error(void **state)
{
    for (size_t i = 0; i < 2 * COUNT(broken); i++) {
        const struct broken *b = &broken[i / 2];
        bool gz = i % 2;
        unsigned char bytes[64] = {0};
        size_t good = b->in_labels ? sizeof labels : sizeof images;
        memcpy(bytes, b->in_labels ? labels : images, good);
        if (b->at >= 0)
            bytes[b->at] = (unsigned char)b->value;
        scratch_clean(NULL);
        write_good("train", gz);
        write_file(b->in_labels ? "train-labels-idx1-ubyte" : "train-images-idx3-ubyte", bytes,
                   b->length < 0 ? good + (size_t)-b->length : (size_t)b->length, gz);
        weft_dataset *ds = NULL;
        weft_error err = WEFT_ERROR_INIT;
        weft_status status = weft_dataset_open(scratch_dir, WEFT_SPLIT_TRAIN, &ds, &err);
        if (status != WEFT_ERR_FORMAT || ds || !strstr(err.text, b->text))
            fail_msg("%s%s gives %s: %s\n  expected: %s", b->what, gz ? " (gz)" : "",
                     weft_status_string(status), err.text, b->text);
    }
}

static void overflowing_dimensions_are_refused(void **state)
{
    unsigned char huge[sizeof images];
    memcpy(huge, images, sizeof images);
    memset(huge + 4, 0xff, 12);
    write_good("train", false);
    write_file("train-images-idx3-ubyte", huge, sizeof huge, false);
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_dataset_open(scratch_dir, WEFT_SPLIT_TRAIN, &ds, &err), WEFT_ERR_FORMAT);
    assert_non_null(strstr(
        err.text, " is 4294967295: all dimensions together are more bytes than a file can have"));
}

static void damaged_gzip_data_is_refused(void **state)
{
    unsigned char bytes[256];
    char path[512];
    snprintf(path, sizeof path, "%s/train-images-idx3-ubyte.gz", scratch_dir);
    write_good("train", true);
    FILE *f = fopen(path, "rb");
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_true(n > 20 && n < sizeof bytes);
    static const struct {
        int from_end; /* the byte changed; 0: none */
        int cut;      /* bytes left out at the end */
        const char *text;
    } cases[] = {{8, 0, "its gzip data are damaged"}, /* CRC */
                 {4, 0, "its gzip data are damaged"}, /* length */
                 {12, 0, ""},                         /* the deflate stream: one error or another */
                 {0, 4, "truncated"},                 /* trailer cut off */
                 {0, 12, "truncated"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        unsigned char changed[256];
        memcpy(changed, bytes, n);
        if (cases[i].from_end)
            changed[n - (size_t)cases[i].from_end] ^= 0x55;
        f = fopen(path, "wb");
        fwrite(changed, 1, n - (size_t)cases[i].cut, f);
        fclose(f);
        weft_dataset *ds = NULL;
        weft_error err = WEFT_ERROR_INIT;
        weft_status status = weft_dataset_open(scratch_dir, WEFT_SPLIT_TRAIN, &ds, &err);
        if (status != WEFT_ERR_FORMAT || !strstr(err.text, cases[i].text))
            fail_msg("case %zu gives %s: %s", i, weft_status_string(status), err.text);
        assert_null(strstr(err.text, "<fd")); /* how zlib calls the file */
    }
}

static void missing_data_says_how_to_get_it(void **state)
{
    weft_dataset *ds = NULL;
    char path[512], mnist[512];
    snprintf(path, sizeof path, "%s/none", scratch_dir);
    snprintf(mnist, sizeof mnist, "%s/fashion-MNIST", scratch_dir);
    const char *const paths[] = {mnist, scratch_dir, path, "", NULL};
    for (size_t i = 0; i < COUNT(paths); i++) { /* the advice suits the first one only */
        weft_error err = WEFT_ERROR_INIT;
        assert_int_not_equal(weft_dataset_open(paths[i], WEFT_SPLIT_TRAIN, &ds, &err), WEFT_OK);
        assert_int_equal(strstr(err.text, "apt install dataset-fashion-mnist") != NULL, i == 0);
        assert_int_equal(strstr(err.text, "/usr/share/datasets/fashion-mnist") != NULL, i == 0);
    }
    write_good("train", true);
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_dataset_open(scratch_dir, WEFT_SPLIT_TEST, &ds, &err),
                     WEFT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "has no t10k-images-idx3-ubyte, with or without .gz"));
}

static void every_failed_allocation_is_an_error(void **state)
{
    write_good("train", true);
    for (long n = 1;; n++) {
        weft_dataset *ds = NULL;
        weft_error err = WEFT_ERROR_INIT;
        wf_alloc_fail_at(n);
        weft_status status = weft_dataset_open(scratch_dir, WEFT_SPLIT_TRAIN, &ds, &err);
        if (wf_alloc_fail_at(0) > 0) {
            assert_int_equal(status, WEFT_OK);
            assert_true(n > 5);
            weft_dataset_destroy(ds);
            break;
        }
        if (status != WEFT_ERR_NOMEM || !err.text[0])
            fail_msg("allocation %ld gives %s: %s", n, weft_status_string(status), err.text);
    }
}

static void fashion_mnist_reads(void **state)
{
    static const char path[] = "/usr/share/datasets/fashion-mnist";
    if (access(path, F_OK) != 0)
        skip();
    for (int test = 0; test < 2; test++) {
        weft_dataset *ds = NULL;
        weft_error err = WEFT_ERROR_INIT;
        if (weft_dataset_open(path, test ? WEFT_SPLIT_TEST : WEFT_SPLIT_TRAIN, &ds, &err))
            fail_msg("%s", err.text);
        const weft_dataset_info *info = weft_dataset_get_info(ds);
        assert_int_equal(info->count, test ? 10000 : 60000);
        assert_int_equal(info->height, 28);
        assert_string_equal(info->class_names[0], "T-shirt/top");
        float mean, std;
        assert_int_equal(weft_dataset_mean_std(ds, &mean, &std, &err), WEFT_OK);
        if (!test) { /* the figures everybody uses */
            assert_int_equal((int)(mean * 10000 + 0.5f), 2860);
            assert_int_equal((int)(std * 10000 + 0.5f), 3530);
        }
        weft_dataset_destroy(ds);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, scratch_clean)
    const struct CMUnitTest tests[] = {
        TEST(plain_and_gzipped_files_read_alike),
        TEST(torchvisions_folders_are_found),
        TEST(names_are_not_guessed_from_the_path),
        TEST(every_way_to_call_the_files_is_known),
        TEST(a_folder_of_several_data_sets_asks_for_one),
        TEST(there_are_as_many_classes_as_labels_say),
        TEST(names_may_be_for_labels_from_one),
        TEST(a_list_beside_the_files_names_the_classes),
        TEST(every_broken_file_is_one_clear_error),
        TEST(overflowing_dimensions_are_refused),
        TEST(damaged_gzip_data_is_refused),
        TEST(missing_data_says_how_to_get_it),
        TEST(every_failed_allocation_is_an_error),
        TEST(fashion_mnist_reads),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
