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

/* What recording asks of the layer that runs steps: a new op may read what is only recorded yet, and a second
 * backward pass runs the first one's work. engine/step/execute.h says what each of them does. */
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
    int n_executed;   /* so many nodes at the front have all run */
    bool grad_off;    /* inside weft_no_grad_begin .. end */
    bool in_backward; /* nodes being recorded are a backward pass's */
    bool unwanted;    /* a hook asked for the end of the step: the backward pass is to fail */
    int backwards;    /* backward passes recorded and not yet run */
    bool running;
    bool anomaly;        /* nodes being recorded are to be checked */
    const wf_op *rule;   /* the op whose gradient rule is recording; NULL: none */
    bool watching;       /* a leaf is watched */
    bool hooked;         /* a recorded handle has gradient hooks */
    uint64_t walks;      /* backward passes ever begun */
    wf_border **borders; /* in order of their nodes */
    int n_borders, cap_borders;
    /* Kept losses: [0] of this step, [1] of the one before, whose handles are readable. */
    weft_tensor **kept[2];
    int n_kept[2], cap_kept[2];
    char **paths; /* interned module paths, which nodes point to */
    int n_paths, cap_paths;
    int *path_table; /* hashed: index in paths, and 1; 0: free */
    int cap_path_table;
} wf_graph;

weft_status wf_graph_create(weft_context *ctx, const wf_graph_runner *runner);
/* Drops everything, the last step's kept values too, and the memory of the arrays. */
void wf_graph_done(weft_context *ctx);
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

/* t, recorded, stays readable for one step more, as a loss does. */
weft_status wf_graph_keep(weft_context *ctx, weft_tensor *t);
/* WEFT_ERR_STATE, and the error, where `what` would take the recorded step away under code that
 * still walks it: inside a backward pass's hooks and inside callbacks; and once the context was
 * destroyed. */
weft_status wf_may_end_step(weft_context *ctx, const char *what);

/* ---- custom ops (custom_op.c) ---- */

typedef struct wf_custom wf_custom;
void wf_customs_free(wf_custom *first);

static inline const int *wf_node_in(const wf_graph *g, const wf_node *n)
{
    return g->operands + n->in;
}

const char *wf_path_intern(weft_context *ctx); /* the present path, as long as the context */

/* Records an op without inputs (the context cannot be found from them). */
weft_tensor *wf_record_source(weft_context *ctx, const wf_op *op, const void *attrs,
                              const double *scalars);

/* ---- unannounced writes (watch.c) ---- */

/* A leaf enters the graph: its bytes are remembered, where that is wanted. */
void wf_watch(weft_context *ctx, wf_value *leaf);
/* Nodes for which nodes[n] is set are about to run: tells of leaves they read whose bytes have
 * changed since; an error with WEFT_LINT_ERROR and in anomaly mode. */
weft_status wf_watch_check(weft_context *ctx, const char *nodes);

#endif
