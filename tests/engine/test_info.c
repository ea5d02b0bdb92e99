/* The report of `weft info`, over a made-up machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/step/info.h"

static const char *lookup(void *user, const char *name)
{
    return strcmp(name, "OMP_PLACES") == 0 ? "cores" : NULL;
}

static wf_topology *make_topology(void)
{
    wf_topology *t = NULL;
    const wf_topology_config c = {
        .synthetic = "pack:1 [numa(memory=1073741824)] group:2 [numa(memory=2147483648)] "
                     "l3:1(size=8388608) l2:4(size=524288) l1d:1(size=32768) core:1 pu:2",
        .cpus = "0-5,14",
        .env = lookup,
    };
    weft_error err = WEFT_ERROR_INIT;
    if (wf_topology_create(&t, &c, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    return t;
}

static void test_the_report_says_what_and_why(void **state)
{
    static const char *const lines[] = {
        "\nmachine         1 package, 3 NUMA nodes, 8 cores, 16 hardware threads\n",
        "\ncaches          L1d 32.0 KiB per core, L2 512.0 KiB per core, L3 8.0 MiB per 4 cores\n",
        "\ninstructions    scalar",
        "\nbf16            storage only, arithmetic in f32, ",
        "\nmachine class   ",
        "\nthreads         4\n",
        "\n  why           7 of 16 hardware threads are in the affinity mask; one per core: 4; ",
        "\n  binding       threads not bound: OMP_PLACES is set\n",
        ", OMP_PLACES=cores\n",
        "\nNUMA node 0     2.0 GiB, chosen cpus: 0,2,4\n",
        "\nNUMA node 1     2.0 GiB, chosen cpus: 14\n",
        "\nNUMA node 2     1.0 GiB, chosen cpus: none\n",
        "\nmemory          ",
        "\nhuge pages      ",
        "\nlibraries       oneDNN ",
        "\nwisdom          1 choice for this machine in /w.json, hash ",
    };
    wf_topology *t = make_topology();
    wf_wisdom wisdom = {.path = "/w.json"};
    assert_true(wf_wisdom_put(&wisdom, "matmul m1n1k1 f32", "ref", 1));
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(wf_info_write(t, WEFT_ISA_SCALAR, 4, &wisdom, out, NULL), WEFT_OK);
    assert_int_equal(fclose(out), 0);
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        if (!strstr(text, lines[i]))
            fail_msg("no \"%s\" in:\n%s", lines[i], text);
    free(text);
    wisdom.path = NULL;
    wf_wisdom_done(&wisdom);
    wf_topology_unref(t);
}

static void test_a_full_disk_is_an_error(void **state)
{
    wf_topology *t = make_topology();
    wf_wisdom wisdom = {0};
    FILE *out = fopen("/dev/full", "w");
    if (!out)
        skip();
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(wf_info_write(t, WEFT_ISA_SCALAR, 4, &wisdom, out, &err), WEFT_ERR_IO);
    assert_string_equal(err.text, "info: cannot write");
    fclose(out);
    wf_topology_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_report_says_what_and_why),
        cmocka_unit_test(test_a_full_disk_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
