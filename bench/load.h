/* A loader over a user's own pictures: images a second, and the process's peak memory. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdint.h>

#include "weft/data.h"

typedef struct bench_load_spec {
    const char *path; /* what weft_dataset_open takes */
    int batch;
    int size;    /* edge of the square images */
    int workers; /* loader threads; 0: the thread that asks for batches */
    bool fast;   /* fast_decode */
    double seconds;
} bench_load_spec;

typedef struct bench_load_result {
    double images_per_s; /* median over pieces of 512 images */
    int64_t images;      /* that were timed */
    int samples;         /* pieces */
    double rss_mb;       /* the process's peak so far */
} bench_load_result;

/* Decodes, crops at random (RandomResizedCrop), mirrors one of two; batches stay bytes. The first
 * piece warms up and is not counted. */
weft_status bench_load_measure(const bench_load_spec *spec, bench_load_result *result,
                               weft_error *err);

#endif
