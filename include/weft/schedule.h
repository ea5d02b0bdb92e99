/* Learning-rate schedules: pure functions of the step, so that resuming needs no state. */
#ifndef WEFT_SCHEDULE_H
#define WEFT_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weft_schedule_kind {
    WEFT_SCHEDULE_CONSTANT,
    WEFT_SCHEDULE_STEP,     /* torch StepLR: times gamma every step_size steps */
    WEFT_SCHEDULE_COSINE,   /* torch CosineAnnealingLR from lr to min_lr */
    WEFT_SCHEDULE_ONE_CYCLE /* torch OneCycleLR with cosine annealing: lr is the maximum */
} weft_schedule_kind;

/* Steps count optimizer steps from 0. total_steps includes the warm-up. */
typedef struct weft_schedule {
    weft_schedule_kind kind;
    double lr;
    int64_t total_steps; /* cosine and one-cycle: at least 1; later steps keep the last value */
    /* Linear warm-up before constant, step and cosine, as torch's LinearLR in a SequentialLR: from
     * lr*warmup_start at step 0 to lr at step warmup_steps. */
    int64_t warmup_steps;
    double warmup_start; /* in [0, 1] */
    int64_t step_size;   /* step: at least 1 */
    double gamma;        /* step: in [0, inf) */
    double min_lr;       /* cosine */
    /* One-cycle: the fraction of steps that rise, in [0, 1]; lr/div_factor first, that divided by
     * final_div_factor last, both above 0. With cycle_momentum, momentum runs from max_momentum
     * down to base_momentum and back. */
    double pct_start, div_factor, final_div_factor;
    bool cycle_momentum;
    double base_momentum, max_momentum; /* in [0, 1) */
} weft_schedule;
/* torch's defaults, but that momentum is left alone and that warm-up starts at a hundredth. Every
 * value is taken as it stands, 0 too, so begin with these:
 *     weft_schedule s = WEFT_SCHEDULE_INIT;
 *     s.kind = WEFT_SCHEDULE_COSINE;
 * A schedule of any kind that is begun without it is refused, for its div_factor of 0. */
#define WEFT_SCHEDULE_INIT                                                                         \
    {                                                                                              \
        .warmup_start = 0.01, .gamma = 0.1, .pct_start = 0.3, .div_factor = 25,                    \
        .final_div_factor = 1e4, .base_momentum = 0.85, .max_momentum = 0.95                       \
    }

/* WEFT_ERR_INVALID for a schedule of which a field is out of range (a text in err, which may be
 * NULL, names it and the range), and for NULL. weft_train asks before its first step. */
weft_status weft_schedule_check(const weft_schedule *s, weft_error *err);
/* The learning rate of a step; NAN for a schedule that weft_schedule_check refuses. */
double weft_schedule_lr(const weft_schedule *s, int64_t step);
/* NAN when the schedule leaves momentum alone, too. */
double weft_schedule_momentum(const weft_schedule *s, int64_t step);
/* "constant", "step", "cosine", "one-cycle"; -1 for an unknown name. */
int weft_schedule_parse(const char *name);
const char *weft_schedule_name(weft_schedule_kind kind);

#ifdef __cplusplus
}
#endif
#endif
