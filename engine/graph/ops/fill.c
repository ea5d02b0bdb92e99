/* fill: a tensor with one value everywhere. The value is a scalar of the node; there are no tensor
 * inputs. */
#include "engine/graph/ops/fill.h"

#include <string.h>

#include "engine/graph/graph.h"
#include "engine/graph/ops/common.h"
#include "engine/graph/ops/internal.h"
#include "kernels/eltwise/eltwise.h"

static weft_status infer(wf_infer *f)
{
    char text[WF_SHAPE_TEXT];
    const wf_fill_attrs *a = f->attrs;
    weft_shape shape = {.rank = (int)a->rank};
    memcpy(shape.dim, a->dim, sizeof(shape.dim));
    if (a->rank < 0 || a->rank > WEFT_MAX_RANK || weft_shape_count(shape) < 0)
        return wf_infer_fail(f, WEFT_ERR_SHAPE, "no tensor has the shape %s",
                             weft_shape_format(shape, text, sizeof(text)));
    if (a->dtype != WEFT_F32 && a->dtype != WEFT_F64 && a->dtype != WEFT_I64)
        return wf_infer_fail(f, WEFT_ERR_DTYPE, "type is %s, expected f32, f64 or i64",
                             weft_dtype_name((weft_dtype)a->dtype));
    f->out[0] = (wf_type){(weft_dtype)a->dtype, shape};
    return WEFT_OK;
}

typedef struct fill_args {
    wf_cut cut;
    wf_buf y;
    int scalar;
    size_t size;
    const wf_eltwise *kernels; /* NULL: i64 */
} fill_args;

static weft_status run(const wf_tile *t, const void *vargs, int64_t tile)
{
    const fill_args *g = vargs;
    void *y = wf_cut_ptr(&g->cut, t, g->y, g->size, tile);
    size_t n = wf_cut_count(&g->cut, tile);
    if (g->kernels)
        g->kernels->fill(n, t->scalars[g->scalar], y);
    else
        for (size_t i = 0; i < n; i++)
            ((int64_t *)y)[i] = (int64_t)t->scalars[g->scalar];
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand y = wf_lower_out(l, 0);
    fill_args g = {
        .cut = wf_cut_images(&y),
        .y = y.buf,
        .scalar = l->scalar,
        .size = weft_dtype_size(y.dtype),
        .kernels = wf_eltwise_get(y.dtype, l->isa),
    };
    const char *name = g.kernels ? g.kernels->name : "fill:i64";
    return wf_lowered(l, wf_lower_cut(l, name, run, &g, sizeof(g), &g.cut, 0.0));
}

const wf_op wf_op_fill = {
    .name = "fill",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .attr_size = sizeof(wf_fill_attrs),
    .n_scalars = 1,
    .layout_rule = WF_LAYOUT_PLAIN,
    .infer = infer,
    .no_grad_reason = "a constant has no inputs",
    .lower = lower,
    .no_sample_reason = "it has no inputs; every backward pass starts with one",
};

weft_tensor *wf_record_fill(weft_context *ctx, weft_dtype dtype, weft_shape shape, double value)
{
    wf_fill_attrs attrs = {.dtype = dtype, .rank = shape.rank};
    memcpy(attrs.dim, shape.dim, (size_t)shape.rank * sizeof *shape.dim);
    return wf_record_source(ctx, &wf_op_fill, &attrs, &value);
}
