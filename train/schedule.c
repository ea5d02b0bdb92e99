/* Learning-rate schedules as pure functions of the step. Any thread. */
#include <math.h>
#include <string.h>

#include "weft/schedule.h"

#define PI 3.14159265358979323846

static const char *const kind_names[] = {[WEFT_SCHEDULE_CONSTANT] = "constant",
                                         [WEFT_SCHEDULE_STEP] = "step",
                                         [WEFT_SCHEDULE_COSINE] = "cosine",
                                         [WEFT_SCHEDULE_ONE_CYCLE] = "one-cycle"};
enum { KINDS = sizeof(kind_names) / sizeof(kind_names[0]) };

int weft_schedule_parse(const char *name)
{
    for (int i = 0; name != NULL && i < KINDS; i++) {
        if (strcmp(kind_names[i], name) == 0)
            return i;
    }
    return -1;
}

const char *weft_schedule_name(weft_schedule_kind kind)
{
    return (unsigned)kind < KINDS ? kind_names[kind] : "?";
}

static double or_default(double value, double otherwise)
{
    return value != 0 ? value : otherwise;
}

/* From a to b along half a cosine, t in 0 .. 1. */
static double anneal(double a, double b, double t)
{
    return b + (a - b) / 2 * (1 + cos(PI * t));
}

/* From first to top in the rising steps, then to last: torch's OneCycleLR with two phases, which
 * end at the steps pct_start * total - 1 and total - 1. */
static double one_cycle(const weft_schedule *s, int64_t step, double first, double top, double last)
{
    double end = (double)s->total_steps - 1;
    double rise = or_default(s->pct_start, 0.3) * (double)s->total_steps - 1;
    double at = (double)step;
    if (end <= 0 || at >= end)
        return last;
    if (at <= rise)
        return rise > 0 ? anneal(first, top, at / rise) : top;
    return anneal(top, last, (at - rise) / (end - rise));
}

double weft_schedule_lr(const weft_schedule *s, int64_t step)
{
    if (s == NULL)
        return NAN;
    step = step < 0 ? 0 : step;
    if (s->kind == WEFT_SCHEDULE_ONE_CYCLE) {
        double first = s->lr / or_default(s->div_factor, 25);
        return one_cycle(s, step, first, s->lr, first / or_default(s->final_div_factor, 1e4));
    }
    if (step < s->warmup_steps) {
        double start = or_default(s->warmup_start, 0.01);
        return s->lr * (start + (1 - start) * (double)step / (double)s->warmup_steps);
    }
    int64_t after = step - s->warmup_steps, length = s->total_steps - s->warmup_steps;
    if (s->kind == WEFT_SCHEDULE_STEP)
        return s->step_size > 0
                   ? s->lr * pow(or_default(s->gamma, 0.1), (double)(after / s->step_size))
                   : s->lr;
    if (s->kind == WEFT_SCHEDULE_COSINE) {
        double t = length > 0 ? fmin((double)after / (double)length, 1) : 1;
        return anneal(s->lr, s->min_lr, t);
    }
    return s->lr;
}

double weft_schedule_momentum(const weft_schedule *s, int64_t step)
{
    if (s == NULL || s->kind != WEFT_SCHEDULE_ONE_CYCLE ||
        (s->base_momentum == 0 && s->max_momentum == 0))
        return NAN;
    step = step < 0 ? 0 : step;
    return one_cycle(s, step, s->max_momentum, s->base_momentum, s->max_momentum);
}
