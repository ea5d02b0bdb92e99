/* Every module's own mode through evaluation, prediction and training. */
#include <stdlib.h>

#include "tests/modules/fixture.h"

static weft_dataset *ds;
static weft_loader *loader;
static weft_module *net;

/* conv, bn (in evaluation mode), relu, bn, flatten, linear, dropout. */
enum { FROZEN = 1, MOVING = 3, MODULES = 7 };

static void make(void)
{
    weft_loader_opts opts = {.batch = 16};
    assert_int_equal(weft_dataset_open("synthetic:1x4x4:3:64", WEFT_SPLIT_TRAIN, &ds, NULL),
                     WEFT_OK);
    assert_int_equal(weft_loader_create(ds, &opts, &loader, NULL), WEFT_OK);
    net = WEFT_SEQUENTIAL(ctx, weft_conv2d_create(ctx, 1, 4, 1, NULL),
                          weft_batch_norm2d_create(ctx, 4, NULL), weft_relu_create(ctx),
                          weft_batch_norm2d_create(ctx, 4, NULL), weft_flatten_create(ctx),
                          weft_linear_create(ctx, 64, 3, NULL), weft_dropout_create(ctx, 0.5));
    assert_non_null(net);
    weft_module_eval(weft_at(net, FROZEN));
}

static void end(void)
{
    weft_module_unref(net);
    weft_loader_destroy(loader);
    weft_dataset_destroy(ds);
}

static void expect_modes(bool root, bool frozen, bool others)
{
    assert_int_equal(net->training, root);
    for (int i = 0; i < MODULES; i++)
        assert_int_equal(weft_at(net, i)->training, i == FROZEN ? frozen : others);
}

static float mean_of(int module)
{
    weft_tensor *t = weft_get_buffer(weft_at(net, module), "running_mean");
    float values[4];
    assert_int_equal(weft_read(t, values, sizeof(values)), WEFT_OK);
    return values[0] + values[1] + values[2] + values[3];
}

static void evaluate(void)
{
    weft_eval_result result;
    assert_int_equal(weft_evaluate(net, loader, NULL, &result, NULL), WEFT_OK);
    weft_eval_result_done(&result);
}

static void predict(void)
{
    float *logits;
    weft_shape shape;
    assert_int_equal(weft_predict(net, loader, NULL, &logits, &shape, NULL), WEFT_OK);
    free(logits);
}

static void train(void)
{
    weft_optimizer *sgd = weft_sgd_create(ctx, net, &(weft_sgd_opts){.lr = 0.01});
    weft_train_opts opts = {.train = loader, .test = loader, .optimizer = sgd, .epochs = 2};
    assert_int_equal(weft_train(net, &opts, NULL, NULL), WEFT_OK);
    weft_optimizer_destroy(sgd);
}

static void (*const passes[])(void) = {evaluate, predict, train};

static void a_module_in_evaluation_mode_stays_in_it(void **state)
{
    make();
    for (int i = 0; i < 3; i++) {
        passes[i]();
        expect_modes(true, false, true);
    }
    assert_true(mean_of(FROZEN) == 0); /* was not trained with the batch's statistics */
    assert_true(mean_of(MOVING) != 0);
    end();
}

static void a_module_in_training_mode_in_a_model_that_is_not_comes_back_to_it(void **state)
{
    make();
    for (int i = 0; i < 3; i++) {
        weft_module_eval(net);
        weft_module_train(weft_at(net, FROZEN), true);
        passes[i]();
        expect_modes(false, true, false);
    }
    assert_true(mean_of(FROZEN) != 0); /* a model in evaluation mode is trained as a whole */
    end();
}

static bool stop(void *user, const weft_progress *p)
{
    return false;
}

static void modes_come_back_after_a_failure_too(void **state)
{
    make();
    weft_eval_opts opts = {.progress = stop};
    weft_eval_result result;
    assert_int_equal(weft_evaluate(net, loader, &opts, &result, NULL), WEFT_ERR_INTERRUPTED);
    expect_modes(true, false, true);
    weft_optimizer *sgd = weft_sgd_create(ctx, net, NULL);
    weft_train_opts train_opts = WEFT_TRAIN_OPTS_INIT;
    train_opts.train = loader;
    train_opts.optimizer = sgd;
    train_opts.progress = stop;
    assert_int_equal(weft_train(net, &train_opts, NULL, NULL), WEFT_ERR_INTERRUPTED);
    expect_modes(true, false, true);
    weft_optimizer_destroy(sgd);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_module_in_evaluation_mode_stays_in_it),
        TEST(a_module_in_training_mode_in_a_model_that_is_not_comes_back_to_it),
        TEST(modes_come_back_after_a_failure_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
