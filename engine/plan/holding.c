/* Part of the plan pass chain: how much memory each task group holds for other groups.
 *
 * Note [Long groups hold memory]. In a backward pass without BatchNorm, the gradients of many layers
 * follow each other image by image, and could be one task group. The gradients of the weights can
 * run only after this group, unless they go image by image as well. So the group would hold the
 * gradients of all layers at one time, beside the activations of the forward pass: VGG-16's arena
 * would be half as large again. So a group takes no further product of convolution once it holds
 * more than one part in HELD_SHARE of what the backward pass keeps from the forward pass. What this
 * product reads does not count: it would be held either way. Reading it again from memory costs
 * little, because one image of it mostly is larger than a second-level cache. */
#include "engine/base/alloc.h"
#include "engine/graph/ops/common.h"
#include "engine/plan/plan.h"

#define HELD_SHARE 16

static bool is_backward(const wf_plan *p, const wf_task *t)
{
    return t->node >= 0 && p->nodes[t->node].backward;
}

/* Finds the loose buffers, and how much a group may hold. `forward`: working memory, one per
 * buffer. */
static void find_loose(wf_holding *h, char *forward)
{
    const wf_plan *p = h->p;
    size_t kept = 0;
    for (int b = 0; b < p->n_buffers; b++)
        h->holder[b] = -1;
    for (int t = 0; t < p->n_tasks; t++)
        for (const wf_use *u = p->tasks[t]->uses; u; u = u->next) {
            const wf_buf b = wf_buffer_whole(p, u->buf);
            h->loose[b] |= u->access != WF_TILED;
            if (!is_backward(p, p->tasks[t])) {
                forward[b] = 1;
            } else if (forward[b] == 1 && !p->buffers[b].bound) {
                forward[b] = 2; /* counted */
                kept += p->buffers[b].bytes;
            }
        }
    h->limit = kept / HELD_SHARE;
}

weft_status wf_holding_init(wf_plan *p, wf_holding *h)
{
    const size_t buffers = (size_t)p->n_buffers + 1;
    char *forward = wf_zalloc(buffers);
    *h = (wf_holding){.p = p,
                      .loose = wf_zalloc(buffers),
                      .holder = wf_alloc_array(buffers, sizeof *h->holder),
                      .held = wf_zalloc_array((size_t)p->n_tasks + 1, sizeof *h->held)};
    const bool ok = forward && h->loose && h->holder && h->held;
    if (ok)
        find_loose(h, forward);
    wf_free(forward);
    return ok ? WEFT_OK : wf_plan_nomem(p);
}

void wf_holding_done(wf_holding *h)
{
    wf_free(h->loose);
    wf_free(h->holder);
    wf_free(h->held);
}

void wf_holding_note(wf_holding *h, const wf_task *t)
{
    for (const wf_use *u = t->uses; u; u = u->next) {
        const wf_buf b = wf_buffer_whole(h->p, u->buf);
        if (!u->write || !h->loose[b] || h->p->buffers[b].bound || h->holder[b] == t->group)
            continue;
        h->holder[b] = t->group;
        h->held[t->group] += h->p->buffers[b].bytes;
    }
}

bool wf_holding_much(const wf_holding *h, const wf_task *t, int group)
{
    size_t held = h->held[group];
    if (t->op != &wf_op_conv2d_backward_data || (h->p->passes_off & WEFT_PASS_MEMORY))
        return false;
    for (const wf_use *u = t->uses; u; u = u->next) {
        const wf_buf b = wf_buffer_whole(h->p, u->buf);
        if (!u->write && h->holder[b] == group)
            held -= h->p->buffers[b].bytes < held ? h->p->buffers[b].bytes : held;
    }
    return held > h->limit;
}
