/* What training has come to so far: sums of the epoch and of the log's next line, the last
 * evaluation, the best one, and how long all of it took. */
#include "train/part.h"

#include <string.h>

/* Clocks do not survive a process, so seconds are saved, not moments. */
static json_t *sums_json(const wf_metrics *m, double now)
{
    return json_pack("{s:o, s:I, s:I, s:o}", "loss_sum", wf_ckpt_json_number(m->loss_sum), "images",
                     (json_int_t)m->images, "correct", (json_int_t)m->correct, "seconds",
                     wf_ckpt_json_number(m->started > 0 ? now - m->started : 0));
}

static weft_status save(weft_trainer *t, wf_ckpt_out *out)
{
    const double now = wf_seconds();
    WF_TRY(wf_ckpt_put_json(out, "epoch", sums_json(&t->epoch_metrics, now)));
    WF_TRY(wf_ckpt_put_json(out, "window", sums_json(&t->window, now)));
    WF_TRY(wf_ckpt_put_number(out, "lr", t->lr));
    WF_TRY(wf_ckpt_put_number(out, "seconds", now - t->started));
    WF_TRY(wf_ckpt_put_number(out, "train_seconds", t->train_seconds));
    WF_TRY(wf_ckpt_put_int(out, "train_images", t->train_images));
    WF_TRY(wf_ckpt_put_number(out, "step_seconds", t->times.step_seconds));
    WF_TRY(wf_ckpt_put_int(out, "tested", t->tested));
    WF_TRY(wf_ckpt_put_int(out, "test_images", t->test.images));
    WF_TRY(wf_ckpt_put_int(out, "test_classes", t->test.classes));
    WF_TRY(wf_ckpt_put_number(out, "test_loss", t->test.loss));
    WF_TRY(wf_ckpt_put_number(out, "test_acc1", t->test.acc1));
    WF_TRY(wf_ckpt_put_number(out, "test_acc5", t->test.acc5));
    WF_TRY(wf_ckpt_put_number(out, "test_seconds", t->test.seconds));
    WF_TRY(wf_ckpt_put_number(out, "best_acc1", t->best_acc1));
    WF_TRY(wf_ckpt_put_int(out, "best_epoch", t->best_epoch));
    return wf_ckpt_put_int(out, "best_step", t->best_step);
}

static weft_status load_sums(const wf_ckpt_in *in, const char *key, double now, wf_metrics *m)
{
    const json_t *o = json_object_get(in->numbers, key);
    const wf_ckpt_in inner = {.part = in->part, .numbers = o ? o : in->numbers, .err = in->err};
    double seconds;
    WF_TRY(wf_ckpt_get_number(&inner, "loss_sum", &m->loss_sum));
    WF_TRY(wf_ckpt_get_int(&inner, "images", &m->images));
    WF_TRY(wf_ckpt_get_int(&inner, "correct", &m->correct));
    WF_TRY(wf_ckpt_get_number(&inner, "seconds", &seconds));
    m->started = now - seconds;
    return WEFT_OK;
}

static weft_status load(weft_trainer *t, const wf_ckpt_in *in)
{
    const double now = wf_seconds();
    wf_metrics epoch, window;
    double lr, seconds, train_seconds, step_seconds, best_acc1;
    int64_t train_images, tested, classes, best_epoch, best_step;
    weft_eval_result test = {0};
    WF_TRY(wf_ckpt_need(in));
    WF_TRY(load_sums(in, "epoch", now, &epoch));
    WF_TRY(load_sums(in, "window", now, &window));
    WF_TRY(wf_ckpt_get_number(in, "lr", &lr));
    WF_TRY(wf_ckpt_get_number(in, "seconds", &seconds));
    WF_TRY(wf_ckpt_get_number(in, "train_seconds", &train_seconds));
    WF_TRY(wf_ckpt_get_int(in, "train_images", &train_images));
    WF_TRY(wf_ckpt_get_number(in, "step_seconds", &step_seconds));
    WF_TRY(wf_ckpt_get_int(in, "tested", &tested));
    WF_TRY(wf_ckpt_get_int(in, "test_images", &test.images));
    WF_TRY(wf_ckpt_get_int(in, "test_classes", &classes));
    WF_TRY(wf_ckpt_get_number(in, "test_loss", &test.loss));
    WF_TRY(wf_ckpt_get_number(in, "test_acc1", &test.acc1));
    WF_TRY(wf_ckpt_get_number(in, "test_acc5", &test.acc5));
    WF_TRY(wf_ckpt_get_number(in, "test_seconds", &test.seconds));
    WF_TRY(wf_ckpt_get_number(in, "best_acc1", &best_acc1));
    WF_TRY(wf_ckpt_get_int(in, "best_epoch", &best_epoch));
    WF_TRY(wf_ckpt_get_int(in, "best_step", &best_step));
    test.classes = (int)classes;
    weft_eval_result_done(&t->test);
    t->test = test; /* without its tables: they are in evaluation.json */
    t->tested = tested != 0;
    t->epoch_metrics = epoch;
    t->window = window;
    t->lr = lr;
    t->started = now - seconds;
    t->train_seconds = train_seconds;
    t->train_images = train_images;
    t->times = (wf_trainer_times){.step_seconds = step_seconds};
    t->best_acc1 = best_acc1;
    t->best_epoch = best_epoch;
    t->best_step = best_step;
    return WEFT_OK;
}

const wf_ckpt_part wf_ckpt_part_metrics = {"metrics", save, load};
