/* Part of the plan pass recompute: segments of the forward pass that the backward pass runs again,
 * as torch.utils.checkpoint does.
 *
 * A *segment* is a set of nodes of the forward pass. The user names it (weft_module_recompute), or
 * choose_segments.c finds it. Of a segment's large values only those outlive the forward pass that
 * nodes outside the segment read. Before the first node of the backward pass that reads another one,
 * the plan gets copies of the nodes that made it, from the values that are there. They are nodes of
 * a stage of their own (Note [Stages]), so the rest of the pass treats the copy of a segment as it
 * treats the forward pass: within it, too, ReLU's output is not kept.
 *
 * Small values stay: statistics of BatchNorm, masks of one bit an element, places of maxima. So
 * statistics are computed once, running statistics are updated once, and a mask has the same bits.
 * Dropout has no mask, but a key, which its copy shares.
 *
 * The copies could run as soon as the values are there that they read, which is in the forward pass.
 * So each of them also waits for a gradient, `after`, that the backward pass makes just before it
 * needs them. */
#include "engine/base/alloc.h"
#include "engine/plan/readings.h"
#include "engine/plan/segments.h"

typedef struct segments {
    wf_recompute r;
    int n;        /* segments, numbered from 1 */
    int *at;      /* per segment: the node before which its copies go; -1: nothing is copied */
    int *same;    /* per segment: the next one with the same `at`; -1: none */
    int *before;  /* per node: the first segment that is copied before it; -1: none */
    int *first;   /* per segment: its first node; -1: none */
    int *next;    /* per node: the next node of the same segment; -1: none */
    int *needs;   /* per value: wf_recompute_first_needs */
    char *inner;  /* per value: it lies inside a segment, and can be made again */
    char *again;  /* per value: it is made again */
    char *wanted; /* per node: it is copied */
    int *copy;    /* per value: the remade value; -1: none */
} segments;

static int segment_of(const wf_plan *p, int value)
{
    const int n = p->values[value].node;
    return p->values[value].kind == WF_IR_NODE && n >= 0 &&
                   wf_ir_stage(&p->nodes[n]) == WF_STAGE_FORWARD
               ? p->nodes[n].segment
               : 0;
}

/* Whether a convolution that is a segment by itself makes the value (products.c): the forward pass is
 * soon done with it. */
static bool is_product(const wf_plan *p, int value)
{
    return segment_of(p, value) > 0 && p->nodes[p->values[value].node].product;
}

static void find_inner(segments *s)
{
    const wf_plan *p = s->r.p;
    for (int v = 0; v < p->n_values; v++)
        s->inner[v] = segment_of(p, v) > 0 && !s->r.needed[v] && wf_ir_is_large(p, v) &&
                      wf_ir_repeatable(&p->nodes[p->values[v].node]);
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        for (int i = 0; i < node->n_in && !node->dead && !node->backward; i++)
            if (segment_of(p, node->in[i]) != node->segment && !is_product(p, node->in[i]))
                s->inner[node->in[i]] = 0;
    }
}

/* The first node of the backward pass that reads the value; -1: none does. */
static int first_reader(const wf_recompute *r, int value)
{
    for (int i = r->readings[value]; i >= 0; i = r->reading[i].next)
        if (r->reading[i].stage == WF_STAGE_BACKWARD)
            return r->reading[i].first;
    return -1;
}

/* Drops inner values, and says where the copies of each segment go. */
static void decide(segments *s)
{
    const wf_plan *p = s->r.p;
    for (int v = 0; v < p->n_values; v++) {
        int first = first_reader(&s->r, v);
        if (first < 0 || !s->inner[v])
            continue;
        if (s->needs[v] >= 0 && s->needs[v] < first)
            first = s->needs[v];
        int *at = &s->at[segment_of(p, v)];
        *at = *at < 0 || first < *at ? first : *at;
    }
    for (int v = 0; v < p->n_values; v++)
        s->r.dropped[v] = first_reader(&s->r, v) >= 0 && s->inner[v] &&
                          p->values[v].node < s->at[segment_of(p, v)];
}

/* Marks the nodes that make the dropped values again: from the last one to the first. */
static void want(segments *s)
{
    const wf_plan *p = s->r.p;
    for (int v = 0; v < p->n_values; v++)
        s->again[v] = s->r.dropped[v];
    for (int n = p->n_nodes - 1; n >= 0; n--) {
        const wf_ir_node *node = &p->nodes[n];
        for (int o = 0; o < node->n_out && !node->dead && !node->backward; o++)
            s->wanted[n] |= s->again[node->out[o]];
        for (int i = 0; i < node->n_in && s->wanted[n]; i++)
            s->again[node->in[i]] |= s->inner[node->in[i]];
    }
}

/* Lists the nodes of each segment, and the segments that are copied before each node. */
static void make_lists(segments *s)
{
    const wf_plan *p = s->r.p;
    for (int n = 0; n <= p->n_nodes; n++)
        s->before[n] = -1;
    for (int i = 1; i <= s->n; i++) {
        s->first[i] = -1;
        if (s->at[i] < 0)
            continue;
        s->same[i] = s->before[s->at[i]];
        s->before[s->at[i]] = i;
    }
    for (int n = p->n_nodes - 1; n >= 0; n--) {
        const int segment = p->nodes[n].segment;
        if (!s->wanted[n] || segment <= 0)
            continue;
        s->next[n] = s->first[segment];
        s->first[segment] = n;
    }
}

/* The gradient that the copies wait for: the newest that the node which needs them reads; where it
 * reads none, the newest of all. -1: there is none. */
static int trigger(const wf_ir_node *old, const int *made_by, int at)
{
    int last = -1, value = -1;
    for (int i = 0; i < old[at].n_in; i++) {
        const int n = made_by[old[at].in[i]];
        if (n >= 0 && wf_ir_stage(&old[n]) == WF_STAGE_BACKWARD && n > last) {
            last = n;
            value = old[at].in[i];
        }
    }
    for (int n = at - 1; n >= 0 && value < 0; n--)
        if (!old[n].dead && wf_ir_stage(&old[n]) == WF_STAGE_BACKWARD && old[n].n_out > 0)
            value = old[n].out[0];
    return value;
}

static weft_status append_copy(segments *s, const wf_ir_node *from, int after)
{
    wf_plan *p = s->r.p;
    wf_ir_node node = *from;
    node.in = wf_bump_alloc(&p->bump, (size_t)(node.n_in + 1) * sizeof *node.in);
    if (!node.in)
        return wf_plan_nomem(p);
    for (int i = 0; i < node.n_in; i++)
        node.in[i] = s->copy[from->in[i]] >= 0 ? s->copy[from->in[i]] : from->in[i];
    if (node.op == &wf_op_bn_act)
        node.n_out = 1; /* the mask is kept */
    for (int o = 0; o < node.n_out; o++) {
        const int value = wf_ir_new_value(p, p->values[from->out[o]].type);
        if (value < 0)
            return WEFT_ERR_NOMEM;
        p->values[value].storage = p->values[from->out[o]].storage;
        p->values[value].out = o;
        node.out[o] = value;
        if (s->inner[from->out[o]])
            s->copy[from->out[o]] = value;
        if (from->product)
            p->values[from->out[o]].again = value;
    }
    node.backward = node.again = true;
    node.after = after;
    return wf_recompute_append(p, &node);
}

static weft_status rewrite(segments *s, wf_ir_node *old, int *made_by)
{
    wf_plan *p = s->r.p;
    const int n_old = p->n_nodes, v_old = p->n_values;
    for (int n = 0; n < n_old; n++)
        old[n] = p->nodes[n];
    for (int v = 0; v < v_old; v++) {
        made_by[v] = p->values[v].node;
        p->values[v].node = -1; /* dead values keep -1 */
        s->copy[v] = -1;
    }
    p->n_nodes = 0;
    for (int n = 0; n < n_old; n++) {
        if (old[n].dead)
            continue;
        for (int segment = s->before[n]; segment > 0; segment = s->same[segment]) {
            const int after = trigger(old, made_by, n);
            for (int m = s->first[segment]; m >= 0; m = s->next[m])
                WF_TRY(append_copy(s, &old[m], after));
        }
        for (int i = 0; i < old[n].n_in && old[n].backward; i++)
            if (s->r.dropped[old[n].in[i]])
                old[n].in[i] = s->copy[old[n].in[i]];
        WF_TRY(wf_recompute_append(p, &old[n]));
    }
    return WEFT_OK;
}

static weft_status run(segments *s)
{
    wf_plan *p = s->r.p;
    const size_t values = (size_t)p->n_values + 1, nodes = (size_t)p->n_nodes + 1;
    for (int n = 0; n < p->n_nodes; n++)
        s->n = p->nodes[n].segment > s->n ? p->nodes[n].segment : s->n;
    if (s->n == 0)
        return WEFT_OK;
    const size_t count = (size_t)s->n + 1;
    s->at = wf_bump_alloc(&p->bump, count * sizeof *s->at);
    s->same = wf_bump_alloc(&p->bump, count * sizeof *s->same);
    s->first = wf_bump_alloc(&p->bump, count * sizeof *s->first);
    s->before = wf_bump_alloc(&p->bump, nodes * sizeof *s->before);
    s->next = wf_bump_alloc(&p->bump, nodes * sizeof *s->next);
    s->wanted = wf_bump_alloc(&p->bump, nodes);
    s->needs = wf_bump_alloc(&p->bump, values * sizeof *s->needs);
    s->inner = wf_bump_alloc(&p->bump, values);
    s->again = wf_bump_alloc(&p->bump, values);
    s->copy = wf_bump_alloc(&p->bump, values * sizeof *s->copy);
    wf_ir_node *old = wf_bump_alloc(&p->bump, nodes * sizeof *old);
    int *made_by = wf_bump_alloc(&p->bump, values * sizeof *made_by);
    if (!s->at || !s->same || !s->first || !s->before || !s->next || !s->wanted || !s->needs ||
        !s->inner || !s->again || !s->copy || !old || !made_by)
        return wf_plan_nomem(p);
    for (int i = 0; i <= s->n; i++)
        s->at[i] = -1;
    wf_recompute_decide(&s->r);
    wf_recompute_first_needs(&s->r, s->needs);
    find_inner(s);
    decide(s);
    want(s);
    make_lists(s);
    return rewrite(s, old, made_by);
}

weft_status wf_make_segments(wf_plan *p)
{
    segments s = {0};
    WF_TRY(wf_recompute_init(p, &s.r));
    const weft_status status = run(&s);
    wf_recompute_done(&s.r);
    return status;
}
