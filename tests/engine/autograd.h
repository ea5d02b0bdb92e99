/* What the tests of autograd share: a context for each test, vectors of three small integers (so
 * that values are exact), nodes counted by their op's name. */
#ifndef TESTS_ENGINE_AUTOGRAD_H
#define TESTS_ENGINE_AUTOGRAD_H

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

#include "engine/graph/graph.h"
#include "engine/tensor/context.h"
#include "engine/graph/ops/internal.h"
#include "weft/weft.h"

static weft_context *ctx;

static inline int setup(void **state)
{
    return weft_context_create(&ctx, &(weft_options){.threads = 2}, NULL) == WEFT_OK ? 0 : -1;
}

static inline int teardown(void **state)
{
    weft_context_destroy(ctx);
    return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static inline weft_tensor *vec(float a, float b, float c, bool grad)
{
    float v[3] = {a, b, c};
    weft_tensor *t = weft_tensor_from(ctx, WEFT_F32, WEFT_SHAPE(3), v);
    assert_non_null(t);
    assert_int_equal(weft_set_requires_grad(t, grad), WEFT_OK);
    return t;
}

static inline void expect(weft_tensor *t, float a, float b, float c)
{
    float v[3], want[3] = {a, b, c};
    if (weft_read(t, v, sizeof v) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    for (int i = 0; i < 3; i++)
        if (v[i] != want[i])
            fail_msg("element %d is %g, expected %g", i, v[i], want[i]);
}

static inline weft_tensor *total(weft_tensor *t)
{
    return weft_sum(t, WEFT_ALL_DIMS, false);
}

/* The status is `want`, the context's error text contains `part`; clears the error. */
static inline void expect_error(weft_status want, const char *part)
{
    if (weft_error_status(ctx) != want || !strstr(weft_error_text(ctx), part))
        fail_msg("status %d, text \"%s\": expected %d and \"%s\"", weft_error_status(ctx),
                 weft_error_text(ctx), want, part);
    weft_error_clear(ctx);
}

/* Recorded nodes of this op, or of all ops for NULL. */
static inline int nodes(const char *op)
{
    int n = 0;
    for (int i = 0; i < ctx->graph->n_nodes; i++)
        n += !op || strcmp(ctx->graph->nodes[i].op->name, op) == 0;
    return n;
}

#endif
