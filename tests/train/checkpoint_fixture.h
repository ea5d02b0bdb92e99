/* A training small enough to be killed hundreds of times: a net with BatchNorm and dropout, shuffled
 * and mirrored images, a cosine schedule, an evaluation an epoch. */
#ifndef TESTS_TRAIN_CHECKPOINT_FIXTURE_H
#define TESTS_TRAIN_CHECKPOINT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/alloc.h"
#include "engine/tensor/context.h"
#include "tests/scratch.h"
#include "tests/train/bright_pixels.h"
#include "weft/weft.h"

enum { BATCH = 8, STEPS = N / BATCH, EPOCHS = 3 };

/* One training with everything that it needs. */
typedef struct training {
    float images[N * PIXELS];
    int64_t labels[N];
    weft_dataset *ds;
    weft_context *ctx;
    weft_loader *train, *test;
    weft_module *model;
    weft_optimizer *optimizer;
    weft_schedule schedule;
    weft_run *run;
    weft_train_opts opts;
    weft_trainer *trainer;
} training;

typedef struct training_opts {
    bool adamw;
    bool recipe; /* Adagrad, two batches a step, clipping, averages, a plateau, early stopping */
    int threads; /* 0: 2 */
    int64_t epochs;
    const char *run; /* a directory; NULL: none */
    weft_checkpoint_opts checkpoints;
    weft_progress_fn progress;
    void *user;
} training_opts;

static inline weft_module *make_net(weft_context *ctx)
{
    return WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 1, 4, 3, NULL),
                           weft_batch_norm2d_create(ctx, 4, NULL), weft_relu_create(ctx),
                           weft_flatten_create(ctx), weft_dropout_create(ctx, 0.3),
                           weft_linear_create(ctx, 4 * (S - 2) * (S - 2), K, NULL));
}

static inline weft_status training_open(training *f, const training_opts *o, weft_error *err)
{
    memset(f, 0, sizeof *f);
    bright_pixels_fill(f->images, f->labels);
    weft_loader_opts l = {.batch = BATCH, .drop_last = true, .shuffle = true, .hflip = 0.5};
    weft_loader_opts test = {.batch = BATCH};
    l.seed = 7;
    WF_TRY(bright_pixels_open(f->images, f->labels, &f->ds, err));
    WF_TRY(weft_loader_create(f->ds, &l, &f->train, err));
    WF_TRY(weft_loader_create(f->ds, &test, &f->test, err));
    weft_options options = {.threads = o->threads ? o->threads : 2, .seed = 5, .wisdom = "none"};
    WF_TRY(weft_context_create(&f->ctx, &options, err));
    f->model = make_net(f->ctx);
    weft_adamw_opts adamw = WEFT_ADAMW_OPTS_INIT;
    const weft_sgd_opts sgd = {.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-3};
    f->optimizer = o->recipe  ? weft_adagrad_create(f->ctx, f->model, NULL)
                   : o->adamw ? weft_adamw_create(f->ctx, f->model, &adamw)
                              : weft_sgd_create(f->ctx, f->model, &sgd);
    if (!f->model || !f->optimizer)
        return wf_error_set(err, WEFT_ERR_NOMEM, "%s", weft_error_text(f->ctx));
    f->schedule = (weft_schedule)WEFT_SCHEDULE_INIT;
    f->schedule.kind = WEFT_SCHEDULE_COSINE;
    f->schedule.lr = 0.1;
    f->schedule.total_steps = STEPS * (o->epochs ? o->epochs : EPOCHS);
    if (o->run)
        WF_TRY(weft_run_create(&(weft_run_opts){.path = o->run, .resume = true}, &f->run, err));
    f->opts = (weft_train_opts){.train = f->train,
                                .test = f->test,
                                .optimizer = f->optimizer,
                                .schedule = &f->schedule,
                                .epochs = o->epochs ? o->epochs : EPOCHS,
                                .run = f->run,
                                .checkpoints = o->checkpoints,
                                .progress = o->progress,
                                .user = o->user};
    static const weft_ema_opts ema = {.decay = 0.75, .steps = 2, .warmup_epochs = 1};
    if (o->recipe) {
        f->schedule.kind = WEFT_SCHEDULE_PLATEAU;
        f->schedule.gamma = 0.5;
        f->schedule.patience = 0;
        f->schedule.higher_is_better = true;
        f->opts.accumulate = 2;
        f->opts.clip_grad_norm = 1;
        f->opts.ema = &ema;
        f->opts.monitor = WEFT_MONITOR_EMA_ACC1;
        f->opts.patience = 2;
    }
    return weft_trainer_create(f->model, &f->opts, &f->trainer, err);
}

static inline void training_close(training *f)
{
    weft_trainer_destroy(f->trainer);
    weft_run_destroy(f->run);
    weft_optimizer_destroy(f->optimizer);
    weft_module_unref(f->model);
    weft_context_destroy(f->ctx);
    weft_loader_destroy(f->train);
    weft_loader_destroy(f->test);
    weft_dataset_destroy(f->ds);
    memset(f, 0, sizeof *f);
}

static inline void assert_good(weft_status status, const weft_error *err)
{
    if (status != WEFT_OK)
        fail_msg("%s: %s", weft_status_string(status), err->text);
}

static inline void must_open(training *f, const training_opts *o)
{
    weft_error err = WEFT_ERROR_INIT;
    assert_good(training_open(f, o, &err), &err);
}

/* Everything that decides the next bits, as text of a kind: a checkpoint's state would do, but this
 * asks the library in another way. The bytes of model and optimizer, and counters; *n bytes; the
 * caller frees them. */
static inline char *all_state(training *f, size_t *n)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    char *bytes = NULL;
    *n = 0;
    assert_int_equal(weft_state_dict(f->model, &list), WEFT_OK);
    assert_int_equal(weft_optimizer_state(f->optimizer, &list), WEFT_OK);
    if (weft_trainer_ema(f->trainer))
        assert_int_equal(weft_ema_state(weft_trainer_ema(f->trainer), &list), WEFT_OK);
    for (int i = 0; i < list.n; i++) {
        weft_tensor *t = list.item[i].tensor;
        size_t size =
            (size_t)weft_shape_count(weft_tensor_shape(t)) * weft_dtype_size(weft_tensor_dtype(t));
        bytes = realloc(bytes, *n + size + 64);
        assert_non_null(bytes);
        assert_int_equal(weft_read(t, bytes + *n, size), WEFT_OK);
        *n += size;
    }
    weft_tensor_list_done(&list);
    const weft_random_state random = weft_get_random_state(f->ctx);
    const double lr = weft_optimizer_lr(f->optimizer, 0);
    weft_train_result r;
    weft_trainer_get_result(f->trainer, &r);
    const double figures[] = {lr,          r.train_loss, r.train_acc1,         r.test_loss,
                              r.test_acc1, r.best_acc1,  (double)r.best_epoch, (double)r.steps,
                              r.ema_loss,  r.ema_acc1,   r.stopped_early};
    memcpy(bytes + *n, &random.draws, sizeof random.draws);
    *n += sizeof random.draws;
    bytes = realloc(bytes, *n + sizeof figures);
    assert_non_null(bytes);
    memcpy(bytes + *n, figures, sizeof figures);
    *n += sizeof figures;
    return bytes;
}

static inline void assert_same_state(training *a, training *b)
{
    size_t na, nb;
    char *x = all_state(a, &na), *y = all_state(b, &nb);
    assert_int_equal(na, nb);
    assert_memory_equal(x, y, na);
    free(x);
    free(y);
}

static inline void take_steps(training *f, int n)
{
    weft_error err = WEFT_ERROR_INIT;
    for (int i = 0; i < n; i++)
        assert_good(weft_trainer_step(f->trainer, &err), &err);
}

#endif
