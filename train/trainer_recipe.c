/* Accumulation, clipping, averages of the weights, the plateau, early stopping. See
 * trainer_recipe.h. */
#include <math.h>

#include "train/evaluate.h"
#include "train/trainer_recipe.h"

/* ---- life ------------------------------------------------------------------------------------ */

static bool is_of_ema(weft_monitor monitor)
{
    return monitor == WEFT_MONITOR_EMA_LOSS || monitor == WEFT_MONITOR_EMA_ACC1;
}

static bool higher_is_better(weft_monitor monitor)
{
    return monitor == WEFT_MONITOR_ACC1 || monitor == WEFT_MONITOR_EMA_ACC1;
}

static weft_status check_monitor(const weft_train_opts *o, weft_error *err)
{
    const bool plateau = o->schedule && o->schedule->kind == WEFT_SCHEDULE_PLATEAU;
    if ((unsigned)o->monitor > WEFT_MONITOR_EMA_ACC1 || o->patience < 0)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "training: monitor %d is no weft_monitor, or patience %lld is negative",
                            (int)o->monitor, (long long)o->patience);
    if (!(o->min_delta >= 0 && isfinite(o->min_delta)))
        return wf_error_set(err, WEFT_ERR_INVALID, "training: min_delta %g is not in [0, inf)",
                            o->min_delta);
    if (o->patience == 0 && !plateau)
        return WEFT_OK;
    if (!o->test)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "training: %s needs test data, whose figures it watches",
                            plateau ? "a plateau schedule" : "patience");
    if (is_of_ema(o->monitor) && !o->ema)
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "training: the figure to monitor is the averages', but there are none");
    return WEFT_OK;
}

weft_status wf_recipe_check(const weft_train_opts *o, weft_error *err)
{
    const double limits[] = {o->clip_grad_norm, o->clip_grad_value};
    if (o->accumulate < 0)
        return wf_error_set(err, WEFT_ERR_INVALID, "training: accumulate %lld is negative",
                            (long long)o->accumulate);
    for (int i = 0; i < 2; i++)
        if (!(limits[i] >= 0 && isfinite(limits[i])))
            return wf_error_set(err, WEFT_ERR_INVALID,
                                "training: clip_grad_%s %g is not in [0, inf)",
                                i == 0 ? "norm" : "value", limits[i]);
    if (o->ema && (!(o->ema->decay >= 0 && o->ema->decay <= 1) || o->ema->steps < 0 ||
                   o->ema->warmup_epochs < 0))
        return wf_error_set(err, WEFT_ERR_INVALID,
                            "training: ema: decay %g is not in [0, 1], or steps %lld or "
                            "warmup_epochs %lld is negative",
                            o->ema->decay, (long long)o->ema->steps,
                            (long long)o->ema->warmup_epochs);
    return check_monitor(o, err);
}

weft_status wf_recipe_init(weft_trainer *t, weft_error *err)
{
    wf_trainer_recipe *r = &t->recipe;
    *r = (wf_trainer_recipe){
        .clipped = WEFT_TENSOR_LIST_INIT, .ema_loss = NAN, .ema_acc1 = NAN, .ema_acc5 = NAN};
    weft_status status = WEFT_OK;
    if (t->opts.clip_grad_norm > 0 || t->opts.clip_grad_value > 0)
        status = weft_parameters(t->model, 0, &r->clipped);
    if (status == WEFT_OK && t->opts.ema)
        status = weft_ema_create(t->model, t->opts.ema->decay, &r->ema);
    return status == WEFT_OK ? status : wf_take_error(t->ctx, status, "a trainer", err);
}

void wf_recipe_done(weft_trainer *t)
{
    weft_tensor_list_done(&t->recipe.clipped);
    weft_ema_destroy(t->recipe.ema);
}

weft_ema *weft_trainer_ema(weft_trainer *t)
{
    return t ? t->recipe.ema : NULL;
}

/* ---- accumulation ---------------------------------------------------------------------------- */

int64_t wf_recipe_accumulate(const weft_train_opts *opts)
{
    return opts->accumulate > 0 ? opts->accumulate : 1;
}

int64_t wf_recipe_steps(const weft_train_opts *opts)
{
    const int64_t batches = weft_loader_batches(opts->train), n = wf_recipe_accumulate(opts);
    return batches / n + (batches % n != 0);
}

int64_t wf_recipe_batches(const weft_trainer *t)
{
    const int64_t n = wf_recipe_accumulate(&t->opts);
    const int64_t left = weft_loader_batches(t->opts.train) - t->place.step * n;
    return left < n ? left : n;
}

/* ---- the step -------------------------------------------------------------------------------- */

double wf_recipe_lr(const weft_trainer *t)
{
    return weft_plateau_lr(&t->recipe.plateau, t->opts.schedule, t->place.done);
}

/* A norm that is not finite fails the step: such gradients would spoil every weight. */
weft_status wf_recipe_clip(weft_trainer *t)
{
    if (t->opts.clip_grad_norm > 0 &&
        weft_clip_grad_norm(&t->recipe.clipped, t->opts.clip_grad_norm, true) == NULL)
        return weft_error_status(t->ctx) != WEFT_OK ? weft_error_status(t->ctx) : WEFT_ERR_INTERNAL;
    if (t->opts.clip_grad_value > 0)
        return weft_clip_grad_value(&t->recipe.clipped, t->opts.clip_grad_value);
    return WEFT_OK;
}

/* As torchvision's train_one_epoch: after the first step of an epoch and every so many; during the
 * warm-up the next update begins anew. */
weft_status wf_recipe_step_done(weft_trainer *t)
{
    const weft_ema_opts *o = t->opts.ema;
    if (!o || (t->place.step - 1) % (o->steps > 0 ? o->steps : 1) != 0)
        return WEFT_OK;
    WF_TRY(weft_ema_update(t->recipe.ema));
    if (t->place.epoch <= o->warmup_epochs)
        weft_ema_restart(t->recipe.ema);
    return WEFT_OK;
}

/* ---- after an epoch -------------------------------------------------------------------------- */

weft_status wf_recipe_evaluate(weft_trainer *t, const wf_eval_place *place)
{
    wf_trainer_recipe *r = &t->recipe;
    const weft_eval_opts opts = {.progress = t->opts.progress, .user = t->opts.user};
    weft_eval_result result;
    if (!r->ema)
        return WEFT_OK;
    weft_status status = weft_ema_swap(r->ema);
    if (status != WEFT_OK)
        return wf_take_error(t->ctx, status, "evaluating the averages", t->err);
    status = wf_evaluate(t->model, t->opts.test, &opts, place, &result, t->err);
    weft_error_clear(t->ctx);
    weft_ema_swap(r->ema);
    WF_TRY(status);
    r->ema_loss = result.loss;
    r->ema_acc1 = result.acc1;
    r->ema_acc5 = result.acc5;
    weft_eval_result_done(&result);
    return WEFT_OK;
}

static double monitored(const weft_trainer *t)
{
    switch (t->opts.monitor) {
    case WEFT_MONITOR_ACC1: return t->test.acc1;
    case WEFT_MONITOR_EMA_LOSS: return t->recipe.ema_loss;
    case WEFT_MONITOR_EMA_ACC1: return t->recipe.ema_acc1;
    case WEFT_MONITOR_LOSS: break;
    }
    return t->test.loss;
}

void wf_recipe_evaluated(weft_trainer *t)
{
    wf_trainer_recipe *r = &t->recipe;
    const double figure = monitored(t);
    const bool higher = higher_is_better(t->opts.monitor);
    if (t->opts.schedule && t->opts.schedule->kind == WEFT_SCHEDULE_PLATEAU)
        weft_plateau_update(&r->plateau, t->opts.schedule, figure);
    const double by = t->opts.min_delta;
    if (r->figures++ == 0 || (higher ? figure - by > r->best : figure + by < r->best)) {
        r->best = figure;
        r->bad = 0;
    } else {
        r->bad++;
    }
    r->enough = t->opts.patience > 0 && r->bad >= t->opts.patience;
}

void wf_recipe_set_end(weft_trainer *t)
{
    const int64_t n = t->steps_per_epoch;
    t->epochs = t->recipe.enough ? t->place.epoch : t->total / n + (t->total % n != 0);
}
