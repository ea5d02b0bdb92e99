/* Part of the plan pass memory: buffers that only one task group uses, and only tile by tile.
 *
 * Each shrinks to one image per worker, where there are more images than workers.
 *
 * Note [Buffers of one tile]. A worker runs all tasks of a tile, in order, before it begins another
 * tile (wf_run_tile). So image i of such a buffer lives from the group's first task that uses the
 * buffer to the last one, within tile i; and two buffers whose tasks do not overlap in that order
 * may share bytes, where image i of the one lies in image i of the other, or both with the same
 * worker. No edge is needed. The buffers of a group get places in one common image:
 *
 *     task            0  1  2  3  4          the common image
 *     a, 100 bytes    w  r                   a: [0, 100)
 *     b,  60 bytes       w     r             b: [100, 160)
 *     c, 100 bytes          w  r  r          c: [0, 100)
 *
 * The common images are one buffer, the *tray*, and its pieces are slices of it: an access by image
 * (WF_TILED) takes the stride from image to image from the tray. The arena knows the tray alone. */
#include "engine/base/alloc.h"
#include "engine/plan/plan.h"

enum { UNUSED = -1, SHARED = -2 }; /* in place of a task group */

/* Per buffer: the one task group that uses it, tile by tile; and its first and last task there. */
typedef struct own {
    int group, first, last;
    int next; /* the next buffer of the same group; -1: none */
} own;

static void note_use(const wf_plan *p, own *o, const wf_use *u, int group, int task)
{
    own *x = &o[wf_buffer_whole(p, u->buf)];
    if (x->group == UNUSED) {
        x->group = group;
        x->first = task;
    }
    if (x->group != group || u->access != WF_TILED)
        x->group = SHARED;
    x->last = task;
}

/* Fills `o`, and heads[g] with the first buffer of group g; -1: none. */
static void find_own(const wf_plan *p, own *o, int *heads)
{
    for (int b = 0; b < p->n_buffers; b++)
        o[b] = (own){p->buffers[b].bound ? SHARED : UNUSED, 0, 0, -1};
    for (int g = 0; g < p->n_groups; g++)
        for (int k = 0; k < p->groups[g].n_tasks; k++)
            for (const wf_use *u = p->tasks[p->groups[g].tasks[k]]->uses; u; u = u->next)
                note_use(p, o, u, g, k);
    for (int g = 0; g < p->n_groups; g++)
        heads[g] = -1;
    for (int b = p->n_buffers - 1; b >= 0; b--)
        if (o[b].group >= 0 && p->buffers[b].whole < 0) {
            o[b].next = heads[o[b].group];
            heads[o[b].group] = b;
        }
}

static size_t image_room(const wf_buffer *b)
{
    return (b->stride + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN;
}

/* Shrinks the buffer to one image per worker, if that is less. */
static void shrink(const wf_plan *p, wf_buffer *b)
{
    b->local = b->images > p->ctx->threads;
    if (!b->local)
        return;
    b->stride = image_room(b);
    b->bytes = b->stride * (size_t)p->ctx->threads;
}

/* Makes the buffers of the group pieces of a tray, whose images are `stride` bytes. tray_of[b]: the
 * tray of which b is a piece. */
static weft_status make_tray(wf_plan *p, const own *o, int head, const wf_piece *pieces,
                             size_t stride, int *tray_of)
{
    const wf_buffer first = p->buffers[head];
    const wf_buf tray = wf_plan_buffer(p, first.images, stride, -1);
    if (tray < 0)
        return WEFT_ERR_NOMEM;
    wf_buffer *t = &p->buffers[tray];
    t->first = first.first;
    t->last = first.last;
    shrink(p, t);
    for (int b = head, i = 0; b >= 0; b = o[b].next, i++) {
        wf_buffer *x = &p->buffers[b];
        x->whole = tray;
        x->at = pieces[i].offset;
        x->local = false;
        x->bytes = 0;
        x->first = x->last = -1; /* as of all slices */
        tray_of[b] = tray;
    }
    return WEFT_OK;
}

static weft_status share_images(wf_plan *p, const own *o, int head, int tasks, wf_piece *pieces,
                                int *tray_of)
{
    size_t sum = 0, stride;
    int n = 0;
    for (int b = head; b >= 0; b = o[b].next) {
        pieces[n] = (wf_piece){o[b].first, o[b].last, image_room(&p->buffers[b]), 0};
        sum += pieces[n++].room;
    }
    if (n < 2)
        return WEFT_OK;
    WF_TRY(wf_plan_pack(p, pieces, n, tasks, &stride));
    return stride < sum ? make_tray(p, o, head, pieces, stride, tray_of) : WEFT_OK;
}

/* Slices of what has become a piece of a tray are pieces of it too. */
static void move_slices(wf_plan *p, const int *tray_of, int n)
{
    for (int b = 0; b < n; b++) {
        wf_buffer *x = &p->buffers[b];
        if (x->whole < 0 || x->whole >= n || tray_of[x->whole] < 0)
            continue;
        x->at += p->buffers[x->whole].at;
        x->whole = tray_of[x->whole];
    }
}

static weft_status run(wf_plan *p, own *o, int *heads, int *tray_of, wf_piece *pieces)
{
    const int n = p->n_buffers;
    find_own(p, o, heads);
    for (int b = 0; b < n; b++) {
        tray_of[b] = -1;
        if (o[b].group >= 0 && p->buffers[b].whole < 0)
            shrink(p, &p->buffers[b]);
    }
    for (int g = 0; g < p->n_groups; g++)
        WF_TRY(share_images(p, o, heads[g], p->groups[g].n_tasks, pieces, tray_of));
    move_slices(p, tray_of, n);
    return WEFT_OK;
}

weft_status wf_plan_shrink_local(wf_plan *p)
{
    const size_t buffers = (size_t)p->n_buffers + 1;
    own *o = wf_alloc_array(buffers, sizeof *o);
    int *heads = wf_alloc_array((size_t)p->n_groups + 1, sizeof *heads);
    int *tray_of = wf_alloc_array(buffers, sizeof *tray_of);
    wf_piece *pieces = wf_alloc_array(buffers, sizeof *pieces);
    const weft_status status =
        o && heads && tray_of && pieces ? run(p, o, heads, tray_of, pieces) : wf_plan_nomem(p);
    wf_free(o);
    wf_free(heads);
    wf_free(tray_of);
    wf_free(pieces);
    return status;
}
