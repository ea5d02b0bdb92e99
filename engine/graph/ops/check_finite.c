/* check_finite: returns its input, and fails the run where an element is NaN or infinite. It is a
 * check: it runs even if nothing reads its output, and the commit phase waits for it. See
 * Note [Commit phase]. */
#include <math.h>
#include <string.h>

#include "engine/graph/ops/common.h"

static weft_status infer(wf_infer *f)
{
    WF_TRY(wf_infer_float(f, 0));
    f->out[0] = f->in[0];
    return WEFT_OK;
}

static weft_status grad(wf_grad *g)
{
    g->din[0] = g->dout[0];
    return WEFT_OK;
}

typedef struct args {
    wf_buf in, out;
    size_t image_bytes;
    weft_dtype dtype;
} args;

/* The index of the first element that is not finite; -1: all are. */
static int64_t first_bad(weft_dtype dtype, const void *data, size_t bytes)
{
    int64_t n = (int64_t)(bytes / weft_dtype_size(dtype));
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(wf_float_get(dtype, data, i)))
            return i;
    return -1;
}

/* Checks one image with its padding channels, which are zero and so finite. */
static weft_status check_image(const wf_tile *t, const void *arguments, int64_t image)
{
    const args *a = arguments;
    const void *in = wf_image(t, a->in, image);
    void *out = wf_image(t, a->out, image);
    int64_t bad = first_bad(a->dtype, in, a->image_bytes);
    if (bad >= 0) {
        double value = wf_float_get(a->dtype, in, bad);
        return wf_tile_fail(t, WEFT_ERR_NUMERIC, "a value is %s",
                            isnan(value) ? "NaN"
                            : value > 0  ? "infinite"
                                         : "minus infinite");
    }
    if (in != out)
        memcpy(out, in, a->image_bytes);
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    wf_operand x = wf_lower_in(l, 0), y = wf_lower_out(l, 0);
    args a = {x.buf, y.buf, x.image_bytes, x.dtype};
    const wf_cut cut = wf_cut_each_image(&y);
    return wf_lowered(l, wf_lower_cut(l, "ref", check_image, &a, sizeof(a), &cut, 0.0));
}

static weft_tensor *apply_sample(void *user, weft_tensor *const *in, int n)
{
    return weft_check_finite(in[0]);
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const wf_sample_case cases[] = {{"2x3x4x4", 1, {{4, {2, 3, 4, 4}}}, apply_sample, NULL}};
    return wf_sample_from(ctx, cases, 1, index, s);
}

const wf_op wf_op_check_finite = {
    .name = "check_finite",
    .of_nothing = WF_EMPTY_ZERO,
    .n_out = 1,
    .flags = WF_OP_SIDE_EFFECT | WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE,
    .layout_rule = WF_LAYOUT_SAME,
    .inplace = {1},
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_tensor *weft_check_finite(weft_tensor *x)
{
    return wf_record(&wf_op_check_finite, NULL, NULL, 1, &x, NULL);
}
