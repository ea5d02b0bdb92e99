/* Binding threads to cores and memory to nodes.
 *
 * Threading: any thread; binding concerns the calling one. */
#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "engine/machine/topology_impl.h"

static_assert(sizeof(cpu_set_t) <= sizeof(((wf_saved_binding *)0)->mask), "a mask fits");

bool wf_topology_binds(const wf_topology *t, const char **why)
{
    if (why)
        *why = t->binds_why;
    return t->binds;
}

void wf_topology_bind(const wf_topology *t, int worker, wf_saved_binding *saved)
{
    cpu_set_t mask;
    saved->bound = false;
    if (!t->binds || worker < 0 || pthread_getaffinity_np(pthread_self(), sizeof(mask), &mask))
        return;
    const cpu_set_t *core = &t->masks[worker % t->n_cores];
    /* Set even if the mask was right already, so that unbind always restores it. */
    if (pthread_setaffinity_np(pthread_self(), sizeof(*core), core) != 0)
        return;
    memcpy(saved->mask, &mask, sizeof(mask));
    saved->bound = true;
}

void wf_topology_unbind(wf_saved_binding *saved)
{
    cpu_set_t mask;
    if (!saved->bound)
        return;
    memcpy(&mask, saved->mask, sizeof(mask));
    pthread_setaffinity_np(pthread_self(), sizeof(mask), &mask);
    saved->bound = false;
}

/* Without HWLOC_MEMBIND_STRICT: when the node is full, pages go to other nodes instead of
 * failing. */
static int place(const wf_topology *t, void *p, size_t bytes, hwloc_const_nodeset_t nodes,
                 hwloc_membind_policy_t policy)
{
    return hwloc_set_area_membind(t->hwloc, p, bytes, nodes, policy, HWLOC_MEMBIND_BYNODESET);
}

int wf_topology_bind_memory(const wf_topology *t, void *p, size_t bytes, int node)
{
    hwloc_obj_t obj =
        node < 0 ? NULL : hwloc_get_obj_by_type(t->hwloc, HWLOC_OBJ_NUMANODE, (unsigned)node);
    return obj ? place(t, p, bytes, obj->nodeset, HWLOC_MEMBIND_BIND) : -1;
}

int wf_topology_interleave_memory(const wf_topology *t, void *p, size_t bytes)
{
    hwloc_nodeset_t nodes = hwloc_bitmap_alloc();
    if (!nodes)
        return -1;
    for (int i = 0; i < t->n_cores; i++) {
        hwloc_obj_t obj =
            hwloc_get_obj_by_type(t->hwloc, HWLOC_OBJ_NUMANODE, (unsigned)t->cores[i].node);
        if (obj)
            hwloc_bitmap_or(nodes, nodes, obj->nodeset);
    }
    int rc = place(t, p, bytes, nodes, HWLOC_MEMBIND_INTERLEAVE);
    hwloc_bitmap_free(nodes);
    return rc;
}

uint64_t wf_topology_node_memory(const wf_topology *t, int node)
{
    hwloc_obj_t obj =
        node < 0 ? NULL : hwloc_get_obj_by_type(t->hwloc, HWLOC_OBJ_NUMANODE, (unsigned)node);
    return obj ? obj->attr->numanode.local_memory : 0;
}
