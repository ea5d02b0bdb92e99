/* Fair timing of things that do the same work: in turns, so that a change of the machine's pace
 * meets all of them alike, and by medians.
 *
 * One thread. */
#ifndef WF_TUNE_MEASURE_H
#define WF_TUNE_MEASURE_H

#include <stdbool.h>

typedef struct wf_entrant {
    void (*run)(void *user, int set);
    void *user;
    int sets;       /* runs rotate through sets 0 to sets - 1 */
    double seconds; /* out: of one run, the median */
    double first;   /* out: of the first run, which is not counted */
    bool dropped;   /* out: too slow to be measured again; seconds is first */
    /* private */
    int set;
} wf_entrant;

typedef struct wf_measure_opts {
    /* At most; at least 3 are made, 1 where that takes longer than `seconds`, none where the first
     * runs take WF_MEASURE_PATIENCE times as long: then those are what counts. */
    int rounds;
    double seconds;  /* after which no further round begins */
    double sample;   /* a sample repeats short runs until it has lasted about so long */
    bool patient;    /* however long the first runs take, they do not count: one round is made */
    double hopeless; /* dropped when the first run took so many times the best's; 0: nobody is */
} wf_measure_opts;

#define WF_MEASURE_PATIENCE 4

/* Sorts x. */
double wf_median(double *x, int n);

/* n is at most WF_MEASURE_MAX. */
#define WF_MEASURE_MAX 64
#define WF_MEASURE_ROUNDS 31
void wf_measure(wf_entrant *e, int n, const wf_measure_opts *opts);

/* After it: the fastest, or `usual` where that one is not behind by more
 * than `margin` of its seconds. */
int wf_measure_winner(const wf_entrant *e, int n, int usual, double margin);

#endif
