/* The graph of the step being recorded: values, nodes, assignments.
 *
 * A value is written once (SSA). A *leaf* value stands for a stored tensor's content in one
 * version; every other value is the output of a node. wf_assign_all makes a value the next content
 * of a stored tensor: the tensor changes when the step commits. Threading rule: the context's.
 *
 * Note [Failed steps]. A caller need not check what each call returns; it may check once, at the
 * end of a step. So a recording that fails marks the whole step as failed. From then on nothing is
 * recorded and nothing runs. Otherwise a step could commit although its loss lacks a term, and an
 * op could take the NULL of a failed operand for an optional operand that was left out.
 * weft_discard ends a failed step. weft_error_clear continues it, without the ops that failed.
 * Calls that only ask or copy (a look-up, a read, a write) never mark a step. Code that wants to
 * know whether an op that it recorded failed asks wf_step_status, not the context's error: that may
 * be an older error of something else. */
#ifndef WF_GRAPH_GRAPH_H
#define WF_GRAPH_GRAPH_H

#include "engine/graph/op.h"
#include "engine/machine/memory.h"

typedef struct wf_value {
    wf_type type;
    int node, out;       /* the node that gives it, as its output `out`; node -1: a leaf */
    weft_tensor *stored; /* leaf: the tensor, of which a reference is held */
    uint64_t version;    /* leaf: version of the tensor's content */
    int older;           /* leaf: the same tensor's leaf before this one; -1: none */
    bool requires_grad;
    bool watched; /* leaf: `sum` is the checksum of its bytes at its first use */
    uint64_t sum;
    weft_tensor *handle; /* recorded values: the user's handle */
    /* After a partial run: the value's numbers, in the plan's layout. */
    wf_block store;
    int block;
    /* Their type in `store`, and of a leaf the stored tensor's: bf16 may stand for f32. */
    weft_dtype storage;
} wf_value;

struct wf_node {
    const wf_op *op;
    int n_in, n_out;
    int in;               /* index of the first input in graph.operands */
    int out;              /* its first output value; the others follow */
    size_t attrs;         /* offset in graph.bytes */
    int scalars;          /* index in graph.scalars */
    const char *path;     /* module path, interned; "" at top level */
    bool executed;        /* it has run, or it was not needed and never will */
    bool consumed;        /* a backward pass went through it without retain_graph */
    bool recorded_grad;   /* recorded by a backward pass */
    bool no_grad;         /* recorded inside weft_no_grad_begin .. end */
    int segment;          /* number of the segment of weft_recompute_begin; 0: none */
    bool check;           /* recorded in anomaly mode: its outputs must be finite */
    const char *title;    /* what the user called: Note [Names that the user wrote] in op.h */
    const wf_op *grad_of; /* recorded_grad: the op whose gradient rule recorded it; or NULL */
};

/* `stored` gets `value` as its content. `state` assignments (weights, optimizer state, statistics)
 * happen in the commit phase. The others (gradients, kept values) may happen as soon as the value
 * is computed. */
typedef struct wf_assignment {
    weft_tensor *stored; /* a reference is held */
    int value;           /* -1: dropped */
    int given;           /* the value as recorded, even if the assignment was dropped */
    bool state;
} wf_assignment;

/* How much of the last step the graph's arrays still hold, from their starts: see
 * Note [The same step again] in again.c. 0: this step differs. */
typedef struct wf_graph_known {
    int nodes, values, assigned;
} wf_graph_known;

/* Where a module's backward hooks run: a run of identity nodes of op `border`, recorded one after
 * the other, one for each tensor. When a backward pass reaches the first of them, the gradients of
 * all are complete. values[i] is the value of tensor i behind the border, -1 where it has no
 * gradient. See modules/backward.c. */
typedef weft_status (*wf_border_fn)(void *user, int n, weft_tensor **grads);
typedef struct wf_border {
    int first_node, last_node;
    uint64_t walk; /* number of the last backward pass that ran its hooks */
    wf_border_fn fn;
    void *user;
    void (*drop)(void *user);
    int n;
    int values[];
} wf_border;

/* What recording asks of engine/step, the layer that runs steps: a new op may read a tensor whose
 * content is only recorded so far, and a second backward pass runs what the first one recorded.
 * engine/step/execute.h says what each function does. */
typedef struct wf_graph_runner {
    weft_status (*assigned)(weft_context *ctx, weft_tensor *stored);
    weft_status (*pending)(weft_context *ctx);
    void (*none)(weft_context *ctx);
} wf_graph_runner;

typedef struct wf_graph {
    const wf_graph_runner *runner;
    wf_value *values;
    int n_values, cap_values;
    wf_node *nodes;
    int n_nodes, cap_nodes;
    int *operands;
    int n_operands, cap_operands;
    char *bytes;
    size_t n_bytes, cap_bytes;
    double *scalars;
    int n_scalars, cap_scalars;
    wf_assignment *assigned;
    int n_assigned, cap_assigned;
    wf_graph_known known;
    uint64_t log;  /* number of what the last step recorded: wf_graph_log */
    bool ran_part; /* a part of this step has run */
    /* The nodes among the first n_listed that have not run, as of the last request; ascending. */
    int *waiting, n_waiting, cap_waiting, n_listed;
    bool grad_off;         /* inside weft_no_grad_begin .. end */
    bool in_backward;      /* a backward pass is recording */
    int segment, segments; /* the one being recorded, 0: none; how many this step has */
    bool unwanted;         /* a hook tried to end the step, so the backward pass must fail */
    int backwards;         /* backward passes that are recorded but have not run */
    bool running;
    bool anomaly;      /* anomaly mode is on for the nodes recorded now */
    const wf_op *rule; /* the op whose gradient rule is recording; NULL: none */
    bool watching;     /* at least one leaf is watched */
    bool hooked;       /* at least one recorded handle has gradient hooks */
    uint64_t walks;    /* backward passes ever begun */
    void *walk_mem;    /* the arrays of a backward pass, kept for the next */
    size_t walk_bytes;
    wf_border **borders; /* in order of their nodes */
    int n_borders, cap_borders;
    /* Losses that stay readable: [0] of this step, [1] of the step before. */
    weft_tensor **kept[2];
    int n_kept[2], cap_kept[2];
    char **paths; /* module paths, each once; nodes point to them */
    int n_paths, cap_paths;
    int *path_table; /* hash table: index in paths plus 1; 0: free */
    int cap_path_table;
} wf_graph;

weft_status wf_graph_create(weft_context *ctx, const wf_graph_runner *runner);
/* Frees everything: recorded work, the last step's kept values and the arrays. */
void wf_graph_done(weft_context *ctx);
/* Ends the step: drops everything recorded and makes the handles stale. */
void wf_graph_reset(weft_context *ctx);

/* The value that a handle stands for in the present graph; for a stored tensor, a leaf, made where
 * there is none. -1 on failure, with the context's error set. */
int wf_graph_value(weft_context *ctx, weft_tensor *t);
/* Drops the pending assignment to t, if any (weft_zero_grad). */
void wf_graph_unassign(weft_context *ctx, weft_tensor *t);
/* As wf_assign_all of one; state false: see wf_assignment. */
weft_status wf_graph_assign(weft_tensor *stored, weft_tensor *value, bool state);

/* Fails for inputs or outputs that the engine cannot count, Note [Sizes] in sizes.c. */
weft_status wf_check_sizes(const wf_infer *f);

/* ---- the same step again (again.c) ---- */

/* Whether the node, leaf or assignment that is recorded next is the last step's at its place. A node's
 * types follow where the op is the library's; else ask wf_graph_has_types, too. */
bool wf_graph_is_known(const wf_graph *g, const wf_op *op, const void *attrs, int n_in,
                       const int *in);
bool wf_graph_has_types(const wf_graph *g, const wf_node *n, int n_out, const wf_type *types);
bool wf_graph_leaf_is_known(const wf_graph *g, const weft_tensor *t);
bool wf_graph_assignment_is_known(const wf_graph *g, int value, bool state);
/* Call before an entry of the last step is overwritten by another one. */
void wf_graph_differs(wf_graph *g);
/* Whether all that is recorded is what the last step had recorded at its end. */
bool wf_graph_all_known(const wf_graph *g);
/* The number of what is recorded now: steps in a row that are the same have the same number. */
uint64_t wf_graph_log(const wf_graph *g);

/* Keeps the recorded t readable for one more step, as a loss is. */
weft_status wf_graph_keep(weft_context *ctx, weft_tensor *t);
/* WEFT_ERR_STATE, with the error set, where `what` must not end the step: inside a hook of a
 * backward pass and inside a callback, whose callers still use the recorded step; and after the
 * user destroyed the context. */
weft_status wf_may_end_step(weft_context *ctx, const char *what);

/* ---- custom ops (custom_op.c) ---- */

typedef struct wf_custom wf_custom;
void wf_customs_free(wf_custom *first);

static inline const int *wf_node_in(const wf_graph *g, const wf_node *n)
{
    return g->operands + n->in;
}

/* the present path; it lives as long as the context */
const char *wf_path_intern(weft_context *ctx);

/* Records an op without inputs, from which wf_record could not find the context. */
weft_tensor *wf_record_source(weft_context *ctx, const wf_op *op, const void *attrs,
                              const double *scalars);

/* ---- writes that Weft was not told of (watch.c) ---- */

/* Notes a checksum of the bytes of a leaf that enters the graph, where they are to be watched. */
void wf_watch(weft_context *ctx, wf_value *leaf);
/* Call before the nodes with nodes[n] set run. Warns of leaves that these nodes read and whose
 * bytes have changed since they were recorded. With WEFT_LINT_ERROR and in anomaly mode this is an
 * error. */
weft_status wf_watch_check(weft_context *ctx, const char *nodes);

#endif
