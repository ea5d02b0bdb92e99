/* The insides of a topology, for the files of this folder. */
#ifndef WF_TOPOLOGY_IMPL_H
#define WF_TOPOLOGY_IMPL_H

#include <hwloc.h>
#include <sched.h>
#include <stdatomic.h>

#include "engine/topology/topology.h"

struct wf_topology {
    atomic_int refs;
    hwloc_topology_t hwloc;
    wf_machine machine;
    int threads;
    int n_cores; /* chosen */
    wf_core *cores;
    cpu_set_t *masks; /* of each chosen core: its hardware threads that we may use */
    bool binds;
    char why[768];
    char openmp[512];
    char binds_why[128];
};

#endif
