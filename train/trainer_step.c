/* One training step: a batch, forward, loss, backward, update, metrics. See trainer_state.h.
 *
 * A step is one plan. The loss and the count of correct images are recorded as part of it, and read
 * after it has run. A step that accumulates is a plan for each of its batches: all but the last only
 * leave gradients. */
#include "train/trainer_step.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/c_locale.h"
#include "engine/tensor/tensor.h"
#include "train/trainer_recipe.h"
#include "weft/ops.h"

static weft_status set_schedule(weft_trainer *t)
{
    weft_optimizer *optimizer = t->opts.optimizer;
    const int64_t done = t->place.done;
    if (t->opts.schedule) {
        double momentum = weft_schedule_momentum(t->opts.schedule, done);
        WF_TRY(weft_optimizer_set_lr(optimizer, -1, wf_recipe_lr(t)));
        if (!isnan(momentum))
            WF_TRY(weft_optimizer_set_momentum(optimizer, momentum));
    }
    t->lr = weft_optimizer_lr(optimizer, -1);
    return WEFT_OK;
}

/* Records a batch of a step of n, all but the update. *loss and *correct become kept tensors, which
 * the caller releases, on failure too. */
static weft_status record_batch(weft_trainer *t, wf_feed_slot batch, int64_t n, weft_tensor **loss,
                                weft_tensor **correct)
{
    weft_cross_entropy_opts loss_opts = {.label_smoothing = t->opts.label_smoothing,
                                         .weight = t->class_weights};
    weft_tensor *targets = batch.targets ? batch.targets : batch.labels;
    weft_tensor *logits = NULL;
    weft_tensor *loss_node =
        weft_check_finite(weft_training_loss(t->model, batch.images, targets, &loss_opts, &logits));
    *loss = weft_keep(loss_node);
    *correct = weft_keep(weft_count_correct(logits, batch.labels, NULL, NULL));
    if (n > 1)
        loss_node = weft_scale(loss_node, 1.0 / (double)n);
    return *loss && *correct ? weft_backward(loss_node) : WEFT_ERR_INTERNAL;
}

/* The last batch of a step brings the update; the others only leave their gradients. */
static weft_status end_batch(weft_trainer *t, bool last)
{
    if (!last)
        return weft_sync(t->ctx);
    WF_TRY(wf_recipe_clip(t));
    return weft_optimizer_step(t->opts.optimizer);
}

/* Records batch i of n of a step and runs it. */
static weft_status run_batch(weft_trainer *t, wf_feed_slot batch, int64_t i, int64_t n,
                             double *loss, int64_t *correct)
{
    weft_tensor *kept_loss = NULL, *kept_correct = NULL;
    weft_status status = record_batch(t, batch, n, &kept_loss, &kept_correct);
    if (status == WEFT_OK)
        status = end_batch(t, i == n - 1);
    if (status != WEFT_OK)
        weft_discard(t->ctx); /* the work recorded before the failure must not run later */
    if (status == WEFT_OK) {
        *loss = weft_item(kept_loss);
        *correct = (int64_t)weft_item(kept_correct);
    }
    weft_tensor_unref(kept_loss);
    weft_tensor_unref(kept_correct);
    return status;
}

static weft_status fail_step(weft_trainer *t, weft_status status)
{
    char where[128];
    int n = snprintf(where, sizeof(where), "epoch %lld, step %lld", (long long)t->place.epoch,
                     (long long)t->place.step + 1);
    wf_c_locale locale;
    if (weft_error_status(t->ctx) == WEFT_ERR_NUMERIC && wf_c_locale_begin(&locale)) {
        const bool clipping = strstr(weft_error_text(t->ctx), "clip_grad_norm") != NULL;
        snprintf(where + n, sizeof(where) - (size_t)n, ": the %s is not finite (learning rate %g)",
                 clipping ? "gradients' norm" : "loss", t->lr);
        wf_c_locale_end(&locale);
    }
    return wf_take_error(t->ctx, status, where, t->err);
}

/* Trains on batch i of n of a step; adds its figures to *sum. */
static weft_status train_batch(weft_trainer *t, int64_t i, int64_t n, wf_metrics *sum)
{
    wf_feed_slot batch;
    int64_t count, correct;
    double loss;
    WF_TRY(wf_feed_next(&t->feed, &batch, &count, t->err));
    if (count == 0)
        return wf_error_set(t->err, WEFT_ERR_INTERNAL, "the loader ended an epoch early");
    weft_status status = run_batch(t, batch, i, n, &loss, &correct);
    if (status != WEFT_OK)
        return fail_step(t, status);
    wf_metrics_add(sum, count, loss, correct);
    return WEFT_OK;
}

static void add_metrics(wf_metrics *to, const wf_metrics *sum)
{
    to->images += sum->images;
    to->loss_sum += sum->loss_sum;
    to->correct += sum->correct;
}

weft_status wf_trainer_batch(weft_trainer *t)
{
    const int64_t n = wf_recipe_batches(t);
    wf_metrics sum = {0};
    weft_status status = set_schedule(t);
    if (status != WEFT_OK)
        return fail_step(t, status);
    weft_optimizer_zero_grad(t->opts.optimizer);
    for (int64_t i = 0; i < n; i++)
        WF_TRY(train_batch(t, i, n, &sum));
    t->place.done++;
    t->place.step++;
    add_metrics(&t->epoch_metrics, &sum);
    add_metrics(&t->window, &sum);
    status = wf_recipe_step_done(t);
    return status == WEFT_OK ? status : fail_step(t, status);
}

/* ---- plans that are not run ------------------------------------------------------------------ */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Compiles batch i of n of a step; adds what it needs to *all. */
static weft_status plan_batch(weft_trainer *t, wf_feed_slot batch, int64_t i, int64_t n,
                              weft_step_memory *all)
{
    weft_step_memory m;
    weft_tensor *kept_loss = NULL, *kept_correct = NULL;
    weft_status status = record_batch(t, batch, n, &kept_loss, &kept_correct);
    if (status == WEFT_OK && i == n - 1)
        status = wf_recipe_clip(t);
    if (status == WEFT_OK && i == n - 1)
        status = weft_optimizer_record(t->opts.optimizer);
    if (status == WEFT_OK)
        status = weft_plan_memory(t->ctx, &m);
    weft_discard(t->ctx);
    weft_tensor_unref(kept_loss);
    weft_tensor_unref(kept_correct);
    if (status != WEFT_OK)
        return status;
    m.activations = larger(m.activations, all->activations);
    m.scratch = larger(m.scratch, all->scratch);
    m.touched = larger(m.touched, all->touched);
    m.plan += all->plan;
    *all = m; /* the last one reads and writes all stored tensors */
    return WEFT_OK;
}

/* Makes the gradients count as given, as after an earlier batch of the step. */
static weft_status give_gradients(weft_trainer *t)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    WF_TRY(weft_parameters(t->model, 0, &list));
    for (int i = 0; i < list.n; i++)
        list.item[i].tensor->grad_present = list.item[i].tensor->grad != NULL;
    weft_tensor_list_done(&list);
    return WEFT_OK;
}

weft_status wf_trainer_step_memory(weft_trainer *t, weft_step_memory *memory, weft_error *err)
{
    const int64_t n = wf_recipe_batches(t);
    weft_step_memory all = {0};
    weft_status status = WEFT_OK;
    weft_optimizer_zero_grad(t->opts.optimizer);
    for (int64_t i = 0; i < n && status == WEFT_OK; i++) {
        wf_feed_slot batch;
        if (i > 1 && i < n - 1)
            continue; /* the same plan as the second batch */
        WF_TRY(wf_feed_blank(&t->feed, weft_loader_batch_size(t->opts.train), &batch, err));
        if (i > 0)
            status = give_gradients(t);
        if (status == WEFT_OK)
            status = plan_batch(t, batch, i, n, &all);
    }
    weft_optimizer_zero_grad(t->opts.optimizer);
    if (status != WEFT_OK)
        return wf_take_error(t->ctx, status, "planning a step", err);
    *memory = all;
    return WEFT_OK;
}
