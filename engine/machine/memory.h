/* Big blocks of memory: alignment, huge pages, NUMA placement, and a count of the bytes in use.
 *
 * All functions may be called from any thread, except create and destroy. */
#ifndef WF_MACHINE_MEMORY_H
#define WF_MACHINE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/machine/topology.h"
#include "weft/status.h"

/* Blocks of at least WF_HUGE_PAGE bytes start on a multiple of WF_HUGE_PAGE, smaller ones on a
 * multiple of WF_SMALL_ALIGN. */
#define WF_HUGE_PAGE ((size_t)2 << 20)
#define WF_SMALL_ALIGN ((size_t)64)

/* What the bytes are for. X(name, text) */
#define WF_MEM_KIND_LIST(X)                                                                        \
    X(STORED, "stored tensors")                                                                    \
    X(ARENA, "activation arena")                                                                   \
    X(WORKSPACE, "workspace")                                                                      \
    X(COPY, "copy for a checkpoint")

/* clang-format off */
typedef enum wf_mem_kind {
#define X(name, text) WF_MEM_##name,
    WF_MEM_KIND_LIST(X)
#undef X
    WF_MEM_KIND_COUNT
} wf_mem_kind;
/* clang-format on */
const char *wf_mem_kind_name(wf_mem_kind kind);

/* Where the pages of a block of at least WF_HUGE_PAGE bytes go on a machine with several NUMA
 * nodes. (Smaller blocks share pages.) This is a wish: a kernel that refuses it, as in some
 * containers, costs speed, but the result is the same and there is no error. */
typedef enum wf_placement {
    WF_PLACE_TOUCH,      /* the node of the thread that touches a page first */
    WF_PLACE_NODE,       /* the given node, while it has room */
    WF_PLACE_INTERLEAVED /* page by page over the nodes that have chosen cores */
} wf_placement;

/* The system calls under wf_memory. Tests put a recording layer here. `advise_huge`, `bind` and
 * `interleave` return 0 on success. Nodes are indices as in wf_core.node. */
typedef struct wf_memory_ops {
    void *user;
    /* New pages of zeros, which start on a multiple of `align`; NULL: out of memory. */
    void *(*map)(void *user, size_t bytes, size_t align);
    void (*unmap)(void *user, void *p, size_t bytes);
    int (*advise_huge)(void *user, void *p, size_t bytes);
    int (*bind)(void *user, const wf_topology *topology, void *p, size_t bytes, int node);
    int (*interleave)(void *user, const wf_topology *topology, void *p, size_t bytes);
} wf_memory_ops;

typedef struct wf_memory wf_memory;

/* Holds a reference to the topology until destroy. Copies ops; NULL: the system's operations. */
weft_status wf_memory_create(wf_memory **memory, wf_topology *topology, const wf_memory_ops *ops,
                             weft_error *err);
/* Blocks that callers still hold stay valid and can still be freed. NULL: no effect. */
void wf_memory_destroy(wf_memory *memory);

/* One block. WF_BLOCK_INIT is a block that holds nothing. */
typedef struct wf_block {
    void *data;
    size_t size; /* bytes, as requested */
    /* private */
    size_t mapped; /* bytes mapped; 0: it comes from malloc */
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
    int node; /* for WF_PLACE_NODE */
    /* costs nothing from WF_HUGE_PAGE bytes on: new pages are zero, and stay untouched */
    bool zero;
    const char *what; /* for the message: "the activation arena"; NULL: the kind's name */
} wf_block_request;

/* Allocates a block. On failure WEFT_ERR_NOMEM, whose text has the bytes requested and the bytes in
 * use; *block is untouched. */
weft_status wf_memory_alloc(wf_memory *memory, const wf_block_request *request, wf_block *block,
                            weft_error *err);
/* Frees a block and sets it to WF_BLOCK_INIT. Freeing WF_BLOCK_INIT has no effect. */
void wf_memory_free(wf_block *block);

typedef struct wf_memory_usage {
    size_t in_use[WF_MEM_KIND_COUNT], peak[WF_MEM_KIND_COUNT];
    /* the peak of the sum over all kinds, not the sum of their peaks */
    size_t total_in_use, total_peak;
} wf_memory_usage;
wf_memory_usage wf_memory_used(const wf_memory *memory);

/* How much memory this process may still use. */
typedef struct wf_memory_limit {
    uint64_t machine;   /* the machine's memory */
    uint64_t total;     /* the machine's memory, or the tightest control group's limit */
    uint64_t available; /* bytes that can still be allocated without swapping */
    char why[320];      /* "MemAvailable", or "control group /slurm/job_7" */
} wf_memory_limit;
/* For tests, `root` is put before /proc and the control groups' paths (NULL: nothing). */
weft_status wf_memory_get_limit(const char *root, wf_memory_limit *limit, weft_error *err);

/* What this process has in memory. */
typedef struct wf_memory_own {
    uint64_t resident, peak; /* bytes now, and the most so far */
} wf_memory_own;
weft_status wf_memory_get_own(const char *root, wf_memory_own *own, weft_error *err);

/* WEFT_ERR_NOMEM unless `bytes` more bytes are available, with a text that says what was requested,
 * what is available and why. Plans call this before they start. If the system does not tell how
 * much is available, this is no error. */
weft_status wf_memory_check(const char *root, uint64_t bytes, const char *what, weft_error *err);

/* Writes a number of bytes as text: "1.5 GiB", "320 bytes". */
#define WF_BYTES_TEXT 24
const char *wf_bytes_text(char text[WF_BYTES_TEXT], uint64_t bytes); /* returns text */

#endif
