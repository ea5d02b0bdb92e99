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
    weft_dtype images;    /* WEFT_F32 or WEFT_BF16 */
    bool cold;            /* activations rotate through more than the last-level cache */
    bool scaling;         /* the chosen kernel on one thread, too */
    bool no_winograd;     /* the yardstick is oneDNN's best without its Winograd */
} bench_layers_spec;

/* One implementation of one pass of one layer. */
typedef struct bench_row {
    char network[64], layer[64], impl[48], kernel[48];
    bool yardstick; /* oneDNN's best; impl is "onednn-best" or "onednn-without-winograd" */
    int count;      /* layers of this shape in the network */
    wf_conv2d_pass pass;
    double seconds, flops;
    double share, expected_share; /* of the peak; expected: 0 for oneDNN's best */
    bool chosen;
    double ratio;      /* the yardstick's time by this one; 0: oneDNN cannot */
    double one_thread; /* seconds of the chosen kernel on one thread; 0: not asked for */
    double behind;     /* of the chosen: its time by the fastest's, 1 is the fastest */
    double
        step_share; /* of the network's convolutions in a step, with this implementation; 0 to 1 */
} bench_row;

typedef struct bench_layers {
    bench_row *row;
    int n, capacity;
} bench_layers;

/* Measures everything, by the peak of the images' type where the machine has it; told: called for
 * each layer and pass as it ends (or NULL). */
weft_status bench_layers_measure(const bench_layers_spec *spec, const bench_machine *m,
                                 const bench_peaks *peaks, bench_layers *out,
                                 void (*told)(const bench_row *rows, int n), weft_error *err);
void bench_layers_done(bench_layers *l);

/* What a network's passes come to. */
typedef struct bench_summary {
    const char *network;
    int pass; /* 3: all of them */
    int layers, compared;
    double share;   /* of the convolutions' time in a step: of the chosen kernels', 0 to 1 */
    double by_time; /* the yardstick's time in a step by the chosen kernels'; 0: none */
    double geomean, lowest;   /* of the chosen kernels' ratios to the yardstick; 0: none */
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

/* Gives each row its share: its time by the chosen kernels' of its network, counted as often as the
 * network has the layer. */
void bench_layers_share(bench_layers *l);

void bench_layers_print(const bench_row *rows, int n);
/* Per layer of a network: its passes' shares of a step, and its ratio to the yardstick. */
void bench_layers_print_shares(const bench_layers *l, FILE *out);
void bench_layers_print_summary(const bench_summary *s, int n, const bench_layers_spec *spec,
                                FILE *out);
const char *bench_layers_against(bool no_winograd); /* "oneDNN's best", ... */
/* Rows as CSV; rows and summaries as a JSON object. */
weft_status bench_layers_write_csv(const bench_layers *l, const char *path, weft_error *err);
json_t *bench_layers_json(const bench_layers *l, const bench_summary *s, int n_summaries);

#endif
