/* What the tests of ops' values share: contexts, tensors from doubles and back, channel blocks. */
#ifndef TESTS_ENGINE_VALUES_H
#define TESTS_ENGINE_VALUES_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/graph/op.h"
#include "engine/graph/ops/reorder.h"
#include "weft/weft.h"

static inline void make_input(int which, weft_shape shape, double *x)
{
    int64_t n = weft_shape_count(shape);
    for (int64_t i = 0; i < n; i++) /* f32 numbers, so that f32 and f64 start alike */
        x[i] = (double)(float)(4.0 * fmod(0.6180339887 * (double)(i + 1) + 0.3 * which, 1.0) - 2.0);
}

static inline weft_context *context(weft_executor executor)
{
    weft_options options = {.threads = 2, .executor = executor, .seed = 7, .schedule_seed = 3};
    weft_context *ctx;
    assert_int_equal(weft_context_create(&ctx, &options, NULL), WEFT_OK);
    return ctx;
}

static inline weft_tensor *stored(weft_context *ctx, weft_dtype dtype, weft_shape shape,
                                  const double *x)
{
    int64_t n = weft_shape_count(shape);
    float *f = malloc((size_t)n * sizeof(*f));
    for (int64_t i = 0; i < n; i++)
        f[i] = (float)x[i];
    weft_tensor *t = weft_tensor_from(ctx, dtype, shape, dtype == WEFT_F32 ? (const void *)f : x);
    free(f);
    assert_non_null(t);
    return t;
}

/* x in channel blocks, as a convolution's output would be. */
static inline weft_tensor *blocked(weft_tensor *x)
{
    wf_reorder_attrs a = {wf_isa_block(weft_context_isa(weft_tensor_context(x)))};
    if (weft_tensor_shape(x).rank != 4 || weft_tensor_dtype(x) != WEFT_F32)
        return x;
    return wf_record(&wf_op_reorder, &a, NULL, 1, &x, NULL);
}

/* The numbers of t, as doubles. */
static inline void read_all(weft_context *ctx, weft_tensor *t, double *out)
{
    if (!t)
        fail_msg("%s", weft_error_text(ctx));
    int64_t n = weft_shape_count(weft_tensor_shape(t));
    weft_dtype dtype = weft_tensor_dtype(t);
    void *raw = malloc((size_t)n * 8);
    if (weft_read(t, raw, (size_t)n * weft_dtype_size(dtype)) != WEFT_OK)
        fail_msg("%s", weft_error_text(ctx));
    for (int64_t i = 0; i < n; i++)
        out[i] = dtype == WEFT_F32   ? (double)((float *)raw)[i]
                 : dtype == WEFT_F64 ? ((double *)raw)[i]
                                     : (double)((int64_t *)raw)[i];
    free(raw);
}

#endif
