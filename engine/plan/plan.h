/* The plan: recorded nodes compiled into tasks, with kernels, layouts, memory and order.
 *
 * The plan passes, in order. Each has one entry point in a file of its name:
 *   simplify.c      removes nodes whose values nobody reads, keeps or assigns
 *   precision.c     chooses the storage type of each value; inserts casts
 *   fuse.c          replaces several nodes by one: BatchNorm, activation, residual; also
 *                   channel shuffles with the copies beside them (fuse_shuffle.c); and moves ReLU's
 *                   gradient before max pooling's (fuse_pool.c)
 *   recompute.c     makes values again in the backward pass where keeping them costs more; also whole
 *                   segments of the forward pass (segments.c, choose_segments.c), and single
 *                   convolutions that cost little (products.c)
 *   layout.c        chooses the channel block of each value; inserts reorders
 *   slices.c        concatenations and slices without copies
 *   bytes.c         lets convolutions read the images' bytes
 *   spread.c        lets element-wise ops read broadcast operands directly, without expand
 *   select.c        gives values buffers and lowers each node to tasks of the best kernel that fits
 *   chain.c         puts tasks whose tiles match into task groups, so that data stays in cache, while
 *                   these do not hold too much memory (holding.c)
 *   order.c         commit barrier, priority along the critical path, linear order (held.c)
 *   memory.c        buffers of one task group (local.c), outputs in the place of inputs (inplace.c),
 *                   offsets in one arena (offsets.c), the edges that sharing bytes needs, and the
 *                   successor lists (reduce.c)
 * Each takes time that grows about linearly with the plan: a network of 10,000 parameters compiles
 * in a second. For this, plan passes look up the readers of a value in an index (users.c) and keep
 * edges in lists (edges.c).
 *
 * Work with the same signature is compiled once, and engine/step replays the plan. Threading rule:
 * compiled on the recording thread; constant afterwards.
 *
 * Note [Partial sums and tiles]. A *partial sum* belongs to the arithmetic: it adds up one fixed
 * range of a long sum. The ranges follow from shape, machine class and wisdom. A *tile* belongs to
 * the scheduling: it computes any number of partial sums, and one worker does it at once. A tile
 * writes only what no other tile writes; of a fixed tree of sums, its own entries. So results never
 * depend on the number of threads or on the order in which tiles run.
 *
 * Note [Commit phase]. Weights, optimizer state, running statistics and counters change only in
 * tasks marked `commit`. These start after every other task has ended, and only if none has
 * failed. */
#ifndef WF_PLAN_PLAN_H
#define WF_PLAN_PLAN_H

#include "engine/base/bump.h"
#include "engine/base/heap.h"
#include "engine/graph/graph.h"
#include "engine/tune/problem.h"

/* ---- edges between task groups, while the plan is compiled (edges.c) ---- */

typedef struct wf_edge {
    int from, to;
    int next_out, next_in; /* next edge with the same `from`, with the same `to`; -1: none */
} wf_edge;
/* Lists, so that time and memory grow with the edges and not with the square of the task groups. An
 * edge may be in the lists twice. */
typedef struct wf_edges {
    int *out, *in; /* per task group: its first edge; -1: none */
    wf_edge *edge;
    int n, cap;
} wf_edges;
bool wf_edges_init(wf_edges *e, int groups); /* false: out of memory */
bool wf_edges_add(wf_edges *e, int from, int to);
void wf_edges_done(wf_edges *e);

/* ---- who reads a value, for plan passes that rewrite nodes (users.c) ---- */

typedef struct wf_user {
    int node, at; /* nodes[node].in[at] was the value when this was noted */
    int next;     /* next user of the value; -1: none */
} wf_user;
/* The readers of each value, as noted. A note is out of date when the node has died or reads
 * another value there: ask wf_user_valid. */
typedef struct wf_users {
    int *first; /* per value */
    int n_values, cap_first;
    char *assigned; /* per value of the first n_assigned_values: whether a stored tensor gets it */
    int n_assigned_values;
    wf_user *user;
    int n, cap;
} wf_users;

/* ---- what is to be run ---- */

typedef struct wf_request {
    /* The nodes that have not run in this step, in ascending order: the graph's list, valid until the
     * next request is made. */
    const int *todo;
    int n_todo;
    char *nodes;    /* per graph node: whether to run it */
    char *keep;     /* per graph value: whether its numbers are needed afterwards */
    char *assigned; /* per assignment: whether to carry it out */
    bool keep_all;  /* every computed value is kept, so no plan pass replaces nodes */
    /* Note [Numbers of a plan]: what the plan's numbers stand for in this graph, set by
     * wf_request_number(). */
    int *node, n_nodes;          /* graph nodes */
    int *value, n_values;        /* graph values */
    int *assignment, n_assigned; /* in graph.assigned */
    double *scalars;             /* the nodes' scalars, one node after the other */
    int *number;                 /* per graph value: its number plus 1; 0: it has none */
} wf_request;

/* Note [Numbers of a plan]. A plan numbers nodes, values, assignments and scalars in the order in
 * which the request meets them, not by their places in the graph. So the same work gets the same
 * plan wherever in a step it is recorded: all micro-batches of gradient accumulation share one
 * plan. Fails where a value is gone, and where a stored tensor was overwritten after recorded work
 * had read it. */
weft_status wf_request_number(weft_context *ctx, wf_request *r);
/* The number plus 1 of the first leaf of the stored tensor that the request reads; 0: it reads
 * none. */
int wf_request_leaf(const wf_graph *g, const wf_request *r, const weft_tensor *stored);

/* ---- the intermediate form that plan passes rewrite ---- */

typedef enum wf_value_kind {
    WF_IR_LEAF, /* the content of a stored tensor */
    WF_IR_DATA, /* computed by an earlier partial run of the step */
    WF_IR_NODE, /* computed by this plan */
} wf_value_kind;

typedef struct wf_ir_value {
    wf_type type;
    weft_dtype storage; /* precision.c */
    wf_value_kind kind;
    int node, out; /* the node that gives it, as its output `out` */
    int block;     /* layout.c */
    bool keep;
    int again;  /* the value that products.c has made of it in the backward pass; -1: none */
    int target; /* assignment whose stored tensor the node writes itself; -1: none */
    /* the value inside which this one lies, slice_at bytes into each image; -1: none */
    int slice_of;
    size_t slice_at;
    wf_buf buf;
} wf_ir_value;

typedef struct wf_ir_node {
    const wf_op *op;
    int n_in, n_out;
    int *in;
    int out[WF_MAX_OUT];
    const void *attrs;
    int scalars; /* index in the request's scalars */
    const char *path;
    int source;    /* number of the request's node; -1: a plan pass made it */
    bool backward; /* recorded by a backward pass, or made for a node that was */
    bool copy;     /* makes a value again: recompute.c */
    bool product;  /* a segment by itself, whose output is cheap for its bytes: products.c */
    int segment;   /* the segment that it belongs to, from 1; 0: none */
    bool again;    /* a copy of a node of the segment: segments.c */
    int after;     /* of such a copy: a value that is made first; -1: none */
    bool dead;
} wf_ir_node;

typedef struct wf_ir_assign {
    int value; /* IR value */
    int leaf;  /* IR leaf of the same stored tensor; -1: none */
    /* The stored tensor is weights, optimizer state or statistics, and changes in the commit phase.
     * A gradient or kept value may be written as soon as it is computed. */
    bool state;
} wf_ir_assign;

/* ---- buffers, tasks, task groups ---- */

/* Where each replay takes a bound buffer's pointer from. */
typedef enum wf_binding_kind {
    WF_BIND_LEAF,
    WF_BIND_DATA,
    WF_BIND_TARGET,
    WF_BIND_KEEP
} wf_binding_kind;
typedef struct wf_binding {
    wf_binding_kind kind;
    int index; /* number of a value or of an assignment */
    wf_buf buf;
} wf_binding;

typedef struct wf_buffer {
    bool bound;
    bool local; /* only one task group uses it: each worker has one image */
    int64_t images;
    size_t stride; /* bytes of one image */
    size_t bytes;  /* bytes in the arena */
    size_t offset;
    int first, last; /* positions in the linear order; -1: unused */
    wf_buf over; /* the buffer in whose place it lies: inplace.c; -1: it has a place of its own */
    int until;   /* `last`, or that of the last buffer in its place */
    int value;   /* IR value; -1: temporary */
    /* of a slice or of a tray's piece (local.c): the buffer it lies in, which lives as long as all of
     * them; -1: it lies in none */
    wf_buf whole;
    size_t at, size; /* offset in each image of that buffer, and bytes of each image there */
} wf_buffer;

typedef struct wf_use {
    wf_buf buf;
    wf_access access;
    bool write;
    struct wf_use *next;
} wf_use;

struct wf_task {
    struct wf_plan *plan;
    const wf_op *op;
    const char *path, *kernel;
    int node; /* IR node; -1: a copy that the plan added */
    wf_tile_fn fn;
    void *args;
    int64_t tiles;
    size_t scratch;
    double flops, bytes;
    double cycles;     /* expected cost (kernels/select.h); 0: the kernel has no cost model */
    double converting; /* of these cycles, those of conversions between bf16 and f32 */
    bool by_wisdom;    /* wisdom chose the kernel */
    bool commit;
    wf_use *uses;
    int group;
};

/* Tasks that run tile by tile: a tile of the group runs this tile of each task, in order. */
typedef struct wf_task_group {
    int *tasks;
    int n_tasks;
    int64_t tiles; /* 0: a barrier */
    bool commit, barrier;
    /* Makes values again (recompute.c). The order has it directly before the groups that read them,
     * and not as soon as it could run, which would be in the forward pass: order.c. */
    bool copies;
    double cost;     /* seconds, roughly */
    double priority; /* seconds of the longest way from here to the end */
    int n_preds, n_succ;
    int *succ;
} wf_task_group;

typedef struct wf_plan {
    weft_context *ctx;
    wf_bump bump;
    unsigned passes_off;
    bool keep_all;
    bool out_of_memory; /* an allocation failed in a function that cannot return this */
    /* The part of the memory of a plan without segments that choose_segments.c may use, as it counts;
     * 1: it chooses none; 0: as little as it can. */
    double budget;

    wf_ir_value *values;
    int n_values, cap_values;
    wf_ir_node *nodes;
    int n_nodes, cap_nodes;
    wf_ir_assign *assigns;
    int n_assigns;

    wf_problem *problems; /* for which kernels were chosen; a problem may be there twice */
    int n_problems, cap_problems;
    wf_buffer *buffers;
    int n_buffers, cap_buffers;
    wf_binding *bindings;
    int n_bindings, cap_bindings;
    wf_task **tasks;
    int n_tasks, cap_tasks;
    struct {
        void *state;
        void (*destroy)(void *);
    } * owned;
    int n_owned, cap_owned;

    wf_task_group *groups;
    int n_groups, cap_groups;
    wf_edges edges; /* compile time only */
    int *order;     /* task groups in the order in which one worker would run them */
    int barrier;    /* task group; -1: no commit phase */
    size_t arena_bytes, scratch_bytes;
    size_t unshared_bytes; /* bytes that the arena would have if buffers shared no bytes */
    size_t work;           /* operations of the plan passes, which tests bound */
    int number;            /* the plan cache counts its plans from 1; 0: not in a cache */
} wf_plan;

/* Where the context has a memory limit that the plan would exceed, runs segments of the forward pass
 * again in the backward pass. Fails with WEFT_ERR_NOMEM where that does not suffice. */
weft_status wf_plan_compile(weft_context *ctx, const wf_request *request, unsigned passes_off,
                            wf_plan **plan);
/* The bytes of arena and workspace that the plan needs. */
size_t wf_plan_bytes(const wf_plan *p);
void wf_plan_destroy(wf_plan *plan); /* NULL: no effect */

weft_status wf_pass_simplify(wf_plan *p);
weft_status wf_pass_precision(wf_plan *p);
weft_status wf_pass_fuse(wf_plan *p);
weft_status wf_fuse_shuffle(wf_plan *p, wf_users *u); /* part of it */
weft_status wf_fuse_pool(wf_plan *p, wf_users *u);    /* part of it */
weft_status wf_pass_recompute(wf_plan *p);
weft_status wf_pass_layout(wf_plan *p);
weft_status wf_pass_slices(wf_plan *p);
weft_status wf_pass_bytes(wf_plan *p);
weft_status wf_pass_spread(wf_plan *p);
weft_status wf_pass_select(wf_plan *p);
weft_status wf_pass_chain(wf_plan *p);
weft_status wf_pass_order(wf_plan *p);
weft_status wf_pass_memory(wf_plan *p);

/* Building blocks for plan passes. Indices, or -1 with the error set. */
weft_status wf_plan_nomem(wf_plan *p);
int wf_ir_new_value(wf_plan *p, wf_type type);
/* Appends a node at the end and copies `in`. A plan pass that needs the node elsewhere reorders the
 * list itself. */
int wf_ir_new_node(wf_plan *p, const wf_op *op, const void *attrs, int n_in, const int *in);
/* Notes all readers of all values. End with wf_users_done. */
weft_status wf_users_init(wf_plan *p, wf_users *u);
void wf_users_done(wf_users *u);
/* Notes that `node` now reads another value as input `at`. */
weft_status wf_users_add(wf_plan *p, wf_users *u, int node, int at);
static inline int wf_users_first(const wf_users *u, int value)
{
    return value < u->n_values ? u->first[value] : -1;
}
static inline bool wf_user_valid(const wf_plan *p, const wf_user *user, int value)
{
    const wf_ir_node *n = &p->nodes[user->node];
    return !n->dead && user->at < n->n_in && n->in[user->at] == value;
}
/* How many live nodes read the value. *needed: whether it is kept or assigned too. */
int wf_ir_users(const wf_plan *p, const wf_users *u, int value, bool *needed);
wf_buf wf_plan_buffer(wf_plan *p, int64_t images, size_t stride, int value);
/* The buffer that owns b's memory: b itself unless it is a slice. */
static inline wf_buf wf_buffer_whole(const wf_plan *p, wf_buf b)
{
    return p->buffers[b].whole >= 0 ? p->buffers[b].whole : b;
}
/* The node that is to blame for this one's outputs: itself; of a cast to bf16 that the precision pass made,
 * which may round to infinity, the node whose output it stores. NULL: none. precision.c. */
const wf_ir_node *wf_ir_maker(const wf_plan *p, const wf_ir_node *node);
/* Describes one image of a rank-4 value in its layout; for other ranks see wf_operand. */
wf_act wf_ir_act(const wf_ir_value *v);

/* ---- held.c: the memory in use while the task groups run one after the other ---- */

typedef struct wf_held {
    size_t live, peak; /* bytes in use now; the most so far */
    int64_t waiting;   /* bytes that the ready groups would free */
    /* the rest is private */
    int *group_start, *group_buf; /* the buffers of group g: [group_start[g], group_start[g + 1]) */
    int *buf_start, *buf_group;   /* the groups of a buffer, likewise */
    int *left;                    /* per buffer: groups that have not used it yet */
    char *there, *state;
    /* per buffer: its bytes; the bytes that count against the group that writes it */
    int64_t *bytes, *takes;
    int64_t *gain; /* per ready group: bytes that it frees, minus those that it needs first */
    wf_heap heap;  /* of the ready groups that free memory, by their gain */
} wf_held;
weft_status wf_held_init(wf_plan *p, wf_held *h);
void wf_held_done(wf_held *h);
/* wf_held_ready: call when everything that the group waits for has run. wf_held_run: call when the
 * group itself has run. False: out of memory. */
bool wf_held_ready(wf_held *h, int group);
bool wf_held_run(wf_held *h, int group);
int wf_held_most(wf_held *h); /* the ready group that frees the most; -1: none frees anything */

/* ---- holding.c: the memory that each task group holds for others, while groups are made ---- */

typedef struct wf_holding {
    wf_plan *p;
    char *loose;  /* per buffer: some task uses it, but not tile by tile */
    int *holder;  /* per loose buffer: the last task group that writes it; -1: none yet */
    size_t *held; /* per task group: bytes of loose buffers that it writes */
    size_t limit; /* of them, for groups that make products */
} wf_holding;
weft_status wf_holding_init(wf_plan *p, wf_holding *h);
void wf_holding_done(wf_holding *h);
/* Call when a task has become a member of its group. */
void wf_holding_note(wf_holding *h, const wf_task *t);
/* Whether the group holds too much memory for a further product, task t. */
bool wf_holding_much(const wf_holding *h, const wf_task *t, int group);

/* reduce.c: removes edges that a longer path implies and turns the others into successor lists. */
weft_status wf_plan_list_successors(wf_plan *p, const int *position);
/* How many bytes of the arena a buffer of `bytes` takes. */
static inline size_t wf_buffer_room(size_t bytes)
{
    return (bytes + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN + WF_ALIGN;
}
/* inplace.c: puts outputs in the place of inputs that end there. */
weft_status wf_plan_in_place(wf_plan *p);
/* local.c: buffers of one task group shrink to one image per worker, and share its bytes. */
weft_status wf_plan_shrink_local(wf_plan *p);
/* offsets.c: something that needs `room` bytes at positions [first, last], and the place it got */
typedef struct wf_piece {
    int first, last;
    size_t room, offset;
} wf_piece;
/* Places the pieces so that those that live at the same position share no bytes. *bytes: the end of
 * the last one. */
weft_status wf_plan_pack(wf_plan *p, wf_piece *pieces, int n, int positions, size_t *bytes);
/* Chooses offsets in the arena. Lifetimes are the buffers' `first` and `until`. */
weft_status wf_plan_assign_offsets(wf_plan *p);

#endif
