/* Learning-rate schedules: functions of the step's number alone, so that resuming needs no state;
 * and the plateau, which depends on figures and has one. */
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
    WEFT_SCHEDULE_CONSTANT,        /* not at all */
    WEFT_SCHEDULE_STEP,            /* torch StepLR: times gamma every step_size steps */
    WEFT_SCHEDULE_COSINE,          /* torch CosineAnnealingLR from lr to min_lr */
    WEFT_SCHEDULE_ONE_CYCLE,       /* torch OneCycleLR with cosine annealing: lr is the maximum */
    WEFT_SCHEDULE_MULTISTEP,       /* torch MultiStepLR: times gamma at each milestone */
    WEFT_SCHEDULE_COSINE_RESTARTS, /* torch CosineAnnealingWarmRestarts from lr to min_lr */
    WEFT_SCHEDULE_EXPONENTIAL, /* torch ExponentialLR: times gamma every step_size steps, smoothly */
    WEFT_SCHEDULE_POLYNOMIAL,  /* torch PolynomialLR from lr to min_lr */
    WEFT_SCHEDULE_PLATEAU /* torch ReduceLROnPlateau: times gamma where a figure stands still */
} weft_schedule_kind;

/* A schedule. Steps are optimizer steps, counted from 0. */
typedef struct weft_schedule {
    weft_schedule_kind kind; /* how the learning rate changes */
    double lr;               /* after the warm-up; one-cycle: the highest */
    /* Cosine, polynomial and one-cycle: how many steps there are, warm-up included; at least 1.
     * Later steps keep the last value. */
    int64_t total_steps;
    /* All but one-cycle begin with a linear warm-up, as torch's LinearLR in a SequentialLR: from
     * lr*warmup_start at step 0 to lr at step warmup_steps. Everything below is counted from there,
     * as SequentialLR does. */
    int64_t warmup_steps;
    double warmup_start; /* in [0, 1] */
    int64_t step_size;   /* step, exponential: steps between two changes, at least 1 */
    /* Step, multistep, exponential, plateau: the factor of a change, in [0, inf); plateau: in
     * [0, 1). */
    double gamma;
    /* Cosine, with restarts too, and polynomial: the last learning rate; plateau: the lowest. */
    double min_lr;
    /* One-cycle: the learning rate rises from lr/div_factor to lr during the fraction pct_start,
     * in [0, 1], of all steps. Then it falls to lr/div_factor/final_div_factor. Both factors are
     * above 0. */
    double pct_start, div_factor, final_div_factor;
    /* One-cycle: momentum falls from max_momentum to base_momentum, then rises again. */
    bool cycle_momentum;
    double base_momentum, max_momentum; /* in [0, 1) */
    /* As torch's ConstantLR: all steps of the warm-up have lr*warmup_start. */
    bool constant_warmup;
    /* The learning rate changes only at multiples of so many steps, as where torch's schedulers are
     * stepped once an epoch; 0 and 1: at every step. The step's number is rounded down to one, and
     * all else is as above. */
    int64_t hold_steps;
    /* Multistep: n_milestones steps, each above 0 and above the one before; the caller's. */
    const int64_t *milestones;
    int n_milestones;
    int64_t restart_steps; /* cosine with restarts: the length of the first period, at least 1 */
    int64_t restart_mult;  /* each period is so many times as long as the one before; at least 1 */
    double power;          /* polynomial: in (0, inf) */
    /* Plateau: after `patience` figures in a row that are no better than the best by the fraction
     * `threshold` (in [0, 1)) the learning rate falls; then `cooldown` figures do not count. */
    int64_t patience, cooldown;
    double threshold;
    bool higher_is_better; /* plateau: whether a figure such as an accuracy is to rise */
} weft_schedule;
/* torch's defaults, except that momentum does not change and that a warm-up starts at a hundredth.
 * A 0 in a schedule means 0, so begin with these values and change what you want:
 *     weft_schedule s = WEFT_SCHEDULE_INIT;
 *     s.kind = WEFT_SCHEDULE_COSINE;
 * A schedule that was not begun so has a div_factor of 0, and is refused. */
#define WEFT_SCHEDULE_INIT                                                                         \
    WEFT_INIT(weft_schedule, WEFT_SET(warmup_start, 0.01), WEFT_SET(gamma, 0.1),                   \
              WEFT_SET(pct_start, 0.3), WEFT_SET(div_factor, 25), WEFT_SET(final_div_factor, 1e4), \
              WEFT_SET(base_momentum, 0.85), WEFT_SET(max_momentum, 0.95),                         \
              WEFT_SET(restart_mult, 1), WEFT_SET(power, 1), WEFT_SET(patience, 10),               \
              WEFT_SET(threshold, 1e-4))

/* WEFT_ERR_INVALID for NULL and for a schedule with a member out of range; err (may be NULL) names
 * the member and the range. weft_train checks before its first step. */
weft_status weft_schedule_check(const weft_schedule *s, weft_error *err);
/* The learning rate of a step; NAN for a schedule that weft_schedule_check refuses. Plateau: before
 * the first fall. */
double weft_schedule_lr(const weft_schedule *s, int64_t step);
/* The momentum of a step; NAN where the schedule does not change it, and for one that is
 * refused. */
double weft_schedule_momentum(const weft_schedule *s, int64_t step);
/* The weft_schedule_kind of a name: "constant", "step", "cosine", "one-cycle", "multistep",
 * "cosine-restarts", "exponential", "polynomial" or "plateau", or torch's class in small letters,
 * such as "cosineannealinglr"; -1: unknown. */
int weft_schedule_parse(const char *name);
const char *weft_schedule_name(weft_schedule_kind kind); /* the first name of it */

/* Where a plateau schedule is. All zeros: at its beginning. It can be copied and saved as it is. */
typedef struct weft_plateau {
    double best;     /* of the figures so far */
    double lr;       /* after the falls so far */
    int64_t figures; /* seen */
    int64_t bad;     /* figures in a row that were no better */
    int64_t cooling; /* figures that will not count */
} weft_plateau;
/* Tells the next figure, such as a test loss after an epoch, as ReduceLROnPlateau.step. A NaN is no
 * better than any. WEFT_ERR_INVALID, and *p is untouched, where the schedule is no plateau or is
 * refused. */
weft_status weft_plateau_update(weft_plateau *p, const weft_schedule *s, double figure);
/* The learning rate of a step: during the warm-up weft_schedule_lr, then p->lr. */
double weft_plateau_lr(const weft_plateau *p, const weft_schedule *s, int64_t step);

#ifdef __cplusplus
}
#endif
#endif
