/* Fair timing of functions that do the same work. They run in turns, so that a change of the
 * machine's speed affects all alike, and their medians are compared.
 *
 * One thread. */
#ifndef WF_TUNE_MEASURE_H
#define WF_TUNE_MEASURE_H

#include <stdbool.h>

typedef struct wf_entrant {
    void (*run)(void *user, int set);
    void *user;
    int sets;       /* runs rotate through sets 0 to sets - 1 */
    double seconds; /* out: median seconds of a run */
    double first;   /* out: seconds of the first run, which does not count */
    bool dropped;   /* out: too slow to be measured again; `seconds` is `first` */
    /* private */
    int set;
} wf_entrant;

typedef struct wf_measure_opts {
    /* The most rounds. At least 3 are run; only 1 if that takes longer than `seconds`; none if the
     * first runs take WF_MEASURE_PATIENCE times as long: then the first runs count. */
    int rounds;
    double seconds; /* after this time no further round begins */
    double sample;  /* a sample repeats short runs for about this many seconds */
    bool patient;   /* the first runs never count: at least one round is run */
    /* drops entrants whose first run took this many times the best one's; 0: none */
    double hopeless;
} wf_measure_opts;

#define WF_MEASURE_PATIENCE 4

/* Sorts x. */
double wf_median(double *x, int n);

/* n is at most WF_MEASURE_MAX. */
#define WF_MEASURE_MAX 64
#define WF_MEASURE_ROUNDS 31
void wf_measure(wf_entrant *e, int n, const wf_measure_opts *opts);

/* After wf_measure: the index of the fastest, or `usual` if that is slower by at most `margin`
 * times its own seconds. */
int wf_measure_winner(const wf_entrant *e, int n, int usual, double margin);

#endif
