/* The machine: which cores Weft may use, which it chooses and why, where they are, and how many
 * threads it starts.
 *
 * A topology is read once, when it is created; only then the environment is read. It is constant
 * afterwards, so any thread may use it. */
#ifndef WF_MACHINE_TOPOLOGY_H
#define WF_MACHINE_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

typedef struct wf_topology wf_topology;

/* One physical core. All indices except `cpu` are Weft's own and count from 0 within the
 * machine. */
typedef struct wf_core {
    int cpu;     /* the operating system's number of its first hardware thread that we may use */
    int core;    /* index among all cores of the machine */
    int node;    /* NUMA node */
    int package; /* socket */
    int l3;      /* index of its last-level cache; -1: none */
} wf_core;

/* Everything may be zero. All but `threads` is for tests. */
typedef struct wf_topology_config {
    int threads;           /* what the user asked for; 0: nothing */
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

/* How many threads Weft starts: config.threads if set; else OMP_NUM_THREADS (the first number of a
 * list); else one for each physical core in the affinity mask, limited by the control group's quota
 * (rounded up). The user's number counts even if it is larger than the number of cores. */
int wf_topology_threads(const wf_topology *t);

/* The chosen cores: min(threads, cores in the mask) of them, ordered by NUMA node, then by cache.
 * Worker i belongs to core i modulo their number. */
int wf_topology_cores(const wf_topology *t);
wf_core wf_topology_core(const wf_topology *t, int i);
/* Why there are that many cores and threads, one decision after the other: "16 of 32 hardware
 * threads: one per core; quota of 8.0 CPUs: 8 cores; OMP_NUM_THREADS=8: 8 threads". */
const char *wf_topology_why(const wf_topology *t);
/* The OpenMP settings found in the environment: "OMP_PROC_BIND=close OMP_PLACES=cores", or "". */
const char *wf_topology_openmp(const wf_topology *t);

/* Figures of the whole machine. used_nodes says how many NUMA nodes have chosen cores. */
typedef struct wf_machine {
    char cpu_model[96];                           /* "" when unknown */
    int packages, nodes, cores, hardware_threads; /* on the whole machine */
    int allowed_hardware_threads, allowed_cores;  /* in the affinity mask */
    int used_nodes;
    double quota;                            /* CPUs the control group allows; 0: no limit */
    size_t l1d, l2, l3;                      /* bytes of one cache; 0: none or unknown */
    int l1d_sharers, l2_sharers, l3_sharers; /* how many cores share one */
} wf_machine;
const wf_machine *wf_topology_machine(const wf_topology *t);
/* Tells kernels/ the cache sizes of a core, from which the machine class follows:
 * Note [Machine classes] in kernels/machine.h. Only the first call of the process counts. */
void wf_topology_tell(const wf_topology *t);
uint64_t wf_topology_node_memory(const wf_topology *t, int node); /* bytes; 0: unknown */

/* Whether Weft binds its workers to cores. It does so only where the user leaves this to Weft (no
 * OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY, KMP_AFFINITY), the affinity mask is known, and Weft
 * uses all of its cores. If Weft used a part of them, the next process would choose the same part.
 * *why (may be NULL) says the reason. */
bool wf_topology_binds(const wf_topology *t, const char **why);

/* If wf_topology_binds, binds the calling thread to the worker's core and notes in *saved what
 * wf_topology_unbind restores. A failure costs only speed and is not reported. */
typedef struct wf_saved_binding {
    bool bound;             /* false: nothing to restore */
    unsigned long mask[16]; /* a cpu_set_t */
} wf_saved_binding;
void wf_topology_bind(const wf_topology *t, int worker, wf_saved_binding *saved);
void wf_topology_unbind(wf_saved_binding *saved);

/* version of hwloc's headers, such as "2.9.0"; the library does not tell its own */
const char *wf_hwloc_version(void);

/* Memory placement, for memory.c. 0 on success. */
int wf_topology_bind_memory(const wf_topology *t, void *p, size_t bytes, int node);
int wf_topology_interleave_memory(const wf_topology *t, void *p, size_t bytes);

#endif
