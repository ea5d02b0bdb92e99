/* Big blocks: alignment, huge pages, NUMA placement, and a count of what is in use.
 *
 * All functions may be called from any thread, but for create and destroy. */
#ifndef WF_MACHINE_MEMORY_H
#define WF_MACHINE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/machine/topology.h"
#include "weft/status.h"

/* Blocks of at least WF_HUGE_PAGE bytes start on a multiple of it,
 * others on one of WF_SMALL_ALIGN. */
#define WF_HUGE_PAGE ((size_t)2 << 20)
#define WF_SMALL_ALIGN ((size_t)64)

/* What the bytes are for. X(name, text) */
#define WF_MEM_KIND_LIST(X)                                                                        \
    X(STORED, "stored tensors")                                                                    \
    X(ARENA, "activation arena")                                                                   \
    X(WORKSPACE, "workspace")

/* clang-format off */
typedef enum wf_mem_kind {
#define X(name, text) WF_MEM_##name,
    WF_MEM_KIND_LIST(X)
#undef X
    WF_MEM_KIND_COUNT
} wf_mem_kind;
/* clang-format on */
const char *wf_mem_kind_name(wf_mem_kind kind);

/* Where the pages of a block of at least WF_HUGE_PAGE go when there is more than one NUMA node (a
 * smaller one shares pages with others). Placement is a wish: a kernel that refuses it (a container
 * without the right) costs speed, not correctness, and is no error. */
typedef enum wf_placement {
    WF_PLACE_TOUCH,      /* the node of the thread that touches a page first */
    WF_PLACE_NODE,       /* the node named, while it has room */
    WF_PLACE_INTERLEAVED /* page by page over the nodes that have chosen cores */
} wf_placement;

/* What stands under wf_memory. Tests put a recording layer here. `advise_huge`, `bind` and
 * `interleave` return 0 when done. Nodes are indices as in wf_core.node. */
typedef struct wf_memory_ops {
    void *user;
    /* Fresh zeroed pages, the first on a multiple of align; NULL when memory is out. */
    void *(*map)(void *user, size_t bytes, size_t align);
    void (*unmap)(void *user, void *p, size_t bytes);
    int (*advise_huge)(void *user, void *p, size_t bytes);
    int (*bind)(void *user, const wf_topology *topology, void *p, size_t bytes, int node);
    int (*interleave)(void *user, const wf_topology *topology, void *p, size_t bytes);
} wf_memory_ops;

typedef struct wf_memory wf_memory;

/* topology is referenced until destroy. ops NULL: the system's; else copied. */
weft_status wf_memory_create(wf_memory **memory, wf_topology *topology, const wf_memory_ops *ops,
                             weft_error *err);
/* Blocks still held stay valid, and may still be freed, after this. NULL: no effect. */
void wf_memory_destroy(wf_memory *memory);

/* One block. WF_BLOCK_INIT is a block that holds nothing. */
typedef struct wf_block {
    void *data;
    size_t size; /* as asked for */
    /* private */
    size_t mapped; /* bytes mapped; 0: from the C library */
    wf_mem_kind kind;
    wf_memory *owner;
} wf_block;
/* clang-format off */
#define WF_BLOCK_INIT {0}
/* clang-format on */

typedef struct wf_block_request {
    size_t size;
    wf_mem_kind kind;
    wf_placement placement;
    int node;  /* of WF_PLACE_NODE */
    bool zero; /* free of charge from WF_HUGE_PAGE on: fresh pages are zero, and stay untouched */
    const char *what; /* for the message: "the activation arena"; NULL: the kind's name */
} wf_block_request;

/* On failure WEFT_ERR_NOMEM, with the bytes asked for and in use in the text; *block untouched. */
weft_status wf_memory_alloc(wf_memory *memory, const wf_block_request *request, wf_block *block,
                            weft_error *err);
/* Leaves WF_BLOCK_INIT in *block; freeing that has no effect. */
void wf_memory_free(wf_block *block);

typedef struct wf_memory_usage {
    size_t in_use[WF_MEM_KIND_COUNT], peak[WF_MEM_KIND_COUNT];
    size_t total_in_use, total_peak; /* the peak of the sum, not the sum of the peaks */
} wf_memory_usage;
wf_memory_usage wf_memory_used(const wf_memory *memory);

/* How much memory this process may still use. */
typedef struct wf_memory_limit {
    uint64_t total;     /* the machine's memory, or the tightest control group's limit */
    uint64_t available; /* what can still be had without swapping */
    char why[320];      /* "MemAvailable", or "control group /slurm/job_7" */
} wf_memory_limit;
/* root is put before /proc and the control groups' paths (NULL: nothing): for tests. */
weft_status wf_memory_get_limit(const char *root, wf_memory_limit *limit, weft_error *err);

/* WEFT_ERR_NOMEM unless `bytes` more can be had, with a text that says what was asked for, what
 * there is and why: for plans, before they start. When the system cannot say, that is no error. */
weft_status wf_memory_check(const char *root, uint64_t bytes, const char *what, weft_error *err);

/* "1.5 GiB", "320 bytes". */
#define WF_BYTES_TEXT 24
const char *wf_bytes_text(char text[WF_BYTES_TEXT], uint64_t bytes); /* returns text */

#endif
