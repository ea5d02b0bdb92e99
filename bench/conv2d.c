/* Convolution benchmarks. What is timed is a pass as a training step runs it: packing the weights,
 * all images over all threads, and for weight gradients adding up the partial sums. See conv2d.h. */
#include "bench/conv2d.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gbench.h"
#include "bench/trial.h"
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
    int index;     /* of the implementation, in its list */
    bool selected; /* what is chosen without wisdom */
    const bench_conv2d *all;
} one;

struct bench_conv2d {
    const bench_machine *machine;
    const bench_peaks *peaks;
    bool cold;
    one *item;
    int n, capacity;
};

static void run(bench_state *state, void *user)
{
    const one *b = user;
    const bench_machine *m = b->all->machine;
    const wf_trial_place place = {m->topology, m->memory, m->isa, m->threads,
                                  b->all->cold ? 2 * m->last_level_bytes : 0};
    const wf_problem problem = wf_problem_conv2d(&b->desc, b->pass);
    char name[BENCH_KERNEL_NAME], label[96];
    if (!bench_trial(state, &place, &problem, b->index, name))
        return;
    double gflops = wf_conv2d_flops(&b->desc) / bench_seconds(state) * 1e-9;
    bench_counter(state, "GFLOP/s", gflops);
    bench_counter(state, "%peak", 100 * gflops / b->all->peaks->gflops);
    snprintf(label, sizeof label, "%s%s", name, b->selected ? " (selected)" : "");
    bench_label(state, label);
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
    one b = {.desc = *d, .pass = pass, .all = all};
    wf_conv2d *chosen = wf_conv2d_create(d, pass, all->machine->isa, 1, NULL);
    const wf_conv2d_impl *best = chosen ? chosen->impl : NULL;
    bool ok = chosen != NULL;
    wf_conv2d_destroy(chosen);
    shape_name(c, b.shape, sizeof b.shape);
    for (b.index = 0; ok && b.index < wf_conv2d_n_impls; b.index++) {
        char why[160];
        const wf_conv2d_impl *impl = wf_conv2d_impls[b.index];
        wf_conv2d *k = wf_conv2d_create_impl(impl, d, pass, all->machine->isa, 1, why, sizeof why);
        wf_conv2d_destroy(k);
        b.selected = impl == best;
        ok = !k || add(all, &b);
    }
    return ok;
}

static bool add_shape(bench_conv2d *all, const wf_shape_case *c)
{
    const int block = wf_isa_block(all->machine->isa);
    wf_conv2d_desc d = c->desc;
    /* As the plan lays them out: the network's input, bytes or few channels, stays plain. */
    const bool bytes = d.src_type == WEFT_U8;
    d.src_block = bytes || d.C < block ? 1 : block;
    d.dst_block = block;
    return add_pass(all, c, &d, WF_CONV2D_FORWARD) &&
           (bytes || add_pass(all, c, &d, WF_CONV2D_BACKWARD_DATA)) &&
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
                 wf_conv2d_impls[b->index]->name);
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
