/* A model that learns three classes of small images within a few epochs, and all that a trainer needs
 * for it. */
#ifndef TESTS_TRAIN_TRAINER_FIXTURE_H
#define TESTS_TRAIN_TRAINER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/train/bright_pixels.h"
#include "weft/weft.h"

enum { BATCH = 8 };

typedef struct fixture {
    float images[N * PIXELS];
    int64_t labels[N];
    weft_dataset *ds;
    weft_context *ctx;
    weft_loader *train, *test;
    weft_module *model;
    weft_optimizer *optimizer;
} fixture;

static inline void fill(fixture *f)
{
    bright_pixels_fill(f->images, f->labels);
}

static inline void open_loader(fixture *f, bool train, weft_loader **loader)
{
    weft_error err = WEFT_ERROR_INIT;
    weft_loader_opts opts = {.batch = BATCH, .drop_last = train};
    assert_int_equal(weft_loader_create(f->ds, &opts, loader, &err), WEFT_OK);
}

/* BatchNorm and a linear layer: no ReLU, so that a NaN image is a NaN loss. */
static inline weft_module *make_model(weft_context *ctx)
{
    return WEFT_SEQUENTIAL(ctx, weft_batch_norm2d_create(ctx, 1, NULL), weft_flatten_create(ctx),
                           weft_linear_create(ctx, PIXELS, K, NULL));
}

static inline int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    *state = f;
    fill(f);
    weft_error err = WEFT_ERROR_INIT;
    assert_int_equal(bright_pixels_open(f->images, f->labels, &f->ds, &err), WEFT_OK);
    open_loader(f, true, &f->train);
    open_loader(f, false, &f->test);
    assert_int_equal(weft_context_create(&f->ctx, &(weft_options){.threads = 2}, &err), WEFT_OK);
    f->model = make_model(f->ctx);
    assert_non_null(f->model);
    f->optimizer = weft_sgd_create(f->ctx, f->model, &(weft_sgd_opts){.lr = 0.1, .momentum = 0.9});
    assert_non_null(f->optimizer);
    return 0;
}

static inline int teardown(void **state)
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
static inline float *snapshot(weft_module *model, int64_t *n)
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
