/* Part of the plan pass fuse: where ReLU's output was pooled by max pooling, ReLU's gradient comes
 * before the pooling's.
 *
 * As recorded, max_pool2d_backward spreads the gradient over the image, and then relu_backward
 * clears it where ReLU's output was 0. A window's maximum is 0 exactly where ReLU cleared all of
 * the window. So where windows do not overlap the gradient can be cleared before it is spread: this
 * gives the same bits with fewer pixels. And the backward pass no longer reads ReLU's output, but
 * the smaller pooled value, which the next convolution needs anyway. */
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/pool2d.h"
#include "engine/plan/plan.h"

/* The nodes relu_backward(z, max_pool2d_backward(dy, index)), where pooling z gave the pooled
 * value. */
typedef struct pool_match {
    int pool_back;  /* node */
    int dy, pooled; /* values */
} pool_match;

static bool match(const wf_plan *p, const wf_users *u, const wf_ir_node *relu_back, pool_match *m)
{
    const int z = relu_back->in[0], d = relu_back->in[1];
    bool needed;
    if (wf_ir_users(p, u, d, &needed) != 1 || needed || p->values[d].kind != WF_IR_NODE)
        return false;
    m->pool_back = p->values[d].node;
    const wf_ir_node *back = &p->nodes[m->pool_back];
    if (back->op != &wf_op_max_pool2d_backward)
        return false;
    const int made_index =
        p->values[back->in[1]].kind == WF_IR_NODE ? p->values[back->in[1]].node : -1;
    /* Where windows overlap, a pixel's gradient is a sum, and the order of its terms is the kernel's, which
     * depends on the layout: that of dy as recorded, of the pooled value here. */
    const wf_pool2d_attrs *a = back->attrs;
    if (a->adaptive || a->dilation[0] != 1 || a->dilation[1] != 1 || a->kernel[0] > a->stride[0] ||
        a->kernel[1] > a->stride[1])
        return false;
    if (made_index < 0 || p->nodes[made_index].op != &wf_op_max_pool2d ||
        p->nodes[made_index].in[0] != z || p->values[z].kind != WF_IR_NODE ||
        p->nodes[p->values[z].node].op != &wf_op_relu)
        return false;
    m->dy = back->in[0];
    m->pooled = p->nodes[made_index].out[0];
    const weft_dtype t = p->values[d].storage;
    return p->values[m->dy].storage == t && p->values[m->pooled].storage == t &&
           p->values[z].storage == t;
}

/* Swaps the two nodes. */
static weft_status rewrite(wf_plan *p, wf_users *u, int relu_back, const pool_match *m)
{
    const int cleared = wf_ir_new_value(p, p->values[m->pooled].type);
    int *relu_in = wf_bump_alloc(&p->bump, 2 * sizeof *relu_in);
    int *pool_in = wf_bump_alloc(&p->bump, 2 * sizeof *pool_in);
    if (cleared < 0 || !relu_in || !pool_in)
        return wf_plan_nomem(p);
    wf_ir_node relu = p->nodes[relu_back], pool = p->nodes[m->pool_back];
    const int out = relu.out[0], spread = pool.out[0];
    relu_in[0] = m->pooled;
    relu_in[1] = m->dy;
    pool_in[0] = cleared;
    pool_in[1] = pool.in[1];
    relu.in = relu_in;
    relu.out[0] = cleared;
    pool.in = pool_in;
    pool.out[0] = out;
    p->nodes[m->pool_back] = relu;
    p->nodes[relu_back] = pool;
    p->values[cleared].storage = p->values[m->dy].storage;
    p->values[cleared].node = m->pool_back;
    p->values[cleared].out = 0;
    p->values[spread].node = -1; /* no node gives it any more */
    for (int i = 0; i < 2; i++) {
        WF_TRY(wf_users_add(p, u, m->pool_back, i));
        WF_TRY(wf_users_add(p, u, relu_back, i));
    }
    return WEFT_OK;
}

weft_status wf_fuse_pool(wf_plan *p, wf_users *u)
{
    for (int n = 0; n < p->n_nodes; n++) {
        pool_match m;
        if (!p->nodes[n].dead && p->nodes[n].op == &wf_op_relu_backward &&
            match(p, u, &p->nodes[n], &m))
            WF_TRY(rewrite(p, u, n, &m));
    }
    return WEFT_OK;
}
