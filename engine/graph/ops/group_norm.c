/* group_norm: normalises groups of channels of each image by their mean and variance, then scales
 * and shifts each channel (Wu and He 2018).
 *
 * A tile is one image, in any layout. It uses the kernels of batch normalisation: their statistics
 * of channels are merged for each group, and their y = x*scale + shift + residual serves forward
 * and backward. The gradient adds up dx in two steps of them; of bf16 images it does so in scratch, as
 * f32, a part of a channel block at a time, so that dx is rounded once.
 *
 * Letters: N images, C channels, P pixels, G groups, D = C/G * P values of a group. */
#include <math.h>

#include "engine/graph/ops/affine.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/norm/norm.h"
#include "kernels/reduce/reduce.h"

typedef struct group_norm_attrs {
    int64_t groups;
    double eps;
} group_norm_attrs;

typedef struct gn_args {
    wf_act act;
    wf_buf x, gamma, beta, y;       /* y: backward dx */
    wf_buf mean, invstd;            /* (N, G) */
    wf_buf dy, sums, dgamma, dbeta; /* backward; sums: one partial sum for each image */
    int64_t N;
    int groups;
    double eps;
    weft_dtype dtype; /* of all but images: f32 where those are bf16 */
    const wf_norm_fns *fns;
    const wf_norm_fns
        *wide; /* backward of bf16 images: the kernels of their f32 copies; else NULL */
} gn_args;

enum {
    ARRAYS = 6, /* of C numbers in a worker's scratch */
    WIDE_PIXELS =
        128, /* of a channel block of a bf16 image, which are widened at once: L1 holds them */
};

/* A worker's scratch: the statistics of one image, arrays of C numbers, and two widened parts. */
typedef struct scratch {
    double *partial;
    char *a[ARRAYS];
    float *x, *dy;
} scratch;

/* From one part that lies there to the next: whole lines. */
static size_t array_doubles(int C)
{
    return (size_t)wf_round_up(C, 8);
}

static size_t scratch_bytes(const gn_args *g)
{
    const size_t wide = g->wide ? 2 * (size_t)(WIDE_PIXELS * g->act.block) * sizeof(float) : 0;
    const int C = g->act.C;
    return (wf_norm_partial_count(C) + ARRAYS * array_doubles(C)) * sizeof(double) + wide;
}

static scratch scratch_of(const wf_tile *t, const gn_args *g)
{
    const int C = g->act.C;
    scratch s = {.partial = t->scratch};
    double *at = s.partial + wf_norm_partial_count(C);
    for (int i = 0; i < ARRAYS; i++, at += array_doubles(C))
        s.a[i] = (char *)at;
    s.x = (float *)at;
    s.dy = s.x + WIDE_PIXELS * g->act.block;
    return s;
}

/* y = x scale + shift (+ residual) per channel, as kernels/norm computes it. */
static void affine(const gn_args *g, const void *mean, const void *invstd, const void *scale,
                   const void *shift, const void *x, const void *residual, void *y)
{
    g->fns->apply(&(wf_norm_apply){.act = g->act,
                                   .mean = mean,
                                   .invstd = invstd,
                                   .gamma = scale,
                                   .beta = shift,
                                   .x = x,
                                   .residual = residual,
                                   .y = y});
}

/* Mean and 1/sqrt(variance + eps) of channels [c0, c1) together, from the statistics of an image.
 * All channels have the same count, so the means are averaged and the second moments add up (Chan
 * et al. 1979). */
static void group_moments(const gn_args *g, const double *partial, int c0, int c1, double *mean,
                          double *invstd)
{
    const double *m2 = partial + wf_norm_partial_count(g->act.C) / 2;
    double pixels = (double)g->act.H * g->act.W, sum = 0, squares = 0;
    for (int c = c0; c < c1; c++)
        sum += partial[c];
    *mean = sum / (c1 - c0);
    for (int c = c0; c < c1; c++)
        squares += m2[c] + pixels * (partial[c] - *mean) * (partial[c] - *mean);
    *invstd = 1 / sqrt(squares / (pixels * (c1 - c0)) + g->eps);
}

static weft_status run(const wf_tile *t, const void *vargs, int64_t n)
{
    const gn_args *g = vargs;
    const int C = g->act.C, width = C / g->groups;
    scratch s = scratch_of(t, g);
    const void *x = wf_image(t, g->x, n);
    g->fns->stats(g->act, x, s.partial);
    for (int k = 0; k < g->groups; k++) {
        double mean, invstd;
        group_moments(g, s.partial, k * width, (k + 1) * width, &mean, &invstd);
        wf_float_set(g->dtype, wf_image(t, g->mean, n), k, mean);
        wf_float_set(g->dtype, wf_image(t, g->invstd, n), k, invstd);
        for (int c = k * width; c < (k + 1) * width; c++) {
            wf_float_set(g->dtype, s.a[0], c, mean);
            wf_float_set(g->dtype, s.a[1], c, invstd);
        }
    }
    affine(g, s.a[0], s.a[1], wf_data(t, g->gamma), wf_data(t, g->beta), x, NULL,
           wf_image(t, g->y, n));
    return WEFT_OK;
}

/* The factors of dx = dy scale[0] + (x - mean) scale[1] + shift[1], per channel. */
typedef struct gradient {
    const char *mean, *one, *zero, *scale[2], *shift;
} gradient;

/* dx of a bf16 image: by parts of channel blocks, widened in scratch. */
static void gradient_of_low(const gn_args *g, const scratch *s, const gradient *d,
                            const uint16_t *x, const uint16_t *dy, uint16_t *dx)
{
    const wf_cast_fn widen = wf_cast_get(WEFT_BF16, WEFT_F32),
                     narrow = wf_cast_get(WEFT_F32, WEFT_BF16);
    const int block = g->act.block, pixels = g->act.H * g->act.W;
    for (int c = 0; c < g->act.C; c += block) {
        const size_t from = (size_t)c * sizeof(float);
        const int channels = g->act.C - c < block ? g->act.C - c : block;
        for (int p = 0; p < pixels; p += WIDE_PIXELS) {
            const int n = pixels - p < WIDE_PIXELS ? pixels - p : WIDE_PIXELS;
            const size_t at = wf_act_index(g->act, c, 0, 0) + (size_t)p * (size_t)block;
            const size_t elements = (size_t)n * (size_t)block;
            wf_norm_apply a = {.act = {channels, n, 1, block},
                               .mean = d->zero + from,
                               .invstd = d->one + from,
                               .gamma = d->scale[0] + from,
                               .beta = d->zero + from,
                               .x = s->dy,
                               .y = s->dy};
            widen(elements, x + at, s->x);
            widen(elements, dy + at, s->dy);
            g->wide->apply(&a);
            a.mean = d->mean + from;
            a.gamma = d->scale[1] + from;
            a.beta = d->shift + from;
            a.x = s->x;
            a.residual = s->dy;
            g->wide->apply(&a);
            narrow(elements, s->dy, dx + at);
        }
    }
}

static void gradient_of(const gn_args *g, const gradient *d, const void *x, const void *dy,
                        void *dx)
{
    affine(g, d->zero, d->one, d->scale[0], d->zero, dy, NULL, dx);
    affine(g, d->mean, d->one, d->scale[1], d->shift, x, dx, dx);
}

/* With S = sum of dy and T = sum of dy (x - mean) of each channel:
 *   dx = gamma invstd dy - invstd/D sum of gamma S - (x - mean) invstd^3/D sum of gamma T
 * where the sums go over the group's channels. The image's partial sum keeps S and invstd T; added
 * up over images they are dbeta and dgamma. */
static weft_status run_backward(const wf_tile *t, const void *vargs, int64_t n)
{
    const gn_args *g = vargs;
    const int C = g->act.C, width = C / g->groups;
    const size_t half = wf_norm_partial_count(C) / 2;
    const double D = (double)width * g->act.H * g->act.W;
    const scratch s = scratch_of(t, g);
    char *mean = s.a[0], *one = s.a[1], *zero = s.a[2], *scale = s.a[3], *second_scale = s.a[4],
         *shift = s.a[5];
    const gradient d = {mean, one, zero, {scale, second_scale}, shift};
    double *partial = wf_image(t, g->sums, n);
    const void *x = wf_image(t, g->x, n), *dy = wf_image(t, g->dy, n);
    void *dx = wf_image(t, g->y, n);
    for (int c = 0; c < C; c++) {
        wf_float_set(g->dtype, mean, c, wf_float_get(g->dtype, wf_image(t, g->mean, n), c / width));
        wf_float_set(g->dtype, one, c, 1);
    }
    g->fns->backward_reduce(
        &(wf_norm_reduce){.act = g->act, .mean = mean, .x = x, .dy = dy, .partial = partial});
    for (int c = 0; c < C; c++) {
        double invstd = wf_float_get(g->dtype, wf_image(t, g->invstd, n), c / width);
        partial[half + (size_t)c] *= invstd;
        wf_float_set(g->dtype, scale, c, wf_float_get(g->dtype, wf_data(t, g->gamma), c) * invstd);
        wf_float_set(g->dtype, zero, c, 0);
    }
    for (int k = 0; k < g->groups; k++) {
        double invstd = wf_float_get(g->dtype, wf_image(t, g->invstd, n), k), first = 0, second = 0;
        for (int c = k * width; c < (k + 1) * width; c++) {
            double gamma = wf_float_get(g->dtype, wf_data(t, g->gamma), c);
            first += gamma * partial[c];
            second += gamma * partial[half + (size_t)c];
        }
        for (int c = k * width; c < (k + 1) * width; c++) {
            wf_float_set(g->dtype, second_scale, c, -second * invstd * invstd / D);
            wf_float_set(g->dtype, shift, c, -first * invstd / D);
        }
    }
    if (g->wide)
        gradient_of_low(g, &s, &d, x, dy, dx);
    else
        gradient_of(g, &d, x, dy, dx);
    return WEFT_OK;
}

static weft_status run_merge(const wf_tile *t, const void *vargs, int64_t tile)
{
    const gn_args *g = vargs;
    const size_t stride = wf_norm_partial_count(g->act.C);
    const double *partials = wf_data(t, g->sums);
    for (int c = 0; c < g->act.C; c++) {
        double sum;
        wf_merge((size_t)g->N, stride, 1, partials + c, &sum);
        wf_float_set(g->dtype, wf_data(t, g->dbeta), c, sum);
        wf_merge((size_t)g->N, stride, 1, partials + stride / 2 + c, &sum);
        wf_float_set(g->dtype, wf_data(t, g->dgamma), c, sum);
    }
    return WEFT_OK;
}

/* ---- lowering -------------------------------------------------------------------------------- */

static gn_args args_of(const wf_lower *l)
{
    const group_norm_attrs *attrs = l->attrs;
    wf_operand x = wf_lower_in(l, 0);
    gn_args g = {.act = wf_channel_act(&x),
                 .x = x.buf,
                 .y = wf_lower_out(l, 0).buf,
                 .N = x.N,
                 .groups = (int)attrs->groups,
                 .eps = attrs->eps,
                 .dtype = x.dtype == WEFT_BF16 ? WEFT_F32 : x.dtype};
    g.fns = wf_norm_find(l->isa, x.dtype, g.act);
    return g;
}

/* x, gamma, beta -> y, mean, invstd */
static weft_status lower(wf_lower *l)
{
    gn_args g = args_of(l);
    g.gamma = wf_lower_in(l, 1).buf;
    g.beta = wf_lower_in(l, 2).buf;
    g.mean = wf_lower_out(l, 1).buf;
    g.invstd = wf_lower_out(l, 2).buf;
    wf_task *task = wf_lower_task(l, g.fns->name, run, &g, sizeof(g), g.N);
    wf_reads(task, g.x, WF_TILED);
    wf_reads(task, g.gamma, WF_WHOLE);
    wf_reads(task, g.beta, WF_WHOLE);
    for (int o = 0; o < 3; o++)
        wf_writes(task, wf_lower_out(l, o).buf, WF_TILED);
    wf_scratch(task, scratch_bytes(&g));
    double count = (double)g.N * (double)wf_act_count(g.act);
    wf_cost(task, 6 * count, 3 * count * (double)weft_dtype_size(wf_lower_in(l, 0).dtype));
    return wf_lowered(l, task);
}

/* x, dy, mean, invstd, gamma -> dx, dgamma, dbeta */
static weft_status lower_backward(wf_lower *l)
{
    gn_args g = args_of(l);
    if (wf_lower_in(l, 0).dtype == WEFT_BF16)
        g.wide = wf_norm_find(l->isa, WEFT_F32, (wf_act){g.act.C, WIDE_PIXELS, 1, g.act.block});
    g.dy = wf_lower_in(l, 1).buf;
    g.mean = wf_lower_in(l, 2).buf;
    g.invstd = wf_lower_in(l, 3).buf;
    g.gamma = wf_lower_in(l, 4).buf;
    g.dgamma = wf_lower_out(l, 1).buf;
    g.dbeta = wf_lower_out(l, 2).buf;
    size_t partial_bytes = wf_norm_partial_count(g.act.C) * sizeof(double);
    g.sums = wf_lower_temp(l, g.N, partial_bytes);
    if (g.sums < 0)
        return WEFT_ERR_NOMEM;
    wf_task *task = wf_lower_task(l, g.fns->name, run_backward, &g, sizeof(g), g.N);
    for (int i = 0; i < 4; i++)
        wf_reads(task, wf_lower_in(l, i).buf, WF_TILED);
    wf_reads(task, g.gamma, WF_WHOLE);
    wf_writes(task, g.y, WF_TILED);
    wf_writes(task, g.sums, WF_TILED);
    wf_scratch(task, scratch_bytes(&g));
    double count = (double)g.N * (double)wf_act_count(g.act);
    wf_cost(task, 10 * count, 5 * count * (double)weft_dtype_size(wf_lower_in(l, 0).dtype));

    task = wf_lower_task(l, "merge", run_merge, &g, sizeof(g), 1);
    wf_reads(task, g.sums, WF_WHOLE);
    wf_writes(task, g.dgamma, WF_WHOLE);
    wf_writes(task, g.dbeta, WF_WHOLE);
    wf_cost(task, (double)g.N * 2 * g.act.C, (double)g.N * (double)partial_bytes);
    return wf_lowered(l, task);
}

/* ---- recording ------------------------------------------------------------------------------- */

static weft_status infer(wf_infer *f)
{
    char text[WF_SHAPE_TEXT];
    group_norm_attrs *a = f->attrs;
    const weft_shape *x = &f->in[0].shape;
    WF_TRY(wf_infer_float(f, 0));
    if (x->rank < 2 || wf_dims_count(x, 2, x->rank) > INT32_MAX || x->dim[1] > INT32_MAX / 2)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input is %s, expected (N, C, ...)",
                             weft_shape_format(*x, text, sizeof(text)));
    if (a->groups < 1 || x->dim[1] % a->groups)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "%lld channels do not divide by %lld groups",
                             (long long)x->dim[1], (long long)a->groups);
    WF_TRY(wf_infer_affine(f, WEFT_SHAPE(x->dim[1])));
    f->out[0] = f->in[0];
    f->out[1] = f->out[2] = (wf_type){f->in[0].dtype, WEFT_SHAPE(x->dim[0], a->groups)};
    return WEFT_OK;
}

const wf_op wf_op_group_norm_backward = {
    .name = "group_norm_backward",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 3, /* dx, dgamma, dbeta */
    .attr_size = sizeof(group_norm_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = wf_infer_affine_backward,
    .no_grad_reason = "second derivatives are not built",
    .lower = lower_backward,
    .no_sample_reason = "group_norm's samples run it",
};

static weft_status grad(wf_grad *g)
{
    return wf_grad_affine(g, &wf_op_group_norm_backward, 5,
                          (weft_tensor *[]){g->in[0], g->dout[0], g->out[1], g->out[2], g->in[1]});
}

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    return weft_group_norm(in[0], *(const int *)user, in[1], in[2], 1e-3);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const int one = 1, two = 2, five = 5;
    static const wf_sample_case cases[] = {
        {"two groups", 3, {{4, {2, 10, 2, 3}}, {1, {10}}, {1, {10}}}, apply, &two},
        {"one group", 3, {{4, {3, 5, 2, 1}}, {1, {5}}, {1, {5}}}, apply, &one},
        {"a group a channel", 3, {{3, {2, 5, 4}}, {1, {5}}, {1, {5}}}, apply, &five},
        {"(N, C)", 3, {{2, {3, 10}}, {1, {10}}, {1, {10}}}, apply, &two},
    };
    return wf_sample_from(ctx, cases, sizeof(cases) / sizeof(*cases), index, s);
}

const wf_op wf_op_group_norm = {
    .name = "group_norm",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 3, /* y, mean, invstd */
    .attr_size = sizeof(group_norm_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BF16,
    .layout_rule = WF_LAYOUT_SAME,
    .precision = WF_PRECISION_FOLLOW,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_group_norm(weft_tensor *x, int groups, weft_tensor *gamma, weft_tensor *beta,
                             double eps)
{
    WF_SAY("group_norm", 1, x, gamma, beta);
    weft_context *ctx = wf_record_context("group_norm", 1, 3, (weft_tensor *[]){x, gamma, beta});
    if (!ctx)
        return NULL;
    weft_shape shape = weft_tensor_shape(x);
    if (!(eps > 0 && isfinite(eps)) || shape.rank < 2) {
        wf_fail_step(ctx, WEFT_ERR_INVALID,
                     "group_norm: eps %g, rank %d: eps must be above 0, "
                     "the rank at least 2",
                     eps, shape.rank);
        return NULL;
    }
    group_norm_attrs a = {groups, eps};
    wf_record_affine(ctx, x, WEFT_SHAPE(shape.dim[1]), &gamma, &beta);
    return wf_record(&wf_op_group_norm, &a, NULL, 3, (weft_tensor *[]){x, gamma, beta}, NULL);
}
