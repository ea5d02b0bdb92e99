/* The parser of benchdnn's descriptors: values, defaults, and one clear error for each mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/shapes/shapes.h"

static void reads_values_and_defaults(void **unused)
{
    static const struct {
        const char *text;
        wf_conv2d_desc want; /* N, C, H, W, K, R, S, P, Q, stride, padding, dilation, groups */
        const char *name;
        weft_dtype src; /* f32 is 0 */
        int count;      /* 0: 1 */
    } cases[] = {
        {"mb16_ic64ih56oc64oh56kh3ph1n\"a b\"",
         {16, 64, 56, 56, 64, 3, 3, 56, 56, {1, 1}, {1, 1}, {1, 1}, 1},
         "a b"},
        {"g4ic8iw6oc4kh3kw1sw2dh1", {2, 8, 6, 6, 4, 3, 1, 1, 3, {2, 2}, {0, 0}, {2, 2}, 4}, ""},
        {"ic3ih224oc64oh112kh7sh2ph3",
         {2, 3, 224, 224, 64, 7, 7, 112, 112, {2, 2}, {3, 3}, {1, 1}, 1},
         ""},
        {"ic8ih9iw8oc8kh3kw2sh2sw3dh0dw1ph1pw0",
         {2, 8, 9, 8, 8, 3, 2, 5, 2, {2, 3}, {1, 0}, {1, 2}, 1},
         ""},
        {"--dt=u8:f32:f32 ic3ih8oc8kh3n\"a b\"",
         {2, 3, 8, 8, 8, 3, 3, 6, 6, {1, 1}, {0, 0}, {1, 1}, 1},
         "a b",
         WEFT_U8},
        {"ic3ih8oc8kh3n\"a*b*12\"",
         {2, 3, 8, 8, 8, 3, 3, 6, 6, {1, 1}, {0, 0}, {1, 1}, 1},
         "a*b",
         .count = 12},
        {"--dt=u8:f32:f32 --reset ic3ih8oc8kh3",
         {2, 3, 8, 8, 8, 3, 3, 6, 6, {1, 1}, {0, 0}, {1, 1}, 1},
         ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wf_conv2d_desc want = cases[i].want;
        want.src_block = want.dst_block = 1;
        want.src_type = cases[i].src;
        want.weights_type = want.dst_type = WEFT_F32;
        wf_shape_case got;
        char why[160] = "";
        if (!wf_shape_parse(cases[i].text, &got, why, sizeof why))
            fail_msg("%s: %s", cases[i].text, why);
        assert_memory_equal(&got.desc, &want, sizeof want);
        assert_string_equal(got.name, cases[i].name);
        assert_int_equal(got.count, cases[i].count ? cases[i].count : 1);
    }
}

static void names_each_mistake(void **unused)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"ic8ih8kh3", "oc is missing"},
        {"ic8ih8oc8kh3n\"a*0\"", "how many layers"},
        {"ic8ih8oc8kh3n\"a*2b\"", "how many layers"},
        {"ic8oc8kh3", "ih is missing"},
        {"ic8ih8oc8kh3zz4", "unknown field at \"zz4\""},
        {"ic8ih8oc8khx", "kh needs a number"},
        {"ic8ih8oc8kh-1", "kh needs a number"},
        {"ic8ih8oc8kh99999999999999999999", "kh needs a number"},
        {"ic8ic8ih8oc8kh3", "ic is given twice"},
        {"ic0ih8oc8kh3", "ic must be at least 1"},
        {"g3ic8ih8oc9kh3", "g3 does not divide ic8 and oc9"},
        {"ic8ih2oc8kh5", "the output is empty"},
        {"ic8ih8oc8oh9kh3ph1", "oh is 9"},
        {"ic3ih224oc64oh112kh7sh2", "oh is 112"}, /* (112-1)*2+7-224 = 5: padding 2 gives 111 */
        {"ic8ih8oc8kh3n\"open", "the name must be quoted and come last"},
        {"ic8n\"x\"ih8oc8kh3", "the name must be quoted and come last"},
        {"--dt=u8 ic8ih8oc8kh3", "unknown option \"--dt=u8\""}, /* weights and sums of u8 */
        {"--dir=FWD_B ic8ih8oc8kh3", "unknown option \"--dir=FWD_B\""},
        {"ic8ih8oc8kh3 --reset", "unknown field"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wf_shape_case got;
        char why[160] = "";
        assert_false(wf_shape_parse(cases[i].text, &got, why, sizeof why));
        if (!strstr(why, cases[i].reason))
            fail_msg("%s: \"%s\" instead of \"%s\"", cases[i].text, why, cases[i].reason);
    }
}

static void names_file_and_line(void **unused)
{
    char path[] = "/tmp/weft-shapes-XXXXXX", why[256] = "", want[64];
    int fd = mkstemp(path), n = 0;
    assert_true(fd >= 0);
    const char *text = "# comment\n\nic8ih8oc8kh3 # good\nic8ih8oc8kh3q\n";
    assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
    close(fd);
    wf_shape_case *cases = wf_shapes_read(path, &n, why, sizeof why);
    unlink(path);
    snprintf(want, sizeof want, "%s:4: unknown field", path);
    assert_null(cases);
    assert_non_null(strstr(why, want));
    assert_null(wf_shapes_read(path, &n, why, sizeof why)); /* gone */
    assert_non_null(strstr(why, path));
}

static void options_hold_until_others(void **unused)
{
    char path[] = "/tmp/weft-shapes-XXXXXX", why[256] = "";
    int fd = mkstemp(path), n = 0;
    assert_true(fd >= 0);
    const char *text = "ic3ih8oc8kh3\n--dt=u8:f32:f32\nic3ih8oc8kh3\nic1ih8oc8kh3\n"
                       "--dt=f32 ic3ih8oc8kh3\n--dt=u8:f32:f32 ic3ih8oc8kh3\n--reset # f32\n"
                       "ic3ih8oc8kh3\n";
    const weft_dtype want[] = {WEFT_F32, WEFT_U8, WEFT_U8, WEFT_F32, WEFT_U8, WEFT_F32};
    assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
    close(fd);
    wf_shape_case *cases = wf_shapes_read(path, &n, why, sizeof why);
    unlink(path);
    assert_string_equal(why, "");
    assert_int_equal(n, sizeof want / sizeof *want);
    for (int i = 0; i < n; i++)
        assert_int_equal(cases[i].desc.src_type, want[i]);
    free(cases);
}

static void reads_every_file_of_the_tree(void **unused)
{
    for (int i = 0; wf_shapes_files[i]; i++) {
        char why[256] = "";
        int n = 0, least = i == WF_SHAPES_SMALL ? 40 : i == WF_SHAPES_ODD ? 300 : 5;
        wf_shape_case *cases = wf_shapes_read(wf_shapes_files[i], &n, why, sizeof why);
        assert_string_equal(why, "");
        assert_true(n >= least);
        for (int j = 0; i >= WF_SHAPES_NETWORKS && j < n; j++)
            assert_int_equal(cases[j].desc.N, 16);
        free(cases);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_values_and_defaults),    cmocka_unit_test(names_each_mistake),
        cmocka_unit_test(names_file_and_line),          cmocka_unit_test(options_hold_until_others),
        cmocka_unit_test(reads_every_file_of_the_tree),
    };
    return cmocka_run_group_tests_name("shapes_parser", tests, NULL, NULL);
}
