/* The map from names to numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "engine/base/name_map.h"

static void an_empty_map_finds_nothing(void **state)
{
    wf_name_map map = {0};
    assert_int_equal(wf_name_map_find(&map, "a"), -1);
    wf_name_map_done(&map);
}

static void each_of_many_names_has_its_value(void **state)
{
    enum { N = 5000 };
    static char name[N][16];
    wf_name_map map = {0};
    for (int i = 0; i < N; i++) {
        snprintf(name[i], sizeof name[i], "layer%d", i);
        assert_true(wf_name_map_add(&map, name[i], i));
    }
    for (int i = 0; i < N; i++) {
        char same[16];
        snprintf(same, sizeof same, "layer%d", i);
        assert_int_equal(wf_name_map_find(&map, same), i);
    }
    assert_int_equal(wf_name_map_find(&map, "layer"), -1);
    assert_int_equal(wf_name_map_find(&map, "layer5000"), -1);
    assert_int_equal(map.n, N);
    wf_name_map_done(&map);
    assert_int_equal(wf_name_map_find(&map, "layer1"), -1);
}

static void a_name_that_is_there_keeps_its_first_value(void **state)
{
    wf_name_map map = {0};
    assert_true(wf_name_map_add(&map, "a", 3));
    assert_true(wf_name_map_add(&map, "a", 4));
    assert_true(wf_name_map_add(&map, "", 5));
    assert_int_equal(wf_name_map_find(&map, "a"), 3);
    assert_int_equal(wf_name_map_find(&map, ""), 5);
    assert_int_equal(map.n, 2);
    wf_name_map_done(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_finds_nothing),
        cmocka_unit_test(each_of_many_names_has_its_value),
        cmocka_unit_test(a_name_that_is_there_keeps_its_first_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
