/* What op files share: see common.h. */
#include "engine/graph/ops/common.h"

#include "engine/base/alloc.h"

wf_cut wf_cut_elements(const wf_operand *o)
{
    int64_t total = wf_operand_count(o);
    return (wf_cut){(total + WF_CHUNK - 1) / WF_CHUNK, WF_CHUNK, total, WF_WHOLE};
}

wf_cut wf_cut_each_image(const wf_operand *o)
{
    int64_t image = (int64_t)wf_act_count(o->act);
    return (wf_cut){o->N, image, o->N * image, WF_TILED};
}

wf_cut wf_cut_images(const wf_operand *o)
{
    /* Images of a rank-4 value need not lie side by side: the value may be a slice of a larger
     * buffer. */
    const bool large = o->shape.rank > 1 && o->image_bytes >= WF_LARGE_IMAGE;
    return o->shape.rank == 4 || large ? wf_cut_each_image(o) : wf_cut_elements(o);
}

wf_image_cut wf_cut_whole_images(const wf_operand *o)
{
    const int64_t image = (int64_t)wf_act_count(o->act);
    const bool tiled = wf_cut_images(o).access == WF_TILED;
    const int64_t per_tile = tiled ? 1 : (WF_CHUNK + image - 1) / image;
    return (wf_image_cut){tiled, (o->N + per_tile - 1) / per_tile, o->N, per_tile, o->image_bytes};
}

wf_act wf_channel_act(const wf_operand *o)
{
    if (o->shape.rank == 4)
        return o->act;
    int pixels = (int)wf_dims_count(&o->shape, 2, o->shape.rank);
    return (wf_act){o->shape.rank > 1 ? (int)o->shape.dim[1] : 1, pixels, 1, 1};
}

wf_task *wf_lower_cut(wf_lower *l, const char *kernel, wf_tile_fn fn, const void *args,
                      size_t args_size, const wf_cut *cut, double flops_per_element)
{
    wf_task *task = wf_lower_task(l, kernel, fn, args, args_size, cut->tiles);
    double bytes = 0;
    for (int i = 0; i < l->n_in; i++) {
        wf_operand o = wf_lower_in(l, i);
        wf_reads(task, o.buf, cut->access);
        bytes += (double)cut->total * (double)weft_dtype_size(o.dtype);
    }
    for (int i = 0; i < l->n_out; i++) {
        wf_operand o = wf_lower_out(l, i);
        wf_writes(task, o.buf, cut->access);
        bytes += (double)cut->total * (double)weft_dtype_size(o.dtype);
    }
    wf_cost(task, flops_per_element * (double)cut->total, bytes);
    return task;
}

weft_status wf_infer_float(const wf_infer *f, int i)
{
    weft_dtype dtype = f->in[i].dtype;
    if (dtype == WEFT_F32 || dtype == WEFT_F64)
        return WEFT_OK;
    return wf_infer_fail(f, WEFT_ERR_DTYPE, "input %d is %s, expected f32 or f64", i,
                         weft_dtype_name(dtype));
}

weft_status wf_infer_like_first(const wf_infer *f, int i)
{
    char a[WF_SHAPE_TEXT], b[WF_SHAPE_TEXT];
    const wf_type *type = &f->in[i], *first = &f->in[0];
    if (type->dtype != first->dtype)
        return wf_infer_fail(f, WEFT_ERR_DTYPE, "input %d is %s, input 0 is %s", i,
                             weft_dtype_name(type->dtype), weft_dtype_name(first->dtype));
    if (!weft_shape_equal(type->shape, first->shape))
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "input %d is %s, input 0 is %s", i,
                             weft_shape_format(type->shape, a, sizeof(a)),
                             weft_shape_format(first->shape, b, sizeof(b)));
    return WEFT_OK;
}

weft_status wf_infer_same(wf_infer *f)
{
    WF_TRY(wf_infer_float(f, 0));
    for (int i = 1; i < f->n_in; i++)
        WF_TRY(wf_infer_like_first(f, i));
    for (int o = 0; o < f->n_out; o++)
        f->out[o] = f->in[0];
    return WEFT_OK;
}

weft_status wf_infer_logits_and_labels(const wf_infer *f)
{
    char x[WF_SHAPE_TEXT], y[WF_SHAPE_TEXT];
    const weft_shape *logits = &f->in[0].shape, *labels = &f->in[1].shape;
    WF_TRY(wf_infer_float(f, 0));
    if (f->in[1].dtype != WEFT_I64)
        return wf_infer_fail(f, WEFT_ERR_DTYPE, "labels are %s, expected i64",
                             weft_dtype_name(f->in[1].dtype));
    if (logits->rank != 2 || labels->rank != 1 || logits->dim[0] != labels->dim[0])
        return wf_infer_fail(
            f, WEFT_ERR_SHAPE, "logits are %s and labels %s, expected (N, K) and (N)",
            weft_shape_format(*logits, x, sizeof(x)), weft_shape_format(*labels, y, sizeof(y)));
    return WEFT_OK;
}

int wf_infer_dim(const wf_infer *f, int64_t dim, int rank)
{
    if (dim >= -rank && dim < rank)
        return (int)(dim < 0 ? dim + rank : dim);
    wf_infer_fail(f, WEFT_ERR_SHAPE, "dimension %lld is out of range for a tensor of rank %d",
                  (long long)dim, rank);
    return -1;
}

bool wf_sample_from(weft_context *ctx, const wf_sample_case *cases, int n, int index,
                    wf_sample *sample)
{
    if (index < 0 || index >= n)
        return false;
    const wf_sample_case *c = &cases[index];
    *sample = (wf_sample){
        .name = c->name, .n_in = c->n_in, .apply = c->apply, .user = (void *)(uintptr_t)c->user};
    for (int i = 0; i < c->n_in; i++) {
        int64_t count = weft_shape_count(c->shape[i]);
        double *values = wf_alloc_array((size_t)count, sizeof(*values));
        if (!values)
            return true; /* the caller's check finds the NULL */
        for (int64_t j = 0; j < count; j++) {
            /* Multiples of the golden ratio: evenly spread, and no value twice. */
            double u = 0.6180339887498949 * (double)(j + 1) + 0.377 * (i + 1);
            u -= (double)(int64_t)u;
            values[j] = u < 0.5 ? -0.1 - 3.6 * u : 0.1 + 3.6 * (u - 0.5);
        }
        sample->in[i] = weft_tensor_from(ctx, WEFT_F64, c->shape[i], values);
        wf_free(values);
        if (sample->in[i])
            weft_set_requires_grad(sample->in[i], true);
    }
    return true;
}
