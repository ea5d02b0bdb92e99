/* Memory-bound kernels' benchmarks; see images.h. Every thread has images of its own: `cached`
 * ones, all of which its second-level cache holds, or a batch of `memory` ones, more than the
 * last-level caches hold. */
#include "bench/images.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gbench.h"
#include "kernels/eltwise/activation.h"
#include "kernels/eltwise/eltwise.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/norm/norm.h"
#include "kernels/pool/pool.h"
#include "kernels/upsample/upsample.h"

enum { CHANNELS = 64, IMAGES = 5 /* operands */, SIDE = 56, ROW = 784 /* of layer_norm */ };

/* The operands of one call, one image each; and what several kernels share. */
typedef struct operands {
    wf_act act;
    weft_dtype dtype;
    weft_isa isa;
    char *image[IMAGES];
    uint8_t *bytes; /* a mask, or indices */
    double sums[2 * CHANNELS];
    float channel[CHANNELS];
    wf_upsample_tap taps[SIDE];
} operands;

static size_t count_of(const operands *o)
{
    return wf_act_count(o->act);
}

static void run_stats(operands *o)
{
    wf_norm_find(o->isa, o->dtype, o->act)->stats(o->act, o->image[0], o->sums);
}
static void apply(operands *o, wf_norm_f f, const void *residual, void *mask)
{
    const wf_norm_apply p = {.act = o->act,
                             .f = f,
                             .mean = o->channel,
                             .invstd = o->channel,
                             .gamma = o->channel,
                             .beta = o->channel,
                             .x = o->image[0],
                             .residual = residual,
                             .y = o->image[1],
                             .mask = mask};
    wf_norm_find(o->isa, o->dtype, o->act)->apply(&p);
}
static void run_apply(operands *o)
{
    apply(o, WF_NORM_RELU, NULL, o->bytes);
}
static void run_apply_residual(operands *o)
{
    apply(o, WF_NORM_RELU, o->image[2], o->bytes);
}
static void run_apply_silu(operands *o)
{
    apply(o, WF_NORM_SILU, NULL, NULL);
}
static void run_reduce(operands *o)
{
    const wf_norm_reduce p = {.act = o->act,
                              .mean = o->channel,
                              .x = o->image[0],
                              .dy = o->image[1],
                              .mask = o->bytes,
                              .partial = o->sums};
    wf_norm_find(o->isa, o->dtype, o->act)->backward_reduce(&p);
}
static void run_dx(operands *o)
{
    const wf_norm_dx p = {.act = o->act,
                          .training = true,
                          .count = 1000,
                          .mean = o->channel,
                          .invstd = o->channel,
                          .gamma = o->channel,
                          .dgamma = o->channel,
                          .dbeta = o->channel,
                          .x = o->image[0],
                          .dy = o->image[1],
                          .mask = o->bytes,
                          .dx = o->image[2]};
    wf_norm_find(o->isa, o->dtype, o->act)->backward_apply(&p);
}
static void run_add(operands *o)
{
    wf_eltwise_get(o->dtype, o->isa)->add(count_of(o), o->image[0], o->image[1], o->image[2]);
}
static void run_relu(operands *o)
{
    wf_eltwise_get(o->dtype, o->isa)->relu(count_of(o), o->image[0], o->image[1]);
}
static void run_silu(operands *o)
{
    wf_activation_get(o->dtype, o->isa)
        ->fn[WF_ACT_silu]
        .forward(count_of(o), 0, 0, o->image[0], o->image[1]);
}
static void run_silu_backward(operands *o)
{
    wf_activation_get(o->dtype, o->isa)
        ->fn[WF_ACT_silu]
        .backward(count_of(o), 0, 0, o->image[0], o->image[1], o->image[2]);
}

/* A window of ResNet's, stride 2. */
static wf_pool pool_of(const operands *o, bool average)
{
    return (wf_pool){.in = o->act,
                     .P = o->act.H / 2,
                     .Q = o->act.W / 2,
                     .average = average,
                     .kernel = {3, 3},
                     .stride = {2, 2},
                     .padding = {1, 1},
                     .dilation = {1, 1}};
}
static void run_max_pool(operands *o)
{
    const wf_pool g = pool_of(o, false);
    wf_pool_find(o->isa, o->dtype, &g)->max_forward(&g, o->image[0], o->image[1], o->bytes);
}
static void run_max_pool_backward(operands *o)
{
    const wf_pool g = pool_of(o, false);
    wf_pool_find(o->isa, o->dtype, &g)->max_backward(&g, o->image[1], o->bytes, o->image[2]);
}
static void run_avg_pool(operands *o)
{
    const wf_pool g = pool_of(o, true);
    wf_pool_find(o->isa, o->dtype, &g)->avg_forward(&g, o->image[0], o->image[1]);
}

/* From side x side to the whole image: image[0] has fewer pixels. */
static void upsample(operands *o, bool nearest, bool backward, int side)
{
    const wf_act in = {o->act.C, side, side, o->act.block};
    if (o->taps[1].w[0] == 0)
        wf_upsample_taps(nearest, false, o->dtype, in.H, o->act.H, o->taps);
    const wf_upsample g = {in, o->act.H, o->act.W, nearest, o->taps, o->taps};
    const wf_upsample_fns *fns = wf_upsample_find(o->isa, o->dtype, o->act.block);
    (backward ? fns->backward : fns->forward)(&g, o->image[backward], o->image[!backward]);
}
static void run_nearest(operands *o)
{
    upsample(o, true, false, o->act.H / 2);
}
static void run_nearest_backward(operands *o)
{
    upsample(o, true, true, o->act.H / 2);
}
static void run_nearest_x4(operands *o)
{
    upsample(o, true, false, o->act.H / 4);
}
static void run_nearest_x4_backward(operands *o)
{
    upsample(o, true, true, o->act.H / 4);
}
static void run_nearest_odd(operands *o)
{
    upsample(o, true, false, o->act.H * 2 / 3);
}
static void run_nearest_odd_backward(operands *o)
{
    upsample(o, true, true, o->act.H * 2 / 3);
}
static void run_bilinear(operands *o)
{
    upsample(o, false, false, o->act.H / 2);
}
static void run_bilinear_backward(operands *o)
{
    upsample(o, false, true, o->act.H / 2);
}
static void run_bilinear_x4(operands *o)
{
    upsample(o, false, false, o->act.H / 4);
}
static void run_bilinear_x4_backward(operands *o)
{
    upsample(o, false, true, o->act.H / 4);
}
static void run_bilinear_odd(operands *o)
{
    upsample(o, false, false, o->act.H * 2 / 3);
}
static void run_bilinear_odd_backward(operands *o)
{
    upsample(o, false, true, o->act.H * 2 / 3);
}
static void run_layer_norm(operands *o)
{
    wf_layer_norm_find(o->isa, o->dtype)
        ->forward(count_of(o) / ROW, ROW, 1e-5, o->image[0], o->image[3], o->image[4], o->image[1],
                  (wf_row_moments *)(void *)o->bytes);
}
static void run_layer_norm_backward(operands *o)
{
    wf_layer_norm_find(o->isa, o->dtype)
        ->backward(count_of(o) / ROW, ROW, o->image[0], o->image[1], o->image[4],
                   (wf_row_moments *)(void *)o->bytes, o->image[2], (double *)(void *)o->image[3]);
}

static const struct {
    const char *name;
    void (*run)(operands *o);
    double images; /* that are read or written, for GB/s */
    bool f32_only;
} kernels[] = {
    {"norm_stats", run_stats, 1},
    {"norm_apply_relu", run_apply, 2},
    {"norm_apply_residual_relu", run_apply_residual, 3},
    {"norm_apply_silu", run_apply_silu, 2},
    {"norm_backward_reduce", run_reduce, 2},
    {"norm_backward_apply", run_dx, 3},
    {"add", run_add, 3},
    {"relu", run_relu, 2},
    {"silu", run_silu, 2},
    {"silu_backward", run_silu_backward, 3},
    {"max_pool", run_max_pool, 1.25},
    {"max_pool_backward", run_max_pool_backward, 1.25},
    {"avg_pool", run_avg_pool, 1.25},
    {"upsample_nearest", run_nearest, 1.25},
    {"upsample_nearest_backward", run_nearest_backward, 1.25},
    {"upsample_nearest_x4", run_nearest_x4, 1.0625},
    {"upsample_nearest_x4_backward", run_nearest_x4_backward, 1.0625},
    {"upsample_nearest_odd", run_nearest_odd, 1 + 37.0 * 37 / (56 * 56)},
    {"upsample_nearest_odd_backward", run_nearest_odd_backward, 1 + 37.0 * 37 / (56 * 56)},
    {"upsample_bilinear", run_bilinear, 1.25},
    {"upsample_bilinear_backward", run_bilinear_backward, 1.25},
    {"upsample_bilinear_x4", run_bilinear_x4, 1.0625},
    {"upsample_bilinear_x4_backward", run_bilinear_x4_backward, 1.0625},
    {"upsample_bilinear_odd", run_bilinear_odd, 1 + 37.0 * 37 / (56 * 56)},
    {"upsample_bilinear_odd_backward", run_bilinear_odd_backward, 1 + 37.0 * 37 / (56 * 56)},
    {"layer_norm", run_layer_norm, 2, true},
    {"layer_norm_backward", run_layer_norm_backward, 3, true},
};
enum { N_KERNELS = sizeof kernels / sizeof *kernels };

typedef struct one {
    int kernel;
    weft_dtype dtype;
    bool cached;
    const bench_machine *machine;
} one;

struct bench_images {
    one item[N_KERNELS * 4];
};

/* A thread's share: sets of operands in one block, 64-byte aligned. */
typedef struct share {
    void *memory;
    operands *set;
    int n;
} share;

static bool share_init(share *s, const one *b)
{
    const int side = b->cached ? 14 : SIDE;
    const wf_act act = {CHANNELS, side, side, wf_isa_block(b->machine->isa)};
    const size_t image = wf_act_count(act) * weft_dtype_size(b->dtype);
    const size_t bytes = image * IMAGES + wf_act_count(act);
    const double wanted = 2.0 * (double)b->machine->last_level_bytes / b->machine->threads;
    s->n = b->cached ? 1 : 1 + (int)(wanted / (double)image);
    s->memory = aligned_alloc(WF_ALIGN, bytes * (size_t)s->n);
    s->set = calloc((size_t)s->n, sizeof *s->set);
    if (!s->memory || !s->set)
        return false;
    memset(s->memory, 0, bytes * (size_t)s->n);
    for (int i = 0; i < s->n; i++) {
        operands *o = &s->set[i];
        char *at = s->memory; /* an operand's images lie side by side, as a batch's do */
        o->act = act;
        o->dtype = b->dtype;
        o->isa = b->machine->isa;
        for (int k = 0; k < IMAGES; k++)
            o->image[k] = at + ((size_t)k * (size_t)s->n + (size_t)i) * image;
        o->bytes = (uint8_t *)at + IMAGES * image * (size_t)s->n + (size_t)i * wf_act_count(act);
        for (int c = 0; c < CHANNELS; c++)
            o->channel[c] = 0.5f + (float)c / CHANNELS;
    }
    return true;
}

static void run(bench_state *state, void *user)
{
    enum { CALLS = 200 }; /* of cached images, in each of the timed rounds */
    const one *b = user;
    const int threads = b->machine->threads;
    share *all = calloc((size_t)threads, sizeof *all);
    bool good = all != NULL;
#pragma omp parallel num_threads(threads) if (good)
    {
        const bool mine = share_init(&all[omp_get_thread_num()], b);
#pragma omp critical
        good = good && mine;
    }
    if (!good)
        bench_fail(state, "out of memory");
    while (good && bench_next(state)) {
#pragma omp parallel num_threads(threads)
        {
            share *s = &all[omp_get_thread_num()];
            for (int i = 0, n = b->cached ? CALLS : s->n; i < n; i++)
                kernels[b->kernel].run(&s->set[b->cached ? 0 : i]);
        }
    }
    if (good) {
        const operands *o = &all[0].set[0];
        const double calls = (double)threads * (b->cached ? CALLS : all[0].n);
        const double elements = calls * (double)count_of(o) * kernels[b->kernel].images;
        bench_counter(state, "Gelem/s", elements / bench_seconds(state) * 1e-9);
        bench_counter(state, "GB/s",
                      elements * (double)weft_dtype_size(b->dtype) / bench_seconds(state) * 1e-9);
    }
    for (int i = 0; all && i < threads; i++) {
        free(all[i].memory);
        free(all[i].set);
    }
    free(all);
}

bench_images *bench_images_register(const bench_machine *machine)
{
    bench_images *all = calloc(1, sizeof *all);
    if (!all)
        return NULL;
    one *at = all->item;
    for (int k = 0; k < N_KERNELS; k++)
        for (int place = 0; place < 2; place++)
            for (int type = 0; type < 2; type++, at++) {
                char name[96];
                if (type && kernels[k].f32_only)
                    continue;
                *at = (one){k, type ? WEFT_BF16 : WEFT_F32, place == 0, machine};
                snprintf(name, sizeof name, "images/%s/%s/%s", kernels[k].name,
                         weft_dtype_name(at->dtype), at->cached ? "cached" : "memory");
                bench_register(name, run, at);
            }
    return all;
}

void bench_images_destroy(bench_images *all)
{
    free(all);
}
