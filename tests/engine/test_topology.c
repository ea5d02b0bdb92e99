/* The choice of cores and threads, on made-up machines and made-up control groups, and binding on
 * the real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "engine/base/alloc.h"
#include "engine/machine/topology.h"
#include "fake_root.h"

/* 64 hardware threads on 32 cores; siblings are numbered one after the other. */
#define SERVER "pack:2 numa:2 l3:1 core:8 pu:2"
/* The same with siblings n and n + 32, as Linux numbers them on most servers. */
#define SERVER_LINUX "pack:2 numa:2 l3:1 core:8 pu:2(indexes=2*32:1*2)"

/* The environment of a case: NAME, value, ... NULL. */
static const char *lookup(void *user, const char *name)
{
    const char *const *vars = user;
    for (; vars && vars[0]; vars += 2)
        if (strcmp(vars[0], name) == 0)
            return vars[1];
    return NULL;
}

static const char *const no_vars[] = {NULL};

static wf_topology *make(wf_topology_config c)
{
    wf_topology *t = NULL;
    weft_error err = WEFT_ERROR_INIT;
    if (!c.env) {
        c.env = lookup;
        if (!c.env_user)
            c.env_user = (void *)no_vars;
    }
    if (wf_topology_create(&t, &c, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    return t;
}

/* ---- choosing ------------------------------------------------------------------------------- */

typedef struct choice {
    const char *name, *machine, *cpus;
    const char *vars[5];
    int asked;
    int threads, cores;      /* expected */
    int first_cpu, last_cpu; /* of the chosen cores */
    int used_nodes;
    const char *why; /* a part of the text */
} choice;

static const choice choices[] = {
    {"one thread per core",
     SERVER,
     NULL,
     {0},
     0,
     32,
     32,
     0,
     62,
     4,
     "64 of 64 hardware threads are in the affinity mask; one per core: 32; 32 threads on 32 "
     "cores"},
    {"siblings far apart", SERVER_LINUX, NULL, {0}, 0, 32, 32, 0, 31, 4, "one per core: 32"},
    {"mask of one node", SERVER, "16-31", {0}, 0, 8, 8, 16, 30, 1, "16 of 64 hardware threads"},
    {"mask of second siblings", SERVER, "1,3,5,7", {0}, 0, 4, 4, 1, 7, 1, "4 of 64"},
    {"both siblings are one core",
     SERVER_LINUX,
     "5,37",
     {0},
     0,
     1,
     1,
     5,
     5,
     1,
     "2 of 64 hardware threads are in the affinity mask; one per core: 1; 1 thread on 1 core"},
    {"mask over two packages", SERVER, "14-17,32-33", {0}, 0, 3, 3, 14, 32, 3, "one per core: 3"},
    {"mask beyond the machine", SERVER, "60-100", {0}, 0, 2, 2, 60, 62, 1, "4 of 64"},
    {"OMP_NUM_THREADS",
     SERVER,
     NULL,
     {"OMP_NUM_THREADS", "8"},
     0,
     8,
     8,
     0,
     14,
     1,
     "OMP_NUM_THREADS=8: 8"},
    {"the first of a list",
     SERVER,
     NULL,
     {"OMP_NUM_THREADS", " 12 , 4"},
     0,
     12,
     12,
     0,
     22,
     2,
     "OMP_NUM_THREADS= 12 , 4: 12"},
    {"more threads than cores",
     SERVER,
     "0-3",
     {"OMP_NUM_THREADS", "7"},
     0,
     7,
     2,
     0,
     2,
     1,
     "OMP_NUM_THREADS=7: 7; 7 threads on 2 cores"},
    {"not a number",
     SERVER,
     "0-3",
     {"OMP_NUM_THREADS", "many"},
     0,
     2,
     2,
     0,
     2,
     1,
     "OMP_NUM_THREADS=many is not a number and ignored"},
    {"half a number", SERVER, "0-3", {"OMP_NUM_THREADS", "1x"}, 0, 2, 2, 0, 2, 1, "ignored"},
    {"zero", SERVER, "0-3", {"OMP_NUM_THREADS", "0"}, 0, 2, 2, 0, 2, 1, "ignored"},
    {"a huge number",
     SERVER,
     "0-3",
     {"OMP_NUM_THREADS", "99999999999999999999"},
     0,
     2,
     2,
     0,
     2,
     1,
     "ignored"},
    {"empty counts as unset", SERVER, "0-3", {"OMP_NUM_THREADS", ""}, 0, 2, 2, 0, 2, 1, "on 2 c"},
    {"the caller beats OMP_NUM_THREADS",
     SERVER,
     NULL,
     {"OMP_NUM_THREADS", "8"},
     3,
     3,
     3,
     0,
     4,
     1,
     "asked for: 3"},
    {"OMP_THREAD_LIMIT beats all",
     SERVER,
     NULL,
     {"OMP_THREAD_LIMIT", "2"},
     3,
     2,
     2,
     0,
     2,
     1,
     "OMP_THREAD_LIMIT=2: 2"},
    {"no caches, one node", "core:4 pu:1", NULL, {0}, 0, 4, 4, 0, 3, 1, "one per core: 4"},
};

static void test_choices(void **state)
{
    for (size_t i = 0; i < sizeof(choices) / sizeof(*choices); i++) {
        const choice *c = &choices[i];
        wf_topology *t = make((wf_topology_config){.threads = c->asked,
                                                   .synthetic = c->machine,
                                                   .cpus = c->cpus,
                                                   .env_user = (void *)c->vars});
        int n = wf_topology_cores(t);
        bool ok = wf_topology_threads(t) == c->threads && n == c->cores &&
                  wf_topology_core(t, 0).cpu == c->first_cpu &&
                  wf_topology_core(t, n - 1).cpu == c->last_cpu &&
                  wf_topology_machine(t)->used_nodes == c->used_nodes &&
                  strstr(wf_topology_why(t), c->why);
        if (!ok)
            fail_msg("%s: %d threads on %d cores, cpus %d to %d, %d nodes: %s", c->name,
                     wf_topology_threads(t), n, wf_topology_core(t, 0).cpu,
                     wf_topology_core(t, n - 1).cpu, wf_topology_machine(t)->used_nodes,
                     wf_topology_why(t));
        assert_false(wf_topology_binds(t, NULL)); /* never on a made-up machine */
        wf_topology_unref(t);
    }
}

/* Every core once, in blocks by node, with the right package and cache. */
static void test_cores_are_compact(void **state)
{
    wf_topology *t = make((wf_topology_config){.synthetic = SERVER_LINUX});
    for (int i = 0; i < 32; i++) {
        wf_core c = wf_topology_core(t, i);
        assert_int_equal(c.cpu, i);
        assert_int_equal(c.core, i);
        assert_int_equal(c.node, i / 8);
        assert_int_equal(c.l3, i / 8);
        assert_int_equal(c.package, i / 16);
    }
    assert_int_equal(wf_topology_core(t, 33).cpu, 1); /* worker 33 shares core 1 */
    wf_topology_unref(t);
}

static void test_machine_is_described(void **state)
{
    wf_topology *t = make((wf_topology_config){
        .synthetic = "pack:2 [numa(memory=1073741824)] l3:2(size=33554432) l2:8(size=1048576) "
                     "l1d:1(size=32768) core:1 pu:2",
        .cpus = "0-15"});
    const wf_machine *m = wf_topology_machine(t);
    assert_int_equal(m->packages, 2);
    assert_int_equal(m->nodes, 2);
    assert_int_equal(m->cores, 32);
    assert_int_equal(m->hardware_threads, 64);
    assert_int_equal(m->allowed_hardware_threads, 16);
    assert_int_equal(m->allowed_cores, 8);
    assert_int_equal(m->used_nodes, 1);
    assert_int_equal(m->l1d, 32768);
    assert_int_equal(m->l1d_sharers, 1);
    assert_int_equal(m->l2, 1048576);
    assert_int_equal(m->l2_sharers, 1);
    assert_int_equal(m->l3, 33554432);
    assert_int_equal(m->l3_sharers, 8);
    assert_true(wf_topology_node_memory(t, 0) == 1073741824);
    assert_true(wf_topology_node_memory(t, 2) == 0);
    assert_true(wf_topology_node_memory(t, -1) == 0);
    wf_topology_unref(t);
}

/* ---- quotas --------------------------------------------------------------------------------- */

#define V2_MOUNT "30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT                                                                                   \
    "31 1 0:27 / /sys/fs/cgroup tmpfs - tmpfs tmpfs rw\n"                                          \
    "33 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                            \
    "32 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"

typedef struct quota_case {
    const char *name, *cgroup, *mounts;
    const char *files[8]; /* path, text, ... */
    double cpus;
    int threads;
    const char *why;
} quota_case;

#define CG "/sys/fs/cgroup"

static const quota_case quotas[] = {
    {"version 2",
     "0::/job\n",
     V2_MOUNT,
     {CG "/job/cpu.max", "800000 100000\n"},
     8,
     8,
     "quota of 8.0 CPUs (control group /job): 8"},
    {"version 2 without a limit",
     "0::/job\n",
     V2_MOUNT,
     {CG "/job/cpu.max", "max 100000\n"},
     0,
     32,
     "one per core: 32; 32 threads"},
    {"rounded up",
     "0::/job\n",
     V2_MOUNT,
     {CG "/job/cpu.max", "250000 100000\n"},
     2.5,
     3,
     "quota of 2.5 CPUs (control group /job): 3"},
    {"less than one", "0::/job\n", V2_MOUNT, {CG "/job/cpu.max", "50000 100000\n"}, .5, 1, ": 1"},
    {"next to nothing",
     "0::/job\n",
     V2_MOUNT,
     {CG "/job/cpu.max", "1000 1000000\n"},
     .001,
     1,
     ": 1"},
    {"more than the mask",
     "0::/job\n",
     V2_MOUNT,
     {CG "/job/cpu.max", "9900000 100000\n"},
     99,
     32,
     "quota of 99.0 CPUs (control group /job): 32"},
    {"a group above is tighter",
     "0::/slurm/job_7/step\n",
     V2_MOUNT,
     {CG "/slurm/job_7/step/cpu.max", "1600000 100000\n", CG "/slurm/job_7/cpu.max", "max 100000\n",
      CG "/slurm/cpu.max", "400000 100000\n"},
     4,
     4,
     "(control group /slurm): 4"},
    {"the root of a container",
     "0::/\n",
     V2_MOUNT,
     {CG "/cpu.max", "200000 100000\n"},
     2,
     2,
     "(control group /): 2"},
    {"a container that sees its path outside",
     "0::/docker/ab\n",
     "30 1 0:26 /docker/ab /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
     {CG "/cpu.max", "200000 100000\n"},
     2,
     2,
     "(control group /): 2"},
    {"a group below a bind mount",
     "0::/docker/ab/in\n",
     "30 1 0:26 /docker/ab /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
     {CG "/in/cpu.max", "200000 100000\n"},
     2,
     2,
     "(control group /in): 2"},
    {"a path outside of the namespace",
     "0::/../other\n",
     V2_MOUNT,
     {CG "/cpu.max", "200000 100000\n", CG "/other/cpu.max", "100000 100000\n"},
     2,
     2,
     "(control group /): 2"},
    {"a mount point with a space",
     "0::/job\n",
     "30 1 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n",
     {"/my groups/job/cpu.max", "200000 100000\n"},
     2,
     2,
     "(control group /job): 2"},
    {"version 1",
     "5:cpuset:/\n4:cpuacct,cpu:/k8s/pod\n0::/\n",
     V1_MOUNT,
     {CG "/cpu,cpuacct/k8s/pod/cpu.cfs_quota_us", "600000\n",
      CG "/cpu,cpuacct/k8s/pod/cpu.cfs_period_us", "100000\n"},
     6,
     6,
     "(control group /k8s/pod): 6"},
    {"version 1 without a limit",
     "4:cpu,cpuacct:/k8s\n",
     V1_MOUNT,
     {CG "/cpu,cpuacct/k8s/cpu.cfs_quota_us", "-1\n", CG "/cpu,cpuacct/k8s/cpu.cfs_period_us",
      "100000\n"},
     0,
     32,
     "one per core: 32; 32 threads"},
    {"version 1, above",
     "4:cpu,cpuacct:/k8s/pod\n",
     V1_MOUNT,
     {CG "/cpu,cpuacct/k8s/cpu.cfs_quota_us", "300000\n", CG "/cpu,cpuacct/k8s/cpu.cfs_period_us",
      "100000\n"},
     3,
     3,
     "(control group /k8s): 3"},
    {"only cpuset",
     "5:cpuset:/job\n",
     V1_MOUNT,
     {CG "/cpuset/job/cpu.cfs_quota_us", "300000\n", CG "/cpuset/job/cpu.cfs_period_us",
      "100000\n"},
     0,
     32,
     "32 threads"},
    {"malformed files",
     "0:\nx\n0::/job\n",
     "30 1\n\n - \n" V2_MOUNT,
     {CG "/job/cpu.max", "lots\n", CG "/cpu.max", "0 0\n"},
     0,
     32,
     "32 threads"},
    {"no files", "", "", {0}, 0, 32, "32 threads"},
};

static void test_quotas(void **state)
{
    for (size_t i = 0; i < sizeof(quotas) / sizeof(*quotas); i++) {
        const quota_case *q = &quotas[i];
        fake_root root;
        fake_root_init(&root);
        fake_root_write(&root, "/proc/self/cgroup", q->cgroup);
        fake_root_write(&root, "/proc/self/mountinfo", q->mounts);
        for (int f = 0; f < 8 && q->files[f]; f += 2)
            fake_root_write(&root, q->files[f], q->files[f + 1]);
        wf_topology *t = make((wf_topology_config){.synthetic = SERVER, .root = root.path});
        if (wf_topology_threads(t) != q->threads || wf_topology_machine(t)->quota != q->cpus ||
            !strstr(wf_topology_why(t), q->why))
            fail_msg("%s: %d threads, quota %g: %s", q->name, wf_topology_threads(t),
                     wf_topology_machine(t)->quota, wf_topology_why(t));
        wf_topology_unref(t);
        fake_root_done(&root);
    }
}

static void test_a_request_beats_the_quota(void **state)
{
    fake_root root;
    fake_root_init(&root);
    fake_root_write(&root, "/proc/self/cgroup", "0::/job\n");
    fake_root_write(&root, "/proc/self/mountinfo", V2_MOUNT);
    fake_root_write(&root, CG "/job/cpu.max", "200000 100000\n");
    const char *vars[] = {"OMP_NUM_THREADS", "5", NULL};
    wf_topology *t = make(
        (wf_topology_config){.synthetic = SERVER, .root = root.path, .env_user = (void *)vars});
    assert_int_equal(wf_topology_threads(t), 5);
    assert_non_null(strstr(wf_topology_why(t), "quota of 2.0 CPUs (control group /job): 2; "
                                               "OMP_NUM_THREADS=5: 5; 5 threads on 5 cores"));
    wf_topology_unref(t);
    fake_root_done(&root);
}

/* ---- errors --------------------------------------------------------------------------------- */

static void test_bad_requests_are_errors(void **state)
{
    static const struct {
        wf_topology_config config;
        const char *text;
    } cases[] = {
        {{.threads = -1}, "-1 threads, must be at least 0"},
        {{.synthetic = "no such machine"}, "not a machine to hwloc: no such machine"},
        {{.synthetic = SERVER, .cpus = "abc"}, "not a list of cpus: abc"},
        {{.synthetic = SERVER, .cpus = "64-70"}, "names no cpu of this machine"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        wf_topology *const untouched = (wf_topology *)&cases, *t = untouched;
        weft_error err = WEFT_ERROR_INIT;
        assert_int_equal(wf_topology_create(&t, &cases[i].config, &err), WEFT_ERR_INVALID);
        assert_ptr_equal(t, untouched);
        if (!strstr(err.text, cases[i].text))
            fail_msg("%s", err.text);
    }
    wf_topology_unref(NULL);
}

static void test_every_failed_allocation_is_an_error(void **state)
{
    const wf_topology_config configs[] = {{.synthetic = SERVER}, {0}};
    for (size_t i = 0; i < sizeof(configs) / sizeof(*configs); i++) {
        long n = 1;
        for (;; n++) {
            wf_topology *t = NULL;
            weft_error err = WEFT_ERROR_INIT;
            wf_alloc_fail_at(n);
            weft_status status = wf_topology_create(&t, &configs[i], &err);
            if (wf_alloc_fail_at(0) > 0) {
                assert_int_equal(status, WEFT_OK);
                wf_topology_unref(t);
                break;
            }
            assert_int_equal(status, WEFT_ERR_NOMEM);
            assert_null(t);
            assert_non_null(strstr(err.text, "bytes for"));
        }
        assert_true(n > 2); /* something was made to fail */
    }
}

/* ---- binding, on the real machine ----------------------------------------------------------- */

/* The real environment must not have bound this thread or made the machine up. */
static void need_a_plain_environment(void)
{
    if (getenv("HWLOC_SYNTHETIC") || getenv("OMP_PROC_BIND") || getenv("OMP_PLACES") ||
        getenv("GOMP_CPU_AFFINITY") || getenv("KMP_AFFINITY"))
        skip();
}

static void test_who_binds(void **state)
{
    need_a_plain_environment();
    static const char *const users[] = {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY",
                                        "KMP_AFFINITY"};
    const char *why;
    wf_topology *t = make((wf_topology_config){0});
    int cores = wf_topology_machine(t)->allowed_cores;
    wf_topology_unref(t);
    for (size_t i = 0; i < 4; i++) { /* OpenMP's settings are the user's */
        const char *vars[] = {users[i], "true", NULL};
        t = make((wf_topology_config){.threads = cores, .env_user = (void *)vars});
        assert_false(wf_topology_binds(t, &why));
        assert_non_null(strstr(why, users[i]));
        wf_topology_unref(t);
    }
    for (int threads = cores > 1 ? cores - 1 : 1; threads <= cores + 1; threads++) {
        t = make((wf_topology_config){.threads = threads});
        assert_int_equal(wf_topology_binds(t, &why), threads == cores);
        assert_true(threads == cores || strstr(why, threads < cores ? "fewer" : "more"));
        wf_topology_unref(t);
    }
}

static void *bind_and_unbind(void *user)
{
    const wf_topology *t = user;
    cpu_set_t before, during, after;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    for (int worker = 0; worker < wf_topology_cores(t); worker++) {
        wf_saved_binding saved;
        wf_topology_bind(t, worker, &saved);
        assert_true(saved.bound);
        assert_int_equal(sched_getaffinity(0, sizeof(during), &during), 0);
        assert_true(CPU_ISSET((size_t)wf_topology_core(t, worker).cpu, &during));
        if (wf_topology_cores(t) > 1)
            assert_true(CPU_COUNT(&during) < CPU_COUNT(&before));
        wf_topology_unbind(&saved);
        assert_false(saved.bound);
        assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
        assert_true(CPU_EQUAL(&before, &after));
    }
    return NULL;
}

static void test_binding_is_undone(void **state)
{
    need_a_plain_environment();
    wf_topology *t = make((wf_topology_config){0});
    wf_topology *all = make((wf_topology_config){.threads = wf_topology_machine(t)->allowed_cores});
    wf_topology_unref(t);
    assert_true(wf_topology_binds(all, NULL));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, bind_and_unbind, all), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    bind_and_unbind(all);
    wf_topology_unref(all);
}

static void test_not_binding_changes_nothing(void **state)
{
    wf_topology *t = make((wf_topology_config){.synthetic = "core:1 pu:1"});
    cpu_set_t before, after;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    wf_saved_binding saved;
    wf_topology_bind(t, 0, &saved);
    assert_false(saved.bound);
    assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    wf_topology_unbind(&saved);
    wf_topology_unref(t);
}

/* The real affinity mask is honoured: with one cpu there is one core. */
static void test_the_process_mask_counts(void **state)
{
    need_a_plain_environment();
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    wf_topology *t = NULL;
    const wf_topology_config c = {.env = lookup, .env_user = (void *)no_vars};
    weft_status status = wf_topology_create(&t, &c, NULL);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(status, WEFT_OK);
    assert_int_equal(wf_topology_threads(t), 1);
    assert_int_equal(wf_topology_core(t, 0).cpu, cpu);
    wf_topology_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_cores_are_compact),
        cmocka_unit_test(test_machine_is_described),
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_a_request_beats_the_quota),
        cmocka_unit_test(test_bad_requests_are_errors),
        cmocka_unit_test(test_every_failed_allocation_is_an_error),
        cmocka_unit_test(test_who_binds),
        cmocka_unit_test(test_binding_is_undone),
        cmocka_unit_test(test_not_binding_changes_nothing),
        cmocka_unit_test(test_the_process_mask_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
