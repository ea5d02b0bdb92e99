/* Tensor handles: creating and freeing stored tensors, and questions about tensors. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/tensor/context.h"
#include "engine/base/alloc.h"
#include "kernels/eltwise/eltwise.h"

static weft_status check_creation(weft_context *ctx, weft_dtype dtype, weft_shape shape)
{
    char text[128];
    if (ctx->closed)
        return wf_fail(ctx, WEFT_ERR_STATE, "tensor: the context was destroyed");
    if (!weft_dtype_size(dtype))
        return wf_fail(ctx, WEFT_ERR_DTYPE, "tensor: %d is not an element type", (int)dtype);
    if (shape.rank < 0 || shape.rank > WEFT_MAX_RANK)
        return wf_fail(ctx, WEFT_ERR_SHAPE, "tensor: rank %d, at most %d is possible", shape.rank,
                       WEFT_MAX_RANK);
    for (int i = 0; i < shape.rank; i++)
        if (shape.dim[i] < 0)
            return wf_fail(ctx, WEFT_ERR_SHAPE, "tensor: dimension %d of %s is negative", i,
                           weft_shape_format(shape, text, sizeof text));
    int64_t count = weft_shape_count(shape), bytes;
    if (count < 0 || __builtin_mul_overflow(count, (int64_t)weft_dtype_size(dtype), &bytes))
        return wf_fail(ctx, WEFT_ERR_SHAPE, "tensor: %s has too many elements",
                       weft_shape_format(shape, text, sizeof text));
    return WEFT_OK;
}

/* Takes over the block; frees it on failure. */
static weft_tensor *create(weft_context *ctx, wf_type type, wf_block *block)
{
    weft_tensor *t = wf_handles_take(&ctx->handles, sizeof *t);
    if (!t) {
        wf_memory_free(block);
        wf_nomem(&ctx->error, sizeof *t, "a tensor");
        return NULL;
    }
    t->block = *block;
    t->magic = WF_MAGIC_STORED;
    t->type = type;
    t->leaf = t->leaves = t->pending = -1;
    atomic_init(&t->refs, 1);
    t->ctx = ctx;
    wf_context_ref(ctx);
    return t;
}

weft_tensor *weft_tensor_create(weft_context *ctx, weft_dtype dtype, weft_shape shape)
{
    if (!ctx)
        wf_no_context("tensor_create");
    if (!ctx || check_creation(ctx, dtype, shape) != WEFT_OK)
        return NULL;
    const wf_type type = {dtype, shape};
    wf_block block = WF_BLOCK_INIT;
    wf_block_request request = {.size = wf_type_bytes(type),
                                .kind = WF_MEM_STORED,
                                .placement = WF_PLACE_INTERLEAVED,
                                .zero = true,
                                .what = "a tensor"};
    if (wf_memory_alloc(ctx->memory, &request, &block, &ctx->error) != WEFT_OK)
        return NULL;
    return create(ctx, type, &block);
}

weft_tensor *wf_tensor_over(weft_context *ctx, weft_dtype dtype, weft_shape shape, const void *data)
{
    if (check_creation(ctx, dtype, shape) != WEFT_OK)
        return NULL;
    const wf_type type = {dtype, shape};
    wf_block block = {.data = (void *)(uintptr_t)data, .size = wf_type_bytes(type)};
    return create(ctx, type, &block);
}

weft_tensor *weft_tensor_from(weft_context *ctx, weft_dtype dtype, weft_shape shape,
                              const void *data)
{
    if (ctx && !data) {
        wf_fail(ctx, WEFT_ERR_INVALID, "tensor_from: there is no data");
        return NULL;
    }
    weft_tensor *t = weft_tensor_create(ctx, dtype, shape);
    if (t)
        memcpy(t->block.data, data, wf_type_bytes(t->type));
    return t;
}

weft_tensor *weft_tensor_full(weft_context *ctx, weft_dtype dtype, weft_shape shape, double value)
{
    weft_tensor *t = weft_tensor_create(ctx, dtype, shape);
    if (t && wf_tensor_fill(t, "tensor_full", value) != WEFT_OK) {
        weft_tensor_unref(t);
        return NULL;
    }
    return t;
}

static uint16_t to_bf16(double value)
{
    uint16_t bits;
    wf_cast_get(WEFT_F64, WEFT_BF16)(1, &value, &bits);
    return bits;
}

/* Whether the type can hold `value`; for integer types, without its fraction. */
static bool value_fits(weft_dtype dtype, double value)
{
    switch (dtype) {
    case WEFT_F32: return !isfinite(value) || fabs(value) <= (double)FLT_MAX;
    case WEFT_U8: return value > -1 && value < 256;
    case WEFT_I32: return value > -0x1p31 - 1 && value < 0x1p31;
    case WEFT_I64: return value >= -0x1p63 && value < 0x1p63;
    case WEFT_BF16: return !isfinite(value) || isfinite(wf_bf16_value(to_bf16(value)));
    default: return true;
    }
}

weft_status wf_tensor_fill(weft_tensor *t, const char *what, double value)
{
    const weft_dtype dtype = t->type.dtype;
    const int64_t n = weft_shape_count(t->type.shape);
    void *data = t->block.data;
    if (!value_fits(dtype, value))
        return wf_fail(t->ctx, WEFT_ERR_INVALID, "%s: %g does not fit %s", what, value,
                       weft_dtype_name(dtype));
    for (int64_t i = 0; i < n; i++)
        switch (dtype) {
        case WEFT_F32: ((float *)data)[i] = (float)value; break;
        case WEFT_F64: ((double *)data)[i] = value; break;
        case WEFT_U8: ((uint8_t *)data)[i] = (uint8_t)value; break;
        case WEFT_I32: ((int32_t *)data)[i] = (int32_t)value; break;
        case WEFT_I64: ((int64_t *)data)[i] = (int64_t)value; break;
        case WEFT_BF16: ((uint16_t *)data)[i] = to_bf16(value); break;
        default:
            return wf_fail(t->ctx, WEFT_ERR_DTYPE, "%s: %s is not possible", what,
                           weft_dtype_name(dtype));
        }
    return WEFT_OK;
}

weft_tensor *weft_tensor_ref(weft_tensor *t)
{
    if (t && t->magic == WF_MAGIC_DEAD) {
        wf_tensor_check(t, "tensor_ref", false);
        return NULL;
    }
    if (t && t->magic == WF_MAGIC_STORED)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void wf_grad_hooks_free(wf_grad_hook *h)
{
    while (h) {
        wf_grad_hook *next = h->next;
        wf_free(h);
        h = next;
    }
}

void weft_tensor_unref(weft_tensor *t)
{
    if (t && t->magic == WF_MAGIC_DEAD)
        wf_tensor_check(t, "tensor_unref", false);
    if (!t || t->magic != WF_MAGIC_STORED ||
        atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    weft_context *ctx = t->ctx;
    weft_tensor_unref(t->grad);
    wf_grad_hooks_free(t->hooks);
    wf_memory_free(&t->block);
    t->magic = WF_MAGIC_DEAD;
    wf_handles_give(&ctx->handles, t);
    wf_context_unref(ctx);
}

weft_context *wf_tensor_check(const weft_tensor *t, const char *what, bool kept_ok)
{
    weft_context *ctx = wf_tensor_owner(t);
    if (!ctx) {
        wf_fail_stray(WEFT_ERR_INVALID, t ? "%s: this is no tensor" : "%s: the tensor is NULL",
                      what);
        return NULL;
    }
    if (ctx->closed) {
        wf_fail(ctx, WEFT_ERR_STATE, "%s: the tensor's context was destroyed", what);
        return NULL;
    }
    if (t->magic == WF_MAGIC_STORED || (t->magic == WF_MAGIC_RECORDED && t->gen == ctx->gen))
        return ctx;
    /* The tensor in which a loss is kept lives until the next step ends. */
    if (t->magic == WF_MAGIC_RECORDED && t->kept && kept_ok && t->gen + 1 == ctx->gen)
        return ctx;
    if (t->magic == WF_MAGIC_DEAD) {
        wf_fail(ctx, WEFT_ERR_STATE, "%s: this tensor was freed: its last reference was dropped",
                what);
        return NULL;
    }
    wf_fail(ctx, WEFT_ERR_STATE,
            "%s: this tensor belongs to a step that has ended; weft_keep() it to use it later",
            what);
    return NULL;
}

weft_context *weft_tensor_context(const weft_tensor *t)
{
    return wf_tensor_owner(t);
}

weft_shape weft_tensor_shape(const weft_tensor *t)
{
    return wf_tensor_check(t, "tensor_shape", true) ? t->type.shape : WEFT_SCALAR;
}

weft_dtype weft_tensor_dtype(const weft_tensor *t)
{
    return wf_tensor_check(t, "tensor_dtype", true) ? t->type.dtype : WEFT_F32;
}

bool weft_tensor_is_stored(const weft_tensor *t)
{
    return t && t->magic == WF_MAGIC_STORED;
}

weft_status wf_tensor_check_given(weft_context *ctx, const weft_tensor *t, const char *what)
{
    if (!t->awaited || (t->gen == ctx->gen && t->pending >= 0))
        return WEFT_OK;
    return wf_fail(
        ctx, WEFT_ERR_STATE,
        "%s: the tensor has no value: the step in which it was kept failed or was discarded", what);
}

void wf_tensor_set_content(weft_tensor *t, weft_dtype dtype, wf_block *block)
{
    wf_memory_free(&t->block);
    t->block = *block;
    *block = (wf_block)WF_BLOCK_INIT;
    t->type.dtype = dtype;
    t->version++;
    t->leaf = -1;
}
