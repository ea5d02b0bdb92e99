/* The order in which an epoch visits the samples. It depends only on seed and epoch. So a resumed
 * run only needs to know how many batches it has had. */
#ifndef WF_DATA_SAMPLER_H
#define WF_DATA_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/data.h"

/* How many samples an epoch of a data set with `count` has. */
int64_t wf_sampler_count(int64_t count, weft_sampler sampler);

/* Writes the order of `epoch` to order[count]: 0 .. count-1, or a permutation of it with `shuffle`
 * (Fisher-Yates; every permutation is as likely as 64-bit draws allow). */
void wf_sampler_order(int64_t *order, int64_t count, bool shuffle, uint64_t seed, int64_t epoch);

/* WEFT_SAMPLE_BALANCED: `count` draws with replacement, a class that has samples, then one of its
 * samples. by_class[starts[k]] .. by_class[starts[k + 1]] are those of class k. */
void wf_sampler_balanced(int64_t *order, int64_t count, const int64_t *by_class,
                         const int64_t *starts, int classes, uint64_t seed, int64_t epoch);
/* WEFT_SAMPLE_REPEATED: the beginning of the epoch's order, each sample `repeats` times in a row.
 * order has room for `count`; the first wf_sampler_count of them are set. */
void wf_sampler_repeated(int64_t *order, int64_t count, int repeats, bool shuffle, uint64_t seed,
                         int64_t epoch);

/* How many batches an epoch of `count` samples has. */
int64_t wf_sampler_batches(int64_t count, int64_t batch, bool drop_last);

#endif
