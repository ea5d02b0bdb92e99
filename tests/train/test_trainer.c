/* The training loop on a data set small enough to check by hand. */
#include "tests/train/trainer_fixture.h"

#include <malloc.h>
#include <math.h>

#include "engine/tensor/context.h"

static void training_learns_and_counts_what_it_did(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    weft_train_result r;
    weft_train_opts opts = {
        .train = f->train, .test = f->test, .optimizer = f->optimizer, .epochs = 10};
    assert_int_equal(weft_train(f->model, &opts, &r, &err), WEFT_OK);
    assert_int_equal(r.epochs, 10);
    assert_int_equal(r.steps, 10 * (N / BATCH));
    assert_int_equal(weft_optimizer_steps(f->optimizer), r.steps);
    assert_true(r.train_acc1 > 95 && r.test_acc1 > 95);
    assert_true(r.train_loss < 0.3 && r.test_loss < 0.3); /* guessing: log 3 = 1.1 */
}

/* ---- what the callbacks see ------------------------------------------------------------------ */

typedef struct seen {
    int train, eval, epochs;
    int64_t stop_after; /* 0: never */
    const weft_schedule *schedule;
} seen;

static bool on_step(void *user, const weft_progress *p)
{
    seen *s = user;
    assert_true(p->step >= 1 && p->step <= p->steps && p->epoch >= 1 && p->epoch <= p->epochs);
    assert_true(isfinite(p->loss) && p->acc1 >= 0 && p->acc1 <= 100 &&
                (p->seconds_left >= 0 || p->step == 1));
    if (p->phase == WEFT_PHASE_EVAL) {
        assert_int_equal(p->steps, (N + BATCH - 1) / BATCH);
        assert_int_equal(p->images, p->step == p->steps ? N : p->step * BATCH);
        s->eval++;
        return true;
    }
    assert_int_equal(p->images, p->step * BATCH);
    if (s->schedule)
        assert_true(p->lr == weft_schedule_lr(s->schedule, s->train));
    return ++s->train != s->stop_after;
}

static void on_epoch(void *user, const weft_epoch *e)
{
    seen *s = user;
    assert_int_equal(e->epoch, ++s->epochs);
    assert_true(isfinite(e->train_loss));
    assert_true(isnan(e->test_acc1) == (e->epoch % 2 != 0 && e->epoch != e->epochs));
}

static void records_cover_every_step_and_the_schedule_is_followed(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    weft_schedule cosine = WEFT_SCHEDULE_INIT;
    cosine.kind = WEFT_SCHEDULE_COSINE;
    cosine.lr = 0.2;
    cosine.total_steps = 25;
    cosine.warmup_steps = 5;
    seen s = {.schedule = &cosine};
    weft_train_opts opts = {.train = f->train,
                            .test = f->test,
                            .optimizer = f->optimizer,
                            .schedule = &cosine,
                            .epochs = 5,
                            .eval_freq = 2,
                            .progress = on_step,
                            .epoch = on_epoch,
                            .user = &s};
    assert_int_equal(weft_train(f->model, &opts, NULL, &err), WEFT_OK);
    assert_int_equal(s.train, 25);
    assert_int_equal(s.epochs, 5);
    assert_int_equal(s.eval, 3 * 6); /* after epochs 2, 4 and 5; the last batch is short */
}

static void max_steps_ends_in_the_middle_of_an_epoch(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    weft_train_result r;
    weft_train_opts opts = {.train = f->train,
                            .test = f->test,
                            .optimizer = f->optimizer,
                            .epochs = 100,
                            .max_steps = 7};
    assert_int_equal(weft_train(f->model, &opts, &r, &err), WEFT_OK);
    assert_int_equal(r.steps, 7);
    assert_int_equal(r.epochs, 2);
    assert_true(isfinite(r.test_loss));
}

static void a_callback_can_stop_it(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    weft_train_result r = {0};
    seen s = {.stop_after = 3};
    weft_train_opts opts = {
        .train = f->train, .optimizer = f->optimizer, .epochs = 5, .progress = on_step, .user = &s};
    assert_int_equal(weft_train(f->model, &opts, &r, &err), WEFT_ERR_INTERRUPTED);
    assert_int_equal(r.steps, 3);
    assert_non_null(strstr(err.text, "epoch 1, step 3"));
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Bytes in use after each epoch. The loader runs no threads, and
 * the calling thread allocates all that a step needs. */
typedef struct heap {
    size_t bytes[40];
    int n;
} heap;

static void measure(void *user, const weft_epoch *e)
{
    heap *h = user;
    struct mallinfo2 info = mallinfo2();
    h->bytes[h->n++] = info.uordblks + info.hblkhd;
}

static void memory_stops_growing(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    heap h = {.n = 0};
    weft_train_opts opts = {.train = f->train,
                            .test = f->test,
                            .optimizer = f->optimizer,
                            .epochs = 40,
                            .epoch = measure,
                            .user = &h};
    assert_int_equal(weft_train(f->model, &opts, NULL, &err), WEFT_OK);
    assert_int_equal(h.n, 40);
    /* The smallest block that a step could lose has 32 bytes. Less may come and go with malloc's
     * own caches, which count as in use. */
    int64_t steps = 30 * (N / BATCH + (N + BATCH - 1) / BATCH);
    assert_true((int64_t)h.bytes[39] - (int64_t)h.bytes[9] < 32 * steps);
}

/* ---- a loss that is not finite --------------------------------------------------------------- */

static void a_loss_that_is_not_finite_leaves_the_step_before_it(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    weft_train_opts opts = {
        .train = f->train, .optimizer = f->optimizer, .epochs = 1, .max_steps = 2};
    assert_int_equal(weft_train(f->model, &opts, NULL, &err), WEFT_OK);
    int64_t n_before, n_after;
    float *before = snapshot(f->model, &n_before);

    f->images[2 * PIXELS] = NAN; /* in the first batch: without shuffling, step 1 */
    opts.max_steps = 5;
    assert_int_equal(weft_train(f->model, &opts, NULL, &err), WEFT_ERR_NUMERIC);
    assert_non_null(strstr(err.text, "epoch 1, step 1: the loss is not finite"));
    weft_error_clear(f->ctx);
    float *after = snapshot(f->model, &n_after);
    assert_int_equal(n_before, n_after);
    assert_memory_equal(before, after, (size_t)n_before * sizeof(float));
    free(before);
    free(after);

    fill(f); /* and training can go on */
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(weft_train(f->model, &opts, NULL, &err), WEFT_OK);
}

typedef struct history {
    double acc1[8];
    int64_t epoch[8];
    int n;
} history;

static void remember(void *user, const weft_epoch *e)
{
    history *h = user;
    if (isnan(e->test_acc1))
        return;
    h->acc1[h->n] = e->test_acc1;
    h->epoch[h->n++] = e->epoch;
}

static void the_best_epoch_is_the_first_with_the_highest_accuracy(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    weft_train_result r;
    history h = {.n = 0};
    assert_int_equal(weft_optimizer_set_lr(f->optimizer, -1, 0.002), WEFT_OK); /* slowly */
    weft_train_opts opts = {.train = f->train,
                            .test = f->test,
                            .optimizer = f->optimizer,
                            .epochs = 11,
                            .eval_freq = 2,
                            .epoch = remember,
                            .user = &h};
    assert_int_equal(weft_train(f->model, &opts, &r, &err), WEFT_OK);
    assert_int_equal(h.n, 6);
    int best = 0;
    for (int i = 1; i < h.n; i++)
        best = h.acc1[i] > h.acc1[best] ? i : best;
    assert_true(best > 0 && h.acc1[h.n - 1] == h.acc1[best]); /* it learns, and there is a tie */
    assert_true(best < h.n - 1 && r.best_acc1 == h.acc1[best]);
    assert_int_equal(r.best_epoch, h.epoch[best]);
    assert_true(r.test_acc1 == h.acc1[h.n - 1]);
    opts.test = NULL;
    assert_int_equal(weft_train(f->model, &opts, &r, &err), WEFT_OK);
    assert_int_equal(r.best_epoch, 0);
    assert_true(isnan(r.best_acc1) && isnan(r.test_acc1) && isnan(r.test_acc5));
}

static void misuse_is_refused(void **state)
{
    fixture *f = *state;
    weft_train_opts opts = {.train = f->train, .optimizer = f->optimizer};
    assert_int_equal(weft_train(NULL, &opts, NULL, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_train(f->model, NULL, NULL, NULL), WEFT_ERR_INVALID);
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_train(f->model, &opts, NULL, &err), WEFT_ERR_INVALID);
    assert_string_equal(err.text,
                        "training: epochs 0 must be at least 1 (WEFT_TRAIN_OPTS_INIT begins "
                        "options), eval_freq 0 and max_steps 0 not negative");
    opts.epochs = 1;
    opts.schedule = &(weft_schedule){.kind = WEFT_SCHEDULE_STEP, .lr = 0.1, .step_size = 3};
    err = (weft_error)WEFT_ERROR_INIT;
    assert_int_equal(weft_train(f->model, &opts, NULL, &err), WEFT_ERR_INVALID);
    assert_non_null(strstr(err.text, "WEFT_SCHEDULE_INIT"));
    opts = (weft_train_opts){
        .train = f->train, .optimizer = f->optimizer, .epochs = INT64_MAX}; /* times 5 steps */
    assert_int_equal(weft_train(f->model, &opts, NULL, NULL), WEFT_ERR_INVALID);
    opts = (weft_train_opts){.train = f->train};
    assert_int_equal(weft_train(f->model, &opts, NULL, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_evaluate(f->model, NULL, NULL, NULL, NULL), WEFT_ERR_INVALID);
}

/* The step that is going on is finished; the next call goes on. */
static void a_stop_ends_the_call_and_not_the_training(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    weft_trainer *t = NULL;
    weft_trainer_times times;
    weft_train_result r;
    weft_train_opts opts = {
        .train = f->train, .test = f->test, .optimizer = f->optimizer, .epochs = 2};
    weft_trainer_stop(NULL);
    weft_trainer_get_times(NULL, &times);
    assert_true(times.step_seconds == 0 && times.checkpoint_bytes == 0);
    assert_int_equal(weft_trainer_create(f->model, &opts, &t, &err), WEFT_OK);
    weft_trainer_stop(t);
    assert_int_equal(weft_trainer_step(t, &err), WEFT_ERR_INTERRUPTED);
    weft_trainer_get_result(t, &r);
    assert_int_equal(r.steps, 1);
    assert_false(weft_trainer_finished(t));
    assert_int_equal(weft_trainer_step(t, &err), WEFT_OK);
    weft_trainer_stop(t);
    assert_int_equal(weft_trainer_run(t, &r, &err), WEFT_ERR_INTERRUPTED);
    assert_int_equal(r.steps, 3);
    assert_int_equal(weft_trainer_run(t, &r, &err), WEFT_OK);
    assert_int_equal(r.steps, 2 * (N / BATCH));
    weft_trainer_get_times(t, &times);
    assert_true(times.step_seconds > 0 && times.evaluation_seconds > 0);
    assert_true(times.checkpoint_seconds == 0 && times.checkpoint_bytes == 0);
    weft_trainer_destroy(t);
}

typedef struct caller {
    weft_trainer *trainer;
    int calls;
} caller;

/* In training and in evaluation. */
static bool call_inside(void *user, const weft_progress *progress)
{
    caller *c = user;
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_trainer_step(c->trainer, &err), WEFT_ERR_STATE);
    assert_int_equal(weft_trainer_run(c->trainer, NULL, NULL), WEFT_ERR_STATE);
    assert_int_equal(weft_checkpoint_save(c->trainer, "never-written", NULL), WEFT_ERR_STATE);
    assert_int_equal(weft_checkpoint_load(c->trainer, "never-read", NULL), WEFT_ERR_STATE);
    assert_int_equal(weft_trainer_resume(c->trainer, "never-read", NULL, NULL, NULL),
                     WEFT_ERR_STATE);
    assert_non_null(strstr(err.text, "callback"));
    c->calls++;
    return true;
}

static void a_callback_cannot_step_save_or_load(void **state)
{
    fixture *f = *state;
    caller c = {0};
    weft_error err = WEFT_ERROR_INIT;
    weft_train_opts opts = {.train = f->train,
                            .test = f->test,
                            .optimizer = f->optimizer,
                            .epochs = 1,
                            .progress = call_inside,
                            .user = &c};
    assert_int_equal(weft_trainer_create(f->model, &opts, &c.trainer, &err), WEFT_OK);
    assert_int_equal(weft_trainer_run(c.trainer, NULL, &err), WEFT_OK);
    assert_true(c.calls > N / BATCH);
    weft_trainer_destroy(c.trainer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stop_ends_the_call_and_not_the_training),
        TEST(training_learns_and_counts_what_it_did),
        TEST(records_cover_every_step_and_the_schedule_is_followed),
        TEST(max_steps_ends_in_the_middle_of_an_epoch),
        TEST(a_callback_can_stop_it),
        TEST(memory_stops_growing),
        TEST(a_loss_that_is_not_finite_leaves_the_step_before_it),
        TEST(the_best_epoch_is_the_first_with_the_highest_accuracy),
        TEST(misuse_is_refused),
        TEST(a_callback_cannot_step_save_or_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
