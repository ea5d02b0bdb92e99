/* Means over images. */
#ifndef WF_TRAIN_METRICS_H
#define WF_TRAIN_METRICS_H

#include <math.h>
#include <stdint.h>

#include "engine/base/clock.h"

/* Loss and accuracy over some batches, added up in batch order in double: the same bits whatever
 * computed the batches. Initialise with {.started = wf_seconds()}. */
typedef struct wf_metrics {
    double loss_sum; /* mean loss of a batch times its images */
    int64_t images;
    int64_t correct;
    double started;
} wf_metrics;

static inline void wf_metrics_add(wf_metrics *m, int64_t images, double mean_loss, int64_t correct)
{
    m->loss_sum += mean_loss * (double)images;
    m->images += images;
    m->correct += correct;
}

static inline double wf_metrics_loss(const wf_metrics *m)
{
    return m->images ? m->loss_sum / (double)m->images : (double)NAN;
}

static inline double wf_metrics_percent(const wf_metrics *m, int64_t correct)
{
    return m->images ? 100.0 * (double)correct / (double)m->images : (double)NAN;
}

static inline double wf_metrics_rate(const wf_metrics *m, double now)
{
    return now > m->started ? (double)m->images / (now - m->started) : 0.0;
}

#endif
