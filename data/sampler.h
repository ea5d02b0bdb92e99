/* The order in which an epoch visits the samples. It depends only on seed and epoch. So a resumed
 * run only needs to know how many batches it has had. */
#ifndef WF_DATA_SAMPLER_H
#define WF_DATA_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

/* Writes the order of `epoch` to order[count]: 0 .. count-1, or a permutation of it with `shuffle`
 * (Fisher-Yates; every permutation is as likely as 64-bit draws allow). */
void wf_sampler_order(int64_t *order, int64_t count, bool shuffle, uint64_t seed, int64_t epoch);

/* How many batches an epoch of `count` samples has. */
int64_t wf_sampler_batches(int64_t count, int64_t batch, bool drop_last);

#endif
