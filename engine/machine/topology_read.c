/* Reads the machine: hwloc's topology, the hardware threads that we may use, and the cores to which
 * these belong.
 *
 * Threading: runs while a topology is created, on one thread. */
#include <errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/alloc.h"
#include "engine/machine/topology_impl.h"

/* ---- the machine ---------------------------------------------------------------------------- */

static weft_status load(wf_topology_builder *b, weft_error *err)
{
    hwloc_topology_t *h = &b->t->hwloc;
    const char *synthetic = b->config->synthetic;
    if (hwloc_topology_init(h) != 0) {
        *h = NULL;
        return wf_error_set(err, WEFT_ERR_NOMEM, "topology: hwloc cannot start");
    }
    if (synthetic && hwloc_topology_set_synthetic(*h, synthetic) != 0)
        return wf_error_set(err, WEFT_ERR_INVALID, "topology: not a machine to hwloc: %s",
                            synthetic);
    /* Load the whole machine; the mask says which part of it we may use. */
    if (hwloc_topology_set_flags(*h, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0 ||
        hwloc_topology_load(*h) != 0)
        return wf_error_set(err, WEFT_ERR_INTERNAL, "topology: hwloc cannot read this machine: %s",
                            strerror(errno));
    return WEFT_OK;
}

/* Adds the union of OpenMP's places. When the user sets places or binding, OpenMP has already bound
 * the initial thread, so that this thread's own mask does not have the cores of the others. Without
 * such settings LLVM's runtime has one place: all CPUs that the process had when it began. */
static weft_status add_openmp_places(hwloc_bitmap_t mask, weft_error *err)
{
    if (omp_get_proc_bind() == omp_proc_bind_false)
        return WEFT_OK;
    for (int place = 0; place < omp_get_num_places(); place++) {
        int n = omp_get_place_num_procs(place);
        if (n <= 0)
            continue;
        int *ids = wf_alloc_array((size_t)n, sizeof(*ids));
        if (!ids)
            return wf_nomem(err, (size_t)n * sizeof(*ids), "OpenMP's places");
        omp_get_place_proc_ids(place, ids);
        for (int i = 0; i < n; i++)
            hwloc_bitmap_set(mask, (unsigned)ids[i]);
        wf_free(ids);
    }
    return WEFT_OK;
}

static weft_status read_mask(wf_topology_builder *b, weft_error *err)
{
    hwloc_topology_t h = b->t->hwloc;
    const char *list = b->config->cpus;
    bool ours = hwloc_topology_is_thissystem(h) == 1;
    b->mask = hwloc_bitmap_alloc();
    if (!b->mask)
        return wf_error_set(err, WEFT_ERR_NOMEM, "topology: out of memory for a cpu mask");
    if (list) {
        if (hwloc_bitmap_list_sscanf(b->mask, list) != 0)
            return wf_error_set(err, WEFT_ERR_INVALID, "topology: not a list of cpus: %s", list);
    } else if (ours) {
        if (hwloc_get_cpubind(h, b->mask, HWLOC_CPUBIND_THREAD) == 0)
            b->mask_known = true;
        WF_TRY(add_openmp_places(b->mask, err));
    }
    if (!list && hwloc_bitmap_iszero(b->mask))
        hwloc_bitmap_copy(b->mask, hwloc_topology_get_allowed_cpuset(h));
    hwloc_bitmap_and(b->mask, b->mask, hwloc_topology_get_complete_cpuset(h));
    if (hwloc_bitmap_iszero(b->mask))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "topology: the affinity mask names no cpu of this machine");
    return WEFT_OK;
}

static int index_above(hwloc_topology_t h, hwloc_obj_t obj, hwloc_obj_type_t type, int none)
{
    hwloc_obj_t up = hwloc_get_ancestor_obj_by_type(h, type, obj);
    return up ? (int)up->logical_index : none;
}

/* The first NUMA node near the core. Where there are several (HBM), DRAM comes first. */
static int node_of(hwloc_topology_t h, hwloc_obj_t core)
{
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(h, HWLOC_OBJ_NUMANODE, node)))
        if (hwloc_bitmap_isincluded(core->cpuset, node->cpuset))
            return (int)node->logical_index;
    return 0;
}

static size_t cache_above(hwloc_topology_t h, hwloc_obj_t core, hwloc_obj_type_t type, int *sharers)
{
    /* A first-level cache may be at the core itself or below it in hwloc's tree. */
    hwloc_obj_t cache = hwloc_get_ancestor_obj_by_type(h, type, core);
    if (!cache)
        cache = hwloc_get_next_obj_inside_cpuset_by_type(h, core->cpuset, type, NULL);
    if (!cache)
        return 0;
    int cores = hwloc_get_nbobjs_inside_cpuset_by_type(h, cache->cpuset, core->type);
    *sharers = cores > 0 ? cores : 1;
    return cache->attr->cache.size;
}

static void copy_model(char *to, size_t size, const char *from)
{
    size_t n = 0;
    from = from ? from + strspn(from, " ") : "";
    for (; *from && n + 1 < size; from++)
        if (*from != ' ' || (from[1] != ' ' && from[1] != '\0'))
            to[n++] = *from;
    to[n] = '\0';
}

static int count(hwloc_topology_t h, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(h, type);
    return n > 0 ? n : 1;
}

static void describe(wf_topology_builder *b, hwloc_obj_t first_core)
{
    hwloc_topology_t h = b->t->hwloc;
    wf_machine *m = &b->t->machine;
    hwloc_obj_t package = hwloc_get_obj_by_type(h, HWLOC_OBJ_PACKAGE, 0);
    const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
    if (!model)
        model = hwloc_obj_get_info_by_name(hwloc_get_root_obj(h), "CPUModel");
    copy_model(m->cpu_model, sizeof(m->cpu_model), model);
    m->packages = count(h, HWLOC_OBJ_PACKAGE);
    m->nodes = count(h, HWLOC_OBJ_NUMANODE);
    m->cores = count(h, first_core->type);
    m->hardware_threads = count(h, HWLOC_OBJ_PU);
    m->allowed_hardware_threads = hwloc_bitmap_weight(b->mask);
    m->l1d = cache_above(h, first_core, HWLOC_OBJ_L1CACHE, &m->l1d_sharers);
    m->l2 = cache_above(h, first_core, HWLOC_OBJ_L2CACHE, &m->l2_sharers);
    m->l3 = cache_above(h, first_core, HWLOC_OBJ_L3CACHE, &m->l3_sharers);
}

/* ---- cores ---------------------------------------------------------------------------------- */

static int compare_cores(const void *pa, const void *pb)
{
    const wf_core *a = pa, *b = pb;
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    if (a->l3 != b->l3)
        return a->l3 < b->l3 ? -1 : 1;
    return (a->core > b->core) - (a->core < b->core);
}

/* Lists the cores with a hardware thread in the mask. */
static weft_status list_cores(wf_topology_builder *b, weft_error *err)
{
    wf_topology *t = b->t;
    hwloc_topology_t h = t->hwloc;
    hwloc_obj_type_t type =
        hwloc_get_nbobjs_by_type(h, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    size_t n = (size_t)count(h, type);
    t->cores = wf_alloc_array(n, sizeof(*t->cores));
    if (!t->cores)
        return wf_nomem(err, n * sizeof(*t->cores), "the list of cores");
    hwloc_obj_t core = NULL, first = NULL;
    while ((core = hwloc_get_next_obj_by_type(h, type, core))) {
        int cpu = -1;
        for (int i = hwloc_bitmap_first(core->cpuset); i >= 0 && cpu < 0;
             i = hwloc_bitmap_next(core->cpuset, i))
            if (hwloc_bitmap_isset(b->mask, (unsigned)i))
                cpu = i;
        if (cpu < 0)
            continue;
        first = first ? first : core;
        t->cores[t->n_cores++] = (wf_core){
            .cpu = cpu,
            .core = (int)core->logical_index,
            .node = node_of(h, core),
            .package = index_above(h, core, HWLOC_OBJ_PACKAGE, 0),
            .l3 = index_above(h, core, HWLOC_OBJ_L3CACHE, -1),
        };
    }
    if (t->n_cores == 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "topology: the affinity mask names no core of this machine");
    qsort(t->cores, (size_t)t->n_cores, sizeof(*t->cores), compare_cores);
    describe(b, first);
    t->machine.allowed_cores = t->n_cores;
    return WEFT_OK;
}

weft_status wf_topology_read_machine(wf_topology_builder *b, weft_error *err)
{
    WF_TRY(load(b, err));
    WF_TRY(read_mask(b, err));
    return list_cores(b, err);
}
