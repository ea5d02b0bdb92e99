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

int64_t wf_sampler_count(int64_t count, weft_sampler sampler)
{
    enum { WHOLE = 256 };
    return sampler == WEFT_SAMPLE_REPEATED && count >= WHOLE ? count / WHOLE * WHOLE : count;
}

/* The class of a draw among those that have samples: the r-th of them. */
static int nth_class(const int64_t *starts, int classes, int64_t r)
{
    for (int k = 0; k < classes; k++)
        if (starts[k] < starts[k + 1] && r-- == 0)
            return k;
    return 0;
}

void wf_sampler_balanced(int64_t *order, int64_t count, const int64_t *by_class,
                         const int64_t *starts, int classes, uint64_t seed, int64_t epoch)
{
    int64_t met = 0;
    for (int k = 0; k < classes; k++)
        met += starts[k] < starts[k + 1];
    for (int64_t i = 0; i < count; i++) {
        wf_random r = wf_random_at(seed, WF_STREAM_BALANCE, (uint64_t)i, (uint32_t)epoch);
        int64_t draw = (int64_t)((uint64_t)r.v[0] * (uint64_t)met >> 32);
        int k = met == classes ? (int)draw : nth_class(starts, classes, draw);
        uint64_t members = (uint64_t)(starts[k + 1] - starts[k]);
        order[i] = by_class[starts[k] + (int64_t)wf_random_below(r.v[1], r.v[2], members)];
    }
}

void wf_sampler_repeated(int64_t *order, int64_t count, int repeats, bool shuffle, uint64_t seed,
                         int64_t epoch)
{
    wf_sampler_order(order, count, shuffle, seed, epoch);
    /* backwards, so that nothing is overwritten before it is read */
    for (int64_t i = wf_sampler_count(count, WEFT_SAMPLE_REPEATED) - 1; i >= 0; i--)
        order[i] = order[i / repeats];
}

int64_t wf_sampler_batches(int64_t count, int64_t batch, bool drop_last)
{
    return drop_last ? count / batch : count / batch + (count % batch != 0);
}
