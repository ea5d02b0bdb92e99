/* weft eval: loss and accuracy of weights on a data set's test images. */
#include <math.h>

#include "commands.h"
#include "progress.h"
#include "session.h"
#include "signals.h"

static bool on_step(void *user, const weft_progress *record)
{
    cli_progress_step(user, record);
    return !signals_seen();
}

static int evaluate(session *s, weft_loader *loader)
{
    cli_progress progress;
    cli_progress_init(&progress, stdout);
    weft_eval_opts opts = {.progress = on_step, .user = &progress};
    weft_eval_result r;
    signals_catch();
    weft_status status = weft_evaluate(s->model, loader, &opts, &r, &s->err);
    cli_progress_erase(&progress);
    if (status != WEFT_OK) {
        session_fail(s);
        return status == WEFT_ERR_INTERRUPTED ? 128 + signals_seen() : EXIT_FAILED;
    }
    char loss[32], top5[32] = "";
    cli_loss(r.loss, loss, sizeof(loss));
    if (isfinite(r.acc5)) /* of five classes or fewer all images would count */
        snprintf(top5, sizeof(top5), "  top-5 %.2f%%", r.acc5);
    printf("images %lld  loss %s  top-1 %.2f%%%s  %.0f img/s\n", (long long)r.images, loss, r.acc1,
           top5, r.img_per_s);
    weft_eval_result_done(&r);
    return 0;
}

static int eval_data(session *s, const weft_dataset *ds)
{
    const weft_dataset_info *info = weft_dataset_get_info(ds);
    weft_dataset *train = NULL;
    int status = 0;
    /* Weights from elsewhere do not say how their images were normalised: as training here would,
     * with the training images' figures. */
    if (info->dtype == WEFT_U8 &&
        !weft_dataset_open(s->options->data_path, WEFT_SPLIT_TRAIN, &train, NULL))
        status = session_normalise(s, train);
    else
        status = session_normalise(s, ds);
    weft_dataset_destroy(train);
    if (status)
        return status;
    weft_loader_opts opts;
    status = session_loader_opts(s, info, &opts);
    if (status)
        return status;
    weft_loader *loader = NULL;
    if (weft_loader_create(ds, &opts, &loader, &s->err))
        return session_fail(s);
    status = session_open_context(s);
    if (status == 0)
        status = session_open_model(s, info->channels, info->height, info->width, info->classes);
    if (status == 0)
        status = evaluate(s, loader);
    weft_loader_destroy(loader);
    return status;
}

int cmd_eval(const cli_options *options)
{
    session s;
    weft_dataset *ds = NULL;
    int status = session_init(&s, "eval", options);
    if (status == 0 && !options->weights)
        status = session_usage(&s, "--weights is needed");
    if (status == 0 && !options->data_path)
        status = session_usage(&s, "--data-path is needed");
    if (status == 0 && weft_dataset_open(options->data_path, WEFT_SPLIT_TEST, &ds, &s.err))
        status = session_fail(&s);
    if (status == 0)
        status = eval_data(&s, ds);
    weft_dataset_destroy(ds);
    session_done(&s);
    return status;
}
