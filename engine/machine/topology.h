/* The machine: which cores we may use, which we choose and why, where they are, how many threads.
 *
 * A topology is read once, at creation (the only time the environment is read), and constant
 * afterwards: any thread may use it. */
#ifndef WF_MACHINE_TOPOLOGY_H
#define WF_MACHINE_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

typedef struct wf_topology wf_topology;

/* One physical core. Indices count from 0 within the machine and are ours, but for cpu. */
typedef struct wf_core {
    int cpu;     /* the operating system's number of its first hardware thread we may use */
    int core;    /* over all cores of the machine, ours or not */
    int node;    /* NUMA node */
    int package; /* socket */
    int l3;      /* shared last-level cache; -1: none */
} wf_core;

/* Everything may be zero. The rest is for tests. */
typedef struct wf_topology_config {
    int threads;           /* asked for by the user; 0: not */
    const char *synthetic; /* hwloc's description of a made-up machine; NULL: this one */
    const char *cpus;      /* the affinity mask as a list ("0-3,8"); NULL: the process's, or all of
                              a synthetic machine */
    const char *root;      /* put before /proc and the control groups' paths */
    const char *(*env)(void *user, const char *name); /* NULL: getenv */
    void *env_user;
} wf_topology_config;

/* config may be NULL. */
weft_status wf_topology_create(wf_topology **topology, const wf_topology_config *config,
                               weft_error *err);
wf_topology *wf_topology_ref(wf_topology *topology); /* returns its argument */
void wf_topology_unref(wf_topology *topology);       /* NULL: no effect */

/* Threads to ask OpenMP for: config.threads, else OMP_NUM_THREADS (the first of a list), else one
 * per physical core in the affinity mask, within the control group's quota (rounded up). What the
 * user asks for is honoured even beyond the cores there are. */
int wf_topology_threads(const wf_topology *t);

/* The cores chosen: min(threads, cores in the mask), compact by NUMA node, then by cache. Worker i
 * belongs to core i modulo their number. */
int wf_topology_cores(const wf_topology *t);
wf_core wf_topology_core(const wf_topology *t, int i);
/* How the numbers came about, one decision after the other: "16 of 32 hardware threads: one per
 * core; quota of 8.0 CPUs: 8 cores; OMP_NUM_THREADS=8: 8 threads". */
const char *wf_topology_why(const wf_topology *t);
/* The OpenMP settings found in the environment: "OMP_PROC_BIND=close OMP_PLACES=cores", or "". */
const char *wf_topology_openmp(const wf_topology *t);

/* NUMA nodes that have chosen cores are counted by used_nodes; machine-wide figures follow. */
typedef struct wf_machine {
    char cpu_model[96];                           /* "" when unknown */
    int packages, nodes, cores, hardware_threads; /* of the whole machine */
    int allowed_hardware_threads, allowed_cores;  /* in the affinity mask */
    int used_nodes;
    double quota;                            /* CPUs the control group allows; 0: no limit */
    size_t l1d, l2, l3;                      /* bytes of one cache; 0: none or unknown */
    int l1d_sharers, l2_sharers, l3_sharers; /* cores under one */
} wf_machine;
const wf_machine *wf_topology_machine(const wf_topology *t);
/* Tells kernels/ the caches of a core, which decide about the class of machine in use: Note [Machine
 * classes] in kernels/machine.h. The first call of the process counts. */
void wf_topology_tell(const wf_topology *t);
uint64_t wf_topology_node_memory(const wf_topology *t, int node); /* bytes; 0: unknown */

/* Whether workers should be bound: only when the user leaves that to us (no OMP_PROC_BIND,
 * OMP_PLACES, GOMP_CPU_AFFINITY, KMP_AFFINITY) and all cores of a known affinity mask are ours. A
 * part of it would be the same part that the next process chooses. *why (may be NULL) says so. */
bool wf_topology_binds(const wf_topology *t, const char **why);

/* Binds the calling thread to worker's core, when wf_topology_binds, and puts into *saved what
 * wf_topology_unbind restores. Failure to bind costs speed only and is not reported. */
typedef struct wf_saved_binding {
    bool bound;             /* false: nothing to restore */
    unsigned long mask[16]; /* a cpu_set_t */
} wf_saved_binding;
void wf_topology_bind(const wf_topology *t, int worker, wf_saved_binding *saved);
void wf_topology_unbind(wf_saved_binding *saved);

const char *wf_hwloc_version(void); /* "2.9.0": of the headers; the library says no more */

/* Memory placement, under memory.h. 0 when done. */
int wf_topology_bind_memory(const wf_topology *t, void *p, size_t bytes, int node);
int wf_topology_interleave_memory(const wf_topology *t, void *p, size_t bytes);

#endif
