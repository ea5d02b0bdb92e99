/* Optimizer and schedule of `weft train`, from the flags. No state. */
#include "train_recipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the optimizer --------------------------------------------------------------------------- */

/* What was given, else the optimizer's own. */
static double given_or(double given, double own)
{
    return given >= 0 ? given : own;
}

static weft_optimizer *make_sgd(const session *s, bool nesterov)
{
    const cli_options *o = s->options;
    return weft_sgd_create(s->ctx, NULL,
                           &(weft_sgd_opts){.lr = o->lr,
                                            .momentum = o->momentum,
                                            .weight_decay = o->weight_decay,
                                            .nesterov = nesterov});
}

static weft_optimizer *make_adam(const session *s, const weft_adamw_opts *own,
                                 weft_optimizer *(*create)(weft_context *, weft_module *,
                                                           const weft_adamw_opts *))
{
    const cli_options *o = s->options;
    const weft_adamw_opts opts = {.lr = o->lr,
                                  .beta1 = o->momentum,
                                  .beta2 = given_or(o->opt_beta2, own->beta2),
                                  .eps = given_or(o->opt_eps, own->eps),
                                  .weight_decay = o->weight_decay,
                                  .amsgrad = o->opt_amsgrad};
    return create(s->ctx, NULL, &opts);
}

/* torchvision's epsilon outside the root, which is the root of TensorFlow's inside it. */
static weft_optimizer *make_rmsprop(const session *s, bool tensorflow)
{
    const cli_options *o = s->options;
    return weft_rmsprop_create(
        s->ctx, NULL,
        &(weft_rmsprop_opts){.lr = o->lr,
                             .alpha = o->opt_alpha,
                             .eps = given_or(o->opt_eps, tensorflow ? 0.001 : 0.0316),
                             .weight_decay = o->weight_decay,
                             .momentum = o->momentum,
                             .tensorflow = tensorflow});
}

static weft_optimizer *make_adagrad(const session *s)
{
    weft_adagrad_opts opts = WEFT_ADAGRAD_OPTS_INIT;
    opts.lr = s->options->lr;
    opts.eps = given_or(s->options->opt_eps, opts.eps);
    opts.weight_decay = s->options->weight_decay;
    return weft_adagrad_create(s->ctx, NULL, &opts);
}

static weft_optimizer *make_lars(const session *s)
{
    weft_lars_opts opts = WEFT_LARS_OPTS_INIT;
    opts.lr = s->options->lr;
    opts.eps = given_or(s->options->opt_eps, opts.eps);
    opts.momentum = s->options->momentum;
    opts.weight_decay = s->options->weight_decay;
    return weft_lars_create(s->ctx, NULL, &opts);
}

static weft_optimizer *make_lion(const session *s)
{
    weft_lion_opts opts = WEFT_LION_OPTS_INIT;
    opts.lr = s->options->lr;
    opts.beta1 = s->options->momentum;
    opts.beta2 = given_or(s->options->opt_beta2, opts.beta2);
    opts.weight_decay = s->options->weight_decay;
    return weft_lion_create(s->ctx, NULL, &opts);
}

static weft_optimizer *make_optimizer(const session *s)
{
    static const weft_adamw_opts adam = WEFT_ADAM_OPTS_INIT, adamw = WEFT_ADAMW_OPTS_INIT,
                                 lamb = WEFT_LAMB_OPTS_INIT;
    const char *name = s->options->opt;
    if (strcmp(name, "adam") == 0)
        return make_adam(s, &adam, weft_adam_create);
    if (strcmp(name, "adamw") == 0)
        return make_adam(s, &adamw, weft_adamw_create);
    if (strcmp(name, "lamb") == 0)
        return make_adam(s, &lamb, weft_lamb_create);
    if (strcmp(name, "adagrad") == 0)
        return make_adagrad(s);
    if (strcmp(name, "lars") == 0)
        return make_lars(s);
    if (strcmp(name, "lion") == 0)
        return make_lion(s);
    if (strncmp(name, "rmsprop", 7) == 0)
        return make_rmsprop(s, strcmp(name, "rmsprop_tf") == 0);
    return make_sgd(s, strcmp(name, "sgd_nesterov") == 0);
}

weft_optimizer *recipe_optimizer(const session *s)
{
    const cli_options *o = s->options;
    const double norm = o->norm_weight_decay >= 0 ? o->norm_weight_decay : (double)NAN;
    const double bias = o->bias_weight_decay >= 0 ? o->bias_weight_decay : (double)NAN;
    weft_optimizer *optimizer = make_optimizer(s);
    if (optimizer && weft_optimizer_add_by_kind(optimizer, s->model, norm, bias) != WEFT_OK) {
        weft_optimizer_destroy(optimizer);
        optimizer = NULL;
    }
    return optimizer;
}

/* ---- the schedule ---------------------------------------------------------------------------- */

/* Of a number of epochs; exact in a double. */
static int64_t in_steps(double epochs, int64_t steps_per_epoch)
{
    return llround(fmin(epochs * (double)steps_per_epoch, 9e15));
}

/* The steps of the warm-up. One that nobody asked for is cut to half the training where it would
 * fill it; one that was asked for is what was asked for. */
static int64_t warmup_steps(recipe *r, const cli_options *o, int64_t per_epoch, int64_t total)
{
    if (o->lr_warmup_steps >= 0) {
        r->warmup_epochs = (double)o->lr_warmup_steps / (double)per_epoch;
        return o->lr_warmup_steps;
    }
    r->warmup_epochs = o->lr_warmup_epochs;
    int64_t steps = in_steps(r->warmup_epochs, per_epoch);
    if (steps < total || flags_given(&cli_table, CMD_TRAIN, o, "lr-warmup-epochs"))
        return steps;
    r->warmup_epochs = (double)(total / 2) / (double)per_epoch;
    int n = snprintf(r->note, sizeof(r->note),
                     "the training is no longer than the default warm-up of %g epoch%s, which is ",
                     o->lr_warmup_epochs, o->lr_warmup_epochs == 1 ? "" : "s");
    if (total < 2)
        snprintf(r->note + n, sizeof(r->note) - (size_t)n, "left out");
    else
        snprintf(r->note + n, sizeof(r->note) - (size_t)n, "cut to half of it: %lld step%s",
                 (long long)(total / 2), total / 2 == 1 ? "" : "s");
    return total / 2;
}

/* The flag that asked for a warm-up of the whole training. */
static void note_long_warmup(recipe *r, const cli_options *o, int64_t total)
{
    const weft_schedule *s = &r->schedule;
    char asked[64];
    if (o->lr_warmup_steps >= 0)
        snprintf(asked, sizeof(asked), "--lr-warmup-steps %lld", (long long)o->lr_warmup_steps);
    else
        snprintf(asked, sizeof(asked), "--lr-warmup-epochs %g", r->warmup_epochs);
    if (s->kind == WEFT_SCHEDULE_ONE_CYCLE)
        snprintf(r->note, sizeof(r->note),
                 "%s is the whole training: the learning rate rises to its end and does not fall",
                 asked);
    else
        snprintf(r->note, sizeof(r->note),
                 "%s is the whole training: the learning rate ends at %.4g, below --lr %g", asked,
                 weft_schedule_lr(s, total - 1), o->lr);
}

/* "30,60.5" in epochs, to steps in order. */
static int parse_milestones(recipe *r, const session *s, int64_t per_epoch)
{
    char text[FLAG_LIST_TEXT], *word;
    int n = 0;
    for (char *rest = flags_join(&s->options->lr_steps, text); (word = strsep(&rest, ","));) {
        char *end;
        const double epochs = strtod(word, &end);
        if (end == word || *end != '\0' || !(epochs > 0 && epochs <= 1e6))
            return session_usage(s, "--lr-steps: '%s' is no epoch, expected such as 30,60,90",
                                 word);
        r->milestones[n] = in_steps(epochs, per_epoch);
        if (r->milestones[n] <= (n > 0 ? r->milestones[n - 1] : 0))
            return session_usage(s, "--lr-steps: %s is not after the epoch before it", word);
        n++;
    }
    r->schedule.milestones = r->milestones;
    r->schedule.n_milestones = n;
    return 0;
}

static weft_schedule_kind kind_of(const char *name)
{
    if (strcmp(name, "onecycle") == 0)
        return WEFT_SCHEDULE_ONE_CYCLE;
    if (strcmp(name, "cosine_restarts") == 0)
        return WEFT_SCHEDULE_COSINE_RESTARTS;
    return (weft_schedule_kind)weft_schedule_parse(name);
}

int recipe_schedule(recipe *r, const session *s, int64_t batches)
{
    const cli_options *o = s->options;
    const int64_t per_epoch = batches / o->accumulate + (batches % o->accumulate != 0);
    int64_t total = o->epochs * per_epoch;
    total = o->max_steps && o->max_steps < total ? o->max_steps : total;
    const int64_t warmup = warmup_steps(r, o, per_epoch, total);
    weft_schedule schedule = WEFT_SCHEDULE_INIT;
    schedule.kind = kind_of(o->lr_scheduler);
    schedule.lr = o->lr;
    schedule.total_steps = total;
    schedule.hold_steps = strcmp(o->lr_per, "epoch") == 0 ? per_epoch : 1;
    if (schedule.kind == WEFT_SCHEDULE_ONE_CYCLE) {
        schedule.pct_start = fmin((double)warmup / (double)total, 1);
    } else {
        schedule.warmup_steps = warmup;
        schedule.warmup_start = o->lr_warmup_decay;
        schedule.constant_warmup = strcmp(o->lr_warmup_method, "constant") == 0;
    }
    schedule.step_size = per_epoch;
    if (schedule.kind == WEFT_SCHEDULE_STEP)
        schedule.step_size *= o->lr_step_size;
    schedule.gamma = o->lr_gamma;
    schedule.min_lr = o->lr_min;
    schedule.power = o->lr_power;
    schedule.restart_steps = in_steps(o->lr_period, per_epoch);
    schedule.restart_steps += schedule.restart_steps == 0;
    schedule.restart_mult = o->lr_period_mult;
    schedule.patience = o->lr_patience;
    schedule.cooldown = o->lr_cooldown;
    schedule.threshold = o->lr_threshold;
    schedule.higher_is_better = strstr(o->monitor, "acc1") != NULL;
    r->schedule = schedule;
    if (warmup >= total)
        note_long_warmup(r, o, total);
    if (schedule.kind != WEFT_SCHEDULE_MULTISTEP)
        return 0;
    if (o->lr_steps.n == 0)
        return session_usage(s, "--lr-scheduler multistep needs --lr-steps, such as 30,60,90");
    return parse_milestones(r, s, per_epoch);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static weft_monitor monitor_of(const char *name)
{
    static const char *const names[] = {[WEFT_MONITOR_LOSS] = "loss",
                                        [WEFT_MONITOR_ACC1] = "acc1",
                                        [WEFT_MONITOR_EMA_LOSS] = "ema_loss",
                                        [WEFT_MONITOR_EMA_ACC1] = "ema_acc1"};
    int i = WEFT_MONITOR_EMA_ACC1;
    while (i > 0 && strcmp(names[i], name) != 0)
        i--;
    return (weft_monitor)i;
}

/* The decay as torchvision's training script adjusts it: averages reach back over a part of the
 * training that does not depend on batch size and epochs. */
static double adjusted_decay(const cli_options *o)
{
    const double images = (double)o->batch_size * (double)o->accumulate;
    const double adjust = images * (double)o->model_ema_steps / (double)o->epochs;
    return 1 - fmin(1, (1 - o->model_ema_decay) * adjust);
}

void recipe_set(recipe *r, const session *s, weft_train_opts *opts)
{
    const cli_options *o = s->options;
    opts->schedule = &r->schedule;
    opts->accumulate = o->accumulate;
    opts->clip_grad_norm = o->clip_grad_norm;
    opts->clip_grad_value = o->clip_grad_value;
    opts->patience = o->patience;
    opts->min_delta = o->min_delta;
    opts->monitor = monitor_of(o->monitor);
    r->ema = (weft_ema_opts){.decay = adjusted_decay(o),
                             .steps = o->model_ema_steps,
                             .warmup_epochs = (int64_t)ceil(r->warmup_epochs)};
    if (o->model_ema)
        opts->ema = &r->ema;
}

void recipe_print_end(const weft_train_result *r, const cli_options *o)
{
    if (r->stopped_early)
        cli_print(stdout, "stopped early: %s was not better in %lld evaluation%s\n", o->monitor,
                  (long long)o->patience, o->patience == 1 ? "" : "s");
    if (!isnan(r->ema_acc1))
        cli_print(stdout, "averages %.2f%% (loss %.4f): weights_ema.safetensors\n", r->ema_acc1,
                  r->ema_loss);
}
