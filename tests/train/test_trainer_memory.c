/* The memory that a training is said to need is what its context then holds; saying so costs no
 * plan of its own and changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/step/plan_cache.h"
#include "engine/tensor/context.h"
#include "weft/weft.h"

typedef enum optimizer_kind { PLAIN, MOMENTUM, ADAMW } optimizer_kind;

static const struct {
    const char *name, *data, *model;
    int64_t batch;
    optimizer_kind optimizer;
    bool test, freeze;
    int states; /* of the optimizer, for each parameter that is trained */
    int64_t accumulate;
    double clip;
} cases[] = {
    {"bytes, momentum", "synthetic:1x28x28:10:256", "fmnist_cnn", 32, MOMENTUM, true, false, 1},
    {"no state", "synthetic:1x28x28:10:256", "fmnist_cnn", 7, PLAIN, false, false, 0},
    {"two states", "synthetic:3x32x32:10:64", "fmnist_cnn", 16, ADAMW, false, false, 2},
    {"a frozen part has neither gradient nor state", "synthetic:1x28x28:10:64", "fmnist_cnn", 16,
     ADAMW, false, true, 2},
    {"gradients of three batches, clipped", "synthetic:1x28x28:10:256", "fmnist_cnn", 16, MOMENTUM,
     true, false, 1, 3, 1.0},
    {"gradients of two batches", "synthetic:1x28x28:10:256", "fmnist_cnn", 16, MOMENTUM, false,
     false, 1, 2, 0},
};

typedef struct training {
    weft_context *ctx;
    weft_dataset *ds;
    weft_loader *loader, *test;
    weft_module *model;
    weft_optimizer *optimizer;
    weft_trainer *trainer;
    size_t trained; /* bytes of the parameters that are trained */
} training;

static void add_trained(training *t, bool freeze)
{
    weft_tensor_list all = WEFT_TENSOR_LIST_INIT, list = WEFT_TENSOR_LIST_INIT;
    assert_int_equal(weft_parameters(t->model, 0, &all), WEFT_OK);
    for (int i = 0; i < all.n; i++) {
        if (freeze && i < all.n / 2) {
            weft_set_requires_grad(all.item[i].tensor, false);
            continue;
        }
        weft_tensor_list_add(&list, all.item[i].name, all.item[i].tensor);
        t->trained += 4 * (size_t)weft_shape_count(weft_tensor_shape(all.item[i].tensor));
    }
    assert_int_equal(weft_optimizer_add_group(t->optimizer, &list, NAN, NAN), WEFT_OK);
    weft_tensor_list_done(&list);
    weft_tensor_list_done(&all);
}

static training begin(int i)
{
    training t = {0};
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(weft_dataset_open(cases[i].data, WEFT_SPLIT_TRAIN, &t.ds, &err), WEFT_OK);
    weft_loader_opts opts = {.batch = cases[i].batch, .drop_last = true, .bytes = true};
    assert_int_equal(weft_loader_create(t.ds, &opts, &t.loader, &err), WEFT_OK);
    if (cases[i].test)
        assert_int_equal(weft_loader_create(t.ds, &opts, &t.test, &err), WEFT_OK);
    assert_int_equal(weft_context_create(&t.ctx, &(weft_options){.threads = 2}, &err), WEFT_OK);
    const weft_dataset_info *info = weft_dataset_get_info(t.ds);
    weft_model_opts model = {.in_channels = info->channels,
                             .height = info->height,
                             .width = info->width,
                             .num_classes = info->classes};
    t.model = weft_model_create(t.ctx, cases[i].model, &model);
    assert_non_null(t.model);
    weft_adamw_opts adamw = WEFT_ADAMW_OPTS_INIT;
    weft_sgd_opts sgd = {.lr = 0.01, .momentum = cases[i].optimizer == MOMENTUM ? 0.9 : 0};
    t.optimizer = cases[i].optimizer == ADAMW ? weft_adamw_create(t.ctx, NULL, &adamw)
                                              : weft_sgd_create(t.ctx, NULL, &sgd);
    add_trained(&t, cases[i].freeze);
    weft_train_opts train = WEFT_TRAIN_OPTS_INIT;
    train.train = t.loader;
    train.test = t.test;
    train.optimizer = t.optimizer;
    train.label_smoothing = 0.1;
    train.accumulate = cases[i].accumulate;
    train.clip_grad_norm = cases[i].clip;
    assert_int_equal(weft_trainer_create(t.model, &train, &t.trainer, &err), WEFT_OK);
    return t;
}

static void end(training *t)
{
    weft_trainer_destroy(t->trainer);
    weft_optimizer_destroy(t->optimizer);
    weft_module_unref(t->model);
    weft_context_destroy(t->ctx);
    weft_loader_destroy(t->loader);
    weft_loader_destroy(t->test);
    weft_dataset_destroy(t->ds);
}

static void test_a_plan_says_what_the_steps_then_hold(void **state)
{
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        training t = begin(i);
        weft_train_memory m;
        weft_error err = WEFT_ERROR_INIT;
        assert_int_equal(weft_trainer_plan_memory(t.trainer, &m, &err), WEFT_OK);
        const int compiled = wf_plan_cache_compiled(t.ctx->plans);
        const int batches = cases[i].accumulate > 1 ? (int)cases[i].accumulate : 1;
        assert_int_equal(compiled, batches + cases[i].test);
        for (int step = 0; step < 3; step++)
            assert_int_equal(weft_trainer_step(t.trainer, &err), WEFT_OK);
        /* The same plan ran. */
        assert_int_equal(wf_plan_cache_compiled(t.ctx->plans), compiled);
        size_t peak;
        weft_memory_in_use(t.ctx, NULL, &peak);
        const weft_dataset_info *info = weft_dataset_get_info(t.ds);
        const size_t batch =
            (size_t)cases[i].batch * (size_t)(info->channels * info->height * info->width + 8);
        const size_t said =
            m.weights + m.optimizer + m.gradients + m.activations + m.scratch + batch;
        /* Means, deviations, loss and count of this step and the one before: less than a page. */
        if (peak > said + 4096 || said > peak + 4096)
            fail_msg("%s: said %zu, held %zu", cases[i].name, said, peak);
        assert_int_equal(m.gradients, t.trained);
        const size_t states = (size_t)cases[i].states * t.trained;
        if (m.optimizer < states || m.optimizer > states + 4096)
            fail_msg("%s: optimizer %zu, expected %zu", cases[i].name, m.optimizer, states);
        assert_true(m.loader >= weft_loader_memory(t.loader) + batch);
        assert_int_equal(m.total, m.weights + m.optimizer + m.gradients + m.activations +
                                      m.scratch + m.loader + m.plans);
        end(&t);
    }
}

/* The weights after two steps are the same with and without a plan before them. */
static void test_planning_changes_nothing(void **state)
{
    float *values[2] = {NULL, NULL};
    int64_t n = 0;
    for (int planned = 0; planned < 2; planned++) {
        training t = begin(4);
        weft_train_memory m;
        weft_error err = WEFT_ERROR_INIT;
        for (int step = 0; step < 2; step++) {
            if (planned)
                assert_int_equal(weft_trainer_plan_memory(t.trainer, &m, &err), WEFT_OK);
            assert_int_equal(weft_trainer_step(t.trainer, &err), WEFT_OK);
        }
        weft_tensor_list list = WEFT_TENSOR_LIST_INIT;
        assert_int_equal(weft_parameters(t.model, 0, &list), WEFT_OK);
        n = 0;
        for (int i = 0; i < list.n; i++) {
            int64_t count = weft_shape_count(weft_tensor_shape(list.item[i].tensor));
            values[planned] = realloc(values[planned], (size_t)(n + count) * sizeof(float));
            memcpy(values[planned] + n, weft_tensor_const_data(list.item[i].tensor),
                   (size_t)count * sizeof(float));
            n += count;
        }
        weft_tensor_list_done(&list);
        end(&t);
    }
    assert_memory_equal(values[0], values[1], (size_t)n * sizeof(float));
    free(values[0]);
    free(values[1]);
}

/* Ten epochs of training and evaluation, with a last batch of another size in both: after the second
 * epoch nothing grows. */
enum { EPOCHS = 10, SETTLED = 2 };
#define SLACK ((uint64_t)1 << 20) /* what malloc may keep for one thread or the other */

typedef struct watched {
    uint64_t settled, most;
    int epochs;
} watched;

static void note_resident(void *user, const weft_epoch *epoch)
{
    watched *w = user;
    weft_memory_room room;
    assert_int_equal(weft_memory_get_room(&room, NULL), WEFT_OK);
    w->epochs++;
    if (w->epochs == SETTLED)
        w->settled = room.resident;
    if (w->epochs > SETTLED && room.resident > w->most)
        w->most = room.resident;
}

static void test_ten_epochs_take_no_more_memory_than_two(void **state)
{
    weft_error err = WEFT_ERROR_INIT;
    training t = begin(0);
    weft_trainer_destroy(t.trainer);
    weft_loader_destroy(t.loader);
    weft_loader_destroy(t.test);
    t.trainer = NULL;
    const weft_loader_opts odd = {.batch = 48, .bytes = true, .shuffle = true};
    const weft_loader_opts odd_test = {.batch = 100, .bytes = true};
    assert_int_equal(weft_loader_create(t.ds, &odd, &t.loader, &err), WEFT_OK);
    assert_int_equal(weft_loader_create(t.ds, &odd_test, &t.test, &err), WEFT_OK);
    watched w = {0};
    weft_train_opts train = WEFT_TRAIN_OPTS_INIT;
    train.train = t.loader;
    train.test = t.test;
    train.optimizer = t.optimizer;
    train.epochs = EPOCHS;
    train.epoch = note_resident;
    train.user = &w;
    weft_train_result result;
    if (weft_train(t.model, &train, &result, &err) != WEFT_OK)
        fail_msg("%s", err.text);
    assert_int_equal(w.epochs, EPOCHS);
    if (w.most > w.settled + SLACK)
        fail_msg("%llu bytes after two epochs, then up to %llu", (unsigned long long)w.settled,
                 (unsigned long long)w.most);
    end(&t);
}

static void test_the_room_is_told(void **state)
{
    weft_memory_room room;
    assert_int_equal(weft_memory_get_room(&room, NULL), WEFT_OK);
    assert_true(room.available <= room.limit && room.limit <= room.machine);
    assert_true(room.resident > 0 && room.resident <= room.peak);
    assert_true(room.why[0] != '\0');
    assert_int_equal(weft_memory_get_room(NULL, NULL), WEFT_ERR_INVALID);
}

static void test_bad_arguments(void **state)
{
    training t = begin(0);
    weft_error err = WEFT_ERROR_INIT;
    weft_train_memory m;
    weft_step_memory step;
    assert_int_equal(weft_trainer_plan_memory(NULL, &m, &err), WEFT_ERR_INVALID);
    assert_int_equal(weft_trainer_plan_memory(t.trainer, NULL, NULL), WEFT_ERR_INVALID);
    assert_int_equal(weft_plan_memory(NULL, &step), WEFT_ERR_INVALID);
    assert_int_equal(weft_plan_memory(t.ctx, NULL), WEFT_ERR_INVALID);
    weft_error_clear(t.ctx);
    assert_int_equal(weft_plan_memory(t.ctx, &step), WEFT_OK); /* nothing is recorded */
    assert_int_equal(step.parameters + step.activations + step.gradients, 0);
    size_t now, peak;
    weft_memory_in_use(NULL, &now, &peak);
    assert_int_equal(now + peak, 0);
    assert_int_equal(weft_loader_memory(NULL), 0);
    assert_int_equal(weft_loader_batch_size(NULL), 0);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_plan_says_what_the_steps_then_hold),
        cmocka_unit_test(test_planning_changes_nothing),
        cmocka_unit_test(test_ten_epochs_take_no_more_memory_than_two),
        cmocka_unit_test(test_the_room_is_told),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
