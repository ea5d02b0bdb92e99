/* How long a step takes, and how long the rest of a training will. See trainer_state.h. */
#include "train/trainer_times.h"

enum { STEPS_MEANT = 50 };

static int64_t eval_freq(const weft_trainer *t)
{
    return t->opts.eval_freq > 0 ? t->opts.eval_freq : 1;
}

bool wf_trainer_evaluates_after(const weft_trainer *t, int64_t epoch)
{
    return t->opts.test && (epoch % eval_freq(t) == 0 || epoch == t->epochs);
}

int64_t wf_trainer_evaluations_left(const weft_trainer *t, int64_t epoch)
{
    if (!t->opts.test)
        return 0;
    int64_t freq = eval_freq(t);
    return t->epochs / freq - (epoch - 1) / freq + (t->epochs % freq != 0);
}

/* The first step that this loader start feeds does not count, because it may compile a plan. */
void wf_trainer_time_step(weft_trainer *t)
{
    wf_trainer_times *s = &t->times;
    double now = wf_seconds();
    if (t->place.step > 1 && s->step_ended > 0) {
        s->steps_timed += s->steps_timed < STEPS_MEANT;
        s->step_seconds += (now - s->step_ended - s->step_seconds) / (double)s->steps_timed;
    }
    s->step_ended = now;
}

/* Estimates the seconds of all steps and evaluations to come. Before the first evaluation, it is
 * assumed to cost a third of training on as many images. -1: no step was timed yet. */
static double seconds_left(const weft_trainer *t)
{
    double step = t->times.step_seconds, evaluation = 0;
    if (t->tested)
        evaluation = t->test.seconds;
    else if (t->opts.test)
        evaluation = step / 3 * (double)weft_loader_batches(t->opts.test);
    if (t->times.steps_timed == 0)
        return -1;
    return step * (double)(t->total - t->place.done) +
           evaluation * (double)wf_trainer_evaluations_left(t, t->place.epoch);
}

weft_progress wf_trainer_progress(const weft_trainer *t, const wf_metrics *m)
{
    double now = wf_seconds();
    return (weft_progress){
        .phase = WEFT_PHASE_TRAIN,
        .epoch = t->place.epoch,
        .epochs = t->epochs,
        .step = t->place.step,
        .steps = t->place.steps,
        .images = m->images,
        .loss = wf_metrics_loss(m),
        .acc1 = wf_metrics_percent(m, m->correct),
        .lr = t->lr,
        .img_per_s = wf_metrics_rate(m, now),
        .seconds = now - m->started,
        .seconds_left = seconds_left(t),
    };
}
