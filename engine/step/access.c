/* Reading and writing tensors. A read first runs the work that computes the value; a write first
 * runs the recorded work that still reads the old content. */
#include <math.h>
#include <string.h>

#include "engine/graph/graph.h"
#include "engine/step/execute.h"
#include "kernels/eltwise/eltwise.h"

/* Brings a stored tensor's memory up to date. */
static weft_status settle(weft_context *ctx, weft_tensor *t, const char *what)
{
    WF_TRY(wf_tensor_check_given(ctx, t, what));
    if (t->gen == ctx->gen && t->pending >= 0)
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
    if (t->magic == WF_MAGIC_RECORDED && (t->gen != ctx->gen))
        t = t->kept;
    if (t->magic == WF_MAGIC_STORED) {
        WF_TRY(settle(ctx, t, "read"));
        memcpy(data, t->block.data, bytes);
        return WEFT_OK;
    }
    WF_TRY(wf_execute_value(ctx, t->value));
    read_value(&ctx->graph->values[t->value], data);
    return WEFT_OK;
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
    case WEFT_BF16: return (double)wf_bf16_value(*(const uint16_t *)data);
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
    } room = {0}; /* room for an element of any type */
    weft_dtype dtype = t->type.dtype;
    if (weft_read(t, &room, weft_dtype_size(dtype)) != WEFT_OK)
        return NAN;
    return element(dtype, &room);
}
