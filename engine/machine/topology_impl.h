/* What is inside a topology, for the files of this folder. */
#ifndef WF_MACHINE_TOPOLOGY_IMPL_H
#define WF_MACHINE_TOPOLOGY_IMPL_H

#include <hwloc.h>
#include <sched.h>
#include <stdatomic.h>

#include "engine/machine/topology.h"

struct wf_topology {
    atomic_int refs;
    hwloc_topology_t hwloc;
    wf_machine machine;
    int threads;
    int n_cores; /* chosen */
    wf_core *cores;
    cpu_set_t *masks; /* for each chosen core: its hardware threads that we may use */
    bool binds;
    char why[768];
    char openmp[512];
    char binds_why[128];
};

/* What creation works with. */
typedef struct wf_topology_builder {
    wf_topology *t;
    const wf_topology_config *config;
    hwloc_bitmap_t mask; /* hardware threads we may use */
    bool mask_known;     /* it is this process's */
    const char *binder;  /* the variable by which OpenMP binds its threads; NULL: none */
} wf_topology_builder;

/* topology_read.c: loads the topology, reads the mask, describes the machine and lists the
 * cores. */
weft_status wf_topology_read_machine(wf_topology_builder *b, weft_error *err);

#endif
