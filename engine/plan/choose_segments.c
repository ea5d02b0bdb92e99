/* Part of the plan pass recompute: chooses segments of the forward pass (segments.c) so that a step
 * fits into a given number of bytes, at the least cost in time.
 *
 * The model. A node of the forward pass that makes a large value ends a *unit*. Units are kept, or
 * several in a row form a segment. Memory grows along the forward pass: by what a kept unit holds for
 * the backward pass, by what other units read of a segment. When the backward pass comes to a unit,
 * what the units before it hold is there, and the gradients of that moment, and, in a segment, the
 * remade values of the units up to it:
 *
 *     unit       0     1     2     3     4     5
 *              kept  [ segment A ]      kept  [ segment B ]
 *     held      v0    v2 (read by 3)     v4
 *     backward pass at unit 2: v0 + remade values of 1, 2 + gradients there
 *
 * So both the peak of a segment and what it leaves behind follow from where it begins, where it ends,
 * and from how much is held before it. Dynamic programming over the places between units finds, for
 * each amount held (rounded up to 1 / BUCKETS of the budget), the least time. Its steps: units times
 * LONGEST times BUCKETS.
 *
 * The model leaves out how buffers are packed, weights that are packed for kernels, and partial sums.
 * ir.c compares its answer with the plan that comes of it, and asks again. */
#include <math.h>

#include "engine/base/alloc.h"
#include "engine/plan/readings.h"
#include "engine/plan/segments.h"

enum { BUCKETS = 256, LONGEST = 64 /* units of a segment */ };

typedef struct unit {
    int node;          /* that ends it */
    int value;         /* the largest value that this node makes */
    int last_reader;   /* the last unit of the forward pass that reads it */
    int64_t bytes;     /* of the value */
    bool late;         /* the backward pass reads it, and a copy would cost too much */
    bool repeatable;   /* it can be made again */
    double seconds;    /* to make it */
    int64_t gradients; /* the most bytes that gradients take while the backward pass is here */
} unit;

/* The best way to a place between units with so much held. */
typedef struct way {
    double seconds;   /* of what is made again; INFINITY: there is no way */
    int from, bucket; /* where the last step began */
} way;

typedef struct chooser {
    wf_recompute r;
    unit *unit;
    int n, cap;
    int *unit_of; /* per node of the forward pass */
    way *ways;    /* [n + 1][BUCKETS + 1] */
} chooser;

/* ---- what there is ---- */

static int end_of_forward(const wf_plan *p)
{
    int n = 0;
    while (n < p->n_nodes && (p->nodes[n].dead || !p->nodes[n].backward))
        n++;
    return n;
}

static weft_status find_units(chooser *c)
{
    const wf_plan *p = c->r.p;
    const int end = end_of_forward(p);
    for (int n = 0; n < end; n++) {
        const wf_ir_node *node = &p->nodes[n];
        int value = -1;
        for (int o = 0; o < node->n_out && !node->dead; o++)
            if (wf_ir_is_large(p, node->out[o]) && !c->r.needed[node->out[o]] &&
                (value < 0 || wf_ir_bytes(p, node->out[o]) > wf_ir_bytes(p, value)))
                value = node->out[o];
        c->unit_of[n] = c->n;
        if (value < 0)
            continue;
        if (!wf_grow(&c->unit, &c->cap, c->n, 1, sizeof *c->unit))
            return wf_plan_nomem(c->r.p);
        const int64_t bytes = wf_ir_bytes(p, value);
        c->unit[c->n] = (unit){.node = n,
                               .value = value,
                               .last_reader = c->n,
                               .bytes = bytes,
                               .late = c->r.readings[value] >= 0 && !c->r.dropped[value],
                               .repeatable = wf_ir_repeatable(node),
                               .seconds = wf_forward_seconds(p, node, bytes)};
        c->n++;
    }
    for (int n = 0; n < end; n++)
        for (int i = 0; i < p->nodes[n].n_in && !p->nodes[n].dead; i++) {
            const int made_by = p->values[p->nodes[n].in[i]].node;
            const int u = made_by >= 0 && made_by < end ? c->unit_of[made_by] : c->n;
            if (u < c->n && c->unit[u].node == made_by && c->unit[u].last_reader < c->unit_of[n])
                c->unit[u].last_reader = c->unit_of[n];
        }
    /* Images are made from bytes as convolutions load them: bytes.c. */
    for (int u = 0; u < c->n; u++)
        if (p->nodes[c->unit[u].node].op == &wf_op_normalize_images)
            c->unit[u].bytes = 0;
    return WEFT_OK;
}

/* The first node of the backward pass that reads the value; -1: none. */
static int first_late(const wf_recompute *r, int value)
{
    int first = r->last_late[value];
    for (int i = r->readings[value]; i >= 0; i = r->reading[i].next)
        first = r->reading[i].first < first ? r->reading[i].first : first;
    return first;
}

/* Whether output o of node n will lie in the place of an input (inplace.c), which ends there. */
static bool is_in_place(const wf_recompute *r, const int *last, int n, int o)
{
    const wf_ir_node *node = &r->p->nodes[n];
    const int i = node->op->inplace[o] - 1, v = i >= 0 && i < node->n_in ? node->in[i] : -1;
    return v >= 0 && r->p->values[v].kind == WF_IR_NODE && !r->needed[v] && last[v] == n &&
           wf_ir_bytes(r->p, v) == wf_ir_bytes(r->p, node->out[o]);
}

/* The bytes of gradients and of cheap remade values that are there at each node of the backward
 * pass, in recording order. */
static weft_status find_gradients(chooser *c)
{
    wf_plan *p = c->r.p;
    int64_t *live = wf_bump_alloc(&p->bump, ((size_t)p->n_nodes + 2) * sizeof *live);
    int *last = wf_bump_alloc(&p->bump, ((size_t)p->n_values + 1) * sizeof *last);
    if (!live || !last)
        return wf_plan_nomem(p);
    for (int n = 0; n < p->n_nodes; n++)
        for (int i = 0; i < p->nodes[n].n_in && !p->nodes[n].dead; i++)
            last[p->nodes[n].in[i]] = n;
    for (int n = 0; n < p->n_nodes; n++)
        for (int o = 0; o < p->nodes[n].n_out && p->nodes[n].backward; o++) {
            const int v = p->nodes[n].out[o];
            if (p->nodes[n].dead || c->r.needed[v] || !wf_ir_is_large(p, v))
                continue;
            live[n + is_in_place(&c->r, last, n, o)] += wf_ir_bytes(p, v);
            live[(last[v] > n ? last[v] : n) + 1] -= wf_ir_bytes(p, v);
        }
    for (int v = 0; v < p->n_values; v++)
        if (c->r.dropped[v]) {
            live[first_late(&c->r, v)] += wf_ir_bytes(p, v);
            live[c->r.last_late[v] + 1] -= wf_ir_bytes(p, v);
        }
    for (int n = 0; n < p->n_nodes; n++)
        live[n + 1] += live[n];
    int before = p->n_nodes - 1; /* where the backward pass comes to the unit before */
    for (int u = 0; u < c->n; u++) {
        const int v = c->unit[u].value, first = first_late(&c->r, v);
        if (first < 0)
            continue;
        const int end = before > c->r.last_late[v] && before > first ? before : c->r.last_late[v];
        for (int n = first; n <= end; n++)
            if (live[n] > c->unit[u].gradients)
                c->unit[u].gradients = live[n];
        before = first;
    }
    return WEFT_OK;
}

/* ---- segments ---- */

typedef struct segment {
    int64_t left; /* what it leaves for the backward pass */
    int64_t peak; /* above what is held before it */
    double seconds;
} segment;

/* Units [i, j) as a segment. */
static segment segment_of(const chooser *c, int i, int j)
{
    segment s = {0};
    int64_t remade = 0;
    for (int u = i; u < j; u++) {
        const unit *x = &c->unit[u];
        const bool inside = x->last_reader < j && x->repeatable;
        if (inside) {
            remade += x->late ? x->bytes : 0;
            s.seconds += x->seconds;
        } else if (c->r.readings[x->value] >= 0) {
            s.left += x->bytes;
        }
        if (remade + x->gradients > s.peak)
            s.peak = remade + x->gradients;
    }
    return s;
}

/* What a segment that begins at unit i reads of units before it and that nothing else holds. */
static int64_t *extra_inputs(chooser *c)
{
    int64_t *extra = wf_bump_alloc(&c->r.p->bump, ((size_t)c->n + 2) * sizeof *extra);
    for (int u = 0; u < c->n && extra; u++) {
        const unit *x = &c->unit[u];
        if (c->r.readings[x->value] >= 0 || x->last_reader <= u)
            continue;
        extra[u + 1] += x->bytes;
        extra[x->last_reader + 1] -= x->bytes;
    }
    for (int u = 0; u < c->n && extra; u++)
        extra[u + 1] += extra[u];
    return extra;
}

static void step(chooser *c, int from, int to, const segment *s, int64_t extra, double budget)
{
    const double bucket = budget / BUCKETS;
    for (int b = 0; b <= BUCKETS; b++) {
        const way *w = &c->ways[from * (BUCKETS + 1) + b];
        if (isinf(w->seconds))
            continue;
        const double held = bucket * b + (double)extra;
        const double left = ceil((held + (double)s->left) / bucket);
        if (held + (double)s->peak > budget || left > BUCKETS)
            break; /* and so it is where more is held */
        way *best = &c->ways[to * (BUCKETS + 1) + (int)left];
        if (w->seconds + s->seconds < best->seconds)
            *best = (way){w->seconds + s->seconds, from, b};
    }
}

/* Fills in the ways for a budget. Returns the last step's bucket; -1: there is no way. */
static int find_ways(chooser *c, const int64_t *extra, double budget)
{
    for (int i = 0; i < (c->n + 1) * (BUCKETS + 1); i++)
        c->ways[i] = (way){INFINITY, -1, -1};
    c->ways[0].seconds = 0;
    for (int i = 0; i < c->n; i++) {
        const unit *x = &c->unit[i];
        const int64_t held = x->late ? x->bytes : 0;
        step(c, i, i + 1, &(segment){held, held + x->gradients, 0}, 0, budget);
        for (int j = i + 1; j <= c->n && j <= i + LONGEST; j++) {
            const segment s = segment_of(c, i, j);
            if (s.peak > budget)
                break; /* and so are those of longer segments */
            if (s.seconds > 0)
                step(c, i, j, &s, extra[i], budget);
        }
    }
    int best = -1;
    for (int b = 0; b <= BUCKETS; b++) {
        const way *w = &c->ways[c->n * (BUCKETS + 1) + b];
        if (!isinf(w->seconds) &&
            (best < 0 || w->seconds < c->ways[c->n * (BUCKETS + 1) + best].seconds))
            best = b;
    }
    return best;
}

/* What the step takes if all units are kept. */
static double peak_of_all(const chooser *c)
{
    double held = 0, peak = 1;
    for (int u = 0; u < c->n; u++) {
        held += c->unit[u].late ? (double)c->unit[u].bytes : 0;
        peak = fmax(peak, held + (double)c->unit[u].gradients);
    }
    return peak;
}

/* Gives the nodes their segments. */
static void mark(chooser *c, int bucket)
{
    const wf_plan *p = c->r.p;
    int number = 0;
    for (int n = 0; n < p->n_nodes; n++)
        p->nodes[n].segment = 0;
    for (int to = c->n; to > 0;) {
        const way *w = &c->ways[to * (BUCKETS + 1) + bucket];
        const way *before = &c->ways[w->from * (BUCKETS + 1) + w->bucket];
        if (w->seconds > before->seconds) {
            number++;
            for (int n = w->from > 0 ? c->unit[w->from - 1].node + 1 : 0; n <= c->unit[to - 1].node;
                 n++)
                p->nodes[n].segment = number;
        }
        to = w->from;
        bucket = w->bucket;
    }
}

static weft_status choose(chooser *c)
{
    wf_plan *p = c->r.p;
    c->unit_of = wf_bump_alloc(&p->bump, ((size_t)p->n_nodes + 1) * sizeof *c->unit_of);
    if (!c->unit_of)
        return wf_plan_nomem(p);
    wf_recompute_decide(&c->r);
    WF_TRY(find_units(c));
    WF_TRY(find_gradients(c));
    const int64_t *extra = extra_inputs(c);
    c->ways = wf_alloc_array(((size_t)c->n + 1) * (BUCKETS + 1), sizeof *c->ways);
    if (!extra || !c->ways)
        return wf_plan_nomem(p);
    const double most = peak_of_all(c);
    double low = 0, high = most, budget = p->budget * most;
    int bucket = budget > 0 ? find_ways(c, extra, budget) : -1;
    for (int i = 0; i < 8 && bucket < 0; i++) { /* the least budget for which there is a way */
        budget = (low + high) / 2;
        if (budget > 0 && find_ways(c, extra, budget) >= 0)
            high = budget;
        else
            low = budget;
    }
    if (bucket < 0) {
        bucket = find_ways(c, extra, high);
        p->budget = high / most;
    }
    if (bucket >= 0)
        mark(c, bucket);
    return WEFT_OK;
}

weft_status wf_choose_segments(wf_plan *p)
{
    chooser c = {0};
    WF_TRY(wf_recompute_init(p, &c.r));
    const weft_status status = choose(&c);
    wf_recompute_done(&c.r);
    wf_free(c.unit);
    wf_free(c.ways);
    return status;
}
