/* weft train: opens data, model and run directory, trains, says what came of it.
 *
 * Everything that can be wrong is found before the run's directory is made; the directory is made
 * before the first step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command_line.h"
#include "commands.h"
#include "progress.h"
#include "session.h"
#include "signals.h"
#include "step.h"
#include "train_data.h"
#include "train_plan.h"
#include "train_recipe.h"
#include "train_resume.h"
#include "train_time.h"

typedef struct training {
    session s;
    cli_options used;           /* the options, with what they leave to the data */
    const cli_options *options; /* the same */
    train_data data;
    weft_optimizer *optimizer;
    recipe recipe;
    weft_run *run;
    train_resume resume;
    char wisdom[32]; /* its hash */
    cli_progress progress;
    train_plan plan;
    train_time time;
} training;

/* ---- opening --------------------------------------------------------------------------------- */

/* A last batch that is not full is left out. Less than a hundredth is not worth a word, unless the
 * images are the same each time. */
static void note_left_out(const training *t)
{
    int64_t count = weft_dataset_get_info(t->data.train)->count, batch = t->options->batch_size;
    int64_t left = count - batch * weft_loader_batches(t->data.train_loader);
    if (left == 0 || t->options->balanced_sampler || t->options->ra_sampler ||
        (100 * left < count && !t->options->no_shuffle))
        return;
    cli_print(stdout, "note  %lld of %lld training images are %s: they fill no batch of %lld\n",
              (long long)left, (long long)count,
              t->options->no_shuffle ? "never trained on"
                                     : "left out of each epoch, others each time",
              (long long)batch);
}

static int open_model(training *t)
{
    const weft_dataset_info *info = weft_loader_get_info(t->data.train_loader);
    int status = session_open_context(&t->s);
    size_t weights = 0;
    plan_begin(&t->plan, t->data.resident);
    if (status == 0)
        status = session_weigh_model(&t->s, info->channels, info->height, info->width,
                                     info->classes, &weights);
    if (status == 0)
        status = plan_check_weights(&t->s, &t->plan, weights);
    if (status == 0)
        status =
            session_open_model(&t->s, info->channels, info->height, info->width, info->classes);
    if (status)
        return status;
    t->optimizer = recipe_optimizer(&t->s);
    if (!t->optimizer)
        return session_fail(&t->s);
    return recipe_schedule(&t->recipe, &t->s, weft_loader_batches(t->data.train_loader));
}

/* Every option as it was used, under its flag's name. */
static int write_config(training *t)
{
    enum { MOST = FLAGS_MAX, LISTS = 8 };
    weft_setting settings[MOST];
    char lists[LISTS][FLAG_LIST_TEXT];
    int n = 0, n_lists = 0;
    for (int i = 0; i < cli_table.n_flags && n < MOST; i++) {
        const flag *f = &cli_table.flags[i];
        const void *field = (const char *)t->options + f->offset;
        if (!(f->commands & CMD_TRAIN) || f->kind == FLAG_SET || strcmp(f->name, "help") == 0)
            continue;
        weft_setting *s = &settings[n++];
        *s = (weft_setting){.name = f->name};
        if (f->kind != FLAG_BOOL && !flags_apply(&cli_table, CMD_TRAIN, t->options, f))
            continue; /* null: it had no part in the training */
        switch (f->kind) {
        case FLAG_INT:
            if ((double)*(const int64_t *)field < f->min)
                break; /* null: not given */
            s->kind = WEFT_SETTING_INT;
            s->integer = *(const int64_t *)field;
            break;
        case FLAG_NUMBER:
            if (*(const double *)field < f->min)
                break; /* null: not given */
            s->kind = WEFT_SETTING_NUMBER;
            s->number = *(const double *)field;
            if (strcmp(f->name, "lr-warmup-epochs") == 0)
                s->number = t->recipe.warmup_epochs;
            break;
        case FLAG_BOOL:
            s->kind = WEFT_SETTING_BOOL;
            s->truth = *(const bool *)field;
            break;
        case FLAG_LIST:
            s->kind = WEFT_SETTING_TEXT;
            if (strcmp(f->name, "model-arg") == 0)
                s->text = t->s.model_args[0] ? t->s.model_args : NULL;
            else if (((const flag_list *)field)->n > 0 && n_lists < LISTS)
                s->text = flags_join(field, lists[n_lists++]);
            break;
        default:
            s->kind = WEFT_SETTING_TEXT;
            s->text = *(const char *const *)field;
            if (strcmp(f->name, "model") == 0)
                s->text = t->s.model_name;
            if (strcmp(f->name, "output-dir") == 0)
                s->text = weft_run_path(t->run);
        }
    }
    int held = train_resume_check(&t->resume, t->run, settings, n);
    if (held || t->resume.finished)
        return held;
    char *command = command_line(t->options->argc, t->options->argv);
    weft_status status = weft_run_write_config(t->run, t->s.ctx, command, settings, n, &t->s.err);
    free(command);
    return status ? session_fail(&t->s) : 0;
}

/* Before the run's directory is made: it may be there. */
static int read_wisdom(training *t)
{
    weft_wisdom_info info;
    if (weft_wisdom_get_info(t->s.ctx, &info))
        return session_fail(&t->s);
    snprintf(t->wisdom, sizeof t->wisdom, "%s", info.hash);
    if (info.choices)
        cli_print(stdout, "note  %d choices of kernels by wisdom, hash %s%s%s\n", info.choices,
                  info.hash, info.path ? ", from " : "", info.path ? info.path : "");
    return 0;
}

/* Measuring may fail to be kept, but that does not keep anyone from training. */
static int tune(training *t)
{
    const weft_dataset_info *info = weft_loader_get_info(t->data.train_loader);
    const int size[3] = {info->channels, info->height, info->width};
    weft_tune_result result;
    int status = step_tune(&t->s, size, &result);
    return status == EXIT_FAILED && weft_error_status(t->s.ctx) == WEFT_OK ? 0 : status;
}

static int open_run(training *t)
{
    char path[256], stamp[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
    snprintf(path, sizeof(path), "runs/%s-%s", t->s.model_name, stamp);
    const char *asked = t->options->output_dir;
    weft_run_opts opts = {.path = asked ? asked : path,
                          .numbered = !asked,
                          .overwrite = t->options->overwrite,
                          .resume = train_resume_wanted(&t->resume)};
    int status = train_data_keep_apart(&t->s, &t->data, opts.path);
    if (status)
        return status;
    if (weft_run_create(&opts, &t->run, &t->s.err))
        return session_fail(&t->s);
    return write_config(t);
}

/* A run that was asked to stop before its first step leaves no directory. */
static int stopped_early(training *t)
{
    if (!signals_seen())
        return 0;
    cli_print(stderr, "weft train: interrupted before the first step\n");
    return signals_status();
}

/* ---- training -------------------------------------------------------------------------------- */

static bool on_step(void *user, const weft_progress *record)
{
    training *t = user;
    cli_progress_step(&t->progress, record);
    return train_time_step(&t->time, record) && !signals_seen();
}

static void on_epoch(void *user, const weft_epoch *epoch)
{
    cli_progress_epoch(&((training *)user)->progress, epoch);
}

/* "0.286,0.5" */
static void format_floats(const float *values, int n, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (int i = 0; i < n && length < size; i++)
        length += (size_t)snprintf(text + length, size - length, "%s%.9g", i ? "," : "",
                                   (double)values[i]);
}

/* Where it runs, in one line. */
static void print_place(const weft_context *ctx)
{
    char where[1024];
    if (weft_info_line(ctx, where, sizeof(where)))
        cli_print(stdout, "on    %s\n", where);
}

static void print_start(const training *t)
{
    int64_t all = weft_parameter_count(t->s.model, false);
    int64_t trained = weft_parameter_count(t->s.model, true);
    cli_print(stdout, "model %s, %lld parameters", t->s.model_name, (long long)all);
    if (trained < all)
        cli_print(stdout, ", of which %lld are trained", (long long)trained);
    cli_print(stdout, "\n");
    train_data_print(&t->s, &t->data);
    if (t->recipe.note[0])
        cli_print(stdout, "note  %s\n", t->recipe.note);
    int threads = weft_threads(t->s.ctx);
    cli_print(stdout, "run   %s, %d thread%s, %s%s\n", weft_run_path(t->run), threads,
              threads == 1 ? "" : "s", weft_isa_name(weft_context_isa(t->s.ctx)),
              weft_context_amp(t->s.ctx) == WEFT_AMP_BF16 ? ", images stored as bf16" : "");
    print_place(t->s.ctx);
    fflush(stdout);
}

static int print_end(training *t, weft_status status, const weft_train_result *r)
{
    char took[32], loss[32];
    weft_duration_format(r->seconds, took, sizeof(took));
    cli_progress_erase(&t->progress);
    if (status != WEFT_OK)
        return train_time_end(&t->time) ? EXIT_FAILED : train_resume_stop(&t->resume, status);
    cli_loss(r->test_loss, loss, sizeof(loss));
    if (r->best_acc1 > r->test_acc1)
        cli_print(stdout, "best %.2f%% after epoch %lld: weights_best.safetensors\n", r->best_acc1,
                  (long long)r->best_epoch);
    recipe_print_end(r, t->options);
    cli_print(stdout, "report %s/report.html\n", weft_run_path(t->run));
    bool val = weft_dataset_get_info(t->data.val)->split == WEFT_SPLIT_VAL;
    cli_print(stdout, "%s accuracy %.2f%% (loss %s) after %lld epoch%s in %s, %.0f img/s; in %s\n",
              val ? "validation" : "test", r->test_acc1, loss, (long long)r->epochs,
              r->epochs == 1 ? "" : "s", took, r->img_per_s, weft_run_path(t->run));
    return train_data_finish(&t->s, &t->data, weft_run_path(t->run));
}

/* How it trains; without files and callbacks. It points into *t. */
static weft_train_opts train_opts(training *t)
{
    weft_train_opts opts = {.train = t->data.train_loader,
                            .test = t->data.val_loader,
                            .class_weights = t->data.class_weights,
                            .n_class_weights = t->data.n_class_weights,
                            .optimizer = t->optimizer,
                            .epochs = t->options->epochs,
                            .max_steps = t->options->max_steps,
                            .eval_freq = t->options->eval_freq,
                            .label_smoothing = t->options->label_smoothing};
    recipe_set(&t->recipe, &t->s, &opts);
    return opts;
}

static int train(training *t)
{
    enum { TEXT = 4096 };
    char mean[TEXT], std[TEXT], classes[32], *names;
    const weft_dataset_info *info = weft_loader_get_info(t->data.train_loader);
    int64_t n_classes = t->options->num_classes ? t->options->num_classes : info->classes;
    snprintf(classes, sizeof(classes), "%lld", (long long)n_classes);
    weft_safetensors_meta meta[16] = {{"weft.model", t->s.model_name},
                                      {"weft.classes", classes},
                                      {"weft.wisdom", t->wisdom},
                                      {"weft.machine", weft_context_machine(t->s.ctx)},
                                      {"weft.images", weft_dtype_name(info->dtype)}};
    int n_meta = 5;
    names = session_class_names(info);
    if (names)
        meta[n_meta++] = (weft_safetensors_meta){"weft.class_names", names};
    if (t->s.model_args[0])
        meta[n_meta++] = (weft_safetensors_meta){"weft.model_args", t->s.model_args};
    if (t->data.transform[0])
        meta[n_meta++] = (weft_safetensors_meta){"weft.transform", t->data.transform};
    if (t->data.channels[0])
        meta[n_meta++] = (weft_safetensors_meta){"weft.channels", t->data.channels};
    if (info->dtype == WEFT_U8) {
        format_floats(t->s.norm.mean, t->s.norm.channels, mean, sizeof(mean));
        format_floats(t->s.norm.std, t->s.norm.channels, std, sizeof(std));
        meta[n_meta++] = (weft_safetensors_meta){"weft.mean", mean};
        meta[n_meta++] = (weft_safetensors_meta){"weft.std", std};
    }
    weft_train_opts opts = train_opts(t);
    opts.run = t->run;
    opts.meta = meta;
    opts.n_meta = n_meta;
    opts.progress = on_step;
    opts.epoch = on_epoch;
    opts.user = t;
    weft_train_result result = {0};
    print_start(t);
    train_time_plan(&t->time, (double)t->plan.state, weft_loader_batches(t->data.val_loader),
                    t->options->eval_freq);
    fflush(stdout);
    cli_progress_init(&t->progress, stdout);
    t->progress.print_freq = t->options->print_freq;
    if (weft_dataset_get_info(t->data.val)->split == WEFT_SPLIT_VAL)
        t->progress.evaluated = "val";
    t->resume.progress = &t->progress;
    t->resume.time = &t->time;
    weft_status status = train_resume_train(&t->resume, &opts, &result);
    free(names);
    return print_end(t, status, &result);
}

/* Everything up to the run's directory: what is wrong is said, and nothing is left behind. */
static int open_training(training *t, const char *command, const cli_options *options)
{
    t->used = *options;
    t->options = &t->used;
    int status = session_init(&t->s, command, t->options);
    if (status == 0)
        status = session_need(&t->s, "--data-path", options->data_path);
    if (status == 0)
        status = train_time_begin(&t->time, &t->s);
    if (status == 0)
        status = train_resume_init(&t->resume, &t->s);
    if (status == 0 && options->no_augment && options->hflip > 0)
        status = session_usage(&t->s, "--no-augment and --hflip exclude each other");
    if (status == 0)
        status = train_data_open(&t->s, &t->used, &t->data);
    if (status == 0)
        note_left_out(t);
    if (status == 0)
        status = open_model(t);
    if (status == 0 && options->tune)
        status = tune(t);
    if (status == 0)
        status = read_wisdom(t);
    return status;
}

/* ---- planning -------------------------------------------------------------------------------- */

static bool writes_checkpoints(const training *t)
{
    const weft_checkpoint_opts *c = &t->resume.opts;
    return c->steps > 0 || c->epochs > 0 || c->seconds > 0;
}

static int make_plan(training *t, weft_trainer **trainer)
{
    weft_train_opts opts = train_opts(t);
    if (weft_trainer_create(t->s.model, &opts, trainer, &t->s.err))
        return session_fail(&t->s);
    return plan_make(&t->s, &t->plan, *trainer, writes_checkpoints(t));
}

/* "train" or "plan", as errors have it. */
static const char *command_of(const cli_options *o)
{
    return o->argc > 1 && strcmp(o->argv[1], "plan") == 0 ? "plan" : "train";
}

/* For another batch size: a plan_fn. */
static int plan_other(const cli_options *options, train_plan *plan, int64_t *images)
{
    training t = {0};
    weft_trainer *trainer;
    cli_options other = *options;
    other.tune = false;
    other.trace = NULL;
    int status = open_training(&t, command_of(options), &other);
    if (status == 0) {
        *images = weft_loader_get_info(t.data.train_loader)->count;
        status = make_plan(&t, &trainer);
    }
    *plan = t.plan;
    return status;
}

/* One that never evaluates, because that would count as a part of the steps that are timed. */
static int make_timed(training *t, weft_trainer **trainer)
{
    enum { MORE_EPOCHS = 8 }; /* than steps that are timed */
    weft_train_opts opts = train_opts(t);
    opts.eval_freq = INT64_MAX;
    opts.epochs += MORE_EPOCHS;
    opts.max_steps = 0;
    return weft_trainer_create(t->s.model, &opts, trainer, &t->s.err) ? session_fail(&t->s) : 0;
}

static int dry_run(training *t)
{
    const int64_t batches = weft_loader_batches(t->data.train_loader), most = t->options->max_steps;
    int64_t epochs = t->options->epochs, freq = t->options->eval_freq, steps = epochs * batches;
    if (most && most < steps) {
        steps = most;
        epochs = (steps + batches - 1) / batches;
    }
    const plan_job job = {.name = t->s.model_name,
                          .steps = steps,
                          .evaluations = (epochs + freq - 1) / freq,
                          .test_batches = weft_loader_batches(t->data.val_loader),
                          /* those that stay, the best one, the one being written */
                          .checkpoints = writes_checkpoints(t) ? t->options->keep + 2 : 0};
    weft_trainer *trainer = NULL;
    int status = make_timed(t, &trainer);
    if (status == 0)
        status = plan_dry_run(&t->s, &t->plan, trainer, &job);
    weft_trainer_destroy(trainer);
    return status;
}

/* Plans the training; refuses what does not fit; a dry run prints the plan. */
static int plan(training *t)
{
    weft_trainer *trainer = NULL;
    int status = make_plan(t, &trainer);
    if (status == 0)
        status = plan_limit(&t->s, &t->plan, trainer, writes_checkpoints(t));
    if (status == 0)
        status = plan_check(&t->s, &t->plan, plan_other);
    weft_trainer_destroy(trainer);
    return status == 0 && t->options->dry_run ? dry_run(t) : status;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int run_training(training *t)
{
    signals_catch(); /* before there is anything to clean up, a signal may just end it */
    int status = open_run(t);
    if (status == 0)
        status = stopped_early(t);
    if (status != 0 || t->resume.finished)
        return status;
    status = train_time_check(&t->time);
    return status == 0 ? train(t) : status;
}

static int close_training(training *t, int status)
{
    weft_run_destroy(t->run);
    train_resume_done(&t->resume);
    weft_optimizer_destroy(t->optimizer);
    train_data_done(&t->data);
    return session_done(&t->s, status);
}

int cmd_train(const cli_options *options)
{
    training t = {0};
    cli_options chosen = *options;
    int status = plan_choose_batch(command_of(options), &chosen, plan_other);
    if (status)
        return status;
    status = open_training(&t, command_of(options), &chosen);
    if (status == 0)
        status = plan(&t);
    if (status == 0 && !options->dry_run)
        status = run_training(&t);
    return close_training(&t, status);
}

int cmd_plan(const cli_options *options)
{
    cli_options dry = *options;
    dry.dry_run = true;
    return cmd_train(&dry);
}
