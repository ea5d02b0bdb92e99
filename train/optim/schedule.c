/* Learning-rate schedules as pure functions of the step. Any thread. */
#include <math.h>
#include <string.h>

#include "engine/base/error.h"
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

/* ---- what can be ---- */

static weft_status in_range(const char *field, double value, double low, double high,
                            weft_error *err)
{
    if (value >= low && value <= high && isfinite(value))
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_INVALID, "schedule: %s %g is not in [%g, %g%c", field, value,
                        low, high, isfinite(high) ? ']' : ')');
}

static weft_status at_least(const char *field, int64_t value, int64_t low, weft_error *err)
{
    if (value >= low)
        return WEFT_OK;
    return wf_error_set(err, WEFT_ERR_INVALID, "schedule: %s %lld is not at least %lld", field,
                        (long long)value, (long long)low);
}

static weft_status check_one_cycle(const weft_schedule *s, weft_error *err)
{
    WF_TRY(in_range("pct_start", s->pct_start, 0, 1, err));
    if (!s->cycle_momentum)
        return WEFT_OK;
    const double most = nextafter(1, 0); /* [0, 1) */
    WF_TRY(in_range("base_momentum", s->base_momentum, 0, most, err));
    return in_range("max_momentum", s->max_momentum, 0, most, err);
}

weft_status weft_schedule_check(const weft_schedule *s, weft_error *err)
{
    if (s == NULL)
        return wf_error_set(err, WEFT_ERR_INVALID, "schedule: NULL");
    if ((unsigned)s->kind >= KINDS)
        return wf_error_set(err, WEFT_ERR_INVALID, "schedule: kind %d is no weft_schedule_kind",
                            (int)s->kind);
    const double dividers[] = {s->div_factor, s->final_div_factor};
    for (int i = 0; i < 2; i++)
        if (!(dividers[i] > 0 && isfinite(dividers[i])))
            return wf_error_set(err, WEFT_ERR_INVALID,
                                "schedule: %s %g is not in (0, inf); begin with WEFT_SCHEDULE_INIT",
                                i == 0 ? "div_factor" : "final_div_factor", dividers[i]);
    WF_TRY(in_range("lr", s->lr, 0, INFINITY, err));
    if (s->kind == WEFT_SCHEDULE_COSINE || s->kind == WEFT_SCHEDULE_ONE_CYCLE)
        WF_TRY(at_least("total_steps", s->total_steps, 1, err));
    if (s->kind == WEFT_SCHEDULE_ONE_CYCLE)
        return check_one_cycle(s, err);
    WF_TRY(at_least("warmup_steps", s->warmup_steps, 0, err));
    WF_TRY(in_range("warmup_start", s->warmup_start, 0, 1, err));
    if (s->kind == WEFT_SCHEDULE_COSINE)
        return in_range("min_lr", s->min_lr, 0, INFINITY, err);
    if (s->kind == WEFT_SCHEDULE_STEP) {
        WF_TRY(at_least("step_size", s->step_size, 1, err));
        return in_range("gamma", s->gamma, 0, INFINITY, err);
    }
    return WEFT_OK;
}

/* ---- the value of a step ---- */

/* From a to b along half a cosine; t goes from 0 to 1. */
static double anneal(double a, double b, double t)
{
    return b + (a - b) / 2 * (1 + cos(PI * t));
}

/* From first to top in the rising steps, then to last: torch's OneCycleLR with two phases, which
 * end at the steps pct_start * total - 1 and total - 1. So the top is a step only where the first
 * of these is one; with pct_start 0 the fall begins a step before the training, and with pct_start
 * 1 the rise ends with it. */
static double one_cycle(const weft_schedule *s, int64_t step, double first, double top, double last)
{
    double end = (double)s->total_steps - 1;
    double rise = s->pct_start * (double)s->total_steps - 1;
    double at = fmin((double)step, end);
    if (at <= rise)
        return rise > 0 ? anneal(first, top, at / rise) : top;
    return anneal(top, last, (at - rise) / (end - rise));
}

double weft_schedule_lr(const weft_schedule *s, int64_t step)
{
    if (weft_schedule_check(s, NULL) != WEFT_OK)
        return NAN;
    step = step < 0 ? 0 : step;
    if (s->kind == WEFT_SCHEDULE_ONE_CYCLE) {
        double first = s->lr / s->div_factor;
        return one_cycle(s, step, first, s->lr, first / s->final_div_factor);
    }
    if (step < s->warmup_steps) {
        double start = s->warmup_start;
        return s->lr * (start + (1 - start) * (double)step / (double)s->warmup_steps);
    }
    int64_t after = step - s->warmup_steps, length = s->total_steps - s->warmup_steps;
    if (s->kind == WEFT_SCHEDULE_STEP)
        return s->lr * pow(s->gamma, (double)(after / s->step_size));
    if (s->kind == WEFT_SCHEDULE_COSINE) {
        /* else everything is warm-up */
        double t = length > 0 ? fmin((double)after / (double)length, 1) : 0;
        return anneal(s->lr, s->min_lr, t);
    }
    return s->lr;
}

double weft_schedule_momentum(const weft_schedule *s, int64_t step)
{
    if (weft_schedule_check(s, NULL) != WEFT_OK || s->kind != WEFT_SCHEDULE_ONE_CYCLE ||
        !s->cycle_momentum)
        return NAN;
    step = step < 0 ? 0 : step;
    return one_cycle(s, step, s->max_momentum, s->base_momentum, s->max_momentum);
}
