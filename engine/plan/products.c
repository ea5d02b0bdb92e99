/* Part of the plan pass recompute: convolutions whose outputs cost little to make again for the bytes
 * that they take.
 *
 * A 1x1 convolution from 64 channels to 256 sums 64 products for each element that it writes, a 3x3
 * convolution of 256 channels 2,304. BatchNorm's gradient reads the output, so it is kept from the
 * forward pass to the backward pass. In ResNet-50 four such outputs of the first stage are a quarter
 * of all that is kept, and their products one part in sixty of the step's.
 *
 * So each of these convolutions becomes a segment of its own (segments.c): the backward pass runs it
 * again before the first node that needs its output. This may be a cheap copy of the activation behind
 * it. The convolutions with the most bytes a second come first, as long as all of them together take
 * at most one part in TIME_SHARE of the step's time, by the model below. So the rule asks nothing of
 * small steps that have room, and changes no step's speed by much.
 *
 * Which convolutions may be run again so:
 * - the output is large, nobody wants it after the step, and the backward pass reads it;
 * - in the forward pass only cheap ops and ops with small outputs read it (statistics, activations),
 *   which run at once;
 * - the backward pass reads the input, too, as the weight gradient does: it is there or is made again
 *   cheaply, and not from another convolution that is run again. */
#include <stdlib.h>

#include "engine/plan/readings.h"
#include "engine/plan/segments.h"

#define TIME_SHARE 64
#define MOVES_MOST 6                   /* it takes at most as long as moving the output so often */
#define LEAST_BYTES ((int64_t)2 << 20) /* of an output: less is not worth its tasks */
enum { DEPTH_MOST = 16 };              /* cheap ops between two convolutions */

typedef struct candidate {
    int node;
    double seconds, bytes;
} candidate;

/* Seconds of a node, of reading and writing its large values, and, if it is made again, of making
 * inputs that are dropped. */
static double seconds_of(const wf_recompute *r, const wf_ir_node *n, bool again)
{
    const wf_plan *p = r->p;
    int64_t bytes = 0;
    for (int i = 0; i < n->n_in; i++)
        bytes += wf_ir_is_large(p, n->in[i])
                     ? wf_ir_bytes(p, n->in[i]) * (again && r->dropped[n->in[i]] ? 3 : 1)
                     : 0;
    for (int o = 0; o < n->n_out; o++)
        bytes += wf_ir_is_large(p, n->out[o]) ? wf_ir_bytes(p, n->out[o]) : 0;
    return wf_forward_seconds(p, n, bytes);
}

static int most_bytes_a_second_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    const double left = x->bytes * y->seconds, right = y->bytes * x->seconds;
    return left != right ? (left < right ? 1 : -1) : x->node - y->node;
}

/* Whether the forward pass is soon done with the value: *ends is per value. */
static void find_ends(const wf_plan *p, char *ends)
{
    for (int v = 0; v < p->n_values; v++)
        ends[v] = 1;
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        if (node->dead || node->backward)
            continue;
        bool passes = (node->op->flags & WF_OP_CHEAP) != 0;
        for (int o = 0; o < node->n_out && !passes; o++)
            passes = !wf_ir_is_large(p, node->out[o]);
        for (int i = 0; i < node->n_in && !passes; i++)
            ends[node->in[i]] = 0;
    }
}

static bool may_run_again(const wf_recompute *r, const char *ends, int n)
{
    const wf_plan *p = r->p;
    const wf_ir_node *node = &p->nodes[n];
    if (node->dead || node->op != &wf_op_conv2d || node->backward || node->segment ||
        !wf_ir_repeatable(node))
        return false;
    const int in = node->in[0], out = node->out[0];
    return !r->needed[out] && ends[out] && r->readings[out] >= 0 && r->readings[in] >= 0 &&
           wf_ir_bytes(p, out) >= LEAST_BYTES && p->values[in].kind == WF_IR_NODE &&
           p->values[in].node >= 0 && p->nodes[p->values[in].node].op != &wf_op_normalize_images;
}

/* Whether a chosen convolution made the value, or one of those from which it is made again. With
 * `mark` it also notes them all in `below`. */
static bool comes_from(const wf_recompute *r, const char *chosen, char *below, int value, int depth,
                       bool mark)
{
    const wf_plan *p = r->p;
    const int n = p->values[value].node;
    if (depth > DEPTH_MOST || (n >= 0 && chosen[n]))
        return true;
    if (mark)
        below[value] = 1;
    bool any = false;
    const bool kept = r->readings[value] >= 0 && !r->dropped[value];
    for (int i = 0; !kept && n >= 0 && i < p->nodes[n].n_in; i++)
        any |= comes_from(r, chosen, below, p->nodes[n].in[i], depth + 1, mark);
    return any;
}

static weft_status choose(wf_plan *p, wf_recompute *r)
{
    candidate *list = wf_bump_alloc(&p->bump, ((size_t)p->n_nodes + 1) * sizeof *list);
    char *ends = wf_bump_alloc(&p->bump, (size_t)p->n_values + 1);
    char *below = wf_bump_alloc(&p->bump, (size_t)p->n_values + 1);
    char *chosen = wf_bump_alloc(&p->bump, (size_t)p->n_nodes + 1);
    if (!list || !ends || !below || !chosen)
        return wf_plan_nomem(p);
    int n_list = 0, segments = 0;
    double room = 0;
    find_ends(p, ends);
    for (int n = 0; n < p->n_nodes; n++) {
        const wf_ir_node *node = &p->nodes[n];
        if (node->dead || node->backward)
            continue;
        room +=
            3 * seconds_of(r, node, false) / TIME_SHARE; /* the backward pass takes twice as long */
        segments = node->segment > segments ? node->segment : segments;
        if (!may_run_again(r, ends, n))
            continue;
        const double seconds = seconds_of(r, node, true);
        /* bf16 halves the bytes, and about halves the time of the products, which the model ignores */
        const double bytes = 4.0 * (double)weft_shape_count(p->values[node->out[0]].type.shape);
        if (seconds <= MOVES_MOST * bytes / WF_BYTES_A_SECOND)
            list[n_list++] = (candidate){n, seconds, bytes};
    }
    qsort(list, (size_t)n_list, sizeof *list, most_bytes_a_second_first);
    for (int i = 0; i < n_list; i++) {
        const int n = list[i].node, in = p->nodes[n].in[0];
        if (list[i].seconds > room || below[p->nodes[n].out[0]] ||
            comes_from(r, chosen, below, in, 0, false))
            continue;
        room -= list[i].seconds;
        chosen[n] = 1;
        comes_from(r, chosen, below, in, 0, true);
        p->nodes[n].segment = ++segments;
        p->nodes[n].product = true;
    }
    return WEFT_OK;
}

weft_status wf_choose_products(wf_plan *p)
{
    wf_recompute r;
    WF_TRY(wf_recompute_init(p, &r));
    wf_recompute_decide(&r);
    const weft_status status = choose(p, &r);
    wf_recompute_done(&r);
    return status;
}
