/* weft_inspect: figures, equal samples in arrays, stopping, and arguments. tests/cli/test_check.py has
 * picture files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "engine/base/alloc.h"
#include "weft/inspect.h"

enum { N = 40, SIDE = 4, BYTES = SIDE * SIDE };

static uint8_t images[2][N][BYTES];
static int64_t labels[2][N];
static weft_dataset *splits[2];

static int create(void **state)
{
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < N; i++) {
            for (int p = 0; p < BYTES; p++)
                images[s][i][p] = (uint8_t)(s * 100 + i * 2 + p * (i + 3));
            labels[s][i] = i % 3;
        }
    memcpy(images[0][5], images[0][2], BYTES);  /* labels 2 and 2 */
    memcpy(images[0][9], images[0][4], BYTES);  /* labels 0 and 1 */
    memcpy(images[1][7], images[0][30], BYTES); /* across splits, */
    memcpy(images[1][8], images[0][30], BYTES); /* and there twice: labels 1 and 2 */
    for (int s = 0; s < 2; s++) {
        weft_dataset_arrays a = {.count = N,
                                 .channels = 1,
                                 .height = SIDE,
                                 .width = SIDE,
                                 .classes = 4,
                                 .dtype = WEFT_U8,
                                 .images = images[s],
                                 .labels = labels[s]};
        if (weft_dataset_from_arrays(&a, &splits[s], NULL) != WEFT_OK)
            return -1;
    }
    return 0;
}

static int destroy(void **state)
{
    for (int s = 0; s < 2; s++)
        weft_dataset_destroy(splits[s]);
    return 0;
}

static weft_inspection *inspect(int threads)
{
    weft_inspection *ins = NULL;
    weft_error err = WEFT_ERROR_INIT;
    const weft_dataset *const both[] = {splits[0], splits[1]};
    if (weft_inspect(both, 2, &(weft_inspect_opts){.threads = threads}, &ins, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    return ins;
}

static void figures_are_those_of_the_data(void **state)
{
    weft_inspection *ins = inspect(0);
    for (int s = 0; s < 2; s++) {
        const weft_inspected_split *sum = weft_inspection_split(ins, s);
        assert_int_equal(sum->samples, N);
        assert_int_equal(sum->decoded, N);
        assert_int_equal(sum->width_min, SIDE);
        assert_int_equal(sum->height_median, SIDE);
        assert_int_equal(sum->classes, 4);
        assert_int_equal(sum->per_class[0], 14);
        assert_int_equal(sum->per_class[3], 0);
        assert_string_equal(sum->formats, "");
    }
    assert_null(weft_inspection_split(ins, 2));
    assert_null(weft_inspection_split(ins, -1));
    weft_inspection_destroy(ins);
    weft_inspection_destroy(NULL);
}

static void equal_samples_are_found_with_any_number_of_threads(void **state)
{
    static const weft_finding expected[] = {{WEFT_FINDING_LEAK, 1, 7, 0, 30},
                                            {WEFT_FINDING_CONFLICT, 0, 9, 0, 4},
                                            {WEFT_FINDING_CONFLICT, 1, 8, 1, 7},
                                            {WEFT_FINDING_DUPLICATE, 0, 5, 0, 2}};
    for (int threads = 1; threads <= 4; threads++) {
        weft_inspection *ins = inspect(threads);
        int64_t n;
        const weft_finding *f = weft_inspection_findings(ins, &n);
        assert_int_equal(n, 4);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(f[i].kind, expected[i].kind);
            assert_int_equal(f[i].split, expected[i].split);
            assert_int_equal(f[i].sample, expected[i].sample);
            assert_int_equal(f[i].other_split, expected[i].other_split);
            assert_int_equal(f[i].other_sample, expected[i].other_sample);
            char text[256];
            assert_in_range(weft_inspection_describe(ins, &f[i], text, sizeof text), 10, 255);
            assert_non_null(strstr(text, "the same pixels as"));
        }
        assert_int_equal(weft_inspection_count(ins, WEFT_FINDING_CONFLICT), 2);
        assert_int_equal(weft_inspection_count(ins, WEFT_FINDING_DAMAGED), 0);
        weft_inspection_destroy(ins);
    }
    assert_string_equal(weft_finding_name(WEFT_FINDING_LEAK), "leak");
    assert_null(weft_finding_name(WEFT_FINDING_KINDS));
}

static bool stop(void *user, int64_t done, int64_t samples)
{
    ++*(int *)user;
    return false;
}

static void it_can_be_stopped(void **state)
{
    weft_dataset *many = NULL;
    weft_error err = WEFT_ERROR_INIT;
    /* More than can be looked at before the first report. */
    assert_int_equal(
        weft_dataset_open("synthetic:3x224x224:2:200000", WEFT_SPLIT_TRAIN, &many, &err), WEFT_OK);
    weft_inspection *ins = NULL;
    int calls = 0;
    const weft_dataset *const one[] = {many};
    const weft_inspect_opts opts = {.threads = 2, .progress = stop, .user = &calls};
    assert_int_equal(weft_inspect(one, 1, &opts, &ins, &err), WEFT_ERR_INTERRUPTED);
    assert_int_equal(calls, 1);
    assert_null(ins);
    weft_dataset_destroy(many);
}

static void wrong_arguments_are_refused(void **state)
{
    weft_inspection *ins = NULL;
    weft_error err = WEFT_ERROR_INIT;
    const weft_dataset *const gap[] = {splits[0], NULL};
    assert_int_equal(weft_inspect(gap, 2, NULL, &ins, &err), WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "data set 1 is NULL"));
    assert_int_equal(weft_inspect(gap, 0, NULL, &ins, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_inspect(gap, 1, &(weft_inspect_opts){.tiny = -1}, &ins, NULL),
                     WEFT_ERR_INVALID);
    assert_int_equal(weft_inspection_write_json(NULL, "x", NULL, NULL), WEFT_ERR_INVALID);
    assert_null(ins);
}

static void every_allocation_may_fail(void **state)
{
    const weft_dataset *const both[] = {splits[0], splits[1]};
    for (long n = 1;; n++) {
        weft_inspection *ins = NULL;
        weft_error err = WEFT_ERROR_INIT;
        wf_alloc_fail_at(n);
        weft_status status = weft_inspect(both, 2, &(weft_inspect_opts){.threads = 2}, &ins, &err);
        bool all_were_there = wf_alloc_fail_at(0) > 0;
        assert_int_equal(status, all_were_there ? WEFT_OK : WEFT_ERR_NOMEM);
        assert_true((ins != NULL) == all_were_there);
        weft_inspection_destroy(ins);
        if (all_were_there)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_of_the_data),
        cmocka_unit_test(equal_samples_are_found_with_any_number_of_threads),
        cmocka_unit_test(it_can_be_stopped),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}
