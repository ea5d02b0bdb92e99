/* Part of the plan pass fuse: a channel shuffle becomes part of the copies beside it.
 *
 * After a concatenation: concat writes each channel to its shuffled place at once. Before slices,
 * as in the shuffle's gradient: each slice reads its channels from where they were before the
 * shuffle. Values only move, so the bits stay the same. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/gather.h"
#include "engine/plan/plan.h"

static bool is(const wf_ir_node *node, const wf_op *op)
{
    return !node->dead && node->op == op;
}

/* concat -> shuffle, along channels, where nothing else reads the value between them. */
static weft_status join_concat(wf_plan *p, const wf_users *u, wf_ir_node *shuffle)
{
    const int joined = shuffle->in[0], n = p->values[joined].node;
    bool needed;
    if (n < 0 || !is(&p->nodes[n], &wf_op_concat) || wf_ir_users(p, u, joined, &needed) != 1 ||
        needed)
        return WEFT_OK;
    wf_ir_node *concat = &p->nodes[n];
    const wf_concat_attrs *old = concat->attrs;
    if (old->dim != 1 || old->groups != 1)
        return WEFT_OK;
    wf_concat_attrs *attrs = wf_bump_alloc(&p->bump, sizeof *attrs);
    if (!attrs)
        return wf_plan_nomem(p);
    *attrs = *old;
    attrs->groups = ((const wf_shuffle_attrs *)shuffle->attrs)->groups;
    concat->attrs = attrs;
    concat->out[0] = shuffle->out[0];
    p->values[shuffle->out[0]].node = n;
    p->values[joined].node = -1;
    shuffle->dead = true;
    return WEFT_OK;
}

/* The narrow node that reads the shuffled value, according to the note; -1: not one. */
static int narrow_of(const wf_plan *p, const wf_user *user, int shuffled)
{
    const wf_ir_node *n = &p->nodes[user->node];
    return wf_user_valid(p, user, shuffled) && is(n, &wf_op_narrow) ? user->node : -1;
}

/* shuffle -> narrow, narrow, ..., along channels, where nothing else reads the shuffled value. */
static weft_status join_narrow(wf_plan *p, wf_users *u, wf_ir_node *shuffle)
{
    const int shuffled = shuffle->out[0];
    bool needed;
    const int users = wf_ir_users(p, u, shuffled, &needed);
    int slices = 0;
    for (int i = wf_users_first(u, shuffled); i >= 0; i = u->user[i].next) {
        const int n = narrow_of(p, &u->user[i], shuffled);
        const wf_narrow_attrs *a = n >= 0 ? p->nodes[n].attrs : NULL;
        slices += a && a->dim == 1 && a->groups == 1;
    }
    if (needed || slices == 0 || slices != users)
        return WEFT_OK;
    for (int i = wf_users_first(u, shuffled); i >= 0; i = u->user[i].next) {
        const int n = narrow_of(p, &u->user[i], shuffled);
        if (n < 0)
            continue;
        wf_ir_node *narrow = &p->nodes[n];
        wf_narrow_attrs *attrs = wf_bump_alloc(&p->bump, sizeof *attrs);
        if (!attrs)
            return wf_plan_nomem(p);
        *attrs = *(const wf_narrow_attrs *)narrow->attrs;
        attrs->groups = ((const wf_shuffle_attrs *)shuffle->attrs)->groups;
        narrow->attrs = attrs;
        narrow->in = shuffle->in;
        WF_TRY(wf_users_add(p, u, n, 0));
    }
    shuffle->dead = true;
    return WEFT_OK;
}

weft_status wf_fuse_shuffle(wf_plan *p, wf_users *u)
{
    for (int n = 0; n < p->n_nodes; n++) {
        if (is(&p->nodes[n], &wf_op_channel_shuffle))
            WF_TRY(join_concat(p, u, &p->nodes[n]));
        if (is(&p->nodes[n], &wf_op_channel_shuffle))
            WF_TRY(join_narrow(p, u, &p->nodes[n]));
    }
    return WEFT_OK;
}
