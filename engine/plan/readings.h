/* Which stages read each value, and what the plan pass recompute decides from it. The pass is recompute.c;
 * it calls choose_segments.c, products.c and segments.c (segments.h), and all of them stand on this.
 *
 * Note [Stages]. A *stage* is a set of nodes that run in one go: the forward pass; the copy of one
 * segment, which the backward pass runs; the backward pass itself. Values that only nodes of another
 * stage read again live long, and these are the ones that the pass looks at. */
#ifndef WF_PLAN_READINGS_H
#define WF_PLAN_READINGS_H

#include "engine/graph/ops/common.h"
#include "engine/plan/plan.h"

enum { WF_STAGE_FORWARD = 0, WF_STAGE_BACKWARD = -1 }; /* else a segment's number */

static inline int wf_ir_stage(const wf_ir_node *n)
{
    return n->again ? n->segment : n->backward ? WF_STAGE_BACKWARD : WF_STAGE_FORWARD;
}

/* Smaller values are kept, because making a value again costs a task. */
#define WF_SMALL_BYTES ((int64_t)32 << 10)

static inline int64_t wf_ir_bytes(const wf_plan *p, int value)
{
    const wf_ir_value *v = &p->values[value];
    return weft_shape_count(v->type.shape) * (int64_t)weft_dtype_size(v->storage);
}
static inline bool wf_ir_is_large(const wf_plan *p, int value)
{
    return p->values[value].type.shape.rank == 4 && wf_ir_bytes(p, value) >= WF_SMALL_BYTES;
}

/* One stage's reads of a value that another stage makes. */
typedef struct wf_reading {
    int stage;
    int first; /* the stage's first node that reads the value */
    int next;  /* the value's next reading; -1: none */
    int same;  /* the next reading with the same `first`; -1: none */
    int value; /* that is read */
    int copy;  /* the remade value; -1: not yet made */
} wf_reading;

/* Who reads each value, and what is decided about it. */
typedef struct wf_recompute {
    wf_plan *p;
    wf_reading *reading;
    int n_readings, cap_readings;
    int *readings;  /* per value: its first reading; -1: none */
    int *made_by;   /* per value: the node that made it when this was noted; -1: none */
    int *last_late; /* per value: the last node of another stage that reads it; -1: none */
    char *early;    /* per value: a node of its own stage reads it */
    int *products;  /* per node: how many nodes before it sum products */
    char *needed;   /* per value: it is kept or assigned */
    char *dropped;  /* per value */
} wf_recompute;

/* Notes all readers. End with wf_recompute_done. */
weft_status wf_recompute_init(wf_plan *p, wf_recompute *r);
void wf_recompute_done(wf_recompute *r);
/* Drops the values whose copies cost little. */
void wf_recompute_decide(wf_recompute *r);
/* The value that is in memory at node `at` anyway with the numbers of `value`: itself, or what a
 * convolution that is run again gives (products.c). -1: none. */
int wf_recompute_held_as(const wf_recompute *r, int value, int at);
/* For each output of a convolution that is run again (products.c): the first node that needs it, if
 * only for a copy of a dropped value; -1: none. `first` is per value. */
void wf_recompute_first_needs(const wf_recompute *r, int *first);
bool wf_sums_products(const wf_op *op);
/* Of products and of moving bytes: only their ratio matters. */
#define WF_FLOPS_A_SECOND 100e9
#define WF_BYTES_A_SECOND 10e9
/* Roughly what a node of the forward pass takes, with so many bytes to move: for comparisons. */
double wf_forward_seconds(const wf_plan *p, const wf_ir_node *node, int64_t bytes);
/* Whether the node could be run a second time for the same result. */
bool wf_ir_repeatable(const wf_ir_node *n);
/* Appends a node to the list that a rewrite makes anew. */
weft_status wf_recompute_append(wf_plan *p, const wf_ir_node *node);

#endif
