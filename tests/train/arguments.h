/* What the tests of arguments that cannot be meant ask of a call, and what they call it with: an
 * error that says so, never a crash. Also runs under the address sanitizer. */
#ifndef TESTS_TRAIN_ARGUMENTS_H
#define TESTS_TRAIN_ARGUMENTS_H

#include <math.h>
#include <stdlib.h>

#include "tests/modules/fixture.h"
#include "tests/scratch.h"

/* The call fails, and the context says why. */
#define FAILS(call)                                                                                \
    do {                                                                                           \
        if ((call) == WEFT_OK)                                                                     \
            fail_msg("%s succeeded", #call);                                                       \
        says_why(#call);                                                                           \
    } while (0)
/* It returns NULL or 0, and the context says why. */
#define GIVES_NOTHING(call)                                                                        \
    do {                                                                                           \
        if (call)                                                                                  \
            fail_msg("%s gave something", #call);                                                  \
        says_why(#call);                                                                           \
    } while (0)
/* Where no context can be told: it fails, or gives nothing, or has no effect. */
#define FAILS_QUIETLY(call)                                                                        \
    do {                                                                                           \
        assert_int_not_equal((call), WEFT_OK);                                                     \
        weft_discard(ctx);                                                                         \
        weft_error_clear(ctx);                                                                     \
    } while (0)
#define NOTHING_QUIETLY(call)                                                                      \
    do {                                                                                           \
        assert_false(call);                                                                        \
        weft_discard(ctx);                                                                         \
        weft_error_clear(ctx);                                                                     \
    } while (0)
/* It fails, and the error record says why. */
#define ERR_SAYS(call)                                                                             \
    do {                                                                                           \
        err = (weft_error)WEFT_ERROR_INIT;                                                         \
        if ((call) == WEFT_OK || err.status == WEFT_OK || err.text[0] == '\0')                     \
            fail_msg("%s: status %d, text \"%s\"", #call, err.status, err.text);                   \
    } while (0)

static weft_error err __attribute__((unused));

static void says_why(const char *call)
{
    if (weft_error_status(ctx) == WEFT_OK || weft_error_text(ctx)[0] == '\0')
        fail_msg("%s left no error", call);
    weft_discard(ctx);
    weft_error_clear(ctx);
}

static weft_tensor *x, *images, *w, *labels, *logits;
static weft_module *net;

static int make(void **state)
{
    if (setup(state) != 0)
        return -1;
    int64_t zeros[2] = {0, 1};
    x = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1);
    logits = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3), 1);
    images = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(2, 3, 4, 4), 1);
    w = weft_tensor_full(ctx, WEFT_F32, WEFT_SHAPE(3, 3, 1, 1), 1);
    labels = weft_tensor_from(ctx, WEFT_I64, WEFT_SHAPE(2), zeros);
    net = weft_linear_create(ctx, 3, 3, NULL);
    return labels != NULL && net != NULL ? 0 : -1;
}

static int unmake(void **state)
{
    weft_tensor_unref(x);
    weft_tensor_unref(logits);
    weft_tensor_unref(images);
    weft_tensor_unref(w);
    weft_tensor_unref(labels);
    weft_module_unref(net);
    return teardown(state);
}

#define TEST_WITH_PARTS(fn) cmocka_unit_test_setup_teardown(fn, make, unmake)

#endif
