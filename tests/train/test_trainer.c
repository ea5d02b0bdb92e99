/* The training loop, evaluation and prediction, on a data set small enough to check by hand. */
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/step/wisdom.h"
#include "engine/tensor/context.h"
#include "engine/tune/problem.h"
#include "weft/weft.h"

/* N images of one channel, S x S, K classes; the class's own pixel is bright. */
enum { N = 44, S = 4, K = 3, PIXELS = S * S, BATCH = 8 };

typedef struct fixture {
    float images[N * PIXELS];
    int64_t labels[N];
    weft_dataset *ds;
    weft_context *ctx;
    weft_loader *train, *test;
    weft_module *model;
    weft_optimizer *optimizer;
} fixture;

static void fill(fixture *f)
{
    for (int n = 0; n < N; n++) {
        f->labels[n] = n % K;
        for (int i = 0; i < PIXELS; i++)
            f->images[n * PIXELS + i] = (float)((n * 7 + i * 5) % 11) / 22.0f - 0.25f;
        f->images[n * PIXELS + n % K] += 2.0f;
    }
}

static void open_loader(fixture *f, bool train, weft_loader **loader)
{
    weft_error err = WEFT_ERROR_INIT;
    weft_loader_opts opts = {.batch = BATCH, .drop_last = train};
    assert_int_equal(weft_loader_create(f->ds, &opts, loader, &err), WEFT_OK);
}

/* BatchNorm and a linear layer: no ReLU, so that a NaN image is a NaN loss. */
static weft_module *make_model(weft_context *ctx)
{
    return WEFT_SEQUENTIAL(ctx, weft_batch_norm2d_create(ctx, 1, NULL), weft_flatten_create(ctx),
                           weft_linear_create(ctx, PIXELS, K, NULL));
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    *state = f;
    fill(f);
    weft_error err = WEFT_ERROR_INIT;
    weft_dataset_arrays arrays = {.count = N,
                                  .channels = 1,
                                  .height = S,
                                  .width = S,
                                  .classes = K,
                                  .dtype = WEFT_F32,
                                  .images = f->images,
                                  .labels = f->labels};
    assert_int_equal(weft_dataset_from_arrays(&arrays, &f->ds, &err), WEFT_OK);
    open_loader(f, true, &f->train);
    open_loader(f, false, &f->test);
    assert_int_equal(weft_context_create(&f->ctx, &(weft_options){.threads = 2}, &err), WEFT_OK);
    f->model = make_model(f->ctx);
    assert_non_null(f->model);
    f->optimizer = weft_sgd_create(f->ctx, f->model, &(weft_sgd_opts){.lr = 0.1, .momentum = 0.9});
    assert_non_null(f->optimizer);
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    weft_optimizer_destroy(f->optimizer);
    weft_module_unref(f->model);
    weft_context_destroy(f->ctx);
    weft_loader_destroy(f->train);
    weft_loader_destroy(f->test);
    weft_dataset_destroy(f->ds);
    free(f);
    return 0;
}

/* A copy of all state, in one array; *n floats. Owned by the caller. */
static float *snapshot(weft_module *model, int64_t *n)
{
    weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
    float *values = NULL;
    *n = 0;
    assert_int_equal(weft_state_dict(model, &list), WEFT_OK);
    for (int i = 0; i < list.n; i++) {
        weft_tensor *t = list.item[i].tensor;
        if (weft_tensor_dtype(t) != WEFT_F32)
            continue;
        int64_t count = weft_shape_count(weft_tensor_shape(t));
        values = realloc(values, (size_t)(*n + count) * sizeof(float));
        assert_non_null(values);
        memcpy(values + *n, weft_tensor_data(t), (size_t)count * sizeof(float));
        *n += count;
    }
    weft_tensor_list_done(&list);
    return values;
}

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

/* ---- evaluation and prediction --------------------------------------------------------------- */

/* Cross-entropy and hits of logits (N, K), in double. */
static double reference_loss(const fixture *f, const float *logits, int64_t *correct)
{
    double loss = 0;
    *correct = 0;
    for (int n = 0; n < N; n++) {
        const float *row = logits + n * K;
        double sum = 0, most = row[0];
        int best = 0;
        for (int k = 1; k < K; k++)
            if (row[k] > most) {
                most = row[k];
                best = k;
            }
        for (int k = 0; k < K; k++)
            sum += exp(row[k] - most);
        loss += log(sum) + most - row[f->labels[n]];
        *correct += best == f->labels[n];
    }
    return loss / N;
}

static void evaluation_agrees_with_the_predicted_logits(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    weft_train_opts train = {
        .train = f->train, .optimizer = f->optimizer, .epochs = 1, .max_steps = 2};
    assert_int_equal(weft_train(f->model, &train, NULL, &err), WEFT_OK);
    float *logits = NULL;
    weft_shape shape;
    assert_int_equal(weft_predict(f->model, f->test, NULL, &logits, &shape, &err), WEFT_OK);
    assert_true(weft_shape_equal(shape, WEFT_SHAPE(N, K)));
    int64_t correct;
    double loss = reference_loss(f, logits, &correct);
    free(logits);

    weft_eval_result r;
    weft_eval_opts opts = {.per_class = true, .confusion = true, .worst = N};
    assert_int_equal(weft_evaluate(f->model, f->test, &opts, &r, &err), WEFT_OK);
    assert_int_equal(r.images, N);
    assert_int_equal(r.classes, K);
    assert_true(r.acc1 == 100.0 * (double)correct / N);
    assert_true(isnan(r.acc5)); /* K < 6 */
    assert_true(fabs(r.loss - loss) <= (N + K + 4) * 0x1p-52 * (1 + fabs(loss)));
    assert_int_equal(r.mean.support, N);
    assert_int_equal(r.mean.correct, correct);
    assert_int_equal(r.n_worst, N - correct);
    weft_eval_result_done(&r);
}

/* One kernel for the linear layer of make_model and batches of up to `most`: which one is chosen depends
 * on their size, and each may round otherwise. */
static void choose_one_kernel(weft_context *ctx, int most)
{
    for (int n = 1; n <= most; n++) {
        const wf_matmul_desc d = {n, K, PIXELS, 0, 1, WEFT_F32};
        const wf_problem p = wf_problem_matmul(&d);
        char text[WF_PROBLEM_TEXT];
        assert_true(wf_wisdom_put(ctx->wisdom, wf_problem_text(&p, text, sizeof text), "ref", 1));
    }
}

/* The loss to the bit, and the worst mistakes by number, whatever the batches, the order in which
 * threads prepared them and the threads that computed. */
static void evaluation_does_not_depend_on_batches_and_threads(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    weft_eval_opts opts = {.worst = N};
    weft_eval_result first = {0}, r;
    for (int run = 0; run < 6; run++) {
        static const int batches[] = {32, 1, 7, 8, 31, 32}, threads[] = {1, 2, 3, 1, 2, 7};
        weft_context *ctx = NULL;
        weft_loader *loader = NULL;
        weft_loader_opts load = {.batch = batches[run], .workers = run % 3};
        assert_int_equal(weft_context_create(&ctx, &(weft_options){.threads = threads[run]}, &err),
                         WEFT_OK);
        assert_int_equal(weft_loader_create(f->ds, &load, &loader, &err), WEFT_OK);
        choose_one_kernel(ctx, 32);
        weft_module *model = make_model(ctx);
        assert_int_equal(weft_evaluate(model, loader, &opts, &r, &err), WEFT_OK);
        if (run == 0)
            first = r;
        assert_memory_equal(&r.loss, &first.loss, sizeof(r.loss));
        assert_true(r.acc1 == first.acc1 && r.n_worst == first.n_worst && r.n_worst > 0);
        assert_memory_equal(r.worst, first.worst, (size_t)r.n_worst * sizeof(r.worst[0]));
        if (run > 0)
            weft_eval_result_done(&r);
        weft_module_unref(model);
        weft_context_destroy(ctx);
        weft_loader_destroy(loader);
    }
    weft_eval_result_done(&first);
}

/* What training and prediction come to with images of bytes or of floats: the state, the loss and
 * the logits. A convolution comes first, which may read the bytes. */
static void train_on(const weft_dataset *ds, bool bytes, const float *mean, const float *std,
                     float *out, size_t n)
{
    enum { CHANNELS = 12 };
    weft_error err = WEFT_ERROR_INIT;
    weft_context *ctx = NULL;
    weft_loader *train = NULL, *test = NULL;
    weft_loader_opts load = {.batch = BATCH,
                             .drop_last = true,
                             .shuffle = true,
                             .hflip = 0.5,
                             .shift = 1,
                             .mean = mean,
                             .std = std,
                             .bytes = bytes};
    assert_int_equal(weft_context_create(&ctx, &(weft_options){.threads = 2}, &err), WEFT_OK);
    assert_int_equal(weft_loader_create(ds, &load, &train, &err), WEFT_OK);
    load = (weft_loader_opts){.batch = BATCH, .mean = mean, .std = std, .bytes = bytes};
    assert_int_equal(weft_loader_create(ds, &load, &test, &err), WEFT_OK);
    const weft_conv2d_layer_opts same = {.padding = {1, 1}};
    weft_module *model = WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 1, CHANNELS, 3, &same),
                                         weft_relu_create(ctx), weft_flatten_create(ctx),
                                         weft_linear_create(ctx, CHANNELS * PIXELS, K, NULL));
    weft_optimizer *optimizer = weft_sgd_create(ctx, model, &(weft_sgd_opts){.lr = 0.05});
    weft_train_opts opts = {.train = train, .test = test, .optimizer = optimizer, .epochs = 2};
    weft_train_result r;
    if (weft_train(model, &opts, &r, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    float *logits = NULL;
    weft_shape shape;
    assert_int_equal(weft_predict(model, test, NULL, &logits, &shape, &err), WEFT_OK);
    assert_int_equal(weft_shape_count(shape), N * K);
    memset(out, 0, n * sizeof *out);
    out[0] = (float)r.test_loss;
    memcpy(out + 1, logits, N * K * sizeof *out);
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(model, 0, &all), WEFT_OK);
    float *at = out + 1 + N * K;
    for (int i = 0; i < all.n; i++) {
        const size_t count = (size_t)weft_shape_count(weft_tensor_shape(all.item[i].tensor));
        assert_true(at + count <= out + n);
        assert_int_equal(weft_read(all.item[i].tensor, at, count * sizeof *at), WEFT_OK);
        at += count;
    }
    weft_tensor_list_done(&all);
    free(logits);
    weft_optimizer_destroy(optimizer);
    weft_module_unref(model);
    weft_context_destroy(ctx);
    weft_loader_destroy(train);
    weft_loader_destroy(test);
}

static void images_of_bytes_come_to_the_same_bits(void **state)
{
    enum { COUNT = 20000 };
    static float of_floats[COUNT], of_bytes[COUNT];
    static uint8_t pixels[N * PIXELS];
    const float mean = 0.3f, std = 0.4f;
    fixture *f = *state;
    weft_dataset *ds = NULL;
    weft_dataset_arrays arrays = {N, 1, S, S, K, WEFT_U8, pixels, f->labels};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 13);
    assert_int_equal(weft_dataset_from_arrays(&arrays, &ds, NULL), WEFT_OK);
    for (int avoid = 0; avoid < 2; avoid++) { /* kernels that read bytes are chosen, or are not */
        setenv("WEFT_AVOID", avoid ? "onednn" : "gemm", 1);
        train_on(ds, false, &mean, &std, of_floats, COUNT);
        train_on(ds, true, &mean, &std, of_bytes, COUNT);
        assert_memory_equal(of_bytes, of_floats, sizeof of_bytes);
    }
    unsetenv("WEFT_AVOID");
    weft_dataset_destroy(ds);
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

static void evaluation_changes_nothing(void **state)
{
    fixture *f = *state;
    weft_error err = WEFT_ERROR_INIT;
    int64_t n;
    float *before = snapshot(f->model, &n);
    weft_eval_result r;
    for (int training = 0; training < 2; training++) {
        weft_module_train(f->model, training);
        assert_int_equal(weft_evaluate(f->model, f->test, NULL, &r, &err), WEFT_OK);
        assert_int_equal(f->model->training, training);
        assert_true(isnan(r.acc5));
    }
    float *after = snapshot(f->model, &n);
    assert_memory_equal(before, after, (size_t)n * sizeof(float));
    free(before);
    free(after);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        TEST(evaluation_agrees_with_the_predicted_logits),
        TEST(evaluation_does_not_depend_on_batches_and_threads),
        TEST(images_of_bytes_come_to_the_same_bits),
        TEST(the_best_epoch_is_the_first_with_the_highest_accuracy),
        TEST(evaluation_changes_nothing),
        TEST(misuse_is_refused),
        TEST(a_callback_cannot_step_save_or_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
