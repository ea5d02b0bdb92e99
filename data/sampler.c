/* Epoch orders. See sampler.h. */
#include "data/sampler.h"
#include "data/random.h"

void wf_sampler_order(int64_t *order, int64_t count, bool shuffle, uint64_t seed, int64_t epoch)
{
    for (int64_t i = 0; i < count; i++)
        order[i] = i;
    for (int64_t i = count - 1; shuffle && i > 0; i--) {
        wf_random r = wf_random_at(seed, WF_STREAM_SHUFFLE, (uint64_t)i, (uint32_t)epoch);
        int64_t j = (int64_t)wf_random_below(r.v[0], r.v[1], (uint64_t)i + 1);
        int64_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

int64_t wf_sampler_batches(int64_t count, int64_t batch, bool drop_last)
{
    return drop_last ? count / batch : count / batch + (count % batch != 0);
}
