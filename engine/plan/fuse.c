/* Plan pass fuse: replaces groups of nodes by one node that passes over memory once. (chain.c puts
 * tasks together.)
 *
 * Forward: bn_apply, an optional residual addition and ReLU or ReLU6 become one bn_act, which also
 * writes the bit mask of where the derivative is 1. Backward: BatchNorm's two gradient ops read the
 * mask, and the activation's own gradient op disappears.
 *
 * SiLU and Hardswish also become part of bn_act, where bn_backward_reduce can compute their
 * gradient: it computes the activation's input again, so that the step need not store this input.
 *
 * Every rewrite gives the same bits as the separate ops. */
#include "engine/graph/ops/batch_norm.h"
#include "engine/plan/plan.h"

/* The only live node that reads `value`. -1 where none or several do, or where the value is also
 * kept or assigned. */
static int only_user(const wf_plan *p, const wf_users *u, int value)
{
    bool needed;
    if (wf_ir_users(p, u, value, &needed) != 1 || needed)
        return -1;
    for (int i = wf_users_first(u, value); i >= 0; i = u->user[i].next)
        if (wf_user_valid(p, &u->user[i], value))
            return u->user[i].node;
    return -1;
}

/* Gives the node other inputs. Earlier notes of its inputs become invalid by themselves:
 * wf_user_valid. */
static weft_status replace_inputs(wf_plan *p, wf_users *u, int node, int *in, int n_in)
{
    wf_ir_node *n = &p->nodes[node];
    const int *old = n->in, n_old = n->n_in;
    n->in = in;
    n->n_in = n_in;
    for (int i = 0; i < n_in; i++)
        if (i >= n_old || old[i] != in[i])
            WF_TRY(wf_users_add(p, u, node, i));
    return WEFT_OK;
}

static bool is(const wf_plan *p, int node, const wf_op *op)
{
    return node >= 0 && !p->nodes[node].dead && p->nodes[node].op == op;
}

/* Activations that can become part of BatchNorm's node. */
typedef struct activation {
    const wf_op *op, *backward;
    wf_norm_f f;
} activation;
static const activation activations[] = {
    {&wf_op_relu, &wf_op_relu_backward, WF_NORM_RELU},
    {&wf_op_relu6, &wf_op_relu6_backward, WF_NORM_RELU6},
    {&wf_op_silu, &wf_op_silu_backward, WF_NORM_SILU},
    {&wf_op_hardswish, &wf_op_hardswish_backward, WF_NORM_HARDSWISH},
};

/* The activation whose op, or whose gradient op where `backward`, the node is; NULL: none. */
static const activation *activation_of(const wf_plan *p, int node, bool backward)
{
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++)
        if (is(p, node, backward ? activations[i].backward : activations[i].op))
            return &activations[i];
    return NULL;
}

/* ---- forward ---- */

/* The nodes bn_apply -> (add ->) activation, and the other operand of add. */
typedef struct forward_match {
    int apply, add, relu; /* add: -1 where there is none */
    int residual;         /* value */
    wf_norm_f f;
} forward_match;

static bool match_forward(const wf_plan *p, const wf_users *u, int apply, forward_match *m)
{
    if (!is(p, apply, &wf_op_bn_apply))
        return false;
    int y = p->nodes[apply].out[0], next = only_user(p, u, y);
    *m = (forward_match){apply, -1, next, -1, WF_NORM_LINEAR};
    if (is(p, next, &wf_op_add)) {
        const wf_ir_node *add = &p->nodes[next];
        m->add = next;
        m->residual = add->in[0] == y ? add->in[1] : add->in[0];
        m->relu = only_user(p, u, add->out[0]);
        if (!weft_shape_equal(p->values[m->residual].type.shape, p->values[y].type.shape))
            return false;
    }
    const activation *a = activation_of(p, m->relu, false);
    if (!a || wf_norm_recomputes(a->f))
        return false;
    m->f = a->f;
    return true;
}

/* bn_act takes the activation's place in the list of nodes: there the residual has been
 * computed. */
static weft_status rewrite_forward(wf_plan *p, wf_users *u, const forward_match *m)
{
    const wf_ir_node *apply = &p->nodes[m->apply];
    const bool residual = m->add >= 0;
    wf_bn_apply_attrs *attrs = wf_bump_alloc(&p->bump, sizeof *attrs);
    int *in = wf_bump_alloc(&p->bump, 6 * sizeof *in);
    const wf_type x = p->values[apply->in[0]].type;
    int mask = wf_ir_new_value(
        p, (wf_type){WEFT_U8, WEFT_SHAPE(wf_bn_split_count(&x.shape), wf_bn_mask_bytes(&x.shape))});
    if (!attrs || !in || mask < 0)
        return wf_plan_nomem(p);
    *attrs = *(const wf_bn_apply_attrs *)apply->attrs;
    attrs->residual = residual;
    attrs->f = m->f;
    for (int i = 0; i < 5; i++)
        in[i] = apply->in[i];
    in[5] = m->residual;
    wf_ir_node *node = &p->nodes[m->relu];
    node->op = &wf_op_bn_act;
    node->attrs = attrs;
    WF_TRY(replace_inputs(p, u, m->relu, in, residual ? 6 : 5));
    node->out[1] = mask;
    node->n_out = 2;
    node->path = apply->path;
    p->values[mask].node = m->relu;
    p->values[mask].out = 1;
    p->nodes[m->apply].dead = true;
    if (residual)
        p->nodes[m->add].dead = true;
    return WEFT_OK;
}

/* ---- backward ---- */

/* The nodes that read d, the output of the activation's gradient op: one BatchNorm's reduce and
 * apply, and perhaps the residual's branch (others). */
typedef struct backward_match {
    int reduce, apply;
    bool others;
} backward_match;

static bool match_backward(const wf_plan *p, const wf_users *u, int back, int act,
                           backward_match *m)
{
    /* Two BatchNorms may be added to each other: then d goes to both. Input and statistics tell
     * which one belongs to this activation. */
    const int d = p->nodes[back].out[0], x = p->nodes[act].in[0], invstd = p->nodes[act].in[2];
    *m = (backward_match){-1, -1, false};
    bool needed;
    wf_ir_users(p, u, d, &needed);
    if (needed)
        return false;
    int first_other = p->n_nodes;
    for (int k = wf_users_first(u, d); k >= 0; k = u->user[k].next) {
        const int n = u->user[k].node, i = u->user[k].at;
        const wf_ir_node *node = &p->nodes[n];
        if (!wf_user_valid(p, &u->user[k], d))
            continue;
        if (node->op == &wf_op_bn_backward_reduce && node->n_in == 4 && i == 1 &&
            node->in[0] == x && node->in[3] == invstd) {
            m->reduce = n > m->reduce ? n : m->reduce;
        } else if (node->op == &wf_op_bn_backward_apply && i == 0 && node->in[1] == invstd &&
                   (node->n_in == 3 || (node->n_in == 7 && node->in[3] == x))) {
            m->apply = n > m->apply ? n : m->apply;
        } else {
            m->others = true;
            first_other = n < first_other ? n : first_other;
        }
    }
    /* bn_backward_apply will also give the residual's gradient, so it must come before the first
     * other reader of d. */
    return m->apply >= 0 && first_other > m->apply;
}

static weft_status append_mask(wf_plan *p, wf_users *u, int n, int dy_at, int dy, int mask)
{
    const wf_ir_node *node = &p->nodes[n];
    int *in = wf_bump_alloc(&p->bump, (size_t)(node->n_in + 1) * sizeof *in);
    if (!in)
        return wf_plan_nomem(p);
    for (int i = 0; i < node->n_in; i++)
        in[i] = node->in[i];
    in[dy_at] = dy;
    in[node->n_in] = mask;
    return replace_inputs(p, u, n, in, node->n_in + 1);
}

static weft_status rewrite_backward(wf_plan *p, wf_users *u, int back, int act,
                                    const backward_match *m)
{
    const int dz = p->nodes[back].in[1], d = p->nodes[back].out[0], mask = p->nodes[act].out[1];
    if (m->reduce >= 0)
        WF_TRY(append_mask(p, u, m->reduce, 1, dz, mask));
    WF_TRY(append_mask(p, u, m->apply, 0, dz, mask));
    p->nodes[back].dead = true;
    if (!m->others)
        return WEFT_OK;
    wf_ir_node *apply = &p->nodes[m->apply];
    wf_bn_apply_attrs *attrs = wf_bump_alloc(&p->bump, sizeof *attrs);
    if (!attrs)
        return wf_plan_nomem(p);
    *attrs = *(const wf_bn_apply_attrs *)apply->attrs;
    attrs->residual = 1;
    apply->attrs = attrs;
    apply->out[1] = d;
    apply->n_out = 2;
    p->values[d].node = m->apply;
    p->values[d].out = 1;
    return WEFT_OK;
}

/* ---- activations whose input the backward pass computes again ---- */

/* The nodes bn_apply -> activation; with a backward pass also the activation's gradient op `back`,
 * and the bn_backward_reduce that reads what `back` gives. */
typedef struct again_match {
    int apply, act, back, reduce; /* back, reduce: -1 where there is no backward pass */
    wf_norm_f f;
} again_match;

/* The bn_backward_reduce of this bn_apply, where it is the first node that reads d; -1: it is
 * not. */
static int first_reduce(const wf_plan *p, const wf_users *u, int d, int apply)
{
    const int x = p->nodes[apply].in[0], invstd = p->nodes[apply].in[2];
    int first = p->n_nodes, at = 0;
    for (int k = wf_users_first(u, d); k >= 0; k = u->user[k].next) {
        const wf_user *user = &u->user[k];
        if (wf_user_valid(p, user, d) &&
            (user->node < first || (user->node == first && user->at < at))) {
            first = user->node;
            at = user->at;
        }
    }
    if (first == p->n_nodes)
        return -1;
    const wf_ir_node *node = &p->nodes[first];
    return node->op == &wf_op_bn_backward_reduce && node->n_in == 4 && at == 1 &&
                   node->in[0] == x && node->in[3] == invstd
               ? first
               : -1;
}

static bool match_again(const wf_plan *p, const wf_users *u, int act, again_match *m)
{
    const activation *a = activation_of(p, act, false);
    if (!a || !wf_norm_recomputes(a->f))
        return false;
    const int z = p->nodes[act].in[0];
    *m = (again_match){p->values[z].node, act, -1, -1, a->f};
    bool needed;
    const int users = wf_ir_users(p, u, z, &needed);
    if (!is(p, m->apply, &wf_op_bn_apply) || needed || users > 2)
        return false;
    for (int k = users == 2 ? wf_users_first(u, z) : -1; k >= 0; k = u->user[k].next)
        if (u->user[k].at == 0 && wf_user_valid(p, &u->user[k], z) &&
            is(p, u->user[k].node, a->backward) && u->user[k].node > m->back)
            m->back = u->user[k].node;
    if (m->back >= 0)
        m->reduce = first_reduce(p, u, p->nodes[m->back].out[0], m->apply);
    return users == 1 || m->reduce >= 0;
}

static weft_status rewrite_again(wf_plan *p, wf_users *u, const again_match *m)
{
    const wf_ir_node *apply = &p->nodes[m->apply];
    wf_bn_apply_attrs *attrs = wf_bump_alloc(&p->bump, sizeof *attrs);
    int *in = wf_bump_alloc(&p->bump, 6 * sizeof *in);
    if (!attrs || !in)
        return wf_plan_nomem(p);
    *attrs = *(const wf_bn_apply_attrs *)apply->attrs;
    attrs->f = m->f;
    wf_ir_node *act = &p->nodes[m->act];
    act->op = &wf_op_bn_act;
    act->attrs = attrs;
    WF_TRY(replace_inputs(p, u, m->act, apply->in, apply->n_in));
    act->path = apply->path;
    p->nodes[m->apply].dead = true;
    if (m->back < 0)
        return WEFT_OK;
    wf_ir_node *back = &p->nodes[m->back], *reduce = &p->nodes[m->reduce];
    for (int i = 0; i < 4; i++)
        in[i] = reduce->in[i];
    in[1] = back->in[1];  /* dy itself; before, the gradient that `back` computed from it */
    in[4] = apply->in[3]; /* gamma */
    in[5] = apply->in[4]; /* beta */
    WF_TRY(replace_inputs(p, u, m->reduce, in, 6));
    reduce->attrs = attrs;
    reduce->out[2] = back->out[0];
    reduce->n_out = 3;
    p->values[back->out[0]].node = m->reduce;
    p->values[back->out[0]].out = 2;
    back->dead = true;
    return WEFT_OK;
}

static weft_status fuse(wf_plan *p, wf_users *u)
{
    for (int n = 0; n < p->n_nodes; n++) {
        forward_match m;
        if (match_forward(p, u, n, &m))
            WF_TRY(rewrite_forward(p, u, &m));
    }
    for (int n = 0; n < p->n_nodes; n++) {
        again_match m;
        if (match_again(p, u, n, &m))
            WF_TRY(rewrite_again(p, u, &m));
    }
    for (int n = 0; n < p->n_nodes; n++) {
        const activation *a = activation_of(p, n, true);
        if (!a || wf_norm_recomputes(a->f))
            continue;
        int act = p->values[p->nodes[n].in[0]].node;
        backward_match m;
        if (is(p, act, &wf_op_bn_act) && match_backward(p, u, n, act, &m))
            WF_TRY(rewrite_backward(p, u, n, act, &m));
    }
    for (int n = 0; n < p->n_nodes; n++) {
        bool needed;
        if (is(p, n, &wf_op_bn_act) && p->nodes[n].n_out == 2 &&
            wf_ir_users(p, u, p->nodes[n].out[1], &needed) == 0 && !needed)
            p->nodes[n].n_out = 1; /* nobody reads the mask: evaluation */
    }
    WF_TRY(wf_fuse_pool(p, u));
    return wf_fuse_shuffle(p, u);
}

weft_status wf_pass_fuse(wf_plan *p)
{
    if ((p->passes_off & WEFT_PASS_FUSE) || p->keep_all)
        return WEFT_OK;
    wf_users u;
    WF_TRY(wf_users_init(p, &u));
    const weft_status status = fuse(p, &u);
    wf_users_done(&u);
    return status;
}
