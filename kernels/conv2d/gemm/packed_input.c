/* The geometry of the gemm kernels, and the frames that stand in for an im2col matrix. See gemm.h.
 * Plans are made on the planning thread and constant afterwards; filling a frame is pure. */
#include <limits.h>
#include <stdlib.h>

#include "kernels/conv2d/gemm/gemm.h"

/* Floats of a frame, in the second-level cache; */
static int64_t frame_floats(void)
{
    return gemm_l2() / 4;
}
/* of weights that are there, too, or, with half as many lanes to a load, in the first-level one. */
static int64_t weights_floats(void)
{
    return L == 16 ? gemm_l2() * 3 / 32 : gemm_l1() * 5 / 8;
}

/* ---- axes ------------------------------------------------------------------------------------ */

static void add_tap(gemm_axis *a, int tap, int offset)
{
    int first = offset >= 0 ? 0 : (-offset + a->in_step - 1) / a->in_step;
    if (first >= a->n || first * a->in_step + offset >= a->in)
        return;
    a->tap[a->taps] = tap;
    a->offset[a->taps++] = offset;
}

/* Puts taps of a slot side by side, in the order of their places. */
static void sort_taps(gemm_axis *a)
{
    for (int i = 1; i < a->taps; i++)
        for (int t = i; t > 0; t--) {
            const int slot = a->slot[t] - a->slot[t - 1];
            if (slot > 0 || (slot == 0 && a->place[t] >= a->place[t - 1]))
                break;
            int *const of[] = {a->tap, a->offset, a->slot, a->place};
            for (int j = 0; j < 4; j++) {
                const int other = of[j][t];
                of[j][t] = of[j][t - 1];
                of[j][t - 1] = other;
            }
        }
}

/* Lets all phases of backward-data have one frame: of each the first place is where the least offset is. */
static void share_frame(gemm_axis *axes, int count)
{
    int first = INT_MAX, last = INT_MIN;
    for (int i = 0; i < count; i++) {
        axes[i].room = axes[0].n;
        for (int t = 0; t < axes[i].taps; t++) {
            first = axes[i].offset[t] < first ? axes[i].offset[t] : first;
            last = axes[i].offset[t] > last ? axes[i].offset[t] : last;
        }
    }
    for (int i = 0; i < count; i++) {
        gemm_axis *a = &axes[i];
        if (a->taps == 0)
            continue;
        for (int t = 0; t < a->taps; t++)
            a->place[t] = a->offset[t] - first;
        a->first[0] = first;
        a->span = last - first;
    }
}

/* Gives every tap its slot and place, now that all are there. */
static void place_taps(gemm_axis *a)
{
    for (int t = 0; t < a->taps; t++) {
        int residue = (a->offset[t] % a->in_step + a->in_step) % a->in_step, z = 0;
        while (z < a->slots && (a->first[z] % a->in_step + a->in_step) % a->in_step != residue)
            z++;
        if (z == a->slots)
            a->first[a->slots++] = a->offset[t];
        if (a->offset[t] < a->first[z])
            a->first[z] = a->offset[t];
        a->slot[t] = z;
    }
    for (int t = 0; t < a->taps; t++) {
        a->place[t] = (a->offset[t] - a->first[a->slot[t]]) / a->in_step;
        a->span = a->place[t] > a->span ? a->place[t] : a->span;
    }
}

/* The axes of one dimension: of forward and backward-weights one, of backward-data one for each
 * residue of the stride. `in` and `out` as the pass sees them. NULL when memory runs out. */
static gemm_axis *axes_create(wf_conv2d_pass pass, int in, int out, int kernel, int stride,
                              int padding, int dilation)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int count = data ? stride : 1;
    gemm_axis *axes = calloc((size_t)count, sizeof *axes);
    int *store = calloc((size_t)count * (size_t)kernel, 5 * sizeof *store);
    if (!axes || !store) {
        free(axes);
        free(store);
        return NULL;
    }
    axes[0].tap = store; /* which owns it */
    for (int i = 0; i < count; i++, store += 5 * (size_t)kernel) {
        gemm_axis *a = &axes[i];
        a->in = in;
        a->in_step = data ? 1 : stride;
        a->out = i;
        a->out_step = count;
        a->n = i < out ? (out - i + count - 1) / count : 0;
        a->tap = store;
        a->offset = store + kernel;
        a->slot = store + 2 * (size_t)kernel;
        a->place = store + 3 * (size_t)kernel;
        a->first = store + 4 * (size_t)kernel;
        for (int t = 0; t < kernel; t++) {
            int offset = data ? i + padding - t * dilation : t * dilation - padding;
            if (!data)
                add_tap(a, t, offset);
            else if (offset % stride == 0)
                add_tap(a, t, offset / stride);
        }
        a->room = a->n;
        place_taps(a);
        if (pass != WF_CONV2D_BACKWARD_WEIGHTS)
            sort_taps(a);
    }
    if (data)
        share_frame(axes, count);
    return axes;
}

static void axes_destroy(gemm_axis *axes)
{
    if (axes)
        free(axes[0].tap);
    free(axes);
}

/* ---- plans ----------------------------------------------------------------------------------- */

bool gemm_flat(const gemm_axis *h, const gemm_axis *w)
{
    return h->out_step == 1 && w->out_step == 1 && w->slots == 1 && w->span == 0;
}

int gemm_groups(int n, int NV)
{
    int most = GEMM_SUMS / NV < GEMM_N ? GEMM_SUMS / NV : GEMM_N;
    return (n + most - 1) / most;
}

gemm_kind gemm_kind_of(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int IG = (data ? d->K : d->C) / d->groups, OG = (data ? d->C : d->K) / d->groups;
    const int block = data ? d->dst_block : d->src_block;
    if (d->groups > 1 && OG % L != 0)
        return IG == OG && L % OG == 0 && block == L ? GEMM_ROTATE : GEMM_LANES;
    return block == 1 ? GEMM_PLAIN : GEMM_DENSE;
}

bool gemm_reads(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool bytes = d->src_type == WEFT_U8 && d->src_block == 1 &&
                       pass != WF_CONV2D_BACKWARD_DATA && gemm_kind_of(d, pass) == GEMM_PLAIN;
    return (d->src_type == WEFT_F32 || bytes) && d->weights_type == WEFT_F32 &&
           d->dst_type == WEFT_F32;
}

/* Eighths of a cycle for one term of n pixels in a row and NV vectors of outputs: two multiply-adds
 * a cycle, hardly more than three loads in two, and no sum more often than every fourth; as measured
 * on Zen 3. */
static int term_cost(int n, int NV)
{
    int groups = gemm_groups(n, NV), cost = 0;
    for (int size = n / groups, i = 0; i < 2; i++, size++) {
        int count = i == 0 ? groups - n % groups : n % groups;
        int products = 4 * size * NV + 4, loads = 5 * (size + NV);
        int one = products > loads ? products : loads;
        cost += count * (one > 32 ? one : 32);
    }
    return cost;
}

/* The same of `blocks` vectors, that are cut into groups of NV at most, all about equal. */
static int64_t vectors_cost(int n, int blocks, int NV)
{
    const int units = (blocks + NV - 1) / NV, less = blocks / units, more = blocks % units;
    return (int64_t)(units - more) * term_cost(n, less) +
           (more ? (int64_t)more * term_cost(n, less + 1) : 0);
}

/* How many vectors of outputs to take at once, of `blocks`, for so many pixels in a row. */
int gemm_best_vectors(int64_t pixels, int blocks)
{
    static const int order[GEMM_NV] = {3, 2, 4, 1}; /* of equals, what was measured to be best */
    const int n = pixels < 1000 ? (int)pixels : 1000;
    int best = 1;
    int64_t best_cost = INT64_MAX;
    for (int i = 0; i < GEMM_NV; i++) {
        int64_t cost = order[i] <= blocks ? vectors_cost(n, blocks, order[i]) : INT64_MAX;
        if (cost < best_cost) {
            best = order[i];
            best_cost = cost;
        }
    }
    return best;
}

static void most_taps(const gemm_plan *p, int *rows, int *columns)
{
    *rows = *columns = 1;
    for (int a = 0; a < p->rows; a++)
        *rows = p->row[a].taps > *rows ? p->row[a].taps : *rows;
    for (int b = 0; b < p->columns; b++)
        *columns = p->column[b].taps > *columns ? p->column[b].taps : *columns;
}

double gemm_share(const wf_conv2d_desc *d, wf_conv2d_pass pass, bool through)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    const int I = (data ? d->K : d->C) / d->groups, O = (data ? d->C : d->K) / d->groups;
    const int step = data ? d->stride[1] : 1, Q = data ? d->W : d->Q;
    const bool flat = through || (d->S == 1 && step == 1);
    const int64_t rows = !flat ? 1 : data ? (d->H + step - 1) / step : d->P;
    const int64_t pixels = rows * ((Q + step - 1) / step);
    const int n = pixels < 1000 ? (int)pixels : 1000;
    const gemm_kind kind = gemm_kind_of(d, pass);
    const wf_costs *c = wf_machine_class_of(WF_ISA)->cost;
    if (kind >= GEMM_LANES)
        return kind == GEMM_ROTATE ? c->gemm_rotate : c->gemm_lanes;
    const int blocks = (O + L - 1) / L;
    const int inputs = kind == GEMM_PLAIN ? I : wf_round_up(I, L);
    const double cost = (double)vectors_cost(n, blocks, gemm_best_vectors(n, blocks));
    const double share = kind == GEMM_PLAIN ? c->gemm_forward_plain
                         : data             ? c->gemm_data
                                            : c->gemm_forward;
    return share * 4.0 * n * O / L / cost * I / inputs;
}

gemm_plan *gemm_plan_create(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool data = pass == WF_CONV2D_BACKWARD_DATA;
    gemm_plan *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->in = data ? wf_conv2d_dst(d) : wf_conv2d_src(d);
    p->out = data ? wf_conv2d_src(d) : wf_conv2d_dst(d);
    p->groups = d->groups;
    p->IG = p->in.C / d->groups;
    p->OG = p->out.C / d->groups;
    p->kind = gemm_kind_of(d, pass);
    if (p->kind >= GEMM_LANES) {
        p->sets = (p->out.C + L - 1) / L;
        p->blocks = 1;
        p->vectors = p->kind == GEMM_ROTATE ? 1 : p->IG;
    } else {
        p->sets = d->groups;
        p->blocks = (p->OG + L - 1) / L;
        p->vectors = p->kind == GEMM_PLAIN ? p->IG : (p->IG + L - 1) / L;
    }
    p->depth = p->kind == GEMM_DENSE ? L : p->kind == GEMM_ROTATE ? p->OG : 1;
    p->unit = p->kind == GEMM_PLAIN ? 1 : L;
    p->rows = data ? d->stride[0] : 1;
    p->columns = data ? d->stride[1] : 1;
    p->row =
        axes_create(pass, p->in.H, p->out.H, d->R, d->stride[0], d->padding[0], d->dilation[0]);
    p->column =
        axes_create(pass, p->in.W, p->out.W, d->S, d->stride[1], d->padding[1], d->dilation[1]);
    if (!p->row || !p->column) {
        gemm_plan_destroy(p);
        return NULL;
    }
    const gemm_axis *h = &p->row[0], *w = &p->column[0]; /* all phases are much alike */
    int64_t pixels = gemm_flat(h, w) ? (int64_t)h->n * w->n : w->n;
    p->NV = gemm_best_vectors(pixels, p->blocks);
    int r, s;
    most_taps(p, &r, &s);
    int64_t most = weights_floats() / ((int64_t)r * s * p->depth * p->NV * L);
    most = most > 1 ? most : 1;
    int64_t one = (int64_t)gemm_vector(p, h, w, 1); /* the frame of a row should fit, too */
    if (most * one > frame_floats() && !gemm_direct(p, h, w))
        most = frame_floats() / one > 1 ? frame_floats() / one : 1;
    int64_t chunks = (p->vectors + most - 1) / most;
    p->chunk = (int)((p->vectors + chunks - 1) / chunks);
    return p;
}

void gemm_plan_destroy(gemm_plan *p)
{
    if (!p)
        return;
    axes_destroy(p->row);
    axes_destroy(p->column);
    free(p);
}

int gemm_channel(const gemm_plan *p, int set, int v, int c)
{
    if (p->kind == GEMM_LANES) {
        int o = set * L + c;
        return o < p->out.C ? o / p->OG * p->IG + v : -1;
    }
    if (p->kind == GEMM_ROTATE)
        return set * L + c < p->in.C ? set * L + c : -1;
    int i = v * p->depth + c;
    return i < p->IG ? set * p->IG + i : -1;
}

/* ---- frames ---------------------------------------------------------------------------------- */

bool gemm_direct(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w)
{
    return p->kind == GEMM_DENSE && (p->groups == 1 || p->IG % L == 0) && h->taps == 1 &&
           w->taps == 1 && h->offset[0] == 0 && w->offset[0] == 0 && h->in_step == 1 &&
           w->in_step == 1 && h->n == h->in && w->n == w->in;
}

static size_t slot_length(const gemm_axis *a, int n)
{
    return (size_t)a->span + (size_t)n;
}

size_t gemm_row(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w)
{
    if (gemm_direct(p, h, w))
        return (size_t)p->in.W * L;
    return (size_t)w->slots * slot_length(w, w->room) * p->unit;
}

size_t gemm_vector(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w, int rows)
{
    if (gemm_direct(p, h, w))
        return (size_t)p->in.H * (size_t)p->in.W * L;
    return (size_t)h->slots * slot_length(h, rows) * gemm_row(p, h, w);
}

int gemm_rows(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w)
{
    size_t all = (size_t)p->chunk * gemm_row(p, h, w) * (size_t)h->slots; /* of one position */
    size_t most = all ? (size_t)frame_floats() / all : 1, span = (size_t)h->span;
    most = most > span + 1 ? most - span : 1;
    if (most >= (size_t)h->n)
        return h->n;
    int chunks = (int)(((size_t)h->n + most - 1) / most);
    return (h->n + chunks - 1) / chunks;
}

size_t gemm_tap(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w, int rows, int r, int s)
{
    if (gemm_direct(p, h, w))
        return 0;
    size_t row = (size_t)h->slot[r] * slot_length(h, rows) + (size_t)h->place[r];
    size_t column = (size_t)w->slot[s] * slot_length(w, w->room) + (size_t)w->place[s];
    return row * gemm_row(p, h, w) + column * p->unit;
}

/* Where the lanes of an input vector come from. */
typedef struct source {
    const float *x;       /* of its channel block, image row 0 (PLAIN: of its channel) */
    const uint8_t *bytes; /* PLAIN, the same of an image of bytes; */
    const float *table;   /* and what those of the channel stand for */
    enum { COPY, PERMUTE, GATHER } how;
    int32_t lane[L];   /* PERMUTE: the lane of the block */
    size_t element[L]; /* GATHER: offset at pixel 0 */
    bool is[L];
    size_t pixel; /* floats between neighbouring pixels */
} source;

static source source_of(const gemm_plan *p, int set, int v, gemm_input in)
{
    const float *x = in.x;
    source s = {.how = COPY, .pixel = (size_t)p->in.block};
    int first = gemm_channel(p, set, v, 0), block = first / L;
    if (p->kind == GEMM_PLAIN && in.table) {
        s.bytes = (const uint8_t *)in.x + wf_act_index(p->in, first, 0, 0);
        s.table = in.table + (size_t)first * WF_BYTE_VALUES;
        return s;
    }
    if (p->kind == GEMM_PLAIN) {
        s.x = x + wf_act_index(p->in, first, 0, 0);
        return s;
    }
    if (p->in.block == 1)
        s.how = GATHER;
    for (int l = 0; l < L; l++) {
        int c = gemm_channel(p, set, v, l);
        s.is[l] = c >= 0;
        s.element[l] = c >= 0 ? wf_act_index(p->in, c, 0, 0) : 0;
        s.lane[l] = c >= 0 ? c % L : l; /* no channel: whatever is there meets zero weights */
        if (c >= 0 && c / L != block)
            s.how = GATHER;
        else if (s.lane[l] != l && s.how == COPY)
            s.how = PERMUTE;
    }
    if (s.how == GATHER)
        s.x = x;
    else
        s.x = x + wf_act_index(p->in, block * L, 0, 0);
    return s;
}

/* n pixels from element `at` of the source on, `step` elements apart. */
static void copy_pixels(const gemm_plan *p, const source *s, size_t at, size_t step, int n,
                        float *out)
{
    if (s->bytes) {
        const uint8_t *bytes = s->bytes + at;
        const float *table = s->table;
        for (int i = 0; i < n; i++)
            out[i] = table[bytes[(size_t)i * step]];
        return;
    }
    const float *x = s->x + at;
    if (p->kind == GEMM_PLAIN) {
        if (step == 1)
            memcpy(out, x, (size_t)n * sizeof *out);
        else if (step == 2) /* the most common stride, a loop that compilers do in vectors */
            for (int i = 0; i < n; i++)
                out[i] = x[2 * i];
        else
            for (int i = 0; i < n; i++)
                out[i] = x[(size_t)i * step];
    } else if (s->how == COPY) {
        for (int i = 0; i < n; i++)
            wf_vstore(out + (size_t)i * L, wf_vload(x + (size_t)i * step));
    } else if (s->how == PERMUTE) {
        wf_vi lane = wf_vi_load(s->lane);
        for (int i = 0; i < n; i++)
            wf_vstore(out + (size_t)i * L, wf_vpermute(wf_vload(x + (size_t)i * step), lane));
    } else {
        for (int i = 0; i < n; i++)
            for (int l = 0; l < L; l++)
                out[(size_t)i * L + (size_t)l] =
                    s->is[l] ? x[(size_t)i * step + s->element[l]] : 0.0f;
    }
}

/* One row of the frame from the image row that starts at element `at` of the source. */
static void fill_row(const gemm_plan *p, const gemm_axis *w, const source *s, size_t at, float *out)
{
    const int length = (int)slot_length(w, w->room);
    for (int z = 0; z < w->slots; z++, out += (size_t)length * p->unit) {
        int first = w->first[z];
        int begin = first >= 0 ? 0 : (-first + w->in_step - 1) / w->in_step;
        int end = first >= w->in ? 0 : (w->in - 1 - first) / w->in_step + 1;
        end = end < length ? end : length;
        begin = begin < end ? begin : end;
        memset(out, 0, (size_t)begin * p->unit * sizeof *out);
        if (begin < end)
            copy_pixels(p, s, at + (size_t)(first + begin * w->in_step) * s->pixel,
                        (size_t)w->in_step * s->pixel, end - begin, out + (size_t)begin * p->unit);
        memset(out + (size_t)end * p->unit, 0, (size_t)(length - end) * p->unit * sizeof *out);
    }
}

const float *gemm_frame(const gemm_plan *p, const gemm_axis *h, const gemm_axis *w, gemm_part part,
                        int rows, gemm_input in, float *frame)
{
    if (gemm_direct(p, h, w))
        return (const float *)in.x +
               wf_act_index(p->in, part.set * p->IG + part.v0 * L, part.first_row, 0);
    const size_t row = gemm_row(p, h, w), image_row = (size_t)p->in.W * (size_t)p->in.block;
    const int length = (int)slot_length(h, rows), filled = (int)slot_length(h, part.rows);
    float *out = frame;
    for (int v = part.v0; v < part.v1; v++) {
        source s = source_of(p, part.set, v, in);
        for (int z = 0; z < h->slots; z++)
            for (int i = 0; i < length; i++, out += row) {
                if (i >= filled)
                    continue;
                int64_t at = h->first[z] + ((int64_t)part.first_row + i) * h->in_step;
                if (at < 0 || at >= h->in)
                    memset(out, 0, row * sizeof *out);
                else
                    fill_row(p, w, &s, (size_t)at * image_row, out);
            }
    }
    return frame;
}
