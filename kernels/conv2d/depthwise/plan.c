/* Depthwise convolution, three passes: a group for each channel, blocked activations of f32 or bf16.
 *
 * Memory decides about the pace of a layer whose activations leave the caches; multiply-adds decide about
 * the others. So the kernels read and write each plane (one channel block of an image) once. Its rows stay in
 * L1 and sums in registers (the other files of this folder). A partial sum of a weight gradient has the
 * packed format of depthwise.h. Its parts are ranges of channel blocks, and it adds up its images in order.
 * The plan is read-only: any worker may run any tile. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/conv2d/depthwise/depthwise.h"
#include "kernels/select.h"

enum {
    BLOCKS_PER_TILE = 8,      /* channel blocks that a tile packs or reduces */
    MIN_PART_FLOPS = 1000000, /* a tile of fewer operations is not worth claiming */
    FEW_IMAGES = 4,           /* of a smaller batch, images are cut into parts */
    BAND_BYTES_IN_L1 = 20480,
    MIN_BAND = 4,
    PREFETCH_PLANE_BYTES = 98304, /* planes of more are prefetched */
    PREFETCH_PIXELS = 128 /* how far the plane that is written; twice as far the one that is read */
};

static bool fits(const wf_conv2d_desc *d, wf_conv2d_pass pass, char *why, size_t size)
{
    const char *reason = NULL;
    if (d->src_type != WF_ELEMENT_DTYPE || d->weights_type != WEFT_F32 ||
        d->dst_type != WF_ELEMENT_DTYPE)
        reason = "images of " WF_ELEMENT_NAME " and weights of f32 only";
    else if (d->groups != d->C || d->C != d->K)
        reason = "a group for each channel only";
    else if (d->src_block != L || d->dst_block != L)
        reason = "activations in blocks of a vector only";
    if (reason)
        snprintf(why, size, "%s", reason);
    return !reason;
}

static int blocks_of(const wf_conv2d_desc *d)
{
    return (d->K + L - 1) / L;
}

/* Floats of one channel block's packed weights. */
static size_t weights_of(const wf_conv2d_desc *d)
{
    return (size_t)d->R * (size_t)d->S * L;
}

/* Whether backward-data correlates with the filter turned by half a turn: with stride 1. */
static bool turns(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    return pass == WF_CONV2D_BACKWARD_DATA && d->stride[0] == 1 && d->stride[1] == 1;
}

static bool spreads(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    return pass == WF_CONV2D_BACKWARD_DATA && !turns(d, pass);
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* The filter rows that a correlation needs for row p of its output. The range is over filter rows for a given
 * output, so stride and dilation change roles in the call. */
static wf_depthwise_row meeting(const wf_depthwise *g, int p)
{
    int begin, end;
    wf_conv2d_range(g->H, g->R, g->dilation[0], g->padding[0], g->stride[0], p, &begin, &end);
    if (begin == end)
        return (wf_depthwise_row){0, 0, 0};
    return (wf_depthwise_row){p * g->stride[0] - g->padding[0] + begin * g->dilation[0], begin,
                              end - begin};
}

static int common_divisor(int a, int b)
{
    while (b) {
        const int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The filter rows that meet row p of what is spread to: p + padding - r*dilation is a multiple of the stride,
 * and the quotient is a row of x. As r grows by r_step, that row changes by h_step. */
static wf_depthwise_row meeting_spread(const wf_depthwise *g, int p)
{
    wf_depthwise_row row = {0, 0, 0};
    for (int r = 0; r < g->R; r++) {
        const int64_t v = p + g->padding[0] - (int64_t)r * g->dilation[0];
        if (v % g->stride[0] != 0 || v < 0 || v / g->stride[0] >= g->H)
            continue;
        if (row.n++ == 0) {
            row.r = r;
            row.h = (int)(v / g->stride[0]);
        }
    }
    return row;
}

/* Sets the band: the rows of both planes that L1 holds. */
static void set_band(wf_depthwise *g)
{
    const double bytes = (double)(wf_depthwise_plane(g->H, g->W) + wf_depthwise_plane(g->P, g->Q)) *
                         sizeof(wf_element);
    const int rows = (int)(BAND_BYTES_IN_L1 / bytes * g->P);
    g->band = rows < MIN_BAND ? MIN_BAND : rows < g->P ? rows : g->P;
    if (bytes > PREFETCH_PLANE_BYTES) {
        g->prefetch[0] = 2 * PREFETCH_PIXELS * g->W / g->Q + (g->R - 1) * g->W;
        g->prefetch[1] = PREFETCH_PIXELS;
    }
}

static wf_depthwise *plan_create(const wf_conv2d_desc *d, wf_conv2d_pass pass)
{
    const bool back = pass == WF_CONV2D_BACKWARD_DATA;
    const int rows = back ? d->H : d->P;
    wf_depthwise *g = calloc(1, sizeof *g + (size_t)rows * sizeof *g->row);
    if (!g)
        return NULL;
    *g = (wf_depthwise){.H = back ? d->P : d->H,
                        .W = back ? d->Q : d->W,
                        .P = rows,
                        .Q = back ? d->W : d->Q,
                        .R = d->R,
                        .S = d->S,
                        .stride = {d->stride[0], d->stride[1]},
                        .padding = {d->padding[0], d->padding[1]},
                        .dilation = {d->dilation[0], d->dilation[1]},
                        .h_step = d->dilation[0],
                        .r_step = 1};
    if (turns(d, pass)) {
        g->padding[0] = d->dilation[0] * (d->R - 1) - d->padding[0];
        g->padding[1] = d->dilation[1] * (d->S - 1) - d->padding[1];
    }
    if (spreads(d, pass)) {
        const int both = common_divisor(d->stride[0], d->dilation[0]);
        g->h_step = -d->dilation[0] / both;
        g->r_step = d->stride[0] / both;
    }
    set_band(g);
    for (int p = 0; p < rows; p++)
        g->row[p] = spreads(d, pass) ? meeting_spread(g, p) : meeting(g, p);
    return g;
}

static double expect(const wf_conv2d_desc *d, wf_conv2d_pass pass, weft_isa isa)
{
    const bool fast = (d->S == 3 || d->S == 5) && d->stride[1] <= 2 && d->dilation[1] == 1;
    const wf_costs *c = wf_machine_class_of(WF_CLASS_ISA)->cost;
    const double share = pass == WF_CONV2D_FORWARD         ? c->depthwise_forward
                         : pass == WF_CONV2D_BACKWARD_DATA ? c->depthwise_data
                                                           : c->depthwise_weights;
    return wf_conv2d_expect(d, WF_ISA, fast ? share : c->depthwise_slow);
}

/* The parts of an image, by channel blocks: several if the batch alone would leave cores idle. Else one, so
 * that the tile can follow in the cache what made the image. */
static int parts_of(const wf_conv2d_desc *d, double image_flops)
{
    const int wanted = (FEW_IMAGES + d->N - 1) / d->N, blocks = blocks_of(d);
    const int worth = image_flops < MIN_PART_FLOPS ? 1 : (int)(image_flops / MIN_PART_FLOPS);
    const int most = blocks < worth ? blocks : worth;
    return wanted < most ? wanted : most;
}

static bool create(wf_conv2d *k, char *why, size_t size)
{
    const wf_conv2d_desc *d = &k->desc;
    const int blocks = blocks_of(d), tiles = (blocks + BLOCKS_PER_TILE - 1) / BLOCKS_PER_TILE;
    const double image_flops = wf_conv2d_flops(d) / d->N;
    const double parts = image_flops * k->split_images / MIN_PART_FLOPS;
    const size_t bytes = (size_t)blocks * weights_of(d) * sizeof(float);
    k->state = plan_create(d, k->pass);
    if (!k->state) {
        snprintf(why, size, "out of memory");
        return false;
    }
    if (k->pass == WF_CONV2D_BACKWARD_WEIGHTS) {
        k->parts = parts < 1 ? 1 : parts < blocks ? (int)parts : blocks;
        k->partial_sum_bytes = bytes;
        k->reduce_tiles = tiles;
    } else {
        k->parts = parts_of(d, image_flops);
        k->packed_bytes = bytes;
        k->pack_tiles = tiles;
    }
    return true;
}

static void destroy(wf_conv2d *k)
{
    free(k->state);
}

/* ---- the passes ------------------------------------------------------------------------------ */

/* The first channel block of a part. */
static int first_block(const wf_conv2d *k, int part)
{
    return (int)((int64_t)blocks_of(&k->desc) * part / k->parts);
}

static weft_status pack(const wf_conv2d *k, int worker, const void *weights, void *packed, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const size_t taps = (size_t)d->R * (size_t)d->S;
    const int first = tile * BLOCKS_PER_TILE * L;
    const int end = wf_round_up(d->K, L), stop = first + BLOCKS_PER_TILE * L;
    const bool turn = turns(d, k->pass);
    for (int c = first; c < stop && c < end; c++) {
        const float *from = (const float *)weights + (size_t)c * taps;
        float *to = (float *)packed + (size_t)(c / L) * taps * L + c % L;
        for (size_t t = 0; t < taps; t++)
            to[t * L] = c >= d->K ? 0 : from[turn ? taps - 1 - t : t];
    }
    return WEFT_OK;
}

static void correlate(const wf_conv2d *k, const wf_conv2d_io *io, int begin, int end)
{
    const wf_depthwise *g = k->state;
    const int K = k->desc.K;
    for (int b = begin; b < end; b++) {
        const wf_element *x =
            (const wf_element *)io->in + (size_t)b * wf_depthwise_plane(g->H, g->W);
        const float *w = (const float *)io->weights + (size_t)b * weights_of(&k->desc);
        wf_element *y = (wf_element *)io->out + (size_t)b * wf_depthwise_plane(g->P, g->Q);
        wf_vf bias = wf_vzero();
        if (io->bias)
            bias = wf_vload_n((const float *)io->bias + b * L, K - b * L < L ? K - b * L : L);
        WF_ELEMENT_FN(wf_depthwise_correlate)(g, x, w, bias, y);
    }
}

static void spread(const wf_conv2d *k, const wf_conv2d_io *io, int begin, int end)
{
    const wf_depthwise *g = k->state;
    for (int b = begin; b < end; b++) {
        const wf_element *x =
            (const wf_element *)io->in + (size_t)b * wf_depthwise_plane(g->H, g->W);
        const float *w = (const float *)io->weights + (size_t)b * weights_of(&k->desc);
        wf_element *y = (wf_element *)io->out + (size_t)b * wf_depthwise_plane(g->P, g->Q);
        WF_ELEMENT_FN(wf_depthwise_spread)(g, x, w, y);
    }
}

static weft_status batch(const wf_conv2d *k, int worker, const wf_conv2d_io *io, int n, int part,
                         void *scratch)
{
    const int begin = first_block(k, part), end = first_block(k, part + 1);
    if (spreads(&k->desc, k->pass))
        spread(k, io, begin, end);
    else
        correlate(k, io, begin, end);
    return WEFT_OK;
}

static weft_status backward_weights(const wf_conv2d *k, int worker, const wf_conv2d_gradient_io *io,
                                    int n, void *partial_sum, int part, void *scratch)
{
    const wf_conv2d_desc *d = &k->desc;
    const int begin = first_block(k, part), end = first_block(k, part + 1);
    float *sum = (float *)partial_sum + (size_t)begin * weights_of(d);
    memset(sum, 0, (size_t)(end - begin) * weights_of(d) * sizeof *sum);
    for (int b = begin; b < end; b++, sum += weights_of(d)) {
        const wf_depthwise_images images = {
            .x = (const wf_element *)io->src + (size_t)b * wf_depthwise_plane(d->H, d->W),
            .dy = (const wf_element *)io->ddst + (size_t)b * wf_depthwise_plane(d->P, d->Q),
            .x_stride = io->src_stride / sizeof(wf_element),
            .dy_stride = io->ddst_stride / sizeof(wf_element),
            .n = n};
        WF_ELEMENT_FN(wf_depthwise_gradient)(k->state, &images, sum);
    }
    return WEFT_OK;
}

static weft_status reduce(const wf_conv2d *k, int worker, void *partial_sums,
                          size_t partial_sum_stride, void *dweights, int tile)
{
    const wf_conv2d_desc *d = &k->desc;
    const size_t taps = (size_t)d->R * (size_t)d->S;
    const int first = tile * BLOCKS_PER_TILE, left = blocks_of(d) - first;
    const int blocks = left < BLOCKS_PER_TILE ? left : BLOCKS_PER_TILE;
    float *sum = (float *)partial_sums + (size_t)first * weights_of(d);
    wf_conv2d_add_partial_sums(WEFT_F32, sum, partial_sum_stride, k->splits,
                               (size_t)blocks * weights_of(d));
    for (int c = first * L; c < (first + blocks) * L && c < d->K; c++) {
        const float *from = sum + (size_t)(c / L - first) * weights_of(d) + c % L;
        float *to = (float *)dweights + (size_t)c * taps;
        for (size_t t = 0; t < taps; t++)
            to[t] = from[t * L];
    }
    return WEFT_OK;
}

const wf_conv2d_impl WF_ELEMENT_FN(wf_conv2d_depthwise) = {
    .name = "depthwise:" WF_ISA_NAME WF_ELEMENT_TAG,
    .isa = WF_ISA,
    .fits = fits,
    .expect = expect,
    .create = create,
    .destroy = destroy,
    .pack = pack,
    .batch = batch,
    .backward_weights = backward_weights,
    .reduce = reduce,
};
