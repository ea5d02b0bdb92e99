/* Layers of networks, pass by pass: every implementation, the one that is chosen, and oneDNN's own
 * best, measured in turns. bench/README.md says what the figures mean. One thread. */
#ifndef BENCH_LAYERS_H
#define BENCH_LAYERS_H

#include <jansson.h>

#include "bench/machine.h"
#include "kernels/conv2d/conv2d.h"

typedef struct bench_layers_spec {
    const char *networks; /* files of shapes, or names of this tree's, with commas; "all" */
    const char *only;     /* part of the names of layers or passes; NULL: all */
    int batch;            /* instead of the files'; 0: theirs */
    double seconds;       /* to measure one pass of a layer */
    bool cold;            /* activations rotate through more than the last-level cache */
    bool scaling;         /* the chosen kernel on one thread, too */
} bench_layers_spec;

/* One implementation of one pass of one layer. */
typedef struct bench_row {
    char network[64], layer[64], impl[48], kernel[48]; /* oneDNN's best: impl is "onednn-best" */
    wf_conv2d_pass pass;
    double seconds, flops;
    double share, expected_share; /* of the FMA peak; expected: 0 for oneDNN's best */
    bool chosen;
    double ratio;      /* oneDNN's best time by this one; 0: oneDNN cannot */
    double one_thread; /* seconds of the chosen kernel on one thread; 0: not asked for */
    double behind;     /* of the chosen: its time by the fastest's, 1 is the fastest */
} bench_row;

typedef struct bench_layers {
    bench_row *row;
    int n, capacity;
} bench_layers;

/* Measures everything; told: called for each layer and pass as it ends (or NULL). */
weft_status bench_layers_measure(const bench_layers_spec *spec, const bench_machine *m,
                                 double peak_gflops, bench_layers *out,
                                 void (*told)(const bench_row *rows, int n), weft_error *err);
void bench_layers_done(bench_layers *l);

/* What a network's passes come to. */
typedef struct bench_summary {
    const char *network;
    int pass; /* 3: all of them */
    int layers, compared;
    double geomean, lowest;   /* of the chosen kernels' ratios to oneDNN's best; 0: none */
    const char *lowest_layer; /* and which */
    int lowest_pass, below;   /* ratios below 0.95 */
    double behind, worst;     /* the chosen kernels' times by the fastest's: geomean, largest */
    const char *worst_layer;
    int worst_pass;
    int scaled,
        scaled_enough; /* layers of more than 5 ms: how many, with at least 0.95 x threads */
    double least_scaling;
} bench_summary;
/* Fills up to `most` summaries, network by network; returns how many. */
int bench_layers_summarise(const bench_layers *l, int threads, bench_summary *s, int most);

void bench_layers_print(const bench_row *rows, int n);
void bench_layers_print_summary(const bench_summary *s, int n, bool scaling, FILE *out);
/* Rows as CSV; rows and summaries as a JSON object. */
weft_status bench_layers_write_csv(const bench_layers *l, const char *path, weft_error *err);
json_t *bench_layers_json(const bench_layers *l, const bench_summary *s, int n_summaries);

#endif
