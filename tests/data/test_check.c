/* Labels that follow the names of others, splits that fit, and memory that runs out meanwhile; what
 * the command says of it all is in tests/cli/test_data.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/base/alloc.h"
#include "tests/scratch.h"
#include "weft/data.h"
#include "weft/safetensors.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Six images of the labels 0 1 2 0 1 2, with the names given, one a line; NULL: none. */
static weft_dataset *open_named(const char *names)
{
    static const uint8_t pixels[6 * 4] = {1, 2, 3};
    static const int64_t labels[6] = {0, 1, 2, 0, 1, 2};
    const weft_safetensors_entry entries[] = {{"images", WEFT_U8, {4, {6, 1, 2, 2}}, pixels},
                                              {"labels", WEFT_I64, {1, {6}}, labels}};
    const weft_safetensors_meta meta = {"class_names", names};
    weft_dataset *ds = NULL;
    assert_int_equal(
        weft_safetensors_write(in_scratch("named"), entries, 2, &meta, names != NULL, NULL),
        WEFT_OK);
    assert_int_equal(weft_dataset_open(in_scratch("named"), WEFT_SPLIT_TRAIN, &ds, NULL), WEFT_OK);
    return ds;
}

static void check_labels(const weft_dataset *ds, const int64_t want[3])
{
    for (int i = 0; i < 6; i++) {
        int64_t label;
        assert_int_equal(weft_dataset_get(ds, i, NULL, &label, NULL), WEFT_OK);
        assert_int_equal(label, want[i % 3]);
    }
}

static void labels_follow_names(void **state)
{
    static const struct {
        const char *own, *others[4];
        int n;
        int64_t want[3];
        bool moved;
    } cases[] = {
        {"a\nb\nc", {"a", "b", "c"}, 3, {0, 1, 2}, false},
        {"a\nb\nc", {"c", "a", "b"}, 3, {1, 2, 0}, true},
        {"a\nb\nc", {"a", "b", "c", "d"}, 4, {0, 1, 2}, false}, /* some of the classes */
        {"a\nb\nc", {"d", "c", "b", "a"}, 4, {3, 2, 1}, true},
        {"a\na\nc", {"a", "a", "c"}, 3, {0, 1, 2}, false}, /* twins in the same place */
        {NULL, {"c", "a", "b"}, 3, {0, 1, 2}, false},      /* nothing to go by */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_dataset *ds = open_named(cases[i].own);
        weft_error err = WEFT_ERROR_INIT;
        bool moved = !cases[i].moved;
        if (weft_dataset_follow_names(ds, cases[i].others, cases[i].n, "theirs", &moved, &err))
            fail_msg("case %zu: %s", i, err.text);
        const weft_dataset_info *info = weft_dataset_get_info(ds);
        assert_int_equal(moved, cases[i].moved);
        check_labels(ds, cases[i].want);
        for (int k = 0; k < info->classes && cases[i].own; k++)
            assert_string_equal(info->class_names[k], cases[i].others[k]);
        assert_int_equal(info->classes, cases[i].own ? cases[i].n : 3);
        weft_dataset_destroy(ds);
    }
}

static void other_names_are_refused_and_change_nothing(void **state)
{
    static const struct {
        const char *own, *others[3], *text;
        int n;
    } cases[] = {
        {"a\nb\nc", {"a", "b", "d"}, "its classes are a, b, c; those of theirs are a, b, d", 3},
        {"a\nb\nc", {"b", "a"}, "its classes are a, b, c; those of theirs are b, a", 2},
        {"a\na\nc", {"c", "a", "a"}, "in another order than those of theirs, and two are named", 3},
        {"a\nb\n\x1b[2J", {"b", "a", "c"}, "its classes are a, b, \\x1b[2J; those of", 3},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_dataset *ds = open_named(cases[i].own);
        weft_error err = WEFT_ERROR_INIT;
        bool moved;
        weft_status status =
            weft_dataset_follow_names(ds, cases[i].others, cases[i].n, "theirs", &moved, &err);
        if (status != WEFT_ERR_INVALID || !strstr(err.text, cases[i].text))
            fail_msg("case %zu: %s", i, err.text);
        check_labels(ds, (const int64_t[]){0, 1, 2});
        assert_int_equal(weft_dataset_get_info(ds)->classes, 3);
        weft_dataset_destroy(ds);
    }
}

static void drop_note(void *user, const char *text)
{
    (void)text;
    ++*(int *)user;
}

static void every_failed_allocation_is_an_error_and_changes_nothing(void **state)
{
    static const char *const others[] = {"c", "a", "b"};
    for (long n = 1;; n++) {
        weft_dataset *ds = open_named("a\nb\nc");
        weft_error err = WEFT_ERROR_INIT;
        bool moved;
        int notes = 0;
        wf_alloc_fail_at(n);
        weft_status status = weft_dataset_follow_names(ds, others, 3, "theirs", &moved, &err);
        bool followed = status == WEFT_OK;
        if (status == WEFT_OK)
            status = weft_dataset_check_training(ds, NULL, drop_note, &notes, &err);
        bool all = wf_alloc_fail_at(0) > 0;
        check_labels(ds, followed ? (const int64_t[]){1, 2, 0} : (const int64_t[]){0, 1, 2});
        weft_dataset_destroy(ds);
        assert_int_equal(status, all ? WEFT_OK : WEFT_ERR_NOMEM);
        assert_true(all || err.text[0]);
        assert_int_equal(notes, 0);
        if (all) {
            assert_true(n > 4);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_follow_names),
        cmocka_unit_test(other_names_are_refused_and_change_nothing),
        cmocka_unit_test(every_failed_allocation_is_an_error_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_remove);
}
