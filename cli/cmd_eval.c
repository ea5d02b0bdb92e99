/* weft eval: loss and accuracy of weights on a data set's test images, by class where wanted, on
 * the terminal, as JSON and as a page. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command_line.h"
#include "commands.h"
#include "eval_tables.h"
#include "progress.h"
#include "session.h"
#include "signals.h"

enum { FEW_CLASSES = 20, WORST_MISTAKES = 24 };

static bool on_step(void *user, const weft_progress *record)
{
    cli_progress_step(user, record);
    return !signals_seen();
}

/* ---- the terminal ---------------------------------------------------------------------------- */

static void print_result(const session *s, const weft_dataset *ds, const weft_eval_result *r,
                         bool terminal)
{
    const cli_options *o = s->options;
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    const char *const *names = info->classes >= r->classes ? info->class_names : NULL;
    bool few = r->classes <= FEW_CLASSES && !o->brief;
    char loss[32], top5[32] = "";
    cli_loss(r->loss, loss, sizeof(loss));
    if (isfinite(r->acc5)) /* of five classes or fewer all images would count */
        snprintf(top5, sizeof(top5), "  top-5 %.2f%%", r->acc5);
    cli_print(stdout, "images %lld  loss %s  top-1 %.2f%%%s  %.0f img/s\n", (long long)r->images,
              loss, r->acc1, top5, r->img_per_s);
    if (r->nan_images)
        cli_print(stdout, "note  the outputs for %lld images hold a NaN: these count as wrong\n",
                  (long long)r->nan_images);
    if (o->per_class || few)
        print_classes(stdout, r, names);
    if (r->confusion && (o->confusion || few))
        print_confusion(stdout, r, names, terminal);
    if (o->confusion && !r->confusion)
        cli_print(stdout, "note  no confusion matrix: %d classes, %d at most\n", r->classes,
                  WEFT_CONFUSION_CLASSES);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The directory of the run that left these weights, if its summary lies beside them; owned by the
 * caller. */
static char *run_of(const char *weights)
{
    const char *slash = strrchr(weights, '/');
    char *folder = slash ? strndup(weights, (size_t)(slash - weights + 1)) : strdup("./");
    char *summary = folder ? malloc(strlen(folder) + 16) : NULL;
    bool found = false;
    if (summary) {
        strcpy(summary, folder);
        strcat(summary, "summary.csv");
        found = access(summary, R_OK) == 0;
    }
    free(summary);
    if (found)
        return folder;
    free(folder);
    return NULL;
}

static int write_files(session *s, const weft_dataset *ds, const weft_eval_result *r)
{
    const cli_options *o = s->options;
    const weft_setting settings[] = {
        {.name = "model", .kind = WEFT_SETTING_TEXT, .text = s->model_name},
        {.name = "data-path", .kind = WEFT_SETTING_TEXT, .text = o->data_path},
        {.name = "weights", .kind = WEFT_SETTING_TEXT, .text = o->weights},
        {.name = "batch-size", .kind = WEFT_SETTING_INT, .integer = o->batch_size},
    };
    char *command = command_line(o->argc, o->argv), *run = run_of(o->weights);
    const weft_report_opts opts = {.ctx = s->ctx,
                                   .ds = ds,
                                   .command = command,
                                   .settings = settings,
                                   .n_settings = sizeof(settings) / sizeof(settings[0]),
                                   .weights = o->weights,
                                   .run = run};
    int status = 0;
    if (o->json_path && weft_eval_write_json(o->json_path, r, &opts, &s->err))
        status = session_fail(s);
    if (status == 0 && o->report && weft_eval_write_report(o->report, r, &opts, &s->err))
        status = session_fail(s);
    free(command);
    free(run);
    return status;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int evaluate(session *s, const weft_dataset *ds, weft_loader *loader)
{
    cli_progress progress;
    cli_progress_init(&progress, stdout);
    progress.print_freq = s->options->print_freq;
    weft_eval_opts opts = {.progress = on_step,
                           .user = &progress,
                           .per_class = true,
                           .confusion = true,
                           .worst = WORST_MISTAKES};
    weft_eval_result r;
    signals_catch();
    weft_status status = weft_evaluate(s->model, loader, &opts, &r, &s->err);
    cli_progress_erase(&progress);
    if (status != WEFT_OK)
        return session_stop(s, status);
    print_result(s, ds, &r, progress.terminal);
    int failed = write_files(s, ds, &r);
    weft_eval_result_done(&r);
    return failed;
}

/* Weights from elsewhere do not say how their images were normalised: as training here would,
 * with the training images' figures. */
static int normalise(session *s, weft_dataset *ds)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    weft_dataset *train = NULL;
    weft_transform t;
    bool known = session_meta(s, "weft.mean") || s->options->mean || info->dtype != WEFT_U8;
    if (!known && session_try_data(s, s->options->data_path, WEFT_SPLIT_TRAIN, &train, NULL))
        train = NULL;
    weft_dataset *measured = train ? train : ds;
    int status = session_eval_transform(s, info, 0, &t) ? session_look_through(s, measured, &t) : 0;
    if (status == 0)
        status = session_normalise(s, measured);
    weft_dataset_destroy(train);
    return status;
}

static int eval_data(session *s, weft_dataset *ds)
{
    int status = session_match_data(s, ds);
    if (status)
        return status;
    status = normalise(s, ds);
    session_note_pictures(s, weft_dataset_get_info(ds));
    weft_loader *loader = NULL;
    if (status == 0)
        status = session_open_images(s, ds, weft_dataset_get_info(ds)->classes, &loader);
    if (status == 0)
        status = evaluate(s, ds, loader);
    if (status == 0)
        session_note_bad(s, loader);
    weft_loader_destroy(loader);
    return status;
}

int cmd_eval(const cli_options *options)
{
    session s;
    weft_dataset *ds = NULL;
    int status = session_init(&s, "eval", options);
    if (status == 0)
        status = session_need(&s, "--weights", options->weights);
    if (status == 0)
        status = session_need(&s, "--data-path", options->data_path);
    if (status == 0 && options->json_path)
        status = session_check_output(&s, options->json_path);
    if (status == 0 && options->report)
        status = session_check_output(&s, options->report);
    if (status == 0)
        status = session_open_data(&s, options->data_path, WEFT_SPLIT_TEST, &ds);
    if (status == 0)
        status = eval_data(&s, ds);
    weft_dataset_destroy(ds);
    return session_done(&s, status);
}
