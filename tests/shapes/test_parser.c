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
        wf_conv2d_desc want;
        const char *name;
    } cases[] = {
        {"mb16_ic64ih56oc64oh56kh3ph1n\"a b\"",
         {.N = 16,
          .C = 64,
          .H = 56,
          .W = 56,
          .K = 64,
          .R = 3,
          .S = 3,
          .P = 56,
          .Q = 56,
          .stride = {1, 1},
          .padding = {1, 1},
          .dilation = {1, 1},
          .groups = 1},
         "a b"},
        {"g4ic8iw6oc4kh3kw1sw2dh1",
         {.N = 2,
          .C = 8,
          .H = 6,
          .W = 6,
          .K = 4,
          .R = 3,
          .S = 1,
          .P = 1,
          .Q = 3,
          .stride = {2, 2},
          .padding = {0, 0},
          .dilation = {2, 2},
          .groups = 4},
         ""},
        {"ic3ih224oc64oh112kh7sh2",
         {.N = 2,
          .C = 3,
          .H = 224,
          .W = 224,
          .K = 64,
          .R = 7,
          .S = 7,
          .P = 112,
          .Q = 112,
          .stride = {2, 2},
          .padding = {2, 2},
          .dilation = {1, 1},
          .groups = 1},
         NULL}, /* (112-1)*2+7-224 = 5: padding 2 gives 111, not 112 */
        {"ic3ih224oc64oh112kh7sh2ph3",
         {.N = 2,
          .C = 3,
          .H = 224,
          .W = 224,
          .K = 64,
          .R = 7,
          .S = 7,
          .P = 112,
          .Q = 112,
          .stride = {2, 2},
          .padding = {3, 3},
          .dilation = {1, 1},
          .groups = 1},
         ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wf_shape_case got;
        char why[160] = "";
        bool ok = wf_shape_parse(cases[i].text, &got, why, sizeof why);
        if (!cases[i].name) {
            assert_false(ok);
            assert_non_null(strstr(why, "oh is 112"));
            continue;
        }
        assert_true(ok);
        wf_conv2d_desc want = cases[i].want;
        want.src_block = want.dst_block = 1;
        want.src_type = want.weights_type = want.dst_type = WEFT_F32;
        assert_memory_equal(&got.desc, &want, sizeof want);
        assert_string_equal(got.name, cases[i].name);
    }
}

static void names_each_mistake(void **unused)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"ic8ih8kh3", "oc is missing"},
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
        {"ic8ih8oc8kh3n\"open", "the name must be quoted and come last"},
        {"ic8n\"x\"ih8oc8kh3", "the name must be quoted and come last"},
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
        cmocka_unit_test(reads_values_and_defaults),
        cmocka_unit_test(names_each_mistake),
        cmocka_unit_test(names_file_and_line),
        cmocka_unit_test(reads_every_file_of_the_tree),
    };
    return cmocka_run_group_tests_name("shapes_parser", tests, NULL, NULL);
}
