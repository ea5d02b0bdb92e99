/* Plan pass slices: concatenations and slices of channels without copies.
 *
 * A value that concat joins to others along the channels is written straight to its place in the
 * joined value. A value that narrow takes from others is read from its place in the whole value.
 * Both need channels that begin at whole channel blocks: then the value's share of an image is one
 * run of bytes, at the same place in every image. Such a value is a *slice* and has no buffer of
 * its own. So all features of a dense block lie in one buffer, and every layer's input is the first
 * part of it.
 *
 * An op that reads or writes a slice must step from image to image by the buffer's stride
 * (WF_OP_BY_IMAGE). The plan knows which bytes of an image a task accesses. So tasks that write
 * different slices do not wait for each other (chain.c). */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/gather.h"
#include "engine/plan/plan.h"

static size_t image_bytes(const wf_ir_value *v)
{
    return wf_act_count(wf_ir_act(v)) * weft_dtype_size(v->storage);
}

static bool needed(const wf_plan *p, const wf_users *u, int value)
{
    return u->assigned[value] || p->values[value].keep;
}

static bool reads_by_image(const wf_ir_node *n, int i)
{
    return (n->op->flags & WF_OP_BY_IMAGE) && n->op->weights != i + 1;
}
static bool writes_by_image(const wf_ir_node *n)
{
    return (n->op->flags & WF_OP_BY_IMAGE) && n->op != &wf_op_conv2d_backward_weights;
}

/* Whether the value can lie inside another one: all its readers must allow that. */
static bool can_be_slice(const wf_plan *p, const wf_users *u, int value)
{
    const wf_ir_value *v = &p->values[value];
    if (v->kind != WF_IR_NODE || v->node < 0 || v->slice_of >= 0 || v->type.shape.rank != 4 ||
        needed(p, u, value))
        return false;
    for (int i = wf_users_first(u, value); i >= 0; i = u->user[i].next)
        if (!reads_by_image(&p->nodes[u->user[i].node], u->user[i].at))
            return false;
    return true;
}

/* Makes the inputs of a concatenation along channels slices of its output. */
static void place_inputs(wf_plan *p, const wf_users *users, const wf_ir_node *concat)
{
    const wf_concat_attrs *a = concat->attrs;
    const int joined = concat->out[0];
    const wf_ir_value *v = &p->values[joined];
    if (a->dim != 1 || a->groups != 1 || v->type.shape.rank != 4 || needed(p, users, joined))
        return;
    for (int i = 0; i < concat->n_in - 1; i++)
        if (p->values[concat->in[i]].type.shape.dim[1] % v->block != 0)
            return; /* then concat.c copies */
    size_t at = 0;
    for (int i = 0; i < concat->n_in; i++) {
        wf_ir_value *u = &p->values[concat->in[i]];
        if (can_be_slice(p, users, concat->in[i]) && writes_by_image(&p->nodes[u->node])) {
            u->slice_of = joined;
            u->slice_at = at;
        }
        at += image_bytes(u);
    }
}

/* Makes the output of a narrow along channels a slice of its input. */
static void place_output(wf_plan *p, const wf_users *users, const wf_ir_node *narrow)
{
    const wf_narrow_attrs *a = narrow->attrs;
    const wf_ir_value *x = &p->values[narrow->in[0]];
    wf_ir_value *u = &p->values[narrow->out[0]];
    if (a->dim != 1 || a->groups != 1 || x->kind != WF_IR_NODE || needed(p, users, narrow->in[0]) ||
        !can_be_slice(p, users, narrow->out[0]) || a->start % x->block != 0 ||
        (a->length % x->block != 0 && a->start + a->length != x->type.shape.dim[1]))
        return;
    const size_t pixels = (size_t)x->type.shape.dim[2] * (size_t)x->type.shape.dim[3];
    u->slice_of = narrow->in[0];
    u->slice_at = (size_t)a->start * pixels * weft_dtype_size(x->storage);
}

weft_status wf_pass_slices(wf_plan *p)
{
    if ((p->passes_off & WEFT_PASS_SLICES) || p->keep_all)
        return WEFT_OK;
    wf_users users;
    WF_TRY(wf_users_init(p, &users));
    for (int n = 0; n < p->n_nodes; n++) {
        if (p->nodes[n].op == &wf_op_concat)
            place_inputs(p, &users, &p->nodes[n]);
        else if (p->nodes[n].op == &wf_op_narrow)
            place_output(p, &users, &p->nodes[n]);
    }
    wf_users_done(&users);
    return WEFT_OK;
}
