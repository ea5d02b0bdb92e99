/* Learning-rate schedules: functions of the step's number alone, so that resuming needs no
 * state. */
#ifndef WEFT_SCHEDULE_H
#define WEFT_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the learning rate changes. */
typedef enum weft_schedule_kind {
    WEFT_SCHEDULE_CONSTANT, /* not at all */
    WEFT_SCHEDULE_STEP,     /* torch StepLR: times gamma every step_size steps */
    WEFT_SCHEDULE_COSINE,   /* torch CosineAnnealingLR from lr to min_lr */
    WEFT_SCHEDULE_ONE_CYCLE /* torch OneCycleLR with cosine annealing: lr is the maximum */
} weft_schedule_kind;

/* A schedule. Steps are optimizer steps, counted from 0. */
typedef struct weft_schedule {
    weft_schedule_kind kind; /* how the learning rate changes */
    double lr;               /* after the warm-up; one-cycle: the highest */
    /* Cosine and one-cycle: how many steps there are, warm-up included; at least 1. Later steps
     * keep the last value. */
    int64_t total_steps;
    /* Constant, step and cosine begin with a linear warm-up, as torch's LinearLR in a SequentialLR:
     * from lr*warmup_start at step 0 to lr at step warmup_steps. */
    int64_t warmup_steps;
    double warmup_start; /* in [0, 1] */
    int64_t step_size;   /* step: steps between two changes, at least 1 */
    double gamma;        /* step: the factor of a change, in [0, inf) */
    double min_lr;       /* cosine: the last learning rate */
    /* One-cycle: the learning rate rises from lr/div_factor to lr during the fraction pct_start,
     * in [0, 1], of all steps. Then it falls to lr/div_factor/final_div_factor. Both factors are
     * above 0. */
    double pct_start, div_factor, final_div_factor;
    /* One-cycle: momentum falls from max_momentum to base_momentum, then rises again. */
    bool cycle_momentum;
    double base_momentum, max_momentum; /* in [0, 1) */
} weft_schedule;
/* torch's defaults, except that momentum does not change and that a warm-up starts at a hundredth.
 * A 0 in a schedule means 0, so begin with these values and change what you want:
 *     weft_schedule s = WEFT_SCHEDULE_INIT;
 *     s.kind = WEFT_SCHEDULE_COSINE;
 * A schedule that was not begun so has a div_factor of 0, and is refused. */
#define WEFT_SCHEDULE_INIT                                                                         \
    {                                                                                              \
        .warmup_start = 0.01, .gamma = 0.1, .pct_start = 0.3, .div_factor = 25,                    \
        .final_div_factor = 1e4, .base_momentum = 0.85, .max_momentum = 0.95                       \
    }

/* WEFT_ERR_INVALID for NULL and for a schedule with a member out of range; err (may be NULL) names
 * the member and the range. weft_train checks before its first step. */
weft_status weft_schedule_check(const weft_schedule *s, weft_error *err);
/* The learning rate of a step; NAN for a schedule that weft_schedule_check refuses. */
double weft_schedule_lr(const weft_schedule *s, int64_t step);
/* The momentum of a step; NAN where the schedule does not change it, and for one that is
 * refused. */
double weft_schedule_momentum(const weft_schedule *s, int64_t step);
/* The weft_schedule_kind of a name: "constant", "step", "cosine" or "one-cycle"; -1: unknown. */
int weft_schedule_parse(const char *name);
const char *weft_schedule_name(weft_schedule_kind kind); /* the same the other way round */

#ifdef __cplusplus
}
#endif
#endif
