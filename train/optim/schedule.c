/* Learning-rate schedules as pure functions of the step. Any thread. */
#include <math.h>
#include <string.h>

#include "engine/base/error.h"
#include "weft/schedule.h"

#define PI 3.14159265358979323846

/* The name, and torch's. */
static const char *const kind_names[][2] = {
    [WEFT_SCHEDULE_CONSTANT] = {"constant", "constantlr"},
    [WEFT_SCHEDULE_STEP] = {"step", "steplr"},
    [WEFT_SCHEDULE_COSINE] = {"cosine", "cosineannealinglr"},
    [WEFT_SCHEDULE_ONE_CYCLE] = {"one-cycle", "onecyclelr"},
    [WEFT_SCHEDULE_MULTISTEP] = {"multistep", "multisteplr"},
    [WEFT_SCHEDULE_COSINE_RESTARTS] = {"cosine-restarts", "cosineannealingwarmrestarts"},
    [WEFT_SCHEDULE_EXPONENTIAL] = {"exponential", "exponentiallr"},
    [WEFT_SCHEDULE_POLYNOMIAL] = {"polynomial", "polynomiallr"},
    [WEFT_SCHEDULE_PLATEAU] = {"plateau", "reducelronplateau"}};
enum { KINDS = sizeof(kind_names) / sizeof(kind_names[0]) };

int weft_schedule_parse(const char *name)
{
    for (int i = 0; name != NULL && i < KINDS; i++) {
        if (strcmp(kind_names[i][0], name) == 0 || strcmp(kind_names[i][1], name) == 0)
            return i;
    }
    return -1;
}

const char *weft_schedule_name(weft_schedule_kind kind)
{
    return (unsigned)kind < KINDS ? kind_names[kind][0] : "?";
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
    const double first = s->lr / s->div_factor, last = first / s->final_div_factor;
    if (!isfinite(first) || !isfinite(last))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "schedule: lr %g by div_factor %g and final_div_factor %g is no finite "
                            "learning rate",
                            s->lr, s->div_factor, s->final_div_factor);
    if (!s->cycle_momentum)
        return WEFT_OK;
    const double most = nextafter(1, 0); /* [0, 1) */
    WF_TRY(in_range("base_momentum", s->base_momentum, 0, most, err));
    return in_range("max_momentum", s->max_momentum, 0, most, err);
}

static weft_status check_milestones(const weft_schedule *s, weft_error *err)
{
    WF_TRY(at_least("n_milestones", s->n_milestones, 0, err));
    if (s->n_milestones > 0 && s->milestones == NULL)
        return wf_error_set(err, WEFT_ERR_INVALID, "schedule: milestones is NULL");
    for (int i = 0; i < s->n_milestones; i++) {
        const int64_t before = i > 0 ? s->milestones[i - 1] : 0;
        if (s->milestones[i] <= before)
            return wf_error_set(err, WEFT_ERR_INVALID,
                                "schedule: milestone %lld is not above %lld, the one before",
                                (long long)s->milestones[i], (long long)before);
    }
    return WEFT_OK;
}

static weft_status check_plateau(const weft_schedule *s, weft_error *err)
{
    const double most = nextafter(1, 0); /* [0, 1) */
    WF_TRY(in_range("gamma", s->gamma, 0, most, err));
    WF_TRY(in_range("threshold", s->threshold, 0, most, err));
    WF_TRY(at_least("patience", s->patience, 0, err));
    return at_least("cooldown", s->cooldown, 0, err);
}

/* What only this kind reads. */
static weft_status check_kind(const weft_schedule *s, weft_error *err)
{
    switch (s->kind) {
    case WEFT_SCHEDULE_STEP:
    case WEFT_SCHEDULE_EXPONENTIAL: WF_TRY(at_least("step_size", s->step_size, 1, err)); break;
    case WEFT_SCHEDULE_MULTISTEP: WF_TRY(check_milestones(s, err)); break;
    case WEFT_SCHEDULE_COSINE_RESTARTS:
        WF_TRY(at_least("restart_steps", s->restart_steps, 1, err));
        WF_TRY(at_least("restart_mult", s->restart_mult, 1, err));
        return in_range("min_lr", s->min_lr, 0, INFINITY, err);
    case WEFT_SCHEDULE_POLYNOMIAL:
        if (!(s->power > 0 && isfinite(s->power)))
            return wf_error_set(err, WEFT_ERR_INVALID,
                                "schedule: power %g is not in (0, inf); begin with "
                                "WEFT_SCHEDULE_INIT",
                                s->power);
        return in_range("min_lr", s->min_lr, 0, INFINITY, err);
    case WEFT_SCHEDULE_COSINE: return in_range("min_lr", s->min_lr, 0, INFINITY, err);
    case WEFT_SCHEDULE_PLATEAU:
        WF_TRY(check_plateau(s, err));
        return in_range("min_lr", s->min_lr, 0, INFINITY, err);
    case WEFT_SCHEDULE_CONSTANT:
    case WEFT_SCHEDULE_ONE_CYCLE: return WEFT_OK;
    }
    return in_range("gamma", s->gamma, 0, INFINITY, err);
}

static bool has_an_end(weft_schedule_kind kind)
{
    return kind == WEFT_SCHEDULE_COSINE || kind == WEFT_SCHEDULE_ONE_CYCLE ||
           kind == WEFT_SCHEDULE_POLYNOMIAL;
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
    WF_TRY(at_least("hold_steps", s->hold_steps, 0, err));
    if (has_an_end(s->kind))
        WF_TRY(at_least("total_steps", s->total_steps, 1, err));
    if (s->kind == WEFT_SCHEDULE_ONE_CYCLE)
        return check_one_cycle(s, err);
    WF_TRY(at_least("warmup_steps", s->warmup_steps, 0, err));
    WF_TRY(in_range("warmup_start", s->warmup_start, 0, 1, err));
    return check_kind(s, err);
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

/* The step that decides the value: the last multiple of hold_steps. */
static int64_t held(const weft_schedule *s, int64_t step)
{
    step = step < 0 ? 0 : step;
    return s->hold_steps > 1 ? step - step % s->hold_steps : step;
}

/* The fraction of the period of a cosine with restarts that is over `after` steps from the start.
 * Where periods grow, k of them take first (mult^k - 1) / (mult - 1) steps. */
static double in_period(const weft_schedule *s, int64_t after)
{
    double at = (double)after, length = (double)s->restart_steps;
    if (s->restart_mult == 1)
        return fmod(at, length) / length;
    while (at >= length) { /* at most 63 times: each period is at least twice as long */
        at -= length;
        length *= (double)s->restart_mult;
    }
    return at / length;
}

static double after_warmup(const weft_schedule *s, int64_t after)
{
    const int64_t length = has_an_end(s->kind) ? s->total_steps - s->warmup_steps : 0;
    /* where everything is warm-up, the end is never reached */
    const double t = length > 0 ? fmin((double)after / (double)length, 1) : 0;
    int passed = 0;
    switch (s->kind) {
    case WEFT_SCHEDULE_STEP: return s->lr * pow(s->gamma, (double)(after / s->step_size));
    case WEFT_SCHEDULE_MULTISTEP:
        while (passed < s->n_milestones && s->milestones[passed] <= after)
            passed++;
        return s->lr * pow(s->gamma, passed);
    case WEFT_SCHEDULE_EXPONENTIAL:
        return s->lr * pow(s->gamma, (double)after / (double)s->step_size);
    case WEFT_SCHEDULE_COSINE: return anneal(s->lr, s->min_lr, t);
    case WEFT_SCHEDULE_COSINE_RESTARTS: return anneal(s->lr, s->min_lr, in_period(s, after));
    case WEFT_SCHEDULE_POLYNOMIAL: return s->min_lr + (s->lr - s->min_lr) * pow(1 - t, s->power);
    case WEFT_SCHEDULE_CONSTANT:
    case WEFT_SCHEDULE_PLATEAU:
    case WEFT_SCHEDULE_ONE_CYCLE: break;
    }
    return s->lr;
}

double weft_schedule_lr(const weft_schedule *s, int64_t step)
{
    if (weft_schedule_check(s, NULL) != WEFT_OK)
        return NAN;
    step = held(s, step);
    if (s->kind == WEFT_SCHEDULE_ONE_CYCLE) {
        double first = s->lr / s->div_factor;
        return one_cycle(s, step, first, s->lr, first / s->final_div_factor);
    }
    if (step < s->warmup_steps) {
        const double start = s->warmup_start;
        const double at = s->constant_warmup ? 0 : (double)step / (double)s->warmup_steps;
        return s->lr * (start + (1 - start) * at);
    }
    return after_warmup(s, step - s->warmup_steps);
}

double weft_schedule_momentum(const weft_schedule *s, int64_t step)
{
    if (weft_schedule_check(s, NULL) != WEFT_OK || s->kind != WEFT_SCHEDULE_ONE_CYCLE ||
        !s->cycle_momentum)
        return NAN;
    step = held(s, step);
    return one_cycle(s, step, s->max_momentum, s->base_momentum, s->max_momentum);
}
