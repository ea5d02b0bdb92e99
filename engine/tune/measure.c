/* See measure.h. */
#include "engine/tune/measure.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/base/clock.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double wf_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* Runs an entrant `times` times. Returns the mean seconds of a run. */
static double time_runs(wf_entrant *e, int times)
{
    double start = wf_seconds();
    for (int i = 0; i < times; i++) {
        e->run(e->user, e->set);
        e->set = (e->set + 1) % e->sets;
    }
    return (wf_seconds() - start) / times;
}

/* Runs an entrant once or twice. The first run pays for page faults and for loading code. The
 * second, if there is time for it, tells how many runs make up one sample. Returns the seconds
 * used. */
static double warm_up(wf_entrant *e, int n, const wf_measure_opts *opts)
{
    const double start = wf_seconds(), patience = WF_MEASURE_PATIENCE * opts->seconds;
    const double hopeless = opts->hopeless;
    double best = 0;
    for (int i = 0; i < n; i++) {
        e[i].set = 0;
        e[i].first = time_runs(&e[i], 1);
        if (e[i].first < 0.1 && wf_seconds() - start < patience)
            e[i].first = time_runs(&e[i], 1);
        best = i == 0 || e[i].first < best ? e[i].first : best;
    }
    for (int i = 0; i < n; i++) {
        e[i].dropped = hopeless > 0 && e[i].first > hopeless * best;
        e[i].seconds = e[i].first;
    }
    return wf_seconds() - start;
}

void wf_measure(wf_entrant *e, int n, const wf_measure_opts *opts)
{
    double samples[WF_MEASURE_MAX][WF_MEASURE_ROUNDS];
    int rounds = opts->rounds < WF_MEASURE_ROUNDS ? opts->rounds : WF_MEASURE_ROUNDS, done = 0;
    assert(n <= WF_MEASURE_MAX);
    if (warm_up(e, n, opts) > WF_MEASURE_PATIENCE * opts->seconds && !opts->patient)
        return;
    double start = wf_seconds(), last = 0;
    for (; done < rounds; done++) {
        double now = wf_seconds() - start;
        if (done > 0 && now + (now - last) > opts->seconds && (done >= 3 || now > opts->seconds))
            break;
        last = now;
        for (int i = 0; i < n; i++) {
            int times = e[i].first > 0 ? (int)(opts->sample / e[i].first) : 1;
            if (!e[i].dropped)
                samples[i][done] = time_runs(&e[i], times > 1 ? times : 1);
        }
    }
    for (int i = 0; i < n && done > 0; i++)
        if (!e[i].dropped)
            e[i].seconds = wf_median(samples[i], done);
}

int wf_measure_winner(const wf_entrant *e, int n, int usual, double margin)
{
    int best = usual;
    for (int i = 0; i < n; i++)
        if (e[i].seconds < e[best].seconds)
            best = i;
    return e[best].seconds > (1 - margin) * e[usual].seconds ? usual : best;
}
