/* Control groups (Linux, versions 1 and 2): what this process's group and the groups above it
 * allow.
 *
 * Any of these groups may limit the process, so each limit here is the tightest of all. If there is
 * nothing to read, there is no limit. `root` is put before /proc and the groups' paths (NULL:
 * nothing). */
#ifndef WF_MACHINE_CGROUP_H
#define WF_MACHINE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#define WF_CGROUP_NAME                                                                             \
    256 /* bytes of a group's name in texts; longer ones are cut at the front   \
                            */

typedef struct wf_cgroup_cpu {
    double cpus; /* CPU time per elapsed time; 0: no limit */
    char group[WF_CGROUP_NAME];
} wf_cgroup_cpu;
wf_cgroup_cpu wf_cgroup_read_cpu(const char *root);

/* `limit` and `room` are separate minima over the groups: the group with the smallest limit may not
 * be the one with the least room, because other processes use memory too. */
typedef struct wf_cgroup_memory {
    bool limited;
    uint64_t limit; /* bytes */
    uint64_t room;  /* limit minus use; file pages that the kernel can drop count as unused */
    char group[WF_CGROUP_NAME]; /* the group with the least room */
} wf_cgroup_memory;
wf_cgroup_memory wf_cgroup_read_memory(const char *root);

#endif
