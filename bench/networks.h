/* The convolutions of networks, from the files of tests/shapes: layer by layer, pass by pass, laid
 * out as plans lay them out. */
#ifndef BENCH_NETWORKS_H
#define BENCH_NETWORKS_H

#include "kernels/conv2d/conv2d.h"
#include "weft/status.h"

typedef struct bench_layer {
    const char *network, *name; /* the file's name; the layer's */
    int count;                  /* layers of this shape in the network */
    wf_conv2d_desc desc;
    wf_conv2d_pass pass;
} bench_layer;
typedef weft_status (*bench_visit)(void *user, const bench_layer *at, weft_error *err);

/* Calls `visit` for each pass of each layer until it fails. networks: files of shapes, or names of
 * this tree's, with commas; "all". only: part of the names of layers or passes; NULL: all. batch:
 * instead of the files'; 0: theirs. images: WEFT_F32 or WEFT_BF16, but for the network's input,
 * which stays as it is. The images' gradient, which training never computes, is left out. */
weft_status bench_networks_visit(const char *networks, const char *only, int batch,
                                 weft_dtype images, weft_isa isa, bench_visit visit, void *user,
                                 weft_error *err);

#endif
