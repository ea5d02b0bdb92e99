/* Control groups (Linux, versions 1 and 2): what this process's group, and those above it, allow.
 *
 * A process may be held by any group above its own, so every limit is the tightest of all of them.
 * Where there is nothing to read there is no limit. `root` is put before /proc and the groups'
 * paths (NULL: nothing). */
#ifndef WF_MACHINE_CGROUP_H
#define WF_MACHINE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#define WF_CGROUP_NAME                                                                             \
    256 /* bytes of a group's name in texts; longer ones are cut at the front   \
                            */

typedef struct wf_cgroup_cpu {
    double cpus; /* CPU time per time; 0: no limit */
    char group[WF_CGROUP_NAME];
} wf_cgroup_cpu;
wf_cgroup_cpu wf_cgroup_read_cpu(const char *root);

/* The group with the least room; one whose limit is the smallest but whose neighbours use nothing
 * may be another, so `limit` and `room` are minima of their own. */
typedef struct wf_cgroup_memory {
    bool limited;
    uint64_t limit; /* bytes */
    uint64_t room;  /* limit less use; file pages that the kernel can drop count as room */
    char group[WF_CGROUP_NAME]; /* of `room` */
} wf_cgroup_memory;
wf_cgroup_memory wf_cgroup_read_memory(const char *root);

#endif
