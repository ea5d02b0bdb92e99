/* Tensor handles: stored tensors' life, reading and writing, queries. */
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

weft_tensor *weft_tensor_create(weft_context *ctx, weft_dtype dtype, weft_shape shape)
{
    if (!ctx || check_creation(ctx, dtype, shape) != WEFT_OK)
        return NULL;
    weft_tensor *t = wf_handles_take(&ctx->handles, sizeof *t);
    if (!t) {
        wf_nomem(&ctx->error, sizeof *t, "a tensor");
        return NULL;
    }
    wf_type type = {dtype, shape};
    wf_block_request request = {.size = wf_type_bytes(type),
                                .kind = WF_MEM_STORED,
                                .placement = WF_PLACE_INTERLEAVED,
                                .zero = true,
                                .what = "a tensor"};
    if (wf_memory_alloc(ctx->memory, &request, &t->block, &ctx->error) != WEFT_OK) {
        t->magic = WF_MAGIC_DEAD;
        t->ctx = ctx;
        wf_handles_give(&ctx->handles, t);
        return NULL;
    }
    t->magic = WF_MAGIC_STORED;
    t->type = type;
    t->leaf = t->leaves = t->pending = -1;
    atomic_init(&t->refs, 1);
    t->ctx = ctx;
    wf_context_ref(ctx);
    return t;
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

/* Whether `value`, its fraction cut off for whole numbers, is a number of that type. */
static bool value_fits(weft_dtype dtype, double value)
{
    switch (dtype) {
    case WEFT_F32: return !isfinite(value) || fabs(value) <= (double)FLT_MAX;
    case WEFT_U8: return value > -1 && value < 256;
    case WEFT_I32: return value > -0x1p31 - 1 && value < 0x1p31;
    case WEFT_I64: return value >= -0x1p63 && value < 0x1p63;
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
    if (!ctx)
        return NULL;
    if (ctx->closed) {
        wf_fail(ctx, WEFT_ERR_STATE, "%s: the tensor's context was destroyed", what);
        return NULL;
    }
    if (t->magic == WF_MAGIC_STORED || (t->magic == WF_MAGIC_RECORDED && t->gen == ctx->graph.gen))
        return ctx;
    /* What a loss was kept in lives until the next step ends. */
    if (t->magic == WF_MAGIC_RECORDED && t->kept && kept_ok && t->gen + 1 == ctx->graph.gen)
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
    if (!t->awaited || (t->gen == ctx->graph.gen && t->pending >= 0))
        return WEFT_OK;
    return wf_fail(ctx, WEFT_ERR_STATE,
                   "%s: there is no value: the step that it was kept of failed or was discarded",
                   what);
}

/* Makes a stored tensor's memory up to date. */
static weft_status settle(weft_context *ctx, weft_tensor *t, const char *what)
{
    WF_TRY(wf_tensor_check_given(ctx, t, what));
    if (t->gen == ctx->graph.gen && t->pending >= 0)
        return wf_execute_assigned(ctx, t);
    return WEFT_OK;
}

static weft_status check_bytes(weft_context *ctx, const char *what, wf_type type, size_t bytes)
{
    char text[128];
    if (bytes != wf_type_bytes(type))
        return wf_fail(ctx, WEFT_ERR_INVALID, "%s: %zu bytes given, %s of %s has %zu", what, bytes,
                       weft_shape_format(type.shape, text, sizeof text),
                       weft_dtype_name(type.dtype), wf_type_bytes(type));
    return WEFT_OK;
}

/* Copies a computed value out of the plan's layout and storage type. */
static void read_value(const wf_value *v, void *data)
{
    const size_t size = weft_dtype_size(v->type.dtype), from = weft_dtype_size(v->storage);
    const wf_cast_fn cast = wf_cast_get(v->storage, v->type.dtype);
    if (v->type.shape.rank != 4 || v->block <= 1) {
        if (v->storage == v->type.dtype)
            memcpy(data, v->store.data, wf_type_bytes(v->type));
        else
            cast((size_t)weft_shape_count(v->type.shape), v->store.data, data);
        return;
    }
    const int64_t *d = v->type.shape.dim;
    wf_act act = {(int)d[1], (int)d[2], (int)d[3], v->block};
    char *to = data;
    for (int64_t n = 0; n < d[0]; n++) {
        const char *image = (const char *)v->store.data + (size_t)n * wf_act_count(act) * from;
        for (int c = 0; c < act.C; c++)
            for (int h = 0; h < act.H; h++)
                for (int w = 0; w < act.W; w++, to += size) {
                    const char *x = image + wf_act_index(act, c, h, w) * from;
                    if (v->storage == v->type.dtype)
                        memcpy(to, x, size);
                    else
                        cast(1, x, to);
                }
    }
}

weft_status weft_read(weft_tensor *t, void *data, size_t bytes)
{
    weft_context *ctx = wf_tensor_check(t, "read", true);
    if (!ctx)
        return t && wf_tensor_owner(t) ? weft_error_status(wf_tensor_owner(t)) : WEFT_ERR_INVALID;
    if (!data)
        return wf_fail(ctx, WEFT_ERR_INVALID, "read: no destination");
    WF_TRY(check_bytes(ctx, "read", t->type, bytes));
    if (t->magic == WF_MAGIC_RECORDED && (t->gen != ctx->graph.gen))
        t = t->kept;
    if (t->magic == WF_MAGIC_STORED) {
        WF_TRY(settle(ctx, t, "read"));
        memcpy(data, t->block.data, bytes);
        return WEFT_OK;
    }
    WF_TRY(wf_execute_value(ctx, t->value));
    read_value(&ctx->graph.values[t->value], data);
    return WEFT_OK;
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

weft_status weft_write(weft_tensor *t, const void *data, size_t bytes)
{
    weft_context *ctx = wf_tensor_check(t, "write", false);
    if (!ctx)
        return t && wf_tensor_owner(t) ? weft_error_status(wf_tensor_owner(t)) : WEFT_ERR_INVALID;
    if (t->magic != WF_MAGIC_STORED)
        return wf_fail(ctx, WEFT_ERR_STATE, "write: only stored tensors can be written");
    if (!data)
        return wf_fail(ctx, WEFT_ERR_INVALID, "write: no source");
    WF_TRY(check_bytes(ctx, "write", t->type, bytes));
    WF_TRY(wf_execute_readers(ctx, t));
    memcpy(t->block.data, data, bytes);
    t->version++;
    t->leaf = -1;
    t->awaited = false;
    return WEFT_OK;
}

static weft_context *check_stored(const weft_tensor *t)
{
    weft_context *ctx = wf_tensor_check(t, "tensor_data", false);
    if (ctx && t->magic != WF_MAGIC_STORED) {
        wf_fail(ctx, WEFT_ERR_STATE, "tensor_data: a recorded tensor has no memory of its own");
        return NULL;
    }
    return ctx;
}

const void *weft_tensor_const_data(weft_tensor *t)
{
    weft_context *ctx = check_stored(t);
    return ctx && settle(ctx, t, "tensor_data") == WEFT_OK ? t->block.data : NULL;
}

void *wf_tensor_writable(weft_tensor *t)
{
    weft_context *ctx = check_stored(t);
    if (!ctx || wf_execute_readers(ctx, t) != WEFT_OK)
        return NULL;
    t->version++;
    t->leaf = -1;
    return t->block.data;
}

void *weft_tensor_data(weft_tensor *t)
{
    void *data = wf_tensor_writable(t);
    if (data)
        t->exposed = true;
    return data;
}

static double element(weft_dtype dtype, const void *data)
{
    switch (dtype) {
    case WEFT_F32: return *(const float *)data;
    case WEFT_F64: return *(const double *)data;
    case WEFT_U8: return *(const uint8_t *)data;
    case WEFT_I32: return *(const int32_t *)data;
    case WEFT_I64: return (double)*(const int64_t *)data;
    default: return NAN;
    }
}

double weft_item(weft_tensor *t)
{
    weft_context *ctx = wf_tensor_check(t, "item", true);
    if (!ctx)
        return NAN;
    char text[128];
    if (weft_shape_count(t->type.shape) != 1) {
        wf_fail(ctx, WEFT_ERR_SHAPE, "item: the tensor has shape %s, one element is needed",
                weft_shape_format(t->type.shape, text, sizeof text));
        return NAN;
    }
    union {
        float f32;
        double f64;
        uint8_t u8;
        int32_t i32;
        int64_t i64;
    } room = {0}; /* for any element */
    weft_dtype dtype = t->type.dtype;
    if (weft_read(t, &room, weft_dtype_size(dtype)) != WEFT_OK)
        return NAN;
    return element(dtype, &room);
}

weft_tensor *weft_keep(weft_tensor *t)
{
    weft_context *ctx = wf_record_context("keep", 1, 1, &t);
    if (!ctx)
        return NULL;
    weft_tensor *kept = weft_tensor_create(ctx, t->type.dtype, t->type.shape);
    if (!kept) {
        wf_step_fail(ctx, WEFT_ERR_NOMEM);
    } else if (wf_graph_assign(kept, t, false) != WEFT_OK) {
        weft_tensor_unref(kept);
        return NULL;
    }
    if (kept)
        kept->awaited = true;
    return kept;
}

weft_status weft_set_requires_grad(weft_tensor *t, bool requires_grad)
{
    weft_context *ctx = wf_tensor_check(t, "set_requires_grad", false);
    if (!ctx)
        return WEFT_ERR_INVALID;
    if (t->magic != WF_MAGIC_STORED)
        return wf_fail(ctx, WEFT_ERR_STATE,
                       "set_requires_grad: only stored tensors are leaves of the gradient graph");
    if (requires_grad && t->type.dtype != WEFT_F32 && t->type.dtype != WEFT_F64)
        return wf_fail(ctx, WEFT_ERR_DTYPE, "set_requires_grad: %s tensors have no gradient",
                       weft_dtype_name(t->type.dtype));
    if (t->requires_grad != requires_grad)
        t->leaf = -1; /* recorded uses keep what held when they were recorded */
    t->requires_grad = requires_grad;
    return WEFT_OK;
}

bool weft_requires_grad(const weft_tensor *t)
{
    weft_context *ctx = wf_tensor_check(t, "requires_grad", false);
    if (!ctx)
        return false;
    return t->magic == WF_MAGIC_STORED ? t->requires_grad
                                       : ctx->graph.values[t->value].requires_grad;
}
