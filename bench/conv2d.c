/* Convolution benchmarks. What is timed is a pass as a training step runs it: packing the weights,
 * all images over all threads, and for weight gradients the sum of the slots. See conv2d.h. */
#include "bench/conv2d.h"

#include <ctype.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gbench.h"
#include "kernels/conv2d/conv2d.h"
#include "tests/shapes/shapes.h"

/* The Fashion-MNIST network's layers, and one of each kind of ResNet-50's. */
static const char *const built_in[] = {
    "mb64_ic1ih28oc32kh3ph1n\"fmnist_cnn.conv1\"",
    "mb64_ic32ih14oc64kh3ph1n\"fmnist_cnn.conv2\"",
    "mb64_ic64ih7oc128kh3ph1n\"fmnist_cnn.conv3\"",
    "mb16_ic3ih224oc64kh7sh2ph3n\"resnet50.conv1\"",
    "mb16_ic64ih56oc64kh3ph1n\"resnet50.layer1.0.conv2\"",
    "mb16_ic64ih56oc256kh1n\"resnet50.layer1.0.conv3\"",
    "mb16_ic256ih56oc512kh1sh2n\"resnet50.layer2.0.downsample\"",
    "mb16_ic256ih28oc256kh3sh2ph1n\"resnet50.layer3.0.conv2\"",
    "mb16_ic512ih7oc512kh3ph1n\"resnet50.layer4.1.conv2\"",
};

typedef struct one {
    char shape[96];
    wf_conv2d_desc desc;
    wf_conv2d_pass pass;
    const wf_conv2d_impl *impl;
    bool selected; /* the dispatcher would choose it */
    const bench_conv2d *all;
} one;

struct bench_conv2d {
    const bench_machine *machine;
    const bench_peaks *peaks;
    bool cold;
    one *item;
    int n, capacity;
};

/* ---- memory of one benchmark ----------------------------------------------------------------- */

/* One batch's activations; several when data shall be cold. Weights and slots are shared: in a
 * training step, too, they are the small part. */
typedef struct data {
    wf_conv2d *kernel;
    wf_block block;
    char *src, *dst; /* set i at i * set_bytes */
    size_t src_stride, dst_stride, set_bytes;
    int sets;
    float *weights, *dweights;
    char *packed, *slots, *scratch;
    size_t slot_stride, scratch_stride;
} data;

/* Values in [-1, 1): nothing denormal, nothing that grows. */
static void fill(float *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)(int32_t)seed * 0x1p-31f;
    }
}

/* Padding channels are zero, as kernels may expect. */
static void fill_images(char *base, wf_act a, int images, uint32_t seed)
{
    float *p = (float *)base;
    size_t count = wf_act_count(a), block = (size_t)a.block, pixels = (size_t)(a.H * a.W);
    for (int n = 0; n < images; n++, p += count) {
        fill(p, count, seed + (uint32_t)n);
        if (a.C % a.block)
            for (size_t i = 0; i < pixels; i++)
                for (size_t c = (size_t)(a.C % a.block); c < block; c++)
                    p[count - pixels * block + i * block + c] = 0;
    }
}

static size_t aligned(size_t bytes)
{
    return (bytes + WF_ALIGN - 1) / WF_ALIGN * WF_ALIGN;
}

static bool data_init(data *t, const one *b, char *why, size_t size)
{
    const bench_machine *m = b->all->machine;
    const wf_conv2d_desc *d = &b->desc;
    *t = (data){.sets = 1};
    t->kernel = wf_conv2d_create_impl(b->impl, d, b->pass, m->isa, m->threads, why, size);
    if (!t->kernel)
        return false;
    t->src_stride = wf_act_count(wf_conv2d_src(d)) * sizeof(float);
    t->dst_stride = wf_act_count(wf_conv2d_dst(d)) * sizeof(float);
    size_t src = aligned((size_t)d->N * t->src_stride), dst = aligned((size_t)d->N * t->dst_stride);
    t->set_bytes = src + dst;
    if (b->all->cold)
        t->sets += (int)(2 * m->last_level_bytes / t->set_bytes);
    size_t weights = aligned(wf_conv2d_weights_count(d) * sizeof(float));
    size_t packed = aligned(t->kernel->packed_bytes);
    t->slot_stride = aligned(t->kernel->slot_bytes);
    t->scratch_stride = aligned(t->kernel->scratch_bytes);
    size_t slots =
        b->pass == WF_CONV2D_BACKWARD_WEIGHTS ? t->slot_stride * (size_t)t->kernel->slots : 0;
    wf_block_request request = {.size = t->set_bytes * (size_t)t->sets + 2 * weights + packed +
                                        slots + t->scratch_stride * (size_t)m->threads,
                                .kind = WF_MEM_WORKSPACE,
                                .zero = true};
    weft_error err = {0};
    if (wf_memory_alloc(m->memory, &request, &t->block, &err)) {
        snprintf(why, size, "%s", err.text);
        wf_conv2d_destroy(t->kernel);
        return false;
    }
    t->src = t->block.data;
    t->dst = t->src + src;
    t->weights = (float *)(t->src + t->set_bytes * (size_t)t->sets);
    t->dweights = t->weights + weights / sizeof(float);
    t->packed = (char *)t->dweights + weights;
    t->slots = t->packed + packed;
    t->scratch = t->slots + slots;
    fill(t->weights, wf_conv2d_weights_count(d), 1);
    for (int i = 0; i < t->sets; i++) {
        fill_images(t->src + (size_t)i * t->set_bytes, wf_conv2d_src(d), d->N, 2);
        fill_images(t->dst + (size_t)i * t->set_bytes, wf_conv2d_dst(d), d->N, 3);
    }
    return true;
}

static void data_done(data *t)
{
    wf_conv2d_destroy(t->kernel);
    wf_memory_free(&t->block);
}

/* ---- one pass -------------------------------------------------------------------------------- */

/* This thread's share of the pass. */
static void run_tiles(const data *t, int set, int worker)
{
    const wf_conv2d *k = t->kernel;
    const int tiles = k->slots * k->parts;
    char *src = t->src + (size_t)set * t->set_bytes, *dst = t->dst + (size_t)set * t->set_bytes;
    char *scratch = t->scratch + (size_t)worker * t->scratch_stride;
    const void *weights = k->packed_bytes ? (const void *)t->packed : t->weights;
    if (k->packed_bytes) {
#pragma omp for schedule(dynamic)
        for (int i = 0; i < k->pack_tiles; i++)
            wf_conv2d_pack(k, worker, t->weights, t->packed, i);
    }
    const bool forward = k->pass == WF_CONV2D_FORWARD;
    wf_conv2d_io io = {.in = forward ? src : dst,
                       .in_stride = forward ? t->src_stride : t->dst_stride,
                       .weights = weights,
                       .out = forward ? dst : src,
                       .out_stride = forward ? t->dst_stride : t->src_stride};
    switch (k->pass) {
    case WF_CONV2D_FORWARD:
    case WF_CONV2D_BACKWARD_DATA:
#pragma omp for schedule(dynamic)
        for (int i = 0; i < wf_conv2d_tiles(k); i++)
            wf_conv2d_run(k, worker, &io, scratch, i);
        break;
    case WF_CONV2D_BACKWARD_WEIGHTS:
#pragma omp for schedule(dynamic)
        for (int i = 0; i < tiles; i++)
            wf_conv2d_backward_weights(k, worker, src, t->src_stride, dst, t->dst_stride, t->slots,
                                       t->slot_stride, scratch, i);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < k->reduce_tiles; i++)
            wf_conv2d_reduce(k, worker, t->slots, t->slot_stride, t->dweights, i);
        break;
    }
}

static void run_pass(const data *t, const bench_machine *m, int set)
{
#pragma omp parallel num_threads(m->threads)
    {
        omp_set_num_threads(1); /* Note [oneDNN and threads] */
        run_tiles(t, set, omp_get_thread_num());
    }
}

static void run(bench_state *state, void *user)
{
    const one *b = user;
    const bench_machine *m = b->all->machine;
    char why[WEFT_ERROR_TEXT] = "", label[96];
    data t;
    if (!data_init(&t, b, why, sizeof why)) {
        bench_fail(state, why);
        return;
    }
    run_pass(&t, m, 0); /* pages, code and threads are there */
    for (int set = 0; bench_next(state); set = (set + 1) % t.sets)
        run_pass(&t, m, set);
    double gflops = wf_conv2d_flops(&b->desc) / bench_seconds(state) * 1e-9;
    bench_counter(state, "GFLOP/s", gflops);
    bench_counter(state, "%peak", 100 * gflops / b->all->peaks->gflops);
    snprintf(label, sizeof label, "%s%s", t.kernel->name, b->selected ? " (selected)" : "");
    bench_label(state, label);
    data_done(&t);
}

/* ---- registration ---------------------------------------------------------------------------- */

/* The shape's name without what a filter's regular expression or a path would trip over; an unnamed
 * one is its own description. */
static void shape_name(const wf_shape_case *c, char *name, size_t size)
{
    const wf_conv2d_desc *d = &c->desc;
    if (*c->name)
        snprintf(name, size, "%s", c->name);
    else
        snprintf(name, size, "g%dmb%d_ic%dih%diw%d_oc%doh%dow%d_kh%dkw%dsh%dsw%ddh%ddw%dph%dpw%d",
                 d->groups, d->N, d->C, d->H, d->W, d->K, d->P, d->Q, d->R, d->S, d->stride[0],
                 d->stride[1], d->dilation[0] - 1, d->dilation[1] - 1, d->padding[0],
                 d->padding[1]);
    for (char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            *p = '_';
}

static bool add(bench_conv2d *all, const one *b)
{
    if (all->n == all->capacity) {
        int capacity = all->capacity ? 2 * all->capacity : 64;
        one *more = realloc(all->item, (size_t)capacity * sizeof *more);
        if (!more)
            return false;
        all->item = more;
        all->capacity = capacity;
    }
    all->item[all->n++] = *b;
    return true;
}

/* Every implementation that can be created for this shape and pass, a benchmark each. */
static bool add_pass(bench_conv2d *all, const wf_shape_case *c, const wf_conv2d_desc *d,
                     wf_conv2d_pass pass)
{
    one b = {.desc = *d, .pass = pass, .selected = true, .all = all};
    shape_name(c, b.shape, sizeof b.shape);
    for (int i = 0; i < wf_conv2d_n_impls; i++) {
        char why[160];
        b.impl = wf_conv2d_impls[i];
        wf_conv2d *k =
            wf_conv2d_create_impl(b.impl, d, pass, all->machine->isa, 1, why, sizeof why);
        if (!k)
            continue;
        wf_conv2d_destroy(k);
        if (!add(all, &b))
            return false;
        b.selected = false;
    }
    return true;
}

static bool add_shape(bench_conv2d *all, const wf_shape_case *c)
{
    const int block = wf_isa_block(all->machine->isa);
    wf_conv2d_desc d = c->desc;
    /* As the plan lays them out: the network's input, of few channels, stays plain. */
    d.src_block = d.C < block ? 1 : block;
    d.dst_block = block;
    return add_pass(all, c, &d, WF_CONV2D_FORWARD) &&
           add_pass(all, c, &d, WF_CONV2D_BACKWARD_DATA) &&
           add_pass(all, c, &d, WF_CONV2D_BACKWARD_WEIGHTS);
}

/* The shapes to measure, for free(); NULL and a reason. */
static wf_shape_case *read_shapes(const char *path, int *n, char *why, size_t size)
{
    if (path)
        return wf_shapes_read(path, n, why, size);
    *n = (int)(sizeof built_in / sizeof *built_in);
    wf_shape_case *cases = calloc((size_t)*n, sizeof *cases);
    bool good = cases != NULL;
    for (int i = 0; good && i < *n; i++)
        good = wf_shape_parse(built_in[i], &cases[i], why, size);
    if (good)
        return cases;
    free(cases);
    return NULL;
}

bench_conv2d *bench_conv2d_register(const char *shapes, bool cold, const bench_machine *machine,
                                    const bench_peaks *peaks, char *why, size_t size)
{
    int n;
    snprintf(why, size, "out of memory");
    bench_conv2d *all = calloc(1, sizeof *all);
    wf_shape_case *cases = all ? read_shapes(shapes, &n, why, size) : NULL;
    if (!cases)
        goto fail;
    *all = (bench_conv2d){.machine = machine, .peaks = peaks, .cold = cold};
    for (int i = 0; i < n; i++)
        if (!add_shape(all, &cases[i])) {
            snprintf(why, size, "out of memory");
            goto fail;
        }
    free(cases);
    for (int i = 0; i < all->n; i++) { /* now that the items stay where they are */
        const one *b = &all->item[i];
        char name[192];
        snprintf(name, sizeof name, "conv2d/%s/%s/%s", b->shape, wf_conv2d_pass_name(b->pass),
                 b->impl->name);
        bench_register(name, run, &all->item[i]);
    }
    return all;
fail:
    free(cases);
    bench_conv2d_destroy(all);
    return NULL;
}

void bench_conv2d_destroy(bench_conv2d *all)
{
    if (!all)
        return;
    free(all->item);
    free(all);
}
