/* Benchmarks of linear layers and of batches of products; see linear.h. Data is warm: whatever of
 * it the caches hold. */
#include "bench/linear.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/gbench.h"
#include "bench/trial.h"
#include "kernels/onednn/best_matmul.h"

static const struct {
    const char *name;
    int in, out;
} layers[] = {{"resnet50.fc", 2048, 1000},
              {"vgg16.classifier.0", 25088, 4096},
              {"vgg16.classifier.3", 4096, 4096}};
static const int batches[] = {1, 16, 64, 256};

/* What attention on images multiplies, on 7x7 and 14x14 pixels and ViT-B/16's 197 tokens, heads of
 * 64 numbers: scores q kT, and their product with v; and a linear layer of all tokens. */
static const struct {
    const char *name;
    int64_t batch, M, N, K;
    int transpose_b;
} batched[] = {{"scores49", 192, 49, 49, 64, 1},   {"values49", 192, 49, 64, 49, 0},
               {"scores196", 96, 196, 196, 64, 1}, {"values196", 96, 196, 64, 196, 0},
               {"scores197", 64, 197, 197, 64, 1}, {"values197", 64, 197, 64, 197, 0},
               {"grouped14", 128, 32, 196, 32, 0}, {"tokens197", 1, 16 * 197, 768, 768, 1}};

enum { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS, PASSES };
static const char *const passes[PASSES] = {"forward", "backward-data", "backward-weights"};

typedef struct one {
    wf_matmul_desc desc;
    int index; /* of the implementation; -1: oneDNN's */
    bool selected;
    const bench_linear *all;
} one;

struct bench_linear {
    const bench_machine *machine;
    const bench_peaks *peaks;
    int n;
    one item[]; /* as many as there can be */
};

static void report(bench_state *state, const one *b, const char *kernel)
{
    const wf_problem problem = wf_problem_matmul(&b->desc);
    const double seconds = bench_seconds(state),
                 gflops = wf_problem_flops(&problem) / seconds * 1e-9;
    const double M = (double)b->desc.M, N = (double)b->desc.N, K = (double)b->desc.K;
    char label[64];
    bench_counter(state, "GFLOP/s", gflops);
    bench_counter(state, "%peak", 100 * gflops / b->all->peaks->gflops);
    bench_counter(state, "GB/s",
                  (double)wf_matmul_items(&b->desc) * (M * K + K * N + M * N) * sizeof(float) /
                      seconds * 1e-9);
    snprintf(label, sizeof label, "%s%s", kernel, b->selected ? " (selected)" : "");
    bench_label(state, label);
}

static void run_onednn(bench_state *state, void *user)
{
    const one *b = user;
    wf_dnnl_best_matmul *best = wf_dnnl_best_matmul_create(&b->desc, b->all->machine->threads);
    if (!best) {
        bench_fail(state, "oneDNN has no kernel for it, or memory is out");
        return;
    }
    wf_dnnl_best_matmul_run(best);
    while (bench_next(state))
        wf_dnnl_best_matmul_run(best);
    report(state, b, wf_dnnl_best_matmul_name(best));
    wf_dnnl_best_matmul_destroy(best);
}

static void run(bench_state *state, void *user)
{
    const one *b = user;
    const bench_machine *m = b->all->machine;
    const wf_trial_place place = {m->topology, m->memory, m->isa, m->threads, 0};
    const wf_problem problem = wf_problem_matmul(&b->desc);
    char name[BENCH_KERNEL_NAME];
    if (bench_trial(state, &place, &problem, b->index, name))
        report(state, b, name);
}

static wf_matmul_desc product(int pass, int batch, int in, int out)
{
    switch (pass) {
    case FORWARD: return (wf_matmul_desc){batch, out, in, 0, 1, WEFT_F32};
    case BACKWARD_DATA: return (wf_matmul_desc){batch, in, out, 0, 0, WEFT_F32};
    default: return (wf_matmul_desc){out, in, batch, 1, 0, WEFT_F32};
    }
}

/* A batch's: dA and dB as they lie. */
static wf_matmul_desc of_batch(int pass, int i)
{
    const int64_t n = batched[i].batch, M = batched[i].M, N = batched[i].N, K = batched[i].K;
    const int tb = batched[i].transpose_b;
    switch (pass) {
    case FORWARD: return (wf_matmul_desc){M, N, K, 0, tb, WEFT_F32, .batch = n};
    case BACKWARD_DATA: return (wf_matmul_desc){M, K, N, 0, !tb, WEFT_F32, .batch = n};
    default:
        return tb ? (wf_matmul_desc){N, K, M, 1, 0, WEFT_F32, .batch = n}
                  : (wf_matmul_desc){K, N, M, 1, 0, WEFT_F32, .batch = n};
    }
}

/* All of one problem's; `name` is what they begin with. */
static void add(bench_linear *all, const wf_matmul_desc *d, const char *name)
{
    const weft_isa isa = all->machine->isa;
    const wf_matmul_impl *chosen = wf_matmul_select(d, isa, NULL);
    for (int i = -1; i < wf_matmul_n_impls; i++) {
        char text[160], why[80];
        if (i >= 0 && !wf_matmul_fits(wf_matmul_impls[i], d, isa, why, sizeof why))
            continue;
        one *b = &all->item[all->n++];
        *b = (one){*d, i, i >= 0 && wf_matmul_impls[i] == chosen, all};
        snprintf(text, sizeof text, "%s/%s", name, i < 0 ? "onednn" : wf_matmul_impls[i]->name);
        bench_register(text, i < 0 ? run_onednn : run, b);
    }
}

bench_linear *bench_linear_register(const bench_machine *machine, const bench_peaks *peaks,
                                    bool bf16)
{
    const size_t n_layers = sizeof layers / sizeof *layers,
                 n_batches = sizeof batches / sizeof *batches,
                 n_batched = sizeof batched / sizeof *batched;
    const size_t most =
        (n_layers * n_batches + n_batched) * PASSES * (size_t)(1 + wf_matmul_n_impls);
    bench_linear *all = calloc(1, sizeof *all + most * sizeof *all->item);
    if (!all)
        return NULL;
    all->machine = machine;
    all->peaks = peaks;
    for (size_t l = 0; l < n_layers; l++)
        for (size_t i = 0; i < n_batches; i++)
            for (int pass = 0; pass < PASSES; pass++) {
                wf_matmul_desc d = product(pass, batches[i], layers[l].in, layers[l].out);
                d.bf16 = bf16;
                char name[96];
                snprintf(name, sizeof name, "linear/%s/b%d/%s", layers[l].name, batches[i],
                         passes[pass]);
                add(all, &d, name);
            }
    for (int i = 0; i < (int)n_batched; i++)
        for (int pass = 0; pass < PASSES; pass++) {
            wf_matmul_desc d = of_batch(pass, i);
            d.bf16 = bf16;
            char name[96];
            snprintf(name, sizeof name, "matmul/%s/b%d/%s", batched[i].name, (int)batched[i].batch,
                     passes[pass]);
            add(all, &d, name);
        }
    return all;
}

void bench_linear_destroy(bench_linear *all)
{
    free(all);
}
