/* Records a training step without data, and tunes kernels for it. Its images are bytes, as those of
 * most data sets are. See step.h. */
#include "step.h"

#include <string.h>
#include <unistd.h>

#include "signals.h"

weft_status step_with(const session *s, const int size[3], weft_optimizer *optimizer,
                      weft_status (*then)(void *user), void *user)
{
    int64_t N = s->options->batch_size;
    weft_tensor *bytes =
        weft_tensor_create(s->ctx, WEFT_U8, WEFT_SHAPE(N, size[0], size[1], size[2]));
    weft_tensor *mean = weft_tensor_full(s->ctx, WEFT_F32, WEFT_SHAPE(size[0]), 0.5);
    weft_tensor *images = weft_normalize_images(bytes, mean, mean);
    weft_tensor *labels = weft_tensor_create(s->ctx, WEFT_I64, WEFT_SHAPE(N));
    weft_tensor *logits = NULL;
    weft_tensor *loss =
        weft_check_finite(weft_training_loss(s->model, images, labels, NULL, &logits));
    weft_tensor *kept_loss = weft_keep(loss);
    weft_tensor *kept_correct = weft_keep(weft_count_correct(logits, labels, NULL, NULL));
    weft_status status = kept_loss && kept_correct ? weft_backward(loss) : WEFT_ERR_INTERNAL;
    if (status == WEFT_OK && optimizer)
        status = weft_optimizer_record(optimizer);
    if (status == WEFT_OK)
        status = then(user);
    weft_tensor_unref(kept_loss);
    weft_tensor_unref(kept_correct);
    weft_tensor_unref(bytes);
    weft_tensor_unref(mean);
    weft_tensor_unref(labels);
    weft_discard(s->ctx);
    return status;
}

typedef struct tuning {
    const session *s;
    weft_tune_result *result;
} tuning;

/* A line a problem that was measured; on a terminal also what is being measured. */
static bool on_problem(void *user, const weft_tune_progress *p)
{
    const bool terminal = isatty(STDERR_FILENO);
    if (p->kernel) {
        if (terminal)
            cli_print(stderr, "\r\033[K");
        cli_print(stderr, "%d/%d  %s: %s %.3f ms", p->problem, p->problems, p->what, p->kernel,
                  1e3 * p->seconds);
        if (strcmp(p->kernel, p->untuned) != 0)
            cli_print(stderr, ", instead of %s %.3f ms", p->untuned, 1e3 * p->untuned_seconds);
        cli_print(stderr, "\n");
    } else if (terminal) {
        cli_print(stderr, "\r\033[K%d/%d  %.60s...", p->problem, p->problems, p->what);
    }
    return !signals_seen();
}

static weft_status tune(void *user)
{
    tuning *t = user;
    const weft_tune_opts opts = {.seconds = t->s->options->tune_seconds,
                                 .again = t->s->options->again,
                                 .progress = on_problem};
    return weft_tune(t->s->ctx, &opts, t->result);
}

int step_tune(const session *s, const int size[3], weft_tune_result *result)
{
    tuning t = {s, result};
    *result = (weft_tune_result){0};
    /* Before the time is spent on measuring: training goes on, with what it measured for itself. */
    bool kept = weft_wisdom_can_save(s->ctx, NULL) == WEFT_OK;
    if (!kept && !session_trains(s)) {
        cli_print(stderr, "weft %s: what is measured cannot be kept: %s\n", s->command,
                  weft_error_text(s->ctx));
        return EXIT_FAILED;
    }
    if (!kept)
        cli_print(stderr, "weft %s: warning: what is measured will not be kept: %s\n", s->command,
                  weft_error_text(s->ctx));
    weft_error_clear(s->ctx);
    signals_catch();
    weft_status status = step_with(s, size, NULL, tune, &t);
    if (status != WEFT_OK && status != WEFT_ERR_INTERRUPTED)
        return session_fail(s);
    if (status == WEFT_ERR_INTERRUPTED)
        weft_error_clear(s->ctx);
    weft_wisdom_info info;
    if (kept && result->measured > 0 && weft_wisdom_save(s->ctx, NULL) != WEFT_OK) {
        kept = false;
        cli_print(stderr, "weft %s: warning: what was measured is not kept: %s\n", s->command,
                  weft_error_text(s->ctx));
        weft_error_clear(s->ctx);
    }
    if (weft_wisdom_get_info(s->ctx, &info))
        return session_fail(s);
    cli_print(stdout,
              "tune  %d problems, %d known, %d measured in %.0f s; another kernel is faster for %d",
              result->problems, result->known, result->measured, result->seconds, result->better);
    if (result->measured)
        cli_print(stdout, ": %.2f -> %.2f ms a step", 1e3 * result->untuned_step_seconds,
                  1e3 * result->step_seconds);
    if (info.path && kept)
        cli_print(stdout, "; kept in %s", info.path);
    cli_print(stdout, "\n");
    fflush(stdout);
    return status == WEFT_ERR_INTERRUPTED ? 128 + signals_seen() : kept ? 0 : EXIT_FAILED;
}
