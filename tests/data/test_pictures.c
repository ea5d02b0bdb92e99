/* Data sets of picture files: in which order they come, what is left out, their index, parts for
 * validation, and the loader over them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/formats/listing.h"
#include "data/formats/name_order.h"
#include "data/sampler.h"
#include "engine/base/alloc.h"
#include "tests/scratch.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- files ---------------------------------------------------------------------------------- */

/* A grey PGM of `height` x `width` whose pixels tell its number; n < 0: a damaged one. */
static void put(const char *path, int n, int height, int width)
{
    char folder[640];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *p = strchr(folder + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(folder, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "P5\n%d %d\n255\n", width, height);
    for (int i = 0; i < height * width && n >= 0; i++)
        putc((n * 7 + i) % 256, f);
    fclose(f);
}

/* NAME/a .. of `classes` classes with `count` pictures each, of sizes that vary. */
static const char *make(const char *name, int classes, int count)
{
    static char root[512];
    snprintf(root, sizeof root, "%s", in_scratch(name));
    for (int k = 0; k < classes; k++)
        for (int i = 0; i < count; i++) {
            char path[600];
            snprintf(path, sizeof path, "%s/%c/%03d.pgm", root, 'a' + k, i);
            put(path, k * count + i, 100 + i, 120 - k);
        }
    return root;
}

static weft_dataset *open_with(const weft_dataset_opts *opts)
{
    weft_dataset *ds = NULL;
    weft_error err = WEFT_ERROR_INIT;
    if (weft_dataset_open_with(opts, &ds, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    return ds;
}

/* ---- order ---------------------------------------------------------------------------------- */

/* sorted() of Python 3 gives this order for os.fsdecode of these names. */
static void names_come_in_pythons_order(void **state)
{
    static const char *const sorted[] = {"",
                                         "A",
                                         "B",
                                         "Z",
                                         "_",
                                         "a",
                                         "a-b",
                                         "a/c",
                                         "ab",
                                         "b",
                                         "\xc3\xa9",
                                         "\xe2\x82\xac",
                                         "\x80",
                                         "\xff",
                                         "\xff"
                                         "a",
                                         "\xef\xbf\xbd",
                                         "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < COUNT(sorted); i++)
        for (size_t k = 0; k < COUNT(sorted); k++) {
            int got = wf_compare_names(sorted[i], sorted[k]);
            assert_int_equal((got > 0) - (got < 0), (i > k) - (i < k));
        }
}

static void pictures_come_by_class_then_folder_then_name(void **state)
{
    static const char *const files[] = {"a-b/1.pgm",   "a-b/2.PGM",   "a/z.pgm",
                                        "a/s/t/0.pgm", "a/s-t/0.pgm", "b/\xff.pgm"};
    static const int wanted[] = {2, 4, 3, 0, 1, 5}; /* os.walk's roots are sorted as text */
    const char *root = in_scratch("order");
    char path[600];
    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", root, files[i]);
        put(path, (int)i, 8, 8);
    }
    snprintf(path, sizeof path, "%s/a/.hidden.pgm", root);
    put(path, 99, 8, 8);
    snprintf(path, sizeof path, "%s/a/readme.txt", root);
    put(path, 99, 8, 8);
    weft_dataset *ds = open_with(&(weft_dataset_opts){.path = root});
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    assert_int_equal(info->count, COUNT(files));
    assert_int_equal(info->left_out, 2);
    assert_int_equal(info->classes, 3);
    assert_string_equal(info->class_names[0], "a");
    assert_string_equal(info->class_names[1], "a-b");
    assert_true(info->height == 8 && info->width == 8 && info->channels == 1);
    for (int64_t i = 0; i < info->count; i++) {
        uint8_t pixels[64];
        int64_t label;
        assert_int_equal(weft_dataset_get(ds, i, pixels, &label, NULL), WEFT_OK);
        assert_int_equal(pixels[0], wanted[i] * 7);
        assert_int_equal(label, i < 3 ? 0 : i < 5 ? 1 : 2);
    }
    weft_dataset_destroy(ds);
}

/* ---- the index ------------------------------------------------------------------------------ */

static void set_times(const char *path, time_t seconds)
{
    const struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void an_index_serves_until_a_folder_changes(void **state)
{
    const char *root = make("indexed", 2, 3);
    char cache[512], path[600];
    snprintf(cache, sizeof cache, "%s", in_scratch("cache"));
    mkdir(cache, 0700);
    wf_listing list = {0};
    weft_dataset_opts opts = {.path = root, .index_folder = cache};
    weft_dataset_destroy(open_with(&opts));
    assert_false(wf_index_read(cache, root, &list)); /* its folders have just changed */
    for (int k = 0; k < 3; k++) {
        snprintf(path, sizeof path, "%s%s", root, k == 0 ? "" : k == 1 ? "/a" : "/b");
        set_times(path, 1000000);
    }
    weft_dataset_destroy(open_with(&opts));
    assert_true(wf_index_read(cache, root, &list));
    assert_int_equal(list.count, 6);
    wf_listing_done(&list);
    weft_dataset *ds = open_with(&opts); /* from the index */
    assert_int_equal(weft_dataset_get_info(ds)->count, 6);
    weft_dataset_destroy(ds);
    snprintf(path, sizeof path, "%s/b/new.pgm", root);
    put(path, 1, 100, 100);
    assert_false(wf_index_read(cache, root, &list));
    ds = open_with(&opts);
    assert_int_equal(weft_dataset_get_info(ds)->count, 7);
    weft_dataset_destroy(ds);
}

/* Whoever can write to the cache must not lead Weft to overwrite or read another file. */
static void a_link_in_the_place_of_an_index_is_not_followed(void **state)
{
    const char *root = make("linked", 1, 3);
    char cache[512], path[600], name[800] = "", target[600];
    snprintf(cache, sizeof cache, "%s", in_scratch("cache_of_links"));
    mkdir(cache, 0700);
    weft_dataset_opts opts = {.path = root, .index_folder = cache};
    snprintf(path, sizeof path, "%s/a", root);
    set_times(path, 1000000);
    set_times(root, 1000000);
    weft_dataset_destroy(open_with(&opts));
    DIR *dir = opendir(cache);
    for (struct dirent *e; (e = readdir(dir));)
        if (strstr(e->d_name, ".list"))
            snprintf(name, sizeof name, "%s/%s", cache, e->d_name);
    closedir(dir);
    assert_true(name[0]);
    snprintf(target, sizeof target, "%s/precious", cache);
    assert_int_equal(rename(name, target), 0);
    assert_int_equal(symlink(target, name), 0);
    wf_listing list = {0};
    assert_false(wf_index_read(cache, root, &list));
    assert_int_equal(truncate(target, 3), 0);
    weft_dataset_destroy(open_with(&opts)); /* writes no index */
    struct stat st;
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_size, 3);
}

/* ---- parts ---------------------------------------------------------------------------------- */

static void a_part_for_validation_has_its_share_of_each_class(void **state)
{
    const char *root = make("parts", 3, 10);
    bool seen[30] = {false};
    for (int val = 0; val < 2; val++) {
        weft_dataset *ds =
            open_with(&(weft_dataset_opts){.path = root,
                                           .split = val ? WEFT_SPLIT_VAL : WEFT_SPLIT_TRAIN,
                                           .val_split = 0.2,
                                           .seed = 3});
        int64_t counts[3] = {0}, label;
        for (int64_t i = 0; i < weft_dataset_get_info(ds)->count; i++) {
            assert_int_equal(weft_dataset_get(ds, i, NULL, &label, NULL), WEFT_OK);
            counts[label]++;
            int64_t stored = wf_dataset_stored(ds, i);
            assert_false(seen[stored]);
            seen[stored] = true;
        }
        for (int k = 0; k < 3; k++)
            assert_int_equal(counts[k], val ? 2 : 8);
        weft_dataset_destroy(ds);
    }
    for (int i = 0; i < 30; i++)
        assert_true(seen[i]);
}

/* ---- the loader ----------------------------------------------------------------------------- */

static uint64_t drain(weft_loader *l, int64_t *images)
{
    uint64_t hash = 0xcbf29ce484222325u;
    weft_batch b;
    *images = 0;
    for (;;) {
        weft_error err = WEFT_ERROR_INIT;
        if (weft_loader_next(l, &b, &err) != WEFT_OK)
            fail_msg("%s", err.text);
        if (b.count == 0)
            return hash;
        *images += b.count;
        const weft_dataset_info *info = weft_loader_get_info(l);
        const struct {
            const void *bytes;
            size_t n;
        } parts[] = {
            {b.images,
             (size_t)b.count * (size_t)info->channels * (size_t)info->height * (size_t)info->width},
            {b.labels, (size_t)b.count * sizeof(int64_t)},
            {b.samples, (size_t)b.count * sizeof(int64_t)},
            {b.targets,
             b.targets ? (size_t)b.count * sizeof(float) * (size_t)weft_loader_classes(l) : 0}};
        for (size_t p = 0; p < COUNT(parts); p++)
            for (size_t i = 0; i < parts[p].n; i++)
                hash = (hash ^ ((const unsigned char *)parts[p].bytes)[i]) * 0x100000001b3u;
    }
}

static weft_transform small(void)
{
    weft_transform t = WEFT_TRANSFORM_INIT;
    t.height = t.width = 16;
    t.random_crop = true;
    t.hflip = 0.5;
    t.mixup_alpha = 0.4;
    return t;
}

static void batches_have_the_same_bits_for_any_threads_samplers_and_damage(void **state)
{
    static const int workers[] = {0, 1, 3, 8, WEFT_WORKERS_AUTO};
    const char *root = make("loaded", 3, 9);
    char path[600];
    snprintf(path, sizeof path, "%s/b/004.pgm", root);
    put(path, -1, 100, 100);
    snprintf(path, sizeof path, "%s/c/000.pgm", root);
    put(path, -1, 100, 100);
    weft_dataset *ds = open_with(&(weft_dataset_opts){.path = root, .cache = "ram"});
    weft_transform t = small();
    for (int sampler = 0; sampler < 3; sampler++) {
        uint64_t wanted[2] = {0};
        for (size_t w = 0; w < COUNT(workers); w++) {
            weft_loader_opts o = {.batch = 5,
                                  .workers = workers[w],
                                  .shuffle = true,
                                  .drop_last = true,
                                  .seed = 11,
                                  .bytes = true,
                                  .transform = &t,
                                  .bad = WEFT_BAD_SKIP,
                                  .sampler = (weft_sampler)sampler};
            weft_loader *l = NULL;
            weft_error err = WEFT_ERROR_INIT;
            if (weft_loader_create(ds, &o, &l, &err) != WEFT_OK)
                fail_msg("%s", err.text);
            const int threads = weft_loader_workers(l);
            assert_true(workers[w] == WEFT_WORKERS_AUTO ? threads >= 1 : threads == workers[w]);
            for (int64_t epoch = 0, n; epoch < 2; epoch++) {
                assert_int_equal(weft_loader_start(l, epoch, 0, NULL), WEFT_OK);
                uint64_t hash = drain(l, &n);
                assert_int_equal(n, 25);
                if (w == 0)
                    wanted[epoch] = hash;
                assert_true(hash == wanted[epoch]);
            }
            const char *first;
            if (sampler == WEFT_SAMPLE_ALL) {
                assert_int_equal(weft_loader_left_out(l, &first), 2);
                assert_non_null(strstr(first, ".pgm"));
            }
            weft_loader_destroy(l);
        }
        assert_true(wanted[0] != wanted[1]);
    }
    weft_dataset_destroy(ds);
}

static void evaluation_leaves_damaged_pictures_out_and_training_stops_at_the_first(void **state)
{
    const char *root = make("damaged", 2, 6);
    char path[600];
    for (int i = 0; i < 4; i++) { /* a whole batch */
        snprintf(path, sizeof path, "%s/a/%03d.pgm", root, i);
        put(path, -1, 100, 100);
    }
    weft_dataset *ds = open_with(&(weft_dataset_opts){.path = root});
    weft_transform t = small();
    t.mixup_alpha = 0;
    for (int workers = 0; workers < 4; workers += 3) {
        weft_loader_opts o = {
            .batch = 4, .workers = workers, .bytes = true, .transform = &t, .bad = WEFT_BAD_SKIP};
        weft_loader *l = NULL;
        int64_t n;
        assert_int_equal(weft_loader_create(ds, &o, &l, NULL), WEFT_OK);
        drain(l, &n);
        assert_int_equal(n, 8);
        weft_loader_destroy(l);
        o.bad = WEFT_BAD_STOP;
        assert_int_equal(weft_loader_create(ds, &o, &l, NULL), WEFT_OK);
        weft_batch b;
        weft_error err = WEFT_ERROR_INIT;
        assert_int_equal(weft_loader_next(l, &b, &err), WEFT_ERR_FORMAT);
        assert_non_null(strstr(err.text, "/a/000.pgm"));
        weft_loader_destroy(l);
    }
    weft_dataset_destroy(ds);
}

static void a_file_that_vanishes_is_named_when_its_turn_comes(void **state)
{
    const char *root = make("vanishing", 2, 6);
    char path[600];
    weft_dataset *ds = open_with(&(weft_dataset_opts){.path = root});
    snprintf(path, sizeof path, "%s/b/005.pgm", root);
    assert_int_equal(unlink(path), 0);
    weft_transform t = small();
    t.mixup_alpha = 0;
    weft_loader_opts o = {.batch = 6, .workers = 2, .bytes = true, .transform = &t};
    weft_loader *l = NULL;
    weft_batch b;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_loader_create(ds, &o, &l, NULL), WEFT_OK);
    assert_int_equal(weft_loader_next(l, &b, &err), WEFT_OK);
    assert_int_equal(weft_loader_next(l, &b, &err), WEFT_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "/b/005.pgm"));
    weft_loader_destroy(l);
    weft_dataset_destroy(ds);
}

static void a_transform_is_needed_where_sizes_vary(void **state)
{
    const char *root = make("sizes", 2, 3);
    weft_dataset *ds = open_with(&(weft_dataset_opts){.path = root});
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    assert_true(info->sizes_vary && info->height == 0 && info->channels == 3 && info->mirrors);
    weft_loader *l = NULL;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_loader_create(ds, &(weft_loader_opts){.batch = 2}, &l, &err),
                     WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "expected a transform"));
    uint8_t pixels[3 * 16 * 16];
    assert_int_equal(weft_dataset_get(ds, 0, pixels, NULL, NULL), WEFT_ERR_INVALID);
    weft_transform t = small();
    assert_int_equal(weft_dataset_look_through(ds, &t, NULL), WEFT_OK);
    assert_int_equal(weft_dataset_get(ds, 0, pixels, NULL, NULL), WEFT_OK);
    assert_true(info->height == 16 && info->width == 16 && info->sizes_vary);
    weft_dataset_destroy(ds);
}

static void every_failed_allocation_is_an_error(void **state)
{
    const char *root = make("memory", 2, 4);
    weft_transform t = small();
    for (long n = 1;; n++) {
        weft_dataset *ds = NULL;
        weft_loader *l = NULL;
        weft_error err = WEFT_ERROR_INIT;
        weft_loader_opts o = {.batch = 2, .workers = 2, .bytes = true, .transform = &t};
        wf_alloc_fail_at(n);
        weft_status status = weft_dataset_open_with(
            &(weft_dataset_opts){.path = root, .val_split = 0.5, .index_folder = ""}, &ds, &err);
        if (status == WEFT_OK)
            status = weft_loader_create(ds, &o, &l, &err);
        bool over = wf_alloc_fail_at(0) > 0;
        if (status != WEFT_OK && (status != WEFT_ERR_NOMEM || !err.text[0]))
            fail_msg("allocation %ld gives %s: %s", n, weft_status_string(status), err.text);
        weft_loader_destroy(l);
        weft_dataset_destroy(ds);
        if (over)
            break;
    }
}

/* ---- samplers ------------------------------------------------------------------------------- */

static void a_balanced_epoch_has_all_classes_alike_and_a_repeated_one_runs(void **state)
{
    enum { N = 600 };
    int64_t order[N], by_class[N], counts[3] = {0};
    const int64_t starts[] = {0, 20, 20, 600}; /* class 1 has no samples */
    for (int64_t i = 0; i < N; i++)
        by_class[i] = i;
    wf_sampler_balanced(order, N, by_class, starts, 3, 5, 1);
    for (int i = 0; i < N; i++)
        counts[order[i] < 20 ? 0 : 2]++;
    /* binomial: 300 +- 5 standard deviations of 12.2 */
    assert_true(counts[0] > 239 && counts[0] < 361 && counts[1] == 0);
    assert_int_equal(wf_sampler_count(N, WEFT_SAMPLE_REPEATED), 512);
    assert_int_equal(wf_sampler_count(100, WEFT_SAMPLE_REPEATED), 100);
    int64_t plain[N];
    wf_sampler_order(plain, N, true, 5, 1);
    wf_sampler_repeated(order, N, 3, true, 5, 1);
    for (int i = 0; i < 512; i++)
        assert_int_equal(order[i], plain[i / 3]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_in_pythons_order),
        cmocka_unit_test(pictures_come_by_class_then_folder_then_name),
        cmocka_unit_test(an_index_serves_until_a_folder_changes),
        cmocka_unit_test(a_link_in_the_place_of_an_index_is_not_followed),
        cmocka_unit_test(a_part_for_validation_has_its_share_of_each_class),
        cmocka_unit_test(batches_have_the_same_bits_for_any_threads_samplers_and_damage),
        cmocka_unit_test(evaluation_leaves_damaged_pictures_out_and_training_stops_at_the_first),
        cmocka_unit_test(a_file_that_vanishes_is_named_when_its_turn_comes),
        cmocka_unit_test(a_transform_is_needed_where_sizes_vary),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(a_balanced_epoch_has_all_classes_alike_and_a_repeated_one_runs),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
