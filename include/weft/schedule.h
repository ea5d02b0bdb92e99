/* Learning-rate schedules: pure functions of the step, so that resuming needs no state. */
#ifndef WEFT_SCHEDULE_H
#define WEFT_SCHEDULE_H

#include <stdint.h>

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
    int64_t total_steps; /* cosine and one-cycle; later steps keep the last value */
    /* Linear warm-up before constant, step and cosine: from lr*warmup_start to lr. */
    int64_t warmup_steps;
    double warmup_start; /* 0 reads as 0.01 */
    int64_t step_size;   /* step */
    double gamma;        /* step; 0 reads as 0.1 */
    double min_lr;       /* cosine */
    /* One-cycle: the fraction of steps that rise (0 reads as 0.3), lr/div_factor first (0 reads as
     * 25), that /final_div_factor last (0 reads as 1e4). Momentum runs from max_momentum down to
     * base_momentum and back (both 0: not scheduled). */
    double pct_start, div_factor, final_div_factor;
    double base_momentum, max_momentum;
} weft_schedule;

double weft_schedule_lr(const weft_schedule *s, int64_t step);
/* NAN when the schedule leaves momentum alone. */
double weft_schedule_momentum(const weft_schedule *s, int64_t step);
/* "constant", "step", "cosine", "one-cycle"; -1 for an unknown name. */
int weft_schedule_parse(const char *name);
const char *weft_schedule_name(weft_schedule_kind kind);

#ifdef __cplusplus
}
#endif
#endif
