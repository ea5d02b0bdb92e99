/* See spread.h. Rows too short for vectors: a piece of each broadcast operand is written out in the
 * first-level cache, and the kernel runs over the piece. */
#include "engine/graph/ops/spread.h"

#include <string.h>

#include "engine/graph/ops/dims.h"
#include "engine/graph/ops/spread_rows.h"

enum {
    OPERANDS = WF_PW_OPERANDS,
    PIECE = 8192 /* bytes of one operand that are spread at once; they stay in the L1 cache */
};

/* One operand. dim and stride (in elements) go over y, or with `tiled` over one image of y;
 * neighbouring dimensions are joined where this changes no address. The last stride is 0 or 1. rank
 * 0: the operand has y's shape. */
typedef struct spread {
    wf_buf buf;
    bool tiled;
    int rank;
    int64_t dim[WEFT_MAX_RANK], stride[WEFT_MAX_RANK];
} spread;

typedef struct spread_args {
    wf_cut cut;
    int n_in, n_out;
    spread in[OPERANDS];
    wf_buf out[WF_PW_RESULTS];
    size_t size;
    int64_t piece; /* elements; whole periods of an operand that repeats */
    wf_pointwise_fn fn;
} spread_args;

/* What a buffer contains: `count` elements of the run or period that begins at element `origin`,
 * from its element `phase` on. count 0: nothing. */
typedef struct held {
    int64_t origin, phase, count;
} held;

static void fill(size_t size, const char *from, int64_t n, char *to)
{
    switch (size) {
    case 2:
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)(void *)to)[i] = *(const uint16_t *)(const void *)from;
        return;
    case 4:
        for (int64_t i = 0; i < n; i++)
            ((uint32_t *)(void *)to)[i] = *(const uint32_t *)(const void *)from;
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            ((uint64_t *)(void *)to)[i] = *(const uint64_t *)(const void *)from;
    }
}

/* The offset in x of element `at`. *left: how many elements from there on are in its innermost
 * run. */
static int64_t offset_of(const spread *s, int64_t at, int64_t *left)
{
    const int last = s->rank - 1;
    int64_t offset = at % s->dim[last] * s->stride[last];
    *left = s->dim[last] - at % s->dim[last];
    at /= s->dim[last];
    for (int i = last - 1; i >= 0; i--) {
        offset += at % s->dim[i] * s->stride[i];
        at /= s->dim[i];
    }
    return offset;
}

/* Elements [at, at + n) of the spread operand: in x itself, or in `room`, whose content *h
 * describes. */
static const void *part(const spread *s, size_t size, const char *x, int64_t at, int64_t n, held *h,
                        char *room)
{
    const int last = s->rank - 1;
    int64_t left, offset = offset_of(s, at, &left);
    const bool runs = s->stride[last] == 0, repeats = s->rank == 2 && s->stride[0] == 0 && !runs;
    if (!runs && n <= left)
        return x + (size_t)offset * size;
    /* The piece is one repeated element, or a period of which the pieces are multiples. */
    const held want = {repeats ? 0 : offset, repeats ? at % s->dim[last] : 0, n};
    const bool same = (repeats || (runs && n <= left)) && h->count >= n &&
                      h->origin == want.origin && h->phase == want.phase;
    if (same)
        return room;
    *h = repeats || (runs && n <= left) ? want : (held){0, 0, 0};
    for (int64_t done = 0; done < n; offset = offset_of(s, at + done, &left)) {
        const int64_t some = left < n - done ? left : n - done;
        char *to = room + (size_t)done * size;
        if (runs)
            fill(size, x + (size_t)offset * size, some, to);
        else
            memcpy(to, x + (size_t)offset * size, (size_t)some * size);
        done += some;
        if (done == n)
            break;
    }
    return room;
}

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const spread_args *g = vargs;
    const int64_t count = (int64_t)wf_cut_count(&g->cut, tile), first = tile * g->cut.chunk;
    char *room = t->scratch, *y[WF_PW_RESULTS] = {NULL};
    const char *x[OPERANDS] = {NULL};
    held h[OPERANDS] = {{0, 0, 0}};
    for (int o = 0; o < g->n_out; o++)
        y[o] = wf_cut_ptr(&g->cut, t, g->out[o], g->size, tile);
    for (int i = 0; i < g->n_in; i++) {
        const spread *s = &g->in[i];
        x[i] = s->rank == 0 ? wf_cut_ptr(&g->cut, t, s->buf, g->size, tile)
               : s->tiled   ? wf_image(t, s->buf, tile)
                            : wf_data(t, s->buf);
    }
    for (int64_t at = 0, n; at < count; at += n) {
        const void *in[OPERANDS] = {NULL};
        void *out[WF_PW_RESULTS] = {NULL};
        n = count - at < g->piece ? count - at : g->piece;
        for (int i = 0; i < g->n_in; i++) { /* not beyond a long run of one element */
            const spread *s = &g->in[i];
            const int last = s->rank - 1;
            if (s->rank == 0 || s->stride[last] != 0 || s->dim[last] < g->piece / 4)
                continue;
            const int64_t place = s->tiled ? at : first + at;
            const int64_t left = s->dim[last] - place % s->dim[last];
            n = n < left ? n : left;
        }
        for (int i = 0; i < g->n_in; i++) {
            const spread *s = &g->in[i];
            in[i] = s->rank == 0 ? x[i] + (size_t)at * g->size
                                 : part(s, g->size, x[i], s->tiled ? at : first + at, n, &h[i],
                                        room + i * PIECE);
        }
        for (int o = 0; o < g->n_out; o++)
            out[o] = y[o] + (size_t)at * g->size;
        const wf_pointwise_rows r = wf_pointwise_run((size_t)n);
        g->fn(&r, in, out);
    }
    return WEFT_OK;
}

bool wf_lower_is_spread(const wf_lower *l)
{
    const wf_operand y = wf_lower_out(l, 0);
    for (int i = 0; i < l->n_in; i++)
        if (!weft_shape_equal(wf_lower_in(l, i).shape, y.shape))
            return true;
    return false;
}

static spread spread_of(const wf_operand *x, const wf_operand *y, const wf_cut *cut)
{
    spread s = {.buf = x->buf};
    if (weft_shape_equal(x->shape, y->shape))
        return s;
    int64_t all[WEFT_MAX_RANK];
    wf_broadcast_strides(&x->shape, &y->shape, all);
    s.tiled = cut->access == WF_TILED && all[0] != 0;
    for (int i = s.tiled ? 1 : 0; i < y->shape.rank; i++) {
        const int64_t dim = y->shape.dim[i];
        const int last = s.rank - 1;
        if (dim == 1)
            continue;
        if (s.rank > 0 && s.stride[last] == all[i] * dim) {
            s.dim[last] *= dim;
            s.stride[last] = all[i];
        } else {
            s.dim[s.rank] = dim;
            s.stride[s.rank++] = all[i];
        }
    }
    if (s.rank == 0) /* of one element */
        s.dim[s.rank++] = 1;
    return s;
}

weft_status wf_spread_lower(wf_lower *l, const char *kernel, wf_pointwise_fn fn)
{
    if (wf_spread_has_long_rows(l))
        return wf_spread_rows_lower(l, kernel, fn);
    const wf_operand y = wf_lower_out(l, 0);
    spread_args g = {.cut = wf_cut_images(&y), .n_in = l->n_in, .n_out = l->n_out, .fn = fn};
    double bytes = l->n_out * (double)y.N * (double)y.image_bytes;
    g.size = weft_dtype_size(y.dtype);
    g.piece = PIECE / (int64_t)g.size;
    for (int i = 0; i < l->n_in; i++) {
        const wf_operand x = wf_lower_in(l, i);
        spread *s = &g.in[i];
        *s = spread_of(&x, &y, &g.cut);
        const int64_t period = s->dim[1];
        if (s->rank == 2 && s->stride[0] == 0 && s->stride[1] == 1 && period <= g.piece)
            g.piece = g.piece / period * period;
        bytes += (double)x.N * (double)x.image_bytes;
    }
    for (int o = 0; o < l->n_out; o++)
        g.out[o] = wf_lower_out(l, o).buf;
    wf_task *task = wf_lower_task(l, kernel, run, &g, sizeof(g), g.cut.tiles);
    for (int i = 0; i < l->n_in; i++)
        wf_reads(task, g.in[i].buf, g.in[i].rank == 0 || g.in[i].tiled ? g.cut.access : WF_WHOLE);
    for (int o = 0; o < l->n_out; o++)
        wf_writes(task, g.out[o], g.cut.access);
    wf_scratch(task, OPERANDS * PIECE);
    wf_cost(task, (double)g.cut.total, bytes);
    return wf_lowered(l, task);
}
