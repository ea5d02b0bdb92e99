/* chunk: dimension 1 in equal parts, each an output, in any layout; its gradient is their
 * concatenation, in one pass. weft_chunk of other dimensions records narrow. */
#include "engine/graph/ops/gather.h"

typedef struct chunk_attrs {
    int64_t n;
} chunk_attrs;

static weft_status infer(wf_infer *f)
{
    const chunk_attrs *a = f->attrs;
    wf_type part = f->in[0];
    WF_TRY(wf_infer_float(f, 0));
    part.shape.dim[1] /= a->n;
    f->n_out = (int)a->n;
    for (int o = 0; o < f->n_out; o++)
        f->out[o] = part;
    return WEFT_OK;
}

static weft_status lower(wf_lower *l)
{
    for (int o = 0; o < l->n_out; o++) {
        const int C = (int)wf_lower_out(l, o).shape.dim[1];
        wf_channel_from *from = wf_gather_channels(l, o);
        for (int c = 0; from && c < C; c++)
            from[c] = (wf_channel_from){0, o * C + c};
        WF_TRY(wf_lower_gather(l, o, from));
    }
    return WEFT_OK;
}

static weft_status grad(wf_grad *g)
{
    weft_tensor *parts[WF_MAX_OUT];
    for (int o = 0; o < g->n_out; o++) {
        parts[o] = g->dout[o];
        if (!parts[o])
            parts[o] = wf_record_fill(g->ctx, weft_tensor_dtype(g->out[o]),
                                      weft_tensor_shape(g->out[o]), 0);
    }
    if (g->needs[0])
        g->din[0] = weft_concat(parts, g->n_out, 1);
    return WEFT_OK;
}

/* The sum of the parts, each times another number; one part may be left out. */
typedef struct chunk_case {
    int n, dim, unused; /* unused: -1 for none */
} chunk_case;

static weft_tensor *apply(void *user, weft_tensor *const *in, int n)
{
    const chunk_case *c = user;
    weft_tensor *parts[WF_MAX_OUT], *sum = NULL;
    if (weft_chunk(in[0], c->n, c->dim, parts) != WEFT_OK)
        return NULL;
    for (int i = 0; i < c->n; i++) {
        if (i == c->unused)
            continue;
        weft_tensor *term = weft_scale(parts[i], 1.0 + i);
        sum = sum ? weft_add(sum, term) : term;
    }
    return sum;
}

static bool sample(weft_context *ctx, int index, wf_sample *s)
{
    static const chunk_case halves = {2, 1, -1}, three = {3, 1, 1}, rows = {2, -2, -1};
    static const wf_sample_case cases[] = {
        {"halves", 1, {{4, {2, 10, 2, 2}}}, apply, &halves},
        {"three parts, one of them unused", 1, {{4, {2, 9, 1, 3}}}, apply, &three},
        {"rank 2", 1, {{2, {3, 4}}}, apply, &halves},
        {"another dimension", 1, {{4, {2, 3, 4, 2}}}, apply, &rows},
    };
    return wf_sample_from(ctx, cases, 4, index, s);
}

const wf_op wf_op_chunk = {
    .name = "chunk",
    .n_out = WF_MAX_OUT,
    .attr_size = sizeof(chunk_attrs),
    .flags = WF_OP_KEEPS_ZERO | WF_OP_BY_IMAGE,
    .layout_rule = WF_LAYOUT_SAME,
    .infer = infer,
    .grad = grad,
    .lower = lower,
    .sample = sample,
};

weft_status weft_chunk(weft_tensor *x, int n, int dim, weft_tensor **parts)
{
    if (!x)
        return WEFT_ERR_STATE; /* the context has the error */
    weft_context *ctx = weft_tensor_context(x);
    const weft_shape shape = weft_tensor_shape(x);
    const int d = dim < 0 ? dim + shape.rank : dim;
    char text[WF_SHAPE_TEXT];
    if (d < 0 || d >= shape.rank || n < 1 || n > WF_MAX_OUT || shape.dim[d] % n != 0)
        return wf_fail_step(ctx, WEFT_ERR_SHAPE,
                            "chunk: %s in %d equal parts along dimension %d (1 to "
                            "%d parts)",
                            weft_shape_format(shape, text, sizeof(text)), n, dim, WF_MAX_OUT);
    weft_tensor *out[WF_MAX_OUT];
    if (d == 1 && !wf_record(&wf_op_chunk, &(chunk_attrs){n}, NULL, 1, &x, out))
        return wf_step_status(ctx);
    for (int i = 0; i < n; i++) {
        const int64_t length = shape.dim[d] / n;
        if (d != 1)
            out[i] = weft_narrow(x, d, i * length, length);
        if (!out[i])
            return wf_step_status(ctx);
    }
    for (int i = 0; i < n; i++)
        parts[i] = out[i];
    return WEFT_OK;
}
