/* The plateau schedule: a learning rate that falls where a figure stands still. Any thread; one at a
 * time may use a weft_plateau. */
#include <math.h>

#include "engine/base/error.h"
#include "weft/schedule.h"

/* torch's eps: a fall that is smaller is none. */
#define LEAST_FALL 1e-8

static bool better(const weft_schedule *s, const weft_plateau *p, double figure)
{
    if (p->figures == 0)
        return !isnan(figure);
    /* as torch's threshold_mode "rel" */
    const double by = s->higher_is_better ? 1 + s->threshold : 1 - s->threshold;
    return s->higher_is_better ? figure > p->best * by : figure < p->best * by;
}

weft_status weft_plateau_update(weft_plateau *p, const weft_schedule *s, double figure)
{
    if (p == NULL || weft_schedule_check(s, NULL) != WEFT_OK || s->kind != WEFT_SCHEDULE_PLATEAU)
        return WEFT_ERR_INVALID;
    if (p->figures == 0) /* the worst, as torch begins */
        *p = (weft_plateau){.best = s->higher_is_better ? -INFINITY : INFINITY, .lr = s->lr};
    if (better(s, p, figure)) {
        p->best = figure;
        p->bad = 0;
    } else {
        p->bad++;
    }
    p->figures++;
    if (p->cooling > 0) {
        p->cooling--;
        p->bad = 0;
    }
    if (p->bad <= s->patience)
        return WEFT_OK;
    const double lr = fmax(p->lr * s->gamma, s->min_lr);
    if (p->lr - lr > LEAST_FALL)
        p->lr = lr;
    p->cooling = s->cooldown;
    p->bad = 0;
    return WEFT_OK;
}

double weft_plateau_lr(const weft_plateau *p, const weft_schedule *s, int64_t step)
{
    const double lr = weft_schedule_lr(s, step);
    if (p == NULL || p->figures == 0 || isnan(lr) || s->kind != WEFT_SCHEDULE_PLATEAU ||
        step < s->warmup_steps)
        return lr;
    return p->lr;
}
