/* Small allocations, big blocks over a recording layer and over the system, and limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/base/alloc.h"
#include "engine/machine/memory.h"
#include "fake_root.h"

#define SERVER "pack:2 numa:2 l3:1 core:8 pu:2"
#define MIB ((size_t)1 << 20)

static wf_topology *make_topology(const char *synthetic, const char *cpus)
{
    wf_topology *t = NULL;
    const wf_topology_config c = {.synthetic = synthetic, .cpus = cpus};
    assert_int_equal(wf_topology_create(&t, &c, NULL), WEFT_OK);
    return t;
}

/* ---- small allocations ---------------------------------------------------------------------- */

static void test_only_the_nth_allocation_fails(void **state)
{
    for (int n = 1; n <= 6; n++) {
        void *p[6];
        wf_alloc_fail_at(n);
        p[0] = wf_alloc(8);
        p[1] = wf_zalloc(8);
        p[2] = wf_alloc_array(2, 4);
        p[3] = wf_strdup("text");
        p[4] = wf_asprintf("%d", n);
        p[5] = wf_realloc_array(NULL, 2, 4);
        assert_int_equal(wf_alloc_fail_at(0), 0);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(p[i] == NULL, i == n - 1);
            wf_free(p[i]);
        }
    }
    wf_alloc_fail_at(7);
    wf_free(wf_alloc(1));
    assert_int_equal(wf_alloc_fail_at(0), 6); /* how many it would have taken */
}

static void test_products_are_checked(void **state)
{
    size_t half = (size_t)1 << 63;
    assert_null(wf_alloc_array(half, 2));
    assert_null(wf_zalloc_array(2, half));
    int *keep = wf_alloc_array(1, sizeof(int));
    assert_non_null(keep);
    *keep = 7;
    assert_null(wf_realloc_array(keep, half, 3));
    assert_int_equal(*keep, 7);
    wf_free(keep);
}

static void test_small_values(void **state)
{
    void *none = wf_alloc(0);
    assert_non_null(none);
    wf_free(none);
    wf_free(NULL);
    assert_null(wf_strdup(NULL));
    char *text = wf_asprintf("%s %d", "layer", 12);
    assert_string_equal(text, "layer 12");
    wf_free(text);
    unsigned char *zeros = wf_zalloc_array(100, 10);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(zeros[i], 0);
    wf_free(zeros);
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(wf_nomem(&err, 4096, "the sampler"), WEFT_ERR_NOMEM);
    assert_string_equal(err.text, "out of memory: 4096 bytes for the sampler");
    assert_int_equal(wf_nomem(NULL, 1, "nobody"), WEFT_ERR_NOMEM);
}

/* ---- the recording layer -------------------------------------------------------------------- */

typedef struct recorder {
    char log[1024];
    bool full, refuse;
} recorder;

__attribute__((format(printf, 2, 3))) static int note(recorder *r, const char *format, ...)
{
    size_t used = strlen(r->log);
    va_list args;
    va_start(args, format);
    vsnprintf(r->log + used, sizeof(r->log) - used, format, args);
    va_end(args);
    return r->refuse ? -1 : 0;
}

static void *record_map(void *user, size_t bytes, size_t align)
{
    recorder *r = user;
    note(r, "map %zu/%zu ", bytes, align);
    return r->full ? NULL : aligned_alloc(align, (bytes + align - 1) / align * align);
}

static void record_unmap(void *user, void *p, size_t bytes)
{
    note(user, "unmap %zu ", bytes);
    free(p);
}

static int record_huge(void *user, void *p, size_t bytes)
{
    return note(user, "huge %zu ", bytes);
}

static int record_bind(void *user, const wf_topology *t, void *p, size_t bytes, int node)
{
    return note(user, "bind %zu to %d ", bytes, node);
}

static int record_interleave(void *user, const wf_topology *t, void *p, size_t bytes)
{
    return note(user, "interleave %zu over %d ", bytes, wf_topology_machine(t)->used_nodes);
}

static wf_memory_ops recording(recorder *r)
{
    return (wf_memory_ops){r,           record_map,  record_unmap,
                           record_huge, record_bind, record_interleave};
}

static const struct placement_case {
    const char *name, *machine, *cpus;
    wf_block_request request;
    bool refuse;
    const char *log;
} placements[] = {
    {"first touch",
     SERVER,
     NULL,
     {.size = 4 * MIB},
     false,
     "map 4194304/2097152 huge 4194304 unmap 4194304 "},
    {"a node",
     SERVER,
     NULL,
     {.size = 4 * MIB, .placement = WF_PLACE_NODE, .node = 3},
     false,
     "map 4194304/2097152 huge 4194304 bind 4194304 to 3 unmap 4194304 "},
    {"interleaved",
     SERVER,
     NULL,
     {.size = 4 * MIB, .placement = WF_PLACE_INTERLEAVED},
     false,
     "map 4194304/2097152 huge 4194304 interleave 4194304 over 4 unmap 4194304 "},
    {"over the nodes in use",
     SERVER,
     "0-31",
     {.size = 4 * MIB, .placement = WF_PLACE_INTERLEAVED},
     false,
     "map 4194304/2097152 huge 4194304 interleave 4194304 over 2 unmap 4194304 "},
    {"one node in use needs no interleaving",
     SERVER,
     "0-15",
     {.size = 4 * MIB, .placement = WF_PLACE_INTERLEAVED},
     false,
     "map 4194304/2097152 huge 4194304 unmap 4194304 "},
    {"one node needs no binding",
     "core:4 pu:1",
     NULL,
     {.size = 4 * MIB, .placement = WF_PLACE_NODE},
     false,
     "map 4194304/2097152 huge 4194304 unmap 4194304 "},
    {"whole pages",
     SERVER,
     NULL,
     {.size = 2 * MIB + 1},
     false,
     "map 2101248/2097152 huge 2101248 unmap 2101248 "},
    {"a kernel that refuses is no error",
     SERVER,
     NULL,
     {.size = 4 * MIB, .placement = WF_PLACE_NODE, .node = 1},
     true,
     "map 4194304/2097152 huge 4194304 bind 4194304 to 1 unmap 4194304 "},
    {"small ones come from elsewhere",
     SERVER,
     NULL,
     {.size = 2 * MIB - 1, .placement = WF_PLACE_NODE, .node = 1},
     false,
     ""},
};

static void test_placement(void **state)
{
    for (size_t i = 0; i < sizeof(placements) / sizeof(*placements); i++) {
        const struct placement_case *c = &placements[i];
        recorder r = {.refuse = c->refuse};
        wf_memory_ops ops = recording(&r);
        wf_topology *t = make_topology(c->machine, c->cpus);
        wf_memory *m = NULL;
        wf_block b = WF_BLOCK_INIT;
        assert_int_equal(wf_memory_create(&m, t, &ops, NULL), WEFT_OK);
        wf_topology_unref(t); /* the manager has its own reference */
        assert_int_equal(wf_memory_alloc(m, &c->request, &b, NULL), WEFT_OK);
        assert_int_equal(b.size, c->request.size);
        wf_memory_free(&b);
        assert_null(b.data);
        wf_memory_free(&b);
        if (strcmp(r.log, c->log) != 0)
            fail_msg("%s: %s", c->name, r.log);
        wf_memory_destroy(m);
    }
}

static void test_a_full_machine_is_an_error(void **state)
{
    recorder r = {0};
    wf_memory_ops ops = recording(&r);
    wf_topology *t = make_topology(SERVER, NULL);
    wf_memory *m = NULL;
    wf_block first = WF_BLOCK_INIT, b = WF_BLOCK_INIT;
    assert_int_equal(wf_memory_create(&m, t, &ops, NULL), WEFT_OK);
    assert_int_equal(wf_memory_alloc(m, &(wf_block_request){.size = 3 * MIB}, &first, NULL),
                     WEFT_OK);
    weft_error err = WEFT_ERROR_INIT;
    wf_block_request request = {.size = 5 * MIB, .kind = WF_MEM_ARENA};
    r.full = true;
    assert_int_equal(wf_memory_alloc(m, &request, &b, &err), WEFT_ERR_NOMEM);
    assert_string_equal(err.text, "out of memory: 5242880 bytes (5.0 MiB) for activation arena; "
                                  "3.0 MiB are in use");
    assert_null(b.data);
    r.full = false;
    request.size = SIZE_MAX - 1; /* rounding must not wrap */
    request.what = "a plan";
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(wf_memory_alloc(m, &request, &b, &err), WEFT_ERR_NOMEM);
    assert_non_null(strstr(err.text, "18446744073709551614 bytes (16.0 EiB) for a plan"));
    for (size_t size = MIB; size <= 4 * MIB; size += 3 * MIB) { /* the test hook, both ways */
        request.size = size;
        wf_alloc_fail_at(1);
        assert_int_equal(wf_memory_alloc(m, &request, &b, NULL), WEFT_ERR_NOMEM);
        assert_int_equal(wf_alloc_fail_at(0), 0);
    }
    assert_int_equal(wf_memory_used(m).total_in_use, 3 * MIB);
    wf_memory_free(&first);
    wf_memory_destroy(m);
    wf_alloc_fail_at(1);
    wf_memory *untouched = NULL;
    assert_int_equal(wf_memory_create(&untouched, t, NULL, NULL), WEFT_ERR_NOMEM);
    assert_null(untouched);
    wf_topology_unref(t);
    wf_memory_destroy(NULL);
}

/* ---- the system ----------------------------------------------------------------------------- */

static void test_blocks_are_aligned_and_zero(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 4097, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 9 * MIB};
    wf_topology *t = make_topology(NULL, NULL);
    wf_memory *m = NULL;
    assert_int_equal(wf_memory_create(&m, t, NULL, NULL), WEFT_OK);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        wf_block b = WF_BLOCK_INIT;
        for (int round = 0; round < 2; round++) { /* the second may get used memory */
            wf_block_request r = {.size = sizes[i], .zero = true};
            assert_int_equal(wf_memory_alloc(m, &r, &b, NULL), WEFT_OK);
            size_t align = sizes[i] >= WF_HUGE_PAGE ? WF_HUGE_PAGE : WF_SMALL_ALIGN;
            assert_int_equal((uintptr_t)b.data % align, 0);
            unsigned char *p = b.data;
            for (size_t j = 0; j < sizes[i]; j++)
                if (p[j] != 0)
                    fail_msg("byte %zu of %zu is not zero", j, sizes[i]);
            memset(p, 0xff, sizes[i]);
            wf_memory_free(&b);
        }
    }
    wf_memory_destroy(m);
    wf_topology_unref(t);
}

static void test_use_and_peaks_are_counted(void **state)
{
    wf_topology *t = make_topology("core:2 pu:1", NULL);
    wf_memory *m = NULL;
    wf_block a = WF_BLOCK_INIT, b = WF_BLOCK_INIT, c = WF_BLOCK_INIT;
    assert_int_equal(wf_memory_create(&m, t, NULL, NULL), WEFT_OK);
    wf_block_request stored = {.size = 100, .kind = WF_MEM_STORED};
    wf_block_request arena = {.size = 3 * MIB, .kind = WF_MEM_ARENA};
    assert_int_equal(wf_memory_alloc(m, &arena, &a, NULL), WEFT_OK);
    wf_memory_free(&a);
    assert_int_equal(wf_memory_alloc(m, &stored, &b, NULL), WEFT_OK);
    assert_int_equal(wf_memory_alloc(m, &stored, &c, NULL), WEFT_OK);
    wf_memory_free(&b);
    wf_memory_usage u = wf_memory_used(m);
    assert_int_equal(u.in_use[WF_MEM_STORED], 100);
    assert_int_equal(u.peak[WF_MEM_STORED], 200);
    assert_int_equal(u.in_use[WF_MEM_ARENA], 0);
    assert_int_equal(u.peak[WF_MEM_ARENA], 3 * MIB);
    assert_int_equal(u.peak[WF_MEM_WORKSPACE], 0);
    assert_int_equal(u.total_in_use, 100);
    assert_int_equal(u.total_peak, 3 * MIB); /* never both at once */
    wf_memory_destroy(m);
    memset(c.data, 1, 100); /* outlives the manager */
    wf_memory_free(&c);
    wf_topology_unref(t);
}

/* ---- limits --------------------------------------------------------------------------------- */

#define MEMINFO "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:   8388608 kB\n"
#define V2 "30 1 0:26 / /cg rw - cgroup2 cgroup2 rw\n"
#define V1 "30 1 0:26 / /cg rw - cgroup cgroup rw,memory\n"
#define GIB ((uint64_t)1 << 30)

static const struct limit_case {
    const char *name, *cgroup, *mounts;
    const char *files[10];
    uint64_t total, available;
    const char *why;
} limits[] = {
    {"the machine", "", "", {0}, 16 * GIB, 8 * GIB, "MemAvailable"},
    {"no limit", "0::/a\n", V2, {"/cg/a/memory.max", "max\n"}, 16 * GIB, 8 * GIB, "MemAvailable"},
    {"a group",
     "0::/a\n",
     V2,
     {"/cg/a/memory.max", "4294967296\n", "/cg/a/memory.current", "1073741824\n"},
     4 * GIB,
     3 * GIB,
     "control group /a"},
    {"file pages are room",
     "0::/a\n",
     V2,
     {"/cg/a/memory.max", "4294967296\n", "/cg/a/memory.current", "3221225472\n",
      "/cg/a/memory.stat", "anon 1\ninactive_file 2147483648\nactive_file 5\n"},
     4 * GIB,
     3 * GIB,
     "control group /a"},
    {"high counts",
     "0::/a\n",
     V2,
     {"/cg/a/memory.max", "max\n", "/cg/a/memory.high", "2147483648\n"},
     2 * GIB,
     2 * GIB,
     "control group /a"},
    {"a group above",
     "0::/a/b\n",
     V2,
     {"/cg/a/b/memory.max", "2147483648\n", "/cg/a/memory.max", "4294967296\n",
      "/cg/a/memory.current", "3221225472\n"},
     2 * GIB,
     1 * GIB,
     "control group /a"},
    {"used up",
     "0::/a\n",
     V2,
     {"/cg/a/memory.max", "1073741824\n", "/cg/a/memory.current", "1073745920\n"},
     1 * GIB,
     0,
     "control group /a"},
    {"version 1",
     "3:memory:/a\n",
     V1,
     {"/cg/a/memory.limit_in_bytes", "4294967296\n", "/cg/a/memory.usage_in_bytes", "3221225472\n",
      "/cg/a/memory.stat", "inactive_file 1\ntotal_inactive_file 1073741824\n"},
     4 * GIB,
     2 * GIB,
     "control group /a"},
    {"version 1 without",
     "3:memory:/a\n",
     V1,
     {"/cg/a/memory.limit_in_bytes", "9223372036854771712\n"},
     16 * GIB,
     8 * GIB,
     "MemAvailable"},
    {"a group larger than the machine",
     "0::/a\n",
     V2,
     {"/cg/a/memory.max", "99999999999\n"},
     16 * GIB,
     8 * GIB,
     "MemAvailable"},
};

static void test_limits(void **state)
{
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
        const struct limit_case *c = &limits[i];
        fake_root root;
        fake_root_init(&root);
        fake_root_write(&root, "/proc/meminfo", MEMINFO);
        fake_root_write(&root, "/proc/self/cgroup", c->cgroup);
        fake_root_write(&root, "/proc/self/mountinfo", c->mounts);
        for (int f = 0; f < 10 && c->files[f]; f += 2)
            fake_root_write(&root, c->files[f], c->files[f + 1]);
        wf_memory_limit l;
        assert_int_equal(wf_memory_get_limit(root.path, &l, NULL), WEFT_OK);
        if (l.total != c->total || l.available != c->available || strcmp(l.why, c->why) != 0)
            fail_msg("%s: %llu of %llu, %s", c->name, (unsigned long long)l.available,
                     (unsigned long long)l.total, l.why);
        fake_root_done(&root);
    }
}

static void test_what_cannot_fit_is_refused(void **state)
{
    fake_root root;
    fake_root_init(&root);
    weft_error err = WEFT_ERROR_INIT;
    wf_memory_limit l;
    assert_int_equal(wf_memory_get_limit(root.path, &l, &err), WEFT_ERR_IO);
    assert_int_equal(wf_memory_check(root.path, UINT64_MAX, "a plan", NULL), WEFT_OK); /* unknown */
    fake_root_write(&root, "/proc/meminfo", "MemTotal: 5 kB\n");
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(wf_memory_get_limit(root.path, &l, &err), WEFT_ERR_FORMAT);
    fake_root_write(&root, "/proc/meminfo", MEMINFO);
    assert_int_equal(wf_memory_check(root.path, 8 * GIB, "a plan", NULL), WEFT_OK);
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(wf_memory_check(root.path, 8 * GIB + 1, "a plan", &err), WEFT_ERR_NOMEM);
    assert_string_equal(err.text, "out of memory: 8589934593 bytes (8.0 GiB) for a plan, but only "
                                  "8.0 GiB of 16.0 GiB are available (MemAvailable)");
    fake_root_done(&root);
    assert_int_equal(wf_memory_get_limit(NULL, &l, NULL), WEFT_OK); /* this machine */
    assert_true(l.total >= l.available && l.available > 0);
}

static void test_byte_texts(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 bytes"},          {1023, "1023 bytes"}, {1024, "1.0 KiB"},
                 {1536, "1.5 KiB"},       {MIB - 1, "1.0 MiB"}, {3 * GIB, "3.0 GiB"},
                 {UINT64_MAX, "16.0 EiB"}};
    char text[WF_BYTES_TEXT];
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_string_equal(wf_bytes_text(text, cases[i].bytes), cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_nth_allocation_fails),
        cmocka_unit_test(test_products_are_checked),
        cmocka_unit_test(test_small_values),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_a_full_machine_is_an_error),
        cmocka_unit_test(test_blocks_are_aligned_and_zero),
        cmocka_unit_test(test_use_and_peaks_are_counted),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_what_cannot_fit_is_refused),
        cmocka_unit_test(test_byte_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
