/* Evaluation and prediction, on a data set small enough to check by hand. */
#include "tests/train/trainer_fixture.h"

#include <math.h>

#include "engine/step/wisdom.h"
#include "engine/tensor/context.h"
#include "engine/tune/problem.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(evaluation_agrees_with_the_predicted_logits),
        TEST(evaluation_does_not_depend_on_batches_and_threads),
        TEST(images_of_bytes_come_to_the_same_bits),
        TEST(evaluation_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
