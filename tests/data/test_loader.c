/* The loader: the same bytes for any number of threads, every sample once, resuming, errors at the
 * batch they concern, and stopping at any point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/dataset.h"
#include "engine/base/error.h"
#include "engine/base/alloc.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
enum { N = 53, C = 2, H = 6, W = 5, SIZE = C * H * W, BATCH = 8 };

static weft_dataset *open_set(void)
{
    weft_dataset *ds = NULL;
    assert_int_equal(weft_dataset_open("synthetic:2x6x5:7:53", WEFT_SPLIT_TRAIN, &ds, NULL),
                     WEFT_OK);
    return ds;
}

static weft_loader *create(const weft_dataset *ds, const weft_loader_opts *opts)
{
    weft_loader *l = NULL;
    weft_error err = WEFT_ERROR_INIT;
    if (weft_loader_create(ds, opts, &l, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    return l;
}

static void mix(uint64_t *hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *hash = (*hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

/* Reads to the end of the epoch: a hash of all that came, and how many batches. */
static uint64_t drain(weft_loader *l, int64_t *batches)
{
    uint64_t hash = 0xcbf29ce484222325u;
    weft_batch b;
    for (*batches = 0;; ++*batches) {
        assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
        if (b.count == 0)
            return hash;
        assert_int_equal((uintptr_t)b.images % 64, 0);
        mix(&hash, &b.index, sizeof b.index);
        mix(&hash, &b.count, sizeof b.count);
        mix(&hash, b.images, (size_t)b.count * SIZE * sizeof(float));
        mix(&hash, b.labels, (size_t)b.count * sizeof(int64_t));
        mix(&hash, b.samples, (size_t)b.count * sizeof(int64_t));
    }
}

static const float mean[C] = {0.4f, 0.5f}, std_[C] = {0.2f, 0.0f};

static weft_loader_opts training(int workers)
{
    return (weft_loader_opts){.batch = BATCH,
                              .workers = workers,
                              .shuffle = true,
                              .drop_last = true,
                              .seed = 42,
                              .hflip = 0.5,
                              .shift = 2,
                              .mean = mean,
                              .std = std_};
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    static const int workers[] = {0, 1, 3, 8}, ahead[] = {0, 1, 20};
    weft_dataset *ds = open_set();
    uint64_t wanted[3] = {0};
    for (size_t w = 0; w < COUNT(workers); w++)
        for (size_t a = 0; a < COUNT(ahead); a++) {
            weft_loader_opts o = training(workers[w]);
            o.ahead = ahead[a];
            weft_loader *l = create(ds, &o);
            for (int64_t epoch = 0, n; epoch < 3; epoch++) {
                if (epoch > 0)
                    assert_int_equal(weft_loader_start(l, epoch, 0, NULL), WEFT_OK);
                uint64_t hash = drain(l, &n);
                assert_int_equal(n, N / BATCH);
                if (w == 0 && a == 0)
                    wanted[epoch] = hash;
                assert_true(hash == wanted[epoch]);
            }
            weft_loader_destroy(l);
        }
    assert_true(wanted[0] != wanted[1] && wanted[1] != wanted[2]);
    weft_dataset_destroy(ds);
}

static void evaluation_sees_every_sample_once_with_a_short_last_batch(void **state)
{
    weft_dataset *ds = open_set();
    for (int workers = 0; workers < 3; workers++) {
        weft_loader_opts o = {.batch = BATCH, .workers = workers, .mean = mean, .std = std_};
        weft_loader *l = create(ds, &o);
        assert_int_equal(weft_loader_batches(l), 7);
        int64_t sample = 0, label;
        uint8_t pixels[SIZE];
        weft_batch b;
        for (int64_t i = 0; i < 7; i++) {
            assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
            assert_int_equal(b.index, i);
            assert_int_equal(b.count, i < 6 ? BATCH : N - 6 * BATCH);
            for (int64_t k = 0; k < b.count; k++, sample++) {
                assert_int_equal(b.samples[k], sample);
                weft_dataset_get(ds, sample, pixels, &label, NULL);
                assert_int_equal(b.labels[k], label);
                const float *image = (const float *)b.images + k * SIZE;
                for (int p = 0; p < SIZE; p++) /* a deviation of 0 reads as 1 */
                    assert_true(image[p] == ((float)pixels[p] / 255.0f - mean[p / (H * W)]) /
                                                (p < H * W ? 0.2f : 1.0f));
            }
        }
        assert_int_equal(sample, N);
        for (int again = 0; again < 2; again++) { /* the end stays the end */
            assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
            assert_int_equal(b.count, 0);
        }
        weft_loader_destroy(l);
    }
    weft_dataset_destroy(ds);
}

/* Whoever normalises them, with the mean and deviation that the loader names. */
static void bytes_are_the_same_images(void **state)
{
    weft_dataset *ds = open_set();
    for (int workers = 0; workers < 3; workers++) {
        weft_loader_opts o = training(workers);
        weft_loader *floats = create(ds, &o);
        o.bytes = true;
        weft_loader *bytes = create(ds, &o);
        const float *m, *s;
        weft_loader_get_normalization(bytes, &m, &s);
        assert_true(m[0] == mean[0] && m[1] == mean[1] && s[0] == std_[0] && s[1] == 1.0f);
        for (weft_batch f = {.count = 1}, b; f.count > 0;) {
            assert_int_equal(weft_loader_next(floats, &f, NULL), WEFT_OK);
            assert_int_equal(weft_loader_next(bytes, &b, NULL), WEFT_OK);
            assert_int_equal(f.count, b.count);
            assert_true(f.count == 0 || (f.dtype == WEFT_F32 && b.dtype == WEFT_U8));
            for (int64_t i = 0; i < b.count * SIZE; i++) {
                const int64_t c = i / (H * W) % C;
                assert_true(((const float *)f.images)[i] ==
                            ((float)((const uint8_t *)b.images)[i] / 255.0f - m[c]) / s[c]);
            }
            assert_memory_equal(f.labels, b.labels, (size_t)b.count * sizeof(int64_t));
        }
        weft_loader_destroy(floats);
        weft_loader_destroy(bytes);
    }
    weft_dataset_destroy(ds);
}

static void images_of_floats_stay_floats(void **state)
{
    static const float pixels[] = {1, 2, 3, 4};
    weft_dataset *ds = NULL;
    weft_dataset_arrays a = {1, 1, 2, 2, 0, WEFT_F32, pixels, NULL};
    assert_int_equal(weft_dataset_from_arrays(&a, &ds, NULL), WEFT_OK);
    weft_loader *l = create(ds, &(weft_loader_opts){.batch = 1, .mean = mean, .bytes = true});
    weft_batch b;
    assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
    assert_int_equal(b.dtype, WEFT_F32);
    assert_true(((const float *)b.images)[3] == 4.0f - mean[0]);
    weft_loader_destroy(l);
    weft_dataset_destroy(ds);
}

static void a_batch_may_exceed_the_data_set_only_when_the_last_may_be_short(void **state)
{
    weft_dataset *ds = open_set();
    weft_loader_opts o = {.batch = 1000};
    weft_loader *l = create(ds, &o);
    weft_batch b;
    assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
    assert_int_equal(b.count, N);
    weft_loader_destroy(l);
    l = NULL;
    o.drop_last = true;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_loader_create(ds, &o, &l, &err), WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "a batch of 1000, expected at most the 53 samples of "
                                     "synthetic:2x6x5:7:53, since drop_last is on"));
    assert_null(l);
    weft_dataset_destroy(ds);
}

static void resuming_in_the_middle_gives_the_rest_of_the_epoch(void **state)
{
    weft_dataset *ds = open_set();
    static float images[N / BATCH][BATCH * SIZE];
    weft_batch b;
    weft_loader_opts o = training(2);
    weft_loader *l = create(ds, &o);
    assert_int_equal(weft_loader_start(l, 5, 0, NULL), WEFT_OK);
    for (int i = 0; i < N / BATCH; i++) {
        assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
        memcpy(images[i], b.images, sizeof images[i]);
    }
    weft_loader_destroy(l);
    for (int first = 0; first <= N / BATCH; first++) {
        l = create(ds, &o);
        assert_int_equal(weft_loader_start(l, 5, first, NULL), WEFT_OK);
        for (int i = first; i < N / BATCH; i++) {
            assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
            assert_int_equal(b.index, i);
            assert_memory_equal(b.images, images[i], sizeof images[i]);
        }
        assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
        assert_int_equal(b.count, 0);
        weft_loader_destroy(l);
    }
    weft_dataset_destroy(ds);
}

static void a_batch_stays_as_it_is_until_the_next_call(void **state)
{
    weft_dataset *ds = open_set();
    weft_loader_opts o = training(3);
    o.ahead = 1;
    weft_loader *l = create(ds, &o);
    static float copy[BATCH * SIZE];
    weft_batch b;
    for (int i = 0; i < N / BATCH; i++) {
        assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
        memcpy(copy, b.images, sizeof copy);
        usleep(3000); /* time enough to fill whatever may be filled */
        assert_memory_equal(copy, b.images, sizeof copy);
    }
    weft_loader_destroy(l);
    weft_dataset_destroy(ds);
}

static void stopping_or_restarting_at_any_point_is_clean(void **state)
{
    weft_dataset *ds = open_set();
    weft_batch b;
    for (int round = 0; round < 60; round++) {
        weft_loader_opts o = training(round % 4);
        weft_loader *l = create(ds, &o);
        for (int i = 0; i < round % 7; i++)
            assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
        if (round & 1) {
            assert_int_equal(weft_loader_start(l, round, round % 3, NULL), WEFT_OK);
            assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
            assert_int_equal(b.index, round % 3);
        }
        weft_loader_destroy(l);
    }
    weft_loader_destroy(NULL);
    weft_dataset_destroy(ds);
}

/* A data set that takes its time; the pixels are the sample's number. */
static weft_status view_slow(const weft_dataset *ds, int64_t index, void *scratch,
                             const void **pixels, int64_t *label, weft_error *err)
{
    usleep(100);
    memset(scratch, (int)index, ds->sample_bytes);
    *pixels = scratch;
    *label = index;
    return WEFT_OK;
}

/* What threads are busy with when the epoch is left must not end up in the new one. */
static void nothing_of_the_epoch_left_reaches_the_next(void **state)
{
    weft_dataset slow = {.info = {N, C, H, W, N, WEFT_U8, .source = "slow"},
                         .sample_bytes = SIZE,
                         .view = view_slow};
    weft_loader_opts o = {.batch = BATCH, .workers = 4, .shuffle = true};
    weft_loader *l = create(&slow, &o);
    weft_batch b;
    for (int64_t epoch = 1; epoch < 40; epoch++) {
        assert_int_equal(weft_loader_start(l, epoch, 0, NULL), WEFT_OK);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
            for (int64_t k = 0; k < b.count; k++) {
                assert_int_equal(b.labels[k], b.samples[k]);
                for (int p = 0; p < SIZE; p++)
                    assert_true(((const float *)b.images)[k * SIZE + p] ==
                                (float)b.samples[k] / 255.0f);
            }
        }
    }
    weft_loader_destroy(l);
}

static int threads(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* The number of threads, once it is n or has not become so for two seconds: the system may list a thread
 * for a moment after it was joined. */
static int threads_in_the_end(int n)
{
    for (int i = 0; i < 2000 && threads() != n; i++)
        usleep(1000);
    return threads();
}

static void threads_are_those_asked_for_and_end_with_the_loader(void **state)
{
    weft_dataset *ds = open_set();
    weft_loader_opts o = training(3);
    const int before = threads_in_the_end(1); /* a sanitizer has one of its own */
    int64_t n;
    weft_loader *l = create(ds, &o);
    for (int64_t epoch = 0; epoch < 20; epoch++) {
        weft_loader_start(l, epoch, 0, NULL);
        drain(l, &n);
        assert_int_equal(threads(), before + 3);
    }
    weft_loader_destroy(l);
    assert_int_equal(threads_in_the_end(before), before);
    weft_dataset_destroy(ds);
}

/* ---- errors --------------------------------------------------------------------------------- */

/* A data set whose sample 17 cannot be read. */
static weft_status view_broken(const weft_dataset *ds, int64_t index, void *scratch,
                               const void **pixels, int64_t *label, weft_error *err)
{
    if (index == 17)
        return wf_error_set(err, WEFT_ERR_FORMAT, "sample 17 is damaged");
    memset(scratch, 1, ds->sample_bytes);
    *pixels = scratch;
    *label = 0;
    return WEFT_OK;
}

static void an_error_comes_at_its_batch_and_stays_until_restart(void **state)
{
    weft_dataset broken = {.info = {N, C, H, W, 1, WEFT_U8, .source = "broken"},
                           .sample_bytes = SIZE,
                           .view = view_broken};
    for (int workers = 0; workers < 4; workers++) {
        weft_loader_opts o = {.batch = BATCH, .workers = workers};
        weft_loader *l = create(&broken, &o);
        weft_batch b = {0};
        for (int round = 0; round < 2; round++) {
            assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
            assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
            for (int again = 0; again < 2; again++) {
                weft_error err = WEFT_ERROR_INIT;
                assert_int_equal(weft_loader_next(l, &b, &err), WEFT_ERR_FORMAT);
                assert_string_equal(err.text, "sample 17 is damaged");
                assert_int_equal(b.index, 1); /* untouched */
            }
            assert_int_equal(weft_loader_start(l, 0, 3, NULL), WEFT_OK);
            assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
            assert_int_equal(b.index, 3);
            assert_int_equal(weft_loader_start(l, 0, 0, NULL), WEFT_OK);
        }
        weft_loader_destroy(l);
    }
}

static void options_out_of_range_are_refused(void **state)
{
    weft_dataset *ds = open_set();
    static const float negative[C] = {1, -0.5f}, tiny[C] = {1e-40f, 1}, nan_[C] = {0, NAN},
                       infinite[C] = {INFINITY, 1};
    static const struct {
        weft_loader_opts opts;
        const char *text;
    } cases[] = {
        {{.batch = 1, .std = negative}, "channel 1 has mean 0 and standard deviation -0.5"},
        {{.batch = 1, .std = tiny},
         "channel 0 has mean 0 and standard deviation "}, /* 0 where denormals are */
        {{.batch = 1, .std = infinite}, "channel 0 has mean 0 and standard deviation inf"},
        {{.batch = 1, .mean = nan_}, "channel 1 has mean nan"},
        {{.batch = 0}, "batch size 0"},
        {{.batch = -3}, "batch size -3"},
        {{.batch = 1, .workers = -2}, "workers is -2"},
        {{.batch = 1, .workers = 100000}, "workers is 100000"},
        {{.batch = 1, .ahead = -1}, "-1 batches ahead"},
        {{.batch = 1, .shift = -1}, "shift by -1 pixels"},
        {{.batch = 1, .shift = 7}, "shift by 7 pixels, expected 0 to 6"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_loader *l = NULL;
        weft_error err = WEFT_ERROR_INIT;
        assert_int_equal(weft_loader_create(ds, &cases[i].opts, &l, &err), WEFT_ERR_INVALID);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_null(l);
    }
    weft_loader_opts o = training(1);
    weft_loader *l = create(ds, &o);
    assert_int_equal(weft_loader_start(l, -1, 0, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_loader_start(l, 0, -1, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_loader_start(l, 0, N / BATCH + 1, NULL), WEFT_ERR_INVALID);
    int64_t n;
    drain(l, &n); /* a refused start changed nothing */
    assert_int_equal(n, N / BATCH);
    weft_loader_destroy(l);
    weft_dataset_destroy(ds);
}

static void every_failed_allocation_is_an_error(void **state)
{
    weft_dataset *ds = open_set();
    for (long n = 1;; n++) {
        weft_loader *l = NULL;
        weft_error err = WEFT_ERROR_INIT;
        weft_loader_opts o = training(2);
        wf_alloc_fail_at(n);
        weft_status status = weft_loader_create(ds, &o, &l, &err);
        if (wf_alloc_fail_at(0) > 0) {
            assert_int_equal(status, WEFT_OK);
            assert_true(n > 8);
            weft_loader_destroy(l);
            break;
        }
        if (status == WEFT_OK) /* a list of CPUs it can do without */
            weft_loader_destroy(l);
        else if (status != WEFT_ERR_NOMEM || !err.text[0])
            fail_msg("allocation %ld gives %s: %s", n, weft_status_string(status), err.text);
    }
    weft_dataset_destroy(ds);
}

/* ---- where the threads run ------------------------------------------------------------------ */

static cpu_set_t seen;

static weft_status view_mask(const weft_dataset *ds, int64_t index, void *scratch,
                             const void **pixels, int64_t *label, weft_error *err)
{
    sched_getaffinity(0, sizeof seen, &seen);
    memset(scratch, 1, ds->sample_bytes);
    *pixels = scratch;
    *label = 0;
    return WEFT_OK;
}

static void threads_run_where_the_mask_says(void **state)
{
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    if (CPU_COUNT(&all) < 2)
        skip();
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    weft_dataset ds = {.info = {N, C, H, W, 1, WEFT_U8, .source = "masks"},
                       .sample_bytes = SIZE,
                       .view = view_mask};
    weft_batch b;
    /* the caller is bound to one CPU, as a worker of the engine would be; its threads are not */
    sched_setaffinity(0, sizeof one, &one);
    weft_loader_opts o = {.batch = N, .workers = 1, .cpu_mask = &all, .cpu_mask_bytes = sizeof all};
    weft_loader *l = create(&ds, &o);
    assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
    weft_loader_destroy(l);
    sched_setaffinity(0, sizeof all, &all);
    assert_true(CPU_EQUAL(&seen, &all));

    o.cpu_mask = &one;
    l = create(&ds, &o);
    assert_int_equal(weft_loader_next(l, &b, NULL), WEFT_OK);
    weft_loader_destroy(l);
    assert_true(CPU_EQUAL(&seen, &one));
}

/* The number of CPUs a loader thread sees by default; run in a process of its own, below. */
static int print_default_mask(void)
{
    weft_dataset ds = {.info = {N, C, H, W, 1, WEFT_U8, .source = "masks"},
                       .sample_bytes = SIZE,
                       .view = view_mask};
    cpu_set_t own;
    weft_batch b;
    weft_loader_opts o = {.batch = N, .workers = 1};
    weft_loader *l = create(&ds, &o);
    weft_loader_next(l, &b, NULL);
    weft_loader_destroy(l);
    sched_getaffinity(0, sizeof own, &own);
    printf("%d %d\n", CPU_COUNT(&own), CPU_COUNT(&seen));
    return 0;
}

/* OMP_PROC_BIND binds the initial thread to one place before main. */
static void threads_leave_the_core_that_openmp_bound_the_caller_to(void **state)
{
    cpu_set_t all;
    int own = 0, loader = 0;
    sched_getaffinity(0, sizeof all, &all);
    if (CPU_COUNT(&all) < 2)
        skip();
    char command[600] = "OMP_PROC_BIND=true OMP_PLACES=threads ";
    size_t used = strlen(command);
    ssize_t n = readlink("/proc/self/exe", command + used, sizeof command - used - 8);
    assert_true(n > 0);
    strcpy(command + used + (size_t)n, " mask");
    FILE *f = popen(command, "r");
    assert_int_equal(fscanf(f, "%d %d", &own, &loader), 2);
    pclose(f);
    if (own != 1)
        skip(); /* an OpenMP that binds later */
    assert_int_equal(loader, CPU_COUNT(&all));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return print_default_mask();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
        cmocka_unit_test(evaluation_sees_every_sample_once_with_a_short_last_batch),
        cmocka_unit_test(bytes_are_the_same_images),
        cmocka_unit_test(images_of_floats_stay_floats),
        cmocka_unit_test(a_batch_may_exceed_the_data_set_only_when_the_last_may_be_short),
        cmocka_unit_test(resuming_in_the_middle_gives_the_rest_of_the_epoch),
        cmocka_unit_test(a_batch_stays_as_it_is_until_the_next_call),
        cmocka_unit_test(stopping_or_restarting_at_any_point_is_clean),
        cmocka_unit_test(nothing_of_the_epoch_left_reaches_the_next),
        cmocka_unit_test(threads_are_those_asked_for_and_end_with_the_loader),
        cmocka_unit_test(an_error_comes_at_its_batch_and_stays_until_restart),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(threads_run_where_the_mask_says),
        cmocka_unit_test(threads_leave_the_core_that_openmp_bound_the_caller_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
