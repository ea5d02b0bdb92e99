/* The graph of the step being recorded: values, nodes, assignments.
 *
 * SSA: a value is written once. A *leaf* is a stored tensor's content as of one version; every
 * other value is a node's output. `wf_assign` makes a value the stored tensor's next content, which
 * it becomes when the step commits. Threading rule: the context's.
 *
 * Note [Failed steps]. A caller need not look at what each call returns: a loop may check once, at
 * its end. So a recording that fails marks the step as failed, and from then on nothing is recorded
 * and nothing runs: no loss is missing from a step that is committed all the same, and a NULL that
 * stands for a failed operand is not taken for one that was left out. weft_discard ends such a step;
 * weft_error_clear goes on with it, without what failed. Whatever only asks or copies (a look-up, a
 * read, a write) marks nothing. Code that means "did an op I recorded fail" asks wf_step_status, not
 * the context's error, which may be an older one that has nothing to do with it. */
#ifndef WF_GRAPH_GRAPH_H
#define WF_GRAPH_GRAPH_H

#include "engine/graph/op.h"
#include "engine/machine/memory.h"

typedef struct wf_value {
    wf_type type;
    int node, out;       /* producer; node -1: a leaf */
    weft_tensor *stored; /* leaf: the tensor (a reference is held) */
    uint64_t version;    /* leaf: of its content */
    int older;           /* leaf: the tensor's one before; -1: none */
    bool requires_grad;
    bool watched; /* leaf: `sum` is of its bytes, when they were first recorded with */
    uint64_t sum;
    weft_tensor *handle; /* recorded values: the handle the user has */
    /* After a partial run: the numbers, in the plan's layout. */
    wf_block store;
    int block;
    weft_dtype storage; /* their type there: bf16 may stand for f32 */
} wf_value;

struct wf_node {
    const wf_op *op;
    int n_in, n_out;
    int in;               /* index of the first input in graph.operands */
    int out;              /* its first output value; the others follow */
    size_t attrs;         /* offset in graph.bytes */
    int scalars;          /* index in graph.scalars */
    const char *path;     /* module path, interned; "" at top level */
    bool executed;        /* its outputs' data are there, or it was not needed and is gone */
    bool consumed;        /* a backward pass has walked it and did not retain */
    bool recorded_grad;   /* was recorded by a backward pass */
    bool no_grad;         /* was recorded inside weft_no_grad_begin .. end */
    bool check;           /* was recorded in anomaly mode: its outputs must be finite */
    const char *title;    /* what the user called: Note [Names that the user wrote] in op.h */
    const wf_op *grad_of; /* recorded_grad: the op whose gradient rule recorded it; or NULL */
};

/* stored <- value, when the step commits. `state` assignments wait for the commit phase; others
 * (gradients, kept values) may be written as soon as they are computed. */
typedef struct wf_assignment {
    weft_tensor *stored; /* a reference is held */
    int value;           /* -1: dropped */
    bool state;
} wf_assignment;

/* What a module's backward hooks stand at: identity nodes of op `border`, recorded one after the
 * other, so that the first of them a backward pass reaches finds the gradients of all complete.
 * values[i] is tensor i behind the border; -1 where it has no gradient. See modules/backward.c. */
typedef weft_status (*wf_border_fn)(void *user, int n, weft_tensor **grads);
typedef struct wf_border {
    int first_node, last_node;
    uint64_t walk; /* the backward pass that has passed it */
    wf_border_fn fn;
    void *user;
    void (*drop)(void *user);
    int n;
    int values[];
} wf_border;

typedef struct wf_graph {
    uint64_t gen;
    weft_status failed; /* of the first recording that failed: Note [Failed steps] */
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
    int n_executed;   /* so many nodes at the front have all run */
    bool grad_off;    /* inside weft_no_grad_begin .. end */
    bool in_backward; /* nodes being recorded are a backward pass's */
    bool unwanted;    /* a hook asked for the end of the step: the backward pass is to fail */
    int backwards;    /* backward passes recorded and not yet run */
    bool running;
    bool anomaly;        /* nodes being recorded are to be checked */
    const wf_op *rule;   /* the op whose gradient rule is recording; NULL: none */
    const char *said;    /* the public function that is recording; NULL: none that has said so */
    bool watching;       /* a leaf is watched */
    bool hooked;         /* a recorded handle has gradient hooks */
    uint64_t walks;      /* backward passes ever begun */
    wf_border **borders; /* in order of their nodes */
    int n_borders, cap_borders;
    /* Kept losses: [0] of this step, [1] of the one before, whose handles are readable. */
    weft_tensor **kept[2];
    int n_kept[2], cap_kept[2];
    /* Module path: names joined by '.', and the interned texts that nodes point to. */
    char path[256];
    int path_len, path_depth, path_lens[32];
    char **paths;
    int n_paths, cap_paths;
    int *path_table; /* hashed: index in paths, and 1; 0: free */
    int cap_path_table;
} wf_graph;

void wf_graph_init(wf_graph *g);
void wf_graph_done(wf_graph *g);
/* Ends the step: drops everything recorded, makes handles stale. */
void wf_graph_reset(weft_context *ctx);

/* The value a handle stands for in the present graph (a new leaf for a stored tensor); -1 with the
 * context's error set on failure. */
int wf_graph_value(weft_context *ctx, weft_tensor *t);
/* The handle of a value: the leaf's tensor or the recorded handle. */
weft_tensor *wf_graph_handle(const wf_graph *g, int value);
/* Drops the pending assignment to t, if any (weft_zero_grad). */
void wf_graph_unassign(weft_context *ctx, weft_tensor *t);
/* As wf_assign; state false: see wf_assignment. */
weft_status wf_graph_assign(weft_tensor *stored, weft_tensor *value, bool state);

/* Fails for inputs or outputs that the engine cannot count, Note [Sizes] in sizes.c. */
weft_status wf_check_sizes(const wf_infer *f);
/* Marks the step as failed; returns the status it failed with first. See Note [Failed steps]. */
weft_status wf_step_fail(weft_context *ctx, weft_status status);

/* t, recorded, stays readable for one step more, as a loss does. */
weft_status wf_graph_keep(weft_context *ctx, weft_tensor *t);
/* The gradient of t, which is there or recorded, becomes `grad` (NULL: the error stands). */
weft_status wf_grad_replace(weft_tensor *t, weft_tensor *grad);

static inline const int *wf_node_in(const wf_graph *g, const wf_node *n)
{
    return g->operands + n->in;
}

/* Module path for error messages; names of weft_call's modules. "" pushes nothing visible. */
void wf_path_push(weft_context *ctx, const char *name);
void wf_path_pop(weft_context *ctx);
/* Replaces the whole path (a backward pass names the module whose gradient it records). */
void wf_path_set(weft_context *ctx, const char *path);
const char *wf_path_intern(weft_context *ctx); /* the present path, as long as the context */

/* Records an op without inputs (the context cannot be found from them). */
weft_tensor *wf_record_source(weft_context *ctx, const wf_op *op, const void *attrs,
                              const double *scalars);

/* Grows an array by doubling to hold n + more elements; false when memory is out. */
bool wf_grow(void *array, int *cap, int n, int more, size_t size);

/* ---- hooks (hooks.c) ---- */

/* Runs t's gradient hooks on *grad, which they may replace. */
weft_status wf_grad_hooks_run(weft_context *ctx, weft_tensor *t, weft_tensor **grad);
/* Puts the tensors t[0..n) that require a gradient behind a border, in place (others and NULLs stay
 * what they are). A backward pass that reaches it calls fn(user, n, grads), which may replace
 * gradients that are there; NULL is none. drop(user) is called when the step ends, or at once on
 * failure. No tensor requires a gradient: nothing is recorded, drop is called, *any is false. */
weft_status wf_record_border(weft_context *ctx, int n, weft_tensor **t, wf_border_fn fn, void *user,
                             void (*drop)(void *user), bool *any);
/* A backward pass is at node `node` of op border; grads: per value of the graph. */
weft_status wf_border_cross(weft_context *ctx, int node, weft_tensor **grads);
/* Frees all borders and recorded handles' hooks: the step ends. */
void wf_graph_drop_hooks(wf_graph *g);

/* ---- unannounced writes (watch.c) ---- */

/* A leaf enters the graph: its bytes are remembered, where that is wanted. */
void wf_watch(weft_context *ctx, wf_value *leaf);
/* Nodes for which nodes[n] is set are about to run: tells of leaves they read whose bytes have
 * changed since; an error with WEFT_LINT_ERROR and in anomaly mode. */
weft_status wf_watch_check(weft_context *ctx, const char *nodes);

/* ---- running (engine/step/execute.c) ---- */

/* Runs all that has side effects (assignments, checks), fused, and ends the step. */
weft_status wf_execute_all(weft_context *ctx);
/* Ends the step without running it. Stored tensors keep what they hold; gradients that were to be
 * computed are absent. */
void wf_execute_none(weft_context *ctx);
/* Runs what the assignment to `stored` (or, with stored NULL, `value`) depends on, keeping every
 * number computed, so that recording goes on. See Note [Reading mid-step]. */
weft_status wf_execute_value(weft_context *ctx, int value);
weft_status wf_execute_assigned(weft_context *ctx, weft_tensor *stored);
/* Runs the pending readers of a stored tensor that is about to be written, and its assignment. */
weft_status wf_execute_readers(weft_context *ctx, weft_tensor *stored);
/* Runs the gradients recorded so far, keeping what later work may need. */
weft_status wf_execute_pending(weft_context *ctx);

#endif
