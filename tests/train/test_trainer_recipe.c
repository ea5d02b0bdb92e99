/* What recipes add to the trainer: accumulated gradients, clipping, averages of the weights, the
 * plateau, early stopping. Each against a loop written by hand, to the bit where that is the same
 * arithmetic. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/alloc.h"
#include "tests/train/bright_pixels.h"
#include "weft/weft.h"

/* BATCHES batches of BATCH, and some images left over. */
enum { BATCH = 8, BATCHES = N / BATCH, MOST = 512 };

typedef struct world {
    float images[N * PIXELS];
    int64_t labels[N];
    weft_dataset *ds;
    weft_context *ctx;
    weft_loader *train, *test;
    weft_module *model;
    weft_optimizer *optimizer;
} world;

static void ok(world *w, weft_status status)
{
    if (status != WEFT_OK)
        fail_msg("%d: %s", (int)status, weft_error_text(w->ctx));
}

/* Convolution, BatchNorm, dropout and a linear layer, always from the same weights. */
static void open_world(world *w, double lr)
{
    weft_error err = WEFT_ERROR_INIT;
    *w = (world){0};
    bright_pixels_fill(w->images, w->labels);
    assert_int_equal(bright_pixels_open(w->images, w->labels, &w->ds, &err), WEFT_OK);
    weft_loader_opts opts = {.batch = BATCH, .drop_last = true};
    assert_int_equal(weft_loader_create(w->ds, &opts, &w->train, &err), WEFT_OK);
    opts.drop_last = false;
    assert_int_equal(weft_loader_create(w->ds, &opts, &w->test, &err), WEFT_OK);
    assert_int_equal(weft_context_create(&w->ctx, &(weft_options){.threads = 2, .seed = 5}, &err),
                     WEFT_OK);
    weft_conv2d_layer_opts conv = {.padding = {1, 1}};
    w->model = WEFT_SEQUENTIAL(w->ctx, weft_conv2d_create(w->ctx, 1, 4, 3, &conv),
                               weft_batch_norm2d_create(w->ctx, 4, NULL),
                               weft_flatten_create(w->ctx), weft_dropout_create(w->ctx, 0.25),
                               weft_linear_create(w->ctx, 4 * PIXELS, K, NULL));
    assert_non_null(w->model);
    w->optimizer = weft_sgd_create(w->ctx, w->model, &(weft_sgd_opts){.lr = lr, .momentum = 0.9});
    assert_non_null(w->optimizer);
}

static void close_world(world *w)
{
    weft_optimizer_destroy(w->optimizer);
    weft_module_unref(w->model);
    weft_context_destroy(w->ctx);
    weft_loader_destroy(w->train);
    weft_loader_destroy(w->test);
    weft_dataset_destroy(w->ds);
}

/* All f32 state of the model; returns how many. */
static int values_of(world *w, float out[MOST])
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    int n = 0;
    ok(w, weft_state_dict(w->model, &list));
    for (int i = 0; i < list.n; i++) {
        weft_tensor *t = list.item[i].tensor;
        const int count = (int)weft_shape_count(weft_tensor_shape(t));
        if (weft_tensor_dtype(t) != WEFT_F32)
            continue;
        assert_true(n + count <= MOST);
        ok(w, weft_read(t, out + n, (size_t)count * sizeof(float)));
        n += count;
    }
    weft_tensor_list_done(&list);
    return n;
}

static weft_train_opts options(world *w)
{
    weft_train_opts o = WEFT_TRAIN_OPTS_INIT;
    o.train = w->train;
    o.optimizer = w->optimizer;
    return o;
}

static weft_train_result train(world *w, const weft_train_opts *o)
{
    weft_error err = WEFT_ERROR_INIT;
    weft_train_result r;
    if (weft_train(w->model, o, &r, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    return r;
}

/* The loop as one writes it: `group` batches a step, then the update. */
static void train_by_hand(world *w, int epochs, int group, double max_norm, double limit)
{
    weft_tensor_list params = WEFT_TENSOR_LIST_INIT;
    ok(w, weft_parameters(w->model, 0, &params));
    for (int b = 0; b < epochs * BATCHES; b++) {
        const int at = b % BATCHES, first = at / group * group;
        const int size = first + group <= BATCHES ? group : BATCHES - first;
        weft_tensor *x = weft_tensor_from(w->ctx, WEFT_F32, WEFT_SHAPE(BATCH, 1, S, S),
                                          w->images + (size_t)at * BATCH * PIXELS);
        weft_tensor *y =
            weft_tensor_from(w->ctx, WEFT_I64, WEFT_SHAPE(BATCH), w->labels + (size_t)at * BATCH);
        if (at == first)
            weft_optimizer_zero_grad(w->optimizer);
        weft_tensor *loss = weft_cross_entropy(weft_call(w->model, x), y, NULL);
        ok(w, weft_backward(size > 1 ? weft_scale(loss, 1.0 / size) : loss));
        if (at - first < size - 1) {
            ok(w, weft_sync(w->ctx));
        } else {
            if (max_norm > 0)
                assert_non_null(weft_clip_grad_norm(&params, max_norm, false));
            if (limit > 0)
                ok(w, weft_clip_grad_value(&params, limit));
            ok(w, weft_optimizer_step(w->optimizer));
        }
        weft_tensor_unref(x);
        weft_tensor_unref(y);
    }
    weft_tensor_list_done(&params);
}

static void a_step_of_several_batches_and_clipping_are_the_loops_by_hand(void **state)
{
    static const struct {
        int accumulate;
        double norm, value;
    } cases[] = {{0, 0, 0}, {1, 0.5, 0}, {2, 0, 0}, {3, 0, 0.01}, {2, 0.3, 0.05}, {9, 0.2, 0}};
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        world w;
        float got[MOST], want[MOST];
        const int group = cases[c].accumulate ? cases[c].accumulate : 1;
        open_world(&w, 0.1);
        weft_train_opts o = options(&w);
        o.epochs = 2;
        o.accumulate = cases[c].accumulate;
        o.clip_grad_norm = cases[c].norm;
        o.clip_grad_value = cases[c].value;
        weft_train_result r = train(&w, &o);
        assert_int_equal(r.steps, 2 * ((BATCHES + group - 1) / group));
        assert_int_equal(weft_optimizer_steps(w.optimizer), r.steps);
        const int n = values_of(&w, got);
        close_world(&w);
        open_world(&w, 0.1);
        train_by_hand(&w, 2, group, cases[c].norm, cases[c].value);
        assert_int_equal(values_of(&w, want), n);
        close_world(&w);
        if (memcmp(got, want, (size_t)n * sizeof(float)) != 0)
            fail_msg("case %zu: other weights than by hand", c);
    }
}

/* max_steps and the schedule count steps, not batches. */
static void steps_are_updates(void **state)
{
    world w;
    open_world(&w, 0.1);
    weft_schedule s = WEFT_SCHEDULE_INIT;
    s.kind = WEFT_SCHEDULE_STEP;
    s.lr = 0.5;
    s.step_size = 2;
    weft_train_opts o = options(&w);
    o.epochs = 4;
    o.accumulate = 2;
    o.max_steps = 5; /* 3 of the first epoch, 2 of the second */
    o.schedule = &s;
    weft_train_result r = train(&w, &o);
    assert_int_equal(r.steps, 5);
    assert_int_equal(r.epochs, 2);
    assert_true(fabs(weft_optimizer_lr(w.optimizer, 0) - 0.5 * 0.1 * 0.1) < 1e-15);
    close_world(&w);
}

/* Three layers whose weights multiply to a finite loss, and to a gradient of the first that is
 * not: 1e30 * 1e30. */
static void gradients_without_a_norm_end_the_training_and_leave_the_model(void **state)
{
    static const double sizes[] = {1e-37, 1e30, 1e30};
    world w;
    float before[MOST], after[MOST];
    open_world(&w, 0.1);
    weft_module_unref(w.model);
    weft_optimizer_destroy(w.optimizer);
    const weft_linear_opts bare = {.no_bias = true};
    w.model = WEFT_SEQUENTIAL(
        w.ctx, weft_flatten_create(w.ctx), weft_linear_create(w.ctx, PIXELS, 4, &bare),
        weft_linear_create(w.ctx, 4, 4, &bare), weft_linear_create(w.ctx, 4, K, &bare));
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d.weight", i + 1);
        weft_tensor *t = weft_get_parameter(w.model, name);
        const int n = (int)weft_shape_count(weft_tensor_shape(t));
        for (int k = 0; k < n; k++)
            ((float *)weft_tensor_data(t))[k] = (float)(sizes[i] * (1 + k % 3));
    }
    w.optimizer = weft_sgd_create(w.ctx, w.model, &(weft_sgd_opts){.lr = 0.1});
    weft_train_opts o = options(&w);
    o.clip_grad_norm = 1;
    weft_error err = WEFT_ERROR_INIT;
    const int count = values_of(&w, before);
    assert_int_equal(weft_train(w.model, &o, NULL, &err), WEFT_ERR_NUMERIC);
    const char *want = "epoch 1, step 1: the gradients' norm is not finite (learning rate 0.1)";
    if (strncmp(err.text, want, strlen(want)) != 0)
        fail_msg("%s", err.text);
    weft_error_clear(w.ctx);
    values_of(&w, after);
    assert_memory_equal(before, after, (size_t)count * sizeof(float));
    close_world(&w);
}

/* ---- averages ---- */

typedef struct averaging {
    world *w;
    int n, updates;
    float last[MOST];
    double average[MOST];
    int64_t counted; /* the average of num_batches_tracked */
    double decay;
    int64_t every, warmup;
    int step; /* of the epoch */
} averaging;

/* torchvision's train_one_epoch, in double. */
static bool on_step(void *user, const weft_progress *p)
{
    averaging *a = user;
    float now[MOST];
    if (p->phase != WEFT_PHASE_TRAIN || (p->step - 1) % a->every != 0)
        return true;
    a->n = values_of(a->w, now);
    int64_t count;
    ok(a->w, weft_read(weft_get_buffer(a->w->model, "1.num_batches_tracked"), &count, 8));
    const double d = a->updates == 0 ? 0 : a->decay;
    for (int i = 0; i < a->n; i++)
        a->average[i] = d * a->average[i] + (1 - d) * (double)now[i];
    a->counted = (int64_t)((float)d * (float)a->counted + (float)(1 - d) * (float)count);
    a->updates = p->epoch <= a->warmup ? 0 : a->updates + 1;
    return true;
}

static void averages_are_torchvisions(void **state)
{
    static const struct {
        int every, warmup;
    } cases[] = {{1, 0}, {2, 0}, {3, 1}};
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        world w;
        open_world(&w, 0.1);
        averaging a = {.w = &w, .decay = 0.9, .every = cases[c].every, .warmup = cases[c].warmup};
        weft_ema_opts ema = {.decay = 0.9, .steps = cases[c].every, .warmup_epochs = a.warmup};
        weft_train_opts o = options(&w);
        o.epochs = 3;
        o.ema = &ema;
        o.progress = on_step;
        o.user = &a;
        weft_trainer *t;
        weft_error err = WEFT_ERROR_INIT;
        assert_int_equal(weft_trainer_create(w.model, &o, &t, &err), WEFT_OK);
        assert_int_equal(weft_trainer_run(t, NULL, &err), WEFT_OK);
        weft_ema *e = weft_trainer_ema(t);
        assert_true(weft_ema_updates(e) >= 1);
        float own[MOST], got[MOST];
        const int n = values_of(&w, own);
        ok(&w, weft_ema_swap(e));
        values_of(&w, got);
        /* as many roundings as there were updates, of values below 8 */
        for (int i = 0; i < n; i++)
            if (!(fabs((double)got[i] - a.average[i]) <= 3 * BATCHES * 3 * 8 * 0x1p-24))
                fail_msg("case %zu, value %d: %.9g, expected %.9g", c, i, (double)got[i],
                         a.average[i]);
        int64_t count;
        ok(&w, weft_read(weft_get_buffer(w.model, "1.num_batches_tracked"), &count, 8));
        assert_int_equal(count, a.counted);
        assert_int_equal(weft_ema_update(e), WEFT_ERR_STATE);
        weft_error_clear(w.ctx);
        ok(&w, weft_ema_swap(e));
        values_of(&w, got);
        assert_memory_equal(own, got, (size_t)n * sizeof(float));
        weft_trainer_destroy(t);
        close_world(&w);
    }
}

/* Averages, their evaluation and their files change nothing of the training, dropout included. */
static void averages_do_not_change_the_training(void **state)
{
    float got[2][MOST];
    int n = 0;
    for (int with = 0; with < 2; with++) {
        world w;
        open_world(&w, 0.1);
        weft_ema_opts ema = {.decay = 0.5};
        weft_train_opts o = options(&w);
        o.epochs = 2;
        o.test = w.test;
        o.ema = with ? &ema : NULL;
        weft_train_result r = train(&w, &o);
        n = values_of(&w, got[with]);
        assert_true(isnan(r.ema_loss) == !with && isnan(r.ema_acc1) == !with);
        close_world(&w);
    }
    assert_memory_equal(got[0], got[1], (size_t)n * sizeof(float));
}

static void averages_are_saved_and_loaded(void **state)
{
    world w;
    weft_ema *a, *b;
    float first[MOST], second[MOST];
    open_world(&w, 0.1);
    ok(&w, weft_ema_create(w.model, 0.5, &a));
    ok(&w, weft_ema_create(w.model, 0.5, &b));
    const int all = values_of(&w, first);
    ok(&w, weft_ema_swap(a)); /* copies of the model */
    assert_int_equal(values_of(&w, second), all);
    assert_memory_equal(first, second, (size_t)all * sizeof(float));
    ok(&w, weft_ema_swap(a));
    for (int i = 0; i < 2; i++) {
        train_by_hand(&w, 1, 1, 0, 0);
        ok(&w, weft_ema_update(a));
    }
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    ok(&w, weft_ema_state(a, &list));
    assert_non_null(weft_tensor_list_find(&list, "0.weight"));
    ok(&w, weft_ema_load_state(b, &list));
    assert_int_equal(weft_ema_updates(b), 2);
    train_by_hand(&w, 1, 1, 0, 0);
    ok(&w, weft_ema_update(a));
    ok(&w, weft_ema_update(b));
    ok(&w, weft_ema_swap(a));
    const int n = values_of(&w, first);
    ok(&w, weft_ema_swap(a));
    ok(&w, weft_ema_swap(b));
    values_of(&w, second);
    ok(&w, weft_ema_swap(b));
    assert_memory_equal(first, second, (size_t)n * sizeof(float));
    weft_tensor_list_done(&list);
    assert_int_equal(weft_ema_load_state(b, &list), WEFT_ERR_INVALID); /* it has nothing */
    weft_error_clear(w.ctx);
    assert_int_equal(weft_ema_create(w.model, 1.5, &b), WEFT_ERR_INVALID);
    weft_error_clear(w.ctx);
    weft_ema_destroy(a);
    weft_ema_destroy(b);
    close_world(&w);
}

/* Every allocation fails in turn; what failed can be tried again. */
static void averages_without_memory_are_an_error(void **state)
{
    world w;
    weft_ema *e = NULL;
    bool failed = true;
    open_world(&w, 0.1);
    for (long n = 1; failed; n++) {
        weft_ema_destroy(e);
        e = NULL;
        wf_alloc_fail_at(n);
        weft_status status = weft_ema_create(w.model, 0.5, &e);
        if (status == WEFT_OK)
            status = weft_ema_update(e);
        failed = wf_alloc_fail_at(0) <= 0;
        assert_true(failed || status == WEFT_OK);
        if (status != WEFT_OK) {
            assert_int_equal(status, WEFT_ERR_NOMEM);
            assert_int_equal(weft_error_status(w.ctx), WEFT_ERR_NOMEM);
            assert_int_equal(weft_ema_updates(e), 0);
            weft_error_clear(w.ctx);
        }
        assert_true(n > 1 || failed);
    }
    ok(&w, weft_ema_update(e));
    assert_true(weft_ema_updates(e) == 2);
    weft_ema_destroy(e);
    close_world(&w);
}

/* ---- figures that are watched ---- */

static void training_stops_where_a_figure_stands_still(void **state)
{
    for (int monitor = WEFT_MONITOR_LOSS; monitor <= WEFT_MONITOR_EMA_ACC1; monitor++) {
        world w;
        open_world(&w, 0); /* nothing is learnt; only the running statistics change */
        weft_module_eval(w.model);
        weft_ema_opts ema = {.decay = 0.5};
        weft_train_opts o = options(&w);
        o.test = w.test;
        o.epochs = 9;
        o.patience = 2;
        o.monitor = (weft_monitor)monitor;
        o.ema = &ema;
        /* a figure that only gets better goes on to the end: an accuracy stands still here */
        const bool still = monitor == WEFT_MONITOR_ACC1 || monitor == WEFT_MONITOR_EMA_ACC1;
        weft_train_result r = train(&w, &o);
        if (still)
            assert_true(r.stopped_early && r.epochs < 9);
        assert_true(r.stopped_early == (r.epochs < 9));
        close_world(&w);
    }
}

/* As Keras: the best figure stays until one is better by more than the difference. */
static void a_figure_must_be_better_by_the_difference(void **state)
{
    static const double by[] = {0, 1e9};
    int64_t epochs[2];
    for (int i = 0; i < 2; i++) {
        world w;
        open_world(&w, 0.05); /* the loss falls, and by less than a billion */
        weft_train_opts o = options(&w);
        o.test = w.train;
        o.epochs = 6;
        o.patience = 3;
        o.min_delta = by[i];
        weft_train_result r = train(&w, &o);
        epochs[i] = r.epochs;
        assert_true(r.stopped_early == (i == 1));
        close_world(&w);
    }
    assert_int_equal(epochs[0], 6);
    assert_int_equal(epochs[1], 4); /* the first is the best; three are not better */
}

static void a_plateau_lowers_the_rate(void **state)
{
    world w;
    open_world(&w, 0);
    weft_schedule s = WEFT_SCHEDULE_INIT;
    s.kind = WEFT_SCHEDULE_PLATEAU;
    s.lr = 1e-30; /* learns nothing */
    s.gamma = 0.5;
    s.patience = 0;
    s.higher_is_better = true;
    weft_train_opts o = options(&w);
    o.test = w.test;
    o.epochs = 2;
    o.schedule = &s;
    o.monitor = WEFT_MONITOR_ACC1;
    train(&w, &o);
    assert_true(weft_optimizer_lr(w.optimizer, 0) == 1e-30); /* too small a fall for torch's eps */
    s.lr = 1e-6;
    o.epochs = 6;
    train(&w, &o);
    const double lr = weft_optimizer_lr(w.optimizer, 0);
    assert_true(lr < 1e-6 && lr >= 1e-6 / 32);
    close_world(&w);
}

static void options_that_cannot_be_are_named(void **state)
{
    world w;
    open_world(&w, 0.1);
    weft_ema_opts bad = {.decay = 2};
    weft_schedule plateau = WEFT_SCHEDULE_INIT;
    plateau.kind = WEFT_SCHEDULE_PLATEAU;
    for (int i = 0; i < 8; i++) {
        weft_train_opts o = options(&w);
        static const char *const texts[] = {
            "accumulate -1 is negative",
            "clip_grad_norm nan is not in [0, inf)",
            "clip_grad_value -2 is not in [0, inf)",
            "decay 2 is not in [0, 1]",
            "patience needs test data",
            "a plateau schedule needs test data",
            "the figure to monitor is the averages', but there are none",
            "min_delta -1 is not in [0, inf)",
        };
        o.min_delta = i == 7 ? -1 : 0;
        o.accumulate = i == 0 ? -1 : 0;
        o.clip_grad_norm = i == 1 ? (double)NAN : 0;
        o.clip_grad_value = i == 2 ? -2 : 0;
        o.ema = i == 3 ? &bad : NULL;
        o.patience = i == 4 || i == 6 ? 1 : 0;
        o.schedule = i == 5 ? &plateau : NULL;
        o.test = i == 6 ? w.test : NULL;
        o.monitor = i == 6 ? WEFT_MONITOR_EMA_LOSS : WEFT_MONITOR_LOSS;
        weft_error err = WEFT_ERROR_INIT;
        assert_int_equal(weft_train(w.model, &o, NULL, &err), WEFT_ERR_INVALID);
        if (strstr(err.text, texts[i]) == NULL)
            fail_msg("%s", err.text);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_of_several_batches_and_clipping_are_the_loops_by_hand),
        cmocka_unit_test(steps_are_updates),
        cmocka_unit_test(gradients_without_a_norm_end_the_training_and_leave_the_model),
        cmocka_unit_test(averages_are_torchvisions),
        cmocka_unit_test(averages_do_not_change_the_training),
        cmocka_unit_test(averages_are_saved_and_loaded),
        cmocka_unit_test(averages_without_memory_are_an_error),
        cmocka_unit_test(training_stops_where_a_figure_stands_still),
        cmocka_unit_test(a_figure_must_be_better_by_the_difference),
        cmocka_unit_test(a_plateau_lowers_the_rate),
        cmocka_unit_test(options_that_cannot_be_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
