/* Chooses cores, threads and binding, and notes why. topology_read.c reads the machine.
 *
 * Threading: a topology is created on one thread, and is constant afterwards. */
#include "engine/machine/topology.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "engine/machine/cgroup.h"
#include "engine/machine/topology_impl.h"
#include "kernels/machine.h"

static const char *env(const wf_topology_builder *b, const char *name)
{
    const wf_topology_config *c = b->config;
    const char *value = c->env ? c->env(c->env_user, name) : getenv(name);
    return value && *value ? value : NULL;
}

/* Adds a decision to the text. */
__attribute__((format(printf, 2, 3))) static void why(wf_topology *t, const char *format, ...)
{
    size_t used = strlen(t->why);
    va_list args;
    va_start(args, format);
    if (used > 0 && used + 2 < sizeof(t->why)) {
        memcpy(t->why + used, "; ", 3);
        used += 2;
    }
    wf_vsnprintf(t->why + used, sizeof(t->why) - used, format, args);
    va_end(args);
}

static void read_openmp_settings(wf_topology_builder *b)
{
    static const struct {
        const char *name;
        bool binds; /* where it is set, OpenMP binds its threads */
    } settings[] = {
        {"OMP_NUM_THREADS", false},  {"OMP_THREAD_LIMIT", false}, {"OMP_DYNAMIC", false},
        {"OMP_PROC_BIND", true},     {"OMP_PLACES", true},        {"OMP_WAIT_POLICY", false},
        {"GOMP_CPU_AFFINITY", true}, {"GOMP_SPINCOUNT", false},   {"KMP_AFFINITY", true},
        {"KMP_BLOCKTIME", false},
    };
    wf_topology *t = b->t;
    size_t used = 0;
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        const char *name = settings[i].name, *value = env(b, name);
        if (value && settings[i].binds && !b->binder)
            b->binder = name;
        if (value && used < sizeof(t->openmp))
            used += (size_t)snprintf(t->openmp + used, sizeof(t->openmp) - used, "%s%s=%.64s",
                                     used ? " " : "", name, value);
    }
}

/* ---- threads -------------------------------------------------------------------------------- */

/* The positive number at the start of a text, up to a comma; 0: there is none. */
static int first_number(const char *text)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    end += strspn(end, " \t");
    return errno == 0 && end != text && (*end == ',' || *end == '\0') && n > 0 && n <= 1 << 20
               ? (int)n
               : 0;
}

static void choose_threads(wf_topology_builder *b)
{
    wf_topology *t = b->t;
    wf_machine *m = &t->machine;
    why(t, "%d of %d hardware threads are in the affinity mask", m->allowed_hardware_threads,
        m->hardware_threads);
    why(t, "one per core: %d", m->allowed_cores);
    t->threads = m->allowed_cores;

    /* A made-up machine gets a quota only from a made-up root. */
    if (b->config->root || hwloc_topology_is_thissystem(t->hwloc) == 1) {
        wf_cgroup_cpu quota = wf_cgroup_read_cpu(b->config->root);
        m->quota = quota.cpus;
        /* Subtract a little before rounding up: 800001/100000 is a way to write 8 CPUs. */
        double cores = ceil(quota.cpus - 0.01);
        if (quota.cpus > 0 && cores < t->threads)
            t->threads = cores < 1 ? 1 : (int)cores;
        if (quota.cpus > 0)
            why(t, "quota of %.1f CPUs (control group %s): %d", quota.cpus, quota.group,
                t->threads);
    }

    const char *omp = env(b, "OMP_NUM_THREADS");
    int asked = omp ? first_number(omp) : 0;
    if (omp && !asked)
        why(t, "OMP_NUM_THREADS=%.32s is not a number and ignored", omp);
    if (b->config->threads > 0) {
        t->threads = b->config->threads;
        why(t, "asked for: %d", t->threads);
    } else if (asked) {
        t->threads = asked;
        why(t, "OMP_NUM_THREADS=%.32s: %d", omp, t->threads);
    }
    const char *limit = env(b, "OMP_THREAD_LIMIT");
    int most = limit ? first_number(limit) : 0;
    if (most && most < t->threads) {
        t->threads = most;
        why(t, "OMP_THREAD_LIMIT=%.32s: %d", limit, t->threads);
    }
    if (t->n_cores > t->threads)
        t->n_cores = t->threads;

    for (int i = 0; i < t->n_cores; i++) /* they are sorted by node */
        m->used_nodes += i == 0 || t->cores[i].node != t->cores[i - 1].node;
    why(t, "%d thread%s on %d core%s", t->threads, t->threads == 1 ? "" : "s", t->n_cores,
        t->n_cores == 1 ? "" : "s");
}

/* ---- binding -------------------------------------------------------------------------------- */

static void choose_binding(wf_topology_builder *b)
{
    wf_topology *t = b->t;
    const char *no = NULL;
    if (b->binder) {
        snprintf(t->binds_why, sizeof(t->binds_why), "threads not bound: %s is set", b->binder);
        return;
    }
    if (hwloc_topology_is_thissystem(t->hwloc) != 1)
        no = "the machine is made up";
    else if (!b->mask_known)
        no = "the affinity mask is unknown";
    else if (hwloc_bitmap_last(b->mask) >= CPU_SETSIZE)
        no = "too many cpus for a mask";
    else if (t->threads > t->machine.allowed_cores)
        no = "more threads than cores";
    else if (t->threads < t->machine.allowed_cores)
        no = "fewer threads than cores in the affinity mask, and another process may choose the "
             "same ones";
    if (no) {
        snprintf(t->binds_why, sizeof(t->binds_why), "threads not bound: %s", no);
        return;
    }
    snprintf(t->binds_why, sizeof(t->binds_why), "each thread bound to its core");
    t->binds = true;
}

/* A core's mask has all of its hardware threads that we may use. The kernel chooses among them. */
static weft_status make_masks(wf_topology_builder *b, weft_error *err)
{
    wf_topology *t = b->t;
    if (!t->binds)
        return WEFT_OK;
    hwloc_obj_type_t type =
        hwloc_get_nbobjs_by_type(t->hwloc, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    t->masks = wf_zalloc_array((size_t)t->n_cores, sizeof(*t->masks));
    if (!t->masks)
        return wf_nomem(err, (size_t)t->n_cores * sizeof(*t->masks), "the cores' masks");
    for (int i = 0; i < t->n_cores; i++) {
        hwloc_obj_t core = hwloc_get_obj_by_type(t->hwloc, type, (unsigned)t->cores[i].core);
        for (int cpu = hwloc_bitmap_first(core->cpuset); cpu >= 0;
             cpu = hwloc_bitmap_next(core->cpuset, cpu))
            if (hwloc_bitmap_isset(b->mask, (unsigned)cpu))
                CPU_SET((size_t)cpu, &t->masks[i]);
    }
    return WEFT_OK;
}

/* ---- life ----------------------------------------------------------------------------------- */

static weft_status build(wf_topology_builder *b, weft_error *err)
{
    WF_TRY(wf_topology_read_machine(b, err));
    read_openmp_settings(b);
    choose_threads(b);
    choose_binding(b);
    return make_masks(b, err);
}

weft_status wf_topology_create(wf_topology **topology, const wf_topology_config *config,
                               weft_error *err)
{
    static const wf_topology_config defaults = {0};
    wf_topology_builder b = {.config = config ? config : &defaults};
    if (b.config->threads < 0)
        return wf_error_set(err, WEFT_ERR_INVALID, "topology: %d threads, must be at least 0",
                            b.config->threads);
    b.t = wf_zalloc(sizeof(*b.t));
    if (!b.t)
        return wf_nomem(err, sizeof(*b.t), "the topology");
    atomic_init(&b.t->refs, 1);
    weft_status status = build(&b, err);
    hwloc_bitmap_free(b.mask);
    if (status == WEFT_OK)
        *topology = b.t;
    else
        wf_topology_unref(b.t);
    return status;
}

wf_topology *wf_topology_ref(wf_topology *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void wf_topology_unref(wf_topology *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (t->hwloc)
        hwloc_topology_destroy(t->hwloc);
    wf_free(t->masks);
    wf_free(t->cores);
    wf_free(t);
}

int wf_topology_threads(const wf_topology *t)
{
    return t->threads;
}

int wf_topology_cores(const wf_topology *t)
{
    return t->n_cores;
}

wf_core wf_topology_core(const wf_topology *t, int i)
{
    return t->cores[i % t->n_cores];
}

const char *wf_topology_why(const wf_topology *t)
{
    return t->why;
}

const char *wf_topology_openmp(const wf_topology *t)
{
    return t->openmp;
}

const char *wf_hwloc_version(void)
{
    return HWLOC_VERSION;
}

const wf_machine *wf_topology_machine(const wf_topology *t)
{
    return &t->machine;
}

/* A core's part of a cache that several cores share. */
static size_t part(size_t bytes, int sharers)
{
    return sharers > 1 ? bytes / (size_t)sharers : bytes;
}

void wf_topology_tell(const wf_topology *t)
{
    const wf_machine *m = &t->machine;
    wf_machine_tell(part(m->l1d, m->l1d_sharers), part(m->l2, m->l2_sharers));
}
