/* Part of the plan pass memory: buffers in the place of others.
 *
 * An op may say that an output may overwrite an input (wf_op.inplace). Where the input's buffer ends
 * with the op, the output takes its place: the gradient of BatchNorm's input lies where the gradient
 * of its output was, the residual branch's gradient where the convolution's output was. Without this
 * both would be there while the op runs, which is often the peak of the backward pass.
 *
 * The conditions: one task reads the input and writes the output, tile by tile or piece by piece, in the same layout;
 * no later task group of the linear order, and no later task of the same group, uses the input; and
 * nothing before this task uses the output. Other readers of the input then need an edge to this
 * task's group, as for any shared bytes: memory.c. */
#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

/* Whether the task uses the buffer, or a slice of it; *tiled: only the buffer, and only so that no two
 * tiles touch the same bytes. */
static bool uses(const wf_plan *p, const wf_task *t, wf_buf b, bool *tiled)
{
    bool found = false;
    *tiled = true;
    for (const wf_use *u = t->uses; u; u = u->next)
        if (wf_buffer_whole(p, u->buf) == b) {
            found = true;
            *tiled &= u->access != WF_WHOLE && u->buf == b;
        }
    return found;
}

/* Whether task `k` of the group is the group's last (`after`) or first user of the buffer. */
static bool alone(const wf_plan *p, const wf_task_group *g, int k, wf_buf b, bool after)
{
    bool tiled;
    for (int i = after ? k + 1 : 0; i < (after ? g->n_tasks : k); i++)
        if (uses(p, p->tasks[g->tasks[i]], b, &tiled))
            return false;
    return uses(p, p->tasks[g->tasks[k]], b, &tiled) && tiled;
}

static bool is_free_standing(const wf_plan *p, const char *has_slices, wf_buf b)
{
    const wf_buffer *x = &p->buffers[b];
    return !x->bound && !x->local && x->whole < 0 && !has_slices[b] && x->value >= 0;
}

/* Puts output o of the task's node in the place of the input that it may overwrite, if it may. */
static void try_output(wf_plan *p, const char *has_slices, char *given, int position, int k, int o)
{
    const wf_task_group *g = &p->groups[p->order[position]];
    const wf_ir_node *n = &p->nodes[p->tasks[g->tasks[k]]->node];
    const int i = n->op->inplace[o] - 1;
    if (i < 0 || i >= n->n_in)
        return;
    const wf_ir_value *from = &p->values[n->in[i]], *to = &p->values[n->out[o]];
    if (from->buf < 0 || to->buf < 0 || from->buf == to->buf || given[from->buf] ||
        from->storage != to->storage || from->block != to->block ||
        !weft_shape_equal(from->type.shape, to->type.shape) ||
        !is_free_standing(p, has_slices, from->buf) || !is_free_standing(p, has_slices, to->buf))
        return;
    wf_buffer *a = &p->buffers[from->buf], *b = &p->buffers[to->buf];
    if (a->last != position || a->first >= position || b->first != position || b->over >= 0 ||
        a->bytes != b->bytes || a->stride != b->stride || !alone(p, g, k, from->buf, true) ||
        !alone(p, g, k, to->buf, false))
        return;
    b->over = from->buf;
    given[from->buf] = 1;
}

weft_status wf_plan_in_place(wf_plan *p)
{
    char *has_slices = wf_bump_alloc(&p->bump, (size_t)p->n_buffers + 1);
    char *given = wf_bump_alloc(&p->bump, (size_t)p->n_buffers + 1);
    if (!has_slices || !given)
        return wf_plan_nomem(p);
    for (int b = 0; b < p->n_buffers; b++)
        if (p->buffers[b].whole >= 0)
            has_slices[p->buffers[b].whole] = 1;
    for (int i = 0; i < p->n_groups; i++) {
        const wf_task_group *g = &p->groups[p->order[i]];
        for (int k = 0; k < g->n_tasks; k++) {
            const int node = p->tasks[g->tasks[k]]->node;
            for (int o = 0; node >= 0 && o < p->nodes[node].n_out; o++)
                try_output(p, has_slices, given, i, k, o);
        }
    }
    /* What lies in the place of another keeps it until its own end: from the last one to the first,
     * which is from larger positions to smaller ones. */
    for (int i = p->n_groups - 1; i >= 0; i--) {
        const wf_task_group *g = &p->groups[p->order[i]];
        for (int k = g->n_tasks - 1; k >= 0; k--) {
            const int node = p->tasks[g->tasks[k]]->node;
            for (int o = 0; node >= 0 && o < p->nodes[node].n_out; o++) {
                const wf_buf b = p->values[p->nodes[node].out[o]].buf;
                if (b >= 0 && p->buffers[b].over >= 0 && p->buffers[b].first == i)
                    p->buffers[p->buffers[b].over].until = p->buffers[b].until;
            }
        }
    }
    return WEFT_OK;
}
